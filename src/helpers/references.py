"""The references stage: what every run's clips are compared with, embedded once for all runs.

Log-mels are computed where they are used, which is faster than to keep them; embeddings take minutes and are small.

Notebook: 05_retrieval.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from helpers.arrays import Selection
from helpers.config import Profile
from helpers.corpus import Corpus, load_corpus
from helpers.detectors import EMBEDDINGS, Detectors
from helpers.progress import progress

SPLITS = ("train", "background", "heldout", "ceiling")  # the last two after codec and vocoder


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes {clap,aisfx}_{split}.npy [N, E] for SPLITS, and ceiling.parquet (detector, clip_id, own_score).

    own_score is the similarity of a training clip after codec and vocoder to itself: what a perfect replay reaches.
    """
    corpus = load_corpus(upstream["corpus"])
    audio = reference_audio(corpus, upstream["roundtrip"])
    detectors = build_detectors(profile, corpus)
    ids = corpus.clips["clip_id"].to_numpy()[corpus.rows("train")][: len(audio["ceiling"])]
    ceiling = []
    for name in progress(profile.retrieval.detectors, desc="references", unit="detector"):
        with TemporaryDirectory(dir=out) as scratch:
            features = ReferenceFeatures(detectors, name, audio, None, Path(scratch))
            if name in EMBEDDINGS:
                for split in SPLITS:
                    np.save(out / f"{name}_{split}.npy", features[split])
            own = detectors.similarity(name, features["ceiling"], Selection(features["train"], np.arange(len(ids))))
        ceiling.append(pd.DataFrame({"detector": name, "clip_id": ids, "own_score": own.astype(np.float32)}))
    pd.concat(ceiling, ignore_index=True).to_parquet(out / "ceiling.parquet", index=False)


def build_detectors(profile: Profile, corpus: Corpus) -> Detectors:
    """The profile's detectors, centred by this corpus' training mean."""
    return Detectors(profile.retrieval, profile.mel, profile.corpus.sample_rate_hz, corpus.mel_mean())


def reference_audio(corpus: Corpus, roundtrip: Path) -> dict[str, Selection]:
    """Audio int16 [N, S] of each of SPLITS; `ceiling` holds the first training clips, as many as went through the codec."""
    queries = pd.read_parquet(roundtrip / "queries.parquet")
    after = np.load(roundtrip / "audio.npy", mmap_mode="r")
    rows = {
        name: np.flatnonzero(queries["split"] == split)
        for name, split in (("heldout", "heldout"), ("ceiling", "train"))
    }
    clips = {split: Selection(corpus.audio, corpus.rows(split)) for split in ("train", "background")}
    return clips | {name: Selection(after, found) for name, found in rows.items()}


class ReferenceFeatures:
    """One detector's features of the SPLITS, computed or read from a references stage when first asked for: `f["train"]`."""

    def __init__(self, detectors: Detectors, name: str, audio: dict[str, Selection], stage: Path | None, scratch: Path):
        self._detectors, self._name, self._audio, self._stage, self._scratch = detectors, name, audio, stage, scratch
        self._found = {}

    def __getitem__(self, split: str) -> np.ndarray:
        if split not in self._found:
            kept = self._stage / f"{self._name}_{split}.npy" if self._stage else None
            if kept is not None and kept.is_file():
                self._found[split] = np.load(kept, mmap_mode="r")
            else:
                file = self._scratch / f"reference_{split}.npy"
                self._found[split] = self._detectors.features(self._name, self._audio[split], file)
        return self._found[split]
