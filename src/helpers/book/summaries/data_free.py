"""What tells a replay without the training set, from the published runs of a study."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers.base.csv_file import read_csv
from helpers.book.tables import arrange
from helpers.book.words import listed, share_text, shares, with_interval

SIGNS = {  # by method: what its panel is called; the search itself, which defines the truth, has none
    "caption_effect": "effect of the caption",
    "caption_effect_first": "effect at the first step",
    "one_step": "first guess and result",
    "loss": "loss (needs the clip)",
}
LEAST_REPLAYED = 20  # prompts of one model, below which signs are not ranked
TELLS = 0.65  # an AUROC below is called no help: a guess has 0.5
NAMES = SIGNS | {"loss": "loss", "mel": "similarity (sets what a replay is)"}


def runs_of(folder: Path | None) -> pd.DataFrame:
    """data_free.csv of every published run of `folder`, in the order of sizes and draws; no row where there is none."""
    files = sorted((folder / "data_free").glob("*/data_free.csv")) if folder else []
    if not files:
        return pd.DataFrame(columns=["method", "n_train", "draw"])
    runs = pd.concat(map(pd.read_csv, files), ignore_index=True)
    return runs.sort_values(["n_train", "draw"], kind="stable", ignore_index=True)


def prompts_of(folder: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Every prompt of the largest size's first draw that has enough replays, with its score by each method."""
    found = _telling(runs)
    last = found[found["n_train"] == found["n_train"].max()].iloc[0]
    return read_csv(folder / "data_free" / f"n{last['n_train']}_d{last['draw']}" / "prompts.csv")


