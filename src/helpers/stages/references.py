"""The references stage: what every run's clips are compared with, embedded once for all runs.

Log-mels are computed where they are used, which is faster than to keep them; embeddings take minutes and are small.

Notebook: 05_retrieval.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.parquet_file import write_parquet
from helpers.base.parts import make_parts, shards_beside
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.room import scratch_in
from helpers.base.settings import EMBEDDINGS
from helpers.copies.detectors import CHUNK
from helpers.copies.reference_features import ReferenceFeatures, build_detectors, reference_audio
from helpers.sound.corpus import load_corpus


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes {clap,aisfx}_{split}.npy [N, E] for SPLITS, and with a round trip ceiling.parquet (detector, clip_id, own_score).

    own_score is the similarity of a training clip after codec and vocoder to itself: what a perfect replay reaches. What
    `compute_shard` has left beside `out` is not computed again.
    """
    for name, files in compute_shard(shards_beside(out), upstream, profile).items():
        np.save(out / f"{name}.npy", np.concatenate([np.load(file) for file in files]))
    corpus = load_corpus(upstream["corpus"])
    audio = reference_audio(corpus, upstream.get("roundtrip"))
    if "ceiling" not in audio:
        return
    detectors, ceiling = build_detectors(profile, corpus), []
    for name in progress(profile.retrieval.detectors, desc="references", unit="detector"):
        with scratch_in(out) as scratch:
            features = ReferenceFeatures(detectors, name, audio, out, Path(scratch))
            ids = corpus.clips["clip_id"].to_numpy()[corpus.rows("train")][: len(audio["ceiling"])]
            own = detectors.similarity(name, features["ceiling"], Selection(features["train"], np.arange(len(ids))))
        ceiling.append(pd.DataFrame({"detector": name, "clip_id": ids, "own_score": own.astype(np.float32)}))
    write_parquet(pd.concat(ceiling, ignore_index=True), out / "ceiling.parquet")


def compute_shard(
    folder: Path, upstream: dict[str, Path], profile: Profile, k: int = 1, n: int = 1
) -> dict[str, list[Path]]:
    """Writes the k-th of n shares of the embeddings into `folder`: the files of each, by the name of what they make up."""
    corpus = load_corpus(upstream["corpus"])
    audio, detectors = reference_audio(corpus, upstream.get("roundtrip")), build_detectors(profile, corpus)

    def parts(name: str, split: str) -> list[Path]:
        def embed(rows: slice) -> np.ndarray:
            return detectors.features(name, audio[split][rows])

        return make_parts(folder, len(audio[split]), CHUNK, embed, k, n, f"{name}_{split}_")

    names = [name for name in profile.retrieval.detectors if name in EMBEDDINGS]
    return {f"{name}_{split}": parts(name, split) for name in names for split in audio}
