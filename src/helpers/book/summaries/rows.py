"""Rows of the study's tables that the last chapters speak of."""

import re
from pathlib import Path

import pandas as pd
from pandas.api.types import is_integer_dtype

from helpers.base.arms import MAIN

FLAGGED = ("flagged_rate", "ci_low", "ci_high")  # of replication.csv: the share and the limits of its interval


def rows_of(table: pd.DataFrame, **where) -> pd.DataFrame:
    """Rows of the main training set in which the columns have these values, by size and draw."""
    chosen = table["training_set"] == "main"
    for column, value in where.items():
        chosen &= table[column] == value
    by = [column for column in ("n_train", "draw") if column in table]
    return table[chosen].sort_values(by, kind="stable").reset_index(drop=True)


def best_matches(folder: Path, detector: str) -> pd.DataFrame:
    """The best match of each clip of the scores stage by one detector: of all known kinds, and of the first draws' main clips."""
    tables = [pd.read_parquet(folder / f"{name}.parquet") for name in ("scores", "null")]
    best = rows_of(pd.concat(tables, ignore_index=True), rank=1, detector=detector, draw=0)
    return best[(best["kind"] != "generated") | (best["arm"] == MAIN)]


def of_own(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, where near-exact means of the own clip, of the null's clips too where these have own clips (twins)."""
    renamed = table.copy()
    for end in ("", "_rate", "_low", "_high"):
        if f"own_near_exact{end}" in table and f"near_exact{end}" in table:
            renamed[f"near_exact{end}"] = table[f"own_near_exact{end}"]
        if f"twins_own_near_exact{end}" in table:
            null = f"null_near_exact{end}"
            renamed[null] = table[f"twins_own_near_exact{end}"].fillna(table[null])
    return renamed


def near_exact_of(one_gallery: bool) -> str:
    """What a table calls the column near_exact: where all runs share one gallery, it is of the own clip anyway."""
    return f"near-exact of {'the own' if one_gallery else 'any'} clip"


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of replication.csv by size, draws pooled: means of shares, their lowest and highest limits, sums of counts; `draws`."""
    numbers = table.select_dtypes("number").columns.drop("n_train")
    how = {
        name: "sum" if is_integer_dtype(table[name]) or re.search(r"(^|_)n(_|$)", name) else "mean" for name in numbers
    }
    how |= dict.fromkeys((name for name in numbers if name.endswith("_low")), "min")
    how |= dict.fromkeys((name for name in numbers if name.endswith("_high")), "max")
    return table.groupby("n_train").agg(how).assign(draws=table.groupby("n_train")["draw"].nunique()).reset_index()


def shares_by(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Near-exact rate, low, high, and null_rate and null_high, over the draws of each group, in the order of `by`; n, n_defined."""
    return rows.groupby(by).agg(
        rate=("near_exact_rate", "mean"), low=("near_exact_low", "min"), high=("near_exact_high", "max"),
        null_rate=("null_near_exact_rate", "mean"), null_high=("null_near_exact_high", "max"),
        n=("n_generated", "sum"), n_defined=("n_defined", "sum"),
    )  # fmt: skip


def of_both_readings(rows: pd.DataFrame, equal_epochs: int) -> pd.DataFrame:
    """The rows of the main arms, of equal updates, and of the arms after `equal_epochs` epochs, by size and draw.

    Whether a study like the paper keeps updates or epochs equal across sizes, its row is there.
    """
    equal = (rows["epochs"] == equal_epochs) & (rows["prompt_set"] == "train") & (rows["weights"] == "ema")
    return rows[(rows["arm"] == MAIN) | (equal & is_checkpoint(rows))].reset_index(drop=True)


def is_checkpoint(table: pd.DataFrame) -> pd.Series:
    """Which rows are of arms that differ in nothing but the number of updates: the main one and the earlier checkpoints,
    asked for prompts of the same kind."""
    earlier = table["updates"] < table.groupby("n_train")["updates"].transform("max")
    return (table["arm"] == MAIN) | (earlier & (table["prompt_set"] == "train"))


def checkpoints(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `is_checkpoint`."""
    return table[is_checkpoint(table)].reset_index(drop=True)