def _telling(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with LEAST_REPLAYED replayed prompts or more; all where there is none."""
    for least in (LEAST_REPLAYED, 1):
        if (many := runs["positives"] >= least).any():
            return runs[many]
    return runs


def in_brief(runs: pd.DataFrame) -> pd.DataFrame:
    """How well each method does over the runs with enough replays, from the least to the greatest: a row a method."""
    runs = _telling(runs)
    by = runs.groupby("method")
    rows = runs.drop_duplicates("method").set_index("method")
    columns = {
        "sign": rows.index.map(NAMES), "needs besides the model": rows["needs"].str.split(";").str[0],
        "AUROC": [_range(by.get_group(name)["auroc"], "{:.2f}".format) for name in rows.index],
        "replays found at 1 % false alarms": [_range(by.get_group(name)["tpr_at_fpr_1pct"], share_text) for name in rows.index],
    }  # fmt: skip
    n = len(runs[["n_train", "draw"]].drop_duplicates())
    return arrange(
        rows,
        columns,
        f"How well each sign tells confirmed replays from held-out prompts, of the {n} model{'s' * (n > 1)} with most replays.",
    )


def _range(values: pd.Series, text: Callable[[float], str]) -> str:
    """ "0.81 to 0.82" (on one line) of what is known; a dash where nothing is."""
    return (
        "\u00a0to\u00a0".join(dict.fromkeys(map(text, (values.min(), values.max())))) if values.notna().any() else "–"
    )


def in_words(runs: pd.DataFrame) -> pd.DataFrame:
    """data_free.csv as it is shown: how well each method does."""
    columns = {
        "training clips": "n_train", "draw": "draw", "sign": runs["method"].map(NAMES),
        "AUROC": with_interval(runs.round(2), "auroc", "low", "high", percent=False),
        "replays found at 1 % false alarms": shares(runs, "tpr_at_fpr_1pct"),
    }  # fmt: skip
    return arrange(runs, columns, "Every model by every sign, with 95 % intervals.")


def counts_in_words(runs: pd.DataFrame) -> pd.DataFrame:
    """How many prompts of each kind a run has, and what each method takes for a clip."""
    columns = {
        "training clips": "n_train", "draw": "draw", "sign": runs["method"].map(NAMES), "seconds a clip": "seconds_a_clip",
        "confirmed": "positives", "held out": "negatives", "not confirmed": "neither",
    }  # fmt: skip
    return arrange(runs, columns, "Prompts of each kind, and seconds a clip.", {"seconds a clip": ".2f"})


def sentences(runs: pd.DataFrame) -> list[str]:
    """A sentence a size: which sign that needs nothing but the model does best, and whether the loss does better."""
    told = []
    for n_train, rows in runs.groupby("n_train"):
        means = rows.groupby("method")["auroc"].mean()
        replayed = rows.groupby("draw")["positives"].first()
        if means.isna().all() or replayed.max() < LEAST_REPLAYED:
            told.append(
                f"With **{n_train:,} clips** {listed([str(n) for n in replayed])} prompt{'s are' if replayed.max() != 1 else ' is'} confirmed as replayed: too few to rank the signs."
            )
            continue
        alone = means[[name for name in SIGNS if name != "loss"]]
        ends = {end: rows[rows["method"] == alone.idxmax()][end] for end in ("low", "high")}
        more = round(means["loss"], 2) - round(alone.max(), 2)
        beside = "more" if more > 0 else "less" if more < 0 else "as much"
        told.append(
            f"With **{n_train:,} clips** ({listed([str(n) for n in replayed])} confirmed replays) the best of the three signs is the "
            f"{NAMES[alone.idxmax()]}, with an AUROC of {alone.max():.2f} ({ends['low'].min():.2f} to {ends['high'].max():.2f}). The loss, with the clip at hand, reaches {beside}: {means['loss']:.2f}."
        )
    return told


def beside_unconfirmed(folder: Path, runs: pd.DataFrame, sign: str = "caption_effect_first") -> str:
    """What a sign makes of trained prompts that the second judge does not confirm: against the replayed, against the held-out.

    Of models with LEAST_REPLAYED replayed prompts or more; "" where none has some of each kind.
    """
    rows = []
    for run in runs.drop_duplicates(["n_train", "draw"]).itertuples():
        prompts = read_csv(folder / "data_free" / f"n{run.n_train}_d{run.draw}" / "prompts.csv")
        trained, replayed = prompts["kind"] == "train", prompts["replayed"]
        kinds = [prompts[replayed], prompts[trained & ~replayed], prompts[~trained]]
        if len(kinds[0]) >= LEAST_REPLAYED and all(map(len, kinds)):
            high, middle, low = (kind[sign] for kind in kinds)
            medians = (kind["mel"].median() for kind in kinds)
            rows.append((f"{run.n_train:,}", *medians, _auroc(high, middle), _auroc(middle, low)))
    if not rows:
        return ""
    table = pd.DataFrame(rows, columns=["n_train", "replayed", "unconfirmed", "held_out", "above", "below"])
    table = table.set_index("n_train")
    told = {
        name: listed([f"{value:.{3 if name in table.columns[:3] else 2}f}" for value in table[name]]) for name in table
    }
    counts = f"one number for each model, of {listed(table.index)} clips"
    return (
        f"Does this sign detect training, or replay? Compare the prompts that were trained on but are not confirmed. By log-mel they come about "
        f"as near to their own clips as replayed ones: medians {told['unconfirmed']}, replayed {told['replayed']}, held out "
        f"{told['held_out']} ({counts}). By the {NAMES[sign]}, the AUROC between replayed and unconfirmed prompts is {told['above']}, and "
        f"between unconfirmed and held-out ones {told['below']}.{_reading(table)}"
    )


def _reading(table: pd.DataFrame) -> str:
    """What follows where a sign tells replayed prompts from trained ones that are not confirmed, but not these from held-out ones."""
    if table["above"].min() < TELLS or table["below"].max() >= TELLS:
        return ""
    return " So in these models the sign finds the replays that aisfx confirms, and not those that log-mel alone calls replays."


def _auroc(positives: pd.Series, negatives: pd.Series) -> float:
    return float(roc_auc_score([1] * len(positives) + [0] * len(negatives), [*positives, *negatives]))
