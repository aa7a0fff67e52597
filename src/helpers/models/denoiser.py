"""The denoiser, its noise schedule and its loss on given clips: TANGO's design (Ghosal et al., 2023) on diffusers' classes, scaled by channels.

Chapter: `notebooks/03_training.ipynb`.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import compute_snr
from safetensors.torch import load_file

from helpers.base.seeds import seeded
from helpers.base.settings import TrainingConfig

LOSS_BATCH = 32  # clips whose loss is taken at a time
LARGEST_ON_CPU = 200e6  # weights; pocket's networks have five million, TANGO's 866
# Of declare-lab/tango, configs/diffusion_model_config.json, what is neither scaled here nor diffusers' own default;
# tests/test_tango.py has it to the letter. `sample_size` is not that of its latents; no layer depends on it.
TANGO = {"sample_size": (32, 2), "upcast_attention": True, "use_linear_projection": True}


def build_noise_scheduler(steps_offset: int = 1) -> DDPMScheduler:
    """TANGO's noise schedule, that of Stable Diffusion 2.1: 1,000 steps, scaled linear, v-prediction.

    The values are written out because the repository that TANGO reads them from is gone. Its two further settings,
    `set_alpha_to_one=False` and `skip_prk_steps=True`, belong to other samplers; a DDPMScheduler has neither. It also
    states `steps_offset` 1, but diffusers' DDPMScheduler took no notice of that when TANGO was released: 200 steps
    were 995, 990, ... 0 then (`steps_offset=0`) and are 996, 991, ... 1 since diffusers 0.18.
    """
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=steps_offset,
    )


def min_snr_weights(scheduler: DDPMScheduler, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    """Loss weights [B] of Min-SNR (Hang et al., 2023), min(SNR, gamma) / SNR.

    This is the form for a network that predicts the noise. TANGO uses it although its network predicts v, for which
    the paper divides by SNR + 1; we follow TANGO.
    """
    snr = compute_snr(scheduler, timesteps)
    return snr.clamp(max=gamma) / snr


@torch.inference_mode()
def denoising_losses(
    unet, latents: np.ndarray, states: np.ndarray, mask: np.ndarray, levels: Sequence[int], seed: int
) -> np.ndarray:
    """The loss that training minimises, without its weights: mean squared errors of v, float64 [levels, N], of latents [N, C, h, w] under captions' states [N, L, D], mask [N, L].

    `levels` are timesteps of the schedule's 1,000. A clip's noise depends on the level and its place alone.
    """
    scheduler, errors = build_noise_scheduler(), np.empty((len(levels), len(latents)))
    for place, level in enumerate(levels):
        noise = seeded(seed, "loss", level).standard_normal(latents.shape, np.float32)
        for start in range(0, len(latents), LOSS_BATCH):
            part = slice(start, start + LOSS_BATCH)
            clean, added, text, where = (torch.from_numpy(np.array(a[part])) for a in (latents, noise, states, mask))
            clean, added, text, where = (one.to(unet.device) for one in (clean, added, text.float(), where))
            times = torch.full((len(clean),), level, device=unet.device)
            noisy = scheduler.add_noise(clean, added, times)
            predicted = unet(noisy, times, encoder_hidden_states=text, encoder_attention_mask=where).sample
            error = predicted - scheduler.get_velocity(clean, added, times)
            errors[place, part] = error.square().flatten(1).mean(1).cpu().numpy()
    return errors


def _norm_groups(channels: tuple[int, ...]) -> int:
    """TANGO's 32 groups, or fewer, so that every group has at least four channels."""
    return max(g for g in (1, 2, 4, 8, 16, 32) if all(c % g == 0 and c // g >= 4 for c in channels))


def build_unet(config: TrainingConfig, latent_shape=(16, 32, 8), text_dim: int = 384) -> UNet2DConditionModel:
    """TANGO's UNet scaled to `block_out_channels`, on latents of `latent_shape` = (channels, time, frequency).

    The lowest level has no attention, as in TANGO. `architecture` "tango" takes all else from TANGO's own settings too
    (at its widths, TANGO's own network). Raises ValueError if the latent cannot be halved once per level.
    """
    channels, depth = config.block_out_channels, len(config.block_out_channels)
    if any(size % 2 ** (depth - 1) for size in latent_shape[1:]):
        raise ValueError(
            f"latent_shape: expected time and frequency divisible by {2 ** (depth - 1)}, got {latent_shape}"
        )
    shape = {"sample_size": tuple(latent_shape[1:]), "use_linear_projection": True}
    if config.architecture == "tango":
        shape = TANGO
    return UNet2DConditionModel(
        **shape,
        in_channels=latent_shape[0],
        out_channels=latent_shape[0],
        block_out_channels=channels,
        layers_per_block=config.layers_per_block,
        down_block_types=("CrossAttnDownBlock2D",) * (depth - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (depth - 1),
        cross_attention_dim=text_dim,
        # Despite its name, diffusers takes this as the number of heads (huggingface/diffusers issue 2011).
        attention_head_dim=tuple(c // config.attention_head_dim for c in channels),
        norm_num_groups=_norm_groups(channels),
    )


def prepare_attention(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """On CPUs, replaces torch's fused attention by plain products: a bf16 training step takes a quarter less time."""
    if unet.device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())
    return unet


def last_checkpoint(folder: Path) -> int:
    """Updates of the last checkpoint of a training folder."""
    return max(int(path.stem.split("_")[1]) for path in (folder / "checkpoints").glob("ema_*"))


def check_device(unet: UNet2DConditionModel, device: torch.device) -> None:
    """Raises ValueError where a network that takes a GPU would be computed by processors, for weeks, unless HELPERS_ON_CPU asks
    for that: a batch job without a GPU, or a driver that is too old for torch, would show in no other way."""
    weights = sum(one.numel() for one in unet.parameters())
    if device.type == "cpu" and weights > LARGEST_ON_CPU and not os.environ.get("HELPERS_ON_CPU"):
        raise ValueError(
            f"device: expected a GPU for a network of {weights / 1e6:.0f} million weights, found none that torch can use; "
            "HELPERS_ON_CPU=1 computes on processors all the same"
        )


def load_unet(folder: Path, updates: int = 0, weights: str = "ema") -> UNet2DConditionModel:
    """The denoiser of a training folder after `updates` updates (0: the last), on this process's device, float32.

    `weights` is "ema" (averaged) or "raw" (the last checkpoint only). Raises ValueError naming the checkpoints there
    are, and of `check_device`.
    """
    found = {int(path.stem.split("_")[1]): path for path in sorted((folder / "checkpoints").glob(f"{weights}_*"))}
    if not found or (updates and updates not in found):
        raise ValueError(f"checkpoint: expected one of {weights} {sorted(found)}, got {weights} {updates} in {folder}")
    unet = UNet2DConditionModel.from_config(json.loads((folder / "unet.json").read_text()))
    unet.load_state_dict(load_file(found[updates or max(found)]))
    check_device(unet, PartialState().device)
    return prepare_attention(unet.to(PartialState().device)).eval().requires_grad_(False)
