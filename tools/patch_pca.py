"""The linear codec: principal components of patches of the log-mel. Every other codec is measured against it."""

import numpy as np

PATCH = 8  # mel frames, and mel bands, of a patch


class PatchPCA:
    """The first `channels` principal components of 8 x 8 patches of the centred mel, fitted on `mels` [N, T, M]."""

    def __init__(self, mels: np.ndarray, band_mean: np.ndarray, channels: int):
        self.band_mean = band_mean
        patches = self._patches(mels).reshape(-1, PATCH**2)
        self.mean = patches.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
        largest = np.argsort(values)[::-1][:channels]
        self.basis, self.deviations = vectors[:, largest], np.sqrt(values[largest])

    def _patches(self, mels: np.ndarray) -> np.ndarray:
        n, frames, bands = mels.shape
        split = (mels - self.band_mean).reshape(n, frames // PATCH, PATCH, bands // PATCH, PATCH)
        return split.swapaxes(2, 3).reshape(n, frames // PATCH, bands // PATCH, PATCH**2)

    def round_trip(self, mels: np.ndarray) -> np.ndarray:
        """Log-mels [N, T, M] after encoding and decoding."""
        patches = self._patches(mels) - self.mean
        back = patches @ self.basis @ self.basis.T + self.mean
        back = back.reshape(*back.shape[:3], PATCH, PATCH).swapaxes(2, 3)
        return back.reshape(mels.shape) + self.band_mean
