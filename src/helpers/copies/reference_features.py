"""Features of the clips that every run is compared with: training, background, held-out clips and the ceiling."""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.profile import Profile
from helpers.copies.detectors import Detectors
from helpers.sound.corpus import Corpus

SPLITS = ("train", "background", "heldout", "ceiling")  # the last two after codec and vocoder, where that is given


def build_detectors(profile: Profile, corpus: Corpus) -> Detectors:
    """The profile's detectors, centred by this corpus' training mean."""
    return Detectors(profile.retrieval, profile.mel, profile.corpus.sample_rate_hz, corpus.mel_mean())


def reference_audio(corpus: Corpus, roundtrip: Path | None) -> dict[str, Selection]:
    """Audio int16 [N, S] of each of SPLITS; `ceiling` holds the first training clips, as many as went through the codec."""
    clips = {split: Selection(corpus.audio, corpus.rows(split)) for split in ("train", "background")}
    if roundtrip is None:
        return clips
    queries = pd.read_parquet(roundtrip / "queries.parquet")
    after = np.load(roundtrip / "audio.npy", mmap_mode="r")
    rows = {
        name: np.flatnonzero(queries["split"] == split)
        for name, split in (("heldout", "heldout"), ("ceiling", "train"))
    }
    return clips | {name: Selection(after, part) for name, part in rows.items()}


class ReferenceFeatures:
    """One detector's features of the SPLITS, computed or read from a references stage when first asked for: `f["train"]`."""

    def __init__(self, detectors: Detectors, name: str, audio: dict[str, Selection], stage: Path | None, scratch: Path):
        self._detectors, self._name, self._audio, self._stage, self._scratch = detectors, name, audio, stage, scratch
        self._features: dict[str, np.ndarray] = {}

    def __contains__(self, split: str) -> bool:
        return split in self._audio

    def __getitem__(self, split: str) -> np.ndarray:
        if split not in self._features:
            kept = self._stage / f"{self._name}_{split}.npy" if self._stage else None
            if kept is not None and kept.is_file():
                self._features[split] = np.load(kept, mmap_mode="r")
            else:
                file = self._scratch / f"reference_{split}.npy"
                self._features[split] = self._detectors.features(self._name, self._audio[split], file)
        return self._features[split]
