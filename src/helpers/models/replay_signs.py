"""What a model does while it generates that tells a replay from a clip of its own, without a look at the training set."""

import time
from typing import NamedTuple

import numpy as np
import torch

from helpers.base.progress import progress
from helpers.base.settings import GenerationConfig
from helpers.models.sampler import denoise, initial_noise, noise_generators


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
    """Latents float32 [N, C, h, w], their signs, and the seconds that each sign takes for a clip.

    `text` is the prompts' states [N, L, D] and mask [N, L], `null` those of "": [L, D] and [L]. Clips are sampled as
    `sampler.sample_latents` does it. Raises ValueError where guidance is 0 or 1: then one side of the effect is missing.
    """
    if config.guidance in (0, 1):
        raise ValueError(f"guidance: expected neither 0 nor 1, got {config.guidance:g}")
    parts, spent = [], np.zeros(2)  # seconds of all steps, and of the first
    with progress(total=len(noise_seeds), desc="signs of replay", unit="clip") as bar:
        for start in range(0, len(noise_seeds), config.batch_size):
            rows = slice(start, start + config.batch_size)
            states, mask = (torch.from_numpy(np.array(side[rows])).to(unet.device) for side in text)
            nothing, no_mask = (torch.from_numpy(np.array(side)).to(unet.device) for side in null)
            prompt, without = (states.float(), mask), (nothing.float().expand_as(states), no_mask.expand_as(mask))
            generators = noise_generators(noise_seeds[rows])
            latents, effects, first = initial_noise(generators, latent_shape).to(unet.device), [], None
            started = time.perf_counter()
            for step in denoise(unet, latents, prompt, without, generators, config):
                effects.append(
                    step.alpha * step.of_caption.square().flatten(1).mean(1).sqrt()
                )  # v to noise: times alpha
                if first is None:
                    first = step.clean + (1 - step.alpha**2) ** 0.5 * (config.guidance - 1) * step.of_caption
                    spent[1] += time.perf_counter() - started
            spent[0] += time.perf_counter() - started
            error = (first - step.latents).square().flatten(1).mean(1)
            effect = torch.stack(effects)
            parts.append([one.cpu().numpy() for one in (step.latents, effect.mean(0), effect[0], -error)])
            bar.update(len(mask))
    made, *signs = map(np.concatenate, zip(*parts))
    whole, first = (spent / len(noise_seeds)).tolist()
    return made, Signs(*signs), dict(zip(Signs._fields, (whole, first, whole)))
