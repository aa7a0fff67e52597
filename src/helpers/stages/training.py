"""The training stage: one denoiser on one draw of the encoded clips.

Notebook: 03_training.
"""

from pathlib import Path

import numpy as np

from helpers.base.mapped import Selection
from helpers.base.profile import Profile
from helpers.base.settings import TrainingConfig
from helpers.models import trainer
from helpers.models.codec import load_codec
from helpers.models.mixing import Mixer
from helpers.models.pretrained import tango
from helpers.models.text import load_text
from helpers.sound import corpus


def compute(out: Path, upstream: dict[str, Path], profile: Profile, config: TrainingConfig) -> float | None:
    """Trains the denoiser of one run on its draw of the encoded clips, or takes TANGO's where the profile names it.

    Returns the seconds of training, those before an interruption too.
    """
    rows = corpus.subset(config, profile.corpus.n_train)
    latents = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r")
    text = load_text(upstream["encoding"])
    if config.checkpoint_path:
        tango.write_checkpoint(out, config, latents.shape[1:], text["null_state"].shape[-1])
        return None
    drawn = {}
    if config.posterior == "sample":
        drawn["deviations"] = Selection(np.load(upstream["encoding"] / "deviations.npy", mmap_mode="r"), rows)
    if config.mixtures:
        drawn["mix"] = _mixer(upstream, profile, rows)
    of_rows = (Selection(array, rows) for array in (latents, text["states"], text["mask"]))
    return trainer.train(out, config, trainer.Data(*of_rows, text["null_state"], text["null_mask"], **drawn))


def _mixer(upstream: dict[str, Path], profile: Profile, rows: np.ndarray) -> Mixer:
    data = corpus.load_corpus(upstream["corpus"])
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    clips = data.rows("train")[rows]
    captions, rate_hz = data.clips["caption"].iloc[clips].tolist(), profile.corpus.sample_rate_hz
    return Mixer(Selection(data.audio, clips), captions, codec, profile.mel, profile.text, rate_hz)
