"""Near-exact shares by what the training clip of the prompt holds: music, a single event.

Notebook: 06_thresholds.
"""

import pandas as pd

from helpers.base.settings import ThresholdsConfig
from helpers.copies import rates
from helpers.sound.mixtures import Recipe

COLUMNS = ["n_train", "draw", "kind", "stratum", "near_exact", "n", "n_defined", "rate", "low", "high"]


def near_exact_by_content(judged: pd.DataFrame, clips: pd.DataFrame, config: ThresholdsConfig) -> pd.DataFrame:
    """One row for each run, kind and stratum, with a bootstrap interval over groups; strata without a clip have none.

    `judged` has a row a query: n_train, draw, kind, own_id, near_exact (missing where undefined), group. The share is of the
    n_defined clips of which it is known; NaN where it is known of none. `clips` lists the training clips that own_id
    names, with their classes and recipe.
    """
    clips = clips.set_index("clip_id").loc[judged["own_id"].unique()]
    music = judged["own_id"].map(clips["classes"].map(lambda names: "music" in set(names)))
    single = judged["own_id"].map(clips["recipe"].map(_events) <= 1)
    strata = {"music": music, "no music": ~music, "one event": single, "several events": ~single}
    rows = []
    for (n_train, draw, kind), part in judged.groupby(["n_train", "draw", "kind"]):
        for stratum, member in strata.items():
            if (chosen := part[member[part.index]]).empty:
                continue
            rate = rates.clustered_rate(
                chosen["near_exact"].array, chosen["group"], config.n_bootstrap, config.confidence, config.seed
            )
            rows.append((n_train, draw, kind, stratum, rate.count, len(chosen), rate.n, rate.rate, rate.low, rate.high))
    return pd.DataFrame(rows, columns=COLUMNS)


def _events(recipe: str) -> int:
    return sum(layer.role == "foreground" for layer in Recipe.from_json(recipe).layers)
