"""What was predicted of the study before it began, beside what came; and what its shares are held against."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.base.profile import Profile
from helpers.base.protocol import read_protocol
from helpers.book.summaries.findings import ONSETS
from helpers.book.tables import arrange, captioned
from helpers.book.words import limits, listed, share_text, shares, two_digits, with_interval
from helpers.copies.conclusions.dose_relation import LEAST_KID
from helpers.copies.conclusions.onset import MEASURES, fit_with_floor, onset_table
from helpers.copies.conclusions.prevention import EMBEDDING
from helpers.copies.conclusions.relation import MOST_WIDE, law_table, of_prediction
from helpers.stages.onset import PREDICTED, choose_sizes

SMALL = {2: "two", 3: "three"}  # numbers that a sentence spells
RELATION = "How the onset grows with the number of clips: the exponent, with 95 % intervals."


def relation_of(onsets: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """law.csv (`copies.conclusions.relation.LAW_COLUMNS`) of onset.csv's rows, of the sizes that the stage `onset` fits."""
    fitted, predicted = choose_sizes(profile.sizes, read_protocol()["exponent"]["sizes"])
    return law_table(onsets, fitted, [predicted], profile.thresholds.confidence)


def beside_prediction(onsets: pd.DataFrame, prediction: Mapping) -> pd.DataFrame:
    """A row a measure and size of onset.csv: expected, low, high, `observed`, the onsets of its runs (infinite: not yet), and
    `trained_to`, for how many updates each was looked at."""
    rows = []
    for (measure, n_train), runs in onsets.groupby(["measure", "n_train"], sort=False):
        expected = prediction[measure]["predicted"][n_train]
        observed = [math.inf if run.censored else run.updates for run in runs.itertuples()]
        rows.append((measure, n_train, *expected, observed, runs["trained_to"].to_list()))
    return pd.DataFrame(rows, columns=["measure", "n_train", "expected", "low", "high", "observed", "trained_to"])


def in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """`beside_prediction` as it is shown."""
    columns = {
        "onset of": rows["measure"].map(ONSETS), "n": "n_train",
        "predicted": [f"{row.expected:,} ({row.low:,} to {row.high:,})" for row in rows.itertuples()],
        "came": [" / ".join("not yet" if math.isinf(run) else f"{run:,.0f}" for run in runs) for runs in rows["observed"]],
    }  # fmt: skip
    return arrange(
        rows, columns, "Onsets in updates: predicted before the first run, and what came, one number for each draw."
    )


def sentence(rows: pd.DataFrame, exponent: Sequence[float], sizes: Sequence[int], law: pd.DataFrame) -> str:
    """Of the primary measure: how many runs lie inside what was predicted, and how far the onset grew.

    `exponent`: the one predicted, and its limits; growth is told of the smallest and the largest of `sizes` that are there,
    with the limits that the exponent of law.csv gives it.
    """
    primary = rows[rows["measure"] == next(iter(ONSETS))].sort_values("n_train")
    runs = primary.explode(["observed", "trained_to"])
    inside = runs["observed"].between(runs["low"], runs["high"]).sum()
    earlier, late = (runs["observed"] < runs["low"]).sum(), runs["observed"] > runs["high"]
    waiting = runs[late & np.isinf(runs["observed"].astype(float)) & (runs["trained_to"] < runs["high"])]
    told = f"Of {len(runs)} runs, {inside} began to copy inside the predicted interval, {earlier} earlier and {late.sum() - len(waiting)} later."
    for run in waiting.itertuples():
        place = "before the beginning of" if run.trained_to < run.low else "within"
        told += (
            f" A run of {run.n_train:,} clips had not begun when its training ended, at {run.trained_to:,} updates. That is {place} the interval "
            f"({run.low:,} to {run.high:,}), so it says {'nothing' if run.trained_to < run.low else 'little'} about the first prediction."
        )
    planned = primary[primary["n_train"].isin(sizes)]
    means = planned["observed"].map(lambda runs: float(np.exp(np.log(runs).mean())))
    if len(planned) > 1 and np.isfinite(means).all():
        first, last = planned["n_train"].iloc[[0, -1]]
        factor, low, high = ((last / first) ** power for power in exponent)
        came = means.iloc[-1] / means.iloc[0]
        told += f" From {first:,} to {last:,} clips the onset was predicted to come {factor:.1f} times as late ({low:.1f} to {high:.1f})."
        told += f" It came {came:.1f} times as late"
        if len(law):
            came_low, came_high = ((last / first) ** law[f"exponent_{end}"].iloc[0] for end in ("low", "high"))
            overlap = "overlap" if came_low <= high and low <= came_high else "do not overlap"
            told += f" ({came_low:.1f} to {came_high:.1f}). The intervals {overlap}."
        else:
            told += f": {'inside' if low <= came <= high else 'outside'} that interval."
    return told


