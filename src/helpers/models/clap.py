"""A small CLAP: laion_clap's HTSAT audio tower against frozen MiniLM sentences, trained on this project's mixtures.

Source: Wu et al. (2023), "Large-scale contrastive language-audio pretraining", with Chen et al.'s (2022) HTSAT reduced
to 1.5 million parameters at 16 kHz. `tools/train_clap.py` trains it; `models/clap/README.md` is its card.

Notebook: 05_retrieval.
"""

import math
import types
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.base.paths import resolve
from helpers.base.settings import MelConfig
from helpers.models.folder import read_config, read_weights
from helpers.models.laion_module import laion_module
from helpers.models.pretrained.locate import is_laion
from helpers.models.text import TEXT_DIM, sentence_embeddings
from helpers.sound.mel import as_clips, mel_bands
from helpers.sound.silence import refuse_silence

BATCH = 32  # clips embedded at a time
FLOOR_POWER = 1e-10  # HTSAT's own `amin`


class Clap(nn.Module):
    """Audio tower, both projections and the temperature; `config` is the content of config.json.

    Embeddings are [N, E] of unit length, E = `embedding`. MiniLM itself is frozen and not part of the weights.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.samples, self.sample_rate_hz = config["samples"], config["sample_rate_hz"]
        self.mel = MelConfig.from_digest_fields(config["mel"])
        htsat, size = config["htsat"], config["embedding"]
        # a centred STFT has one frame more than S // hop, and HTSAT folds exactly this many frames into its square
        self.frames = htsat["spec_size"] ** 2 // self.mel.n_mels
        settings = types.SimpleNamespace(
            window_size=self.mel.n_fft,
            hop_size=self.mel.hop_length,
            sample_rate=self.sample_rate_hz,
            mel_bins=self.mel.n_mels,
            fmin=self.mel.fmin_hz,
            fmax=self.mel.fmax_hz,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.meshgrid")  # HTSAT calls it in its old form
            tower = laion_module("htsat").HTSAT_Swin_Transformer(config=settings, num_classes=1, **htsat)
        # `features` computes the same values with an FFT, several times faster than these convolutions
        tower.spectrogram_extractor = tower.logmel_extractor = None
        self.tower = tower
        self.audio_projection = projection(tower.num_features, size)
        self.text_projection = projection(TEXT_DIM, size)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # CLIP's first temperature

    @torch.no_grad()
    def features(self, audio) -> torch.Tensor:
        """HTSAT's input, float32 [N, frames, M] in dB: power mel bands of audio [N, S], its end cropped to fit.

        Raises ValueError for another length than `samples`, NaN, infinity, or a silent clip (one constant value).
        """
        clips = as_clips(audio, self.mel)
        if clips.shape[1] != self.samples:
            raise ValueError(f"audio: expected {self.samples} samples a clip, got {clips.shape[1]}")
        refuse_silence(clips)
        clips = clips[:, : (self.frames - 1) * self.mel.hop_length]
        bands = torch.from_numpy(mel_bands(clips, self.mel, self.sample_rate_hz, self.frames, power=2))
        return bands.clamp_(min=FLOOR_POWER).log10_().mul_(10)

    def audio(self, features: torch.Tensor) -> torch.Tensor:
        """Embeddings [N, E] of `features`: HTSAT's forward pass from its batch normalisation on."""
        tower = self.tower
        x = tower.bn0(features[:, None].transpose(1, 3)).transpose(1, 3)
        if self.training:
            x = tower.spec_augmenter(x)
        x = tower.forward_features(tower.reshape_wav2img(x))["embedding"]
        return nn.functional.normalize(self.audio_projection(x), dim=-1)

    def text(self, sentences: torch.Tensor) -> torch.Tensor:
        """Embeddings [N, E] of MiniLM's sentence vectors [N, 384]."""
        return nn.functional.normalize(self.text_projection(sentences), dim=-1)

    @torch.inference_mode()
    def embed_audio(self, audio) -> np.ndarray:
        """Embeddings float32 [N, E] of unit length of audio [N, S] (int16, or float in [-1, 1]).

        Raises ValueError for what `features` refuses: a clip without sound has no embedding.
        """
        audio = np.asarray(audio)
        if audio.ndim != 2:
            raise ValueError(f"audio: expected [N, {self.samples}], got shape {audio.shape}")
        parts = (self.audio(self.features(audio[i : i + BATCH])) for i in range(0, len(audio), BATCH))
        return self._rows(parts)

    @torch.inference_mode()
    def embed_text(self, captions: list[str]) -> np.ndarray:
        """Embeddings float32 [N, E] of unit length of captions. Raises TypeError for one that is not text."""
        return self._rows([self.text(torch.from_numpy(sentence_embeddings(captions)))])

    def _rows(self, parts) -> np.ndarray:
        empty = torch.empty(0, self.audio_projection[-1].out_features)
        return torch.cat([empty, *parts]).numpy()


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """laion_clap's projection: two linear layers with a ReLU between."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))


def load_clap(path: str | Path, sample_rate_hz: int = 16_000, sha256: str = ""):
    """The CLAP in a folder (relative to the repository's root), or LAION's where the path names a .pt, for inference.

    `sample_rate_hz` is that of the audio to come. Raises FileNotFoundError or ValueError, with what was expected and
    where, for a missing or altered file or another rate than the model's. `sha256` is that of LAION's file; a CLAP made
    here has its own in config.json.
    """
    if is_laion(path):
        from helpers.models.pretrained.laion import load_laion  # with all of transformers

        return load_laion(str(path), sample_rate_hz, sha256)
    folder = resolve(path)
    config = read_config(folder, "clap")
    if config["sample_rate_hz"] != sample_rate_hz:
        raise ValueError(f"{folder}: expected audio of {config['sample_rate_hz']} Hz, got {sample_rate_hz}")
    model = Clap(config)
    model.load_state_dict(read_weights(folder, config))
    return model.requires_grad_(False).eval()
