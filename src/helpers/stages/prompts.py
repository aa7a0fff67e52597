"""The prompts stage: what every checkpoint of a run made of a few prompts, the same for runs of all sizes.

Notebook: 08_onset.
"""

from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from helpers.base.arms import checkpoint_arms, list_arms
from helpers.base.profile import Profile
from helpers.base.seeds import seeded
from helpers.sound import corpus

N_PROMPTS = 3


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Writes prompts.csv (n_train, draw, updates, query_id, own_id, caption, silent, file), and each clip as Ogg Vorbis."""
    chosen, parts = shared_prompts(profile, draw), []
    for name in sorted(upstream):
        queries = pd.read_parquet(upstream[name] / "queries.parquet")
        queries, audio = queries[queries["index"].isin(chosen)], np.load(upstream[name] / "audio.npy", mmap_mode="r")
        files = [f"{query_id}.ogg" for query_id in queries["query_id"]]
        for row, file in zip(queries.index, files):
            soundfile.write(out / file, audio[row], profile.corpus.sample_rate_hz, format="OGG", subtype="VORBIS")
        parts.append(queries.rename(columns={"clip_id": "own_id"}).assign(n_train=n_train, draw=draw, file=files))
    table = pd.concat(parts)[["n_train", "draw", "updates", "query_id", "own_id", "caption", "silent", "file"]]
    table.sort_values(["updates", "own_id"], kind="stable").to_csv(out / "prompts.csv", index=False)


def shared_prompts(profile: Profile, draw: int) -> np.ndarray:
    """Row numbers of at most N_PROMPTS training clips, drawn by a seed from those that this draw of each of `sharing_sizes` is
    asked for at every checkpoint; none where no clip is in all."""
    asked = _asked(profile, draw)
    common = reduce(np.intersect1d, [asked[n] for n in sharing_sizes(profile, draw)])
    return np.sort(seeded(profile.retrieval.seed, "prompts", draw).permutation(common)[:N_PROMPTS])


def sharing_sizes(profile: Profile, draw: int) -> list[int]:
    """The training sizes whose prompts are shared: all of a draw; where these have fewer than N_PROMPTS in common, all but the
    largest, and so on, down to two."""
    asked = _asked(profile, draw)
    sizes = [*asked]
    while len(sizes) > 2 and len(reduce(np.intersect1d, [asked[n] for n in sizes])) < N_PROMPTS:
        sizes.remove(max(sizes))
    return sizes


def _asked(profile: Profile, draw: int) -> dict[int, np.ndarray]:
    """The rows of the training clips that each size is asked for at every checkpoint, sizes in the profile's order."""
    alike, asked = checkpoint_arms(profile), {}
    for n in [n for n, d in profile.runs if d == draw]:
        members = corpus.subset(profile.training_run(n, draw), profile.corpus.n_train)
        arms = list_arms(profile, n, draw)
        some = [corpus.spread(members, arm.n_prompts) for name, arm in arms.items() if name in alike]
        asked[n] = reduce(np.intersect1d, some)
    return asked
