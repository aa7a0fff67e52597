"""Writes checkpoints of random weights in the layouts of the published ones, reduced or at full size, to try the loaders.

`python tools/fabricate_checkpoints.py FOLDER [--full]` (full size: 8 GB). What each layout was taken from stands at its
function. None of the published files was at hand: their names and nesting come from the code that writes or reads them.
"""

import argparse
import json
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig, T5Config, T5EncoderModel, T5Tokenizer

from helpers.base.settings import TrainingConfig
from helpers.models.denoiser import build_unet
from helpers.models.pretrained.audioldm import HIFIGAN
from helpers.models.pretrained.laion import build_clap

SCALING_FACTOR = 0.9227914214134216
WORDS = [
    "a",
    "dog",
    "cat",
    "bird",
    "barks",
    "sings",
    "rain",
    "wind",
    "falls",
    "on",
    "roof",
    "loudly",
    "softly",
    "then",
    "while",
    "and",
    "the",
    "of",
    "in",
    "with",
]
REDUCED = {
    "vae": {"ch": 32, "ch_mult": (1, 1, 2), "blocks": 1},  # 32: its group norms have 32 groups
    "vocoder_width": 64,
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
    "unet": {"block_out_channels": (16, 32, 32, 32), "layers_per_block": 1, "attention_head_dim": 8},
    "htsat": {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8]},
    "roberta": {"num_hidden_layers": 1, "intermediate_size": 64, "vocab_size": 261},
    "joint": 32,
}
FULL = {
    "vae": {"ch": 128, "ch_mult": (1, 2, 4), "blocks": 2},
    "vocoder_width": 1024,
    "t5": {"d_model": 1024, "d_kv": 64, "d_ff": 2816, "num_layers": 24, "num_heads": 16, "vocab_size": 32_128},
    "unet": {"block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "attention_head_dim": 64},
    "htsat": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [4, 8, 16, 32]},
    "roberta": {"num_hidden_layers": 12, "intermediate_size": 3072, "vocab_size": 50_265},
    "joint": 512,
}


