"""Trains the codec on fresh mixtures of training recordings, from the linear codec on; writes models/codec.

Run by maintainers, rarely: `python tools/train_codec.py`. It continues from runs/train_codec/state.pt if interrupted. The
figures and the card are made by `tools/judge_codec.py`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from fitting import arguments, fit, mixtures, parse, provenance
from linear_start import start_linear
from patch_pca import PATCH, PatchPCA

from helpers.base.settings import CorpusConfig, MelConfig
from helpers.models.codec import Codec, build_codec, load_codec
from helpers.models.folder import write_model
from helpers.sound.mel import log_mel

RATE = CorpusConfig().sample_rate_hz
MSE_WEIGHT, KL_WEIGHT = 0.1, 1e-4
N_STATISTICS = 1000  # training clips for the PCA and the latents' mean and deviation


def codec_config(mels: np.ndarray, width: int, layers: int, channels: int) -> dict:
    """config.json before training: the architecture, and the mel's mean per band and one deviation for all bands."""
    mean = mels.mean(axis=(0, 1), dtype=np.float64)
    return {
        "kind": "codec",
        "patch": PATCH,
        "autoencoder": {
            "in_channels": PATCH**2,
            "out_channels": PATCH**2,
            "down_block_types": ["DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D"],
            "block_out_channels": [width],
            "layers_per_block": layers,
            "latent_channels": channels,
            "norm_num_groups": 4,
            "mid_block_add_attention": False,
        },
        "mel": MelConfig().digest_fields(),
        "sample_rate_hz": RATE,
        "mel_mean": [round(float(value), 5) for value in mean],
        # one deviation, so that an error weighs the same in nepers in every band
        "mel_std": round(float(np.sqrt(np.mean((mels - mean) ** 2, dtype=np.float64))), 5),
        "latent_mean": [0.0] * channels,
        "latent_std": [1.0] * channels,
    }


def linear_codec(codec: Codec, pca: PatchPCA) -> None:
    """Starts the autoencoder at the PCA codec, each component divided by the square root of its deviation.

    So the large components stay larger than the small ones, yet no channel is left to vanish in the diffusion's noise.
    """
    scale = np.sqrt(pca.deviations) * np.sqrt(pca.deviations.mean())
    analysis, synthesis = (pca.basis / scale).T * codec.mel_std, pca.basis * scale / codec.mel_std
    start_linear(codec.vae, analysis, -analysis @ pca.mean / codec.mel_std, synthesis, pca.mean / codec.mel_std)


def train(codec: Codec, mels: np.ndarray, options) -> dict:
    """Fits the autoencoder in place; returns what `fit` says of the run."""
    vae = codec.vae.to(memory_format=torch.channels_last)

    def loss(rows):
        target = codec.patches(torch.from_numpy(mels[rows].astype(np.float32)))
        target = target.contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(target).latent_dist
        error = vae.decode(posterior.sample()).sample.float() - target
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return error.abs().mean() + MSE_WEIGHT * error.square().mean() + KL_WEIGHT * divergence

    return fit(vae, loss, options, len(mels), {"mse": MSE_WEIGHT, "kl": KL_WEIGHT})


def latent_statistics(codec: Codec, mels: np.ndarray) -> dict:
    """Mean per channel, and one deviation for all channels, of the raw latents of log-mels, for config.json."""
    latents = codec.encode(mels)
    mean = latents.mean(axis=(0, 2, 3), dtype=np.float64)
    # one factor, as the `scaling_factor` of latent diffusion: channels that matter more to the mel stay larger
    std = np.sqrt(np.mean((latents - mean[:, None, None]) ** 2))
    return {"latent_mean": mean.round(6).tolist(), "latent_std": [round(float(std), 6)] * codec.channels}


def make(options, cache: Path | None = None) -> None:
    """Mixtures (kept in `cache`, else `options.work`), training, latents' scaling; writes the folder `options.out`."""
    kept = argparse.Namespace(**(vars(options) | {"work": cache or options.work}))
    mels, _ = mixtures(kept, lambda audio: log_mel(audio, MelConfig(), RATE))
    some = mels[:: max(1, len(mels) // N_STATISTICS)].astype(np.float32)
    config = codec_config(some, options.width, options.layers, options.channels)
    torch.manual_seed(options.seed)
    codec = build_codec(config)
    linear_codec(codec, PatchPCA(some, np.array(config["mel_mean"], np.float32), options.channels))
    run = provenance("train_codec.py", options, ("channels", "width", "layers"))
    if options.updates:
        run |= train(codec, mels, options)
    write_model(options.out, config, codec.vae.state_dict())
    statistics = latent_statistics(load_codec(options.out), some)  # of the weights as they are stored
    write_model(options.out, config | statistics, codec.vae.state_dict(), run)


def main():
    """The command line."""
    parser = arguments(__doc__, "codec", mixtures=6000, updates=2000, batch_size=16, learning_rate=3e-4)
    parser.add_argument("--channels", type=int, default=16, help="latent numbers per patch of 8 x 8")
    parser.add_argument("--width", type=int, default=192, help="channels of the autoencoder")
    parser.add_argument(
        "--layers", type=int, default=1, help="residual blocks per resolution in the encoder, one more in the decoder"
    )
    make(parse(parser))


if __name__ == "__main__":
    main()
