"""Stages that send clips through the frozen parts and train on them: encoding, roundtrip, twins, training.

Every query of the study is a clip that came out of codec and vocoder, so that a generated clip differs from its nulls
and its ceiling by the denoiser alone.

Notebooks: 02_codec, 03_training.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from helpers import corpus, tango, training
from helpers.arrays import Selection, chunks, forget
from helpers.codec import load_codec
from helpers.config import Profile, TrainingConfig
from helpers.mel import log_mel
from helpers.planted import originals
from helpers.progress import progress
from helpers.text import encode_captions
from helpers.vocoder import load_vocoder

CHUNK = 128  # clips held in memory at a time


def compute_encoding(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes the training clips' latents.npy [N, C, h, w] and their captions' states, with those of the null prompt."""
    data = corpus.load_corpus(upstream["corpus"])
    rows, codec = data.rows("train"), load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    parts = [
        codec.encode(np.asarray(data.mels[rows[i : i + CHUNK]]))
        for i in progress(range(0, len(rows), CHUNK), desc="encoding")
    ]
    captions = data.clips["caption"].iloc[rows].tolist()
    states, mask = encode_captions(captions, profile.text)
    null_states, null_mask = encode_captions([""], profile.text)
    np.save(out / "latents.npy", np.concatenate(parts))
    np.savez(out / "text.npz", states=states, mask=mask, null_state=null_states[0], null_mask=null_mask[0])


def load_text(folder: Path) -> dict[str, np.ndarray]:
    """Token states [N, L, D], mask [N, L] and the null prompt's null_state [L, D], null_mask [L] of an encoding stage."""
    with np.load(Path(folder) / "text.npz") as file:
        return dict(file)


def pass_through_codec(out: Path, mels, profile: Profile, desc: str) -> None:
    """Writes audio.npy int16 [N, S] and decoded.npy float32 [N, T, M]: log-mels [N, T, M] after codec, and vocoder."""
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    decode_and_vocode(out, len(mels), lambda rows: codec.decode(codec.encode(np.asarray(mels[rows]))), profile, desc)


def decode_and_vocode(out: Path, n: int, decode, profile: Profile, desc: str) -> None:
    """Writes decoded.npy and audio.npy for `n` clips whose log-mels `decode(rows)` gives, a chunk at a time."""
    frames = profile.corpus.clip_samples // profile.mel.hop_length
    vocode = load_vocoder(profile.codec, profile.mel, profile.corpus.sample_rate_hz)
    audio = open_memmap(out / "audio.npy", "w+", np.int16, (n, profile.corpus.clip_samples))
    decoded = open_memmap(out / "decoded.npy", "w+", np.float32, (n, frames, profile.mel.n_mels))
    step = min(CHUNK, profile.codec.batch_size)
    with progress(total=n, desc=desc, unit="clip") as bar:
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            decoded[rows] = decode(rows)
            audio[rows] = vocode(decoded[rows])
            forget(audio)
            forget(decoded)
            bar.update(rows.stop - start)
    audio.flush()
    decoded.flush()


def compute_roundtrip(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Sends held-out clips and the first training clips through codec and vocoder.

    Writes audio.npy, decoded.npy and queries.parquet: query_id, clip_id, split, index, caption, updates, sample_seed, and
    codec_cosine, codec_mae (the codec alone), vocoder_cosine, vocoder_mae (both parts), departure and change (of the
    original: deviation from the mean spectrum, and mean difference of neighbouring frames). Cosines are centred: minus the
    training mean of each mel bin; all others are in nepers.
    """
    data = corpus.load_corpus(upstream["corpus"])
    train = data.rows("train")
    rows = np.concatenate([data.rows("heldout"), train[: profile.codec.n_roundtrip]])
    originals = Selection(data.mels, rows)
    pass_through_codec(out, originals, profile, "codec and vocoder")
    decoded, audio = (np.load(out / f"{name}.npy", mmap_mode="r") for name in ("decoded", "audio"))
    mean, measures = data.mel_mean(), []
    for part, mels in chunks(originals, CHUNK):
        vocoded = log_mel(audio[part], profile.mel, profile.corpus.sample_rate_hz)
        found = {"departure": (mels - mean).std(axis=(1, 2)), "change": np.abs(np.diff(mels, axis=1)).mean(axis=(1, 2))}
        for name, after in (("codec", decoded[part]), ("vocoder", vocoded)):
            found[f"{name}_cosine"] = cosines(mels - mean, after - mean)
            found[f"{name}_mae"] = np.abs(mels - after).mean(axis=(1, 2))
        measures.append(pd.DataFrame(found))
    table = data.clips.iloc[rows][["split", "index", "clip_id", "caption"]].reset_index(drop=True)
    table = table.join(pd.concat(measures, ignore_index=True)).assign(updates=0, sample_seed=0)
    table.assign(query_id="roundtrip_" + table["clip_id"]).to_parquet(out / "queries.parquet", index=False)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of each pair of spectrograms [N, T, M] and [N, T, M]: [N]."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def compute_twins(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Renders the twins of one training set and sends them through codec and vocoder: queries.parquet, audio.npy."""
    data = corpus.load_corpus(upstream["corpus"])
    indices = corpus.subset(n_train, draw, profile.corpus.n_train, profile.training.seed)
    if profile.corpus.kind == "planted":  # of the clips whose captions are asked for, not of every copy
        train = data.clips[data.clips["split"] == "train"]
        indices = originals(train)[: profile.planted.n_prompts]
    table, recipes = corpus.twin_recipes(profile.corpus, data.clips, indices, profile.twins.n_twins)
    audio = corpus.render_all(recipes, profile.corpus, desc="mixing twins")
    mels = np.concatenate([log_mel(part, profile.mel, profile.corpus.sample_rate_hz) for part in audio])
    pass_through_codec(out, mels, profile, f"twins of n = {n_train}")
    if profile.corpus.kind == "planted":
        table["query_id"] = "dup_" + table["query_id"]  # another set's clips under the same numbers
    table.assign(updates=0, sample_seed=0).to_parquet(out / "queries.parquet", index=False)


def compute_training(out: Path, upstream: dict[str, Path], config: TrainingConfig, n_pool: int) -> None:
    """Trains the denoiser of one run on its draw of the encoded clips, or takes TANGO's where the profile names it."""
    rows = corpus.subset(config.n_train, config.draw, n_pool, config.seed)
    latents = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r")
    text = load_text(upstream["encoding"])
    if config.checkpoint_path:
        return tango.write_checkpoint(out, config, latents.shape[1:], text["null_state"].shape[-1])
    latents = latents[rows]
    training.train(
        out, config, latents, text["states"][rows], text["mask"][rows], text["null_state"], text["null_mask"]
    )
