"""The training stage: one denoiser on one draw of the encoded clips.

Notebook: 03_training.
"""

from pathlib import Path

import numpy as np

from helpers.base.settings import TrainingConfig
from helpers.models import trainer
from helpers.models.pretrained import tango
from helpers.models.text import load_text
from helpers.sound import corpus


def compute(out: Path, upstream: dict[str, Path], config: TrainingConfig, n_pool: int) -> None:
    """Trains the denoiser of one run on its draw of the encoded clips, or takes TANGO's where the profile names it."""
    rows = corpus.subset(config, n_pool)
    latents = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r")
    text = load_text(upstream["encoding"])
    if config.checkpoint_path:
        return tango.write_checkpoint(out, config, latents.shape[1:], text["null_state"].shape[-1])
    latents = latents[rows]
    trainer.train(out, config, latents, text["states"][rows], text["mask"][rows], text["null_state"], text["null_mask"])
