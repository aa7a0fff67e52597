"""The retrieval and detection stages: which training clip is nearest to every query, and which altered copies are found.

Queries are the generated clips, the twins, the held-out clips and the ceiling (training clips after codec and vocoder).
All but the altered copies went through codec and vocoder, as generated clips do.

Notebook: 05_retrieval.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from helpers.arrays import Selection
from helpers.config import Profile, run_key
from helpers.corpus import Corpus, load_corpus, subset
from helpers.detection import detection_row, roc_points
from helpers.detectors import Detectors
from helpers.progress import progress
from helpers.soundscapes import seeded
from helpers.transforms import TRANSFORMS, apply_transform


def compute_retrieval(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes scores.parquet (every query's top k) and background.parquet (its nearest background clips).

    scores.parquet: detector, n_train, draw, updates, sample_seed, kind (generated, twins, heldout, ceiling), query_id,
    own_id (the training clip whose caption it was made from; empty for held-out), rank (1 = nearest), ref_id, score,
    own_score (similarity to the own clip; NaN for held-out).
    """
    corpus, config = load_corpus(upstream["corpus"]), profile.retrieval
    detectors = _detectors(profile, corpus)
    runs = [(n, d, _queries(upstream, n, d)) for n, d in profile.runs]
    common = _common_queries(upstream["roundtrip"])
    scores, backgrounds = [], []
    for name in progress(config.detectors, desc="retrieval", unit="detector"):
        with TemporaryDirectory(dir=out) as scratch:
            features = _Features(detectors, name, Path(scratch))
            references, background = (features(_split(corpus, split)) for split in ("train", "background"))
            shared = {kind: (table, features(audio)) for kind, (table, audio) in common.items()}
            for table, found in shared.values():
                backgrounds.append(_background_rows(detectors, name, table, found, background, config.k_max))
            for n_train, draw, queries in runs:
                rows = subset(n_train, draw, len(references), profile.training.seed)
                groups = {kind: (table, features(audio)) for kind, (table, audio) in queries.items()}
                for table, found in groups.values():
                    backgrounds.append(_background_rows(detectors, name, table, found, background, config.k_max))
                for kind, (table, found) in {**groups, **_restrict(shared, rows)}.items():
                    part = _score_rows(detectors, name, table, found, references, rows, config.top_k)
                    scores.append(part.assign(detector=name, n_train=n_train, draw=draw, kind=kind))
    pd.concat(scores, ignore_index=True).to_parquet(out / "scores.parquet", index=False)
    unique = pd.concat(backgrounds, ignore_index=True).drop_duplicates(["detector", "query_id", "rank"])
    unique.to_parquet(out / "background.parquet", index=False)


@dataclass
class _Features:
    """One detector's features, each array in a file of its own in `folder`."""

    detectors: Detectors
    name: str
    folder: Path
    number: int = 0

    def __call__(self, audio) -> np.ndarray:
        self.number += 1
        return self.detectors.features(self.name, audio, self.folder / f"{self.number}.npy")


def _detectors(profile: Profile, corpus: Corpus) -> Detectors:
    return Detectors(profile.retrieval, profile.mel, profile.corpus.sample_rate_hz, corpus.mel_mean())


def _split(corpus: Corpus, split: str) -> Selection:
    return Selection(corpus.audio, corpus.rows(split))


def _queries(upstream: dict[str, Path], n_train: int, draw: int) -> dict:
    """Tables (query_id, index, updates, sample_seed) and audio of one run's generated clips and twins."""
    found = {}
    for kind, stage in (("generated", "generation"), ("twins", "twins")):
        key = f"{stage}_{run_key(n_train, draw)}"
        if key in upstream:
            table = pd.read_parquet(upstream[key] / "queries.parquet")
            found[kind] = _sounding(table, np.load(upstream[key] / "audio.npy", mmap_mode="r"), key)
    return found