def second_sentence(onsets: pd.DataFrame, prediction: Mapping) -> str:
    """What `second_prediction` of the plan says of the primary measure, and what came of it."""
    measure = next(iter(ONSETS))
    if measure not in prediction:
        return f"The second prediction, of {PREDICTED:,} clips, will rest on the runs of this study alone. It is not made yet."
    expected, low, high = prediction[measure]["predicted"][PREDICTED]
    runs = onsets[(onsets["measure"] == measure) & (onsets["n_train"] == PREDICTED)]
    came, verdict = of_prediction((expected, low, high), runs)
    told = {
        "no run": "None of them is searched yet.",
        "supported": f"It came at {came:,.0f}: inside, as predicted.",
        "refuted": "The onset had not come by the end of training, so the second prediction is refuted."
        if math.isnan(came)
        else f"It came at {came:,.0f}: outside, so the second prediction is refuted.",
        "undecided": "The run was stopped before it came."
        if math.isnan(came)
        else f"It came at {came:,.0f}: inside. But the plan calls a prediction supported only where its interval is no wider than "
        f"a factor of {MOST_WIDE:g}; this one is wider.",
    }
    sizes = listed([f"{int(n):,}" for n in prediction[measure]["sizes"].split()])
    return (
        f"The second prediction, of {PREDICTED:,} clips, was committed before a clip of such a model was made. It rests on the runs of this "
        f"study alone, of {sizes} clips: the onset at {expected:,} updates ({low:,} to {high:,}). {told[verdict]}"
    )


def shares_over_training(judged: pd.DataFrame) -> pd.DataFrame:
    """The near-exact share of the own clip at every checkpoint of each run of `copies.pooled.judge_published`: n_train,
    draw, updates, near_exact, n_generated. Clips whose position is undefined are left out."""
    known = judged.dropna(subset="near_exact").astype({"near_exact": float})
    shares = known.groupby(["n_train", "draw", "updates"])["near_exact"].agg(near_exact="mean", n_generated="size")
    return shares.reset_index()


def relations_at(judged: pd.DataFrame, profile: Profile, levels: Sequence[float] = (0.1, 0.2, 0.5)) -> pd.DataFrame:
    """The relation (`relation_of`) where the onset is another near-exact share, a row a level.

    judged: clips of `copies.pooled.judge_published`. The plan names one level, so the others are exploratory.
    """
    known, width = judged.assign(detector=profile.thresholds.detector), profile.training.block_out_channels[0]
    onsets = [onset_table(known, width, profile.thresholds.confidence, {"near_exact": level}) for level in levels]
    return relation_of(pd.concat(onsets), profile)


def relation_in_words(law: pd.DataFrame, of: Sequence[str] = (), caption: str = RELATION) -> pd.DataFrame:
    """law.csv (`copies.conclusions.relation.LAW_COLUMNS`) as it is shown: a row a measure, or a row for each onset that `of` names."""
    without = [
        "not known"
        if math.isnan(row.leave_one_out_low)
        else f"{row.leave_one_out_low:.2f} to {row.leave_one_out_high:.2f}"
        for row in law.itertuples()
    ]
    columns = {
        "onset": list(of) or law["measure"].map(ONSETS),
        "exponent": with_interval(law, "exponent", "exponent_low", "exponent_high", percent=False),
        "without one size": without,
        f"onset at {law['n_predicted'].iloc[0]:,} clips": [
            f"{two_digits(row.predicted_updates)} ({two_digits(row.predicted_low)} to {two_digits(row.predicted_high)})"
            for row in law.itertuples()
        ],
    }  # fmt: skip
    return arrange(law, columns, caption)


