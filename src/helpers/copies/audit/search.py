"""How an audit searches: the training clips nearest to each query, by landmarks and by windows, and where they match."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.settings import ThresholdsConfig
from helpers.copies.audit.weights import choose_weights, halves, similarities_beside
from helpers.copies.bias import bias
from helpers.copies.detectors import Detectors
from helpers.sound.sounds import Windows

PLACES = ["query_start_s", "reference_start_s", "length_s"]
K_BEST = 5  # matches kept of each clip by each detector


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
    thresholds: ThresholdsConfig,
    equal: np.ndarray,
):
    """The K_BEST training clips of each query by the windows that are nearest; and the weights chosen.

    features: of the `windows` of either side, "queries" and "training". equal: see `Clips.first_of_equal`.
    """
    owner, learned = windows["queries"].owner, windows["training"].owner
    pairs = _near(detectors, name, features, about, owner, learned)
    beside = similarities_beside(
        detectors, name, features["queries"], about, owner, max(thresholds.ks + (thresholds.k,))
    )
    half = halves(about)
    standing = np.flatnonzero((about["itself"] >= 0) & (about["kind"] == "honest"))
    of_reference = np.zeros(len(equal), int)
    of_reference[about["itself"].to_numpy()[standing]] = half[standing]
    # no sound of the background may be the clip itself, nor the training clip that it is compared with
    left_out = np.maximum(half[pairs["row"]], of_reference[pairs["reference"]])
    pairs["beside"] = left_out * len(owner) + pairs["window"]
    beta, k = choose_weights(pairs.assign(reference=equal[pairs["reference"]]), beside, about, thresholds)
    pairs["bias"] = bias(beside, k)[pairs["beside"]]
    pairs["score"] = pairs["similarity"] - beta * pairs["bias"]
    best = pairs.sort_values(["row", "score"], ascending=[True, False], kind="stable").drop_duplicates(
        ["row", "reference"]
    )
    best = best.groupby("row", sort=False).head(K_BEST)
    starts = windows["queries"].start[best["window"]], windows["training"].start[best["reference_window"]]
    # what is left of either sound from there on, where that is less than a window
    rest = (
        np.diff(side.sounds.ends)[best[row]] - start
        for side, row, start in zip((windows["queries"], windows["training"]), ("row", "reference"), starts)
    )
    length = np.minimum(windows["queries"].size, np.minimum(*rest))
    best[PLACES] = np.stack([*starts, length], axis=1) / detectors.rate
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
