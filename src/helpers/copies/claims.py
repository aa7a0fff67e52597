"""The claims ledger: each of the paper's claims beside what this run measured.

The paper's values come from its abstract or from a secondary summary of it; what neither states stays "unknown". Each
verdict follows from an interval by a rule whose bounds are in `profiles/protocol.yml`, never by hand.

Notebook: 07_findings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.base.settings import ThresholdsConfig
from helpers.copies.rates import cluster_bootstrap

HOLDS, FAILS = "holds", "fails"
CANNOT_TELL = "cannot tell"  # it was measured, or tried: this run does not decide
NOT_COMPARABLE = "not comparable"  # measured, but the paper's figure rests on something else
UNKNOWN = "unknown"  # the paper's value is
VERDICTS = (HOLDS, FAILS, CANNOT_TELL, NOT_COMPARABLE, UNKNOWN)
REMARKS = {
    "clap": "the CLAP here is small and trained on the book's corpus, so nothing follows for LAION's",
    "laion": "LAION's CLAP, which may not be the paper's",
    "aisfx": "an encoder that others trained on sound effects; nothing follows for LAION's CLAP",
}
MOST_UNLIKE = 1.3  # two moments are called equal up to this factor: schedules of checkpoints have steps of 1.25
Interval = tuple[float, float, float]  # value, low, high
COLUMNS = ["claim", "paper_value", "source", "our_value", "ci_low", "ci_high", "verdict", "why"]


@dataclass(frozen=True)
class Measured:
    """What this run says about one claim; `value`, `low` and `high` are None where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None
    verdict: str
    why: str


@dataclass(frozen=True)
class Evidence:
    """The tables that claims are judged by; `replication` holds the main clips, primary detector, first null and rate.

    `checkpoints`: the same of training prompts at every checkpoint; `detection`: detection.csv; `alterations`:
    alterations.csv, of copies altered more and less strongly, against held-out clips altered alike.
    """

    replication: pd.DataFrame
    checkpoints: pd.DataFrame
    detection: pd.DataFrame
    alterations: pd.DataFrame
    pairs: pd.DataFrame  # of recordings that sound alike; where there are none but clips, of clips
    trend: pd.DataFrame | None
    rules: dict
    limits: ThresholdsConfig = ThresholdsConfig()  # of the bootstrap
    own_clap: bool = True  # the CLAP of this book, not LAION's
    pairs_of: str = "recordings"
    corpus: str = "pocket"

    @property
    def sizes(self) -> list[int]:
        return sorted(self.replication["n_train"].unique())

    @property
    def middle(self) -> int:
        """The place of the middle size among `sizes`."""
        return len(self.sizes) // 2

    @property
    def equally_long(self) -> bool:
        """Whether all sizes were trained for equally many updates."""
        return self.replication["updates"].nunique() == 1

    def at(self, which: int) -> pd.DataFrame:
        """The draws of a size by its place: the smallest (0), a middle one or the largest (-1)."""
        return self.replication[self.replication["n_train"] == self.sizes[which]]

    def trained_for(self, which: int) -> str:
        """ "15,000 updates", for the reasons."""
        return f"{int(self.at(which)['updates'].max()):,} updates"

    def rate(self, which: int, name: str, low: str, high: str) -> Interval:
        """A rate at a size: mean over draws, lowest and highest limit of any."""
        rows = self.at(which)
        return float(rows[name].mean()), float(rows[low].min()), float(rows[high].max())

    def share(self, which: int, stem: str) -> Interval:
        """The rate with these columns: `stem`_rate, _low and _high."""
        return self.rate(which, *(f"{stem}_{end}" for end in ("rate", "low", "high")))

    def near_exact(self, which: int) -> Interval:
        """Share that is near-exact of its own clip, at a size."""
        return self.share(which, "own_near_exact")

    def of_the_rule(self, which: int) -> str:
        """How far the near-exact rule can be trusted at a size, for the reasons: it should spare all of the null's clips."""
        rate, _, high = self.spared(which)
        text = "" if math.isnan(rate) else f"of honest clips {rate:.2%} (at most {high:.2%}) are, by the same rule"
        return "; ".join(filter(None, (text, self.undefined(which))))

    def spared(self, which: int) -> Interval:
        """Share of the null's clips that the rule takes for copies: of the own clip, where these are twins."""
        own = self.share(which, "twins_own_near_exact")
        return self.share(which, "null_near_exact") if math.isnan(own[0]) else own

    def undefined(self, which: int) -> str:
        """Of how many clips of a size it is undefined whether they are near-exact, for the reasons; "" where of none."""
        n, n_defined = self.at(which)[["n_generated", "n_defined"]].sum().astype(int)
        count = n - n_defined
        return f"undefined for {count:,} of {n:,} clips, as null and ceiling cannot be told apart" if count else ""

    def runs(self, which: int) -> str:
        """ "n = 100, 3 draws", for the reasons."""
        n_draws = len(self.at(which))
        return f"n = {self.sizes[which]:,}, {n_draws} draw{'s' if n_draws > 1 else ''}"


def _above(measured: Interval, bound: float, why: str) -> Measured:
    """Holds where the whole interval of `measured` lies above the bound, fails where it lies below."""
    return _judge(measured, measured[1] > bound, measured[2] < bound, why)


def _below(measured: Interval, bound: float, why: str) -> Measured:
    return _judge(measured, measured[2] < bound, measured[1] > bound, why)


def _judge(measured: Interval, holds: bool, fails: bool, why: str) -> Measured:
    if any(map(math.isnan, measured)):
        return Measured(*measured, CANNOT_TELL, f"{why}; there is no interval to judge by")
    if holds or fails:
        return Measured(*measured, HOLDS if holds else FAILS, why)
    return Measured(*measured, CANNOT_TELL, f"{why}; it reaches to both sides, so this run cannot tell")


