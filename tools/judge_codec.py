"""Measures the committed codec beside the linear one of the same size; writes models/codec/metrics.json and its card.

Run by maintainers after `tools/train_codec.py`: `python tools/judge_codec.py`. Every figure is of the stored weights.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from fitting import LICENCE, heldout, mixtures
from patch_pca import PatchPCA
from train_codec import KL_WEIGHT, MSE_WEIGHT

from helpers.base.hashing import hash_file
from helpers.base.paths import ROOT
from helpers.base.progress import progress
from helpers.base.settings import CodecConfig, CorpusConfig, MelConfig
from helpers.copies.search import top_k
from helpers.models.codec import Codec, load_codec
from helpers.models.folder import write_card
from helpers.models.vocoder import load_vocoder
from helpers.sound import corpus
from helpers.sound.mel import log_mel
from helpers.stages import corpus as corpus_stage

RATE, MEL = CorpusConfig().sample_rate_hz, MelConfig()
FOLDER = ROOT / "models" / "codec"
N_TRAINING = 500  # training mixtures for the figures on training data
N_STATISTICS = 1000  # training mixtures for the PCA
CHUNK = 250

CARD = """# Codec: log-mels to latents and back

diffusers' `AutoencoderKL`, {parameters:.1f} million parameters, on 8 x 8 patches of log-mels (16 kHz, 64 bands,
hop 256): one clip of 4.096 s, [256, 64], becomes [{channels}, 32, 8]. It starts as a linear codec, at the principal components
of the patches (`tools/linear_start.py`), and is trained from there by `tools/train_codec.py`; frozen since. It takes
the place that AudioLDM's VAE has in TANGO. It has no adversarial or perceptual loss, so decoded mels are smoother than
recorded ones, and it has seen only this project's soundscapes: do not use it as a general audio codec.

| round trip of the log-mel, without vocoder | held-out | training mixtures |
|---|---|---|
| median centred cosine (mel minus the training mean of each band) | {h_cos:.3f} | {t_cos:.3f} |
| the same of a PCA codec with latents of the same size | {p_cos:.3f} | {tp_cos:.3f} |
| mean absolute error, nepers | {h_mae:.3f} | {t_mae:.3f} |
| the same of the PCA codec | {p_mae:.3f} | {tp_mae:.3f} |

With the vocoder the median centred cosine on {n_vocoded} held-out clips is {v_cos:.3f}; the vocoder alone reaches
{g_cos:.3f}. Of {n_all:,d} clips of the corpus, round-tripped, {top1:.2%} are nearest to themselves among all (log-mel); after
the vocoder too, {v_top1:.2%}.

## Latent size

A larger latent keeps more and is harder to generate. Codecs of three sizes, linear and trained alike, and {n_seeds} denoisers on each
(n = 100 pilot clips, {generator_updates} updates; the pilot's held-out recordings are not the study's):

{curve}

Error and cosine are of {curve_heldout} held-out clips. *Own clip* is how often a generated clip's nearest training clip (log-mel) is
the one whose caption it was given, and their median centred cosine, codec and vocoder included. Kernel distances are of generated to
training clips, on CLAP and on `aisfx` embeddings (held-out clips: about {floor_clap:.1f} and {floor_aisfx:.1f}); the latter were not learned here.

At every size the trained codec keeps more than the linear one. Which size makes the better generator depends on who
listens: by log-mel and CLAP the smallest comes nearest to its training clips at equal updates; to `aisfx`, which hears the texture that
a small codec smooths away, {best:,} numbers sound most like them. That size is in use. Its targets were a cosine of 0.99 and
0.15 nepers: {at_4096_cos:.3f} and {at_4096_mae:.3f} were reached. Remade by `{curve_command}`.

- **Data**: {mixtures:,d} mixtures of recordings of the training split (`helpers.sound.corpus.training_mixtures`); none is a
  clip of the study. Held-out: {heldout} soundscapes of recordings from other sources.
- **Commands**: `{command}`, then `python tools/judge_codec.py`
- **Loss**: mean absolute error + {mse} mean squared error + {kl} Kullback-Leibler divergence per latent; bf16, AdamW,
  cosine schedule.
