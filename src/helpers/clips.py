"""Stages that send clips through the frozen parts and the denoiser: encoding, roundtrip, twins, training, generation.

Every query of the study is a clip that came out of codec and vocoder, so that a generated clip differs from its nulls
and its ceiling by the denoiser alone.

Notebooks: 02_codec, 03_training, 04_generation.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from helpers import corpus, sampling, tango, training
from helpers.codec import load_codec
from helpers.config import GenerationConfig, Profile, TrainingConfig, run_key
from helpers.mel import log_mel
from helpers.progress import progress
from helpers.soundscapes import seeded
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
            bar.update(rows.stop - start)
    audio.flush()
    decoded.flush()


def compute_roundtrip(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Sends held-out clips and the first training clips through codec and vocoder.

    Writes audio.npy, decoded.npy and queries.parquet: query_id, clip_id, split, index, caption, updates, sample_seed, and
    codec_cosine, codec_mae (the codec alone), vocoder_cosine, vocoder_mae (both parts). Cosines are centred: minus the
    training mean of each mel bin; mae is in nepers.
    """
    data = corpus.load_corpus(upstream["corpus"])
    train = data.rows("train")
    rows = np.concatenate([data.rows("heldout"), train[: profile.codec.n_roundtrip]])
    pass_through_codec(out, data.mels[rows], profile, "codec and vocoder")
    originals, decoded = data.mels[rows], np.load(out / "decoded.npy")
    vocoded = log_mel(np.load(out / "audio.npy"), profile.mel, profile.corpus.sample_rate_hz)
    mean = data.mel_mean()
    table = data.clips.iloc[rows][["split", "index", "clip_id", "caption"]].reset_index(drop=True)
    for name, mels in (("codec", decoded), ("vocoder", vocoded)):
        table[f"{name}_cosine"] = cosines(originals - mean, mels - mean)
        table[f"{name}_mae"] = np.abs(originals - mels).mean(axis=(1, 2))
    table["query_id"] = "roundtrip_" + table["clip_id"]
    table.assign(updates=0, sample_seed=0).to_parquet(out / "queries.parquet", index=False)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of each pair of spectrograms [N, T, M] and [N, T, M]: [N]."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def compute_twins(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Renders the twins of one training set and sends them through codec and vocoder: queries.parquet, audio.npy."""
    data = corpus.load_corpus(upstream["corpus"])
    indices = corpus.subset(n_train, draw, profile.corpus.n_train, profile.training.seed)
    table, recipes = corpus.twin_recipes(profile.corpus, data.clips, indices, profile.twins.n_twins)
    audio = corpus.render_all(recipes, profile.corpus, desc="mixing twins")
    mels = np.concatenate([log_mel(part, profile.mel, profile.corpus.sample_rate_hz) for part in audio])
    pass_through_codec(out, mels, profile, f"twins of n = {n_train}")
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


def compute_generation(out: Path, upstream: dict[str, Path], profile: Profile, config: GenerationConfig) -> None:
    """Generates clips with training prompts, each from a recorded noise seed of its own.

    Writes queries.parquet (query_id, clip_id, index, caption, updates, sample_seed, noise_seed, silent, clipped),
    latents.npy, decoded.npy and audio.npy.
    """
    data = corpus.load_corpus(upstream["corpus"])
    queries = plan_queries(upstream["training"], data, profile, config)
    latents = generate_latents(upstream, queries, config)
    np.save(out / "latents.npy", latents)
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    decode_and_vocode(out, len(latents), lambda r: codec.decode(latents[r]), profile, f"decoding n = {config.n_train}")
    peak = np.abs(np.load(out / "audio.npy").astype(np.int32)).max(axis=1)
    queries.assign(silent=peak < 33, clipped=peak >= 32767).to_parquet(out / "queries.parquet", index=False)


def generate_latents(upstream: dict[str, Path], queries: pd.DataFrame, config: GenerationConfig) -> np.ndarray:
    """Latents float32 [Q, C, h, w] of the clips that `queries` (index, noise_seed) asks for."""
    text, rows = load_text(upstream["encoding"]), queries["index"].to_numpy()
    shape = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r").shape[1:]
    return sampling.sample_latents(
        training.load_unet(upstream["training"], config.updates), text["states"][rows], text["mask"][rows],
        text["null_state"], text["null_mask"], queries["noise_seed"].tolist(), config, shape,
    )  # fmt: skip


def regeneration_cosines(
    upstream: dict[str, Path], generation: Path, profile: Profile, config: GenerationConfig, n: int
) -> np.ndarray:
    """Generates the first `n` clips again, one at a time, and compares their log-mels with the stored ones: cosines [n]."""
    queries = pd.read_parquet(generation / "queries.parquet").head(n)
    alone = [generate_latents(upstream, queries.iloc[[i]], config) for i in range(len(queries))]
    mels = load_codec(profile.codec.codec_path, profile.codec.codec_sha256).decode(np.concatenate(alone))
    return cosines(mels, np.load(generation / "decoded.npy", mmap_mode="r")[:n])


def plan_queries(
    training_folder: Path, data: corpus.Corpus, profile: Profile, config: GenerationConfig
) -> pd.DataFrame:
    """One row a clip to generate; the noise seed depends on prompt and repetition alone, never on order or batch."""
    last = max(int(p.stem.split("_")[1]) for p in (training_folder / "checkpoints").glob("ema_*"))
    updates = config.updates or last
    indices = corpus.subset(config.n_train, config.draw, profile.corpus.n_train, profile.training.seed)
    train = data.clips[data.clips["split"] == "train"].reset_index(drop=True)
    rows = []
    for index in map(int, indices[: config.n_prompts]):
        for repeat in range(config.seeds_per_prompt):
            noise_seed = int(seeded(config.sample_seed, "noise", index, repeat).integers(2**31))
            query_id = f"gen_{run_key(config.n_train, config.draw)}_u{updates}_{index:05d}_s{repeat}"
            rows.append(
                (query_id, train["clip_id"][index], index, train["caption"][index], updates, repeat, noise_seed)
            )
    return pd.DataFrame(
        rows, columns=["query_id", "clip_id", "index", "caption", "updates", "sample_seed", "noise_seed"]
    )
