"""The claims ledger: each of the paper's claims beside what this run measured.

The paper's values come from its abstract or from a secondary summary of it; what neither states stays "unknown". Each
verdict follows from an interval by a rule whose bounds are in `profiles/protocol.yml`, never by hand.

Notebook: 07_findings.
"""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd

from helpers.copies.conclusions.equal_moments import MOST_UNLIKE, last_in_common
from helpers.copies.conclusions.evidence import (
    CANNOT_TELL,
    FAILS,
    NOT_COMPARABLE,
    UNKNOWN,
    Evidence,
    Measured,
    above,
    below,
)
from helpers.copies.rates import cluster_bootstrap

REMARKS = {
    "clap": "the CLAP here is small and trained on the book's corpus, so nothing follows for LAION's",
    "laion": "LAION's CLAP, which may not be the paper's",
    "aisfx": "an encoder that others trained on sound effects; nothing follows for LAION's CLAP",
}
COLUMNS = ["claim", "paper_value", "source", "our_value", "ci_low", "ci_high", "verdict", "why"]


def _nothing(why: str) -> Measured:
    """Of a claim that this run measured nothing of."""
    return Measured(None, None, None, CANNOT_TELL, why)


def _near_exact_smallest(evidence: Evidence) -> Measured:
    measured, bound = evidence.near_exact(0), evidence.rules["smallest_near_exact_above"]
    why = f"{evidence.runs(0)}, near-exact of the own clip, by rule ({evidence.of_the_rule(0)}): whether the interval lies above {bound:.0%}"
    return above(measured, bound, why)


def _near_exact_middle(evidence: Evidence) -> Measured:
    if len(evidence.sizes) < 3:
        return _nothing("this profile has no middle size")
    middle = evidence.middle
    measured, bound = evidence.near_exact(middle), evidence.rules["middle_near_exact_below"]
    if not evidence.equally_long:
        return _of_its_own_length(evidence, middle)
    why = f"{evidence.runs(middle)}, near-exact of the own clip, by rule ({evidence.of_the_rule(middle)}): whether the interval lies below {bound:.0%}"
    return below(measured, bound, why)


def _of_its_own_length(evidence: Evidence, which: int) -> Measured:
    """A size's share after training of a length of its own: longer training would give a greater one, so no bound judges it."""
    why = (
        f"{evidence.runs(which)}, near-exact of the own clip after {evidence.trained_for(which)}, by rule ({evidence.of_the_rule(which)}). "
        "Each size was trained for a length of its own, so that copying has time to begin; for how long the paper's were is unknown"
    )
    measured = evidence.near_exact(which)
    return Measured(*measured, CANNOT_TELL if math.isnan(measured[0]) else NOT_COMPARABLE, why)


def _near_exact_largest(evidence: Evidence) -> Measured:
    if not evidence.equally_long:
        return _of_its_own_length(evidence, -1)
    measured, why = evidence.near_exact(-1), f"{evidence.runs(-1)}, for the paper's 45,000"
    if measured[1] > evidence.spared(-1)[2]:
        return Measured(
            *measured, FAILS, f"{why}; the interval lies above the honest clips': {evidence.of_the_rule(-1)}"
        )
    why += f"; {evidence.of_the_rule(-1)}: a share that does not exceed theirs is no evidence, nor is its absence"
    return Measured(*measured, CANNOT_TELL, why)


def _share(
    size: str, columns: tuple[str, str, str], absent: Callable[[Evidence, int], str], remark: Callable[[Evidence], str]
) -> Callable[[Evidence], Measured]:
    """A share that the paper gives for a size, "middle" or "largest", measured here but not comparable: `remark` says why,
    `absent` why it is none."""

    def judge(evidence: Evidence) -> Measured:
        if size == "middle" and len(evidence.sizes) < 3:
            return _nothing("this profile has no middle size")
        which = evidence.middle if size == "middle" else -1
        measured = evidence.rate(which, *columns)
        if math.isnan(measured[0]):
            return _nothing(absent(evidence, which))
        return Measured(*measured, NOT_COMPARABLE, f"{evidence.runs(which)}{remark(evidence)}")

    return judge


def _flagged(size: str) -> Callable[[Evidence], Measured]:
    def remark(evidence: Evidence) -> str:
        return f"; the paper's threshold is unknown, ours flags {evidence.rules['fpr']:.0%} of honest clips, so the shares cannot be compared"

    columns = ("flagged_rate", "ci_low", "ci_high")
    return _share(size, columns, lambda *_: "the false-positive rate was unattainable", remark)