- **Weights**: float16, {megabytes:.1f} MB; the figures are of these stored weights. `metrics.json` holds all of them,
  and the losses.
- **Licence**: {licence}.
"""


def closeness(mels: np.ndarray, others: np.ndarray, band_mean: np.ndarray) -> dict:
    """Median over clips of the centred cosine, and the mean absolute error in nepers, of log-mels [N, T, M]."""
    a, b = ((x - band_mean).reshape(len(x), -1) for x in (mels, others))
    cosine = (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    return {
        "median_centred_cosine": float(np.median(cosine)),
        "centred_cosine_5_percent": float(np.quantile(cosine, 0.05)),
        "mean_absolute_error_nepers": float(np.abs(mels - others).mean()),
    }


def figures(codec: Codec, pca: PatchPCA, parts: dict[str, np.ndarray]) -> dict:
    """Round trips of the log-mels alone, by codec and PCA, and the latents' statistics, for each named set."""
    result = {}
    for name, mels in parts.items():
        latents = codec.encode(mels)
        result[name] = {
            "n_clips": len(mels),
            "codec": closeness(mels, codec.decode(latents), pca.band_mean),
            "pca": closeness(mels, pca.round_trip(mels), pca.band_mean),
            "latent_mean": float(latents.mean()),
            "latent_std": float(latents.std()),
            "latent_std_per_channel": latents.std(axis=(0, 2, 3)).astype(float).round(4).tolist(),
        }
    return result


def vocoder_figures(codec: Codec, mels: np.ndarray, band_mean: np.ndarray) -> dict:
    """How near clips come to their mel after both frozen parts, and the seconds per clip that these take."""
    start = time.perf_counter()
    latents = codec.encode(mels)
    middle = time.perf_counter()
    decoded = codec.decode(latents)
    seconds = {"encode": (middle - start) / len(mels), "decode": (time.perf_counter() - middle) / len(mels)}
    found = {}
    for name in ("vocos", "griffin_lim"):
        vocode = load_vocoder(CodecConfig(vocoder=name), MEL, RATE)
        start = time.perf_counter()
        found[f"codec_and_{name}"] = closeness(mels, log_mel(vocode(decoded), MEL, RATE), band_mean)
        seconds[name] = (time.perf_counter() - start) / len(mels)
        found[name] = closeness(mels, log_mel(vocode(mels), MEL, RATE), band_mean)
    return {"n_clips": len(mels), "heldout": found, "seconds_per_clip": seconds}


def own_clip_top1(codec: Codec, work: Path) -> dict:
    """How often a clip, round-tripped, is nearest to itself among the corpus' training and held-out clips (log-mel)."""
    folder = work / f"corpus_{hash_file(corpus.SOUND_PACK)[:8]}"
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        corpus_stage.compute(folder, {}, CorpusConfig(n_background=1), MEL)
        (folder / "done").touch()
    data = corpus.load_corpus(folder)
    rows = np.concatenate([data.rows("train"), data.rows("heldout")])
    references = np.asarray(data.mels[rows]).reshape(len(rows), -1)
    vocode = load_vocoder(CodecConfig(), MEL, RATE)
    hits = {"codec": 0, "codec_and_vocoder": 0}
    for start in progress(range(0, len(rows), CHUNK), desc="own-clip top-1"):
        decoded = codec.decode(codec.encode(np.asarray(data.mels[rows[start : start + CHUNK]])))
        sounds = {"codec": decoded, "codec_and_vocoder": log_mel(vocode(decoded), MEL, RATE)}
        for name, mels in sounds.items():
            nearest = top_k(mels.reshape(len(mels), -1), references, 1).indices[:, 0]
            hits[name] += int((nearest == np.arange(start, start + len(mels))).sum())
    return {"n_clips": len(rows)} | {name: count / len(rows) for name, count in hits.items()}


