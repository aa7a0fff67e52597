"""The codec folder, shapes and scaling of the codec, on a tiny codec with fresh weights."""

import json
import sys

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from helpers.base.paths import ROOT
from helpers.base.settings import MelConfig
from helpers.models.codec import build_codec, load_codec
from helpers.models.folder import write_model
from helpers.sound.mel import log_mel, normalise_waveform

sys.path.insert(0, str(ROOT / "tools"))
from linear_start import start_linear  # noqa: E402

RATE = 16_000
MEL = MelConfig()


def tiny_config() -> dict:
    rng = np.random.default_rng(0)
    return {
        "kind": "codec",
        "patch": 4,
        "autoencoder": {
            "in_channels": 16,
            "out_channels": 16,
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "block_out_channels": [8, 16],
            "layers_per_block": 1,
            "latent_channels": 16,
            "norm_num_groups": 4,
            "mid_block_add_attention": False,
        },
        "mel_mean": rng.normal(-6, 2, 64).tolist(),
        "mel_std": 1.7,
        "latent_mean": rng.normal(0, 1, 16).tolist(),
        "latent_std": rng.uniform(0.5, 2, 16).tolist(),
    }


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    config = tiny_config()
    write_model(tmp_path, config, build_codec(config).vae.state_dict())
    return tmp_path


def noise(n: int, samples: int, seed: int = 0) -> np.ndarray:
    """int16 [n, S] of noise under a slow tremolo, quieter from clip to clip."""
    rng = np.random.default_rng(seed)
    tremolo = 0.55 + 0.45 * np.sin(np.arange(samples) * 2e-3)
    return np.round(rng.standard_normal((n, samples)) * tremolo * 6000 / np.arange(1, n + 1)[:, None]).astype(np.int16)


def test_latents_are_an_eighth_in_each_direction_and_come_back_as_mels(folder):
    codec = load_codec(folder)
    mels = log_mel(noise(3, 8192), MEL, RATE)
    latents = codec.encode(mels)
    assert (latents.shape, latents.dtype) == ((3, 16, 4, 8), np.float32)
    decoded = codec.decode(latents)
    assert (decoded.shape, decoded.dtype) == (mels.shape, np.float32)
    np.testing.assert_array_equal(latents, codec.encode(mels))


def test_a_clip_does_not_depend_on_its_batch(folder):
    codec = load_codec(folder)
    mels = np.random.default_rng(1).normal(-5, 2, (35, 16, 64))  # more than one batch
    latents = codec.encode(mels)
    np.testing.assert_allclose(
        latents[[0, 34]], np.concatenate([codec.encode(mels[i : i + 1]) for i in (0, 34)]), atol=1e-4
    )
    decoded = codec.decode(latents)
    np.testing.assert_allclose(
        decoded[[0, 34]], np.concatenate([codec.decode(latents[i : i + 1]) for i in (0, 34)]), atol=1e-4
    )


def test_patches_and_scaling_are_undone_exactly():
    codec = build_codec(tiny_config())
    mels = torch.randn(2, 16, 64)
    patches = codec.patches(mels)
    assert patches.shape == (2, 16, 4, 16)
    first = (mels[:, :4, :4] - codec.mel_mean[:4]) / codec.mel_std  # the corner patch, row by row
    torch.testing.assert_close(patches[:, :, 0, 0], first.reshape(2, 16))
    torch.testing.assert_close(codec.mels(patches), mels)
    raw = torch.randn(2, 16, 4, 8)
    torch.testing.assert_close(codec.unscale(codec.scale(raw)), raw)


def test_stored_latent_statistics_scale_each_channel(folder):
    before = load_codec(folder).encode(log_mel(noise(1, 8192), MEL, RATE))
    config = json.loads((folder / "config.json").read_text())
    config["latent_mean"][3] += 1.0
    config["latent_std"][5] *= 4.0
    (folder / "config.json").write_text(json.dumps(config))
    after = load_codec(folder).encode(log_mel(noise(1, 8192), MEL, RATE))
    np.testing.assert_allclose(after[:, 3], before[:, 3] - 1.0 / config["latent_std"][3], atol=1e-5)
    np.testing.assert_allclose(after[:, 5], before[:, 5] / 4.0, atol=1e-5)
    np.testing.assert_array_equal(after[:, 4], before[:, 4])


