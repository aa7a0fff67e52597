"""The frozen codec: a small `AutoencoderKL` on log-mels.

TANGO's latent diffusion model works in the latents of AudioLDM's VAE. Ours is diffusers' AutoencoderKL too, but fed
patches of the log-mel as channels, because convolutions at full resolution are dear on a laptop. Latents are
[16, T / 8, M / 8], a quarter of the mel's numbers.
`tools/train_codec.py` trains it; `models/codec/README.md` is its card. AudioLDM's own, [8, T / 4, M / 4], is loaded here
too, where the profile names it.

Notebook: 02_codec.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from helpers.base.paths import resolve
from helpers.models.folder import read_config, read_weights
from helpers.models.pretrained.audioldm import load_vae
from helpers.models.pretrained.locate import is_audioldm

BATCH = 32  # clips encoded or decoded at a time
AUDIOLDM_BATCH = 4  # its convolutions work at the mel's full resolution
AUDIOLDM_BANDS = 64


@dataclass(frozen=True)
class Codec:
    """A frozen codec: `vae` between standardised patches and raw latents, and the numbers that scale both.

    `mel_mean` float32 [M] and `mel_std` standardise log-mels; `latent_mean` and `latent_std` float32 [C, 1, 1] give
    latents zero mean per channel, and unit variance over all channels together, on training mixtures. `batch` clips are passed at a time, on
    the device that `vae` and these tensors are on.
    """

    vae: AutoencoderKL
    patch: int
    mel_mean: torch.Tensor
    mel_std: float
    latent_mean: torch.Tensor
    latent_std: torch.Tensor
    batch: int = BATCH

    @property
    def channels(self) -> int:
        """Latent channels C."""
        return self.vae.config.latent_channels

    @property
    def stride(self) -> int:
        """Mel frames, and mel bands, per latent position."""
        return self.patch * 2 ** (len(self.vae.config.block_out_channels) - 1)

    def encode(self, mels) -> np.ndarray:
        """Latents float32 [N, C, T / stride, M / stride] of log-mels [N, T, M]: the posterior's mode.

        TANGO draws from the posterior, anew each time that it meets a clip. The mode draws nothing: a clip has one
        latent, computed once, and its round trip is the same whenever it is made. Errors as `posterior`.
        """
        return self._encode(mels, (), lambda latents: self.scale(latents.mode()))

    def posterior(self, mels) -> np.ndarray:
        """Mean and standard deviation of each latent, float32 [N, 2, C, T / stride, M / stride], of log-mels [N, T, M].

        Raises ValueError for another number
        of axes or bands, a T that is no multiple of the stride, NaN or infinity.
        """
        return self._encode(
            mels, (2,), lambda latents: torch.stack([self.scale(latents.mean), latents.std / self.latent_std], 1)
        )

    @torch.inference_mode()
    def _encode(self, mels, parts: tuple[int, ...], of) -> np.ndarray:
        mels = np.asarray(mels, np.float32)
        bands = len(self.mel_mean)
        if mels.ndim != 3 or mels.shape[2] != bands or mels.shape[1] % self.stride or not mels.shape[1]:
            raise ValueError(f"mels: expected [N, a multiple of {self.stride}, {bands}], got shape {mels.shape}")
        shape = (*parts, self.channels, mels.shape[1] // self.stride, bands // self.stride)
        return self._in_batches(mels, "mels", shape, lambda x: of(self.vae.encode(self.patches(x)).latent_dist))

    @torch.inference_mode()
    def decode(self, latents) -> np.ndarray:
        """Log-mels float32 [N, T, M] of latents [N, C, T / stride, M / stride]. Raises ValueError as `encode` does."""
        latents = np.asarray(latents, np.float32)
        bands = len(self.mel_mean)
        expected = (self.channels, bands // self.stride)
        if latents.ndim != 4 or (latents.shape[1], latents.shape[3]) != expected or not latents.shape[2]:
            raise ValueError(
                f"latents: expected [N, {expected[0]}, T / {self.stride}, {expected[1]}], got shape {latents.shape}"
            )
        shape = (latents.shape[2] * self.stride, bands)
        return self._in_batches(latents, "latents", shape, lambda z: self.mels(self.vae.decode(self.unscale(z)).sample))

    def _in_batches(self, values: np.ndarray, name: str, shape: tuple[int, ...], function) -> np.ndarray:
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
        result = np.empty((len(values), *shape), np.float32)
        for start in range(0, len(values), self.batch):
            part = torch.tensor(values[start : start + self.batch], device=self.vae.device)
            result[start : start + self.batch] = function(part).cpu().numpy()
        return result

    def patches(self, mels: torch.Tensor) -> torch.Tensor:
        """Standardised patches [N, patch², T / patch, M / patch] of log-mels [N, T, M]."""
        return pixel_unshuffle(((mels - self.mel_mean) / self.mel_std)[:, None], self.patch)

    def mels(self, patches: torch.Tensor) -> torch.Tensor:
        """The inverse of `patches`."""
        return pixel_shuffle(patches, self.patch)[:, 0] * self.mel_std + self.mel_mean

    def scale(self, raw: torch.Tensor) -> torch.Tensor:
        """Latents of near unit variance from the autoencoder's own."""
        return (raw - self.latent_mean) / self.latent_std

    def unscale(self, latents: torch.Tensor) -> torch.Tensor:
        """The inverse of `scale`."""
        return latents * self.latent_std + self.latent_mean


def build_codec(config: dict) -> Codec:
    """A codec with fresh weights from the content of config.json (`autoencoder`, `patch`, `mel_mean`, ...)."""
    vae = AutoencoderKL(**config["autoencoder"])
    column = {
        key: torch.tensor(config[key], dtype=torch.float32)[:, None, None] for key in ("latent_mean", "latent_std")
    }
    return Codec(
        vae, config["patch"], torch.tensor(config["mel_mean"], dtype=torch.float32), config["mel_std"], **column
    )


def load_codec(path: str | Path, sha256: str = "") -> Codec:
    """The codec in a folder (relative to the repository's root), for inference: one made here, or AudioLDM's.

    Raises FileNotFoundError or ValueError, with what was expected and where, for a missing or altered file. `sha256`
    is that of published weights; a codec made here has its own in config.json.
    """
    if is_audioldm(path):
        return _audioldm_codec(load_vae(str(path), sha256))
    folder = resolve(path)
    try:
        config = read_config(folder, "codec")
    except FileNotFoundError as error:
        fetch = f'hf download cvssp/audioldm --include "vae/*" --local-dir {folder}'
        raise FileNotFoundError(f"{error}; if AudioLDM's is meant, `{fetch}` puts it there") from None
    codec = build_codec(config)
    codec.vae.load_state_dict(read_weights(folder, config))
    codec.vae.requires_grad_(False).eval().to(memory_format=torch.channels_last)
    return codec


def _audioldm_codec(vae: AutoencoderKL) -> Codec:
    """AudioLDM's autoencoder as a Codec: whole log-mels that are not standardised, latents times its scaling factor."""
    zero = torch.zeros(vae.config.latent_channels, 1, 1, device=vae.device)
    return Codec(
        vae,
        patch=1,
        mel_mean=torch.zeros(AUDIOLDM_BANDS, device=vae.device),
        mel_std=1.0,
        latent_mean=zero,
        latent_std=zero + 1 / vae.config.scaling_factor,
        batch=AUDIOLDM_BATCH,
    )