def _precision(size: str) -> Callable[[Evidence], Measured]:
    def absent(evidence: Evidence, which: int) -> str:
        flagged = (evidence.at(which)["flagged_rate"] > 0).any()
        return f"near-exact is {evidence.undefined(which)}" if flagged else "nothing was flagged"

    remark = ": near-exact by rule, where the paper listened; another threshold gives another share"
    return _share(size, ("precision", "precision_low", "precision_high"), absent, lambda _: remark)


def _falls_with_size(axis: str) -> Callable[[Evidence], Measured]:
    """Smallest against largest set, at checkpoints where `axis`, updates or epochs, is alike (`_alike`)."""

    def judge(evidence: Evidence) -> Measured:
        rows = evidence.checkpoints
        if len(evidence.sizes) < 2:
            return _nothing("this profile has one size")
        small, large = (_by_checkpoint(rows[rows["n_train"] == evidence.sizes[end]]) for end in (0, -1))
        few, many = _alike(small, large, axis, evidence.equally_long)
        measured = (few["rate"] - many["rate"], few["low"] - many["high"], few["high"] - many["low"])
        why = f"near-exact of the own clip at {_described(evidence.sizes[0], few)} less that at "
        why += f"{_described(evidence.sizes[-1], many)}: whether the interval, which combines both, lies above 0"
        why += "".join(
            f"; at n = {evidence.sizes[end]:,} {text}" for end in (0, -1) if (text := evidence.undefined(end))
        )
        if _unlike(few, many, axis) > math.log(MOST_UNLIKE) and not evidence.equally_long:
            why += f"; the sizes share no moment of equal {axis}"
            if few[axis] > many[axis] or not measured[1] > 0:
                return Measured(*measured, CANNOT_TELL, f"{why}, so this run cannot tell")
            why += ", but the small set has fewer of them here, and is copied more often the more it has"
        return above(measured, 0.0, why)

    return judge


def _unlike(few: dict, many: dict, axis: str) -> float:
    return abs(math.log(few[axis] / many[axis]))


def _alike(small: list[dict], large: list[dict], axis: str, equally_long: bool) -> tuple[dict, dict]:
    """The checkpoints of two sizes where `axis` is most alike, of these the last.

    Where each size has a schedule of its own, the last ones that are alike up to a step of it (`last_in_common`).
    """
    if not equally_long and (points := last_in_common([small, large], axis)):
        return points[0], points[1]
    return min(product(small, large), key=lambda pair: (round(_unlike(pair[0], pair[1], axis), 9), -pair[0][axis]))


def _described(n_train: int, point: dict) -> str:
    share = "" if math.isnan(point["rate"]) else f": {point['rate']:.1%}"
    return f"n = {n_train:,} ({point['updates']:,} updates, {point['epochs']:.0f} epochs{share})"


def _by_checkpoint(rows: pd.DataFrame) -> list[dict]:
    """Mean over draws of the share near-exact of the own clip, and the widest limits, at each checkpoint."""
    rate, low, high = (f"own_near_exact_{end}" for end in ("rate", "low", "high"))
    grouped = rows.groupby("updates", as_index=False)
    table = grouped.agg(epochs=("epochs", "mean"), rate=(rate, "mean"), low=(low, "min"), high=(high, "max"))
    return table.to_dict("records")


def _follows_own_clip(evidence: Evidence) -> Measured:
    measured, twins = evidence.share(0, "own_clip_top1"), evidence.at(0)["twins_top1_high"].max()
    if pd.isna(twins):
        why = "there are no twins to compare with: this corpus' recordings cannot be mixed anew"
        return Measured(*measured, CANNOT_TELL, why)
    why = f"{evidence.runs(0)}, own-clip top-1: whether the interval lies above the {twins:.1%} that twins reach at most, without copying"
    if len(evidence.sizes) > 1:
        large, theirs = (evidence.share(-1, whose)[0] for whose in ("own_clip_top1", "twins_top1"))
        why += f" (at n = {evidence.sizes[-1]:,}: {large:.1%} beside {theirs:.1%} of twins)"
    return above(measured, twins, why)


def _mel_against(embedding: str) -> Callable[[Evidence], Measured]:
    """Mel's AUROC less the embedding's, known copies against twins, each with its own beta and K; the closest size judges."""

    def judge(evidence: Evidence) -> Measured:
        remark = REMARKS["laion" if embedding == "clap" and not evidence.own_clap else embedding]
        rows = evidence.detection.query("detector == @embedding and bias == 'own' and transform == 'all'")
        judged = rows[rows["negatives"] == "twins"].dropna(subset="below_mel")
        if judged.empty:
            return _nothing("this run did not use both detectors, or has no twins")
        low, high = float(judged["below_mel_low"].min()), float(judged["below_mel_high"].max())
        measured = (float(judged["below_mel"].mean()), low, high)
        sizes = ", ".join(f"{row.below_mel:+.2f} at n = {row.n_train:,}" for row in judged.itertuples())
        why = (
            f"AUROC of mel less {embedding}, known copies against twins, each with its own beta and K ({sizes}): whether the "
            "interval of every size lies above 0, for these alterations and these encoders"
        )
        others = rows[rows["negatives"] == "heldout"]["below_mel"]
        why += f"; against held-out clips {others.min():+.2f} to {others.max():+.2f}" if len(others) else ""
        return above(measured, 0.0, f"{why}{_altered_alike(evidence, embedding)}; {remark}")

    return judge


