"""The study in words: sentences that follow from its tables by rule, so that they are true of whichever run is shown.

Rows are those of `summaries.rows.rows_of` for one detector, null and rate, from replication.csv. Shares are means over draws;
their limits are the lowest and the highest of any draw.
Notebooks: 01_corpus, 03_training, 05_retrieval, 07_findings.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import pandas as pd

from helpers.base.profile import Profile
from helpers.book.summaries.rows import FLAGGED, checkpoints
from helpers.book.words import card_words, epochs_text, limits, share_text, undefined_for, with_interval

LIKE_EPOCHS = 1.3  # epochs of two checkpoints count as alike up to this ratio
WHY_UNDEFINED = "as null and ceiling cannot be told apart"
# What a page may lead with, in this order: its columns in replication.csv, and those of clips of known kind.
MEASURES = {
    "near-exact of the clip whose caption was the prompt": (limits("near_exact_rate"), limits("near_exact")),
    "flagged": (FLAGGED, limits("flagged")),
    "nearest to the clip whose caption was the prompt": (limits("own_clip_top1_rate"), limits("own_top1")),
}


def of_merged(clusters: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """What was merged in the main corpus, from duplicates.csv and clip_pairs.csv."""
    merged = clusters[clusters["kind"] == "natural"]
    if merged.empty and pairs.empty:
        return "So no clips are merged."
    if merged.empty:
        return "No clips are merged, so of this finder's pairs here none was right: the precision above is that of a set full of copies."
    n_clusters = merged["cluster_id"].nunique()
    return (
        f"They join {len(merged):,} clips to {n_clusters:,} clusters, and each cluster counts as one clip from here on."
    )


def of_reader(report: dict) -> str:
    """What a reader made of a user's table, from `corpus.reader_report`."""
    used = report["n_listed"] - report["n_left_out"] - report["n_further_captions"]
    text = f"Of {report['n_listed']:,} listed clips {used:,} can be used; {report['n_left_out']:,} are left out."
    if report["n_further_captions"]:
        text += f" {report['n_further_captions']:,} more are further captions of a recording, which is one clip, under one of them."
    return text


def of_no_pair(profile: Profile) -> str:
    """Why no pair of recordings is listed."""
    if profile.corpus.mixed:
        return "No two recordings are that near."
    return (
        "**Not of this corpus:** it was not mixed here, so no recordings are known behind its clips, and no pair of them can "
        "be listed. What is said of such pairs is true of the book's own corpus."
    )


def of_leak(n_verified: int, n_across: int, touched: pd.Series, profile: Profile) -> str:
    """What the verified pairs of recordings say of the split, from `summaries.corpus.across_splits`."""
    if not profile.corpus.mixed:
        return (
            "Whether a recording got into more than one split cannot be told here: a file, or with AudioCaps a video, went "
            "to one split as a whole, but nobody knows which of them hold the same sound."
        )
    if not n_verified:
        return "The check finds no leak in the split, as no pair was verified."
    shares = [
        f"{touched[split]:,} of {size:,} {name} clips"
        for split, name, size in (
            ("heldout", "held-out", profile.corpus.n_heldout),
            ("background", "background", profile.corpus.n_background),
        )
    ]
    return (
        f"The check also finds a leak in the split. Of {n_verified:,} verified pairs, {n_across:,} link a training recording to "
        "one of another split; most are footsteps, where a walking sound begins with a step that is also packed singly. "
        f"{' and '.join(shares)} use such a recording."
    )


def of_forty_epochs(sizes: Sequence[int], lengths: Sequence[float], batch_size: int) -> str:
    """Which of the numbers of updates in `lengths` are TANGO's 40 epochs of which size."""
    updates = {n: 40 * n / batch_size for n in sizes}
    named = [f"{u:,.0f} updates are 40 epochs of {n:,} clips" for n, u in updates.items() if u in lengths]
    if not named:
        return (
            "No checkpoint of this profile falls on 40 epochs of one of its sizes; the profile pocket has one for each."
        )
    return f"Among them, TANGO's 40 epochs of each set: {', '.join(named)}."


