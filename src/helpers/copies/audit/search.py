"""What an audit searches, and how: every file whole, by windows and by landmarks, in all training clips."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers.base.mapped import Selection
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.seeds import seeded
from helpers.base.settings import ThresholdsConfig
from helpers.copies.audit.folders import Clips
from helpers.copies.audit.landmarks import landmarks
from helpers.copies.audit.planting import ALTERATIONS, plant
from helpers.copies.bias import bias
from helpers.copies.calibration import split_calibration
from helpers.copies.detectors import Detectors
from helpers.sound.sounds import Sounds

PLACES = ["query_start_s", "reference_start_s", "length_s"]
K_BEST = 5  # matches kept of each clip by each detector
PLANTED = 10  # copies of each alteration on which the weights are chosen, and as many on which power is told


class Queries(NamedTuple):
    """What is searched in the training clips: a row a file in `about` (kind, clip, part; of planted copies `of`, the number
    of the training clip, and `role`, "fit" or "power"), their sounds, landmarks and the keys by which they are kept."""

    about: pd.DataFrame
    sounds: Sounds
    marks: list
    keys: list[str]

    @property
    def names(self) -> pd.Series:
        return self.about["clip"]


def gather(clips: dict[str, Clips], searched: np.ndarray, profile: Profile, scratch: Path) -> Queries:
    """Generated and honest clips, and copies planted in the training clips `searched`, with others of C1 beside them."""
    seed, rate = profile.thresholds.seed, profile.corpus.sample_rate_hz
    honest = clips["honest"]
    parts = split_calibration(honest.names, seed)
    sounds, marks = Sounds(scratch / "queries.int16"), []
    rows = [{"kind": "generated", "clip": name, "part": "", "of": -1, "role": ""} for name in clips["generated"].names]
    rows += [
        {"kind": "honest", "clip": name, "part": part, "of": -1, "role": ""} for name, part in zip(honest.names, parts)
    ]
    for kind in ("generated", "honest"):
        sounds.extend(clips[kind].sounds[row] for row in range(len(clips[kind].names)))
        marks += clips[kind].marks
    keys = [*clips["generated"].keys, *honest.keys]
    rng, beside = seeded(seed, "planted"), np.flatnonzero(parts == "C1")
    wanted = 2 * PLANTED
    chosen = rng.permutation(np.resize(rng.permutation(searched), max(wanted, 1)))
    for alteration in progress([*ALTERATIONS], desc="planting", unit="kind"):
        for i, row in enumerate(chosen):
            other = honest.sounds[int(rng.choice(beside))]
            copy = plant(alteration, clips["training"].sounds[row], other, rate, seed, i)
            if not np.ptp(copy):
                continue  # the half of a clip that is silent
            sounds.extend([copy])
            marks.append(landmarks(copy, rate))
            name = f"{alteration} of {clips['training'].names[row]} ({i})"
            rows.append(
                {"kind": "planted", "clip": name, "part": alteration, "of": row, "role": ("fit", "power")[i % 2]}
            )
    return Queries(pd.DataFrame(rows), sounds, marks, keys + [""] * (len(sounds) - len(keys)))


def local_matches(index, marks: Iterable, frame_s: float, about: pd.DataFrame, stand_ins: np.ndarray) -> pd.DataFrame:
    """The K_BEST training clips of each query by the index of a local detector, in which the `marks` of each are looked up; a
    query with none scores 0 beside the first clip, at no place."""
    tables = []
    for row, (own, kind) in enumerate(zip(marks, about["kind"])):
        found = index.match(own, K_BEST + (len(stand_ins) if kind == "honest" else 0))
        kept = np.flatnonzero(~np.isin(found.indices, stand_ins if kind == "honest" else []))[:K_BEST]
        columns = {"row": row, "reference": found.indices[kept], "score": found.scores[kept]}
        times = (found.query_start, found.reference_start, found.length)
        table = pd.DataFrame(columns | {name: frame_s * part[kept] for name, part in zip(PLACES, times)})
        if table.empty:
            table = pd.DataFrame([{"row": row, "reference": 0, "score": 0.0} | dict.fromkeys(PLACES, np.nan)])
        tables.append(table)
    return pd.concat(tables, ignore_index=True).assign(similarity=lambda t: t["score"], bias=0.0)


def global_matches(
    detectors: Detectors,
    name: str,
    features: dict,
    about: pd.DataFrame,
    windows: dict,
    stand_ins,
    used: ThresholdsConfig,
    equal: np.ndarray,
):
    """The K_BEST training clips of each query by the windows that are nearest; and the weights chosen.

    features: of the `windows` of either side, "queries" and "training". equal: see `Clips.first_of_equal`.
    """
    owner = windows["queries"].owner
    of_honest = (about["kind"] == "honest").to_numpy()[owner]
    learned = windows["training"].owner
    parts = []
    for rows, references in (
        (np.flatnonzero(~of_honest), np.arange(len(learned))),
        (np.flatnonzero(of_honest), np.flatnonzero(~np.isin(learned, stand_ins))),
    ):
        k = min(K_BEST, len(references))
        near = detectors.nearest(
            name, Selection(features["queries"], rows), Selection(features["training"], references), k
        )
        table = {"window": np.repeat(rows, k), "reference_window": references[near.indices.ravel()]}
        parts.append(pd.DataFrame(table | {"similarity": near.scores.ravel()}))
    pairs = pd.concat(parts, ignore_index=True)
    beside = _beside(detectors, name, features["queries"], about, owner, max(used.ks + (used.k,)))
    pairs["row"], pairs["reference"] = owner[pairs["window"]], learned[pairs["reference_window"]]
    beta, k = _weights(pairs.assign(reference=equal[pairs["reference"]]), beside, about, used)
    pairs["bias"] = bias(beside, k)[pairs["window"]]
    pairs["score"] = pairs["similarity"] - beta * pairs["bias"]
    best = pairs.sort_values(["row", "score"], ascending=[True, False], kind="stable").drop_duplicates(
        ["row", "reference"]
    )
    best = best.groupby("row", sort=False).head(K_BEST)
    starts = windows["queries"].start[best["window"]], windows["training"].start[best["reference_window"]]
    best[PLACES] = np.stack([*starts, np.full(len(best), windows["queries"].size)], axis=1) / detectors.rate
    return best.drop(columns=["window", "reference_window"]), beta, k


def _beside(detectors: Detectors, name: str, features, about: pd.DataFrame, owner: np.ndarray, k: int) -> np.ndarray:
    """Similarities [W, k] of all windows to their nearest of part C1; windows of C1 itself to those of its other half."""
    own = np.flatnonzero(about["part"] == "C1")
    halves = [np.flatnonzero(np.isin(owner, own[side::2])) for side in (0, 1)]
    rest = np.flatnonzero(~np.isin(owner, own))
    k = min(k, *map(len, halves))
    scores = np.empty((len(owner), k), np.float32)
    for rows, background in ((rest, np.sort(np.concatenate(halves))), halves, halves[::-1]):
        scores[rows] = detectors.nearest(name, Selection(features, rows), Selection(features, background), k).scores
    return scores


def _weights(pairs: pd.DataFrame, beside: np.ndarray, about: pd.DataFrame, used: ThresholdsConfig) -> tuple[float, int]:
    """The beta and K that best tell planted copies, where beside the right clip, from honest ones of part C1: by the area
    under the ROC up to a tenth of false alarms. Among equals the smallest beta, then K. The profile's count among others."""
    kept = ((about["role"] == "fit") | (about["part"] == "C1")).to_numpy()[pairs["row"]]
    some = pairs[kept]
    best, chosen = -np.inf, (0.0, 1)
    for beta in sorted({*used.betas, used.beta}):
        for k in sorted({min(k, beside.shape[1]) for k in (*used.ks, used.k)}):
            scores = some["similarity"].to_numpy() - beta * bias(beside, k)[some["window"]]
            top = some.assign(score=scores).sort_values("score", ascending=False, kind="stable").drop_duplicates("row")
            of = about["of"].to_numpy()[top["row"]]
            score = np.where((of < 0) | (of == top["reference"]), top["score"], top["score"].min())
            area = roc_auc_score(of >= 0, score, max_fpr=0.1) if beta or k == min(used.ks) else -np.inf
            if area > best + 1e-9:
                best, chosen = area, (beta, k)
    return chosen
