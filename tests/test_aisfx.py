"""The optional sound-effects encoder: against the package's own functions on a file, what it refuses, and life without it."""

import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from helpers.base import paths
from helpers.base.settings import MelConfig, RetrievalConfig
from helpers.book import pages, parameters
from helpers.copies.conclusions.claims import _mel_against
from helpers.copies.conclusions.evidence import Evidence
from helpers.copies.detectors import Detectors
from helpers.models import aisfx
from helpers.sound.profiles import load_profile
from helpers.study import registry

RATE, SAMPLES = 16_000, 65_536
needs_package = pytest.mark.skipif(not aisfx.installed(), reason=f"aisfx is not there; {aisfx.INSTALL}")
ALL = ("mel", "mel_centred", "mel_aligned", "clap", "aisfx")


@pytest.fixture
def without(monkeypatch):
    """As if the package were not installed."""
    real = importlib.util.find_spec
    absent = lambda name, *rest: None if name.partition(".")[0] == "aisfx" else real(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)


@pytest.fixture(scope="module")
def encoder():
    return aisfx.load_encoder(RATE)


def sounds(n: int) -> np.ndarray:
    """int16 [n, S]: decaying tones over noise, another pitch and rhythm in each clip."""
    rng, t = np.random.default_rng(0), np.arange(SAMPLES) / RATE
    clips = []
    for k in range(n):
        strokes = np.exp(-((t * (k + 1)) % 1) * 6)
        clips.append(strokes * np.sin(2 * np.pi * 180 * 2**k * t) + 0.02 * rng.standard_normal(SAMPLES))
    return np.stack([np.round(12_000 * c / np.abs(c).max()) for c in clips]).astype(np.int16)


@needs_package
def test_spectrograms_and_embeddings_are_the_packages_own(encoder, tmp_path, monkeypatch):
    """Its librosa spectrogram of a file, turned upright, through its `load_bestModel` and `model_get_embedding`."""
    from aisfx import inference
    from aisfx.spectrogram.spectrogram_librosa import compute_spectrogram

    monkeypatch.setattr(encoder, "dtype", torch.float32)
    clips = sounds(3)
    weights = aisfx._read_checkpoint(aisfx.Path(inference.get_path_modelWeights()))
    heads = sorted(  # the data sets' names are not in the weights; the number of classes is
        (int(key.split(".")[1]), len(value))
        for key, value in weights.items()
        if key.startswith("fc.") and ".4.bias" in key
    )
    model = inference.load_bestModel(weights, {f"set {i}": (i, size) for i, size in heads}, "cpu")
    ours, spectrograms = encoder.embed_audio(clips), encoder.spectrograms(clips)
    for row, clip in enumerate(clips):
        path = tmp_path / f"{row}.wav"
        soundfile.write(path, clip, RATE)
        theirs = compute_spectrogram(path, inference.SAMPLE_RATE, 2048, 1024, 96, 0.0, 22050.0)
        np.testing.assert_allclose(spectrograms[row], theirs.T, atol=1e-3)
        blocks = inference.model_get_embedding(inference.spectrogram_normalize(theirs.T), 0.5, True, model, "cpu")
        assert blocks.shape == (2, 512)
        expected = torch.nn.functional.normalize(blocks.mean(dim=0), dim=0).numpy()
        np.testing.assert_allclose(ours[row], expected, atol=1e-4)


@needs_package
def test_embeddings_have_unit_length_and_hardly_depend_on_batch_number_format_or_precision(encoder, monkeypatch):
    clips = sounds(6)
    found = encoder.embed_audio(clips)
    assert (found.shape, found.dtype) == ((6, 512), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found @ found.T)[~np.eye(6, dtype=bool)].max() < 0.97  # other clips are not taken for copies

    def worst(other):
        return np.einsum("nd,nd->n", found[-len(other) :], other).min()

    assert worst(encoder.embed_audio(clips[5:])) > 0.999
    assert worst(encoder.embed_audio(clips / 32_768.0)) > 0.999
    assert worst(encoder.embed_audio((clips / 131_072).astype(np.float32))) > 0.999  # a quarter of the level
    monkeypatch.setattr(encoder, "dtype", torch.float32)
    assert worst(encoder.embed_audio(clips)) > 0.999
    assert encoder.embed_audio(clips[:0]).shape == (0, 512)


@needs_package
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[0], r"audio: expected \[N, S\], got shape \(65536,\)"),
        (lambda a: a[:, :36_780], "audio: expected at least one block of 36781 samples at 16000 Hz, got 36780"),
        (lambda a: a.astype(np.int32), "audio: expected int16 or floating point, got int32"),
        (lambda a: np.where(np.arange(SAMPLES) == 7, np.nan, a), "audio: expected finite samples, got NaN or infinity"),
        (lambda a: a * np.array([[1], [0]], np.int16), r"got silence in clip 1 \(1 in all\)"),
    ],
)
def test_what_has_no_embedding_is_refused(encoder, change, message):
    with pytest.raises(ValueError, match=message):
        encoder.embed_audio(change(sounds(2)))


@needs_package
def test_the_shortest_clip_and_another_sample_rate(encoder):
    assert encoder.embed_audio(sounds(1)[:, :36_781]).shape == (1, 512)
    twice = np.tile(sounds(1), 2)
    assert aisfx.load_encoder(44_100).embed_audio(twice[:, : 99 * 1024]).shape == (1, 512)
    with pytest.raises(ValueError, match="sample_rate_hz: expected 8000 to 48000 Hz, got 16"):
        aisfx.load_encoder(16)