def of_check(check: pd.DataFrame | None, profile: Profile, least_cosine: float) -> str:
    """Whether clips made again are those that were kept, from `regeneration.check_live`; None where no weights are at hand."""
    if check is None:
        text = f"The study publishes one denoiser, that of {min(profile.sizes):,} clips; the check is on its page. "
        return text + "For this one, compute the study yourself: make reproduce."
    agree = "They agree" if check["agrees"].all() else "They do NOT agree: this machine makes other clips"
    return f"{agree}: a cosine of {check['cosine'].min():.6f}, where at least {least_cosine} is asked for."


def of_verdict(clip: pd.Series) -> str:
    """What the thresholds say of one clip, from `summaries.thresholds.hardest_to_judge`."""
    verdict = "τ is unattainable"
    if pd.notna(clip["tau"]):
        verdict = f"τ = {clip['tau']:.3f}: {'flagged' if clip['flagged'] else 'not flagged'}"
    if pd.isna(clip["position"]):
        place = f"Its position is undefined, {WHY_UNDEFINED}: neither near-exact nor not."
    else:
        exact = "near-exact" if clip["near_exact"] else "not near-exact"
        place = f"Position {clip['position']:.2f} between null and ceiling: {exact} by rule."
    return f"Normalised score {clip['normalised']:.3f}, {verdict}. {place}"


def of_lead(first: pd.DataFrame, strangers: pd.Series, ends: Mapping[str, int]) -> dict[str, str]:
    """What a page leads with: `measure`, the first of MEASURES that is known of all three, and its words.

    `first`: rows of replication.csv by n_train; `ends`: sizes by name; `strangers`: the null's row of
    `summaries.findings.known_kinds`. Words are `words.card_words` of each size and of the null (`_twins`), and `undefined`, a
    sentence where whether a clip is near-exact is undefined, else empty.
    """
    rows = first.loc[list(ends.values())]
    known = (
        name
        for name, (ours, theirs) in MEASURES.items()
        if rows[ours[0]].notna().all() and pd.notna(strangers[theirs[0]])
    )
    measure = next(known, list(MEASURES)[-1])
    ours, theirs = MEASURES[measure]
    found = {"measure": measure, "undefined": ""} | card_words(strangers.to_frame().T, *theirs, "_twins")
    for name, n_train in ends.items():
        found |= card_words(first.loc[[n_train]], *ours, f"_{name}")
    counts = [
        f"{undefined} after training on {n:,}"
        for n, row in rows.iterrows()
        if (undefined := undefined_for(row["n_defined"], row["n_generated"]))
    ]
    if counts:
        found["undefined"] = f"Near-exact is {' and '.join(counts)}, {WHY_UNDEFINED}."
    if measure != next(iter(MEASURES)):
        of_size = [f"{_of_own(rows.loc[[n]], n)}, after training on {n:,}" for n in rows.index]
        found["undefined"] += (
            f" The nearest clip is the one whose caption was the prompt for {' and for '.join(of_size)}."
        )
    return found


