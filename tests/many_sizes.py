"""Made-up tables of a study of six sizes, each with checkpoints of its own: those of three sizes, stretched."""

import pandas as pd

from helpers.sound.profiles import load_profile

LAW = load_profile("pocket")
SIZES = LAW.sizes
SOURCE = dict(zip(SIZES, (100, 500, 500, 500, 4500, 4500)))  # whose rows each size has
LAST = {n: schedule[-1] for n, schedule in zip(SIZES, LAW.schedules)}


def of_many(table: pd.DataFrame) -> pd.DataFrame:
    """`table` of the sizes 100, 500 and 4,500, by size, with rows for each of SIZES."""
    return pd.concat([table[table["n_train"] == SOURCE[n]].assign(n_train=n) for n in SIZES], ignore_index=True)


def scheduled(table: pd.DataFrame) -> pd.DataFrame:
    """`of_many`, whose sizes are trained for as long as those of `law`, so that they share no moment."""
    rows = of_many(table)
    last = rows["n_train"].map(LAST)
    rows["updates"] = (rows["updates"] * last / rows.groupby("n_train")["updates"].transform("max")).round().astype(int)
    if "epochs" in rows:
        rows["epochs"] = rows["updates"] * 32 / rows["n_train"]
    return rows
