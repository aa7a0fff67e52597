"""Trains the codec on fresh mixtures of training recordings and writes models/codec with its figures and card.

Run by maintainers, rarely: `python tools/train_codec.py`. It continues from runs/train_codec/state.pt if interrupted.
"""

import time

import numpy as np
import torch
from fitting import LICENCE, arguments, fit, heldout, mixtures, parse, provenance
from linear_start import start_linear

from helpers.codec import Codec, build_codec, load_codec
from helpers.config import CorpusConfig, MelConfig
from helpers.mel import log_mel
from helpers.vocoder import PHASE_SEED, griffin_lim
from helpers.weights import model_folder, write_card, write_model

RATE = CorpusConfig().sample_rate_hz
PATCH, CHANNELS = 8, 16  # latents have 16 numbers per 8 x 8 of the mel, the codec's and those of its PCA yardstick
MSE_WEIGHT, KL_WEIGHT = 0.1, 1e-4
N_FIGURES = 500  # training clips for the figures on training data
N_STATISTICS = 1000  # training clips for the PCA and the latents' mean and deviation
N_VOCODED = 64  # held-out clips that also go through the vocoder

CARD = """# Codec: log-mels to latents and back (first version)

diffusers' `AutoencoderKL`, {parameters:.1f} million parameters, on 8 x 8 patches of log-mels (16 kHz, 64 bands,
hop 256): one clip of 4.096 s, [256, 64], becomes [16, 32, 8]. It starts as a linear codec, at the principal components
of the patches (`tools/linear_start.py`), and is trained from there by `tools/train_codec.py`; frozen since. It takes
the place that AudioLDM's VAE has in TANGO. It has no adversarial or perceptual loss, so decoded mels are smoother than
recorded ones, and it has seen only this project's soundscapes: do not use it as a general audio codec.

| round trip of the log-mel, without vocoder | held-out | training mixtures |
|---|---|---|
| median centred cosine (mel minus the training mean of each band) | {h_cos:.3f} | {t_cos:.3f} |
| the same of a PCA codec with latents of the same size | {p_cos:.3f} | {tp_cos:.3f} |
| mean absolute error, nepers | {h_mae:.3f} | {t_mae:.3f} |
| the same of the PCA codec | {p_mae:.3f} | {tp_mae:.3f} |

With the vocoder (Griffin-Lim, 32 iterations) the median centred cosine on {n_vocoded} held-out clips is {v_cos:.3f};
the vocoder alone reaches {g_cos:.3f}.

- **Data**: {mixtures} mixtures of recordings of the training split (`helpers.corpus.training_mixtures`); none is a
  clip of the study. Held-out: {heldout} soundscapes of recordings from other sources.
- **Command**: `{command}`
- **Loss**: mean absolute error + {mse} mean squared error + {kl} Kullback-Leibler divergence per latent; bf16, AdamW,
  cosine schedule.
- **Weights**: float16, {megabytes:.1f} MB; the figures are of these stored weights. `metrics.json` holds all of them,
  and the losses.
- **Licence**: {licence}.
"""


def codec_config(mels: np.ndarray, width: int, layers: int) -> dict:
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
            "latent_channels": CHANNELS,
            "norm_num_groups": 4,
            "mid_block_add_attention": False,
        },
        "mel": MelConfig().digest_fields(),
        "sample_rate_hz": RATE,
        "mel_mean": [round(float(value), 5) for value in mean],
        # one deviation, so that an error weighs the same in nepers in every band
        "mel_std": round(float(np.sqrt(np.mean((mels - mean) ** 2, dtype=np.float64))), 5),
        "latent_mean": [0.0] * CHANNELS,
        "latent_std": [1.0] * CHANNELS,
    }


def linear_codec(codec: Codec, pca: "PatchPCA") -> None:
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

    return fit(vae, loss, options, len(mels))


def latent_statistics(codec: Codec, mels: np.ndarray) -> dict:
    """Mean per channel, and one deviation for all channels, of the raw latents of log-mels, for config.json."""
    latents = codec.encode(mels)
    mean = latents.mean(axis=(0, 2, 3), dtype=np.float64)
    # one factor, as the `scaling_factor` of latent diffusion: channels that matter more to the mel stay larger
    std = np.sqrt(np.mean((latents - mean[:, None, None]) ** 2))
    return {"latent_mean": mean.round(6).tolist(), "latent_std": [round(float(std), 6)] * CHANNELS}


class PatchPCA:
    """The yardstick: the 16 principal components of 8 x 8 patches of the centred mel, fitted on `mels` [N, T, M]."""

    def __init__(self, mels: np.ndarray, band_mean: np.ndarray):
        self.band_mean = band_mean
        patches = self._patches(mels).reshape(-1, PATCH**2)
        self.mean = patches.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
        largest = np.argsort(values)[::-1][:CHANNELS]
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


