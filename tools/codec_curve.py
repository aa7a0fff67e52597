"""Latent size against error, and which codec makes the better generator; writes models/codec/curve.json.

Run by maintainers, rarely, after `make aisfx`: `python tools/codec_curve.py`. Candidates are the linear codec and the trained one at several
latent sizes, each trained alike (`tools/train_codec.py`). A generator is a denoiser trained for the same updates on each
candidate's latents of a *pilot* corpus, whose recordings the study's held-out clips do not share. Resumable.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import train_codec
from fitting import heldout
from judge_codec import closeness

from helpers.base.hashing import hash_file
from helpers.base.paths import ROOT
from helpers.base.progress import progress
from helpers.base.settings import CodecConfig, CorpusConfig, GenerationConfig, MelConfig, TextConfig, TrainingConfig
from helpers.copies.kernel_distance import kernel_distance
from helpers.copies.rates import cluster_bootstrap
from helpers.copies.search import top_k
from helpers.models import denoiser, sampler, trainer
from helpers.models.aisfx import load_encoder
from helpers.models.clap import load_clap
from helpers.models.codec import Codec, load_codec
from helpers.models.text import encode_captions
from helpers.models.vocoder import load_vocoder
from helpers.sound import corpus
from helpers.sound.mel import log_mel
from helpers.stages import corpus as corpus_stage, roundtrip

RATE, MEL = CorpusConfig().sample_rate_hz, MelConfig()
CHANNELS = (8, 16, 32)
SETTINGS = (
    ("mixtures", 6000, "fresh mixtures of training recordings"),
    ("updates", 2000, "optimiser steps of each codec"),
    ("batch_size", 16, "clips per step"),
    ("learning_rate", 3e-4, "peak"),
    ("seed", 7, "of mixtures, weights and batches"),
    ("width", 192, "channels of the autoencoder"),
    ("layers", 1, "residual blocks per resolution"),
    ("heldout", 500, "held-out soundscapes"),
    ("generator_updates", 800, "updates of each denoiser"),
    ("generator_seeds", 2, "denoisers per codec"),
)
N_TRAIN, N_HELDOUT = 100, 100


def candidate(options: argparse.Namespace, channels: int, updates: int) -> Path:
    """The folder of one codec, trained if it is not there; zero updates are the linear codec."""
    work = options.work / f"codec_{channels}_{updates}_{options.mixtures}_{options.seed}"
    folder = work / "model"
    if not (folder / "training.json").is_file():  # written last
        work.mkdir(parents=True, exist_ok=True)
        changes = {"channels": channels, "updates": updates, "work": work, "out": folder}
        train_codec.make(argparse.Namespace(**(vars(options) | changes)), cache=options.work)
    return folder


def pilot_corpus(work: Path) -> corpus.Corpus:
    """A pilot corpus: training clips for the generators, held-out clips to compare their sound with."""
    folder = work / f"pilot_corpus_{hash_file(corpus.SOUND_PACK)[:8]}"
    config = CorpusConfig(pilot=True, n_train=N_TRAIN, n_heldout=N_HELDOUT)
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        corpus_stage.compute(folder, {}, replace(config, n_background=1), MEL)
        (folder / "done").touch()
    return corpus.load_corpus(folder)


def generator_figures(codec: Codec, data: corpus.Corpus, work: Path, updates: int, seed: int) -> dict:
    """Trains a denoiser on the codec's latents of the pilot's training clips, generates with their captions, compares."""
    rows = data.rows("train")
    mels = np.asarray(data.mels[rows])
    states, mask = encode_captions(data.clips["caption"].iloc[rows].tolist(), TextConfig())
    null_states, null_mask = encode_captions([""], TextConfig())
    latents = codec.encode(mels)
    recipe = TrainingConfig(
        n_train=N_TRAIN, seed=seed, updates=updates, checkpoints=(updates,), schedule="cosine", learning_rate=2e-3,
        ema_decay=0.99,
    )  # fmt: skip
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "loss.parquet").is_file():
        trainer.train(work, recipe, trainer.Data(latents, states, mask, null_states[0], null_mask[0]))
    made = sampler.sample_latents(
        denoiser.load_unet(work), states, mask, null_states[0], null_mask[0], list(range(N_TRAIN)),
        GenerationConfig(n_train=N_TRAIN), latents.shape[1:],
    )  # fmt: skip
    vocode = load_vocoder(CodecConfig(), MEL, RATE)
    encoders = {"clap": load_clap("models/clap"), "aisfx": load_encoder(RATE)}
    sound = vocode(codec.decode(made))
    heard, mean = log_mel(sound, MEL, RATE), mels.mean(axis=(0, 1))
    own = roundtrip.cosines(heard - mean, mels - mean)
    nearest = top_k(heard.reshape(len(heard), -1), mels.reshape(len(mels), -1), 1).indices[:, 0]
    low, high = cluster_bootstrap(own, range(len(own)), np.median)
    # held-out clips take the same way, so that the codec's own colour is in both distances
    strangers = vocode(codec.decode(codec.encode(np.asarray(data.mels[data.rows("heldout")]))))
    again = vocode(codec.decode(latents))
    distances = {}
    for name, encoder in encoders.items():
        real = encoder.embed_audio(np.asarray(data.audio[rows]))
        for kind, clip in (("generated", sound), ("roundtrip", again), ("heldout", strangers)):
            distances[f"{name}_kernel_distance_{kind}_to_training"] = kernel_distance(encoder.embed_audio(clip), real)
    return {
        "seed": seed,
        "own_clip_top1": float((nearest == np.arange(N_TRAIN)).mean()),
        "median_own_centred_cosine": float(np.median(own)),
        "median_own_centred_cosine_interval": [low, high],
        **distances,
        "latent_std": float(latents.std()),
        "made_latent_std": float(made.std()),
    }


def main():
    """All codecs, then all generators; curve.json is written when the last is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, value, text in SETTINGS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=text)
    options = parser.parse_args()
    flags = " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name, _, _ in SETTINGS)
    options.pilot, options.work = False, ROOT / "runs" / "codec_curve"
    options.work.mkdir(parents=True, exist_ok=True)
    unseen, data = np.asarray(heldout(options).mels), pilot_corpus(options.work)
    found = []
    cases = [(channels, updates) for channels in CHANNELS for updates in (0, options.updates)]
    for channels, updates in progress(cases, desc="codecs", unit="codec"):
        codec = load_codec(candidate(options, channels, updates))
        row = {"codec": "trained" if updates else "linear", "channels": channels, "latent_numbers": channels * 256}
        found.append(row | closeness(unseen, codec.decode(codec.encode(unseen)), codec.mel_mean.numpy()))
    for row, (channels, updates) in progress(list(zip(found, cases)), desc="generators", unit="codec"):
        folder = candidate(options, channels, updates)
        name = f"{folder.parent.name}_generator_{options.generator_updates}"
        row["generators"] = [
            generator_figures(
                load_codec(folder), data, options.work / f"{name}_{seed}", options.generator_updates, seed
            )
            for seed in range(options.generator_seeds)
        ]
    text = {"command": f"python tools/codec_curve.py {flags}", "n_heldout": len(unseen), "codecs": found}
    (ROOT / "models" / "codec" / "curve.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
