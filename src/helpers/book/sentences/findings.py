"""What the findings say, by rule, from rows of replication.csv and from law.csv.

Rows are those of `summaries.rows.rows_of` for one detector, null and rate. Shares are means over draws; their limits are the
lowest and the highest of any draw.
Notebooks: 07_findings and the first page.
"""

from itertools import groupby
from operator import itemgetter

import pandas as pd

from helpers.book.sentences.verdict import WHY_UNDEFINED
from helpers.book.summaries.findings import ELSEWHERE, equal_moments
from helpers.book.summaries.rows import FLAGGED, checkpoints, shares_by
from helpers.book.words import limits, listed, share_text, two_digits, undefined_for
from helpers.copies.conclusions.evidence import FAILS, HOLDS, UNKNOWN
from helpers.copies.conclusions.onset import rise

PAPERS_SIZES = (1_000, 5_000)  # clips; between them its share falls from about 90 % to 0.6 %
WHETHER = " whether a model copies"
LEAST_SHARE = 0.1  # near-exact, of a run that has surely begun to copy


def of_undefined(rows: pd.DataFrame, null: str = "twins") -> str:
    """What is known of the sizes for none of whose main clips it is defined whether they are near-exact; "" where there are none.

    A sentence a size: what is flagged, beside the null, and how often the nearest clip is the prompt's own.
    """
    sentences = []
    for n_train, draws in rows[rows["arm"] == "main"].groupby("n_train"):
        if draws["near_exact_rate"].notna().any():
            continue
        undefined, flagged = (
            undefined_for(draws["n_defined"].sum(), draws["n_generated"].sum()),
            "no threshold is attainable",
        )
        if draws["flagged_rate"].notna().any():
            flagged = f"flagged are {_pooled(draws, *FLAGGED)}, of {null} {_pooled(draws, *limits('fpr_verified'))}"
        own = f"the nearest clip is the one whose caption was the prompt for {_of_own(draws, n_train)}"
        sentences.append(
            f"After training on {n_train:,} clips, near-exact is {undefined}, {WHY_UNDEFINED}; {flagged}; {own}."
        )
    return " ".join(sentences)


def of_answer(rows: pd.DataFrame) -> str:
    """What came out: what each size's near-exact share says beside the null's, at the last checkpoint. Sizes that begin alike
    share a sentence, and of these, those that end alike its part. What is replayed are the clips that it was trained on."""
    curves, parts = checkpoints(rows), []
    for (n_train, updates), last in shares_by(rows[rows["arm"] == "main"], ["n_train", "updates"]).iterrows():
        first = shares_by(curves[curves["n_train"] == n_train], ["updates"]).iloc[0]
        opening, who = f"After {updates:,} training updates on", ""
        if pd.isna(last["rate"]) or pd.isna(last["null_rate"]):
            said = f"what a model does is undefined, {WHY_UNDEFINED}"
        elif last["low"] > last["null_high"]:
            most = {0.9: "nearly all of them", 0.5: "more than half of them", 0.0: "some of them"}
            said = next(words for share, words in most.items() if last["rate"] >= share)
            who = "a model replays "
            opening = "Trained on" if first["low"] > first["null_high"] else "Trained for long enough on"
        else:
            said = f"we cannot tell{WHETHER}"
            if last["rate"] <= last["null_rate"]:
                said += (
                    f": {share_text(last['rate'])} of its clips count as copies, but so do {share_text(last['null_rate'])} of clips "
                    "that copied nothing"
                )
        parts.append((opening, who, said, f"{n_train:,}"))
    told = []
    for (opening, who), group in groupby(parts, key=itemgetter(0, 1)):
        alike = [(said, listed([n for *_, n in of], "or")) for said, of in groupby(group, key=itemgetter(2))]
        (said, sizes), *others = alike
        told.append(
            "; on ".join([f"{opening} {sizes} clips, {who}{said}", *(f"{n}, {what}" for what, n in others)]) + "."
        )
    first, whether, rest = " ".join(told).partition(WHETHER)
    return first + whether + rest.replace(WHETHER, "")  # said once


def _pooled(draws: pd.DataFrame, rate: str, low: str, high: str) -> str:
    return share_text(draws[rate].mean(), draws[low].min(), draws[high].max())


def _of_own(draws: pd.DataFrame, n_train: int) -> str:
    """Own-clip top-1 beside that of twins; without any, beside that of a guess."""
    twins = _pooled(draws, *limits("twins_top1_rate"))
    beside = f"by a guess for {share_text(1 / n_train)}" if twins == "–" else f"of twins for {twins}"
    return f"{_pooled(draws, *limits('own_clip_top1_rate'))}, {beside}"


