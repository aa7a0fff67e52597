"""Listeners' labels, as the listening lab saves them, beside what every detector says of the same pairs.

Agreement between listeners is Krippendorff's alpha for ordered grades (Krippendorff 2019, "Content Analysis", chapter 12), as
the package `krippendorff` reckons it. That is optional: its licence, GPL-3.0-or-later, is not this book's.

Notebook: 06_thresholds.
"""

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.arms import MAIN
from helpers.base.paths import resolve
from helpers.base.profile import Profile
from helpers.book import words
from helpers.book.listening import GRADES
from helpers.book.tables import arrange, show_tables
from helpers.book.words import share_text
from helpers.copies.calibration import flag
from helpers.copies.rates import flagged_rate
from helpers.copies.score_table import ScoreTable
from helpers.sound.user_table import UserDataError, read_cells

COLUMNS = ("pair_id", "query", "reference", "grade", "listener", "is_catch", "order", "seed")
PAIR = re.compile(r"n(\d+)_d0 .+|audit \d+")  # of the book's lab, and of an audit's page
HEARD = 0.8  # of the catch trials, that a listener has to grade as they were made to count
INSTALL = "`.venv/bin/python -m pip install krippendorff==0.9.0` installs the package that reckons it"
KINDS = (("generated", MAIN), *((kind, "") for kind in ("twins", "heldout", "same_bed", "altered", "empirical")))


def read_labels(path: str | Path) -> pd.DataFrame:
    """The labels of a CSV with COLUMNS, or of all in a folder: a row for each pair and listener, with `n_train` of the pair,
    0 of an audit's and of catch trials.

    Raises FileNotFoundError, and UserDataError that names the line: for columns, grades or pairs that are not the lab's, and
    a pair that one listener graded twice.
    """
    place = resolve(path)
    files = sorted(place.glob("*.csv")) if place.is_dir() else [place] if place.is_file() else []
    if not files:
        raise FileNotFoundError(
            f"labels: expected a CSV of the listening lab, or a folder of such, found none at {path}"
        )
    lines = [(file, line, cells) for file in files for line, cells in read_cells(file, COLUMNS).items()]
    rows, seen = [], {}
    for file, line, cells in lines:
        if not any(cells.values()):
            continue
        where, pair = f"{file.name}, line {line}", PAIR.fullmatch(cells["pair_id"])
        if cells["grade"] not in GRADES:
            raise UserDataError(f"{where}: expected a grade of {', '.join(GRADES)}, got {cells['grade']!r}")
        if cells["is_catch"] not in ("true", "false"):
            raise UserDataError(f"{where}: expected is_catch true or false, got {cells['is_catch']!r}")
        if cells["is_catch"] == "false" and not pair:
            raise UserDataError(
                f"{where}: expected a pair of the listening lab, as 'n100_d0 miss 1', got {cells['pair_id']!r}"
            )
        key = (cells["pair_id"], cells["listener"])
        if key in seen:
            raise UserDataError(f"{where}: {key[1]!r} graded {key[0]!r} already in {seen[key]}; keep one of the two")
        seen[key] = where
        rows.append(cells | {"is_catch": cells["is_catch"] == "true", "n_train": int(pair[1] or 0) if pair else 0})
    if not rows:
        raise UserDataError(f"{place.name}: expected at least one grade, got none")
    return pd.DataFrame(rows)


def check(path: str | Path, profile: Profile) -> pd.DataFrame:
    """The labels of a file, of pairs of this profile's models. Raises as `read_labels`, and UserDataError for other sizes."""
    labels = read_labels(path)
    if other := set(labels.loc[~labels["is_catch"], "n_train"]) - set(profile.sizes):
        known = ", ".join(map(str, profile.sizes))
        raise UserDataError(
            f"labels: expected pairs of this study's sizes ({known}), got one of {min(other) or 'an audit'}; was it another lab?"
        )
    return labels


def who_listened(labels: pd.DataFrame) -> pd.DataFrame:
    """Each listener: pairs graded, catch trials graded as they were made (identical, different), and whether they count."""
    made = labels["pair_id"].str.extract(r"^catch (\w+) \d+$")[0]
    right = (made == labels["grade"]).where(labels["is_catch"])
    found = labels.assign(right=right).groupby("listener", as_index=False).agg(
        graded=("is_catch", lambda catch: int((~catch).sum())), catches=("is_catch", "sum"), right=("right", "sum")
    )  # fmt: skip
    return found.assign(counts=(found["catches"] > 0) & (found["right"] >= HEARD * found["catches"]))


def counted(labels: pd.DataFrame) -> pd.DataFrame:
    """The labels of pairs that are no catch trials, by listeners who count."""
    names = who_listened(labels).query("counts")["listener"]
    return labels[~labels["is_catch"] & labels["listener"].isin(names)]