def _sounding(table: pd.DataFrame, audio: np.ndarray, key: str):
    """Without the silent clips: a cosine to silence means nothing. They are counted as quality, not as new sound."""
    keep = ~table.get("silent", pd.Series(False, index=table.index)).to_numpy(bool)
    if not keep.any():
        raise ValueError(
            f"{key}: expected sound, got {len(table)} silent clips; was the model trained for long enough?"
        )
    return table[keep].reset_index(drop=True), Selection(audio, np.flatnonzero(keep))


def _common_queries(folder: Path) -> dict:
    table, audio = pd.read_parquet(folder / "queries.parquet"), np.load(folder / "audio.npy", mmap_mode="r")
    kinds = {"heldout": "heldout", "train": "ceiling"}
    return {
        kinds[split]: (
            part.assign(index=part["index"] if split == "train" else -1),
            Selection(audio, part.index.to_numpy()),
        )
        for split, part in table.groupby("split")
    }


def _restrict(shared: dict, rows: np.ndarray) -> dict:
    """The queries common to all runs; of the ceiling only the clips that this run was trained on."""
    found = dict(shared)
    if "ceiling" in shared:
        table, features = shared["ceiling"]
        keep = np.isin(table["index"], rows)
        found["ceiling"] = (table[keep], Selection(features, np.flatnonzero(keep)))
    return {kind: pair for kind, pair in found.items() if len(pair[0])}


def _score_rows(
    detectors: Detectors, name: str, table: pd.DataFrame, features, references, rows: np.ndarray, k: int
) -> pd.DataFrame:
    found = detectors.nearest(name, features, Selection(references, rows), min(k, len(rows)))
    depth = found.scores.shape[1]
    own = np.full(len(table), np.nan, np.float32)
    has_own = table["index"].to_numpy() >= 0
    if has_own.any():
        own_clips = Selection(references, table["index"].to_numpy()[has_own])
        own[has_own] = detectors.similarity(name, Selection(features, np.flatnonzero(has_own)), own_clips)
    repeated = (
        table[["query_id", "index", "updates", "sample_seed"]].loc[table.index.repeat(depth)].reset_index(drop=True)
    )
    names = np.array([f"train_{i:05d}" for i in rows])
    return repeated.assign(
        own_id=[f"train_{i:05d}" if i >= 0 else "" for i in repeated["index"]],
        own_score=np.repeat(own, depth),
        rank=np.tile(np.arange(1, depth + 1), len(table)),
        ref_id=names[found.indices.ravel()],
        score=found.scores.ravel(),
    ).drop(columns="index")


def _background_rows(
    detectors: Detectors, name: str, table: pd.DataFrame, features, background, k_max: int
) -> pd.DataFrame:
    found = detectors.nearest(name, features, background, min(k_max, len(background)))
    depth = found.scores.shape[1]
    return pd.DataFrame(
        {
            "detector": name,
            "query_id": np.repeat(table["query_id"].to_numpy(), depth),
            "rank": np.tile(np.arange(1, depth + 1), len(table)),
            "score": found.scores.ravel(),
        }
    )


def compute_detection(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes detection.csv and roc.csv: altered copies of training clips against equally altered held-out clips.

    A query's score is its best similarity to any training clip: a detector must tell a copy from a clip that merely
    resembles the training set.
    """
    config, corpus = profile.retrieval, load_corpus(upstream["corpus"])
    detectors = _detectors(profile, corpus)
    train, heldout = corpus.rows("train"), corpus.rows("heldout")
    rng = seeded(config.seed, "detection")
    positives = np.sort(rng.choice(train, min(config.n_detection, len(train)), replace=False))
    negatives = np.sort(rng.choice(heldout, min(config.n_detection, len(heldout)), replace=False))
    groups = [corpus.clips["clip_id"].to_numpy()[rows] for rows in (positives, negatives)]
    cases = [(name, s) for name, t in TRANSFORMS.items() for s in _strengths(t.strengths, config.n_strengths)]
    table, curves = [], []
    with TemporaryDirectory(dir=out) as scratch:
        references = {
            name: detectors.features(name, _split(corpus, "train"), Path(scratch) / f"{name}.npy")
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
    pd.DataFrame(table).to_csv(out / "detection.csv", index=False)
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
