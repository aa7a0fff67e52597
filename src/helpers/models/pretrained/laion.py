"""LAION's published CLAP (Wu et al., 2023) through laion_clap's own classes: HTSAT audio tower, RoBERTa text tower.

A checkpoint such as `630k-audioset-best.pt` (`lukewys/laion_clap` on the hub) is the state of a training run without
feature fusion. Tiny, base and large towers differ in shapes only, so those are read off the weights.

Notebook: 05_retrieval.
"""

import json
import re
import types
import warnings
from pathlib import Path

import librosa
import numpy as np
import torch
from accelerate import PartialState

# laion_clap asks for three of these while `laion_module` has stand-ins in place, which transformers must not meet first
from transformers import BartModel, BertModel, RobertaConfig, RobertaModel, RobertaTokenizer  # noqa: F401

from helpers.models.laion_module import laion_module
from helpers.models.pretrained.checkpoint import NUMPY_NUMBERS, load_exactly, read_tensors
from helpers.models.pretrained.locate import find_clap, find_roberta
from helpers.sound.mel import as_float
from helpers.sound.silence import refuse_silence

BATCH = 8  # clips embedded at a time
SHORTEST_S, LONGEST_S = 0.5, 10.5  # the tower hears 10 s; AudioCaps' 10.24 s lose their end
TEXT_TOKENS = 77
HEAD_DIM = 64  # RoBERTa's; its number of heads is in no shape
OLD_BUFFER = "text_branch.embeddings.position_ids"  # a constant that transformers saved until 4.30