def main():
    """Measures, metrics.json and the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--heldout", type=int, default=500, help="held-out clips")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "train_codec", help="cache")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    config, run = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("config", "training"))
    options.pilot, options.mixtures, options.seed = False, run["mixtures"], run["seed"]
    codec = load_codec(FOLDER)
    mels, _ = mixtures(options, lambda audio: log_mel(audio, MEL, RATE))
    some = mels[:: max(1, len(mels) // N_STATISTICS)].astype(np.float32)
    pca = PatchPCA(some, np.array(config["mel_mean"], np.float32), codec.channels)
    unseen = np.asarray(heldout(options).mels)
    metrics = run | {"parameters": sum(p.numel() for p in codec.vae.parameters())}
    metrics |= figures(codec, pca, {"heldout": unseen, "training_mixtures": mels[:N_TRAINING].astype(np.float32)})
    # spread over the held-out set, so that no kind of sound is left out
    metrics["vocoder"] = vocoder_figures(codec, unseen[:: max(1, len(unseen) // 64)], pca.band_mean)
    metrics["own_clip_top1"] = own_clip_top1(codec, options.work)
    write_card(FOLDER, metrics, card(metrics, config, options))


def curve_values(curve: dict) -> dict:
    """What the card says of models/codec/curve.json (tools/codec_curve.py)."""
    lines = ["| latent numbers | codec | cosine | error, nepers | own clip | its cosine | CLAP | aisfx |"]
    lines.append("|---" * 8 + "|")
    for entry in curve["codecs"]:
        made = {
            name: " and ".join(f"{generator[name]:{spec}}" for generator in entry["generators"])
            for name, spec in (("own_clip_top1", ".0%"), ("median_own_centred_cosine", ".2f"),
                               ("clap_kernel_distance_generated_to_training", ".3f"),
                               ("aisfx_kernel_distance_generated_to_training", ".2f"))
        }  # fmt: skip
        cells = (
            f"{entry['latent_numbers']:,}", entry["codec"], f"{entry['median_centred_cosine']:.3f}",
            f"{entry['mean_absolute_error_nepers']:.3f}", *made.values(),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    at_4096 = next(e for e in curve["codecs"] if e["codec"] == "trained" and e["latent_numbers"] == 4096)
    generators = [generator for entry in curve["codecs"] for generator in entry["generators"]]
    return {
        "curve": "\n".join(lines),
        "curve_command": curve["command"],
        "curve_heldout": curve["n_heldout"],
        "n_seeds": len(curve["codecs"][0]["generators"]),
        "generator_updates": curve["command"].split("--generator-updates ")[1].split()[0],
        **{
            f"floor_{name}": np.median([g[f"{name}_kernel_distance_heldout_to_training"] for g in generators])
            for name in ("clap", "aisfx")
        },
        "best": min(
            curve["codecs"],
            key=lambda e: np.mean([g["aisfx_kernel_distance_generated_to_training"] for g in e["generators"]]),
        )["latent_numbers"],
        "at_4096_cos": at_4096["median_centred_cosine"],
        "at_4096_mae": at_4096["mean_absolute_error_nepers"],
    }


def card(metrics: dict, config: dict, options) -> str:
    """The model card, its figures taken from `metrics` and curve.json."""
    values = curve_values(json.loads((FOLDER / "curve.json").read_text()))
    values["channels"] = config["autoencoder"]["latent_channels"]
    for prefix, split, name in (
        ("h", "heldout", "codec"),
        ("t", "training_mixtures", "codec"),
        ("p", "heldout", "pca"),
        ("tp", "training_mixtures", "pca"),
    ):
        values[f"{prefix}_cos"] = metrics[split][name]["median_centred_cosine"]
        values[f"{prefix}_mae"] = metrics[split][name]["mean_absolute_error_nepers"]
    vocoded, top1 = metrics["vocoder"]["heldout"], metrics["own_clip_top1"]
    return CARD.format(
        **values,
        v_cos=vocoded["codec_and_vocos"]["median_centred_cosine"],
        g_cos=vocoded["vocos"]["median_centred_cosine"],
        n_all=top1["n_clips"],
        top1=top1["codec"],
        v_top1=top1["codec_and_vocoder"],
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