def _altered_alike(evidence: Evidence, embedding: str) -> str:
    """The same difference against held-out clips that were altered alike, each alteration at some strengths."""
    table = evidence.alterations
    if not {"mel", embedding} <= set(table["detector"]):
        return ""
    wide = table.pivot(index=["transform", "strength"], columns="detector", values="auroc")
    difference, limits = wide["mel"] - wide[embedding], evidence.limits
    kinds = difference.index.get_level_values("transform")
    low, high = cluster_bootstrap(
        difference.to_numpy(), kinds, np.mean, limits.n_bootstrap, limits.confidence, limits.seed
    )
    return f"; against held-out clips altered alike {difference.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def _duplicates_exist(evidence: Evidence) -> Measured:
    if evidence.pairs.empty:
        return _nothing(f"no pair of {evidence.pairs_of} sounds alike")
    count = int(evidence.pairs["verified"].sum())
    why = f"{count} of {len(evidence.pairs)} similar pairs of {evidence.pairs_of} share their waveform"
    why += "" if evidence.corpus == "audiocaps" else "; this corpus is not AudioCaps"
    return Measured(count, None, None, NOT_COMPARABLE, why)


def _duplicates_matter(evidence: Evidence) -> Measured:
    if evidence.trend is None:
        return _nothing("this profile trains no model on planted duplicates; the study pocket_dose does (chapter 7)")
    trend = evidence.trend
    row = trend[(trend["outcome"] == "replicated") & (trend["kind"] == "exact")].iloc[0]
    if pd.isna(row["low"]):
        return _nothing(f"log-odds of replication for twice the copies: {row['note']}")
    why = "log-odds of replication for each doubling of exact copies, logistic regression clustered by group of copies: whether the interval lies above 0"
    measured = (float(row["slope_per_doubling"]), float(row["low"]), float(row["high"]))
    return above(measured, 0.0, why)


def _unknown(_: Evidence) -> Measured:
    return Measured(None, None, None, UNKNOWN, "the paper's value is unknown to this project")


SUMMARY = "secondary summary"
# claim, the paper's value, its source, how it is judged
CLAIMS: tuple[tuple[str, str, str, Callable[[Evidence], Measured]], ...] = (
    ("Trained on few clips, most generations are near-exact copies", "about 90 % (n = 1,000)", SUMMARY, _near_exact_smallest),
    ("At the middle size few are", "about 30 of 5,000 (0.6 %)", SUMMARY, _near_exact_middle),
    ("On the whole data set almost none are", "about 10 of 45,000 (0.03 % as summarised; the quotient is 0.022 %)", SUMMARY, _near_exact_largest),
    ("Replication falls as the training set grows, at equal updates", "yes", "abstract", _falls_with_size("updates")),
    ("Replication falls as the training set grows, at equal epochs", "yes", "abstract", _falls_with_size("epochs")),
    ("Share flagged at the middle size", "178 of 5,000 (3.6 %)", SUMMARY, _flagged("middle")),
    ("Share flagged on the whole data set", "about 2,000 of 45,000 (4 %)", SUMMARY, _flagged("largest")),
    ("Share of the flagged that is near-exact, middle size", "about 30 of 178 (17 %)", SUMMARY, _precision("middle")),
    ("Share of the flagged that is near-exact, whole data set", "about 10 of 2,000 (0.5 %)", SUMMARY, _precision("largest")),
    ("Trained on few clips, the nearest is the one whose prompt was used, more often than for honest clips", "unknown", "unknown", _follows_own_clip),
    ("Mel similarity finds matches more robustly than a CLAP embedding", "yes", "abstract", _mel_against("clap")),
    ("Mel similarity finds matches more robustly than another learned embedding", "yes", "abstract", _mel_against("aisfx")),
    ("The data set holds many duplicates", "a large amount; number unknown", "abstract", _duplicates_exist),
    ("Clips that are in the set more often are replicated more often", "unknown", "unknown", _duplicates_matter),
    ("beta, K, tau and the background set used", "unknown", "unknown", _unknown),
    ("Whether epochs or updates were equal across training sizes", "unknown", "unknown", _unknown),
    ("The CLAP checkpoint, and how listeners judged", "unknown", "unknown", _unknown),
)  # fmt: skip
