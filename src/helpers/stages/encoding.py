"""The encoding stage: latents and text states of the training clips, computed once.

Notebook: 02_codec.
"""

import functools
from pathlib import Path

import numpy as np

from helpers.base.mapped import Selection, chunks, create, forget, write_stored
from helpers.base.parts import make_parts, shards_beside
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.models.codec import load_codec
from helpers.models.synthesis import CHUNK
from helpers.models.text import encode_captions
from helpers.sound import corpus

SHARD = 4 * CHUNK  # clips of a file: what a killed run has to make again


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes the training clips' latents.npy [N, C, h, w] and their captions' states, with those of the null prompt.

    Where training draws latents from their posterior, these are its means, and deviations.npy has its deviations. What
    `compute_shard` has left beside `out` is not computed again.
    """
    files, data = compute_shard(shards_beside(out), upstream, profile), corpus.load_corpus(upstream["corpus"])
    first = np.load(files[0], mmap_mode="r")
    n = len(data.rows("train"))
    names = ("latents", "deviations")[: len(first)]
    arrays = [create(out / f"{name}.npy", np.float32, (n, *first.shape[2:])) for name in names]
    for start, file in zip(range(0, n, SHARD), files):
        for array, values in zip(arrays, np.load(file, mmap_mode="r")):
            array[start : start + SHARD] = values
            forget(array)
    for array in arrays:
        array.flush()
    captions, scratch = data.clips["caption"].iloc[data.rows("train")].tolist(), out / "states.npy"
    states, mask = encode_captions(captions, profile.text, lambda shape, dtype: create(scratch, dtype, shape))
    null_states, null_mask = encode_captions([""], profile.text)
    arrays = {"states": states, "mask": mask, "null_state": null_states[0], "null_mask": null_mask[0]}
    write_stored(out / "text.npz", arrays)
    scratch.unlink()


def compute_shard(folder: Path, upstream: dict[str, Path], profile: Profile, k: int = 1, n: int = 1) -> list[Path]:
    """Writes the k-th of n shares of the latents, and deviations, into `folder`: float32 [1 or 2, SHARD, C, h, w] a file."""
    data = corpus.load_corpus(upstream["corpus"])
    mels, sampled = Selection(data.mels, data.rows("train")), profile.training.posterior == "sample"
    codec = functools.cache(lambda: load_codec(profile.codec.codec_path, profile.codec.codec_sha256))

    def encode(rows: slice) -> np.ndarray:
        bar = progress(chunks(mels[rows], CHUNK), total=-(-(rows.stop - rows.start) // CHUNK), desc="encoding")
        found = [codec().posterior(some) if sampled else codec().encode(some)[:, None] for _, some in bar]
        return np.moveaxis(np.concatenate(found), 1, 0)

    return make_parts(folder, len(mels), SHARD, encode, k, n)
