"""TANGO's checkpoint from a fabricated file: its UNet at both sizes, its steps, and a prompt that becomes sound."""

import numpy as np
import pytest
import torch
from published_inputs import CAPTIONS, MEL, RATE, text_config, unet_config

from helpers.base.settings import CodecConfig, GenerationConfig
from helpers.models.codec import load_codec
from helpers.models.denoiser import build_noise_scheduler, build_unet
from helpers.models.pretrained import tango
from helpers.models.sampler import build_sampler, sample_latents
from helpers.models.text import encode_captions
from helpers.models.vocoder import load_vocoder
from helpers.sound.profiles import load_profile

# declare-lab/tango, configs/diffusion_model_config.json: 866 million parameters. It lies with TANGO's code, not with
# the weights. `sample_size` is not that of its latents, which are 256 x 16; no layer depends on it.
TANGO_UNET = {
    "act_fn": "silu",
    "attention_head_dim": (5, 10, 20, 20),
    "block_out_channels": (320, 640, 1280, 1280),
    "center_input_sample": False,
    "cross_attention_dim": 1024,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 8,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "out_channels": 8,
    "sample_size": (32, 2),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "upcast_attention": True,
    "use_linear_projection": True,
}


def test_tangos_unet_at_full_size_has_866_million_weights():
    """On the meta device: names, shapes and settings without memory. main.bin is published with 4,829,066,707 bytes."""
    config = load_profile("paper").training
    with torch.device("meta"):
        unet = build_unet(config, (8, 256, 16), 1024)
        published_unet = type(unet).from_config(dict(TANGO_UNET))
    assert {key: unet.config[key] for key in TANGO_UNET} == TANGO_UNET
    shapes = {name: tensor.shape for name, tensor in unet.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in published_unet.state_dict().items()}
    weights = sum(shape.numel() for shape in shapes.values())
    assert weights == 865_933_768
    assert {
        "conv_in.weight",
        "time_embedding.linear_1.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight",
        "down_blocks.2.downsamplers.0.conv.bias",
        "mid_block.attentions.0.proj_in.weight",
        "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj.weight",
        "up_blocks.0.upsamplers.0.conv.weight",
        "conv_norm_out.bias",
    } <= shapes.keys()
    encoder = 341_231_104  # FLAN-T5-large's, its embedding counted once
    assert 0 < 4_829_066_707 - 4 * (weights + encoder) < 600 * (len(shapes) + 220)


def test_tangos_unet_has_every_tensor_of_the_file(fabricated, sizes):
    unet = tango.load_unet(unet_config(fabricated / "tango", sizes), (8, 64, 16), 32)
    state = torch.load(fabricated / "tango" / "pytorch_model_main.bin", weights_only=True)
    own = {name.removeprefix("unet."): tensor for name, tensor in state.items() if name.startswith("unet.")}
    assert own.keys() == unet.state_dict().keys()
    for name, tensor in unet.state_dict().items():
        torch.testing.assert_close(tensor, own[name], rtol=0, atol=0)
    assert unet.config.upcast_attention and not any(p.requires_grad for p in unet.parameters())


def test_other_widths_than_the_files_are_refused(fabricated, sizes):
    with pytest.raises(ValueError, match=r"pytorch_model_main.bin: .*: expected shape \(.*\), got \("):
        tango.load_unet(unet_config(fabricated / "tango", sizes), (8, 64, 16), 48)


def test_a_third_part_is_refused(fabricated, sizes, tmp_path):
    state = torch.load(fabricated / "tango" / "pytorch_model_main.bin", weights_only=True)
    torch.save(state | {"group_in.0.weight": torch.zeros(1)}, tmp_path / "pytorch_model_main.bin")
    with pytest.raises(ValueError, match="expected unet. and text_encoder. only, but it holds group_in.0.weight"):
        tango.load_unet(unet_config(tmp_path, sizes), (8, 64, 16), 32)


@pytest.mark.parametrize(("offset", "first", "last"), [(0, 995, 0), (1, 996, 1)])
def test_the_steps_are_those_of_tangos_release_or_of_todays_diffusers(offset, first, last):
    config = GenerationConfig(sampler="ddpm", steps=200, steps_offset=offset)
    timesteps = build_sampler(config).timesteps.tolist()
    assert (len(timesteps), timesteps[0], timesteps[-1]) == (200, first, last)
    scheduler = build_noise_scheduler()
    assert scheduler.config.prediction_type == "v_prediction" and not scheduler.config.clip_sample
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    np.testing.assert_allclose(scheduler.alphas_cumprod[-1], torch.cumprod(1 - betas, 0)[-1], rtol=1e-4)


@pytest.mark.parametrize("sampler", ["ddpm", "dpm_solver"])
def test_a_prompt_becomes_a_waveform(fabricated, sizes, sampler):
    unet = tango.load_unet(unet_config(fabricated / "tango", sizes), (8, 64, 16), 32)
    states, mask = encode_captions(CAPTIONS[:2], text_config(fabricated / "flan-t5"))
    null, null_mask = encode_captions([""], text_config(fabricated / "flan-t5"))
    config = GenerationConfig(sampler=sampler, steps=2, guidance=3.0, steps_offset=0)
    latents = sample_latents(unet, states, mask, null[0], null_mask[0], [5, 6], config, (8, 64, 16))
    alone = sample_latents(unet, states[1:], mask[1:], null[0], null_mask[0], [6], config, (8, 64, 16))
    np.testing.assert_allclose(alone[0], latents[1], atol=1e-4)  # every step's noise is the clip's own
    mels = load_codec(fabricated / "tango").decode(latents)
    audio = load_vocoder(CodecConfig(vocoder="hifigan", vocoder_path=str(fabricated / "tango")), MEL, RATE)(mels)
    assert audio.shape == (2, 256 * 160) and np.abs(audio).max() > 100
