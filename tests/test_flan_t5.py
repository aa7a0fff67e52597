"""FLAN-T5's encoder from fabricated files, against transformers, and the tokenizers that must not pass."""

import json
import shutil

import numpy as np
import pytest
import torch
from published_inputs import CAPTIONS, text_config
from safetensors.torch import load_file, save_file

from helpers.models.pretrained.flan_t5 import load_flan_t5
from helpers.models.text import encode_captions


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
