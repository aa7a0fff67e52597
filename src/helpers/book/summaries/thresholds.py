"""Tables of thresholds, of what they flag and of what the bias changes.

Notebook: 06_thresholds.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.base.arms import MAIN
from helpers.base.profile import Profile
from helpers.book.played_clips import PlayedClips
from helpers.book.summaries.rows import FLAGGED, near_exact_of, pooled, rows_of
from helpers.book.tables import arrange, captioned
from helpers.book.words import defined_shares, limits, plain, shares
from helpers.copies.calibration import COMMON, calibrate_threshold, flag, split_calibration
from helpers.copies.rates import exact_interval
from helpers.copies.score_table import ScoreTable
from helpers.sound.corpus import Corpus
from helpers.sound.silence import shared_silence

# Trained on, generated, flagged, near-exact by ear: as a secondary summary of the paper has them.
PAPER = (("5,000 clips", 5_000, 178, 30), ("all of AudioCaps", 45_000, 2_000, 10))


def hardest_to_judge(decisions: pd.DataFrame, galleries: Mapping[int, PlayedClips], rows: pd.DataFrame) -> pd.Series:
    """Of the clips played by rank, the row of decisions of one that a rule may mistake, with size, slot, tau and flagged.

    It is the most similar one that is near-exact though its match is another clip than its prompt's; where there is none, the one nearest to its
    threshold. `rows` of replication.csv, of one null, have these by n_train; where none is attainable it is the first clip.
    """
    played = pd.concat([gallery.rows("quantile").assign(size=n) for n, gallery in galleries.items()])
    judged = decisions.merge(played[["slot", "query_id", "size"]], on="query_id")
    judged["tau"] = judged["size"].map(rows[rows["draw"] == 0].set_index("n_train")["tau"])
    judged["flagged"] = judged[f"flagged_{rows['null'].iloc[0]}"]
    mistaken = judged[judged["near_exact"].fillna(False).astype(bool) & ~judged["own_top1"].astype(bool)]
    if len(mistaken):
        return mistaken.loc[mistaken["score"].idxmax()]
    distance = (judged["normalised"] - judged["tau"]).abs()
    return judged.loc[distance.idxmin() if distance.notna().any() else 0]


def prompt_match_and_silence(clip: pd.Series, gallery: PlayedClips, data: Corpus) -> tuple[str, str, float]:
    """The two captions of a clip that is played and of its match, and the share of frames in which both are silent."""
    match, caption = data.clip(clip["ref_id"])
    return gallery[clip["slot"]]["caption"], caption, shared_silence(gallery.audio(clip["slot"]), match)


def scores_and_taus(scores: Mapping[tuple[int, str], np.ndarray], taus: Mapping[int, float | None]):
    """What `figures.plot_thresholds` draws, from scores by size and kind and thresholds by size; common: the largest's."""
    parts = [pd.DataFrame({"n_train": n, "kind": kind, "normalised": part}) for (n, kind), part in scores.items()]
    common = taus[max(taus)] if len(taus) > 1 else None
    lines = pd.DataFrame({"own": pd.Series(taus, dtype=float), "common": common}, dtype=float)
    return pd.concat(parts), lines.reset_index(names="n_train")


def thresholds_by_null(rates: pd.DataFrame, null: str) -> pd.DataFrame:
    """Each threshold, the rate that it was set for and verified at, and what it flags, from rows of replication.csv."""
    names = {
        "twins": "twins",
        "heldout": "held-out clips",
        null + COMMON: f"the largest size's {null}, one τ for all",
    }
    tau = plain(rates["tau"], ".4f").replace("–", "unattainable")
    columns = {
        "n": "n_train",
        "draw": "draw",
        "null": rates["null"].map(names),
        "false alarms, intended": "fpr",
        "τ": tau,
    }
    columns |= {"false alarms, checked": limits("fpr_verified"), "flagged": FLAGGED}
    return arrange(
        rates, columns, "Every threshold, with what it flags: all draws and rates.", {"false alarms, intended": ".1%"}
    )


def copies_and_flags(rows: pd.DataFrame) -> pd.DataFrame:
    """What counts, by size: near-exact of the own clip and flagged, each beside the same of honest clips; draws pooled.

    `rows` are those of the main arm, of one null and rate, read by `rows.of_own`.
    """
    sizes = pooled(rows)
    near = defined_shares(sizes, "n_defined", "n_generated", *limits("near_exact_rate"))
    names = [f"{n:,} clips, {draws} model{'s' * (draws > 1)}" for n, draws in zip(sizes["n_train"], sizes["draws"])]
    columns = {"trained on": names}
    columns |= {"near-exact of the own clip": near, "the same of honest clips": limits("null_near_exact_rate")}
    columns |= {"flagged": FLAGGED, "false alarms, checked": limits("fpr_verified")}
    return arrange(sizes, columns, "What counts: copies of the own clip, and flags, each beside honest clips.")


