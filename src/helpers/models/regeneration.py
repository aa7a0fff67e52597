"""Makes generated clips again, one at a time, and compares them with what was kept.

Notebook: 04_generation.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.cosine import row_cosines
from helpers.base.profile import Profile
from helpers.base.settings import GenerationConfig
from helpers.models import denoiser, sampler
from helpers.models.text import encode_captions

N_REFERENCE = 4  # latents kept, so that anyone can check that they come out again
# What a clip's latent made again must reach with the one kept. Batch and machine change the order of floating-point sums,
# and 20 solver steps carry that on; another seed, caption or network gives another clip.
LEAST_COSINE = 0.999


def regenerate(
    training_folder: Path, queries: pd.DataFrame, profile: Profile, config: GenerationConfig, shape
) -> np.ndarray:
    """Generates the clips of `queries` again, one at a time, from the denoiser and their captions alone: latents [Q, C, h, w].

    `shape` is (C, h, w). What was made in a batch, perhaps on another machine, must come out again.
    """
    unet = denoiser.load_unet(training_folder, config.updates, config.weights)
    (null_state,), (null_mask,) = encode_captions([""], profile.text)
    alone = []
    for caption, seed in zip(queries["caption"], queries["noise_seed"]):
        states, mask = encode_captions([caption], profile.text)
        alone.append(sampler.sample_latents(unet, states, mask, null_state, null_mask, [seed], config, shape))
    return np.concatenate(alone)


def check_live(
    training_folder: Path, generation_folder: Path, profile: Profile, config: GenerationConfig, n: int = 2
) -> pd.DataFrame | None:
    """Makes the first `n` clips of a finished generation again and compares their latents with those kept.

    Columns: query_id, caption, cosine, relative_difference (norm of the difference over that of the latent kept), agrees
    (cosine at least LEAST_COSINE). None where the denoiser is not at hand, as in most of a published study, or where clips were
    kept away from training clips (`max_similarity`), which takes all of these.
    """
    if config.max_similarity < 1 or not any((Path(training_folder) / "checkpoints").glob(f"{config.weights}_*")):
        return None
    queries = pd.read_parquet(Path(generation_folder) / "queries.parquet").head(min(n, N_REFERENCE))
    kept = np.load(Path(generation_folder) / "first_latents.npy")[: len(queries)]
    again = regenerate(training_folder, queries, profile, config, kept.shape[1:])
    a, b = (latents.reshape(len(queries), -1).astype(np.float64) for latents in (again, kept))
    cosine, difference = row_cosines(a, b), np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
    table = queries[["query_id", "caption"]].reset_index(drop=True)
    return table.assign(cosine=cosine, relative_difference=difference, agrees=cosine >= LEAST_COSINE)