def of_sizes(rows: pd.DataFrame, null: str = "twins") -> list[str]:
    """A sentence a training size: its near-exact share at the last checkpoint beside the null's; if undefined, what is known."""
    sentences, main = [], rows[rows["arm"] == "main"]
    for n_train, last in _shares(main, ["n_train"]).iterrows():
        undefined, after = undefined_for(last["n_defined"], last["n"]), f"After training on **{n_train:,} clips**"
        if pd.isna(last["rate"]):
            draws = main[main["n_train"] == n_train]
            flagged = "no threshold is attainable"
            if draws["flagged_rate"].notna().any():
                flagged = f"flagged are {_pooled(draws, *FLAGGED)}, of {null} {_pooled(draws, *limits('fpr_verified'))}"
            own = f"the nearest clip is the one whose caption was the prompt for {_of_own(draws, n_train)}"
            sentences.append(f"{after}, near-exact is {undefined}, {WHY_UNDEFINED}; {flagged}; {own}.")
            continue
        share = share_text(last["rate"], last["low"], last["high"]) + (f" ({undefined})" if undefined else "")
        theirs = share_text(last["null_rate"])
        if pd.isna(last["null_rate"]):
            verdict = f"which is undefined for all {null}, so nothing follows"
        elif last["low"] > last["null_high"]:
            verdict = f"more than of {null} ({theirs})"
        elif last["rate"] <= last["null_rate"]:
            verdict = f"no more than of {null} ({theirs}), so the share is no sign of copying"
        else:
            verdict = f"not clearly more than of {null} ({theirs})"
        sentences.append(f"{after}, {share} of what is generated is near-exact of its own clip, {verdict}.")
    return sentences


def of_answer(rows: pd.DataFrame) -> str:
    """What came out: what each size's near-exact share says beside the null's, at the last checkpoint. Sizes that begin alike
    share a sentence."""
    curves, parts = checkpoints(rows), []
    for (n_train, updates), last in _shares(rows[rows["arm"] == "main"], ["n_train", "updates"]).iterrows():
        first = _shares(curves[curves["n_train"] == n_train], ["updates"]).iloc[0]
        opening = f"After {updates:,} updates on"
        if pd.isna(last["rate"]) or pd.isna(last["null_rate"]):
            said = f"what a model does is undefined, {WHY_UNDEFINED}"
        elif last["low"] > last["null_high"]:
            said = f"a model replays {'them' if last['rate'] >= 0.5 else 'some of them'}"
            opening = "Trained on" if first["low"] > first["null_high"] else "Trained for long enough on"
        else:
            said = "we cannot tell"
            if last["rate"] <= last["null_rate"]:
                said += ": its clips are near-exact no more often than honest ones"
        parts.append((opening, f"{n_train:,} clips, {said}"))
    groups = groupby(parts, key=itemgetter(0))
    return " ".join(f"{opening} {'; on '.join(said for _, said in group)}." for opening, group in groups)


def _pooled(draws: pd.DataFrame, rate: str, low: str, high: str) -> str:
    return share_text(draws[rate].mean(), draws[low].min(), draws[high].max())


def _of_own(draws: pd.DataFrame, n_train: int) -> str:
    """Own-clip top-1 beside that of twins; without any, beside that of a guess."""
    twins = _pooled(draws, *limits("twins_top1_rate"))
    beside = f"by a guess for {share_text(1 / n_train)}" if twins == "–" else f"of twins for {twins}"
    return f"{_pooled(draws, *limits('own_clip_top1_rate'))}, {beside}"


def of_onset(rows: pd.DataFrame) -> list[str]:
    """Between which checkpoints each size's near-exact share first rises above the null's, in updates and in epochs."""
    sentences = []
    for n_train, curve in _shares(checkpoints(rows), ["n_train", "updates", "epochs"]).groupby(level="n_train"):
        curve = curve.dropna(subset=["low", "null_high"])
        if curve.empty:
            sentences.append(
                f"With **{n_train:,} clips** it cannot be told: no checkpoint has an interval to judge by."
            )
            continue
        above = (curve["low"] > curve["null_high"]).to_numpy()
        (_, last, epochs) = curve.index[-1]
        if not above.any():
            sentences.append(
                f"With **{n_train:,} clips** it does not begin within {last:,} updates, {epochs_text(epochs)} epochs."
            )
            continue
        first = int(above.argmax())
        if first == 0:
            (_, updates, epochs) = curve.index[0]
            when = f"by the first checkpoint, {updates:,} updates, {epochs_text(epochs)} epochs"
        else:
            (_, u, e), (_, updates, epochs) = curve.index[first - 1], curve.index[first]
            when = f"between {u:,} and {updates:,} updates, {epochs_text(e)} and {epochs_text(epochs)} epochs"
        sentences.append(f"With **{n_train:,} clips** copying begins {when}.")
    return sentences


