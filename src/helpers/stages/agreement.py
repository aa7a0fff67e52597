"""The agreement stage: whether clips agree more with their own caption than with another's, of one run.

The scale of the agreement in `quality`: clips that ignore their captions agree with them too, as far as all captions are alike.

Notebook: 10_prevention.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.profile import Profile
from helpers.copies.rates import cluster_bootstrap

COLUMNS = ("n_train", "draw", "kind", "updates", "n_clips", "own", "own_low", "own_high", "another")
KIND = {"heldout": "recorded", "generated": "generated"}


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Writes agreement.csv (`COLUMNS`), of held-out captions: the recorded clips, and those that were generated at each checkpoint.

    own: the mean cosine of CLAP's embeddings of a clip and of its caption, with a bootstrap interval over captions. another: of a
    clip and of every other caption of the row, over all such pairs. Recorded clips went through codec and vocoder. Silent clips are left
    out. `updates` is 0 for what no model made. Without CLAP among the detectors the table has no row.
    """
    folder = upstream["retrieval"]
    queries = pd.read_parquet(folder / "queries.parquet").reset_index(drop=True)
    rows, config = [], profile.thresholds
    if (folder / "clap.npy").is_file():
        audio, text = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("clap", "clap_text"))
        asked = queries["kind"].eq("heldout") | queries["prompt_set"].eq("heldout")
        sounding = queries[asked & ~queries["silent"].astype(bool)]
        for (kind, updates), clips in sounding.groupby(["kind", "updates"]):
            cosines = np.float64(audio[clips.index]) @ np.float64(text[clips.index]).T
            captions = clips["caption"].to_numpy()
            own, other = np.diag(cosines), captions[:, None] != captions[None, :]
            limits = cluster_bootstrap(own, captions, np.mean, config.n_bootstrap, config.confidence, config.seed)
            another = cosines[other].mean() if other.any() else np.nan
            rows.append((n_train, draw, KIND[kind], int(updates), len(own), own.mean(), *limits, another))
    pd.DataFrame(rows, columns=[*COLUMNS]).to_csv(out / "agreement.csv", index=False)
