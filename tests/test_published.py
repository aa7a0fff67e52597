"""The loaders of published weights, on fabricated checkpoints in the published layouts.

Every tensor must arrive at its place; what is missing, superfluous, damaged, or holds code must be refused.
"""

import json
import os
import shutil

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from ldm_reference import Ldm
from ldm_reference import hifigan as slow_hifigan
from safetensors.torch import load_file, save_file

from helpers import audioldm, published, tango
from helpers.checkpoints import NUMPY_NUMBERS, load_exactly, read_tensors
from helpers.codec import load_codec
from helpers.config import (
    CodecConfig,
    GenerationConfig,
    MelConfig,
    RetrievalConfig,
    TextConfig,
    TrainingConfig,
    load_profile,
)
from helpers.denoiser import TANGO_UNET, build_noise_scheduler, build_unet
from helpers.detectors import Detectors
from helpers.flan_t5 import load_flan_t5
from helpers.laion import load_laion
from helpers.sampling import build_sampler, sample_latents
from helpers.text import encode_captions
from helpers.vocoder import vocode

RATE = 16_000
MEL = MelConfig(hop_length=160)
SCALE = 0.9227914214134216
CAPTIONS = ["a dog barks", "rain falls on a roof then a bird sings", ""]


@pytest.fixture
def sizes(fabricated):
    from fabricate_checkpoints import REDUCED

    return REDUCED


@pytest.fixture
def unet_config(fabricated, sizes):
    return TrainingConfig(architecture="tango", checkpoint_path=str(fabricated / "tango"), **sizes["unet"])


def text_config(folder, **options) -> TextConfig:
    return TextConfig(encoder="flan_t5", encoder_path=str(folder), max_tokens=16, **options)


def random_mels(n: int, frames: int = 32) -> np.ndarray:
    return np.random.default_rng(0).normal(-5, 2, (n, frames, 64)).astype(np.float32)