def of_relation(law: pd.DataFrame) -> str:
    """What law.csv says of its primary measure: the exponent, whether linear is excluded, the prediction and its verdict."""
    if law.empty:
        return "Too few sizes begin to copy here to relate size and the start of copying."
    row = law.iloc[0]
    linear = "excluded" if row["exponent_low"] > 1 or row["exponent_high"] < 1 else "not excluded"
    sizes = " and ".join(", ".join(f"{int(n):,}" for n in str(row["sizes_fitted"]).split()).rsplit(", ", 1))
    text = (
        "The onset, the number of updates at which 5 % of what a model makes is near-exact of its own clip, "
        f"grows with the number of clips as n to the power of {row['exponent']:.2f} "
        f"({row['exponent_low']:.2f} to {row['exponent_high']:.2f}; sizes {sizes}, one architecture): growth in proportion "
        f"is {linear}. So a model of {int(row['n_predicted']):,} clips should reach its onset at {_thousands(row['predicted_updates'])} "
        f"updates ({_thousands(row['predicted_low'])} to {_thousands(row['predicted_high'])})"
    )
    verdicts = {
        "no run": "no such model was trained.",
        "undecided": "no run here was trained for long enough to tell."
        if pd.isna(row["observed_updates"])
        else f"the run reached it at {row['observed_updates']:,.0f}, but so wide an interval tells little.",
        "supported": f"the run reached it at {row['observed_updates']:,.0f}, as predicted.",
        "refuted": "what the run did lies outside.",
    }
    return f"{text}: {verdicts[row['verdict']]}"


def _thousands(updates: float) -> str:
    """Two significant digits are all that such an interval bears."""
    return f"{float(f'{updates:.2g}'):,.0f}"


def of_negatives(detection: pd.DataFrame) -> list[str]:
    """A sentence a kind of negatives, from detection.csv: at how many sizes mel leads each embedding, each by its own bias."""
    names = {"twins": "twins", "heldout": "held-out clips", "same_bed": "strangers over the same bed"}
    rows = detection[(detection["transform"] == "all") & (detection["bias"] == "own")]
    sentences = []
    for negatives, part in rows[rows["detector"].isin(["clap", "aisfx"])].groupby("negatives", sort=False):
        found = []
        for detector, of in part.dropna(subset="below_mel").groupby("detector", sort=False):
            leads, behind = int((of["below_mel_low"] > 0).sum()), int((of["below_mel_high"] < 0).sum())
            text = f"{detector} at {leads} of {len(of)} sizes"
            found.append(f"{text} (and is behind at {behind})" if behind else text)
        if found:
            sentences.append(f"Against **{names[negatives]}**, mel leads {' and '.join(found)}.")
    return sentences


def of_equal_epochs(rows: pd.DataFrame) -> str:
    """All sizes after exactly as many epochs, if there are such checkpoints: near-exact shares, and whether they fall."""
    curve = _shares(checkpoints(rows), ["epochs", "n_train"])
    sizes = curve.index.unique("n_train")
    alike = [(epochs, part) for epochs, part in curve.groupby(level="epochs") if len(part) == len(sizes) > 1]
    if not alike:
        return "No number of epochs is common to all sizes here."
    epochs, part = alike[-1]
    part = part.droplevel("epochs").sort_index()
    if part["rate"].isna().any():
        return f"At equal epochs, {epochs_text(epochs)}, nothing can be compared: near-exact is undefined."
    shares = [f"{share_text(row['rate'], row['low'], row['high'])} with {n:,} clips" for n, row in part.iterrows()]
    small, large = part.iloc[0], part.iloc[-1]
    falls = small["low"] > large["high"]
    text = f"At equal epochs, {epochs_text(epochs)}, near-exact are {', '.join(shares)}: "
    text += "it falls there too." if falls else "no fall shows there."
    smallest = rows[rows["n_train"] == sizes.min()]
    updates, last = int(smallest.loc[smallest["epochs"] == epochs, "updates"].min()), int(smallest["updates"].max())
    if not falls and updates < last:
        text += f" But with {sizes.min():,} clips these are only {updates:,} of {last:,} updates, and a model that makes little real sound yet copies little."
    return text