class LaionClap:
    """The published model behind the interface of `clap.Clap`: embeddings [N, E] of unit length."""

    def __init__(self, model: torch.nn.Module, sample_rate_hz: int, where: str):
        self.model, self.sample_rate_hz, self.where = model, sample_rate_hz, where
        if not 8_000 <= sample_rate_hz <= self.own_rate_hz:
            raise ValueError(f"sample_rate_hz: expected 8000 to {self.own_rate_hz} Hz, got {sample_rate_hz}")

    @property
    def own_rate_hz(self) -> int:
        """The rate that the audio tower hears at, 48 kHz."""
        return self.model.audio_cfg.sample_rate

    def waveforms(self, audio) -> torch.Tensor:
        """The tower's input, float32 [N, 480000] at 48 kHz, of audio [N, S] (int16, or float in [-1, 1]).

        A short clip is repeated as often as it fits whole, then padded, as laion_clap does. Of a longer one laion_clap
        takes a random part; here it is the beginning, so that nothing is drawn. Raises ValueError for another shape or
        kind of number, a length outside 0.5 to 10.5 s, NaN, infinity, or a silent clip (one constant value).
        """
        audio = np.asarray(audio)
        if audio.ndim != 2 or (audio.dtype != np.int16 and not np.issubdtype(audio.dtype, np.floating)):
            raise ValueError(f"audio: expected int16 or floating point [N, S], got {audio.dtype} {audio.shape}")
        low, high = round(SHORTEST_S * self.sample_rate_hz), round(LONGEST_S * self.sample_rate_hz)
        if not low <= audio.shape[1] <= high:
            raise ValueError(f"audio: expected {low} to {high} samples a clip, got {audio.shape[1]}")
        if audio.dtype != np.int16 and not np.isfinite(audio).all():
            raise ValueError("audio: expected finite samples, got NaN or infinity")
        refuse_silence(audio)
        clips = librosa.resample(as_float(audio), orig_sr=self.sample_rate_hz, target_sr=self.own_rate_hz, axis=-1)
        length = self.model.audio_cfg.clip_samples
        clips = np.tile(clips, (1, max(1, length // clips.shape[1])))[:, :length]
        clips = np.pad(clips, ((0, 0), (0, length - clips.shape[1])))
        # laion_clap's own rounding to 16 bits, which its models were trained and are used with
        clips = np.trunc(np.clip(clips, -1, 1) * 32_767) / 32_767
        return torch.from_numpy(clips.astype(np.float32))

    @torch.inference_mode()
    def embed_audio(self, audio) -> np.ndarray:
        """Embeddings float32 [N, E] of audio [N, S]. Raises ValueError for what `waveforms` refuses."""
        rows = [np.zeros((0, self.model.joint_embed_shape), np.float32)]
        for start in range(0, len(audio), BATCH):
            clips = [{"waveform": wave} for wave in self.waveforms(audio[start : start + BATCH])]
            rows.append(self.model.get_audio_embedding(clips).cpu().numpy())
        return np.concatenate(rows)

    @torch.inference_mode()
    def embed_text(self, captions: list[str]) -> np.ndarray:
        """Embeddings float32 [N, E] of captions, cut to 77 tokens.

        Raises TypeError for a caption that is not text, FileNotFoundError where RoBERTa's tokenizer is not there (it is
        not part of the checkpoint), RuntimeError where that is empty or not this model's.
        """
        for index, caption in enumerate(captions):
            if not isinstance(caption, str):
                raise TypeError(f"captions[{index}]: expected text, got {caption!r} ({type(caption).__name__})")
        tokenizer = self._tokenizer()
        rows = [np.zeros((0, self.model.joint_embed_shape), np.float32)]
        for start in range(0, len(captions), BATCH):
            tokens = tokenizer(
                captions[start : start + BATCH],
                padding=True, truncation=True, max_length=TEXT_TOKENS, return_tensors="pt",
            )  # fmt: skip
            rows.append(self.model.get_text_embedding(dict(tokens)).cpu().numpy())
        return np.concatenate(rows)

    def _tokenizer(self) -> RobertaTokenizer:
        folder = find_roberta(self.where)["vocabulary"].parent
        tokenizer = RobertaTokenizer.from_pretrained(folder, local_files_only=True)
        rows = len(self.model.text_branch.embeddings.word_embeddings.weight)
        if len(tokenizer) != rows:
            raise RuntimeError(
                f"tokenizer: expected {rows} entries for this model, got {len(tokenizer)}; fetch it again"
            )
        return tokenizer


def load_laion(where: str, sample_rate_hz: int, sha256: str = "") -> LaionClap:
    """The CLAP in LAION's checkpoint, on this process's device; `where` is the .pt, or `hub:lukewys/laion_clap/<file>`.

    RoBERTa's tokenizer, which only text needs, lies elsewhere (`locate.find_roberta`). Raises FileNotFoundError
    or ValueError as `locate` and `checkpoint` do.
    """
    path = find_clap(where)
    state = read_tensors(path, sha256, NUMPY_NUMBERS)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}  # it was trained on several GPUs
    model = _build(state, path)
    if OLD_BUFFER not in model.state_dict():
        state.pop(OLD_BUFFER, None)
    model = load_exactly(model, state, path).to(PartialState().device)
    return LaionClap(model, sample_rate_hz, where)


def _build(state: dict[str, torch.Tensor], path: Path) -> torch.nn.Module:
    """CLAP with towers of the shapes that `state` has. Raises ValueError for one with feature fusion, or no CLAP."""
    if any("fusion_model" in name or "mel_conv2d" in name for name in state):
        raise ValueError(f"{path}: expected a CLAP without feature fusion, got one with it")
    try:
        towers = tower_sizes(state)
    except KeyError as error:
        raise ValueError(f"{path}: expected LAION's CLAP, but it lacks {error.args[0]}") from None
    return build_clap(**towers)


def build_clap(htsat: dict, roberta: dict, clap: dict) -> torch.nn.Module:
    """laion_clap's CLAP with fresh weights; the arguments are the sizes of its audio tower, text tower and projections."""
    module = laion_module("model")  # this process's own copy, so that it may be given other constructors
    # tiny's file: the input's settings are the same for all sizes, and the size itself is replaced here
    settings = json.loads((Path(module.__file__).parent / "model_configs" / "HTSAT-tiny.json").read_text())
    module.create_htsat_model = lambda config, *_: laion_module("htsat").HTSAT_Swin_Transformer(
        spec_size=256, patch_size=4, patch_stride=(4, 4), num_classes=config.class_num, window_size=8, config=config, **htsat
    )  # fmt: skip
    # the original fetches roberta-base, whose weights the checkpoint replaces
    module.RobertaModel = types.SimpleNamespace(from_pretrained=lambda _: RobertaModel(RobertaConfig(**roberta)))
    text = settings["text_cfg"] | {"model_type": "roberta"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")  # HTSAT calls it in its old form
        return module.CLAP(**clap, audio_cfg=settings["audio_cfg"], text_cfg=text)


def tower_sizes(state: dict[str, torch.Tensor]) -> dict[str, dict]:
    """The sizes of CLAP's parts, read off the shapes of its weights. Raises KeyError naming a weight that is missing."""
    blocks = [re.match(r"audio_branch\.layers\.(\d+)\.blocks\.(\d+)\.", name) for name in state]
    blocks = {(int(b[1]), int(b[2])) for b in blocks if b}
    levels = range(1 + max((level for level, _ in blocks), default=0))
    heads = [state[f"audio_branch.layers.{i}.blocks.0.attn.relative_position_bias_table"].shape[1] for i in levels]
    layers = [re.match(r"text_branch\.encoder\.layer\.(\d+)\.", name) for name in state]
    vocabulary, width = state["text_branch.embeddings.word_embeddings.weight"].shape
    return {
        "htsat": {
            "embed_dim": len(state["audio_branch.patch_embed.proj.weight"]),
            "depths": [sum(level == i for level, _ in blocks) for i in levels],
            "num_heads": heads,
        },
        "roberta": {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": 1 + max((int(found[1]) for found in layers if found), default=-1),
            "num_attention_heads": width // HEAD_DIM,
            "intermediate_size": len(state["text_branch.encoder.layer.0.intermediate.dense.weight"]),
            "max_position_embeddings": len(state["text_branch.embeddings.position_embeddings.weight"]),
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,  # roberta-base's
        },
        "clap": {
            "embed_dim": state["audio_projection.0.weight"].shape[1],
            "joint_embed_shape": len(state["text_projection.2.weight"]),
        },
    }
