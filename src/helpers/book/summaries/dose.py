"""Does it matter that a clip is in the set more than once? The model on planted copies in words and tables.

Notebook: 07_findings.
"""

import math
from pathlib import Path

import pandas as pd

from helpers.base.paths import RESULTS
from helpers.book.tables import arrange
from helpers.book.words import defined_shares, limits, listed, shares, two_digits, with_interval
from helpers.copies.conclusions.dose_relation import ALL, ARMS, GOOD

STUDY = "pocket_dose"  # the published study of planted copies alone, asked at many checkpoints
CAPTIONS = {"same": "one caption", "other": "several captions"}  # of a group of copies

OF_PROFILE = (
    "A clip that it makes “replicates” if it is near-exact and its match is a copy of the clip whose prompt was used."
)
CAPTION_OF_PROFILE = (
    "How often a clip is replicated, by its number of copies: exact and altered copies (first panel), exact copies by caption (second). "
    "95 % intervals over groups of copies."
)
CAPTION_OF_STUDY = (
    "Near-exact of the own clip over training; the number at a line's end says how often the clip is in the set. Blue: what the rule "
    "says of twins, which are no copies."
)


def tables_of_copies(results: Path = RESULTS) -> dict[str, pd.DataFrame]:
    """dose_shares, dose_onset and dose_relation of that study, by these names."""
    return {
        name: pd.read_csv(results / STUDY / f"{name}.csv") for name in ("dose_shares", "dose_onset", "dose_relation")
    }


def twins_share(results: Path = RESULTS) -> float:
    """The share of twins that the near-exact rule counts, in the study of 4,500 different clips that the exponent a is from."""
    rows = pd.read_csv(results / "pocket" / "replication.csv").query(
        "n_train == 4500 and arm == 'main' and detector == 'mel'"
    )
    return float(rows["twins_own_near_exact_rate"].mean())


def told_of_profile() -> dict[str, str]:
    """What the page of a profile with planted copies of its own says of them, by the names that it uses."""
    return {"dose_of": OF_PROFILE, "dose_caption": CAPTION_OF_PROFILE, "dose_begins": "", "dose_relation": ""}


def told_of_study(
    dose: pd.DataFrame, onsets: pd.DataFrame, relation: pd.DataFrame, law: pd.DataFrame, profile: str
) -> dict[str, str]:
    """What any other page says, from `tables_of_copies` and law.csv, by the same names."""
    return {
        "dose_of": of_study(dose, profile), "dose_caption": CAPTION_OF_STUDY, "dose_begins": begins(onsets),
        "dose_relation": relation_sentence(relation, law),
    }  # fmt: skip


def of_study(dose: pd.DataFrame, profile: str) -> str:
    """What that model was trained on and asked, in words, for the page of `profile`."""
    at_end = dose[dose["updates"] == dose["updates"].max()].astype({"copies": int})
    groups = at_end[at_end["copies"] > 1].groupby("copies")["n_clusters"].sum()
    kinds = listed([f"{count} of {copies} copies" for copies, count in groups.items()])
    return (
        f"{'' if profile == 'pocket' else 'This profile has no such model, so what follows is that of the published study. '}"
        f"Its set has 4,500 clips, and in it groups of exact copies: {kinds}. At each of "
        f"{dose['updates'].nunique()} checkpoints the model is asked for a clip of every group, with several seeds, and for some of "
        "the clips that are there once. The groups are few, so the intervals in the tables are wide."
    )


def begins(onsets: pd.DataFrame) -> str:
    """From how many updates on each number of copies is replayed, in a sentence; of groups under one caption."""
    rows = onsets[onsets["caption_kind"] == ARMS[0]].sort_values("copies", ascending=False)
    begun = rows[~rows["censored"].astype(bool)]
    waiting = rows[rows["censored"].astype(bool)]
    times = [f"{two_digits(row.updates)} updates for {_times(row.copies)}" for row in begun.itertuples()]
    text = f"The onset comes after {listed(times)}." if times else ""
    if len(waiting):
        still = listed([_times(copies) for copies in waiting["copies"]])
        text += f" It has not come by the last checkpoint, at {waiting['trained_to'].max():,} updates, for {still}."
    return text.strip()


def _times(copies: int) -> str:
    return "a clip that occurs once" if copies == 1 else f"a clip that occurs {copies} times"


def relation_sentence(relation: pd.DataFrame, law: pd.DataFrame) -> str:
    """The exponent b of the number of copies, and what its interval excludes: that copies do not matter (b = 0), and that
    they act like epochs (b = a, the exponent of the number of clips, of the primary measure in law.csv)."""
    row = relation[(relation["caption_kind"] == ARMS[0]) & (relation["clips"] == ALL)].iloc[0]
    if math.isnan(row.exponent):
        return f"How the onset moves with the number of copies cannot be told: {row.note}."
    b = f"{row.exponent:.2f} ({row.exponent_low:.2f} to {row.exponent_high:.2f})"
    text = f"On average twice as many copies bring the onset forward {2**row.exponent:.1f}-fold: the exponent b is {b}."
    if row.exponent_low <= 0 <= row.exponent_high:
        return f"{text} Its interval reaches past 0, so whether copies matter at all cannot be told."
    known = law[law["measure"] == "near_exact"].dropna(subset="exponent")
    if known.empty:
        return text
    a, low, high = known[["exponent", "exponent_low", "exponent_high"]].iloc[0]
    margin = math.hypot((row.exponent_high - row.exponent_low) / 2, (high - low) / 2)
    side = "below" if row.exponent < a else "above"
    gap = f"That is {abs(row.exponent - a):.2f} {side} the exponent of the number of clips, a = {a:.2f}, give or take {margin:.2f}"
    less = "less" if row.exponent < a else "more"
    meaning = f": a copy does {less} than its share of the set."
    if abs(row.exponent - a) <= margin:
        meaning = ". So perhaps only the clip's share of the set counts."
    return f"{text} {gap}{meaning}{_beside(relation, a, (high - low) / 2)}"


