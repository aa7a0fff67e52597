"""The project's own vocoder: a small Vocos, which predicts a spectrum for every frame and inverts it at once.

Source: Siuzdak (2024), "Vocos: closing the gap between time-domain and Fourier-based neural vocoders": ConvNeXt blocks
at the frame rate, a head of magnitudes and phases, one inverse STFT. Two things are added. Magnitudes start from the
mel's own smooth inverse, so that the network learns the difference only; and the result is brought back to its mel
by a few steps (`Vocos.refine`), so that it errs where a mel says nothing, in phase and fine structure, and not in level.
`tools/train_vocoder.py` trains it; `models/vocoder/README.md` is its card.

Notebook: 02_codec.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.base.paths import resolve
from helpers.base.settings import MelConfig
from helpers.models.folder import read_config, read_weights
from helpers.sound.mel import FLOOR, mel_filter

LARGEST = 1e3  # STFT magnitude of full-scale sound with a window of 1,024 samples is at most 512
GAIN_LIMIT = 10.0  # of one refinement, up or down: a band that is silent by mistake must not explode
MOMENTUM = 0.99  # of further refinements, as the fast Griffin-Lim of Perraudin, Balazs and Søndergaard (2013)
BATCH = 8  # clips at a time


class ConvNeXtBlock(nn.Module):
    """Vocos' block (Liu et al., 2022, in one dimension): depthwise convolution, then two linear layers, on [N, T, C]."""

    def __init__(self, channels: int, hidden: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand, self.contract = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        return x + self.scale * self.contract(nn.functional.gelu(self.expand(y)))


class Vocos(nn.Module):
    """Log-mels to waveforms; `config` is the content of config.json (channels, hidden, blocks, refinements, mel, ...)."""

    def __init__(self, config: dict):
        super().__init__()
        self.mel, self.sample_rate_hz = MelConfig.from_digest_fields(config["mel"]), config["sample_rate_hz"]
        self.refinements = config["refinements"]
        bank = torch.tensor(mel_filter(self.mel, self.sample_rate_hz))
        cover = bank.sum(dim=0)
        numbers = {
            "bank": bank,
            # how much of a bin's gain each band decides; a bin in no band (0 Hz, 8 kHz) is left out of the sound
            "shares": bank / cover.clamp(min=1e-12),
            "heard": (cover > 0).float(),
            "window": torch.hann_window(self.mel.n_fft),
            "mel_mean": torch.tensor(config["mel_mean"], dtype=torch.float32),
        }
        for name, value in numbers.items():
            self.register_buffer(name, value, persistent=False)  # they follow from config.json
        self.mel_std = config["mel_std"]
        channels, blocks = config["channels"], config["blocks"]
        self.embed = nn.Conv1d(self.mel.n_mels, channels, 7, padding=3)
        self.first_norm = nn.LayerNorm(channels, eps=1e-6)
        self.blocks = nn.ModuleList(ConvNeXtBlock(channels, config["hidden"], 1 / blocks) for _ in range(blocks))
        self.last_norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, 2 * (self.mel.n_fft // 2 + 1))

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """Waveforms float32 [N, T * hop_length] of log-mels [N, T, M]."""
        mels = torch.cat([mels, mels[:, -1:]], dim=1)  # the frame that `log_mel` drops
        x = self.embed(((mels - self.mel_mean) / self.mel_std).transpose(1, 2)).transpose(1, 2)
        x = self.first_norm(x)
        for block in self.blocks:
            x = block(x)
        detail, phase = self.head(self.last_norm(x)).float().chunk(2, dim=-1)
        with torch.autocast(mels.device.type, enabled=False):  # in training: spectra need all of float32
            target = mels.exp()
            smooth = (target / self.bank.sum(dim=1)) @ self.shares
            magnitude = (smooth.clamp(min=1e-8).log() + detail).exp().clamp(max=LARGEST) * self.heard
            return self.refine(self.invert(torch.polar(magnitude, phase)), target)

    def refine(self, waveform: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The waveform brought nearer to the mel magnitudes `target` [N, T + 1, M] in `refinements` steps.

        Each scales the STFT bin by bin towards the mel, phases untouched, and makes it consistent by way of the waveform.
        """
        last = None
        for _ in range(self.refinements):
            consistent = self.transform(waveform)
            spectrum = consistent if last is None else consistent + MOMENTUM * (consistent - last)
            last = consistent
            bands = (spectrum.abs() @ self.bank.T).clamp(min=0.1 * FLOOR)
            gain = (target / bands).clamp(1 / GAIN_LIMIT, GAIN_LIMIT) @ self.shares
            waveform = self.invert(spectrum * gain)
        return waveform

    def transform(self, waveform: torch.Tensor) -> torch.Tensor:
        """Complex STFT [N, T + 1, bins] of [N, T * hop_length], framed as `log_mel` frames it."""
        settings = {"hop_length": self.mel.hop_length, "window": self.window, "return_complex": True}
        return torch.stft(waveform, self.mel.n_fft, pad_mode="reflect", **settings).transpose(1, 2)

    def invert(self, spectrum: torch.Tensor) -> torch.Tensor:
        """The inverse of `transform` (least squares, where the spectrum is not consistent)."""
        return torch.istft(spectrum.transpose(1, 2), self.mel.n_fft, self.mel.hop_length, window=self.window)


def load_vocos(path: str | Path) -> Vocos:
    """The vocoder in a folder (relative to the repository's root), for inference.

    Raises FileNotFoundError or ValueError, with what was expected and where, for a missing or altered file.
    """
    folder = resolve(path)
    config = read_config(folder, "vocoder")
    model = Vocos(config)
    model.load_state_dict(read_weights(folder, config))
    return model.requires_grad_(False).eval()


@torch.inference_mode()
def synthesise(model: Vocos, mels: np.ndarray) -> np.ndarray:
    """Waveforms float32 [N, T * hop_length] of log-mels [N, T, M], without offset; a few clips at a time."""
    parts = [model(torch.from_numpy(mels[i : i + BATCH])) for i in range(0, len(mels), BATCH)]
    parts = [(part - part.mean(dim=1, keepdim=True)).numpy() for part in parts]
    return np.concatenate([np.empty((0, mels.shape[1] * model.mel.hop_length), np.float32), *parts])
