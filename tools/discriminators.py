"""Discriminators for the vocoder's adversarial training: complex spectrograms at several resolutions.

Source: the multi-resolution complex STFT discriminator of Kumar et al. (2023), "High-fidelity audio compression with
improved RVQGAN", narrow enough for a CPU. It sees phases, which the spectral losses do not.
"""

import torch
from spectral import RESOLUTIONS, stft
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

COMPRESSION = 0.3  # power law of magnitudes: quiet detail must be visible beside loud events


class SpectrogramDiscriminator(nn.Module):
    """Judges time-frequency regions of waveforms [N, S] by their complex STFT with windows of `n_fft` samples."""

    def __init__(self, n_fft: int, channels: int):
        super().__init__()
        self.n_fft = n_fft
        shapes = [((9, 3), (2, 1))] * 3 + [((3, 3), (1, 1))]
        inputs = [2] + [channels] * (len(shapes) - 1)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(n, channels, kernel, stride, padding=[k // 2 for k in kernel]))
            for n, (kernel, stride) in zip(inputs, shapes)
        )
        self.verdict = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, waveforms: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Verdicts [N, 1, F, T], high for recordings, and the features of every layer."""
        with torch.autocast(waveforms.device.type, enabled=False):
            spectrum = stft(waveforms, self.n_fft)
            compressed = torch.view_as_real(spectrum * spectrum.abs().clamp(min=1e-4) ** (COMPRESSION - 1))
        x, features = compressed.permute(0, 3, 1, 2), []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.verdict(x), features


class Discriminators(nn.Module):
    """One discriminator a resolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.parts = nn.ModuleList(SpectrogramDiscriminator(n_fft, channels) for n_fft in RESOLUTIONS)

    def own_loss(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """Hinge loss that a discriminator lowers: recordings above 1, made waveforms below -1."""
        total = 0.0
        for part in self.parts:
            total = total + (1 - part(real)[0].float()).relu().mean() + (1 + part(made)[0].float()).relu().mean()
        return total / len(self.parts)

    def vocoder_losses(self, real: torch.Tensor, made: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the vocoder lowers: the adversarial loss, and the relative distance of the layers' features."""
        adversarial, matching = 0.0, 0.0
        for part in self.parts:
            with torch.no_grad():
                _, wanted = part(real)
            verdict, features = part(made)
            adversarial = adversarial - verdict.float().mean()
            for a, b in zip(features, wanted):
                matching = matching + (a.float() - b.float()).abs().mean() / b.float().abs().mean() / len(features)
        return adversarial / len(self.parts), matching / len(self.parts)
