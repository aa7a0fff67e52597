"""The references stage: what every run's clips are compared with, embedded once for all runs.

Log-mels are computed where they are used, which is faster than to keep them; embeddings take minutes and are small.

Notebook: 05_retrieval.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.settings import EMBEDDINGS
from helpers.copies.reference_features import ReferenceFeatures, build_detectors, reference_audio
from helpers.sound.corpus import load_corpus


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes {clap,aisfx}_{split}.npy [N, E] for SPLITS, and with a round trip ceiling.parquet (detector, clip_id, own_score).

    own_score is the similarity of a training clip after codec and vocoder to itself: what a perfect replay reaches.
    """
    corpus = load_corpus(upstream["corpus"])
    audio = reference_audio(corpus, upstream.get("roundtrip"))
    detectors = build_detectors(profile, corpus)
    ceiling = []
    for name in progress(profile.retrieval.detectors, desc="references", unit="detector"):
        with TemporaryDirectory(dir=out) as scratch:
            features = ReferenceFeatures(detectors, name, audio, None, Path(scratch))
            if name in EMBEDDINGS:
                for split in audio:
                    np.save(out / f"{name}_{split}.npy", features[split])
            if "ceiling" not in audio:
                continue
            ids = corpus.clips["clip_id"].to_numpy()[corpus.rows("train")][: len(audio["ceiling"])]
            own = detectors.similarity(name, features["ceiling"], Selection(features["train"], np.arange(len(ids))))
        ceiling.append(pd.DataFrame({"detector": name, "clip_id": ids, "own_score": own.astype(np.float32)}))
    if ceiling:
        pd.concat(ceiling, ignore_index=True).to_parquet(out / "ceiling.parquet", index=False)