def noise(n: int, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """int16 [n, S], each clip smoother than the one before."""
    rng = np.random.default_rng(1)
    clips = [np.convolve(rng.standard_normal(int(seconds * rate)), np.ones(4 * k + 1), mode="same") for k in range(n)]
    return np.stack([np.round(8000 * c / np.abs(c).max()) for c in clips]).astype(np.int16)


# The autoencoder


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
    np.testing.assert_array_equal(vocode(mels, config, MEL, RATE), audio)
    assert vocode(mels[:0], config, MEL, RATE).shape == (0, 5120)


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


# The text encoder


def test_flan_t5_gives_transformers_states(fabricated):
    from transformers import AutoTokenizer, T5EncoderModel

    config = text_config(fabricated / "flan-t5")
    states, mask = encode_captions(CAPTIONS, config)
    assert (states.shape, states.dtype, mask.dtype) == ((3, 16, 32), np.float16, bool)
    tokenizer = AutoTokenizer.from_pretrained(fabricated / "flan-t5")
    library = T5EncoderModel.from_pretrained(fabricated / "flan-t5").eval()
    tokens = tokenizer(CAPTIONS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = library(**tokens).last_hidden_state.numpy()
    assert mask.sum(1).tolist() == tokens["attention_mask"].sum(1).tolist()
    assert mask[2].tolist() == [True] + [False] * 15  # the null prompt: </s>
    for row, count in enumerate(mask.sum(1)):
        np.testing.assert_allclose(states[row, :count], expected[row, :count], atol=2e-3)
    assert np.abs(states[0, 0] - states[1, 0]).max() > 1e-2


def test_flan_t5_is_the_same_from_tangos_checkpoint(fabricated):
    plain = text_config(fabricated / "flan-t5")
    copied = text_config(fabricated / "flan-t5", encoder_weights_path=str(fabricated / "tango"))
    np.testing.assert_array_equal(encode_captions(CAPTIONS, plain)[0], encode_captions(CAPTIONS, copied)[0])


@pytest.mark.parametrize("bad", [float("nan"), None])
def test_a_caption_that_is_not_text_is_named(fabricated, bad):
    with pytest.raises(TypeError, match=r"captions\[1\]: expected text, got"):
        encode_captions(["rain", bad], text_config(fabricated / "flan-t5"))


def test_an_empty_or_foreign_tokenizer_is_refused(fabricated, tmp_path):
    from transformers import T5Tokenizer

    shutil.copytree(fabricated / "flan-t5", tmp_path / "t5")
    config = json.loads((tmp_path / "t5" / "config.json").read_text())
    (tmp_path / "t5" / "config.json").write_text(json.dumps(config | {"vocab_size": 32_128}))
    with pytest.raises(RuntimeError, match="expected 32001 to 32128 entries for this model, got "):
        load_flan_t5(text_config(tmp_path / "t5"))
    (tmp_path / "t5" / "config.json").write_text(json.dumps(config | {"pad_token_id": 7}))
    with pytest.raises(RuntimeError, match=r"expected the padding and end tokens \(7, 1\), got \(0, 1\)"):
        load_flan_t5(text_config(tmp_path / "t5"))
    T5Tokenizer().save_pretrained(tmp_path / "t5")  # what comes up where no vocabulary is found
    (tmp_path / "t5" / "config.json").write_text(json.dumps(config | {"vocab_size": 128}))
    with pytest.raises(RuntimeError, match="expected different tokens for different captions"):
        load_flan_t5(text_config(tmp_path / "t5"))


def test_two_different_embeddings_are_refused(fabricated, tmp_path):
    shutil.copytree(fabricated / "flan-t5", tmp_path / "t5")
    path = tmp_path / "t5" / "model.safetensors"
    state = load_file(path)
    save_file(state | {"encoder.embed_tokens.weight": state["shared.weight"] + 1}, path)
    with pytest.raises(ValueError, match="to be the same, got two different ones"):
        load_flan_t5(text_config(tmp_path / "t5"))


def test_states_beyond_float16_are_refused(fabricated, tmp_path):
    shutil.copytree(fabricated / "flan-t5", tmp_path / "t5")
    path = tmp_path / "t5" / "model.safetensors"
    state = load_file(path)
    save_file(state | {"encoder.final_layer_norm.weight": torch.full((32,), 1e6)}, path)
    with pytest.raises(FloatingPointError, match="within float16"):
        encode_captions(CAPTIONS, text_config(tmp_path / "t5"))


# TANGO's checkpoint


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


def test_tangos_unet_has_every_tensor_of_the_file(fabricated, unet_config):
    unet = tango.load_unet(unet_config, (8, 64, 16), 32)
    state = torch.load(fabricated / "tango" / "pytorch_model_main.bin", weights_only=True)
    own = {name.removeprefix("unet."): tensor for name, tensor in state.items() if name.startswith("unet.")}
    assert own.keys() == unet.state_dict().keys()
    for name, tensor in unet.state_dict().items():
        torch.testing.assert_close(tensor, own[name], rtol=0, atol=0)
    assert unet.config.upcast_attention and not any(p.requires_grad for p in unet.parameters())


def test_other_widths_than_the_files_are_refused(unet_config):
    with pytest.raises(ValueError, match=r"pytorch_model_main.bin: .*: expected shape \(.*\), got \("):
        tango.load_unet(unet_config, (8, 64, 16), 48)


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
def test_a_prompt_becomes_a_waveform(fabricated, unet_config, sampler):
    unet = tango.load_unet(unet_config, (8, 64, 16), 32)
    states, mask = encode_captions(CAPTIONS[:2], text_config(fabricated / "flan-t5"))
    null, null_mask = encode_captions([""], text_config(fabricated / "flan-t5"))
    config = GenerationConfig(sampler=sampler, steps=2, guidance=3.0, steps_offset=0)
    latents = sample_latents(unet, states, mask, null[0], null_mask[0], [5, 6], config, (8, 64, 16))
    alone = sample_latents(unet, states[1:], mask[1:], null[0], null_mask[0], [6], config, (8, 64, 16))
    np.testing.assert_allclose(alone[0], latents[1], atol=1e-4)  # every step's noise is the clip's own
    mels = load_codec(fabricated / "tango").decode(latents)
    audio = vocode(mels, CodecConfig(vocoder="hifigan", vocoder_path=str(fabricated / "tango")), MEL, RATE)
    assert audio.shape == (2, 256 * 160) and np.abs(audio).max() > 100


# LAION's CLAP


@pytest.fixture(scope="module")
def clap(fabricated):
    return load_laion(str(fabricated / "clap" / "630k-audioset-best.pt"), RATE)


def test_laions_clap_has_every_tensor_of_the_file(fabricated, clap):
    with torch.serialization.safe_globals(list(NUMPY_NUMBERS)):
        file = torch.load(fabricated / "clap" / "630k-audioset-best.pt", weights_only=True)
    state = {name.removeprefix("module."): tensor for name, tensor in file["state_dict"].items()}
    own = clap.model.state_dict()
    assert state.keys() - own.keys() == {"text_branch.embeddings.position_ids"} and own.keys() <= state.keys()
    for name, tensor in own.items():
        torch.testing.assert_close(tensor.cpu(), state[name], rtol=0, atol=0)


def test_laions_embeddings_have_unit_length_and_do_not_depend_on_the_batch(clap):
    clips = noise(3)
    together = clap.embed_audio(clips)
    assert (together.shape, together.dtype) == ((3, 32), np.float32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(clap.embed_audio(clips[2:]), together[2:], atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 1e-3
    texts = clap.embed_text(CAPTIONS[:2] + CAPTIONS[:1])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(texts[0], texts[2], atol=1e-5)
    assert np.abs(texts[0] - texts[1]).max() > 1e-3
    assert clap.embed_audio(clips[:0]).shape == clap.embed_text([]).shape == (0, 32)


def test_laions_input_is_48_khz_repeated_to_ten_seconds(clap):
    t = np.arange(4 * RATE) / RATE
    tone = (0.4 * np.sin(2 * np.pi * 440 * t))[None]
    wave = clap.waveforms(tone).numpy()
    assert wave.shape == (1, 480_000)
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(192_000) / 48_000)
    np.testing.assert_allclose(wave[0, 1000:191_000], expected[1000:191_000], atol=2e-3)
    np.testing.assert_array_equal(wave[0, 192_000:384_000], wave[0, :192_000])
    assert not wave[0, 384_000:].any()  # 4 s fit twice
    longer = clap.waveforms(noise(1, seconds=10.24)).numpy()
    np.testing.assert_array_equal(longer, clap.waveforms(noise(1, seconds=10.24)).numpy())  # laion_clap draws a part


def test_laions_clap_refuses_what_has_no_embedding(clap, fabricated):
    with pytest.raises(ValueError, match="expected 8000 to 168000 samples a clip, got 7999"):
        clap.embed_audio(noise(1)[:, :7999])
    with pytest.raises(ValueError, match="got 176000"):
        clap.embed_audio(noise(1, seconds=11))
    silent = noise(2)
    silent[1] = 3
    with pytest.raises(ValueError, match=r"got silence in clip 1 \(1 in all\)"):
        clap.embed_audio(silent)
    broken = noise(1) / 32_768
    broken[0, 7] = np.nan
    with pytest.raises(ValueError, match="got NaN"):
        clap.embed_audio(broken)
    for bad in (noise(1)[0], noise(1).astype(np.int32)):
        with pytest.raises(ValueError, match=r"expected int16 or floating point \[N, S\], got"):
            clap.embed_audio(bad)
    with pytest.raises(TypeError, match=r"captions\[1\]: expected text, got nan"):
        clap.embed_text(["rain", float("nan")])
    with pytest.raises(ValueError, match="expected 8000 to 48000 Hz, got 96000"):
        load_laion(str(fabricated / "clap" / "630k-audioset-best.pt"), 96_000)


def test_a_clap_made_here_refuses_another_rate_than_its_own():
    with pytest.raises(ValueError, match="models/clap: expected audio of 16000 Hz, got 48000"):
        Detectors(RetrievalConfig(), MelConfig(), 48_000, random_mels(1))


def test_an_empty_or_missing_roberta_tokenizer_is_refused(fabricated, tmp_path):
    shutil.copy(fabricated / "clap" / "630k-audioset-best.pt", tmp_path)
    clap = load_laion(str(tmp_path / "630k-audioset-best.pt"), RATE)
    with pytest.raises(FileNotFoundError, match="expected vocab.json and merges.txt in .*roberta-base, found none"):
        clap.embed_text(["rain"])
    (tmp_path / "roberta-base").mkdir()
    (tmp_path / "roberta-base" / "vocab.json").write_text("{}")
    (tmp_path / "roberta-base" / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(RuntimeError, match="expected 261 entries for this model, got "):
        clap.embed_text(["rain"])


def test_a_clap_with_fusion_is_refused(fabricated, tmp_path):
    save_state(tmp_path / "x.pt", {"module.audio_branch.patch_embed.mel_conv2d.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="expected a CLAP without feature fusion"):
        load_laion(str(tmp_path / "x.pt"), RATE)


# All of them: exactly the tensors, no code, one line for what is missing


def load_t5(folder):
    return load_flan_t5(text_config(folder))


PARTS = {
    "vae": ("audioldm", "vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.bias", load_codec),
    "vocoder": ("audioldm", "vocoder/model.safetensors", "conv_pre.bias", lambda f: audioldm.load_hifigan(str(f))),
    "tango_vae": ("tango", "pytorch_model_vae.bin", "decoder.mid.attn_1.q.bias", load_codec),
    "tango_vocoder": ("tango", "pytorch_model_vae.bin", "vocoder.ups.3.bias", lambda f: audioldm.load_hifigan(str(f))),
    "text": ("flan-t5", "model.safetensors", "encoder.final_layer_norm.weight", load_t5),
    "unet": ("tango", "pytorch_model_main.bin", "unet.conv_out.bias", None),
    "clap": (
        "clap",
        "630k-audioset-best.pt",
        "module.audio_projection.2.bias",
        lambda f: load_laion(str(f / "630k-audioset-best.pt"), RATE),
    ),
}


def save_state(path, state):
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)


@pytest.fixture(params=PARTS)
def part(request, fabricated, tmp_path, sizes):
    """A copy of one part's folder, the file of its weights, one of its tensors, and how it is loaded."""
    name, file, tensor, load = PARTS[request.param]
    folder = tmp_path / "copy"
    shutil.copytree(fabricated / name, folder)

    def load_unet(where):
        config = TrainingConfig(architecture="tango", checkpoint_path=str(where), **sizes["unet"])
        return tango.load_unet(config, (8, 64, 16), 32)

    return folder, folder / file, tensor, load or load_unet


def read(path):
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=False)
    return state.get("state_dict", state)


def test_a_missing_an_unknown_a_misshapen_and_a_broken_tensor_are_refused(part):
    folder, path, tensor, load = part
    state = read(path)
    short = tensor.removeprefix("module.").removeprefix("unet.").removeprefix("vocoder.").rpartition(".")[2]
    cases = {
        rf"expected exactly \w+'s tensors, but it lacks \S*{short}": {k: v for k, v in state.items() if k != tensor},
        r"surplus": state | {f"{tensor.rpartition('.')[0]}.surplus": torch.zeros(3)},
        r"expected shape \(\d+,\), got \(1, \d+\)": state | {tensor: state[tensor][None]},
        "expected finite weights, got NaN or infinity": state | {tensor: state[tensor] * torch.nan},
    }
    for message, altered in cases.items():
        save_state(path, altered)
        audioldm.load_hifigan.cache_clear()
        load_flan_t5.cache_clear()
        with pytest.raises(ValueError, match=message) as caught:
            load(folder)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


class Code:
    """A pickle of this makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_code_in_a_pickle_is_refused_and_not_run(part, tmp_path):
    folder, path, _, load = part
    target = tmp_path / "code-was-run"
    if path.suffix == ".safetensors":
        state = read(path)
        path.unlink()
        path = path.with_name(
            {"diffusion_pytorch_model": "diffusion_pytorch_model.bin", "model": "pytorch_model.bin"}[path.stem]
        )
    else:
        state = read(path)
    torch.save({**state, "extra": Code(target)}, path)
    audioldm.load_hifigan.cache_clear()
    load_flan_t5.cache_clear()
    with pytest.raises(
        ValueError, match="expected nothing but tensors, got GLOBAL posix.mkdir; it was not run"
    ) as caught:
        load(folder)
    assert not target.exists() and "\n" not in str(caught.value)
    torch.load(path, weights_only=False)  # the trap itself works
    assert target.exists()


def test_damaged_and_odd_files_are_refused(fabricated, tmp_path):
    whole = (fabricated / "tango" / "pytorch_model_vae.bin").read_bytes()
    (tmp_path / "cut.bin").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.safetensors").write_bytes(whole[:100])
    torch.save({"a": torch.ones(1), "b": 3}, tmp_path / "number.bin")
    torch.save([torch.ones(1)], tmp_path / "list.bin")
    for name, message in {
        "cut.bin": "expected",
        "cut.safetensors": "expected a whole checkpoint, got a damaged one",
        "number.bin": "expected a tensor under 'b', got int",
        "list.bin": "expected tensors by name, got list",
    }.items():
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            read_tensors(tmp_path / name)


def test_numpys_numbers_are_allowed_only_where_they_are_expected(fabricated):
    with pytest.raises(ValueError, match="numpy"):
        read_tensors(fabricated / "clap" / "630k-audioset-best.pt")


def test_a_missing_file_gives_one_line_on_what_to_fetch_and_where_to_put_it(part):
    folder, path, _, load = part
    path.unlink()
    audioldm.load_hifigan.cache_clear()
    load_flan_t5.cache_clear()
    with pytest.raises(FileNotFoundError) as caught:
        load(folder)
    line = str(caught.value)
    wanted = path.relative_to(folder).as_posix()
    assert "\n" not in line
    assert f"expected {wanted}" in line and f"in {folder}, found none" in line
    assert f"hf download {_repository(line)} {wanted} --local-dir {folder}` puts it there" in line


def _repository(line: str) -> str:
    known = ("cvssp/audioldm", "declare-lab/tango", "google/flan-t5-large", "lukewys/laion_clap")
    return next(name for name in known if f"hf download {name} " in line)


def test_the_hubs_cache_is_read_and_what_it_lacks_is_named(fabricated, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_codec("hub:cvssp/audioldm")
    assert str(caught.value) == (
        "codec.codec_path: expected vae/config.json and vae/diffusion_pytorch_model.safetensors or "
        "vae/diffusion_pytorch_model.bin in the hub's cache of cvssp/audioldm, found none; `hf download cvssp/audioldm "
        "vae/config.json vae/diffusion_pytorch_model.safetensors` puts it there"
    )
    repository = tmp_path / "models--cvssp--audioldm"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    shutil.copytree(fabricated / "audioldm", repository / "snapshots" / "abc123")
    latents = load_codec("hub:cvssp/audioldm").encode(random_mels(1))
    np.testing.assert_array_equal(latents, load_codec(fabricated / "audioldm").encode(random_mels(1)))
    repository = tmp_path / "models--lukewys--laion_clap"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("def456")
    shutil.copytree(fabricated / "clap", repository / "snapshots" / "def456")
    assert published.find_clap("hub:lukewys/laion_clap/630k-audioset-best.pt").is_file()
    with pytest.raises(ValueError, match="expected hub:<owner>/<name>, got 'hub:audioldm'"):
        load_codec("hub:audioldm")


def test_sha256_is_checked_by_its_first_digits(fabricated):
    path = fabricated / "tango" / "pytorch_model_vae.bin"
    right = published.hash_file(path)
    load_codec(fabricated / "tango", right[:8])
    load_codec(fabricated / "tango", right)
    wrong = "7d49e188"  # the published file's
    with pytest.raises(ValueError, match=rf"pytorch_model_vae.bin: expected sha256 {wrong}, got {right[:16]}"):
        load_codec(fabricated / "tango", wrong)
    with pytest.raises(ValueError, match="expected 8 to 64 hex digits, got 'abc'"):
        load_codec(fabricated / "tango", "abc")


def test_buffers_and_weights_are_both_counted():
    model = torch.nn.BatchNorm1d(2)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    del state["running_mean"]
    with pytest.raises(ValueError, match="here: expected exactly BatchNorm1d's tensors, but it lacks running_mean"):
        load_exactly(model, state, "here")


def test_fields_younger_than_published_results_leave_their_digests_alone():
    assert not {"architecture", "checkpoint_path"} & TrainingConfig().digest_fields().keys()
    assert TrainingConfig(architecture="tango").digest_fields()["architecture"] == "tango"
    assert not {"sampler", "steps_offset"} & GenerationConfig().digest_fields().keys()
    assert GenerationConfig(steps_offset=0).digest_fields()["steps_offset"] == 0
