"""The generation stage: clips from prompts, each from a recorded noise seed of its own, through codec and vocoder.

Notebook: 04_generation.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import chunks, forget
from helpers.base.parquet_file import write_parquet
from helpers.base.parts import make_parts, shards_beside
from helpers.base.profile import Profile
from helpers.base.seeds import seed_of
from helpers.base.settings import GenerationConfig
from helpers.models import denoiser, sampler
from helpers.models.codec import load_codec
from helpers.models.regeneration import N_REFERENCE
from helpers.models.synthesis import decode_and_vocode
from helpers.models.text import encode_captions, load_text
from helpers.sound import corpus
from helpers.sound.silence import GENERATED_PEAK

SHARD = 64  # clips of a file, at least: what a killed run has to make again
QUERY_COLUMNS = ["query_id", "clip_id", "index", "caption", "updates", "sample_seed", "noise_seed"]


def compute(out: Path, upstream: dict[str, Path], profile: Profile, config: GenerationConfig, arm: str) -> None:
    """Generates one arm's clips; what `compute_shard` has left beside `out` is not computed again.

    Writes queries.parquet (query_id, clip_id, index, caption, updates, sample_seed, noise_seed, arm, weights, prompt_set,
    guidance, steps, silent, clipped), decoded.npy, audio.npy, and first_latents.npy, the latents of the first few clips.
    """
    queries, parts = compute_shard(shards_beside(out), upstream, profile, config, arm)
    latents = [latent for part in parts for latent in np.load(part, mmap_mode="r")]  # views of what stays on the disk
    np.save(out / "first_latents.npy", np.array(latents[:N_REFERENCE]))
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)

    def decode(rows: slice) -> np.ndarray:
        some = np.array(latents[rows])
        for latent in latents[rows]:
            forget(latent)  # all that is mapped of its file
        return codec.decode(some)

    decode_and_vocode(out, len(latents), decode, profile, f"decoding n = {config.n_train}")
    peak = np.concatenate([np.abs(some.astype(np.int32)).max(axis=1)
                           for _, some in chunks(np.load(out / "audio.npy", mmap_mode="r"), SHARD)])  # fmt: skip
    queries = queries.assign(
        arm=arm, weights=config.weights, prompt_set=config.prompts, guidance=float(config.guidance), steps=config.steps,
        silent=peak < GENERATED_PEAK, clipped=peak >= 32767,
    )  # fmt: skip
    write_parquet(queries, out / "queries.parquet")


def compute_shard(
    folder: Path,
    upstream: dict[str, Path],
    profile: Profile,
    config: GenerationConfig,
    arm: str,
    k: int = 1,
    n: int = 1,
) -> tuple[pd.DataFrame, list[Path]]:
    """Writes the k-th of n parts of an arm's latents into `folder`, some clips a file; what is there is not made again.

    A file begins where a batch does, and each clip has a seed of its own, so the clips are those of one run through. The
    queries of the arm, and all its files in order.
    """
    queries = plan_queries(upstream["training"], corpus.load_corpus(upstream["corpus"]), profile, config, arm)
    step = -(-SHARD // config.batch_size) * config.batch_size
    model = functools.cache(lambda: denoiser.load_unet(upstream["training"], config.updates, config.weights))

    def make(rows: slice) -> np.ndarray:
        return generate_latents(model(), upstream, queries[rows], profile, config)

    return queries, make_parts(folder, len(queries), step, make, k, n)


def plan_queries(
    training_folder: Path, data: corpus.Corpus, profile: Profile, config: GenerationConfig, arm: str = "main"
) -> pd.DataFrame:
    """One row a clip to generate; the noise seed depends on prompt and repetition alone, never on order or batch."""
    updates = config.updates or denoiser.last_checkpoint(training_folder)
    split = "heldout" if config.prompts == "heldout" else "train"
    clips = data.clips[data.clips["split"] == split].reset_index(drop=True)
    key = profile.key(config.n_train, config.draw)
    rows = []
    for index in _prompts(clips, profile, config):
        for repeat in range(config.seeds_per_prompt):
            scope = () if split == "train" else (split,)
            noise_seed = seed_of(config.sample_seed, "noise", *scope, index, repeat)
            query_id = f"gen_{key}_{arm}_{index:05d}_s{repeat}"
            rows.append(
                (query_id, clips["clip_id"][index], index, clips["caption"][index], updates, repeat, noise_seed)
            )
    return pd.DataFrame(rows, columns=QUERY_COLUMNS)


def _prompts(clips: pd.DataFrame, profile: Profile, config: GenerationConfig) -> list[int]:
    """Row numbers, within their split, of the clips whose captions are asked for."""
    if config.prompts == "heldout":
        return list(range(min(config.n_prompts, len(clips))))
    run = profile.training_run(config.n_train, config.draw)
    indices = (corpus.other_subset if config.prompts == "other_draw" else corpus.subset)(run, profile.corpus.n_train)
    if config.prompts == "clusters":
        return corpus.originals(clips)[: config.n_prompts].tolist()
    return corpus.spread(indices, config.n_prompts).tolist()


def generate_latents(
    unet, upstream: dict[str, Path], queries: pd.DataFrame, profile: Profile, config: GenerationConfig
) -> np.ndarray:
    """Latents float32 [Q, C, h, w] of the clips that `queries` (index, caption, noise_seed) asks for."""
    latents, avoided = np.load(upstream["encoding"] / "latents.npy", mmap_mode="r"), None
    if config.max_similarity < 1:
        run = profile.training_run(config.n_train, config.draw)
        avoided = latents[np.sort(corpus.subset(run, profile.corpus.n_train))]
    text = load_text(upstream["encoding"])
    queries = queries.reset_index(drop=True)
    if config.prompts == "heldout":  # the encoding stage knows the training captions only
        states, mask = encode_captions(queries["caption"].tolist(), profile.text)
    else:
        states, mask = (text[name][queries["index"].to_numpy()] for name in ("states", "mask"))
    return sampler.sample_latents(
        unet, states, mask,
        text["null_state"], text["null_mask"], queries["noise_seed"].tolist(), config,
        latents.shape[1:], avoided,
    )  # fmt: skip
