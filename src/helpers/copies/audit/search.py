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
from helpers.sound.likeness import cut
from helpers.sound.sounds import Sounds, Windows

PLACES = ["query_start_s", "reference_start_s", "length_s"]
K_BEST = 5  # matches kept of each clip by each detector
PLANTED = 10  # copies of each alteration on which the weights are chosen, and as many on which power is told


class Queries(NamedTuple):
    """What is searched in the training clips: a row a file in `about` (kind, clip, part; of planted copies `of`, the number
    of the training clip, and `role`, "fit" or "power"; of stand-ins `itself`, likewise, else -1), their sounds, landmarks and
    the keys by which they are kept."""

    about: pd.DataFrame
    sounds: Sounds
    marks: list
    keys: list[str]

    @property
    def names(self) -> pd.Series:
        return self.about["clip"]


def gather(clips: dict[str, Clips], stand_ins: np.ndarray, profile: Profile, scratch: Path) -> Queries:
    """Generated and honest clips, and copies planted in the training clips that are no `stand_ins`, with others of C1 beside
    them. Each of a pair of copies, cut to the length of a generated clip where that is shorter."""
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
    searched = np.setdiff1d(np.arange(len(clips["training"].names)), stand_ins)
    wanted = 2 * PLANTED
    chosen = rng.permutation(np.resize(rng.permutation(searched), max(wanted, 1)))
    lengths = np.resize(seeded(seed, "lengths").permutation(np.diff(clips["generated"].sounds.ends)), len(chosen))
    originals = [
        cut(clips["training"].sounds[row], int(length), seeded(seed, "cut", i))
        for i, (row, length) in enumerate(zip(chosen, lengths))
    ]
    for alteration in progress([*ALTERATIONS], desc="planting", unit="kind"):
        for i, row in enumerate(chosen):
            other = honest.sounds[int(rng.choice(beside))]
            copy = plant(alteration, originals[i], other, rate, seed, i)
            if not np.ptp(copy):
                continue  # the half of a clip that is silent
            sounds.extend([copy])
            marks.append(landmarks(copy, rate))
            name = f"{alteration} of {clips['training'].names[row]} ({i})"
            rows.append(
                {"kind": "planted", "clip": name, "part": alteration, "of": row, "role": ("fit", "power")[i % 2]}
            )
    about = pd.DataFrame(rows).assign(itself=-1)
    if len(stand_ins):
        about.loc[about["kind"] == "honest", "itself"] = stand_ins
    return Queries(about, sounds, marks, keys + [""] * (len(sounds) - len(keys)))


def local_matches(index, marks: Iterable, frame_s: float, about: pd.DataFrame) -> pd.DataFrame:
    """The K_BEST training clips of each query by the index of a local detector, in which the `marks` of each are looked up,
    itself left out; a query with none scores 0 beside the first clip, at no place."""
    tables = []
    for row, (own, itself) in enumerate(zip(marks, about["itself"])):
        found = index.match(own, K_BEST, itself)
        times = (found.query_start, found.reference_start, found.length)
        columns = {"row": row, "reference": found.indices, "score": found.scores}
        table = pd.DataFrame(columns | {name: frame_s * part for name, part in zip(PLACES, times)})
        if table.empty:
            table = pd.DataFrame([{"row": row, "reference": 0, "score": 0.0} | dict.fromkeys(PLACES, np.nan)])
        tables.append(table)
    return pd.concat(tables, ignore_index=True).assign(similarity=lambda t: t["score"], bias=0.0)


def global_matches(
    detectors: Detectors,
    name: str,
    features: dict,
    about: pd.DataFrame,
    windows: dict[str, Windows],
    used: ThresholdsConfig,
    equal: np.ndarray,
):
    """The K_BEST training clips of each query by the windows that are nearest; and the weights chosen.

    features: of the `windows` of either side, "queries" and "training". equal: see `Clips.first_of_equal`.
    """
    owner, learned = windows["queries"].owner, windows["training"].owner
    pairs = _near(detectors, name, features, about, owner, learned)
    beside = _beside(detectors, name, features["queries"], about, owner, max(used.ks + (used.k,)))
    half = _halves(about)
    standing = np.flatnonzero(about["itself"] >= 0)
    of_reference = np.zeros(len(equal), int)
    of_reference[about["itself"].to_numpy()[standing]] = half[standing]
    # no sound of the background may be the clip itself, nor the training clip that it is compared with
    left_out = np.maximum(half[pairs["row"]], of_reference[pairs["reference"]])
    pairs["beside"] = left_out * len(owner) + pairs["window"]
    beta, k = _weights(pairs.assign(reference=equal[pairs["reference"]]), beside, about, used)
    pairs["bias"] = bias(beside, k)[pairs["beside"]]
    pairs["score"] = pairs["similarity"] - beta * pairs["bias"]
    best = pairs.sort_values(["row", "score"], ascending=[True, False], kind="stable").drop_duplicates(
        ["row", "reference"]
    )
    best = best.groupby("row", sort=False).head(K_BEST)
    starts = windows["queries"].start[best["window"]], windows["training"].start[best["reference_window"]]
    best[PLACES] = np.stack([*starts, np.full(len(best), windows["queries"].size)], axis=1) / detectors.rate
    return best.drop(columns=["window", "reference_window", "beside"]), beta, k


