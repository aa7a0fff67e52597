"""The own_scores stage: how near each checkpoint's clips come to the training clips of their own prompts.

Of a study that changes one thing to prevent copying this is all that is published of its search.

Notebook: 10_prevention.
"""

from pathlib import Path

import pandas as pd

from helpers.base.arms import checkpoint_arms
from helpers.base.parquet_file import write_parquet
from helpers.base.profile import Profile

COLUMNS = ["n_train", "draw", "updates", "detector", "own_id", "own_score", "ref_id"]


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes own_scores.parquet (`COLUMNS`): a row a clip of a training prompt and detector; `ref_id` is the nearest clip."""
    scores = pd.read_parquet(upstream["retrieval"] / "scores.parquet")
    nearest = scores[(scores["rank"] == 1) & scores["arm"].isin(checkpoint_arms(profile))]
    write_parquet(nearest[COLUMNS].reset_index(drop=True), out / "own_scores.parquet")