def agreement(labels: pd.DataFrame) -> float | None:
    """Krippendorff's alpha of the grades of `counted` labels, as ordered; None where fewer than two listeners share a pair,
    or all grades are one. Raises ModuleNotFoundError without its package."""
    table = labels.assign(code=labels["grade"].map(GRADES.index)).pivot(
        index="listener", columns="pair_id", values="code"
    )
    shared = table.loc[:, table.notna().sum() > 1]
    if shared.empty or len(np.unique(shared.to_numpy()[shared.notna().to_numpy()])) < 2:
        return None
    if importlib.util.find_spec("krippendorff") is None:
        raise ModuleNotFoundError(f"labels: agreement needs a package that is not installed; {INSTALL}")
    import krippendorff

    return float(
        krippendorff.alpha(table.to_numpy(float), level_of_measurement="ordinal", value_domain=range(len(GRADES)))
    )


def by_ear(labels: pd.DataFrame) -> pd.DataFrame:
    """Each pair once: query, reference, n_train, and `copy`, whether most listeners graded it identical or near-exact."""
    votes = labels.assign(copy=labels["grade"].isin(GRADES[:2]))
    pairs = votes.groupby("pair_id", as_index=False).agg(
        query=("query", "first"), reference=("reference", "first"), n_train=("n_train", "first"), share=("copy", "mean")
    )
    return pairs.assign(copy=pairs["share"] > 0.5)


def against_detectors(pairs: pd.DataFrame, table: ScoreTable, taus: Mapping, decisions: pd.DataFrame, profile: Profile):
    """What each detector says of the pairs of `by_ear`: it calls a pair a copy if it flags the query, and the reference is
    the query's nearest clip. `taus` by detector and n_train; near-exact by rule, of generated clips alone, from `decisions`.
    """
    called = {}
    for detector in profile.retrieval.detectors:
        found = {
            n: _flagged(table, ("main", n, 0), detector, taus.get((detector, n)), profile)
            for n in set(pairs["n_train"])
        }
        called[detector] = [(p.query, p.reference) in found[p.n_train] for p in pairs.itertuples()]
    exact = decisions[decisions["near_exact"].fillna(False)]
    exact = set(zip(exact["query_id"], exact["ref_id"], exact["n_train"]))
    generated = set(zip(decisions["query_id"], decisions["n_train"]))
    rule = [
        (p.query, p.reference, p.n_train) in exact if (p.query, p.n_train) in generated else None
        for p in pairs.itertuples()
    ]
    rows = [_row(name, np.array(calls), pairs["copy"].to_numpy()) for name, calls in called.items()]
    judged = np.array([call is not None for call in rule])
    rows.append(
        _row("near-exact by rule, of generated clips", np.array(rule)[judged], pairs["copy"].to_numpy()[judged])
    )
    return arrange(
        pd.DataFrame(rows),
        {"detector": "detector", "pairs": "pairs", "both": "both", "ear alone": "ear", "detector alone": "only",
         "of what it calls copies, by ear": "precision", "of those by ear, found": "recall"},
        f"Every detector against {len(pairs)} pairs judged by ear, with exact 95 % intervals.",
    )  # fmt: skip


def show(path: str, table: ScoreTable, rates: pd.DataFrame, decisions: pd.DataFrame, profile: Profile) -> None:
    """Displays who listened, how far they agree, and every detector beside them; `rates` of one null and rate, first draw."""
    labels = check(path, profile)
    who, used = who_listened(labels), counted(labels)
    columns = {"listener": "listener", "pairs graded": "graded", "catch trials": "catches", "of these right": "right"}
    titles = columns | {"counts": who["counts"].map({True: "yes", False: "no"})}
    show_tables(
        arrange(
            who.astype({"right": int}),
            titles,
            f"Who listened. Whoever fails more than {100 * (1 - HEARD):.0f} % of the catch trials, or met none, does not count.",
        )
    )
    if used.empty:
        words.show("**No label counts:** nobody graded enough catch trials as they were made.")
        return
    try:
        alpha = agreement(used)
        said = "unknown: no two listeners graded one pair, or all grades are one" if alpha is None else f"{alpha:.2f}"
    except ModuleNotFoundError as error:
        said = str(error).removeprefix("labels: ")
    words.show(f"Krippendorff's alpha between listeners, for ordered grades (1: they agree, 0: as by chance): {said}.")
    taus = rates.set_index(["detector", "n_train"])["tau"].to_dict()
    show_tables(against_detectors(by_ear(used), table, taus, decisions, profile))


def _flagged(table: ScoreTable, run: tuple, detector: str, tau: float | None, profile: Profile) -> set[tuple[str, str]]:
    config, found = profile.thresholds, set()
    for kind, arm in KINDS:
        if tau is None or pd.isna(tau) or not (arm or table.has(run, detector, kind)):
            continue
        best = table.best(run, detector, kind, arm)
        passed = best[flag(table.normalised(run, detector, best, config.beta, config.k), tau)]
        found |= set(zip(passed["query_id"], passed["ref_id"]))
    return found


def _row(name: str, called: np.ndarray, copy: np.ndarray) -> dict:
    called, copy = called.astype(bool), copy.astype(bool)
    counts = {
        "both": int((called & copy).sum()),
        "ear": int((copy & ~called).sum()),
        "only": int((called & ~copy).sum()),
    }
    shares = {}
    for key, part in (("precision", copy[called]), ("recall", called[copy])):
        rate = flagged_rate(part) if len(part) else None
        shares[key] = share_text(rate.rate, rate.low, rate.high) if rate else "–"
    return {"detector": name, "pairs": len(copy)} | counts | shares