def levels_in_words(law: pd.DataFrame) -> pd.DataFrame:
    """`relations_at` as it is shown; no row where it has none."""
    if law.empty:
        return law
    of = [f"{share_text(level)} near-exact" for level in law["level"]]
    return relation_in_words(law, of, "The exponent for other levels of the onset. Not in the plan, so exploratory.")


def levels_sentence(law: pd.DataFrame, levels: pd.DataFrame, shares: pd.DataFrame) -> str:
    """Whether one power stretches the whole curve: the exponent of `law` beside that of the greatest of the `levels`
    (`relations_at`) that all runs of the sizes that it is fitted to passed (`shares_over_training`); "" where they passed none."""
    if law.empty:
        return ""
    planned = shares[shares["n_train"].isin([int(n) for n in law["sizes_fitted"].iloc[0].split()])]
    passed = planned.groupby(["n_train", "draw"])["near_exact"].max().min()
    passed_by_all = levels[levels["level"] <= passed]
    if passed_by_all.empty:
        return ""
    last = passed_by_all.iloc[-1]
    told = f"With the onset at {share_text(last['level'])} of the prompts instead of 5 %, the exponent is {last['exponent']:.2f} ({last['exponent_low']:.2f} to {last['exponent_high']:.2f}; exploratory). "
    if last["exponent"] - law["exponent"].iloc[0] > 0.1:
        largest = planned["n_train"].max()
        runs = planned.loc[planned["n_train"] == largest, "draw"].nunique()
        of = (
            f"the one run of {largest:,} clips"
            if runs == 1
            else f"the {SMALL.get(runs, runs)} runs of {largest:,} clips"
        )
        return (
            f"{told}In {of} the share rises more slowly, so a single power may not fit the whole curve. "
            "Networks of one size cannot tell whether that is due to the set or to the size of the network."
        )
    return told + "So one power fits the whole curve about equally well."


def above_floor(judged: pd.DataFrame) -> pd.DataFrame:
    """The onset of each run of `copies.pooled.judge_published` above a floor that is fitted to it: n_train, draw, updates,
    trained_to, censored, floor, p_with_floor and p_without (`copies.conclusions.onset.FlooredOnset`). Exploratory."""
    known, rows = judged.dropna(subset="near_exact").astype({"near_exact": bool}), []
    for (n_train, draw), run in known.groupby(["n_train", "draw"]):
        found = fit_with_floor(run["updates"], run["near_exact"], MEASURES["near_exact"])
        trained_to = run["updates"].max()
        about = {"n_train": n_train, "draw": draw, "trained_to": trained_to, "censored": found.updates > trained_to}
        rows.append(about | found._asdict())
    return pd.DataFrame(rows)


def _p_text(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.2g}"


def floors_in_words(floors: pd.DataFrame) -> pd.DataFrame:
    """`above_floor` as it is shown: a row a run."""
    columns = {
        "n": "n_train", "draw": "draw", "floor": shares(floors, "floor"),
        "onset above it": [f"{row.updates:,.0f}" if not row.censored else "not yet" for row in floors.itertuples()],
        "fit with it, p": floors["p_with_floor"].map(_p_text), "fit without, p": floors["p_without"].map(_p_text),
    }  # fmt: skip
    caption = "Onsets above the floor of each run, in updates, and how well curves with and without it fit. Not in the plan, so exploratory."
    return arrange(floors, columns, caption)


def floor_sentence(floors: pd.DataFrame, profile: Profile) -> str:
    """Whether the curve that onsets are read from fits, and what follows where each run has a floor; "" without a relation."""
    relation = relation_of(floors.assign(measure="near_exact", level=MEASURES["near_exact"]), profile)
    if relation.empty:
        return ""
    planned = floors[floors["n_train"].isin([int(n) for n in relation["sizes_fitted"].iloc[0].split()])]
    row, misfits = relation.iloc[0], int((planned["p_without"] < 0.01).sum())
    return (
        "The curve that an onset is read from starts at 0. But even a model that copies nothing gets some near-exact clips by chance, as "
        f"twins do. So for {misfits} of {len(planned)} runs the curve does not fit (p below 0.01). With a floor of its own for each run, and the onset at 5 % "
        f"above it, the exponent is {row['exponent']:.2f} ({row['exponent_low']:.2f} to {row['exponent_high']:.2f}), and {row['n_predicted']:,} clips are "
        f"expected at {two_digits(row['predicted_updates'])} updates ({two_digits(row['predicted_low'])} to {two_digits(row['predicted_high'])}; exploratory, that is, not in the plan)."
    )