def near_exact_and_flags(rows: pd.DataFrame, confidence: float, one_gallery: bool = False) -> pd.DataFrame:
    """Near-exact clips and flags of each run, the paper's as summarised below them."""
    ours = rows.assign(
        trained_on=[
            f"{n:,} clips, draw {draw}{'' if arm == MAIN else f', {updates:,} updates'}"
            for n, draw, arm, updates in zip(rows["n_train"], rows["draw"], rows["arm"], rows["updates"])
        ],
        generated=rows["n_generated"],
        near=defined_shares(rows, "n_defined", "n_generated", *limits("near_exact_rate")),
        spared=defined_shares(rows, "null_n_defined", "null_n", *limits("null_near_exact_rate")),
        precise=defined_shares(rows, "flagged_n_defined", "flagged", *limits("precision")),
    )
    paper = paper_counts(confidence)
    paper["trained_on"] += " (paper, as summarised)"
    texts = {"near": shares(paper, *limits("near_exact_rate")), "precise": shares(paper, *limits("precision"))}
    both = pd.concat([ours, paper.assign(spared="–", **texts)], ignore_index=True)
    both = both.astype({"flagged": "Int64", "distinct_clusters": "Int64"})
    title = near_exact_of(one_gallery)
    columns = {"trained on": "trained_on", "generated": "generated", title: "near"}
    columns |= {"training clips replayed": "distinct_clusters", "honest clips near-exact": "spared"}
    caption = f"Every run beside the paper's: {title}, and flags, with 95 % intervals; a dash stands for unknown or nothing flagged."
    return arrange(both, columns | {"clips flagged": "flagged", "of the flagged, near-exact": "precise"}, caption)


def flags_by_detector(rows: pd.DataFrame, sensitivity: pd.DataFrame, null: str) -> pd.DataFrame:
    """What each detector flags: as in use, without the bias, and by a threshold set on held-out clips.

    `rows` are those of the main arm and first draw at one rate, of replication.csv.
    """
    run, own = ["n_train", "detector"], rows[rows["null"] == null].reset_index(drop=True)
    unbiased = rows_of(sensitivity, beta=0, draw=0).drop_duplicates(run)
    without_bias, on_heldout = (
        own[run].merge(part[run].assign(share=shares(part, *FLAGGED)), on=run, how="left")["share"].fillna("–")
        for part in (unbiased, rows[rows["null"] == "heldout"])
    )
    columns = {"n": "n_train", "detector": "detector", "flagged": FLAGGED, "flagged without bias": without_bias}
    columns |= {
        "flagged, τ set on held-out clips": on_heldout,
        "false alarms, checked": limits("fpr_verified"),
        "own clip nearest / of twins": [
            f"{a} / {b}" for a, b in zip(shares(own, "own_clip_top1_rate"), shares(own, "twins_top1_rate"))
        ],
    }
    caption = f"What each detector flags where {100 * own['fpr'].iloc[0]:g} % of honest clips should be, first draw, with 95 % intervals; "
    return arrange(own, columns, caption + "those of the last column are in chapter 5.")


def choices_in_words(choices: pd.DataFrame) -> pd.DataFrame:
    """Rows of choices.csv as they are shown: the area of each beta and K, a column a size."""
    wide = choices.pivot(index=["beta", "k"], columns="n_train", values="auroc").reset_index()
    columns = {"β": wide["beta"], "K": wide["k"]} | {f"{n:,} clips": wide[n] for n in wide.columns.drop(["beta", "k"])}
    caption = "How well each β and K tells altered copies from twins: area under the ROC curve, part C1, first draw."
    return arrange(wide, columns, caption, dict.fromkeys(list(columns)[2:], ".3f"))


def of_choice(choices: pd.DataFrame, beta: float, k: int) -> str:
    """At how many sizes this beta and K are the best of those tried, and how far from the best at most; "" where they were not tried."""
    areas = choices.set_index("n_train")["auroc"].astype(float)
    used = areas[((choices["beta"] == beta) & (choices["k"] == k)).to_numpy()]
    if used.empty:
        return ""
    behind = areas.groupby(level=0).max() - used
    best = int((behind == 0).sum())
    told = f"It is the best of those tried at {best} of {len(behind)} sizes here"
    return f"{told}." if best == len(behind) else f"{told}, and at most {behind.max():.3f} from the best at the others."


def bias_effects(table: ScoreTable, profile: Profile) -> pd.DataFrame:
    """`bias_effect` of the first draw at each size, as it is shown; without rows where no rate is attainable."""
    runs = {n: bias_effect(table, ("main", n, 0), profile) for n in profile.sizes}
    rows = pd.concat([effect.assign(n=n) for n, effect in runs.items()], ignore_index=True)
    if rows.empty:
        return rows
    columns = {"n": "n", "kind": rows["kind"].replace({"heldout": "held-out"}), "clips": "clips"}
    columns |= {"flagged by both": "both", "only without bias": "only_without", "only with it": "only_with"}
    columns |= {"bias of those lost": "bias_of_lost", "of those gained": "bias_of_gained"}
    config = profile.thresholds
    caption = f"What β = {config.beta:g} and K = {config.k} change; of the null, part C3. Biases are medians."
    return arrange(rows, columns, caption, {"bias of those lost": ".3f", "of those gained": ".3f"})