def of_epochs(rows: pd.DataFrame) -> list[str]:
    """A sentence for each size and the next: near-exact shares after about as many epochs, wherever any were found."""
    curve = _shares(checkpoints(rows), ["n_train", "epochs"])
    sizes, sentences = sorted(curve.index.unique("n_train")), []
    for small, large in zip(sizes, sizes[1:]):
        pairs = []
        for epochs, one in curve.loc[small].iterrows():
            for later, other in curve.loc[large].iterrows():
                if 1 / LIKE_EPOCHS <= later / epochs <= LIKE_EPOCHS and one["rate"] + other["rate"] > 0:
                    shares = (share_text(side["rate"], side["low"], side["high"]) for side in (one, other))
                    pairs.append(f"{epochs_text(epochs)} and {epochs_text(later)}: {' and '.join(shares)}")
        if pairs:
            sentences.append(f"After about as many epochs with **{small:,} and {large:,} clips**: {'; '.join(pairs)}.")
    return sentences


def of_quality(rows: pd.DataFrame) -> dict[str, str]:
    """The largest size's clips of training prompts, from rows of quality.csv: n_large, distances, caption_agreement, silent."""
    large = rows[(rows["n_train"] == rows["n_train"].max()) & (rows["prompt_set"] == "train")]
    if large.empty:
        return dict.fromkeys(("n_large", "distances", "caption_agreement", "silent"), "unknown")
    distances = with_interval(large, *limits("kid"), percent=False)
    places = []
    for embedding, distance, *marks in zip(large["embedding"], distances, large["twins_kid"], large["floor_kid"]):
        honest = [f"{kind} at {mark:.2g}" for kind, mark in zip(("twins", "held-out clips"), marks) if pd.notna(mark)]
        beside = " and ".join(honest).replace(" at ", " stand at ", 1)
        places.append(f"by {embedding} at {distance}" + (f", where {beside}" if honest else ""))
    agreement = with_interval(large, *limits("clap_agreement"), percent=False)[0]
    silent = share_text(*large[list(limits("silent_rate"))].iloc[0])
    return {"n_large": f"{large['n_train'].iloc[0]:,}", "distances": "; ".join(places),
            "caption_agreement": agreement, "silent": silent}  # fmt: skip


def of_machines(manifests: dict[str, dict]) -> str:
    """What each run was trained on, from the manifests of their training stages, and in which number format."""
    kinds = {}
    for run, manifest in manifests.items():
        machine = manifest["machine"]
        automatic = bool(machine["gpu"]) or any(name.endswith("bf16") for name in machine["vectors"])
        half = {"bf16": True, "no": False}.get(manifest["config"]["precision"], automatic)
        kinds.setdefault(f"{machine['gpu'] or machine['cpu']} ({'bfloat16' if half else 'float32'})", []).append(run)
    if len(kinds) == 1:
        return f"All models were trained on one kind of machine: {next(iter(kinds))}."
    parts = "; ".join(f"on {kind} {', '.join(runs)}" for kind, runs in kinds.items())
    return f"Where the models were trained (n is the size, d the draw), and in which number format: {parts}."


def _shares(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """rate, low, high, null_rate and null_high over the draws of each group, in the order of `by`."""
    return rows.groupby(by).agg(
        rate=("near_exact_rate", "mean"), low=("near_exact_low", "min"), high=("near_exact_high", "max"),
        null_rate=("null_near_exact_rate", "mean"), null_high=("null_near_exact_high", "max"),
        n=("n_generated", "sum"), n_defined=("n_defined", "sum"),
    )  # fmt: skip
