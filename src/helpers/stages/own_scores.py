"""The own_scores stage: how near each checkpoint's clips come to the training clips of their own prompts.

Of a study that changes one thing to prevent copying this is all that is published of its search.

Notebook: 10_prevention.
"""

from pathlib import Path

import pandas as pd

from helpers.base.parquet_file import write_parquet
from helpers.base.profile import Profile
from helpers.copies.conclusions.prevention import of_checkpoints


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes own_scores.parquet (`prevention.OWN_SCORES`): a row a clip of a training prompt and detector."""
    scores = pd.read_parquet(upstream["retrieval"] / "scores.parquet")
    write_parquet(of_checkpoints(scores, profile), out / "own_scores.parquet")