def test_other_weights_are_not_read(tmp_path):
    path = tmp_path / "checkpoint.pth"
    with pytest.raises(FileNotFoundError, match="aisfx: expected weights with sha256 499ea759.*found no file"):
        aisfx._read_checkpoint(path)
    path.write_bytes(b"not these")
    with pytest.raises(ValueError, match=r"expected sha256 499ea759.* \(aisfx 0\.1\.2\), got "):
        aisfx._read_checkpoint(path)


@needs_package
def test_detectors_and_the_stage_take_it():
    profile = load_profile("tiny")
    detectors = Detectors(RetrievalConfig(detectors=("mel", "aisfx")), MelConfig(), RATE, np.zeros(64, np.float32))
    assert detectors.features("aisfx", sounds(3)).shape == (3, 512)
    folder = registry.second_opinion(profile)
    table = pd.read_csv(folder / "alterations.csv")
    own = pd.read_csv(registry.finished("alterations", profile).path / "alterations.csv")
    assert set(table["detector"]) == {"aisfx"}
    case = ["transform", "strength", "n_pos", "n_neg"]
    assert table[case].values.tolist() == own.loc[own["detector"] == "mel", case].values.tolist()  # the same copies
    assert table.set_index("transform")["auroc"][["gain", "ogg"]].min() > 0.95


def test_digests_name_the_weights_and_not_what_is_installed(without):
    """A result computed with the encoder can be loaded without it, and none without it changes because of it."""
    profile = load_profile("smoke")
    changed = profile.replace("retrieval", detectors=ALL)
    for name in ("references", "retrieval", "alterations"):
        before, after = (registry.build(name, p)[0] for p in (profile, changed))
        assert "aisfx" not in before.config
        assert after.config["aisfx"] == aisfx.WEIGHTS_SHA256
        assert after.digest != before.digest


def test_without_the_package_there_is_no_second_opinion(without):
    assert not aisfx.installed()
    assert registry.second_opinion(load_profile("smoke")) is None
    assert "make aisfx" in aisfx.ABSENT and "missing" in aisfx.ABSENT
    assert pages.page_settings(load_profile("smoke"), "05_retrieval")["second_opinion"] is False


def test_without_the_package_asking_for_it_says_how_to_install_it(without):
    parameters.check_parameters("05_retrieval", {"profile": "smoke"})
    message = (
        r"^detectors: 'aisfx' needs a package that is not installed; `make aisfx` installs it \(or .*aisfx==0\.1\.2`\)$"
    )
    with pytest.raises(ModuleNotFoundError, match=message):
        parameters.check_parameters("05_retrieval", {"profile": "smoke", "detectors": list(ALL)})
    with pytest.raises(ModuleNotFoundError, match=message):
        Detectors(RetrievalConfig(detectors=ALL), MelConfig(), RATE, np.zeros(64, np.float32))


@pytest.mark.parametrize("chapter", ["01_corpus", "07_findings"])
def test_a_profile_that_lists_it_is_refused_before_any_chapter_runs(without, monkeypatch, tmp_path, chapter):
    (tmp_path / "mine.yml").write_text("base: base\nretrieval: {detectors: [mel, aisfx]}\n")
    (tmp_path / "base.yml").write_text((paths.PROFILES / "base.yml").read_text())
    monkeypatch.setattr(parameters, "load_profile", lambda name: load_profile(name, tmp_path))
    with pytest.raises(ModuleNotFoundError, match="make aisfx"):
        parameters.check_parameters(chapter, {"profile": "mine"})


def test_the_command_line_says_it_in_one_line(without, monkeypatch, capsys):
    from helpers import __main__

    arguments = ["helpers", "run", "alterations", "--profile", "tiny", "--set", "detectors=[mel, aisfx]"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert __main__.main() == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("error: detectors: 'aisfx' needs a package that is not installed")


def test_each_embedding_has_a_claim_of_its_own():
    below = {"mel_centred": 0.1, "mel_aligned": 0.05, "clap": 0.2, "aisfx": 0.3}
    table = pd.DataFrame(
        [(d, 100, "twins", "own", "all", v, v - 0.1, v + 0.1) for d, v in below.items()],
        columns=[
            "detector",
            "n_train",
            "negatives",
            "bias",
            "transform",
            "below_mel",
            "below_mel_low",
            "below_mel_high",
        ],
    )
    bare = pd.DataFrame(columns=["detector"])
    evidence = Evidence(bare, bare, table, bare, None, None, {})
    assert _mel_against("clap")(evidence).value == pytest.approx(0.2)
    assert _mel_against("aisfx")(evidence).value == pytest.approx(0.3)
    without = Evidence(bare, bare, table[table["detector"] != "aisfx"], bare, None, None, {})
    assert _mel_against("clap")(without) == _mel_against("clap")(evidence)
    assert _mel_against("aisfx")(without).value is None


def test_the_pinned_package_is_the_one_that_messages_name(repository):
    lines = [x for x in (repository / "requirements-optional.txt").read_text().splitlines() if x and x[0] != "#"]
    assert len(lines) == 1 and lines[0].startswith("aisfx==0.1.2 --hash=sha256:")
    assert "aisfx==0.1.2" in aisfx.INSTALL
