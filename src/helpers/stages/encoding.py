"""The encoding stage: latents and text states of the training clips, computed once.

Notebook: 02_codec.
"""

from pathlib import Path

import numpy as np

from helpers.base.mapped import Selection, chunks, create, forget
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.models.codec import load_codec
from helpers.models.synthesis import CHUNK
from helpers.models.text import encode_captions
from helpers.sound import corpus


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes the training clips' latents.npy [N, C, h, w] and their captions' states, with those of the null prompt.

    Where training draws latents from their posterior, these are its means, and deviations.npy has its deviations.
    """
    data = corpus.load_corpus(upstream["corpus"])
    mels = Selection(data.mels, data.rows("train"))
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    sampled, arrays = profile.training.posterior == "sample", []
    for part, some in progress(chunks(mels, CHUNK), total=-(-len(mels) // CHUNK), desc="encoding"):
        found = np.moveaxis(codec.posterior(some), 1, 0) if sampled else codec.encode(some)[None]
        if not arrays:
            names = ("latents", "deviations")[: len(found)]
            arrays = [create(out / f"{name}.npy", np.float32, (len(mels), *found.shape[2:])) for name in names]
        for array, values in zip(arrays, found):
            array[part] = values
            forget(array)
    for array in arrays:
        array.flush()
    captions, scratch = data.clips["caption"].iloc[data.rows("train")].tolist(), out / "states.npy"
    states, mask = encode_captions(captions, profile.text, lambda shape, dtype: create(scratch, dtype, shape))
    null_states, null_mask = encode_captions([""], profile.text)
    np.savez(out / "text.npz", states=states, mask=mask, null_state=null_states[0], null_mask=null_mask[0])
    scratch.unlink()