def _near(detectors: Detectors, name: str, features: dict, about: pd.DataFrame, owner, learned) -> pd.DataFrame:
    """The K_BEST training windows nearest to each window, best first: `window`, `reference_window`, the numbers `row` and
    `reference` of their sounds, `similarity`.

    A training clip that stands in is not searched in itself, only in all others, so generated clips have but one more to be
    near to. One of part C1 is searched in no other of C1, which may be its background.
    """
    itself, first = about["itself"].to_numpy(), (about["part"] == "C1").to_numpy()
    background = itself[first & (itself >= 0)]
    everything, rest = np.arange(len(learned)), np.flatnonzero(~np.isin(learned, background))
    windows_each = np.bincount(learned, minlength=itself.max() + 1)
    parts = []
    for some, references in (
        (itself < 0, everything),
        ((itself >= 0) & first, rest),
        ((itself >= 0) & ~first, everything),
    ):
        rows = np.flatnonzero(some[owner])
        own = windows_each[itself[some & ~first & (itself >= 0)]].max(initial=0)
        k = min(K_BEST + own, len(references))
        if len(rows):
            near = detectors.nearest(
                name, Selection(features["queries"], rows), Selection(features["training"], references), k
            )
            table = {"window": np.repeat(rows, k), "reference_window": references[near.indices.ravel()]}
            parts.append(pd.DataFrame(table | {"similarity": near.scores.ravel()}))
    pairs = pd.concat(parts, ignore_index=True)
    pairs["row"], pairs["reference"] = owner[pairs["window"]], learned[pairs["reference_window"]]
    pairs = pairs[pairs["reference"] != itself[pairs["row"]]]
    return pairs.groupby("window", sort=False).head(K_BEST).reset_index(drop=True)


def _halves(about: pd.DataFrame) -> np.ndarray:
    """For each query 1 or 2, the half of the background (part C1) that it is of, or 0."""
    first = (about["part"] == "C1").to_numpy()
    return np.where(first, (np.cumsum(first) + 1) % 2 + 1, 0)


def _beside(detectors: Detectors, name: str, features, about: pd.DataFrame, owner: np.ndarray, k: int) -> np.ndarray:
    """Similarities [3 W, k] of all windows to their nearest of the background: of all of it, then without its first half, then
    without its second."""
    of_half = [np.flatnonzero(_halves(about)[owner] == half) for half in (2, 1)]
    k = min(k, *map(len, of_half))
    without = [detectors.nearest(name, features, Selection(features, rows), k).scores for rows in of_half]
    return np.concatenate([-np.sort(-np.concatenate(without, axis=1), axis=1)[:, :k], *without])


def _weights(pairs: pd.DataFrame, beside: np.ndarray, about: pd.DataFrame, used: ThresholdsConfig) -> tuple[float, int]:
    """The beta and K that best tell planted copies, where beside the right clip, from honest ones of part C1: by the area
    under the ROC up to a tenth of false alarms. Among equals the smallest beta, then K. The profile's count among others."""
    kept = ((about["role"] == "fit") | (about["part"] == "C1")).to_numpy()[pairs["row"]]
    some = pairs[kept]
    best, chosen = -np.inf, (0.0, 1)
    for beta in sorted({*used.betas, used.beta}):
        for k in sorted({min(k, beside.shape[1]) for k in (*used.ks, used.k)}):
            scores = some["similarity"].to_numpy() - beta * bias(beside, k)[some["beside"]]
            top = some.assign(score=scores).sort_values("score", ascending=False, kind="stable").drop_duplicates("row")
            of = about["of"].to_numpy()[top["row"]]
            score = np.where((of < 0) | (of == top["reference"]), top["score"], top["score"].min())
            area = roc_auc_score(of >= 0, score, max_fpr=0.1) if beta or k == min(used.ks) else -np.inf
            if area > best + 1e-9:
                best, chosen = area, (beta, k)
    return chosen
