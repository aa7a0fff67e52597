"""Multi-resolution STFT distance between waveforms: a loss to train the vocoder on and a figure to judge it by.

Source: Yamamoto, Song and Kim (2020), "Parallel WaveGAN": spectral convergence plus the mean absolute difference of
log magnitudes, averaged over resolutions.
"""

import torch

RESOLUTIONS = (512, 1024, 2048)  # window lengths in samples; hops of a quarter
FLOOR = 1e-4  # magnitudes below count as silence: 16-bit audio has no finer detail


def stft(waveforms: torch.Tensor, n_fft: int) -> torch.Tensor:
    """Complex STFT [N, bins, frames] of waveforms [N, S], Hann window, hop of a quarter."""
    window = torch.hann_window(n_fft, device=waveforms.device)
    return torch.stft(waveforms, n_fft, n_fft // 4, window=window, pad_mode="reflect", return_complex=True)


def stft_distance(waveforms: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """The distance of each waveform [N, S] from its reference [N, S], float32 [N]; 0 for equal ones."""
    parts = []
    for n_fft in RESOLUTIONS:
        a, b = (stft(x, n_fft).abs().clamp(min=FLOOR) for x in (waveforms, references))
        convergence = torch.linalg.vector_norm(b - a, dim=(1, 2)) / torch.linalg.vector_norm(b, dim=(1, 2))
        parts.append(convergence + (a.log() - b.log()).abs().mean(dim=(1, 2)))
    return torch.stack(parts).mean(dim=0)
