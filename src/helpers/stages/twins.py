"""The twins stage: honest clips for one training set, its captions rendered anew, after codec and vocoder.

Notebook: 05_retrieval.
"""

from pathlib import Path

import numpy as np

from helpers.base.parquet_file import write_parquet
from helpers.base.profile import Profile
from helpers.models.synthesis import pass_through_codec
from helpers.sound import corpus
from helpers.sound.mel import log_mel


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Renders the twins of one training set and sends them through codec and vocoder: queries.parquet, audio.npy."""
    data = corpus.load_corpus(upstream["corpus"])
    indices = corpus.subset(profile.training_run(n_train, draw), profile.corpus.n_train)
    if profile.corpus.kind == "planted":  # of the clips whose captions are asked for, not of every copy
        train = data.clips[data.clips["split"] == "train"]
        indices = corpus.originals(train)[: profile.generation.n_prompts]
    table, recipes = corpus.twin_recipes(profile.corpus, data.clips, indices, profile.twins.n_twins)
    audio = corpus.render_all(recipes, profile.corpus, desc="mixing twins")
    mels = np.concatenate([log_mel(part, profile.mel, profile.corpus.sample_rate_hz) for part in audio])
    pass_through_codec(out, mels, profile, f"twins of n = {n_train}")
    if profile.corpus.kind == "planted":
        table["query_id"] = "dup_" + table["query_id"]  # another set's clips under the same numbers
    write_parquet(table.assign(updates=0, sample_seed=0), out / "queries.parquet")
