"""The alterations stage: which altered copies each detector finds, among clips that merely resemble the training set.

Notebook: 05_retrieval.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.room import scratch_in
from helpers.base.seeds import seeded
from helpers.copies.detection_metrics import detection_row, roc_points
from helpers.copies.reference_features import build_detectors
from helpers.sound.corpus import Corpus, leading_groups, load_corpus
from helpers.sound.transforms import TRANSFORMS, apply_transform


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes alterations.csv and roc.csv: altered copies of training clips against equally altered held-out clips.

    A query's score is its best similarity to any training clip: a detector must tell a copy from a clip that merely
    resembles the training set.
    """
    config, corpus = profile.retrieval, load_corpus(upstream["corpus"])
    detectors = build_detectors(profile, corpus)
    train, heldout = corpus.rows("train"), corpus.rows("heldout")
    rng = seeded(config.seed, "detection")
    positives = np.sort(rng.choice(train, min(config.n_detection, len(train)), replace=False))
    negatives = np.sort(rng.choice(heldout, min(config.n_detection, len(heldout)), replace=False))
    groups = [leading_groups(corpus.clips).to_numpy()[rows] for rows in (positives, negatives)]
    cases = [(name, s) for name, t in TRANSFORMS.items() for s in _strengths(t.strengths, config.n_strengths)]
    table, curves = [], []
    with scratch_in(out) as scratch:
        references = {
            name: detectors.features(name, Selection(corpus.audio, train), Path(scratch) / f"{name}.npy")
            for name in config.detectors
        }
        for transform, strength in progress(cases, desc="altered copies", unit="case"):
            altered = [_alter(corpus, row, transform, strength, profile) for row in (*positives, *negatives)]
            for name in config.detectors:
                best = detectors.nearest(name, detectors.features(name, np.stack(altered)), references[name], 1).scores[
                    :, 0
                ]
                pos, neg = np.split(best, [len(positives)])
                table.append(
                    detection_row(
                        name, transform, strength, "heldout", pos, neg, *groups,
                        confidence=profile.thresholds.confidence, n_bootstrap=profile.thresholds.n_bootstrap,
                        seed=config.seed,
                    )
                )  # fmt: skip
                curves.append(roc_points(pos, neg).assign(detector=name, transform=transform, strength=strength))
    pd.DataFrame(table).to_csv(out / "alterations.csv", index=False)
    pd.concat(curves, ignore_index=True).to_csv(out / "roc.csv", index=False)


def _strengths(all_strengths: tuple, n: int) -> list[float]:
    """`n` of a transform's strengths, evenly spread from weak to strong; one alone is the middle."""
    if n >= len(all_strengths):
        return list(all_strengths)
    positions = [(len(all_strengths) - 1) / 2] if n == 1 else np.linspace(0, len(all_strengths) - 1, n)
    return [all_strengths[int(round(float(p)))] for p in positions]


def _alter(corpus: Corpus, row: int, transform: str, strength: float, profile: Profile) -> np.ndarray:
    """One clip of the corpus after a transform; "mix" takes a background clip for the other."""
    background = corpus.rows("background")
    rng = seeded(profile.retrieval.seed, transform, str(strength), int(row))
    other = np.asarray(corpus.audio[background[int(rng.integers(len(background)))]])
    audio = np.asarray(corpus.audio[row])
    return apply_transform(transform, audio, strength, rng, other, profile.corpus.sample_rate_hz)
