"""AudioLDM's published autoencoder and HiFi-GAN (Liu et al., 2023), which TANGO uses unchanged, on library classes.

Both come in two layouts: `cvssp/audioldm` as diffusers and transformers save it, and TANGO's `pytorch_model_vae.bin`
with the names of the original code, vocoder included.
"""

import functools
import json
import math
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState, init_empty_weights
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from helpers.base.settings import MelConfig
from helpers.models.pretrained.checkpoint import load_exactly, read_tensors
from helpers.models.pretrained.locate import TANGO_VAE, find_hifigan, find_vae
from helpers.sound.mel import check_mels

VOCODER = "vocoder."  # prefix of HiFi-GAN's names in pytorch_model_vae.bin
BATCH = 4  # clips vocoded at a time: the last layer works on every sample
# The attention block's names until diffusers 0.15, which are those in cvssp/audioldm's first files.
FORMER_NAMES = {"query.": "to_q.", "key.": "to_k.", "value.": "to_v.", "proj_attn.": "to_out.0."}
# haoheliu/AudioLDM, audioldm/hifigan/utilities.py: HIFIGAN_16K_64. Its width is read off the weights.
HIFIGAN = {
    "model_in_dim": 64,
    "sampling_rate": 16_000,
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "normalize_before": False,
}


def load_vae(where: str, sha256: str = "") -> AutoencoderKL:
    """AudioLDM's autoencoder between log-mels [N, 1, T, M] and latents [N, C, T / 4, M / 4] that are not yet scaled.

    `vae.config.scaling_factor` scales them. Raises FileNotFoundError or ValueError as `locate` does.
    """
    layout, files = find_vae(where)
    config = json.loads(files["config"].read_text())
    state = read_tensors(files["weights"], sha256)
    config = _ldm_config(config, files["config"]) if layout is TANGO_VAE else config
    if config.get("_class_name") != "AutoencoderKL":
        raise ValueError(f"{files['config']}: expected an AutoencoderKL, got {config.get('_class_name')!r}")
    if layout is TANGO_VAE:
        state = _ldm_names({k: v for k, v in state.items() if not k.startswith(VOCODER)}, config, files["weights"])
    else:
        state = {_present_name(name): tensor for name, tensor in state.items()}
    with init_empty_weights():
        vae = AutoencoderKL.from_config(config)
    return load_exactly(vae, state, files["weights"], assign=True).to(PartialState().device)


def _present_name(name: str) -> str:
    if ".mid_block.attentions.0." in name:
        for former, present in FORMER_NAMES.items():
            name = name.replace(f".attentions.0.{former}", f".attentions.0.{present}")
    return name


def _ldm_config(config: dict, path: Path) -> dict:
    """diffusers' configuration of the autoencoder that TANGO's vae_config.json describes.

    Raises ValueError where that describes something which diffusers' class is not.
    """
    ours = {"double_z": True, "attn_resolutions": [], "downsample_time": False}
    if config.get("subband", 1) != 1 or config["embed_dim"] != config["ddconfig"]["z_channels"]:
        raise ValueError(f"{path}: expected subband 1 and embed_dim = z_channels, got {config}")
    shape = config["ddconfig"]
    for key, expected in ours.items():
        if shape.get(key, expected) != expected:
            raise ValueError(f"{path}: ddconfig.{key}: expected {expected}, got {shape[key]}")
    levels = len(shape["ch_mult"])
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": shape["in_channels"],
        "out_channels": shape["out_ch"],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [shape["ch"] * factor for factor in shape["ch_mult"]],
        "layers_per_block": shape["num_res_blocks"],
        "latent_channels": shape["z_channels"],
        "scaling_factor": config["scale_factor"],
    }


def _ldm_names(state: dict[str, torch.Tensor], config: dict, source: Path) -> dict[str, torch.Tensor]:
    """The tensors under diffusers' names. Raises ValueError for one that diffusers' conversion would drop in silence."""
    converted = convert_ldm_vae_checkpoint(state, config)
    used = {tensor.data_ptr() for tensor in converted.values()}  # they are views of what went in
    unused = [name for name, tensor in state.items() if tensor.data_ptr() not in used]
    if unused:
        raise ValueError(f"{source}: expected the tensors of AudioLDM's autoencoder only, but it holds {unused[0]}")
    return converted


@functools.lru_cache(maxsize=1)
def load_hifigan(where: str, sha256: str = "") -> SpeechT5HifiGan:
    """The vocoder, loaded once per process. Raises FileNotFoundError or ValueError as `locate` does."""
    layout, files = find_hifigan(where)
    state = read_tensors(files["weights"], sha256)
    if layout is TANGO_VAE:
        state = _vocoder_names(state)
        # where the first layer is missing, the check of the names says so
        width = len(state.get("conv_pre.weight", ())) or 1024
        config = SpeechT5HifiGanConfig(upsample_initial_channel=width, **HIFIGAN)
    else:
        config = SpeechT5HifiGanConfig.from_json_file(files["config"])
    with init_empty_weights():
        model = SpeechT5HifiGan(config)
    return load_exactly(model, state, files["weights"], assign=True).to(PartialState().device)


def _vocoder_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' names, as diffusers' scripts/convert_original_audioldm_to_diffusers.py gives them.

    `mean` and `scale` are transformers' own: unused without `normalize_before`, so at what they start from.
    """
    own = {k.removeprefix(VOCODER): v for k, v in state.items() if k.startswith(VOCODER)}
    own = {f"upsampler.{k.removeprefix('ups.')}" if k.startswith("ups.") else k: v for k, v in own.items()}
    bands = HIFIGAN["model_in_dim"]
    return own | {"mean": torch.zeros(bands), "scale": torch.ones(bands)}


@torch.inference_mode()
def hifigan(mels, where: str, mel_config: MelConfig, sample_rate_hz: int, sha256: str = "") -> np.ndarray:
    """int16 audio [N, S], S = T * hop_length, from log-mels [N, T, M].

    The first transposed convolution of AudioLDM's HiFi-GAN has an odd padding, so that 32 samples come out beyond T
    hops; they are cut off, as AudioLDMPipeline does. (TANGO keeps them: its clips have 163,872 samples.) Raises
    ValueError for a vocoder of another sample rate, hop or number of bands, and as `check_mels` does.
    """
    model = load_hifigan(where, sha256)
    expected = {
        "sample rate": (sample_rate_hz, model.config.sampling_rate),
        "hop_length": (mel_config.hop_length, math.prod(model.config.upsample_rates)),
        "n_mels": (mel_config.n_mels, model.config.model_in_dim),
    }
    for name, (wanted, got) in expected.items():
        if wanted != got:
            raise ValueError(f"vocoder {where}: expected {name} {wanted} (the profile's), got {got}")
    mels = check_mels(mels, mel_config)
    samples = mels.shape[1] * mel_config.hop_length
    audio = np.empty((len(mels), samples), np.int16)
    for start in range(0, len(mels), BATCH):
        waves = model(torch.tensor(mels[start : start + BATCH], device=model.device))
        # AudioLDM multiplies by 32,768, which turns a full-scale sample into its opposite
        audio[start : start + BATCH] = (waves[:, :samples] * 32_767).round().cpu().numpy().astype(np.int16)
    return audio
