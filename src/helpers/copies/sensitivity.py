"""What other settings of the bias would have flagged: other beta, K and backgrounds.

Notebook: 06_thresholds.
"""

from collections.abc import Sequence

import pandas as pd

from helpers.base.arms import MAIN
from helpers.base.profile import Profile
from helpers.base.settings import ThresholdsConfig
from helpers.copies import calibration
from helpers.copies.score_table import ScoreTable


def choices(table: ScoreTable, run, detector: str, profile: Profile) -> pd.DataFrame:
    """How well every beta and K tells altered copies from the twins of part C1; `chosen` marks the best."""
    config = profile.thresholds
    if not (table.has(run, detector, "altered") and table.has(run, detector, "twins")):
        columns = ["beta", "k", "auroc", "training_set", "n_train", "draw", "detector", "chosen"]
        return pd.DataFrame(columns=columns)
    copies, twins = table.best(run, detector, "altered"), table.best(run, detector, "twins")
    c1 = calibration.split_calibration(twins["query_id"], config.seed) == "C1"
    background = {
        kind: table.background(run, detector, part["query_id"].to_numpy())
        for kind, part in (("altered", copies), ("twins", twins))
    }
    beta, k, compared = calibration.choose_beta_k(
        copies["score"].to_numpy(), background["altered"], twins["score"].to_numpy()[c1], background["twins"][c1],
        config.betas, config.ks,
    )  # fmt: skip
    chosen = (compared["beta"] == beta) & (compared["k"] == k)
    return compared.assign(training_set=run[0], n_train=run[1], draw=run[2], detector=detector, chosen=chosen)


def shares(table: ScoreTable, variants: pd.DataFrame, run, detector: str, profile: Profile) -> pd.DataFrame:
    """What the main clips' flagged share would be with another beta, K or background, each at a tau of its own."""
    config, null = profile.thresholds, profile.nulls[0]
    best = {"generated": table.best(run, detector, "generated", MAIN), null: table.best(run, detector, null)}
    background = {kind: table.background(run, detector, part["query_id"].to_numpy()) for kind, part in best.items()}
    tables = [
        _swept(best, background, null, config, config.ks).assign(
            background_size=profile.corpus.n_background, contaminated=0
        )
    ]
    if detector == profile.retrieval.detectors[0]:
        own = variants[(variants[["training_set", "n_train", "draw"]] == list(run)).all(axis=1)]
        for (size, contaminated, k), part in own.groupby(["size", "contaminated", "k"]):
            bias = part.drop_duplicates("query_id").set_index("query_id")["bias"]
            some = {kind: rows[rows["query_id"].isin(bias.index)].reset_index(drop=True) for kind, rows in best.items()}
            if all(len(rows) for rows in some.values()):
                # the bias is given: as a background of one neighbour it is its own mean
                given = {kind: bias[rows["query_id"]].to_numpy()[:, None] for kind, rows in some.items()}
                about: dict = {"k": k, "background_size": size, "contaminated": contaminated}
                tables.append(_swept(some, given, null, config, [1]).assign(**about))
    return pd.concat(tables, ignore_index=True).assign(
        training_set=run[0], n_train=run[1], draw=run[2], detector=detector
    )


def _swept(best: dict, background: dict, null: str, config: ThresholdsConfig, ks: Sequence[int]) -> pd.DataFrame:
    part = calibration.split_calibration(best[null]["query_id"], config.seed)
    scores = best[null]["score"].to_numpy()
    return calibration.sweep(
        best["generated"]["score"].to_numpy(), background["generated"],
        scores[part == "C2"], background[null][part == "C2"], config.betas, ks, config.fpr,
        (scores[part == "C3"], background[null][part == "C3"]), config.confidence,
    )  # fmt: skip
