"""The generation stage: clips from prompts, each from a recorded noise seed of its own, through codec and vocoder.

Notebook: 04_generation.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers import corpus, sampling, training
from helpers.clips import decode_and_vocode, load_text
from helpers.codec import load_codec
from helpers.config import GenerationConfig, Profile
from helpers.planted import originals
from helpers.soundscapes import seeded
from helpers.text import encode_captions

N_REFERENCE = 4  # latents kept, so that anyone can check that they come out again
# What a clip's latent made again must reach with the one kept. Batch and machine change the order of floating-point sums,
# and 20 solver steps carry that on; another seed, caption or network gives another clip.
LEAST_COSINE = 0.999
QUERY_COLUMNS = ["query_id", "clip_id", "index", "caption", "updates", "sample_seed", "noise_seed"]


def compute(out: Path, upstream: dict[str, Path], profile: Profile, config: GenerationConfig, arm: str) -> None:
    """Generates one arm's clips.

    Writes queries.parquet (query_id, clip_id, index, caption, updates, sample_seed, noise_seed, arm, weights, prompt_set,
    guidance, steps, silent, clipped), decoded.npy, audio.npy, and first_latents.npy, the latents of the first few clips.
    """
    data = corpus.load_corpus(upstream["corpus"])
    queries = plan_queries(upstream["training"], data, profile, config, arm)
    latents = generate_latents(upstream, queries, profile, config)
    np.save(out / "first_latents.npy", latents[:N_REFERENCE])
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    decode_and_vocode(out, len(latents), lambda r: codec.decode(latents[r]), profile, f"decoding n = {config.n_train}")
    peak = np.abs(np.load(out / "audio.npy", mmap_mode="r").astype(np.int32)).max(axis=1)
    queries = queries.assign(
        arm=arm, weights=config.weights, prompt_set=config.prompts, guidance=float(config.guidance), steps=config.steps,
        silent=peak < 33, clipped=peak >= 32767,
    )  # fmt: skip
    queries.to_parquet(out / "queries.parquet", index=False)


def plan_queries(
    training_folder: Path, data: corpus.Corpus, profile: Profile, config: GenerationConfig, arm: str = "main"
) -> pd.DataFrame:
    """One row a clip to generate; the noise seed depends on prompt and repetition alone, never on order or batch."""
    updates = config.updates or training.last_checkpoint(training_folder)
    split = "heldout" if config.prompts == "heldout" else "train"
    clips = data.clips[data.clips["split"] == split].reset_index(drop=True)
    key = profile.key(config.n_train, config.draw)
    rows = []
    for index in _prompts(clips, profile, config):
        for repeat in range(config.seeds_per_prompt):
            scope = () if split == "train" else (split,)
            noise_seed = int(seeded(config.sample_seed, "noise", *scope, index, repeat).integers(2**31))
            query_id = f"gen_{key}_{arm}_{index:05d}_s{repeat}"
            rows.append(
                (query_id, clips["clip_id"][index], index, clips["caption"][index], updates, repeat, noise_seed)
            )
    return pd.DataFrame(rows, columns=QUERY_COLUMNS)


def _prompts(clips: pd.DataFrame, profile: Profile, config: GenerationConfig) -> list[int]:
    """Row numbers, within their split, of the clips whose captions are asked for."""
    if config.prompts == "heldout":
        return list(range(min(config.n_prompts, len(clips))))
    indices = corpus.subset(config.n_train, config.draw, profile.corpus.n_train, profile.training.seed)
    if config.prompts == "clusters":
        return originals(clips)[: config.n_prompts].tolist()
    return corpus.spread(indices, config.n_prompts).tolist()


def generate_latents(
    upstream: dict[str, Path], queries: pd.DataFrame, profile: Profile, config: GenerationConfig
) -> np.ndarray:
    """Latents float32 [Q, C, h, w] of the clips that `queries` (index, caption, noise_seed) asks for."""
    shape = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r").shape[1:]
    text = load_text(upstream["encoding"])
    if config.prompts == "heldout":  # the encoding stage knows the training captions only
        states, mask = encode_captions(queries["caption"].tolist(), profile.text)
    else:
        states, mask = (text[name][queries["index"].to_numpy()] for name in ("states", "mask"))
    return sampling.sample_latents(
        training.load_unet(upstream["training"], config.updates, config.weights), states, mask,
        text["null_state"], text["null_mask"], queries["noise_seed"].tolist(), config, shape,
    )  # fmt: skip


def regenerate(
    training_folder: Path, queries: pd.DataFrame, profile: Profile, config: GenerationConfig, shape
) -> np.ndarray:
    """Generates the clips of `queries` again, one at a time, from the denoiser and their captions alone: latents [Q, C, h, w].

    `shape` is (C, h, w). What was made in a batch, perhaps on another machine, must come out again.
    """
    unet = training.load_unet(training_folder, config.updates, config.weights)
    (null_state,), (null_mask,) = encode_captions([""], profile.text)
    alone = []
    for caption, seed in zip(queries["caption"], queries["noise_seed"]):
        states, mask = encode_captions([caption], profile.text)
        alone.append(sampling.sample_latents(unet, states, mask, null_state, null_mask, [seed], config, shape))
    return np.concatenate(alone)


def check_live(
    training_folder: Path, generation_folder: Path, profile: Profile, config: GenerationConfig, n: int = 2
) -> pd.DataFrame | None:
    """Makes the first `n` clips of a finished generation again and compares their latents with those kept.

    Columns: query_id, caption, cosine, relative_difference (norm of the difference over that of the latent kept), agrees
    (cosine at least LEAST_COSINE). None where the denoiser is not at hand, as in most of a published study.
    """
    if not any((Path(training_folder) / "checkpoints").glob(f"{config.weights}_*")):
        return None
    queries = pd.read_parquet(Path(generation_folder) / "queries.parquet").head(min(n, N_REFERENCE))
    kept = np.load(Path(generation_folder) / "first_latents.npy")[: len(queries)]
    again = regenerate(training_folder, queries, profile, config, kept.shape[1:])
    a, b = (latents.reshape(len(queries), -1).astype(np.float64) for latents in (again, kept))
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    cosine, difference = (a * b).sum(axis=1) / (norms[0] * norms[1]), np.linalg.norm(a - b, axis=1) / norms[1]
    table = queries[["query_id", "caption"]].reset_index(drop=True)
    return table.assign(cosine=cosine, relative_difference=difference, agrees=cosine >= LEAST_COSINE)
