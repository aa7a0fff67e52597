"""The findings stage: the claims ledger and the summary of the study.

Notebook: 07_findings.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from helpers.base.arms import MAIN, checkpoint_arms
from helpers.base.profile import Profile
from helpers.base.settings import MAIN_SET
from helpers.copies.conclusions.claims import CLAIMS, COLUMNS
from helpers.copies.conclusions.evidence import Evidence
from helpers.models.pretrained.locate import is_laion


def compute(out: Path, upstream: dict[str, Path], profile: Profile, rules: Mapping[str, float]) -> None:
    """Writes claims.csv (COLUMNS) and summary.json. `rules`: the bounds of the verdicts, by the plan."""
    evidence = load_evidence(upstream, profile, rules)
    rows = []
    for claim, paper_value, source, judge in CLAIMS:
        measured = judge(evidence)
        rows.append(
            (claim, paper_value, source, measured.value, measured.low, measured.high, measured.verdict, measured.why)
        )
    pd.DataFrame(rows, columns=COLUMNS).to_csv(out / "claims.csv", index=False)
    (out / "summary.json").write_text(json.dumps(_summary(profile, upstream), indent=1))


def load_evidence(upstream: dict[str, Path], profile: Profile, rules: Mapping[str, float]) -> Evidence:
    """Reads what the claims are judged by: the main set's main clips, primary detector, first null, primary rate."""
    table, limits = pd.read_csv(upstream["thresholds"] / "replication.csv"), profile.thresholds
    of_null = (table["fpr"] == limits.fpr) & (table["null"] == profile.nulls[0]) & (table["training_set"] == MAIN_SET)
    rows = table[of_null & (table["detector"] == limits.detector)]
    pairs_of, pairs = ("recordings", "recordings.csv") if profile.corpus.mixed else ("clips", "clip_pairs.csv")
    trend = upstream.get("dose")
    return Evidence(
        rows[rows["arm"] == MAIN].reset_index(drop=True),
        rows[rows["arm"].isin(checkpoint_arms(profile))].reset_index(drop=True),
        pd.read_csv(upstream["detection"] / "detection.csv"),
        pd.read_csv(upstream["alterations"] / "alterations.csv"),
        pd.read_csv(upstream["duplicates"] / pairs),
        pd.read_csv(trend / "dose_trend.csv") if trend else None,
        {**rules, "fpr": limits.fpr},
        limits,
        not is_laion(profile.retrieval.clap_path),
        pairs_of,
        profile.corpus.kind,
    )


def _summary(profile: Profile, upstream: dict[str, Path]) -> dict:
    """What the results were made with: the settings, and of every stage before this one digest, seconds and memory."""
    stages = {}
    for name, folder in upstream.items():
        manifest = json.loads((folder / "manifest.json").read_text())
        kept = ("digest", "commit", "machine", "versions", "wall_s", "peak_memory_mib")
        stages[name] = {key: manifest[key] for key in kept}
    return {"profile": profile.name, "sizes": list(profile.sizes), "draws": list(profile.draws), "stages": stages}