def closeness(mels: np.ndarray, others: np.ndarray, band_mean: np.ndarray) -> dict:
    """Median over clips of the centred cosine, and the mean absolute error in nepers, of log-mels [N, T, M]."""
    a, b = ((x - band_mean).reshape(len(x), -1) for x in (mels, others))
    cosine = (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    return {
        "median_centred_cosine": float(np.median(cosine)),
        "centred_cosine_5_percent": float(np.quantile(cosine, 0.05)),
        "mean_absolute_error_nepers": float(np.abs(mels - others).mean()),
    }


def vocoder_figures(codec: Codec, audio: np.ndarray, mels: np.ndarray, band_mean: np.ndarray) -> dict:
    """How near vocoded clips come to the mel that they should have, and the seconds per clip that all this takes."""
    start = time.perf_counter()
    latents = codec.encode(mels)
    middle = time.perf_counter()
    decoded = codec.decode(latents)
    end = time.perf_counter()
    timings = {"encode": (middle - start) / len(mels), "decode": (end - middle) / len(mels)}
    figures = {}
    for iterations in (16, 32, 64):
        start = time.perf_counter()
        through_codec = griffin_lim(decoded, MelConfig(), RATE, iterations, PHASE_SEED)
        timings[f"griffin_lim_{iterations}"] = (time.perf_counter() - start) / len(mels)
        alone = griffin_lim(mels, MelConfig(), RATE, iterations, PHASE_SEED)
        figures[f"codec_and_griffin_lim_{iterations}"] = closeness(
            mels, log_mel(through_codec, MelConfig(), RATE), band_mean
        )
        figures[f"griffin_lim_{iterations}"] = closeness(mels, log_mel(alone, MelConfig(), RATE), band_mean)
    return {"n_clips": len(audio), "heldout": figures, "seconds_per_clip": timings}


def figures(codec: Codec, pca: PatchPCA, mels: np.ndarray, data) -> dict:
    """Everything that metrics.json says of the stored codec, beside the PCA codec fitted on the same mels."""
    band_mean = pca.band_mean
    result = {}
    for name, part in (("heldout", data.mels), ("training", mels[:N_FIGURES].astype(np.float32))):
        latents = codec.encode(part)
        result[name] = {
            "n_clips": len(part),
            "codec": closeness(part, codec.decode(latents), band_mean),
            "pca": closeness(part, pca.round_trip(part), band_mean),
            "latent_mean": float(latents.mean()),
            "latent_std": float(latents.std()),
            "latent_std_per_channel": latents.std(axis=(0, 2, 3)).astype(float).round(4).tolist(),
        }
    # spread over the held-out set, so that no kind of sound is left out
    rows = np.linspace(0, len(data.mels) - 1, min(N_VOCODED, len(data.mels))).astype(int)
    return result | {"vocoder": vocoder_figures(codec, data.audio[rows], data.mels[rows], band_mean)}


def main():
    """Mixtures, training, scaling of the latents, figures, card."""
    parser = arguments(__doc__, "codec", mixtures=6000, updates=2000, batch_size=16, learning_rate=3e-4)
    parser.add_argument("--width", type=int, default=192, help="channels of the autoencoder")
    parser.add_argument(
        "--layers", type=int, default=1, help="residual blocks per resolution in the encoder, one more in the decoder"
    )
    options = parse(parser)
    mels, _ = mixtures(options.work, options.mixtures, options.seed, lambda audio: log_mel(audio, MelConfig(), RATE))
    config = codec_config(mels, options.width, options.layers)
    torch.manual_seed(options.seed)
    codec = build_codec(config)
    some = mels[:: max(1, len(mels) // N_STATISTICS)].astype(np.float32)
    pca = PatchPCA(some, np.array(config["mel_mean"], np.float32))
    linear_codec(codec, pca)
    run = train(codec, mels, options)

    folder = model_folder(options.out)
    stored = write_model(folder, config, codec.vae.state_dict())
    statistics = latent_statistics(load_codec(folder), some)
    stored = write_model(folder, config | statistics, codec.vae.state_dict())
    codec = load_codec(folder)
    found = figures(codec, pca, mels, heldout(options.work, options.heldout))
    n_parameters = sum(p.numel() for p in codec.vae.parameters())
    metrics = {
        "version": "first",
        **provenance("train_codec.py", options),
        "parameters": n_parameters,
        **found,
        **run,
    }
    write_card(folder, metrics, card(metrics, stored, options))


def card(metrics: dict, config: dict, options) -> str:
    """The model card, its figures taken from `metrics`."""
    values = {}
    for prefix, split, name in (
        ("h", "heldout", "codec"),
        ("t", "training", "codec"),
        ("p", "heldout", "pca"),
        ("tp", "training", "pca"),
    ):
        values[f"{prefix}_cos"] = metrics[split][name]["median_centred_cosine"]
        values[f"{prefix}_mae"] = metrics[split][name]["mean_absolute_error_nepers"]
    vocoded = metrics["vocoder"]["heldout"]
    return CARD.format(
        **values,
        v_cos=vocoded["codec_and_griffin_lim_32"]["median_centred_cosine"],
        g_cos=vocoded["griffin_lim_32"]["median_centred_cosine"],
        n_vocoded=metrics["vocoder"]["n_clips"],
        parameters=metrics["parameters"] / 1e6,
        megabytes=config["weights"]["bytes"] / 1e6,
        mixtures=options.mixtures,
        heldout=options.heldout,
        command=metrics["command"],
        mse=MSE_WEIGHT,
        kl=KL_WEIGHT,
        licence=LICENCE,
    )


if __name__ == "__main__":
    main()