@pytest.mark.parametrize("shape", [(16, 64), (1, 12, 64), (1, 16, 32), (1, 0, 64)])
def test_wrong_mels_are_refused(folder, shape):
    with pytest.raises(ValueError, match=r"expected \[N, a multiple of 8, 64\], got shape"):
        load_codec(folder).encode(np.zeros(shape))


def test_wrong_latents_and_nan_are_refused(folder):
    codec = load_codec(folder)
    with pytest.raises(ValueError, match=r"expected \[N, 16, T / 8, 8\], got shape \(1, 8, 4, 8\)"):
        codec.decode(np.zeros((1, 8, 4, 8)))
    with pytest.raises(ValueError, match="latents: .* got NaN"):
        codec.decode(np.full((1, 16, 4, 8), np.nan))
    with pytest.raises(ValueError, match="mels: .* got NaN"):
        codec.encode(np.full((1, 16, 64), np.nan))


def test_altered_or_missing_files_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json, found none at .*elsewhere"):
        load_codec(tmp_path / "elsewhere")
    path = folder / "codec.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"codec.safetensors: expected sha256 [0-9a-f]{64} \(config.json\), got [0-9a-f]{64}"
    ):
        load_codec(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="expected weights with sha256 [0-9a-f]{64}, found no file at"):
        load_codec(folder)
    (folder / "config.json").write_text('{"kind": "clap"}')
    with pytest.raises(ValueError, match="expected a model of kind 'codec', got 'clap'"):
        load_codec(folder)


def test_weights_beyond_float16_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="got others in big"):
        write_model(tmp_path, {"kind": "codec"}, {"fine": torch.ones(2), "big": torch.tensor([1e6])})


def test_training_starts_at_the_linear_codec():
    torch.manual_seed(0)
    shape = {
        "block_out_channels": [32],
        "norm_num_groups": 2,
        "in_channels": 4,
        "out_channels": 4,
        "latent_channels": 2,
    }
    blocks = {"down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"]}
    vae = AutoencoderKL(**shape, **blocks, layers_per_block=1, mid_block_add_attention=False).eval()
    rng = np.random.default_rng(0)
    analysis, synthesis = rng.standard_normal((2, 4)) / 2, rng.standard_normal((4, 2))
    bias, offset = rng.standard_normal(2), rng.standard_normal(4)
    start_linear(vae, analysis, bias, synthesis, offset)
    x = torch.randn(3, 4, 6, 5)
    with torch.inference_mode():
        z = vae.encode(x).latent_dist
        y = vae.decode(z.mode()).sample
    expected = np.einsum("cp,nphw->nchw", analysis, x.numpy()) + bias[:, None, None]
    np.testing.assert_allclose(z.mode().numpy(), expected, atol=0.03 * np.abs(expected).max())
    again = np.einsum("pc,nchw->nphw", synthesis, z.mode().numpy()) + offset[:, None, None]
    np.testing.assert_allclose(y.numpy(), again, atol=0.03 * np.abs(again).max())
    with pytest.raises(ValueError, match=r"at least 16 channels, got \[8, 16\]"):
        start_linear(build_codec(tiny_config()).vae, analysis, bias, synthesis, offset)


def test_the_published_codec_keeps_a_clip():
    folder = ROOT / "models" / "codec"
    assert (folder / "codec.safetensors").stat().st_size < 12e6
    codec = load_codec("models/codec")
    mels = log_mel(normalise_waveform(noise(4, 65_536).astype(float)), MEL, RATE)
    latents = codec.encode(mels)
    assert latents.shape == (4, 16, 32, 8)
    assert 0.3 < latents.std() < 2
    assert np.abs(codec.decode(latents) - mels).mean() < 0.25  # nepers; the mean band is off by 2
