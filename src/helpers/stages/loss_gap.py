"""The loss_gap stage: the denoising loss of training and of held-out clips at every checkpoint, on fixed noise.

Where the two part, the model has begun to know its training clips from others (Bonnaire et al., 2025).

Notebook: 03_training.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.models.codec import load_codec
from helpers.models.denoiser import denoising_losses, load_unet
from helpers.models.text import encode_captions, load_text
from helpers.sound.corpus import load_corpus, spread, subset

NOISE_LEVELS = tuple(range(50, 1000, 100))  # timesteps of the schedule's 1,000
N_CLIPS = 128  # of either kind


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Writes loss_gap.csv: n_train, draw, updates, noise_level (timestep), train, held_out (mean squared errors of v).

    The averaged weights, in float32, with the clips' own captions. Every checkpoint meets the same clips with the same
    noise, evenly spaced among the run's and the first of the held-out ones.
    """
    run = profile.training_run(n_train, draw)
    kinds = {"train": _training_clips(upstream, profile, run), "held_out": _heldout_clips(upstream, profile)}
    rows = []
    for updates in progress(sorted({*run.checkpoints, run.updates}), desc=f"loss of {profile.key(n_train, draw)}"):
        unet = load_unet(upstream["training"], updates)
        losses = {
            kind: denoising_losses(unet, *clips, NOISE_LEVELS, profile.training.seed) for kind, clips in kinds.items()
        }
        for place, level in enumerate(NOISE_LEVELS):
            about = {"n_train": n_train, "draw": draw, "updates": updates, "noise_level": level}
            rows.append(about | {kind: float(loss[place].mean()) for kind, loss in losses.items()})
    pd.DataFrame(rows).to_csv(out / "loss_gap.csv", index=False)


def _training_clips(upstream: dict[str, Path], profile: Profile, run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = spread(subset(run, profile.corpus.n_train), N_CLIPS)
    text = load_text(upstream["encoding"])
    latents = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r")
    return latents[rows], text["states"][rows], text["mask"][rows]


def _heldout_clips(upstream: dict[str, Path], profile: Profile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = load_corpus(upstream["corpus"])
    rows = data.rows("heldout")[:N_CLIPS]
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    states, mask = encode_captions(data.clips["caption"].iloc[rows].tolist(), profile.text)
    return codec.encode(np.asarray(data.mels[rows])), states, mask
