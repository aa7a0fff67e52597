"""What the last chapters tell of the study, arranged from its published tables; nothing here listens to sound.

Notebooks: 05_retrieval to 07_findings.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from helpers.base.arms import MAIN
from helpers.base.settings import Profile
from helpers.book.tables import with_interval
from helpers.copies.calibration import calibrate_threshold, flag, split_calibration
from helpers.copies.rates import clustered_rate
from helpers.copies.replication import near_exact, own_clip_top1, position
from helpers.copies.score_table import ScoreTable
from helpers.sound.transforms import TRANSFORMS

# From copy to stranger. "generated" is not among them: of those it is not known.
KNOWN = {
    "empirical": "perfect replays",
    "altered": "altered copies",
    "same_bed": "same bed, other events",
    "twins": "twins",
    "heldout": "held-out clips",
}
# Trained on, generated, flagged, near-exact by ear: as a secondary summary of the paper has them.
PAPER = (("5,000 clips", 5_000, 178, 30), ("all of AudioCaps", 45_000, 2_000, 10))


def rows_of(table: pd.DataFrame, **where) -> pd.DataFrame:
    """Rows of the main training set in which the columns have these values, by size and draw."""
    chosen = table["training_set"] == "main"
    for column, value in where.items():
        chosen &= table[column] == value
    by = [column for column in ("n_train", "draw") if column in table]
    return table[chosen].sort_values(by, kind="stable").reset_index(drop=True)


def checkpoints(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of arms that differ in nothing but the number of updates: the main one and the earlier checkpoints."""
    last = table.groupby("n_train")["updates"].transform("max")
    return table[(table["arm"] == MAIN) | (table["updates"] < last)].reset_index(drop=True)


def share_text(rate: float, low: float = math.nan, high: float = math.nan) -> str:
    """ "25 % (12 to 41)" of shares, "0.02 % (0.01 to 0.04)", "none (at most 0.8 %)"; a missing share is a dash."""
    if pd.isna(rate):
        return "–"
    if pd.isna(low) or pd.isna(high):
        return f"{_number(rate)}\u00a0%"
    if rate == 0:
        return f"none (at\u00a0most\u00a0{_number(high)}\u00a0%)"
    return f"{_number(rate)}\u00a0% ({_number(low)}\u00a0to\u00a0{_number(high)})"


def card_words(row: pd.DataFrame, value: str, low: str, high: str) -> dict[str, str]:
    """The first row's share in three ways: "near" whole, "share" without its interval, "limits" as "12 to 41 %"."""
    share, below, above = (float(x) for x in row[[value, low, high]].iloc[0])
    limits = "unknown" if math.isnan(below) or math.isnan(above) else f"{_number(below)} to {_number(above)}\u00a0%"
    return {"near": share_text(share, below, above), "share": share_text(share), "limits": limits}


def epochs_text(epochs: float) -> str:
    """Whole from ten on, else two digits: "1,800", "90", "0.89"."""
    return f"{epochs:,.0f}" if epochs >= 9.95 else f"{epochs:.2g}"


def _number(share: float) -> str:
    """In per cent: whole from ten on, else two digits; what is not all is not rounded to 100."""
    if 0.995 <= share < 1:
        return f"{min(100 * share, 99.9):.1f}"
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.2g}"


def shares(table: pd.DataFrame, *columns: str) -> list[str]:
    """`share_text` of each row; `columns` are those of the share and, if wanted, its lower and upper limit."""
    return [share_text(*row) for row in table[list(columns)].itertuples(index=False, name=None)]


