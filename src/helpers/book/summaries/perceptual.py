"""What CDPAM, a distance that others trained on what listeners said, makes of near-exact clips, altered copies and twins.

Notebook: 06_thresholds.
"""

from pathlib import Path

import pandas as pd
from IPython.display import HTML

from helpers.base.paths import WORK
from helpers.book.tables import captioned, table_html
from helpers.book.words import share_text, with_interval

SUMMARY = WORK / "benchmarks" / "perceptual_summary.csv"  # of tools/judge_perceptual.py, which has the plan
NOT_YET = "<p>This is not measured yet; <code>tools/judge_perceptual.py</code> measures it.</p>"
AGREES = 0.9  # of the area of twins over near-exact clips, by the plan
KINDS = {
    "replay": "the clip itself, after codec and vocoder",
    "near_exact": "near-exact by rule",
    "altered": "altered copies",
    "twins": "twins",
    "other": "another training clip",
}
NAMED = {  # in sentences
    "twins": "twins",
    "near_exact": "near-exact clips",
    "altered": "altered copies",
    "altered_refused": "altered copies that the rule refuses",
    "altered_accepted": "those that it accepts",
}


def read_summary(file: Path = SUMMARY) -> pd.DataFrame | None:
    """n, n_over, value, low and high by (measure, of, over); None where nothing is measured yet."""
    if not file.is_file():
        return None
    return pd.read_csv(file).fillna({"over": ""}).set_index(["measure", "of", "over"])


def passage(summary: pd.DataFrame | None) -> HTML:
    """What a page shows of a summary: the table, and each sentence in a paragraph of its own."""
    if summary is None:
        return HTML(NOT_YET)
    return HTML(table_html(by_kind(summary)) + "".join(f"<p>{sentence}</p>" for sentence in sentences(summary)))


def by_kind(summary: pd.DataFrame) -> pd.DataFrame:
    """A row a kind of clip: its distance to its own training clip, its log-mel similarity, whether it is farther than near-exact."""
    rows = [
        {
            "compared with its own training clip": name,
            "clips": int(summary.loc[("distance", kind, ""), "n"]),
            "distance": _text(summary, "distance", kind),
            "log-mel similarity": _text(summary, "similarity", kind),
            "farther than near-exact (AUROC)": _text(summary, "area", kind, "near_exact"),
        }
        for kind, name in KINDS.items()
    ]
    caption = "Distance to the own training clip by CDPAM (0: the same); medians with quartiles, and areas with 95 % intervals."
    return captioned(pd.DataFrame(rows), caption)


def sentences(summary: pd.DataFrame) -> list[str]:
    """Whether the distance agrees with the rule, what else it tells apart, and what it cannot say."""
    twins = summary.loc[("area", "twins", "near_exact")]
    moved = summary.loc[("bfloat16", "all", ""), "value"]
    agrees = twins["value"] >= AGREES and twins["low"] > 0.5
    return [
        f"{_told(summary, 'twins', 'near_exact')} The plan asked for {AGREES:g} or more, so the distance "
        f"{'agrees' if agrees else 'does not agree'} with the rule.",
        f"{_told(summary, 'altered', 'near_exact')} {_told(summary, 'twins', 'altered')}",
        _told(summary, "altered_refused", "altered_accepted"),
        f"Over near-exact clips, altered copies and twins, the rank correlation of distance and log-mel similarity is {_text(summary, 'spearman', 'all')}; "
        f"-1 would be the same order. It was computed in bfloat16, which moved none of nine distances by more than {share_text(moved)}.",
        "CDPAM learned from speech, and this distance hears more of how a recording sounds than of what is in it. So it is no listener for these clips.",
    ]


def _told(summary: pd.DataFrame, farther: str, nearer: str) -> str:
    """Which of two kinds lies farther from its training clip, if either surely does, with the AUROC."""
    row, area = summary.loc[("area", farther, nearer)], _text(summary, "area", farther, nearer)
    first, second = NAMED[farther][0].upper() + NAMED[farther][1:], NAMED[nearer]
    if row["low"] > 0.5 or row["high"] < 0.5:
        return f"{first} lie {'farther from' if row['low'] > 0.5 else 'nearer to'} their training clips than {second}: AUROC {area}."
    return f"{first} are not told from {second}: AUROC {area}."


def _text(summary: pd.DataFrame, measure: str, of: str, over: str = "") -> str:
    """ "0.25 (0.12 to 0.41)"; a dash for what is not there."""
    row = summary[summary.index.isin([(measure, of, over)])]
    return "".join(with_interval(row.round(3), "value", "low", "high", percent=False)) or "–"
