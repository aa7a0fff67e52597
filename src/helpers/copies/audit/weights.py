"""The bias of what an audit compares, taken from honest clips beside which no clip stands itself, and its weights beta and K."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers.base.mapped import Selection
from helpers.base.settings import ThresholdsConfig
from helpers.copies.bias import bias
from helpers.copies.detectors import Detectors


def halves(about: pd.DataFrame) -> np.ndarray:
    """For each query 1 or 2, the half of the background (part C1) that it is of, or 0."""
    first = (about["part"] == "C1").to_numpy()
    return np.where(first, (np.cumsum(first) + 1) % 2 + 1, 0)


def similarities_beside(
    detectors: Detectors, name: str, features, about: pd.DataFrame, owner: np.ndarray, k: int
) -> np.ndarray:
    """Similarities [3 W, k] of all windows to their nearest of the background: of all of it, then without its first half, then
    without its second."""
    of_half = [np.flatnonzero(halves(about)[owner] == half) for half in (2, 1)]
    k = min(k, *map(len, of_half))
    without = [detectors.nearest(name, features, Selection(features, rows), k).scores for rows in of_half]
    return np.concatenate([-np.sort(-np.concatenate(without, axis=1), axis=1)[:, :k], *without])


def choose_weights(
    pairs: pd.DataFrame, beside: np.ndarray, about: pd.DataFrame, thresholds: ThresholdsConfig
) -> tuple[float, int]:
    """The beta and K that best tell planted copies, where beside the right clip, from honest ones of part C1: by the area
    under the ROC up to a tenth of false alarms. Among equals the smallest beta, then K. The profile's count among others."""
    kept = ((about["role"] == "fit") | (about["part"] == "C1")).to_numpy()[pairs["row"]]
    some = pairs[kept]
    least = min(*thresholds.ks, beside.shape[1])  # without a bias K is of no effect: one is enough
    best, chosen = -np.inf, (0.0, 1)
    for beta in sorted({*thresholds.betas, thresholds.beta}):
        for k in sorted({min(k, beside.shape[1]) for k in (*thresholds.ks, thresholds.k)}):
            scores = some["similarity"].to_numpy() - beta * bias(beside, k)[some["beside"]]
            top = some.assign(score=scores).sort_values("score", ascending=False, kind="stable").drop_duplicates("row")
            of = about["of"].to_numpy()[top["row"]]
            score = np.where((of < 0) | (of == top["reference"]), top["score"], top["score"].min())
            area = roc_auc_score(of >= 0, score, max_fpr=0.1) if beta or k == least else -np.inf
            if area > best + 1e-9:
                best, chosen = area, (beta, k)
    return chosen
