"""The small CLAP: its input against HTSAT's own, unit-length embeddings, what it refuses. Most weights are fresh."""

import sys
import types

import numpy as np
import pytest
import torch

from helpers.base.paths import ROOT
from helpers.models.clap import Clap, load_clap
from helpers.models.folder import write_model
from helpers.models.laion_module import laion_module

SAMPLES = 65_536
CONFIG = {
    "kind": "clap",
    "samples": SAMPLES,
    "sample_rate_hz": 16_000,
    "mel": {"n_fft": 1024, "hop_length": 256, "n_mels": 64, "fmin_hz": 50.0, "fmax_hz": 8000.0},
    "htsat": {
        "spec_size": 128,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 8,
    },
    "embedding": 32,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clap")
    write_model(path, CONFIG, Clap(CONFIG).state_dict())
    return path


@pytest.fixture(scope="module")
def clap(folder):
    return load_clap(folder)


def noise(n: int) -> np.ndarray:
    """int16 [n, S] of noise that is filtered more from clip to clip."""
    rng = np.random.default_rng(0)
    clips = [np.convolve(rng.standard_normal(SAMPLES), np.ones(2 * k + 1), mode="same") for k in range(n)]
    return np.stack([np.round(8000 * c / np.abs(c).max()) for c in clips]).astype(np.int16)


def test_features_and_tower_are_htsats_own(clap):
    """Against `HTSAT_Swin_Transformer.forward`, which computes its mel by convolutions."""
    settings = types.SimpleNamespace(
        window_size=1024, hop_size=256, sample_rate=16_000, mel_bins=64, fmin=50.0, fmax=8000.0
    )
    whole = laion_module("htsat").HTSAT_Swin_Transformer(config=settings, num_classes=1, **CONFIG["htsat"]).eval()
    whole.load_state_dict(clap.tower.state_dict(), strict=False)
    clips = noise(2)
    waveform = torch.from_numpy(clips[:, :65_280] / np.float32(32_768))
    with torch.inference_mode():
        spectrum = whole.spectrogram_extractor(waveform)
        expected = whole.logmel_extractor(spectrum)[:, 0]
        hidden = whole({"waveform": waveform})["embedding"]
        features = clap.features(clips)
        assert features.shape == (2, 256, 64)
        torch.testing.assert_close(features, expected, atol=2e-3, rtol=0)  # dB
        ours = clap.audio(features)
        torch.testing.assert_close(
            ours, torch.nn.functional.normalize(clap.audio_projection(hidden), dim=-1), atol=1e-4, rtol=0
        )


def test_embeddings_have_unit_length_and_do_not_depend_on_the_batch(clap):
    clips = noise(3)
    together = clap.embed_audio(clips)
    assert (together.shape, together.dtype) == ((3, 32), np.float32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(clap.embed_audio(clips[2:]), together[2:], atol=1e-5)
    np.testing.assert_allclose(clap.embed_audio(clips / 32_768), together, atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 1e-3
    assert clap.embed_audio(clips[:0]).shape == (0, 32)


def test_text_embeddings_have_unit_length(clap):
    rows = clap.embed_text(["a dog barks", "rain falls on a roof", "a dog barks"])
    assert (rows.shape, rows.dtype) == ((3, 32), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


@pytest.mark.parametrize("samples", [65_280, 65_792])
def test_another_length_is_refused(clap, samples):
    with pytest.raises(ValueError, match=f"expected 65536 samples a clip, got {samples}"):
        clap.embed_audio(np.ones((1, samples), np.int16))


def test_silence_and_nan_have_no_embedding(clap):
    clips = noise(3)
    clips[1:] = 7
    with pytest.raises(ValueError, match=r"got silence in clip 1 \(2 in all\)"):
        clap.embed_audio(clips)
    broken = noise(1) / 32_768
    broken[0, 5] = np.nan
    with pytest.raises(ValueError, match="got NaN"):
        clap.embed_audio(broken)
    with pytest.raises(ValueError, match=r"expected \[N, 65536\], got shape \(65536,\)"):
        clap.embed_audio(noise(1)[0])


def test_altered_weights_are_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "clap.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="clap.safetensors: expected sha256"):
        load_clap(tmp_path)


def test_one_step_on_clip_loss_brings_pairs_together():
    torch.manual_seed(0)
    model = Clap(CONFIG)
    features, sentences = model.features(noise(4)), torch.nn.functional.normalize(torch.randn(4, 384), dim=1)
    loss = laion_module("loss").ClipLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.eval()  # no augmentation or random depth: the same function before and after
    losses = []
    for _ in range(6):
        value = loss(model.audio(features), model.text(sentences), model.logit_scale.exp())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0] - 0.05


def test_importing_htsat_leaves_no_torchvision_behind():
    laion_module("htsat")
    laion_module("loss")
    assert "torchvision" not in sys.modules or hasattr(sys.modules["torchvision"], "__version__")
    assert "laion_clap" not in sys.modules  # its __init__ would fetch tokenizers


def test_the_published_clap_hears_the_same_clip_at_another_level():
    folder = ROOT / "models" / "clap"
    assert (folder / "clap.safetensors").stat().st_size < 10e6
    clap = load_clap("models/clap")
    clips = noise(3)
    rows, softer = clap.embed_audio(clips), clap.embed_audio(clips // 2)
    own, other = (rows * softer).sum(1), (rows * np.roll(softer, 1, axis=0)).sum(1)
    assert (own > other).all()
    assert own.min() > 0.8
