"""What tells a replay without the training set, from the published runs of the study of onsets."""

from pathlib import Path

import pandas as pd

from helpers.base.csv_file import read_csv
from helpers.book.tables import arrange
from helpers.book.words import shares, with_interval

SIGNS = {  # by method: what its panel is called; the search itself, which defines the truth, has none
    "caption_effect": "effect of the caption",
    "caption_effect_first": "effect at the first step",
    "one_step": "one step is enough",
    "loss": "loss (needs the clip)",
}
NAMES = SIGNS | {"loss": "loss", "mel": "log-mel (the truth)"}


def runs_of(folder: Path | None) -> pd.DataFrame:
    """data_free.csv of every published run of `folder`, in the order of sizes and draws; no row where there is none."""
    files = sorted((folder / "data_free").glob("*/data_free.csv")) if folder else []
    if not files:
        return pd.DataFrame(columns=["method", "n_train", "draw"])
    runs = pd.concat(map(pd.read_csv, files), ignore_index=True)
    return runs.sort_values(["n_train", "draw"], kind="stable", ignore_index=True)


def prompts_of(folder: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Every prompt of the largest size's first draw that has replays, with its score by each method."""
    found = runs[runs["positives"] > 0] if (runs["positives"] > 0).any() else runs
    last = found[found["n_train"] == found["n_train"].max()].iloc[0]
    return read_csv(folder / "data_free" / f"n{last['n_train']}_d{last['draw']}" / "prompts.csv")


def in_words(runs: pd.DataFrame) -> pd.DataFrame:
    """data_free.csv as it is shown: how well each method does."""
    columns = {
        "n": "n_train", "draw": "draw", "method": runs["method"].map(NAMES), "needs": runs["needs"].str.split(";").str[0],
        "AUROC": with_interval(runs.round(2), "auroc", "low", "high", percent=False),
        "replays found at 1 % false alarms": shares(runs, "tpr_at_fpr_1pct"),
    }  # fmt: skip
    return arrange(runs, columns, "How well each method tells replayed prompts from held-out ones. 0.5 is chance.")


def counts_in_words(runs: pd.DataFrame) -> pd.DataFrame:
    """How many prompts of each kind a run has, and what each method takes for a clip."""
    columns = {
        "n": "n_train", "draw": "draw", "method": runs["method"].map(NAMES), "seconds a clip": "seconds_a_clip",
        "replayed": "positives", "held out": "negatives", "neither": "neither",
    }  # fmt: skip
    return arrange(runs, columns, "Prompts of each kind, and seconds a clip.", {"seconds a clip": ".2f"})


def sentences(runs: pd.DataFrame) -> list[str]:
    """A sentence a size: which sign that needs nothing but the model does best, and whether the loss does better."""
    told = []
    for n_train, rows in runs.groupby("n_train"):
        means = rows.groupby("method")["auroc"].mean()
        if means.isna().all():
            told.append(f"With **{n_train:,} clips** too few prompts are replayed to say.")
            continue
        alone = means[[name for name in SIGNS if name != "loss"]]
        best, beside = alone.idxmax(), "higher" if means["loss"] > alone.max() else "no higher"
        told.append(
            f"With **{n_train:,} clips** the best sign that needs nothing but the model is the {NAMES[best]}, with an AUROC "
            f"of {alone.max():.2f}. The loss, which needs the candidate clip, reaches {means['loss']:.2f}: {beside}."
        )
    return told
