"""The encoding stage: latents and text states of the training clips, computed once.

Notebook: 02_codec.
"""

from pathlib import Path

import numpy as np

from helpers.base.progress import progress
from helpers.base.settings import Profile
from helpers.models.codec import load_codec
from helpers.models.synthesis import CHUNK
from helpers.models.text import encode_captions
from helpers.sound import corpus


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes the training clips' latents.npy [N, C, h, w] and their captions' states, with those of the null prompt."""
    data = corpus.load_corpus(upstream["corpus"])
    rows, codec = data.rows("train"), load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    parts = [
        codec.encode(np.asarray(data.mels[rows[i : i + CHUNK]]))
        for i in progress(range(0, len(rows), CHUNK), desc="encoding")
    ]
    captions = data.clips["caption"].iloc[rows].tolist()
    states, mask = encode_captions(captions, profile.text)
    null_states, null_mask = encode_captions([""], profile.text)
    np.save(out / "latents.npy", np.concatenate(parts))
    np.savez(out / "text.npz", states=states, mask=mask, null_state=null_states[0], null_mask=null_mask[0])
