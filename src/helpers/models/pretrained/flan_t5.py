"""FLAN-T5's encoder (Chung et al., 2022), which TANGO conditions on: `google/flan-t5-large`, frozen.

Its weights come from that repository, whose decoder is left out, or from TANGO's checkpoint, which holds a copy of the
encoder. Chapter: `notebooks/03_training.ipynb`.
"""

import functools
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from helpers.base.settings import TextConfig
from helpers.models.pretrained.checkpoint import load_exactly, read_tensors
from helpers.models.pretrained.locate import find_flan_t5
from helpers.models.pretrained.tango import read_main

NOT_THE_ENCODER = ("decoder.", "lm_head.")
# One matrix under two names: files hold either, or both.
EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")
PADDED_TO = 128  # T5 rounds its embedding's rows up to a multiple of this: 32,128 for 32,100 tokens


@functools.lru_cache(maxsize=1)
def load_flan_t5(config: TextConfig):
    """The tokenizer and the encoder (evaluation mode, no gradients), loaded once per process.

    Raises FileNotFoundError or ValueError as `locate` does, RuntimeError for an empty tokenizer or another model's.
    """
    files = find_flan_t5(config)
    settings = T5Config.from_json_file(files["config"])
    tokenizer = AutoTokenizer.from_pretrained(files["tokenizer"].parent, local_files_only=True)
    check_tokenizer(tokenizer, settings)
    source = files["weights"]
    if config.encoder_weights_path:
        state = read_main(source, "text_encoder.", config.encoder_sha256)
    else:
        state = read_tensors(source, config.encoder_sha256)
        state = {name: tensor for name, tensor in state.items() if not name.startswith(NOT_THE_ENCODER)}
    model = load_exactly(T5EncoderModel(settings), _one_embedding(state, source), source)
    return tokenizer, model.to(PartialState().device)


def check_tokenizer(tokenizer, settings: T5Config) -> None:
    """Raises RuntimeError unless the tokenizer's entries fill the model's embedding and it tells words apart.

    A tokenizer that did not find its file comes up empty without an error, and then all captions encode alike.
    """
    rows, entries = settings.vocab_size, len(tokenizer)
    if not rows - PADDED_TO < entries <= rows:
        raise RuntimeError(
            f"tokenizer: expected {rows - PADDED_TO + 1} to {rows} entries for this model, got {entries}; fetch it again"
        )
    ends = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    expected = (settings.pad_token_id, settings.eos_token_id)
    if ends != expected:
        raise RuntimeError(f"tokenizer: expected the padding and end tokens {expected}, got {ends}")
    if tokenizer("a dog barks").input_ids == tokenizer("a cat sings").input_ids:
        raise RuntimeError("tokenizer: expected different tokens for different captions, got the same; fetch it again")


def _one_embedding(state: dict[str, torch.Tensor], source: Path) -> dict[str, torch.Tensor]:
    """`state` with the embedding under both of its names. Raises ValueError where the file's two differ."""
    found = [state[name] for name in EMBEDDINGS if name in state]
    if not found:
        return state  # the check of the names says what is missing
    if not torch.equal(found[0], found[-1]):
        raise ValueError(f"{source}: expected {' and '.join(EMBEDDINGS)} to be the same, got two different ones")
    return state | dict.fromkeys(EMBEDDINGS, found[0])
