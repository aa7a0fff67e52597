"""The findings stage: the claims ledger, each of the paper's claims beside what this run measured.

The paper's values come from its abstract or from a secondary summary of it; what neither states stays "unknown". Each
verdict follows from an interval by a rule written here, never by hand.

Notebook: 07_findings.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.config import Profile
from helpers.thresholds import cluster_bootstrap

HOLDS, FAILS, UNTESTED = "holds", "fails", "not testable at this scale"


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
    """The tables that claims are judged by, restricted to the primary detector and the first null where that applies."""

    replication: pd.DataFrame
    detection: pd.DataFrame
    recordings: pd.DataFrame | None

    def size(self, which: int) -> pd.Series:
        """The first draw of the smallest (0), a middle or the largest (-1) training size."""
        sizes = sorted(self.replication["n_train"].unique())
        rows = self.replication[self.replication["n_train"] == sizes[which]]
        return rows.sort_values("draw").iloc[0]


def _near_exact_smallest(found: Evidence) -> Measured:
    row = found.size(0)
    verdict = HOLDS if row.near_exact_low > 0.5 else FAILS if row.near_exact_high < 0.5 else UNTESTED
    why = f"n = {row.n_train}: a majority of generated clips near-exact by rule, judged by whether the interval lies above one half"
    return Measured(row.near_exact_rate, row.near_exact_low, row.near_exact_high, verdict, why)


def _near_exact_middle(found: Evidence) -> Measured:
    sizes = sorted(found.replication["n_train"].unique())
    if len(sizes) < 3:
        return Measured(None, None, None, UNTESTED, "this profile has no middle size")
    row = found.size(1)
    verdict = HOLDS if row.near_exact_high < 0.1 else FAILS if row.near_exact_low > 0.1 else UNTESTED
    why = f"n = {row.n_train}: fewer than one in ten near-exact by rule, judged by whether the interval lies below that"
    return Measured(row.near_exact_rate, row.near_exact_low, row.near_exact_high, verdict, why)


def _near_exact_largest(found: Evidence) -> Measured:
    row = found.size(-1)
    why = f"n = {row.n_train:,} here for the paper's 45,000; {row.n_generated:,} clips were generated, and a rate of 0.03 % needs tens of thousands"
    return Measured(row.near_exact_rate, row.near_exact_low, row.near_exact_high, UNTESTED, why)


def _falls_with_size(found: Evidence) -> Measured:
    small, large = found.size(0), found.size(-1)
    drop = small.near_exact_rate - large.near_exact_rate
    low, high = small.near_exact_low - large.near_exact_high, small.near_exact_high - large.near_exact_low
    verdict = HOLDS if low > 0 else FAILS if high < 0 else UNTESTED
    why = f"near-exact share at n = {small.n_train} less that at n = {large.n_train}; the bounds combine both intervals"
    return Measured(drop, low, high, verdict, why)


def _follows_own_clip(found: Evidence) -> Measured:
    row = found.size(0)
    if pd.isna(row.twins_top1_rate):
        why = "there are no twins to compare with: this corpus' recordings cannot be mixed anew"
        return Measured(row.own_clip_top1_rate, row.own_clip_top1_low, row.own_clip_top1_high, UNTESTED, why)
    verdict = (
        HOLDS
        if row.own_clip_top1_low > row.twins_top1_rate
        else FAILS
        if row.own_clip_top1_high < row.twins_top1_rate
        else UNTESTED
    )
    why = f"own-clip top-1 at n = {row.n_train} against {row.twins_top1_rate:.1%} for the twins, which no copying can explain"
    return Measured(row.own_clip_top1_rate, row.own_clip_top1_low, row.own_clip_top1_high, verdict, why)


def _mel_beats_embedding(found: Evidence) -> Measured:
    table = found.detection
    if not {"mel", "clap"} <= set(table["detector"]):
        return Measured(None, None, None, UNTESTED, "this run did not use both detectors")
    wide = table.pivot(index=["transform", "strength"], columns="detector", values="auroc")
    difference = wide["mel"] - wide["clap"]
    low, high = cluster_bootstrap(difference.to_numpy(), range(len(difference)), np.mean)
    why = (
        f"mean AUROC of mel less CLAP over {len(difference)} alterations, bootstrap over these; the CLAP here is small and "
        "trained on this corpus, so nothing follows for LAION's"
    )
    return Measured(float(difference.mean()), low, high, UNTESTED, why)


def _duplicates_exist(found: Evidence) -> Measured:
    if found.recordings is None or found.recordings.empty:
        return Measured(None, None, None, UNTESTED, "no recordings to compare, or no pair found")
    count = int(found.recordings["verified"].sum())
    why = f"{count} of {len(found.recordings)} similar pairs of recordings share their waveform; this corpus is not AudioCaps"
    return Measured(count, None, None, UNTESTED, why)


def _unknown(_: Evidence) -> Measured:
    return Measured(None, None, None, UNTESTED, "the paper's value is unknown to this project")


# claim, the paper's value, its source, how it is judged
CLAIMS: tuple[tuple[str, str, str, Callable[[Evidence], Measured]], ...] = (
    ("Trained on few clips, most generations are near-exact copies", "about 90 % (n = 1,000)", "secondary summary", _near_exact_smallest),
    ("At the middle size few are", "178 of 5,000 flagged, about 30 near-exact (0.6 %)", "secondary summary", _near_exact_middle),
    (
        "On the whole data set almost none are",
        "about 2,000 of 45,000 flagged, about 10 near-exact (0.03 % as summarised; 10 of 45,000 is 0.022 %)",
        "secondary summary",
        _near_exact_largest,
    ),
    ("Replication falls as the training set grows", "yes", "abstract", _falls_with_size),
    ("The nearest clip is the one whose prompt was used", "unknown", "unknown", _follows_own_clip),
    ("Mel similarity finds matches more robustly than embeddings", "yes", "abstract", _mel_beats_embedding),
    ("The data set holds many duplicates", "a large amount; number unknown", "abstract", _duplicates_exist),
    ("beta, K, tau and the background set used", "unknown", "unknown", _unknown),
)  # fmt: skip


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes claims.csv (claim, paper_value, source, our_value, ci_low, ci_high, verdict, why) and summary.json."""
    evidence = load_evidence(upstream, profile)
    rows = []
    for claim, paper_value, source, judge in CLAIMS:
        found = judge(evidence)
        rows.append((claim, paper_value, source, found.value, found.low, found.high, found.verdict, found.why))
    columns = ["claim", "paper_value", "source", "our_value", "ci_low", "ci_high", "verdict", "why"]
    pd.DataFrame(rows, columns=columns).to_csv(out / "claims.csv", index=False)
    (out / "summary.json").write_text(json.dumps(_summary(evidence, profile, upstream), indent=1))


def load_evidence(upstream: dict[str, Path], profile: Profile) -> Evidence:
    """Reads what the claims are judged by: primary detector, first null."""
    replication = pd.read_csv(upstream["thresholds"] / "replication.csv")
    primary = (replication["detector"] == profile.thresholds.detector) & (replication["null"] == profile.nulls[0])
    recordings = upstream["duplicates"] / "recordings.csv"
    return Evidence(
        replication[primary].reset_index(drop=True),
        pd.read_csv(upstream["detection"] / "detection.csv"),
        pd.read_csv(recordings) if recordings.is_file() else None,
    )


def _summary(evidence: Evidence, profile: Profile, upstream: dict[str, Path]) -> dict:
    stages = {}
    for name, folder in upstream.items():
        manifest = json.loads((folder / "manifest.json").read_text())
        stages[name] = {
            "digest": manifest["digest"],
            "wall_s": manifest["wall_s"],
            "peak_memory_mib": manifest["peak_memory_mib"],
        }
    return {"profile": profile.name, "sizes": list(profile.sizes), "stages": stages, "n_draws": len(profile.runs)}
