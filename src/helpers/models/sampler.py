"""Draws latents from a trained denoiser: DPM-Solver++ (Lu et al., 2022) with classifier-free guidance.

TANGO samples with 200 steps of DDPM's ancestral sampler, which can be chosen too; the second-order solver of diffusers
needs about 20.
Chapter: `notebooks/04_generation.ipynb`.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel

from helpers.base.progress import progress
from helpers.base.settings import GenerationConfig
from helpers.models.denoiser import build_noise_scheduler
from helpers.models.similarity_cap import SimilarityCap


def build_solver(steps: int) -> DPMSolverMultistepScheduler:
    """Second-order multistep DPM-Solver++ on the schedule that training uses, set to `steps` steps.

    Steps are uniform in log signal-to-noise ratio, as the solver's authors space them, and the last one goes to
    sigma = 0. Steps uniform in time leave so few for low noise that 20 of them take a fifth off the deviation of
    detail at 0.3 of the latent's own (exact solution on Gaussian data); these take less than 1 %.
    """
    solver = DPMSolverMultistepScheduler.from_config(
        build_noise_scheduler().config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        use_lu_lambdas=True,
        lower_order_final=True,
        final_sigmas_type="zero",
    )
    solver.set_timesteps(steps)
    return solver


def build_sampler(config: GenerationConfig) -> DPMSolverMultistepScheduler | DDPMScheduler:
    """The configured sampler, set to its steps: `build_solver`'s, or DDPM's with TANGO's spacing of the steps."""
    if config.sampler == "dpm_solver":
        return build_solver(config.steps)
    ddpm = build_noise_scheduler(config.steps_offset)
    ddpm.set_timesteps(config.steps)
    return ddpm


