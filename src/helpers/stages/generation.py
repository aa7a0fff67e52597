"""The generation stage: clips from prompts, each from a recorded noise seed of its own, through codec and vocoder.

Notebook: 04_generation.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.seeds import seeded
from helpers.base.settings import GenerationConfig, Profile
from helpers.models import denoiser, sampler
from helpers.models.codec import load_codec
from helpers.models.regeneration import N_REFERENCE
from helpers.models.synthesis import decode_and_vocode
from helpers.models.text import encode_captions, load_text
from helpers.sound import corpus
from helpers.sound.corpus import originals
from helpers.sound.silence import GENERATED_PEAK

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
        silent=peak < GENERATED_PEAK, clipped=peak >= 32767,
    )  # fmt: skip
    queries.to_parquet(out / "queries.parquet", index=False)


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
    run = profile.training_run(config.n_train, config.draw)
    indices = (corpus.other_subset if config.prompts == "other_draw" else corpus.subset)(run, profile.corpus.n_train)
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
    return sampler.sample_latents(
        denoiser.load_unet(upstream["training"], config.updates, config.weights), states, mask,
        text["null_state"], text["null_mask"], queries["noise_seed"].tolist(), config, shape,
    )  # fmt: skip
