"""What the tests of the published parts are fed: captions, mels, noise, and the settings that name fabricated files."""

import numpy as np

from helpers.base.settings import MelConfig, TextConfig, TrainingConfig

RATE = 16_000
MEL = MelConfig(hop_length=160)
CAPTIONS = ["a dog barks", "rain falls on a roof then a bird sings", ""]


def text_config(folder, **options) -> TextConfig:
    return TextConfig(encoder="flan_t5", encoder_path=str(folder), max_tokens=16, **options)


def random_mels(n: int, frames: int = 32) -> np.ndarray:
    return np.random.default_rng(0).normal(-5, 2, (n, frames, 64)).astype(np.float32)


def noise(n: int, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """int16 [n, S], each clip smoother than the one before."""
    rng = np.random.default_rng(1)
    clips = [np.convolve(rng.standard_normal(int(seconds * rate)), np.ones(4 * k + 1), mode="same") for k in range(n)]
    return np.stack([np.round(8000 * c / np.abs(c).max()) for c in clips]).astype(np.int16)


def unet_config(folder, sizes: dict) -> TrainingConfig:
    """Names TANGO's checkpoint in `folder`, whose UNet has the widths `sizes["unet"]`."""
    return TrainingConfig(architecture="tango", checkpoint_path=str(folder), **sizes["unet"])
