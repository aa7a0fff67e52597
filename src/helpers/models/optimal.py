"""The optimal denoiser of a finite training set, in closed form: a generator that can only copy. The positive control.

Of all functions, the one of least training loss gives the posterior mean of the clip: the training latents' mean, each
weighted by how likely the noisy latent is to have come from it. Karras et al. (2022), appendix B.3, derive it; Kamb and
Ganguli (2024) set what networks make beside it. It is what training aims at and a network falls short of: whatever is
sampled with it is a training latent.
"""

import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch

from helpers.base.mapped import chunks
from helpers.base.settings import GenerationConfig
from helpers.models.denoiser import build_noise_scheduler
from helpers.models.sampler import sample_latents

BLOCK = 1024  # latents taken to float64 at a time: 32 MiB of 4,096 numbers each, 256 MiB of TANGO's 32,768


class EmpiricalDenoiser:
    """Takes the network's place in `sampler.sample_latents`; prompts are ignored.

    Args:
        latents: the training latents [n, C, h, w], an array or a `mapped.Selection` of one; they are read as float32, some
            at a time in every step, and stay on the disk.

    Raises:
        ValueError: latents of another number of axes, none at all, NaN or infinity.
    """

    device = torch.device("cpu")

    def __init__(self, latents):
        self.latents = latents
        if not len(self.latents):
            raise ValueError("latents: expected at least one, got none")
        self.half_norms = _half_norms(self.latents)
        self.alphas_cumprod = build_noise_scheduler().alphas_cumprod

    def expected_clips(self, noisy: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        """Posterior mean float32 [B, C, h, w] of the clips in `noisy` = sqrt(alpha_bar) clip + sqrt(1 - alpha_bar) noise.

        The weights are the softmax of `-|noisy - sqrt(alpha_bar) latent|**2 / (2 (1 - alpha_bar))`, of which
        `|noisy|**2` is common to all and left out.
        """
        products = _products(noisy.flatten(1), self.latents)
        weights = ((alpha_bar**0.5 * products - alpha_bar * self.half_norms) / (1 - alpha_bar)).softmax(dim=1)
        parts = zip(weights.split(BLOCK, dim=1), _blocks(self.latents, "latents"))
        return sum(some @ block.double() for some, block in parts).float().view(noisy.shape)

    def __call__(self, noisy: torch.Tensor, timestep, **prompts) -> SimpleNamespace:
        """What a UNet2DConditionModel returns: `sample` is v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) clip."""
        alpha_bar = float(self.alphas_cumprod[int(timestep)])
        clips = self.expected_clips(noisy, alpha_bar)
        return SimpleNamespace(sample=(alpha_bar**0.5 * noisy - clips) / (1 - alpha_bar) ** 0.5)


def sample_empirical(latents, noise_seeds: list[int], config: GenerationConfig) -> np.ndarray:
    """Latents float32 [len(noise_seeds), C, h, w] sampled with the optimal denoiser of training latents [n, C, h, w].

    Noise, sampler and batches are those of a network's clips, as it is `sample_latents` that draws them; there is no
    prompt and so no guidance. Raises ValueError for latents of another shape, none, NaN or infinity.
    """
    denoiser = EmpiricalDenoiser(latents)
    unconditional = dataclasses.replace(config, guidance=0.0)
    count = len(noise_seeds)
    states, mask = np.zeros((count, 1, 1), np.float32), np.ones((count, 1), bool)  # one token that nobody reads
    null_state, null_mask = np.zeros((1, 1), np.float32), np.ones(1, bool)
    return sample_latents(denoiser, states, mask, null_state, null_mask, noise_seeds, unconditional, latents.shape[1:])


def nearest_latents(samples, latents) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of latents [n, C, h, w] to each of samples [Q, C, h, w]: rows int64 [Q], Euclidean distances [Q].

    Of equally near ones the first counts. Raises ValueError for shapes that disagree, no latents, NaN or infinity.
    """
    if not len(latents) or samples.shape[1:] != latents.shape[1:]:
        raise ValueError(
            f"latents: expected at least one, of the samples' shape {samples.shape[1:]}, got {tuple(latents.shape)}"
        )
    half_norms = _half_norms(latents)
    rows = [(_products(part, latents) - half_norms).argmax(dim=1) for part in _blocks(samples, "samples")]
    nearest = torch.cat(rows).numpy()
    pairs = ((np.asarray(samples[i]), np.asarray(latents[row : row + 1])[0]) for i, row in enumerate(nearest))
    return nearest, np.array([np.linalg.norm((a.astype(np.float64) - b).ravel()) for a, b in pairs], np.float64)


def _blocks(values, name: str) -> Iterator[torch.Tensor]:
    """Latents [n, C, h, w], BLOCK at a time, as float32 [<=BLOCK, C * h * w]."""
    if values.ndim != 4:
        raise ValueError(f"{name}: expected shape [clips, channels, time, frequency], got {values.shape}")
    for _, part in chunks(values, BLOCK):
        if not np.isfinite(part).all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
        yield torch.tensor(np.asarray(part, np.float32)).flatten(1)


def _half_norms(latents) -> torch.Tensor:
    """Half the squared length of each row, float64 [n]."""
    return torch.cat([block.double().square().sum(dim=1) / 2 for block in _blocks(latents, "latents")])


def _products(rows: torch.Tensor, latents) -> torch.Tensor:
    """Inner products float64 [B, n] of rows [B, D] and latents [n, C, h, w], D numbers each.

    In float32 they would err by about 1e-3, and the last steps divide by 1 - alpha_bar = 8.5e-4: the weights of latents
    that lie near one another would be wrong.
    """
    rows = rows.double()
    return torch.cat([rows @ block.double().T for block in _blocks(latents, "latents")], dim=1)
