"""MiniLM's token states and sentences, and the tokenizer that must not be empty."""

import numpy as np
import pytest
import torch

from helpers.base.settings import TextConfig
from helpers.models import text

CONFIG = TextConfig(max_tokens=12)


def test_states_have_the_stated_shapes_and_padding():
    states, mask = text.encode_captions(["a dog", ""], CONFIG)
    assert states.shape == (2, 12, 384) and states.dtype == np.float16
    assert mask.shape == (2, 12) and mask.dtype == bool
    assert mask.sum(1).tolist() == [4, 2]  # [CLS] a dog [SEP]; the null prompt: [CLS] [SEP]


def test_states_do_not_depend_on_the_batch_or_on_padding():
    captions = [f"a dog barks {word}" for word in ("twice", "loudly", "in the rain")]
    together, mask = text.encode_captions(captions, CONFIG)
    alone, _ = text.encode_captions(captions[1:2], CONFIG)
    longer, _ = text.encode_captions(captions[1:2], TextConfig(max_tokens=32))
    np.testing.assert_allclose(together[1][mask[1]], alone[0][mask[1]], atol=2e-3)
    np.testing.assert_allclose(longer[0, :12][mask[1]], alone[0][mask[1]], atol=2e-3)
    repeated, _ = text.encode_captions(captions * 30, CONFIG)  # 90 captions: more than one batch
    np.testing.assert_allclose(repeated[87:], together, atol=2e-3)


def test_a_long_caption_is_cut_and_reported(caplog):
    with caplog.at_level("WARNING", logger="helpers.models.text"):
        _, mask = text.encode_captions(["rain " * 50, "rain"], CONFIG)
    assert mask[0].all() and mask[1].sum() == 3
    assert "1 of 2 captions" in caplog.text


def test_sentence_embeddings_follow_meaning_and_match_a_plain_mean():
    captions = ["a dog barks", "a hound is barking", "heavy rain on a roof"]
    vectors = text.sentence_embeddings(captions)
    assert vectors.shape == (3, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.7 and vectors[0] @ vectors[2] < 0.4
    tokenizer, model = text.load_text_encoder()
    with torch.inference_mode():
        mean = model(**tokenizer(captions[2], return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(vectors[2], mean / np.linalg.norm(mean), atol=1e-4)


def test_no_captions_give_empty_arrays():
    states, mask = text.encode_captions([], CONFIG)
    assert states.shape == (0, 12, 384) and mask.shape == (0, 12)
    assert text.sentence_embeddings([]).shape == (0, 384)


@pytest.mark.parametrize("bad", [float("nan"), None, 3])
def test_a_caption_that_is_not_text_is_named(bad):
    with pytest.raises(TypeError, match=r"captions\[1\]: expected text, got"):
        text.encode_captions(["rain", bad], CONFIG)
    with pytest.raises(TypeError, match=r"captions\[1\]"):
        text.sentence_embeddings(["rain", bad])


def test_a_single_text_is_not_taken_for_a_list():
    with pytest.raises(TypeError, match="expected a list of texts"):
        text.encode_captions("rain", CONFIG)


def test_an_empty_tokenizer_is_refused():
    with pytest.raises(RuntimeError, match="expected 30522 entries, got 5"):
        text.check_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer, model = text.load_text_encoder()
    assert len(tokenizer) == 30_522
    assert text.load_text_encoder()[1] is model  # loaded once