def noise_generators(seeds: list[int]) -> list[torch.Generator]:
    """A generator of its own for each clip, so that a clip does not depend on its batch."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def initial_noise(generators: list[torch.Generator], latent_shape) -> torch.Tensor:
    """Standard normal noise [N, C, h, w], each clip from its own generator."""
    return torch.stack([torch.randn(*latent_shape, generator=generator) for generator in generators])


Prompts = tuple[np.ndarray, np.ndarray]  # token states and mask


class Step(NamedTuple):
    """One step of the sampler for N clips, all [N, C, h, w]: what it takes for the clean latents, the latents it goes on
    with, and what the caption changes in the predicted v; None where guidance is 0 or 1, as one side is not asked then.
    `alpha`: the square root of the noise schedule's cumulative product at that step.
    """

    clean: torch.Tensor
    latents: torch.Tensor
    of_caption: torch.Tensor | None
    alpha: float


def _guided_prediction(unet, noisy, timestep, text, null, guidance: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    """v of the null prompt + guidance * (v of the caption - v of the null prompt), in one pass of the network; and that
    difference."""
    sides = [side for side, used in ((null, guidance != 1), (text, guidance != 0)) if used]
    states, mask = (torch.cat(parts) for parts in zip(*sides))
    stacked = torch.cat([noisy] * len(sides))
    predicted = unet(stacked, timestep, encoder_hidden_states=states, encoder_attention_mask=mask).sample.float()
    if len(sides) == 1:
        return predicted, None
    unconditional, conditional = predicted.chunk(2)
    of_caption = conditional - unconditional
    return unconditional + guidance * of_caption, of_caption


@contextlib.contextmanager
def _precision(kind: str, device: torch.device):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else before)
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=kind == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _check(text: Prompts, null: Prompts, noise_seeds) -> None:
    n, (length, dim) = len(noise_seeds), null[0].shape
    expected = {"text_states": (n, length, dim), "text_mask": (n, length), "null_mask": (length,)}
    for name, array in {"text_states": text[0], "text_mask": text[1], "null_mask": null[1]}.items():
        if array.shape != expected[name]:
            raise ValueError(f"{name}: expected shape {expected[name]} for {n} noise seeds, got {array.shape}")


def denoise(
    unet, latents, text, null, generators, config: GenerationConfig, cap: SimilarityCap | None = None
) -> Iterator[Step]:
    """Yields each `Step` of the configured sampler.

    `latents` [N, C, h, w] are noise; `text` and `null` are states [N, L, D] and mask [N, L], one of `generators` a clip. `cap`
    changes what each step takes for the clean latents.
    """
    solver = build_sampler(config)
    ratios = (1 / solver.alphas_cumprod - 1).sqrt()[solver.timesteps.long().cpu()]  # of noise to signal, at each step
    if config.sampler == "dpm_solver":
        ratios = solver.sigmas  # its own lie between those of training
    for ratio, timestep in zip(ratios, solver.timesteps):
        with _precision(config.precision, latents.device):
            predicted, of_caption = _guided_prediction(unet, latents, timestep, text, null, config.guidance)
        if cap is not None:
            alpha = 1 / (1 + ratio**2).sqrt()
            sigma = ratio * alpha  # v = (alpha x - clean) / sigma
            predicted = (alpha * latents - cap(alpha * latents - sigma * predicted)) / sigma
        # DDPM draws noise in every step, and goes on with the clip's own generator
        step = solver.step(predicted, timestep, latents, generator=generators)
        clean = solver.model_outputs[-1] if config.sampler == "dpm_solver" else step.pred_original_sample
        latents = step.prev_sample
        yield Step(clean, latents, of_caption, float(solver.alphas_cumprod[int(timestep)].sqrt()))


def sample_batches(
    unet,
    text: Prompts,
    null: Prompts,
    noise_seeds: list[int],
    config: GenerationConfig,
    latent_shape,
    cap: SimilarityCap | None = None,
) -> Iterator[Iterator[Step]]:
    """The steps of one batch of clips after the other, as `denoise` yields them; arguments and errors as `sample_latents`."""
    _check(text, null, noise_seeds)
    if config.max_similarity < 1 and cap is None:
        raise ValueError(
            f"max_similarity: expected 1, as nothing is known here to keep off, got {config.max_similarity}"
        )
    device = unet.device
    with progress(total=len(noise_seeds), desc="generating", unit="clip") as bar:
        for start in range(0, len(noise_seeds), config.batch_size):
            rows = slice(start, start + config.batch_size)
            count = len(noise_seeds[rows])
            sides = (
                (torch.tensor(states, device=device).float(), torch.tensor(mask, device=device))
                for states, mask in ([one[rows] for one in text], [np.repeat(one[None], count, 0) for one in null])
            )
            generators = noise_generators(noise_seeds[rows])
            yield denoise(unet, initial_noise(generators, latent_shape).to(device), *sides, generators, config, cap)
            bar.update(count)


@torch.inference_mode()
def sample_latents(
    unet: UNet2DConditionModel,
    text_states: np.ndarray,
    text_mask: np.ndarray,
    null_state: np.ndarray,
    null_mask: np.ndarray,
    noise_seeds: list[int],
    config: GenerationConfig,
    latent_shape=(16, 32, 8),
    avoided: np.ndarray | None = None,
) -> np.ndarray:
    """Generates one float32 latent per caption [N, C, h, w].

    Text states [N, L, D] and mask [N, L] are the prompts', `null_state` [L, D] and `null_mask` [L] those of "".
    `config.guidance` 1 means no guidance, 0 no prompt. `avoided` [n, C, h, w] are latents that no step may come nearer than
    `config.max_similarity`; needed where that is below 1. Clip i depends on its prompt and `noise_seeds[i]` only, not on
    the batch it is in; in bfloat16, to its rounding. Raises ValueError for shapes that disagree, FloatingPointError naming
    a clip that is not finite.
    """
    results, start, cap = np.empty((len(noise_seeds), *latent_shape), np.float32), 0, None
    if avoided is not None:
        cap = SimilarityCap(torch.tensor(avoided, device=unet.device).float(), config.max_similarity)
    text, null = (text_states, text_mask), (null_state, null_mask)
    for steps in sample_batches(unet, text, null, noise_seeds, config, latent_shape, cap):
        (last,) = deque(steps, maxlen=1)
        results[start : start + len(last.latents)] = last.latents.cpu().numpy()
        start += len(last.latents)
    finite = np.isfinite(results).all(axis=(1, 2, 3))
    if not finite.all():
        raise FloatingPointError(f"latents: expected finite values, got NaN or infinity in clip {int(finite.argmin())}")
    return results