def matches_of_own(decisions: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """For each of `runs` (n_train, draw): among its near-exact main clips, those whose match is the clip of their prompt,
    or one of its duplicates; as "50 of 53"."""
    main = decisions[(decisions["arm"] == MAIN) & decisions["near_exact"]]
    words = []
    for n_train, draw in runs[["n_train", "draw"]].itertuples(index=False):
        part = main[(main["n_train"] == n_train) & (main["draw"] == draw)]
        words.append(f"{int(part['own_top1'].sum())}\u00a0of\u00a0{len(part)}")
    return words


def known_kinds(
    table: ScoreTable, run: tuple, profile: Profile, tau: float | None, cluster_of: Mapping | None = None
) -> pd.DataFrame:
    """How clips of KNOWN kind fare by the rules that judge generated ones: one row a kind that the run has.

    Columns: kind, clips, and flagged, near_exact, own_top1 with _low and _high (bootstrap over own clips). tau is set on
    twins, so of the first null only part C3 counts as flagged or not. NaN without tau, or where clips have no own clip.
    """
    config, null = profile.thresholds, profile.nulls[0]
    detector = config.detector
    median = table.best(run, detector, null)["score"].median()
    rows = []
    for kind, name in KNOWN.items():
        if not table.has(run, detector, kind):
            continue
        best = table.best(run, detector, kind)
        ceiling = table.match_ceiling(run, detector, best)
        near = near_exact(position(best["score"].to_numpy(), ceiling, median), config.theta)
        groups = best["own_id"].where(best["own_id"] != "", best["query_id"]).to_numpy()
        top1 = own_clip_top1(best["ref_id"], best["own_id"], cluster_of) if (best["own_id"] != "").all() else None
        flags, unseen = None, np.ones(len(best), bool)
        if kind == null:
            unseen = split_calibration(best["query_id"], config.seed) == "C3"
        if tau is not None and not math.isnan(tau):
            flags = flag(table.normalised(run, detector, best, config.beta, config.k), tau)
        measured = {"flagged": (flags, unseen), "near_exact": (near, True), "own_top1": (top1, True)}
        rows.append({"kind": name, "clips": len(best)} | _rates(measured, groups, config))
    return pd.DataFrame(rows)


def _rates(measured: dict, groups: np.ndarray, config) -> dict:
    found = {}
    for name, (flags, counted) in measured.items():
        rate = low = high = math.nan
        if flags is not None:
            counted = np.broadcast_to(counted, len(flags))
            result = clustered_rate(flags[counted], groups[counted], config.n_bootstrap, config.confidence, config.seed)
            rate, low, high = result.rate, result.low, result.high
        found |= {name: rate, f"{name}_low": low, f"{name}_high": high}
    return found


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
    """Flagged shares with other backgrounds at one beta and K, and these two: those nearest to the wished that were tried.

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


def strengths_in_words(names: Iterable[str]) -> str:
    """The units of these alterations' strengths, as "gain dB, shift s"."""
    return ", ".join(f"{name.replace('_', ' ')} {TRANSFORMS[name].unit}" for name in dict.fromkeys(names))


def best_detectors(detection: pd.DataFrame) -> pd.DataFrame:
    """For every alteration at its strongest: the two detectors of greatest AUROC.

    Columns: transform, strength, then best, best_auroc, best_low, best_high and the same for second (missing where there
    is one detector). Strengths are taken to come from weak to strong, as the detection stage writes them.
    """
    rows = []
    for transform, part in detection.groupby("transform", sort=False):
        strength = part["strength"].iloc[-1]
        ordered = part[part["strength"] == strength].sort_values("auroc", ascending=False, kind="stable")
        row = {"transform": transform, "strength": strength}
        for place, found in zip(("best", "second"), ordered.itertuples()):
            row |= {place: found.detector, f"{place}_auroc": found.auroc}
            row |= {f"{place}_low": found.auroc_low, f"{place}_high": found.auroc_high}
        rows.append(row)
    return pd.DataFrame(rows)


def seed_outcomes(decisions: pd.DataFrame) -> pd.DataFrame:
    """How many of its seeds made a near-exact clip, a row a prompt: n_train, own_id, hits, seeds.

    From the arm of several seeds; without one from the main arm, where its prompts were given several.
    """
    several = rows_of(decisions, arm="seeds")
    if several.empty:  # where each prompt of the main arm was given several
        several = rows_of(decisions, arm=MAIN, draw=0)
    grouped = several.groupby(["n_train", "own_id"])["near_exact"]
    found = grouped.agg(hits="sum", seeds="size").astype(int).reset_index()
    return found[found["seeds"].groupby(found["n_train"]).transform("max") > 1].reset_index(drop=True)


def seed_shares(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Share of prompts with each number of hits, and what luck alone would give: n_train, hits, prompts, share, by_luck.

    By luck: every prompt has the same chance, that of all clips together. Prompts with fewer seeds than most (a silent
    clip has no verdict) are left out.
    """
    rows = []
    for n_train, part in outcomes.groupby("n_train"):
        seeds = int(part["seeds"].max())
        part = part[part["seeds"] == seeds]
        chance = part["hits"].mean() / seeds
        for hits in range(seeds + 1):
            count = int((part["hits"] == hits).sum())
            luck = float(binom.pmf(hits, seeds, chance))
            rows.append((n_train, hits, seeds, count, count / len(part), luck))
    return pd.DataFrame(rows, columns=["n_train", "hits", "seeds", "prompts", "share", "by_luck"])


def copies_in_words(dose: pd.DataFrame) -> pd.DataFrame:
    """dose.csv as it is shown: the outcomes by number of copies and kind, under any caption."""
    cells = dose[dose["caption_kind"] == "all"]
    return pd.DataFrame({
        "copies": cells["copies"], "kind": cells["kind"], "clips of the set": cells["n_clusters"],
        "generated": cells["n_generated"], "replicate": shares(cells, "rate", "ci_low", "ci_high"),
        "flagged": shares(cells, "flagged_rate", "flagged_low", "flagged_high"),
        "nearest is its own": cells["own_cluster_top1_rate"].map(share_text),
    })  # fmt: skip


def trends_in_words(trend: pd.DataFrame) -> pd.DataFrame:
    """dose_trend.csv as it is shown: the log-odds for each doubling, or why there are none."""
    outcomes = {"replicated": "replicates", "flagged": "flagged", "top1": "nearest is its own"}
    slope = with_interval(trend, "slope_per_doubling", "low", "high", percent=False)
    return pd.DataFrame({
        "outcome": trend["outcome"].map(outcomes), "copies": trend["kind"], "log-odds for each doubling": slope,
        "note": trend["note"].fillna(""),
    })  # fmt: skip


def paper_counts(confidence: float = 0.95) -> pd.DataFrame:
    """The paper's counts as summarised, with exact binomial intervals of ours.

    Columns: trained_on, generated, flagged, near_exact; near_exact_rate and precision (near-exact among the flagged) with
    _low and _high. The counts are "about" where they come from, so the intervals are a lower bound of what is not known.
    """
    rows = []
    for trained_on, generated, flagged, near in PAPER:
        row = {"trained_on": trained_on, "generated": generated, "flagged": flagged, "near_exact": near}
        for name, n in (("near_exact_rate", generated), ("precision", flagged)):
            low, high = proportion_confint(near, n, alpha=1 - confidence, method="beta")
            stem = name.removesuffix("_rate")
            row |= {name: near / n, f"{stem}_low": float(low), f"{stem}_high": float(high)}
        rows.append(row)
    return pd.DataFrame(rows)


def rare_event(count: int, n: int, confidence: float = 0.95) -> dict[str, str]:
    """What `count` of `n` means, in words to paste: the rate in per cent, how many in a million, and the chance in per cent
    that a thousand clips hold at least one; each with the ends of the exact binomial interval."""
    low, high = proportion_confint(count, n, alpha=1 - confidence, method="beta")
    words = {}
    for end, rate in (("", count / n), ("_low", low), ("_high", high)):
        words["rare_rate" if not end else f"rare{end}"] = f"{100 * rate:.3f}"
        words[f"rare_million{end}"] = f"{1e6 * rate:,.0f}"
        words[f"rare_thousand{end}"] = f"{100 * binom.sf(0, 1000, rate):.0f}"
    return words