def of_missed(known: pd.DataFrame) -> str:
    """How many altered copies the near-exact rule misses at each size, from `summaries.findings.known_kinds` with sizes n."""
    rows = known[known["kind"] == "altered copies"].dropna(subset="near_exact")
    missed = [f"{share_text(1 - row.near_exact)} after training on {row.n:,} clips" for row in rows.itertuples()]
    return f"Of these the rule misses {' and '.join(missed)}." if missed else ""


def of_ledger(claims: pd.DataFrame) -> str:
    """How many claims are decided, how many measured without a decision, how many unknown."""
    verdicts = claims["verdict"]
    decided, unknown = verdicts.isin((HOLDS, FAILS)).sum(), (verdicts == UNKNOWN).sum()
    elsewhere = (verdicts == ELSEWHERE).sum()
    asked = f", {elsewhere} is asked of another model" if elsewhere else ""
    return (
        f"Of {len(claims)} claims {decided} are decided, {len(claims) - decided - unknown - elsewhere} are not decided by this "
        f"run{asked}, and for {unknown} the paper's value is unknown."
    )


def of_relation(law: pd.DataFrame, define: bool = True) -> str:
    """What law.csv says of its primary measure: the exponent, whether linear is excluded, the prediction and its verdict.

    `define`: say what an onset is.
    """
    if law.empty:
        return "Too few sizes begin to copy here to relate size and the start of copying."
    row = law.iloc[0]
    linear = "excluded" if row["exponent_low"] > 1 or row["exponent_high"] < 1 else "not excluded"
    sizes = listed([f"{int(n):,}" for n in str(row["sizes_fitted"]).split()])
    twice, twice_low, twice_high = (2 ** row[f"exponent{end}"] for end in ("", "_low", "_high"))
    defined = "The onset is the number of updates at which 5 % of the clips that a model makes are near-exact copies of their own clip. "
    text = (
        f"{defined if define else ''}Twice as many clips delay {'it' if define else 'the onset'} by a factor of {twice:.2f} "
        f"({twice_low:.2f} to {twice_high:.2f}). So it grows as n to the power of {row['exponent']:.2f} ({row['exponent_low']:.2f} to "
        f"{row['exponent_high']:.2f}; sizes {sizes}, one architecture), where n is the number of clips. Growth in proportion to n is "
        f"{linear}. If this holds further, a model of {int(row['n_predicted']):,} clips begins to copy after "
        f"{two_digits(row['predicted_updates'])} updates ({two_digits(row['predicted_low'])} to {two_digits(row['predicted_high'])})"
    )
    verdicts = {
        "no run": "this study has no model of that size yet.",
        "undecided": "no run here was trained for long enough to tell."
        if pd.isna(row["observed_updates"])
        else f"the run reached it at {row['observed_updates']:,.0f}, but so wide an interval tells little.",
        "supported": f"the run reached it at {row['observed_updates']:,.0f}, as predicted.",
        "refuted": "the one run of that size had not begun by its end, so the prediction is refuted."
        if pd.isna(row["observed_updates"])
        else f"the run began at {row['observed_updates']:,.0f}, so the prediction is refuted.",
    }
    told = f"{text}: {verdicts[row['verdict']]}"
    if len(str(row["sizes_fitted"]).split()) == 2:
        told += " Two sizes cannot show that the growth follows a power of n at all, and luck that the runs of one size share is not in these intervals."
    if pd.notna(row["leave_one_out_low"]):
        told += f" When one size is left out, the exponent is {row['leave_one_out_low']:.2f} to {row['leave_one_out_high']:.2f}."
    return told


def of_second_measure(law: pd.DataFrame) -> str:
    """What law.csv says of its secondary measure, the own clip at rank 1 for half of the prompts; "" where it has no row."""
    rows = law[law["measure"] == "top1"]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    excluded = row["exponent_low"] > 1 or row["exponent_high"] < 1
    return (
        "A second measure puts the onset where, for half of the prompts, the nearest clip is the prompt's own. By it the exponent is "
        f"{row['exponent']:.2f} ({row['exponent_low']:.2f} to {row['exponent_high']:.2f}), and growth in proportion to n is "
        f"{'excluded' if excluded else 'not excluded'}."
    )