def quality_at_onset(onsets: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """How good clips are when copying begins: n_train, draw, `at_onset`, `lowest`.

    The kernel distance (KID) of clips of held-out prompts to real sound, by the embedding aisfx: at the checkpoint nearest to
    the onset of the primary measure, and the lowest of the run. No row for a run that has not begun.
    """
    begun = onsets[(onsets["measure"] == next(iter(MEASURES))) & ~onsets["censored"].astype(bool)]
    of_heldout = quality[(quality["prompt_set"] == "heldout") & (quality["embedding"] == EMBEDDING)].dropna(
        subset="kid"
    )
    rows = []
    for run in begun.itertuples():
        kid = of_heldout[(of_heldout["n_train"] == run.n_train) & (of_heldout["draw"] == run.draw)].set_index(
            "updates"
        )["kid"]
        if len(kid):
            nearest = int(np.abs(np.log(kid.index.to_numpy(float) / run.updates)).argmin())
            rows.append((run.n_train, run.draw, kid.iloc[nearest], kid.min()))
    return pd.DataFrame(rows, columns=["n_train", "draw", "at_onset", "lowest"])


def quality_in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """`quality_at_onset` as it is shown: a row a size."""
    by = rows.groupby("n_train")
    columns = {
        "n": [n for n, _ in by],
        **{
            title: [_ends(part[name]) for _, part in by]
            for title, name in {"KID at the onset": "at_onset", "lowest KID": "lowest"}.items()
        },
    }
    caption = "How good clips are when copying begins: the kernel distance of held-out prompts' clips, by aisfx. Lower is better; from the least to the greatest of the draws."
    return captioned(pd.DataFrame(columns), caption)


def _ends(values: pd.Series) -> str:
    return " to ".join(dict.fromkeys(f"{value:.2f}" for value in (values.min(), values.max())))


def quality_sentence(rows: pd.DataFrame, law: pd.DataFrame) -> str:
    """At which sizes copying begins before clips are good: farther off than twice the lowest KID of their own run, on average."""
    if rows.empty:
        return ""
    means = rows.groupby("n_train")[["at_onset", "lowest"]].mean()
    early = [n for n, row in means.iterrows() if row["at_onset"] > 2 * max(row["lowest"], LEAST_KID)]
    if not early:
        return "At every size that copies, clips come within twice their best distance to real sound by the time copying begins."
    told = f"With {listed([f'{n:,}' for n in early])} clips copying begins before clips are good: what their models make of held-out prompts is more than twice as far from real sound as later."
    fitted = [int(n) for n in law["sizes_fitted"].iloc[0].split()]
    if left_out := [n for n in early if n not in fitted]:
        told += f" So the plan left {listed([f'{n:,}' for n in left_out])} out of the fit."
    return told


KINDS = {"trained": "own prompts", "other draw": "prompts of clips it never met", "twins": "twins"}


def nulls_in_words(nulls: pd.DataFrame) -> pd.DataFrame:
    """`copies.pooled.published_nulls` as it is shown: a row a size."""
    told = nulls.assign(share=shares(nulls, *limits("own_near_exact_rate"))).pivot(
        index="n_train", columns="kind", values="share"
    )
    columns = {"n": told.index, **{title: told[kind] for kind, title in KINDS.items()}}
    return arrange(
        told,
        columns,
        "Share that counts as near-exact of the own clip, after the last update: own prompts beside two kinds that cannot be copies. Intervals are "
        "of the draws pooled; chapter 7 prints the outermost limits of the draws, which are wider.",
    )


def nulls_sentence(nulls: pd.DataFrame) -> str:
    """How often what cannot be a copy counts as one, by both nulls."""
    by_kind = nulls.set_index("kind")["own_near_exact_rate"]
    ranges = {}
    for kind in ("twins", "other draw"):
        low, high = by_kind.loc[[kind]].min(), by_kind.loc[[kind]].max()
        ranges[kind] = share_text(high) if low == high else f"{share_text(low)} to {share_text(high)}"
    return (
        f"Among twins, {ranges['twins']} count as near-exact, depending on the size. Among the models' own clips from prompts of "
        f"clips that they never met, {ranges['other draw']}."
    )
