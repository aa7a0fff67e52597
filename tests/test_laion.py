"""LAION's CLAP from a fabricated file: every tensor, its input, and what has no embedding."""

import re
import shutil
import sys
import types
import warnings

import numpy as np
import pytest
import torch
import transformers
from published_inputs import CAPTIONS, RATE, noise

from helpers.base.settings import MelConfig, RetrievalConfig
from helpers.copies.detectors import Detectors
from helpers.models.laion_module import laion_module
from helpers.models.pretrained.checkpoint import NUMPY_NUMBERS
from helpers.models.pretrained.laion import build_clap, load_laion, tower_sizes
from helpers.study import input_files


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
        Detectors(RetrievalConfig(), MelConfig(), 48_000, np.zeros(64, np.float32))


def test_a_missing_tokenizer_is_told_before_any_work_and_decides_results(fabricated, tmp_path):
    """A search would need it at its very end, for the captions."""
    shutil.copy(fabricated / "clap" / "630k-audioset-best.pt", tmp_path)
    config = RetrievalConfig(clap_path=str(tmp_path / "630k-audioset-best.pt"))
    with pytest.raises(
        FileNotFoundError, match="found none; `hf download FacebookAI/roberta-base vocab.json merges.txt --local-dir "
    ):
        input_files.clap_files(config, captions=True)
    with input_files.telling_missing() as lacking:
        assert [path.name for path in input_files.clap_files(config, captions=True)] == [
            "630k-audioset-best.pt"
        ] and len(lacking) == 1
    shutil.copytree(fabricated / "clap" / "roberta-base", tmp_path / "roberta-base")
    assert [path.name for path in input_files.clap_files(config)] == ["630k-audioset-best.pt"], "all that sounds need"
    names = [path.name for path in input_files.clap_files(config, captions=True)]
    assert names == ["630k-audioset-best.pt", "vocab.json", "merges.txt"]


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


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_laion_claps_own_sizes_are_read_off_the_weights(clap, size):
    """Against the tower that laion_clap itself builds under that name."""
    settings = types.SimpleNamespace(**vars(clap.model.audio_cfg) | {"model_name": size})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        tower = laion_module("htsat").create_htsat_model(settings)
    state = {name: t for name, t in clap.model.state_dict().items() if not name.startswith("audio_branch.")}
    state |= {f"audio_branch.{name}": tensor for name, tensor in tower.state_dict().items()}
    state["audio_projection.0.weight"] = torch.zeros(32, tower.num_features)
    towers = tower_sizes(state)
    assert towers["clap"] == {"embed_dim": {"tiny": 768, "base": 1024}[size], "joint_embed_shape": 32}
    own = build_clap(**towers).state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {name: t.shape for name, t in own.items()}


def test_a_clap_with_fusion_or_without_a_tower_is_refused(tmp_path):
    torch.save({"module.audio_branch.patch_embed.mel_conv2d.weight": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="expected a CLAP without feature fusion"):
        load_laion(str(tmp_path / "x.pt"), RATE)
    torch.save({"module.logit_scale_a": torch.zeros(())}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="expected LAION's CLAP, but it lacks audio_branch.layers.0.blocks.0"):
        load_laion(str(tmp_path / "x.pt"), RATE)


def test_the_names_are_those_that_laion_claps_own_loader_asks_for(fabricated, clap, monkeypatch):
    """LAION's file itself was never seen. Its loader takes no name more or less than those of the model it builds.

    Of `CLAP_Module.load_ckpt`, all but the download: `factory.create_model` at full size, here without storage where it has
    none of its own, and `factory.load_state_dict` before the model's own, which is strict.
    """
    images = types.SimpleNamespace(image_transform=None)  # of torchvision, which is not needed and may be missing
    monkeypatch.setitem(sys.modules, "helpers_laion_clap.transform", images)
    factory, model = laion_module("factory"), laion_module("model")

    def roberta(name):
        with torch.device("meta"):
            return transformers.RobertaModel(transformers.RobertaConfig(max_position_embeddings=514, type_vocab_size=1))

    monkeypatch.setattr(model, "create_htsat_model", laion_module("htsat").create_htsat_model)
    monkeypatch.setattr(model, "RobertaModel", types.SimpleNamespace(from_pretrained=roberta))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        theirs, _ = factory.create_model("HTSAT-tiny", "roberta", device=torch.device("meta"))
    state = {name: torch.empty(tensor.shape, device="meta") for name, tensor in theirs.state_dict().items()}
    sizes = tower_sizes(state)
    assert sizes["htsat"] == {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [4, 8, 16, 32]}
    assert (sizes["roberta"]["num_hidden_layers"], sizes["roberta"]["vocab_size"]) == (12, 50_265)
    ours = build_clap(**sizes | {"roberta": sizes["roberta"] | {"num_hidden_layers": 1}}).state_dict()
    deeper = {name for name in state if re.search(r"\.layer\.([1-9]|1[01])\.", name)}
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in state.items() if n not in deeper}
    file = fabricated / "clap" / "630k-audioset-best.pt"
    with torch.serialization.safe_globals(list(NUMPY_NUMBERS)):
        read = factory.load_state_dict(str(file))
    assert read.keys() == clap.model.state_dict().keys() | {"text_branch.embeddings.position_ids"}
