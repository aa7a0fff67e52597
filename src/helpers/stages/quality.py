"""The quality stage: how near generated clips are to real ones as a set, and how well they agree with their captions.

A model that makes noise replicates nothing and proves nothing.

Notebook: 04_generation.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.cosine import row_cosines
from helpers.base.profile import Profile
from helpers.base.seeds import seeded
from helpers.base.settings import EMBEDDINGS
from helpers.copies.kernel_distance import kernel_distance_interval
from helpers.copies.rates import cluster_bootstrap, flagged_rate, interval_columns

# clips a side: kernels of 500 by 500 take milliseconds, and more real clips are rarely round-tripped
MAX_COMPARED = 500
MIN_COMPARED = 4  # a jackknife needs three; below this an interval says nothing
SETTINGS = ("updates", "weights", "prompt_set", "guidance", "steps")  # one value each within an arm
COLUMNS = (
    *("n_train", "draw", "arm", *SETTINGS, "embedding", "n_generated", "n_compared"),
    *("kid", "kid_low", "kid_high", "floor_kid", "floor_low", "floor_high", "twins_kid", "twins_low", "twins_high"),
    *("clap_agreement", "clap_agreement_low", "clap_agreement_high", "real_agreement"),
    *("silent_rate", "silent_low", "silent_high", "clipped_rate"),
)


def compute(out: Path, upstream: dict[str, Path], profile: Profile, n_train: int, draw: int) -> None:
    """Writes quality.csv (`COLUMNS`): one row for each arm of the generated clips and each embedding that was stored.

    kid compares generated clips with the ceiling; floor_kid as many held-out clips and twins_kid as many twins with the
    same ceiling. All are real sound after codec and vocoder, but held-out clips hold other recordings, which CLAP was not
    trained on either: new mixtures of the training recordings, the twins, are the nearer mark. Clips of one training clip
    or one planted cluster do not count as a pair. Agreement is the mean cosine of CLAP's audio and caption embeddings.
    Silent clips count in n_generated, silent_rate and clipped_rate alone. NaN where fewer than
    `MIN_COMPARED` clips can be compared, and where there is no CLAP. Raises ValueError for arrays that do not match the
    queries, or for an arm of several settings.
    """
    folder = upstream["retrieval"]
    queries = pd.read_parquet(folder / "queries.parquet").reset_index(drop=True)
    present = [name for name in EMBEDDINGS if (folder / f"{name}.npy").is_file()]
    embeddings = {name: _load(folder, name, len(queries)) for name in present}
    agreement = np.full(len(queries), np.nan)
    if "clap" in present:
        agreement = row_cosines(embeddings["clap"], _load(folder, "clap_text", len(queries)))
    rows, units = [], _units(queries, upstream["corpus"])
    for arm, made in queries[queries["kind"] == "generated"].groupby("arm", sort=False):
        about = {"n_train": n_train, "draw": draw, "arm": arm} | _settings(arm, made) | _rates(made, profile)
        about |= _agreements(agreement, queries, made, profile)
        compared = _compared(queries, made, profile.thresholds.seed)
        for name, table in embeddings.items():
            distances = _distances(table, units, compared, profile.thresholds.confidence)
            rows.append(about | {"embedding": name} | distances)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(out / "quality.csv", index=False)


def _load(folder: Path, name: str, n_queries: int) -> np.ndarray:
    table = np.load(folder / f"{name}.npy", mmap_mode="r")
    if len(table) != n_queries:
        raise ValueError(f"{name}.npy: expected {n_queries} rows, one a query, got {len(table)}")
    return table


def _settings(arm: str, made: pd.DataFrame) -> dict:
    for name in SETTINGS:
        if made[name].nunique(dropna=False) > 1:
            raise ValueError(f"arm {arm}: expected one value of {name}, got {', '.join(map(str, made[name].unique()))}")
    return {name: made[name].iloc[0] for name in SETTINGS}


def _rates(made: pd.DataFrame, profile: Profile) -> dict:
    silent = flagged_rate(made["silent"].to_numpy(bool), profile.thresholds.confidence)
    return {
        "n_generated": len(made), **interval_columns("silent", silent, "silent_rate"),
        "clipped_rate": float(made["clipped"].to_numpy(bool).mean()),
    }  # fmt: skip


def _sounding(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["silent"].to_numpy(bool)]


def _agreements(agreement: np.ndarray, queries: pd.DataFrame, made: pd.DataFrame, profile: Profile) -> dict:
    """Means of the agreement [Q] over sounding clips: of an arm, with its interval over prompts, and of the ceiling."""
    config, made = profile.thresholds, _sounding(made)
    real = agreement[_sounding(queries[queries["kind"] == "ceiling"]).index]
    values, mean, low, high = agreement[made.index], math.nan, math.nan, math.nan
    if len(values) and not np.isnan(values).any():
        mean = float(values.mean())
        # the clips of one prompt belong together; a held-out prompt has no training clip, so no index
        prompts = made["index"].astype(str).where(made["index"] >= 0, made["caption"])
        low, high = cluster_bootstrap(values, prompts, np.mean, config.n_bootstrap, config.confidence, config.seed)
    return {
        "clap_agreement": mean, "clap_agreement_low": low, "clap_agreement_high": high,
        "real_agreement": float(real.mean()) if len(real) else math.nan,
    }  # fmt: skip


def _units(queries: pd.DataFrame, corpus: Path) -> np.ndarray:
    """What each query [Q] must not be paired within: its own clip's planted cluster or number; else a number of its own."""
    train = pd.read_parquet(corpus / "clips.parquet").query("split == 'train'")
    clusters = pd.factorize(train["cluster_id"])[0] if "cluster_id" in train else np.arange(len(train))
    index = queries["index"].to_numpy()
    return np.where(index >= 0, clusters[index], -1 - np.arange(len(queries)))


def _compared(queries: pd.DataFrame, made: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    """Row numbers of sounding clips of each kind, equally many where there are; of an arm's prompts one clip each."""
    groups = {kind: queries[queries["kind"] == kind] for kind in ("ceiling", "heldout")}
    groups["generated"] = made[made["sample_seed"] == made["sample_seed"].min()]
    twins = queries[queries["kind"] == "twins"]
    groups["twins"] = twins[~twins["index"].duplicated()]  # the first of each clip
    rows = {}
    for kind, table in groups.items():
        chosen = _sounding(table).index.to_numpy()
        rows[kind] = chosen[seeded(seed, "quality", kind).permutation(len(chosen))]
    count = min(MAX_COMPARED, *(len(chosen) for kind, chosen in rows.items() if kind != "twins"))
    return {kind: chosen[:count] for kind, chosen in rows.items()}


def _distances(table, units: np.ndarray, compared: dict, confidence: float) -> dict:
    """n_compared, and the kernel distances to the ceiling of generated, held-out and twin clips with their intervals."""
    distances, real = {"n_compared": len(compared["generated"])}, compared["ceiling"]
    for name, kind in {"kid": "generated", "floor": "heldout", "twins": "twins"}.items():
        made, limits = compared[kind], (math.nan,) * 3
        if min(len(made), len(real)) >= MIN_COMPARED:
            limits = kernel_distance_interval(table[made], table[real], confidence, (units[made], units[real]))
        columns = ("kid" if name == "kid" else f"{name}_kid", f"{name}_low", f"{name}_high")
        distances |= dict(zip(columns, limits))
    return distances