def of_papers_sizes(law: pd.DataFrame, shares: pd.DataFrame) -> str:
    """What the relation of law.csv would mean between the paper's two smaller sizes, and whether that could give its fall.

    shares: shares.csv, for how steeply the share of each size rises.
    """
    factors = {run: rise(rows) for run, rows in shares.groupby(["n_train", "draw"])}
    rises, law = pd.Series(factors, dtype=float), law.dropna(subset=["exponent_low", "exponent_high"])
    known = rises.dropna()
    if law.empty or known.empty:
        return "Too few models copy here to say what would follow for the paper's sizes."
    begun = shares.groupby(["n_train", "draw"])["near_exact"].max() >= LEAST_SHARE
    reached = {n for n, _ in known.index}
    slower = sorted({n for n, _ in rises.index[rises.isna() & begun.reindex(rises.index)]} - reached)
    row, times = law.iloc[0], PAPERS_SIZES[1] / PAPERS_SIZES[0]
    limits = [row[f"exponent{end}"] for end in ("", "_low", "_high")]
    updates, low, high = (times**exponent for exponent in limits)
    epochs, epochs_low, epochs_high = (factor / times for factor in (updates, low, high))

    def verdict(low: float, high: float) -> str:
        return "could not" if high < known.min() else "could" if low > known.max() and not slower else "may or may not"

    sizes = listed([f"{n:,}" for n in sorted(reached)], "or")
    told = (
        "Suppose that the same exponent held for the paper's model and sounds, and that a share rises there as steeply as here. "
        f"Nobody has tested either. With {PAPERS_SIZES[1]:,} clips in place of {PAPERS_SIZES[0]:,}, the onset would then come {updates:.1f} times as late "
        f"({low:.1f} to {high:.1f}). At equal updates the larger model would be behind by that factor. At equal epochs it is trained "
        f"{times:.0f} times as long, so the onset would come after {epochs:.1f} times the epochs ({epochs_low:.1f} to {epochs_high:.1f}). How much is that? The paper's shares fall "
        f"from about 90 % to below 5 %. To go from 5 % to 90 %, a model of {sizes} clips needs {known.min():.1f} to {known.max():.1f} times as many updates."
    )
    if slower:
        told += f" With {listed([f'{n:,}' for n in slower])} clips the share did not reach 90 % before training ended."
    told += f" So equal updates {verdict(low, high)} give such a fall, and equal epochs {verdict(epochs_low, epochs_high)}. That is an inference, and no verdict."
    if row.get("verdict") == "refuted":
        told += f" And here the exponent failed its own test, at {int(row['n_predicted']):,} clips."
    return told


def of_equal_moments(rows: pd.DataFrame, detector: str = "mel") -> str:
    """Whether larger sets are copied less at the moments of `equal_moments`, by intervals that lie apart."""
    moments, told = equal_moments(rows), []
    for axis, part in moments.groupby("axis", sort=False):
        at = "At equal" if part["exact"].all() else "At nearly equal"
        small, large = part.iloc[0], part.iloc[-1]
        less = part.loc[part["high"] < small["low"], "n_train"].tolist()
        if large["high"] < small["low"] / 10:
            told.append(f"{at} {axis}, {large['n_train']:,} clips are copied far less than {small['n_train']:,}.")
        elif less == [large["n_train"]] and len(part) > 2:
            told.append(f"{at} {axis} only the largest set is clearly copied less than the smallest.")
        elif large["n_train"] in less:
            told.append(f"{at} {axis}, {large['n_train']:,} clips are clearly copied less than {small['n_train']:,}.")
        else:
            told.append(f"{at} {axis} no fall shows.{_early(rows, small) if axis == 'epochs' else ''}")
    if not told:
        return "No moment is common to two sizes at which it is known what is near-exact."
    return f"{' '.join(told)} {'Both by' if len(told) == 2 else 'By'} {'log-mel' if detector == 'mel' else detector}."


def _early(rows: pd.DataFrame, small: pd.Series) -> str:
    """That the smallest size, of which `small` is a row of `equal_moments`, had hardly been trained; "" at its last checkpoint."""
    runs = rows[rows["n_train"] == small["n_train"]]
    at, last = int(runs.loc[runs["epochs"] == small["epochs"], "updates"].min()), int(runs["updates"].max())
    if at == last:
        return ""
    return (
        f" But by then the model of {small['n_train']:,} clips has had only {at:,} of its {last:,} updates. A model that makes little "
        "real sound so early copies little, too."
    )