def _near_exact_smallest(evidence: Evidence) -> Measured:
    measured, bound = evidence.near_exact(0), evidence.rules["smallest_near_exact_above"]
    why = f"{evidence.runs(0)}, near-exact of the own clip, by rule ({evidence.of_the_rule(0)}): whether the interval lies above {bound:.0%}"
    return _above(measured, bound, why)


def _near_exact_middle(evidence: Evidence) -> Measured:
    if len(evidence.sizes) < 3:
        return Measured(None, None, None, CANNOT_TELL, "this profile has no middle size")
    middle = evidence.middle
    measured, bound = evidence.near_exact(middle), evidence.rules["middle_near_exact_below"]
    if not evidence.equally_long:
        return _of_its_own_length(evidence, middle)
    why = f"{evidence.runs(middle)}, near-exact of the own clip, by rule ({evidence.of_the_rule(middle)}): whether the interval lies below {bound:.0%}"
    return _below(measured, bound, why)


def _of_its_own_length(evidence: Evidence, which: int) -> Measured:
    """A size's share after training of a length of its own: longer training would give a greater one, so no bound judges it."""
    why = (
        f"{evidence.runs(which)}, near-exact of the own clip after {evidence.trained_for(which)}, by rule ({evidence.of_the_rule(which)}). "
        "Each size was trained for a length of its own, so that it has time to be copied; for how long the paper's were is unknown"
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
            return Measured(None, None, None, CANNOT_TELL, "this profile has no middle size")
        which = evidence.middle if size == "middle" else -1
        measured = evidence.rate(which, *columns)
        if math.isnan(measured[0]):
            return Measured(None, None, None, CANNOT_TELL, absent(evidence, which))
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
            return Measured(None, None, None, CANNOT_TELL, "this profile has one size")
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
        return _above(measured, 0.0, why)

    return judge


def _unlike(few: dict, many: dict, axis: str) -> float:
    return abs(math.log(few[axis] / many[axis]))


def _alike(small: list[dict], large: list[dict], axis: str, equally_long: bool) -> tuple[dict, dict]:
    """The checkpoints of two sizes where `axis` is most alike, of these the last.

    Where each size has a schedule of its own, many pairs are alike up to a step of it. Of these, the pair whose shares lie
    nearest to one half: where none or all are copied, the sizes cannot be told apart.
    """
    pairs = [(few, many) for few in small for many in large]
    near = [(few, many) for few, many in pairs if _unlike(few, many, axis) <= math.log(MOST_UNLIKE)]
    shares = {place: (few["rate"] + many["rate"]) / 2 for place, (few, many) in enumerate(near)}
    known = {place: abs(share - 0.5) for place, share in shares.items() if not math.isnan(share)}
    if known and not equally_long:
        return near[min(known, key=lambda place: known[place])]
    return min(pairs, key=lambda pair: (round(_unlike(pair[0], pair[1], axis), 9), -pair[0][axis]))


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
    return _above(measured, twins, why)


def _mel_against(embedding: str) -> Callable[[Evidence], Measured]:
    """Mel's AUROC less the embedding's, known copies against twins, each with its own beta and K; the closest size judges."""

    def judge(evidence: Evidence) -> Measured:
        remark = REMARKS["laion" if embedding == "clap" and not evidence.own_clap else embedding]
        rows = evidence.detection.query("detector == @embedding and bias == 'own' and transform == 'all'")
        judged = rows[rows["negatives"] == "twins"].dropna(subset="below_mel")
        if judged.empty:
            return Measured(None, None, None, CANNOT_TELL, "this run did not use both detectors, or has no twins")
        low, high = float(judged["below_mel_low"].min()), float(judged["below_mel_high"].max())
        measured = (float(judged["below_mel"].mean()), low, high)
        sizes = ", ".join(f"{row.below_mel:+.2f} at n = {row.n_train:,}" for row in judged.itertuples())
        why = (
            f"AUROC of mel less {embedding}, known copies against twins, each with its own beta and K ({sizes}): whether the "
            "interval of every size lies above 0, for these alterations and these encoders"
        )
        others = rows[rows["negatives"] == "heldout"]["below_mel"]
        why += f"; against held-out clips {others.min():+.2f} to {others.max():+.2f}" if len(others) else ""
        return _above(measured, 0.0, f"{why}{_altered_alike(evidence, embedding)}; {remark}")

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
        return Measured(None, None, None, CANNOT_TELL, f"no pair of {evidence.pairs_of} sounds alike")
    count = int(evidence.pairs["verified"].sum())
    why = f"{count} of {len(evidence.pairs)} similar pairs of {evidence.pairs_of} share their waveform"
    why += "" if evidence.corpus == "audiocaps" else "; this corpus is not AudioCaps"
    return Measured(count, None, None, NOT_COMPARABLE, why)


def _duplicates_matter(evidence: Evidence) -> Measured:
    if evidence.trend is None:
        return Measured(None, None, None, CANNOT_TELL, "this profile trains no model on planted duplicates")
    trend = evidence.trend
    row = trend[(trend["outcome"] == "replicated") & (trend["kind"] == "exact")].iloc[0]
    if pd.isna(row["low"]):
        return Measured(None, None, None, CANNOT_TELL, f"log-odds of replication for twice the copies: {row['note']}")
    why = "log-odds of replication for each doubling of exact copies, logistic regression clustered by group of copies: whether the interval lies above 0"
    measured = (float(row["slope_per_doubling"]), float(row["low"]), float(row["high"]))
    return _above(measured, 0.0, why)


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
