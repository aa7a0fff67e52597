"""AudioLDM's autoencoder and HiFi-GAN from fabricated files, against the libraries and the original code's arithmetic."""

import json
import shutil

import numpy as np
import pytest
import torch
from ldm_reference import Ldm, hifigan as slow_hifigan
from published_inputs import MEL, RATE, random_mels

from helpers.base.settings import CodecConfig, MelConfig
from helpers.models.codec import load_codec
from helpers.models.pretrained import audioldm
from helpers.models.vocoder import load_vocoder

SCALE = 0.9227914214134216


@pytest.mark.parametrize(("suffix", "former"), [(".safetensors", False), (".bin", True)])
def test_audioldms_autoencoder_is_the_one_that_diffusers_loads(tmp_path, sizes, suffix, former):
    from diffusers import AutoencoderKL
    from fabricate_checkpoints import fabricate_audioldm

    fabricate_audioldm(tmp_path, sizes, suffix, former)
    codec = load_codec(tmp_path)
    library = AutoencoderKL.from_pretrained(tmp_path / "vae", local_files_only=True)
    for name, tensor in library.state_dict().items():
        torch.testing.assert_close(codec.vae.state_dict()[name], tensor, rtol=0, atol=0)
    mels = random_mels(5)
    with torch.inference_mode():
        expected = SCALE * library.encode(torch.from_numpy(mels)[:, None]).latent_dist.mode()
        decoded = library.decode(expected / SCALE).sample[:, 0]
    latents = codec.encode(mels)
    assert (latents.shape, latents.dtype, codec.channels, codec.stride) == ((5, 8, 8, 16), np.float32, 8, 4)
    np.testing.assert_allclose(latents, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(codec.decode(latents), decoded.numpy(), atol=1e-4)
    np.testing.assert_array_equal(latents, codec.encode(mels))  # the posterior's mode: nothing is drawn


def test_tangos_autoencoder_computes_what_the_original_code_does(fabricated, sizes):
    state = torch.load(fabricated / "tango" / "pytorch_model_vae.bin", weights_only=True)
    reference = Ldm(state, len(sizes["vae"]["ch_mult"]), sizes["vae"]["blocks"])
    codec, mels = load_codec(fabricated / "tango"), random_mels(2)
    latents = codec.encode(mels)
    np.testing.assert_allclose(latents, SCALE * reference.encode(torch.from_numpy(mels)[:, None]).numpy(), atol=1e-4)
    decoded = reference.decode(torch.from_numpy(latents) / SCALE)[:, 0]
    np.testing.assert_allclose(codec.decode(latents), decoded.numpy(), atol=1e-4)
    placed = sum(tensor.numel() for tensor in codec.vae.state_dict().values())
    assert placed == sum(tensor.numel() for name, tensor in state.items() if not name.startswith("vocoder."))


def test_published_sizes_give_the_published_numbers_of_weights(fabricated):
    """vae.bin is published with 442,713,669 bytes: 4 a weight, and less than 600 for each of its 398 names."""
    from fabricate_checkpoints import FULL, hifigan_shapes, ldm_vae_shapes

    shapes = [*ldm_vae_shapes(**FULL["vae"]).values(), *hifigan_shapes(FULL["vocoder_width"]).values()]
    weights = sum(torch.Size(shape).numel() for shape in shapes)
    assert weights == 55_376_873 + 55_264_897
    assert 0 < 442_713_669 - 4 * weights < 600 * len(shapes)


def test_what_diffusers_would_drop_in_silence_is_refused(fabricated, tmp_path):
    shutil.copytree(fabricated / "tango", tmp_path / "tango")
    path = tmp_path / "tango" / "pytorch_model_vae.bin"
    torch.save(torch.load(path, weights_only=True) | {"loss.logvar": torch.zeros(1)}, path)
    with pytest.raises(
        ValueError, match="expected the tensors of AudioLDM's autoencoder only, but it holds loss.logvar"
    ):
        load_codec(tmp_path / "tango")


@pytest.mark.parametrize(("key", "value"), [("attn_resolutions", [64]), ("double_z", False)])
def test_an_autoencoder_that_the_librarys_is_not_is_refused(fabricated, tmp_path, key, value):
    shutil.copytree(fabricated / "tango", tmp_path / "tango")
    path = tmp_path / "tango" / "vae_config.json"
    config = json.loads(path.read_text())
    config["ddconfig"][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"vae_config.json: ddconfig.{key}: expected"):
        load_codec(tmp_path / "tango")


def test_wrong_mels_and_latents_are_refused(fabricated):
    codec = load_codec(fabricated / "audioldm")
    with pytest.raises(ValueError, match=r"expected \[N, a multiple of 4, 64\], got shape \(1, 30, 64\)"):
        codec.encode(random_mels(1, frames=30))
    with pytest.raises(ValueError, match=r"got shape \(1, 32, 80\)"):
        codec.encode(np.zeros((1, 32, 80)))
    with pytest.raises(ValueError, match=r"latents: expected \[N, 8, T / 4, 16\], got shape \(1, 16, 8, 16\)"):
        codec.decode(np.zeros((1, 16, 8, 16)))
    with pytest.raises(ValueError, match="mels: .* got NaN"):
        codec.encode(np.full((1, 32, 64), np.nan))


# The vocoder


def test_hifigan_computes_what_the_original_code_does_in_both_layouts(fabricated, tmp_path):
    published_state = torch.load(fabricated / "tango" / "pytorch_model_vae.bin", weights_only=True)
    state = {k.removeprefix("vocoder."): v for k, v in published_state.items() if k.startswith("vocoder.")}
    mels = random_mels(5)
    expected = slow_hifigan(state, torch.from_numpy(mels)).numpy()
    audio = audioldm.hifigan(mels, str(fabricated / "tango"), MEL, RATE)
    assert (audio.shape, audio.dtype) == ((5, 32 * 160), np.int16)
    assert expected.shape[1] == audio.shape[1] + 32  # the odd padding's surplus, cut off
    assert np.abs(audio).max() > 1000
    np.testing.assert_allclose(audio, 32_767 * expected[:, : audio.shape[1]], atol=1)
    # the same weights as transformers would have saved them
    (tmp_path / "vocoder").mkdir()
    shutil.copy(fabricated / "audioldm" / "vocoder" / "config.json", tmp_path / "vocoder")
    renamed = {name.replace("ups.", "upsampler."): tensor for name, tensor in state.items()}
    renamed |= {"mean": torch.zeros(64), "scale": torch.ones(64)}
    torch.save(renamed, tmp_path / "vocoder" / "pytorch_model.bin")
    config = CodecConfig(vocoder="hifigan", vocoder_path=str(tmp_path))
    np.testing.assert_array_equal(load_vocoder(config, MEL, RATE)(mels), audio)
    assert load_vocoder(config, MEL, RATE)(mels[:0]).shape == (0, 5120)


def test_a_vocoder_of_other_rate_hop_or_bands_is_refused(fabricated):
    where, mels = str(fabricated / "audioldm"), random_mels(1)
    with pytest.raises(ValueError, match="expected sample rate 22050 .* got 16000"):
        audioldm.hifigan(mels, where, MEL, 22_050)
    with pytest.raises(ValueError, match="expected hop_length 256 .* got 160"):
        audioldm.hifigan(mels, where, MelConfig(hop_length=256), RATE)
    with pytest.raises(ValueError, match="expected n_mels 80 .* got 64"):
        audioldm.hifigan(mels, where, MelConfig(hop_length=160, n_mels=80), RATE)
    for bad in (mels[0], np.zeros((1, 0, 64)), np.zeros((1, 8, 80))):
        with pytest.raises(ValueError, match=r"expected \[N, T, 64\], got shape"):
            audioldm.hifigan(bad, where, MEL, RATE)
    for value in (np.nan, np.inf, 21.0):
        with pytest.raises(ValueError, match="at most 20 nepers"):
            audioldm.hifigan(np.full((1, 8, 64), value), where, MEL, RATE)


def test_a_vocoder_with_weight_norm_is_not_the_published_one(tmp_path, sizes):
    from fabricate_checkpoints import fabricate_flan_t5, fabricate_tango

    fabricate_tango(tmp_path, sizes, fabricate_flan_t5(tmp_path / "t5", sizes), weight_norm=True)
    with pytest.raises(ValueError, match=r"lacks conv_post.weight .* holds the unknown conv_post.weight_g"):
        audioldm.load_hifigan(str(tmp_path))
