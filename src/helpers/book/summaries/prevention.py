"""What prevents copying, from the published runs of the study of onsets and of the studies that change one thing in it."""

from pathlib import Path

import pandas as pd

from helpers.base.paths import RESULTS
from helpers.base.profile import Profile
from helpers.book.tables import arrange
from helpers.book.words import share_text, shares
from helpers.copies.prevention import COLUMNS, at_equal_quality, own_scores, stopped_early, trajectories
from helpers.sound.profiles import load_profile

CHANGED = ("law_capped", "law_captions", "law_mixing")  # profiles that change one thing of `law`
STUDY = "nothing"
DETECTORS = {"mel": "log-mel", "aisfx": "aisfx"}  # in words; the second judges what the limit steers by likeness


def all_trajectories(study: Profile, results: Path = RESULTS) -> pd.DataFrame:
    """`copies.prevention.trajectories` of the study's runs, as far as changed studies have the same size, and of all changed
    ones that are published."""
    folder = results / study.name
    nulls = [pd.read_parquet(path) for path in sorted(folder.glob("retrieval/*/null.parquet"))]
    if not nulls:
        return pd.DataFrame(columns=[*COLUMNS])
    null = pd.concat(nulls).query("rank == 1")
    parts = []
    for name in (study.name, *CHANGED):
        profile = study if name == study.name else load_profile(name)
        made = own_scores(results / name, profile)
        made = made[made["detector"].isin(list(DETECTORS))]
        if len(made):
            tables = (_tables(results / name, table) for table in ("quality", "loss_gap"))
            parts.append(trajectories(made, null, *tables, profile.intervention or STUDY, profile))
    table = pd.concat(parts, ignore_index=True)
    sizes = load_profile(CHANGED[0]).sizes
    return table[table["n_train"].isin(sizes)].reset_index(drop=True)


def _tables(folder: Path, name: str) -> pd.DataFrame:
    paths = sorted(folder.glob(f"{name}/*/{name}.csv"))
    if paths:
        return pd.concat(map(pd.read_csv, paths), ignore_index=True)
    return pd.DataFrame(columns=["n_train", "draw", "updates", "held_out"])


def compared(table: pd.DataFrame, detector: str = "mel") -> pd.DataFrame:
    """A row a run: the study and every changed one where its held-out clips are best, and the study stopped early."""
    study, changed = table[table["intervention"] == STUDY], table[table["intervention"] != STUDY]
    best = at_equal_quality(study, study, detector)
    early = stopped_early(study, detector).assign(intervention="early stopping")
    parts = [best.drop(columns=[name for name in best if name.startswith("study_")], errors="ignore"), early]
    return pd.concat([*parts, at_equal_quality(changed, study, detector)], ignore_index=True)


def in_words(rows: pd.DataFrame, detector: str) -> pd.DataFrame:
    """`compared` as it is shown."""
    beside = [name for name in rows if name.startswith("study_")]
    rows = rows.assign(
        **dict.fromkeys({"study_own_near_exact_rate", "study_low", "study_high"} - {*beside}, float("nan"))
    )
    columns = {
        "what is changed": "intervention", "draw": "draw", "read after": rows["updates"].map("{:,.0f} updates".format),
        "held-out KID": "kid", "near-exact": ("own_near_exact_rate", "low", "high"),
        "unchanged, when first as good": shares(rows, "study_own_near_exact_rate", "study_low", "study_high"),
    }  # fmt: skip
    return arrange(
        rows,
        columns,
        f"What is changed, and how many prompts come back near-exact by {DETECTORS[detector]}.",
        {"held-out KID": ".3f"},
    )


def at_the_end(table: pd.DataFrame, detector: str = "mel") -> pd.DataFrame:
    """The rows after the last update of each run."""
    rows = table[table["detector"] == detector]
    return rows[rows["updates"] == rows.groupby(["intervention", "n_train", "draw"])["updates"].transform("max")]


def sentences(table: pd.DataFrame, detector: str = "mel") -> list[str]:
    """A sentence a change: its shares at equal quality and at the end, draw by draw."""
    told, last = [], at_the_end(table, detector)
    for name, rows in compared(table, detector).groupby("intervention", sort=False):
        shared = _listed(rows["own_near_exact_rate"])
        if name == STUDY:
            told.append(f"**Nothing changed**: {_listed(_share(last, name))} of the prompts come back near-exact after the last "
                        f"update, {shared} where held-out clips are best.")  # fmt: skip
        elif "study_own_near_exact_rate" in rows and rows["study_own_near_exact_rate"].notna().any():
            told.append(f"**{name.capitalize()}**: {shared} where held-out clips are best; unchanged, "
                        f"{_listed(rows['study_own_near_exact_rate'])} when first as good. After the last update "
                        f"{_listed(_share(last, name))}.")  # fmt: skip
        elif name == "early stopping":
            told.append(f"**Early stopping**, where the loss of held-out clips is lowest: {shared}.")
        else:
            told.append(f"**{name.capitalize()}**: {shared} where held-out clips are best; unchanged, no checkpoint is as good. "
                        f"After the last update {_listed(_share(last, name))}.")  # fmt: skip
    return told


def _share(rows: pd.DataFrame, intervention: str) -> pd.Series:
    return rows.loc[rows["intervention"] == intervention, "own_near_exact_rate"]


def _listed(rates: pd.Series) -> str:
    """ "11 % and 12 %", a draw each."""
    return " and ".join(map(share_text, rates))