def _random(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Weights that pass a signal on at about its size: norms near 1, the rest by the number of inputs."""
    generator, state = torch.Generator().manual_seed(seed), OrderedDict()
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith(".bias"):
            state[name] = 0.01 * noise
        elif len(shape) == 1:
            state[name] = 1 + 0.01 * noise
        else:
            state[name] = noise / math.sqrt(max(1, math.prod(shape[1:])))
    return state


def _conv(name: str, inputs: int, outputs: int, *kernel: int) -> dict:
    return {f"{name}.weight": (outputs, inputs, *kernel), f"{name}.bias": (outputs,)}


def _norm(name: str, channels: int) -> dict:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _resnet(name: str, inputs: int, outputs: int) -> dict:
    shapes = _norm(f"{name}.norm1", inputs) | _conv(f"{name}.conv1", inputs, outputs, 3, 3)
    shapes |= _norm(f"{name}.norm2", outputs) | _conv(f"{name}.conv2", outputs, outputs, 3, 3)
    return shapes | (_conv(f"{name}.nin_shortcut", inputs, outputs, 1, 1) if inputs != outputs else {})


def _middle(name: str, channels: int) -> dict:
    shapes = _resnet(f"{name}.block_1", channels, channels) | _norm(f"{name}.attn_1.norm", channels)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= _conv(f"{name}.attn_1.{part}", channels, channels, 1, 1)
    return shapes | _resnet(f"{name}.block_2", channels, channels)


def ldm_vae_shapes(ch: int, ch_mult: tuple[int, ...], blocks: int, z: int = 8) -> dict[str, tuple[int, ...]]:
    """Names and shapes of AudioLDM's autoencoder, written down from its code, not from a library's conversion.

    Source: haoheliu/AudioLDM, audioldm/variational_autoencoder/modules.py (`Encoder`, `Decoder`) and autoencoder.py
    (`quant_conv`, `post_quant_conv`).
    """
    levels, width = list(enumerate(ch_mult)), ch
    shapes = _conv("encoder.conv_in", 1, ch, 3, 3)
    for i, factor in levels:
        for j in range(blocks):
            shapes |= _resnet(f"encoder.down.{i}.block.{j}", width, ch * factor)
            width = ch * factor
        if i != len(levels) - 1:
            shapes |= _conv(f"encoder.down.{i}.downsample.conv", width, width, 3, 3)
    shapes |= _middle("encoder.mid", width) | _norm("encoder.norm_out", width)
    shapes |= _conv("encoder.conv_out", width, 2 * z, 3, 3)
    shapes |= _conv("decoder.conv_in", z, width, 3, 3) | _middle("decoder.mid", width)
    for i, factor in reversed(levels):
        for j in range(blocks + 1):
            shapes |= _resnet(f"decoder.up.{i}.block.{j}", width, ch * factor)
            width = ch * factor
        if i != 0:
            shapes |= _conv(f"decoder.up.{i}.upsample.conv", width, width, 3, 3)
    shapes |= _norm("decoder.norm_out", width) | _conv("decoder.conv_out", width, 1, 3, 3)
    return shapes | _conv("quant_conv", 2 * z, 2 * z, 1, 1) | _conv("post_quant_conv", z, z, 1, 1)


def hifigan_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of AudioLDM's HiFi-GAN after `remove_weight_norm`, which its `get_vocoder` calls before loading.

    Source: haoheliu/AudioLDM, audioldm/hifigan/models.py (`Generator`, `ResBlock`) and utilities.py (`HIFIGAN_16K_64`).
    """
    shapes = _conv("conv_pre", HIFIGAN["model_in_dim"], width, 7)
    kernels = HIFIGAN["resblock_kernel_sizes"]
    for i, kernel in enumerate(HIFIGAN["upsample_kernel_sizes"]):
        channels = width // 2 ** (i + 1)
        # a transposed convolution's weight has the inputs first
        shapes |= {f"ups.{i}.weight": (width // 2**i, channels, kernel), f"ups.{i}.bias": (channels,)}
        for j, size in enumerate(kernels):
            for part in ("convs1", "convs2"):
                for k in range(3):
                    shapes |= _conv(f"resblocks.{i * len(kernels) + j}.{part}.{k}", channels, channels, size)
    return shapes | _conv("conv_post", channels, 1, 7)


def _save(state: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)


def _write_config(config, architecture: str, path: Path, **more) -> None:
    """config.json as transformers wrote it when these were published: with keys that it has since renamed or dropped."""
    former = {"architectures": [architecture], "torch_dtype": "float32", "transformers_version": "4.27.0", **more}
    path.write_text(json.dumps(config.to_dict() | former, indent=2))


def fabricate_audioldm(folder: Path, sizes: dict, suffix: str = ".safetensors", former: bool = False) -> None:
    """`cvssp/audioldm`: vae/ as diffusers' `save_pretrained` writes it, vocoder/ as transformers' does.

    `former` gives the attention blocks the names query, key, value and proj_attn, which diffusers wrote until 0.15.
    Source: huggingface/diffusers, scripts/convert_original_audioldm_to_diffusers.py, which made the published files
    (`renew_vae_attention_paths` has the former names, `create_transformers_vocoder_config` the vocoder's settings).
    """
    vae = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * len(sizes["vae"]["ch_mult"]),
        up_block_types=("UpDecoderBlock2D",) * len(sizes["vae"]["ch_mult"]),
        block_out_channels=tuple(sizes["vae"]["ch"] * factor for factor in sizes["vae"]["ch_mult"]),
        layers_per_block=sizes["vae"]["blocks"],
        latent_channels=8,
        sample_size=512,
        scaling_factor=SCALING_FACTOR,
    )
    state = _random({name: tuple(tensor.shape) for name, tensor in vae.state_dict().items()}, seed=1)
    if former:
        for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            state = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): t for name, t in state.items()}
    _save(state, folder / "vae" / f"diffusion_pytorch_model{suffix}")
    (folder / "vae" / "config.json").write_text(vae.to_json_string())
    config = SpeechT5HifiGanConfig(upsample_initial_channel=sizes["vocoder_width"], **HIFIGAN)
    model = SpeechT5HifiGan(config)
    state = _random({name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, seed=2)
    state |= {"mean": torch.zeros(64), "scale": torch.ones(64)}
    _save(state, folder / "vocoder" / {".safetensors": "model.safetensors", ".bin": "pytorch_model.bin"}[suffix])
    _write_config(config, "SpeechT5HifiGan", folder / "vocoder" / "config.json")


def fabricate_flan_t5(folder: Path, sizes: dict, suffix: str = ".safetensors") -> T5EncoderModel:
    """`google/flan-t5-large`: settings, a tokenizer of a few words, and a whole T5's weights, of which the decoder's are
    a token of what a loader must leave out. Returns the encoder.

    Source: transformers' `T5EncoderModel`; the embedding has a multiple of 128 rows, as FLAN-T5's 32,128 for 32,100.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["<pad>", "</s>", "<unk>", "▁", *letters, *(f"▁{word}" for word in WORDS if len(word) > 1)]
    extra = [f"<extra_id_{i}>" for i in range(99, -1, -1)]
    rows = sizes["t5"].get("vocab_size", 128 * math.ceil(len(pieces + extra) / 128))
    pieces += [f"▁filling{i}" for i in range(max(0, rows - 28 - len(pieces + extra)))] + extra
    tokenizer = T5Tokenizer(vocab=[(piece, -float(rank)) for rank, piece in enumerate(pieces)])
    tokenizer.save_pretrained(folder)
    config = T5Config(**sizes["t5"] | {"vocab_size": rows}, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    torch.manual_seed(3)
    encoder = T5EncoderModel(config).eval()
    state = {name: tensor for name, tensor in encoder.state_dict().items() if name != "encoder.embed_tokens.weight"}
    state |= {"decoder.final_layer_norm.weight": torch.ones(config.d_model), "lm_head.weight": torch.zeros(2, 2)}
    _save(state, folder / {".safetensors": "model.safetensors", ".bin": "pytorch_model.bin"}[suffix])
    _write_config(config, "T5ForConditionalGeneration", folder / "config.json", n_positions=512, output_past=True)
    return encoder


def fabricate_tango(folder: Path, sizes: dict, encoder: T5EncoderModel, weight_norm: bool = False) -> None:
    """`declare-lab/tango`: pytorch_model_main.bin, pytorch_model_vae.bin, vae_config.json.

    Sources: declare-lab/tango, tango.py (file names), models.py (`AudioDiffusion`: `unet` and `text_encoder`, whose state
    holds the embedding under both of its names; `build_pretrained_models` writes `scale_factor` into the autoencoder's
    settings and cuts the prefix `first_stage_model.` off AudioLDM's names). vae_config.json as written here, at full
    size, has the 326 bytes of the published one. `weight_norm` gives the vocoder weights that were never published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    widths = TrainingConfig(architecture="tango", **sizes["unet"])
    torch.manual_seed(4)
    unet = build_unet(widths, (8, 256, 16), encoder.config.d_model)
    state = OrderedDict((f"unet.{name}", tensor) for name, tensor in unet.state_dict().items())
    state.update((f"text_encoder.{name}", tensor) for name, tensor in encoder.state_dict().items())
    _save(state, folder / "pytorch_model_main.bin")
    state = _random(ldm_vae_shapes(**sizes["vae"]), seed=5)
    for name, tensor in _random(hifigan_shapes(sizes["vocoder_width"]), seed=6).items():
        if weight_norm and name.endswith(".weight"):
            norm = tensor.flatten(1).norm(dim=1).reshape(-1, *[1] * (tensor.ndim - 1))
            state |= {f"vocoder.{name}_g": norm, f"vocoder.{name}_v": tensor}
        else:
            state[f"vocoder.{name}"] = tensor
    _save(state, folder / "pytorch_model_vae.bin")
    shape = {
        "double_z": True,
        "z_channels": 8,
        "resolution": 256,
        "downsample_time": False,
        "in_channels": 1,
        "out_ch": 1,
    }
    shape |= {"ch": sizes["vae"]["ch"], "ch_mult": sizes["vae"]["ch_mult"], "num_res_blocks": sizes["vae"]["blocks"]}
    shape |= {"attn_resolutions": [], "dropout": 0.0}
    config = {"image_key": "fbank", "subband": 1, "embed_dim": 8, "time_shuffle": 1, "ddconfig": shape}
    (folder / "vae_config.json").write_text(json.dumps(config | {"scale_factor": SCALING_FACTOR}))


def fabricate_clap(path: Path, sizes: dict, tokenizer: bool = True) -> None:
    """LAION's .pt: a training run's checkpoint, trained on several GPUs (`module.`), with RoBERTa's old buffer of positions
    and a loss that is a NumPy number; beside it `roberta-base`, a tokenizer of single bytes.

    Sources: LAION-AI/CLAP, training/main.py (`checkpoint_dict`), clap_module/model.py (`CLAP`); issues 113 and 127 there
    for `position_ids`. `np.core` is what the NumPy of that time wrote.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    roberta = {"hidden_size": 768, "num_attention_heads": 12, "max_position_embeddings": 514, "type_vocab_size": 1}
    roberta |= {"layer_norm_eps": 1e-5} | sizes["roberta"]
    clap = {"embed_dim": sizes["htsat"]["embed_dim"] * 8, "joint_embed_shape": sizes["joint"]}
    model = build_clap(sizes["htsat"], roberta, clap)
    state = OrderedDict((f"module.{name}", tensor) for name, tensor in model.state_dict().items())
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    checkpoint = {"epoch": 45, "name": "fabricated", "state_dict": state, "loss": np.float64(0.5)}
    _save(checkpoint, path)
    if tokenizer:
        folder = path.parent / "roberta-base"
        folder.mkdir(exist_ok=True)
        entries = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet())]
        entries += [f"filling{i}" for i in range(sizes["roberta"]["vocab_size"] - len(entries) - 1)] + ["<mask>"]
        (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")


def fabricate_all(folder: Path, sizes: dict) -> None:
    """All four, in `audioldm/`, `flan-t5/`, `tango/` and `clap/`."""
    fabricate_audioldm(folder / "audioldm", sizes)
    fabricate_tango(folder / "tango", sizes, fabricate_flan_t5(folder / "flan-t5", sizes))
    fabricate_clap(folder / "clap" / "630k-audioset-best.pt", sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", action="store_true", help="at the published sizes")
    options = parser.parse_args()
    fabricate_all(options.folder, FULL if options.full else REDUCED)


if __name__ == "__main__":
    main()