def _beside(relation: pd.DataFrame, a: float, margin: float) -> str:
    """The planned reading from when held-out clips are good, of groups under one caption; "" where there is none."""
    rows = relation[(relation["caption_kind"] == ARMS[0]) & (relation["clips"] == GOOD)].dropna(subset="exponent")
    if rows.empty:
        return ""
    row = rows.iloc[0]
    apart = abs(row.exponent - a) > math.hypot((row.exponent_high - row.exponent_low) / 2, margin)
    told = f" A second fit, also in the plan, begins only once clips of held-out prompts are good. By it b is {row.exponent:.2f} ({row.exponent_low:.2f} to {row.exponent_high:.2f})"
    if not apart:
        return f"{told}, and the same follows."
    return f"{told}: a copy does {'less' if row.exponent < a else 'more'} than its share."


def onsets_in_words(onsets: pd.DataFrame) -> pd.DataFrame:
    """dose_onset.csv as it is shown."""
    onsets = onsets.sort_values(["copies", "caption_kind"], ascending=[True, False])
    told = [
        f"not by {row.trained_to:,}"
        if row.censored
        else f"{two_digits(row.updates)}{_interval(row.updates_low, row.updates_high)}"
        for row in onsets.itertuples()
    ]
    columns = {"copies": "copies", "captions": onsets["caption_kind"].map(CAPTIONS), "onset, updates": told}
    caption = "Updates at which 5 % of the clips are near-exact, by the number of copies; 95 % intervals over groups (of two groups there is none)."
    return arrange(onsets, columns, caption, {"copies": ".0f"})


def _interval(low: float, high: float) -> str:
    """ " (800 to 1,400)"; "" of one without ends, as of two groups."""
    if low == 0 and not math.isfinite(high):
        return ""
    return f" ({two_digits(low)}\u00a0to\u00a0{two_digits(high) if math.isfinite(high) else 'any number'})"


def relations_in_words(relation: pd.DataFrame) -> pd.DataFrame:
    """dose_relation.csv as it is shown: the exponent of the number of copies, or why there is none."""
    columns = {
        "captions": relation["caption_kind"].map(CAPTIONS),
        "of the clips": "clips",
        "exponent b": with_interval(relation, "exponent", "exponent_low", "exponent_high", percent=False),
        "groups": "n_clusters",
        "note": relation["note"].fillna(""),
    }
    return arrange(
        relation, columns, "How the onset moves with the number of copies m: updates fall as m to the power of -b."
    )


def last_shares_in_words(dose: pd.DataFrame) -> pd.DataFrame:
    """The last checkpoint of dose_shares.csv as it is shown."""
    rows = dose[dose["updates"] == dose["updates"].max()].sort_values(
        ["copies", "caption_kind"], ascending=[True, False]
    )
    columns = {
        "copies": "copies",
        "captions": rows["caption_kind"].map(CAPTIONS),
        "groups": "n_clusters",
        "near-exact of the own clip": shares(rows, *limits("own_near_exact_rate")),
    }
    caption = f"After {dose['updates'].max():,} updates, by the number of copies."
    return arrange(rows, columns, caption, {"copies": ".0f"})


def copies_in_words(dose: pd.DataFrame) -> pd.DataFrame:
    """dose.csv as it is shown: the outcomes by number of copies and kind, under any caption."""
    columns = {"copies": "copies", "kind": "kind", "clips of the set": "n_clusters", "generated": "n_generated"}
    dose = dose[dose["caption_kind"] == "all"]
    columns["replicate"] = defined_shares(dose, "n_defined", "n_generated", "rate", "ci_low", "ci_high")
    columns["flagged"] = limits("flagged_rate")
    columns |= {"nearest is its own": ("own_cluster_top1_rate",)}
    caption = "Outcomes by number of copies, under any caption."
    return arrange(dose, columns, caption, {"copies": ".0f"})


def trends_in_words(trend: pd.DataFrame) -> pd.DataFrame:
    """dose_trend.csv as it is shown: the log-odds for each doubling, or why there are none."""
    outcome = trend["outcome"].map({"replicated": "replicates", "flagged": "flagged", "top1": "nearest is its own"})
    slope = with_interval(trend, "slope_per_doubling", "low", "high", percent=False)
    columns = {
        "outcome": outcome,
        "copies": "kind",
        "log-odds for each doubling": slope,
        "note": trend["note"].fillna(""),
    }
    return arrange(trend, columns, "Trend with the number of copies: logistic regression, errors clustered by clip.")
