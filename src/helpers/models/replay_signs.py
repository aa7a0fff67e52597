"""What a model does while it generates that tells a replay from a clip of its own, without a look at the training set."""

import time
from typing import NamedTuple

import numpy as np
import torch

from helpers.base.settings import GenerationConfig
from helpers.models.sampler import sample_batches


class Signs(NamedTuple):
    """Of N generated clips, float32 [N]; greater where the clip is more likely a replay.

    caption_effect: root mean square of what the caption changes in the predicted noise, the mean over all steps, and that
    of the first step alone (Wen et al., 2024, arXiv:2407.21720). one_step: minus the mean square of the first estimate of
    the clean latents less the finished ones, as copies come out in one step (after Webster, 2023, arXiv:2305.08694). That
    estimate is the caption's, without guidance: guidance pushes it past a clip that the model knows already.
    """

    caption_effect: np.ndarray
    caption_effect_first: np.ndarray
    one_step: np.ndarray


@torch.inference_mode()
def generate_with_signs(
    unet, text: tuple, null: tuple, noise_seeds: list[int], config: GenerationConfig, latent_shape
) -> tuple[np.ndarray, Signs, dict[str, float]]:
    """Latents float32 [N, C, h, w] as `sampler.sample_latents` makes them, their signs, and the seconds of each for a clip.

    `text` is the prompts' states [N, L, D] and mask [N, L], `null` those of "": [L, D] and [L]. Raises ValueError where
    guidance is 0 or 1, as one side of the caption's effect is missing then, and as `sample_latents` for shapes.
    """
    if config.guidance in (0, 1):
        raise ValueError(f"guidance: expected neither 0 nor 1, got {config.guidance:g}")
    parts, spent_first, spent = [], 0.0, 0.0
    for steps in sample_batches(unet, text, null, noise_seeds, config, latent_shape):
        started, effects = time.perf_counter(), []
        for step in steps:
            effects.append(step.alpha * step.of_caption.square().flatten(1).mean(1).sqrt())  # v to noise: times alpha
            if len(effects) == 1:
                first = step.clean + (1 - step.alpha**2) ** 0.5 * (config.guidance - 1) * step.of_caption
                spent_first += time.perf_counter() - started
        spent += time.perf_counter() - started
        error = (first - step.latents).square().flatten(1).mean(1)
        effect = torch.stack(effects)
        parts.append([one.cpu().numpy() for one in (step.latents, effect.mean(0), effect[0], -error)])
    made, *signs = map(np.concatenate, zip(*parts))
    n = len(noise_seeds)
    return made, Signs(*signs), dict(zip(Signs._fields, (spent / n, spent_first / n, spent / n)))
