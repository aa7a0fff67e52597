"""TANGO's published checkpoint (Ghosal et al., 2023), `declare-lab/tango`, read without its own code.

`pytorch_model_main.bin` is the state of TANGO's `AudioDiffusion`: `unet.*`, with diffusers' names, and `text_encoder.*`,
the frozen FLAN-T5-large. What its repository does not hold is written out in `denoiser`: the UNet's settings, which lie
with TANGO's code, and the noise schedule, whose own repository is gone. The autoencoder is in `audioldm`.
"""

import json
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from helpers.base.settings import TrainingConfig
from helpers.models.denoiser import build_unet
from helpers.models.pretrained.checkpoint import load_exactly, read_tensors
from helpers.models.pretrained.locate import find_main
from helpers.models.trainer import write_losses

PREFIXES = ("unet.", "text_encoder.")


def read_main(path: Path, prefix: str, sha256: str = "") -> dict[str, torch.Tensor]:
    """The tensors of pytorch_model_main.bin under one of `PREFIXES`, their names without it.

    Raises ValueError for a tensor under neither: TANGO's model has no third part.
    """
    state = read_tensors(path, sha256)
    others = [name for name in state if not name.startswith(PREFIXES)]
    if others:
        raise ValueError(f"{path}: expected {' and '.join(PREFIXES)} only, but it holds {others[0]}")
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def load_unet(config: TrainingConfig, latent_shape, text_dim: int) -> UNet2DConditionModel:
    """TANGO's UNet for latents of `latent_shape` and token states of `text_dim`, on the CPU, frozen.

    Its widths are the configuration's: TANGO's own are in profiles/paper.yml. Raises FileNotFoundError or ValueError as
    `locate` does.
    """
    path = find_main(config.checkpoint_path)
    state = read_main(path, "unet.", config.checkpoint_sha256)
    with init_empty_weights():
        unet = build_unet(config, latent_shape, text_dim)
    return load_exactly(unet, state, path, assign=True)


def write_checkpoint(out: Path, config: TrainingConfig, latent_shape, text_dim: int) -> None:
    """Writes what training would have left: `unet.json`, the weights as checkpoint 0, and a `loss.parquet` without rows.

    Zero, since no update was made here; TANGO's authors trained for 40 epochs of AudioCaps and do not average weights.
    """
    unet = load_unet(config, latent_shape, text_dim)
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    (out / "unet.json").write_text(json.dumps(json.loads(unet.to_json_string()), indent=1))
    weights = {name: tensor.contiguous() for name, tensor in unet.state_dict().items()}
    save_file(weights, out / "checkpoints" / "ema_000000.safetensors")
    write_losses([], out / "loss.parquet")
