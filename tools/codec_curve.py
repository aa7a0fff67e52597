"""Latent size against error, and which codec makes the better generator; writes models/codec/curve.json.

Run by maintainers, rarely: `python tools/codec_curve.py`. Candidates are the linear codec and the trained one at several
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

from helpers import clips, corpus, sampling, training
from helpers.clap import load_clap
from helpers.codec import Codec, load_codec
from helpers.config import ROOT, CodecConfig, CorpusConfig, GenerationConfig, MelConfig, TextConfig, TrainingConfig
from helpers.mel import log_mel
from helpers.progress import progress
from helpers.quality import kernel_distance
from helpers.retrieval import top_k
from helpers.text import encode_captions
from helpers.vocoder import load_vocoder

RATE, MEL = CorpusConfig().sample_rate_hz, MelConfig()
CHANNELS = (8, 16, 32)
N_TRAIN, N_HELDOUT = 100, 100


def candidate(options: argparse.Namespace, channels: int, updates: int) -> Path:
    """The folder of one codec, trained if it is not there; zero updates are the linear codec."""
    work = options.work / f"{'trained' if updates else 'linear'}_{channels}"
    folder = work / "model"
    if not (folder / "config.json").is_file() or "training" not in json.loads((folder / "config.json").read_text()):
        work.mkdir(parents=True, exist_ok=True)
        changes = {"channels": channels, "updates": updates, "work": work, "out": folder}
        train_codec.make(argparse.Namespace(**(vars(options) | changes)), cache=options.work)
    return folder


def pilot_corpus(work: Path) -> corpus.Corpus:
    """A pilot corpus: training clips for the generators, held-out clips to compare their sound with."""
    folder, config = work / "pilot_corpus", CorpusConfig(pilot=True, n_train=N_TRAIN, n_heldout=N_HELDOUT)
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        corpus.compute(folder, {}, replace(config, n_background=1), MEL)
        (folder / "done").touch()
    return corpus.load_corpus(folder)


def generator_figures(codec: Codec, data: corpus.Corpus, work: Path, updates: int) -> dict:
    """Trains a denoiser on the codec's latents of the pilot's training clips, generates with their captions, compares."""
    rows = data.rows("train")
    mels = np.asarray(data.mels[rows])
    states, mask = encode_captions(data.clips["caption"].iloc[rows].tolist(), TextConfig())
    null_states, null_mask = encode_captions([""], TextConfig())
    latents = codec.encode(mels)
    recipe = TrainingConfig(
        n_train=N_TRAIN, updates=updates, checkpoints=(updates,), schedule="cosine", learning_rate=2e-3, ema_decay=0.99
    )
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "loss.csv").is_file():
        training.train(work, recipe, latents, states, mask, null_states[0], null_mask[0])
    made = sampling.sample_latents(
        training.load_unet(work), states, mask, null_states[0], null_mask[0], list(range(N_TRAIN)),
        GenerationConfig(n_train=N_TRAIN), latents.shape[1:],
    )  # fmt: skip
    decoded = codec.decode(made)
    vocode, clap = load_vocoder(CodecConfig(), MEL, RATE), load_clap("models/clap")
    sound = vocode(decoded)
    again, flat = log_mel(sound, MEL, RATE), mels.reshape(len(mels), -1)
    mean = mels.mean(axis=(0, 1))
    own = clips.cosines(again - mean, mels - mean)
    embedded = {"made": clap.embed_audio(sound)}
    for name, part in (("train", rows), ("heldout", data.rows("heldout"))):
        embedded[name] = clap.embed_audio(np.asarray(data.audio[part]))
    return {
        "updates": updates,
        "own_clip_top1": float((top_k(again.reshape(flat.shape), flat, 1).indices[:, 0] == np.arange(N_TRAIN)).mean()),
        "median_own_centred_cosine": float(np.median(own)),
        "kernel_distance_to_training": kernel_distance(embedded["made"], embedded["train"]),
        "kernel_distance_heldout_to_training": kernel_distance(embedded["heldout"], embedded["train"]),
        "latent_std": float(latents.std()),
        "made_latent_std": float(made.std()),
    }


def main():
    """All candidates and generators; curve.json is written anew after each."""
    options = train_codec.options_of_codec(__doc__, generator_updates=800)
    options.work = ROOT / "runs" / "codec_curve"
    options.work.mkdir(parents=True, exist_ok=True)
    unseen, data = np.asarray(heldout(options).mels), pilot_corpus(options.work)
    found = []
    cases = [(channels, updates) for channels in CHANNELS for updates in (0, options.updates)]
    for channels, updates in progress(cases, desc="codecs", unit="codec"):
        folder = candidate(options, channels, updates)
        codec = load_codec(folder)
        mean = codec.mel_mean.numpy()
        row = {"codec": "trained" if updates else "linear", "channels": channels}
        row |= {"latent_numbers": channels * 256, **closeness(unseen, codec.decode(codec.encode(unseen)), mean)}
        generator = options.work / f"generator_{row['codec']}_{channels}"
        found.append(row | {"generator": generator_figures(codec, data, generator, options.generator_updates)})
        text = {"command": f"python tools/codec_curve.py --updates {options.updates}", "codecs": found}
        (ROOT / "models" / "codec" / "curve.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