def near_exact_by_content(strata: pd.DataFrame) -> pd.DataFrame:
    """Near-exact shares by what the training clip of the prompt holds, of generated clips and of twins, from strata.csv."""
    run = ["n_train", "draw", "stratum"]
    share = defined_shares(strata, "n_defined", "n", "rate", "low", "high")
    table = strata.assign(share=share).pivot(index=run, columns="kind").reset_index()
    parts = {"generated": ("n", "generated"), "near-exact": ("share", "generated"),
             "twins": ("n", "twins"), "near-exact of twins": ("share", "twins")}  # fmt: skip
    names = {"n": ("n_train", ""), "draw": ("draw", ""), "training clip of the prompt holds": ("stratum", "")}
    shown = pd.DataFrame({title: table[key] for title, key in (names | parts).items()})
    return captioned(shown.infer_objects(), "Near-exact by rule, by what the training clip holds.")


def paper_counts(confidence: float = 0.95) -> pd.DataFrame:
    """The paper's counts as summarised, with exact binomial intervals of ours.

    Columns: trained_on, generated, flagged, near_exact; near_exact_rate and precision (near-exact among the flagged) with
    _low and _high. The counts are "about" where they come from, so the intervals are a lower bound of what is not known.
    """
    rows = []
    for trained_on, generated, flagged, near in PAPER:
        row = {"trained_on": trained_on, "generated": generated, "flagged": flagged, "near_exact": near}
        for name, n in (("near_exact_rate", generated), ("precision", flagged)):
            row |= dict(zip(limits(name), (near / n, *exact_interval(near, n, confidence))))
        rows.append(row)
    return pd.DataFrame(rows)


def bias_effect(table: ScoreTable, run: tuple, profile: Profile) -> pd.DataFrame:
    """What the bias changes: clips flagged with it and without it, each at a threshold of its own for the same rate.

    One row for the generated main clips and one for the first null's untouched part C3. Columns: kind, clips, both,
    only_without, only_with, and the median bias (at the profile's K) of those lost and gained. Empty where the rate
    is unattainable.
    """
    config, null, detector = profile.thresholds, profile.nulls[0], profile.thresholds.detector
    best = {"generated": table.best(run, detector, "generated", MAIN), null: table.best(run, detector, null)}
    part = split_calibration(best[null]["query_id"], config.seed)
    passed = {}
    for beta in (0.0, config.beta):
        scores = {kind: table.normalised(run, detector, rows, beta, config.k) for kind, rows in best.items()}
        tau = calibrate_threshold(scores[null][part == "C2"], config.fpr)
        if tau is None:
            return pd.DataFrame()
        passed[beta] = {kind: flag(values, tau) for kind, values in scores.items()}
    rows = []
    for kind, clips in best.items():
        counted = part == "C3" if kind == null else np.ones(len(clips), bool)
        without, with_it = (passed[beta][kind][counted] for beta in (0.0, config.beta))
        background = table.background(run, detector, clips["query_id"].to_numpy())[counted, : config.k].mean(axis=1)
        lost, gained = without & ~with_it, with_it & ~without
        rows.append({
            "kind": kind, "clips": int(counted.sum()), "both": int((without & with_it).sum()),
            "only_without": int(lost.sum()), "only_with": int(gained.sum()),
            "bias_of_lost": float(np.median(background[lost])) if lost.any() else math.nan,
            "bias_of_gained": float(np.median(background[gained])) if gained.any() else math.nan,
        })  # fmt: skip
    return pd.DataFrame(rows)


def background_variants(sensitivity: pd.DataFrame, beta: float, k: int) -> tuple[pd.DataFrame, float, int]:
    """Flagged shares with other backgrounds at one beta and K, and these two: those nearest to what was asked for that were tried.

    Each size's whole background is in the table twice, by all clips and by the sample that the other backgrounds were
    tried on; the sample's row comes last and is kept, so that all rows count the same clips. No rows where no other
    background was tried.
    """
    other = sensitivity["background_size"] < sensitivity["background_size"].max()
    tried = sensitivity[other | (sensitivity["contaminated"] > 0)]
    if tried.empty:
        return tried, beta, k
    beta = min(tried["beta"].unique(), key=lambda value: abs(value - beta))
    k = min(tried["k"].unique(), key=lambda value: abs(value - k))
    rows = sensitivity[(sensitivity["beta"] == beta) & (sensitivity["k"] == k)]
    rows = rows.drop_duplicates(["n_train", "background_size", "contaminated"], keep="last")
    return rows.reset_index(drop=True), float(beta), int(k)
