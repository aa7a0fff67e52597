"""The trajectory stage: how clips come out of noise, for prompts that the model was trained on and others it never met.

What the model takes for the clean clip is decoded after each step of the sampler, and compared with the prompt's own clip.
Light: from the published denoiser and corpus, and the frozen parts.

Notebook: 08_onset.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers.base.profile import Profile
from helpers.base.seeds import seed_of, seeded
from helpers.models import sampler
from helpers.models.codec import Codec, load_codec
from helpers.models.denoiser import load_unet
from helpers.models.text import encode_captions
from helpers.sound.corpus import Corpus, load_corpus, subset
from helpers.sound.mel import log_mel

N_PROMPTS = 8  # of either kind
N_SHOWN = 8  # steps that are kept to be looked at, evenly spaced up to the last
KINDS = ("training", "held-out")
CHUNK = 256  # training clips in memory at a time


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes trajectory.csv and trajectory.npz, of the smallest run's first draw.

    trajectory.csv: kind, clip_id, caption, step (from 1), similarity (cosine of the clean estimate's log-mel with the own
    clip's after the codec), nearness (0: the own clip's median similarity to the other prompts' own clips; 1: itself),
    nearest_id and nearest (of all training clips, by the same cosine). trajectory.npz, of the first prompt of each kind: `<kind>` float16 [N_SHOWN, T, M], log-mels of clean
    estimates after `steps` [N_SHOWN], and `<kind> own` [T, M].
    """
    data, tables, arrays = load_corpus(upstream["corpus"]), [], {}
    run = profile.training_run(min(profile.sizes), 0)
    members = {"training": data.rows("train")[subset(run, profile.corpus.n_train)], "held-out": data.rows("heldout")}
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    trained_ids, followed = data.clips["clip_id"].to_numpy()[members["training"]], {}
    for kind in KINDS:
        rows = seeded(profile.retrieval.seed, "trajectory", kind).permutation(members[kind])[:N_PROMPTS]
        own, estimates = _follow(upstream["denoiser"], codec, data, rows, profile)
        shown = np.unique(np.linspace(0, len(estimates) - 1, N_SHOWN).round().astype(int))
        arrays |= {kind: estimates[shown, 0].astype(np.float16), f"{kind} own": own[0].astype(np.float16)}
        clips = data.clips[["clip_id", "caption"]].iloc[np.tile(rows, len(estimates))].reset_index(drop=True)
        followed[kind] = np.concatenate(estimates)
        tables.append(pd.concat([clips, _compare(own, estimates).assign(kind=kind)], axis=1))
    found = _nearest(np.concatenate(list(followed.values())), codec, data, members["training"], profile)
    tables = pd.concat(tables).assign(nearest_id=trained_ids[found[0]], nearest=found[1])
    columns = ["kind", "clip_id", "caption", "step", "similarity", "nearness", "nearest_id", "nearest"]
    tables[columns].to_csv(out / "trajectory.csv", index=False)
    np.savez_compressed(out / "trajectory.npz", steps=shown + 1, **arrays)


@torch.inference_mode()
def _follow(
    weights: Path, codec: Codec, data: Corpus, rows: np.ndarray, profile: Profile
) -> tuple[np.ndarray, np.ndarray]:
    """Log-mels of the own clips after the codec [N, T, M], and of the clean estimates after each step [steps, N, T, M]."""
    latents = _latents(codec, data, rows, profile)
    prompts = data.clips["caption"].iloc[rows].tolist(), [""] * len(rows)
    text, null = (
        (torch.from_numpy(states.astype(np.float32)), torch.from_numpy(mask))
        for states, mask in (encode_captions(captions, profile.text) for captions in prompts)
    )
    seeds = [seed_of(profile.generation.sample_seed, "trajectory", int(row)) for row in rows]
    generators = sampler.noise_generators(seeds)
    noise = sampler.initial_noise(generators, latents.shape[1:])
    unet = load_unet(weights)
    noise, text, null = noise.to(unet.device), *([part.to(unet.device) for part in side] for side in (text, null))
    steps = sampler.denoise(unet, noise, text, null, generators, profile.generation)
    return codec.decode(latents), np.stack([codec.decode(step.clean.cpu().numpy()) for step in steps])


def _latents(codec: Codec, data: Corpus, rows: np.ndarray, profile: Profile) -> np.ndarray:
    sounds = np.stack([np.asarray(data.audio[row]) for row in rows])
    return codec.encode(log_mel(sounds, profile.mel, profile.corpus.sample_rate_hz))


def _nearest(
    mels: np.ndarray, codec: Codec, data: Corpus, rows: np.ndarray, profile: Profile
) -> tuple[np.ndarray, np.ndarray]:
    """Of each log-mel [Q, T, M] the nearest of the clips `rows` after the codec: its place among them and the cosine."""
    where, best = np.zeros(len(mels), int), np.full(len(mels), -np.inf)
    for start in range(0, len(rows), CHUNK):
        clips = _unit(codec.decode(_latents(codec, data, rows[start : start + CHUNK], profile)))
        for some in range(0, len(mels), CHUNK):
            cosines = _unit(mels[some : some + CHUNK]) @ clips.T
            queries, nearer = np.arange(some, some + len(cosines)), cosines.max(1) > best[some : some + CHUNK]
            best[queries[nearer]] = cosines.max(1)[nearer]
            where[queries[nearer]] = start + cosines.argmax(1)[nearer]
    return where, best


def _unit(mels: np.ndarray) -> np.ndarray:
    """Log-mels [N, T, M] as vectors of unit length, float64 [N, T * M]."""
    flat = mels.reshape(len(mels), -1).astype(np.float64)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def _compare(own: np.ndarray, estimates: np.ndarray) -> pd.DataFrame:
    """A row for each step and prompt: step, similarity and nearness."""
    unit = _unit(own)
    apart = np.nanmedian(np.where(np.eye(len(own), dtype=bool), np.nan, unit @ unit.T), axis=1)
    similarity = np.concatenate([np.einsum("nd,nd->n", _unit(step), unit) for step in estimates])
    step, low = np.repeat(np.arange(1, len(estimates) + 1), len(own)), np.tile(apart, len(estimates))
    return pd.DataFrame({"step": step, "similarity": similarity, "nearness": (similarity - low) / (1 - low)})
