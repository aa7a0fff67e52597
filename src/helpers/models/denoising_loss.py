"""The loss that training minimises, of given clips on fixed noise."""

from collections.abc import Sequence

import numpy as np
import torch

from helpers.base.seeds import seeded
from helpers.models.denoiser import build_noise_scheduler

BATCH = 32


@torch.inference_mode()
def denoising_losses(
    unet, latents: np.ndarray, states: np.ndarray, mask: np.ndarray, levels: Sequence[int], seed: int
) -> np.ndarray:
    """Mean squared errors of v, float64 [levels, N], of latents [N, C, h, w] under captions' states [N, L, D], mask [N, L].

    `levels` are timesteps of the schedule's 1,000. A clip's noise depends on the level and its place alone.
    """
    scheduler, errors = build_noise_scheduler(), np.empty((len(levels), len(latents)))
    for place, level in enumerate(levels):
        noise = seeded(seed, "loss", level).standard_normal(latents.shape, np.float32)
        for start in range(0, len(latents), BATCH):
            part = slice(start, start + BATCH)
            clean, added, text, where = (torch.from_numpy(np.array(a[part])) for a in (latents, noise, states, mask))
            clean, added, text, where = (one.to(unet.device) for one in (clean, added, text.float(), where))
            times = torch.full((len(clean),), level, device=unet.device)
            noisy = scheduler.add_noise(clean, added, times)
            predicted = unet(noisy, times, encoder_hidden_states=text, encoder_attention_mask=where).sample
            error = predicted - scheduler.get_velocity(clean, added, times)
            errors[place, part] = error.square().flatten(1).mean(1).cpu().numpy()
    return errors
