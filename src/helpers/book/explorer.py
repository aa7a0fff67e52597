"""The threshold explorer: sliders over published scores, whose counts are those of `copies.calibration` to the last clip.

Scores travel as float32, as they are published; sums of float32 are exact in the browser's float64, so both reckon alike.
Positions travel as float64.
Source of the chart: uPlot (MIT), beside this module. Without JavaScript only the clips are shown.

Notebook: 06_thresholds.
"""

import base64
import json
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from helpers.base.arms import MAIN
from helpers.base.profile import Profile
from helpers.book import cards
from helpers.book.inline import inline
from helpers.book.played_clips import PlayedClips
from helpers.book.summaries.findings import KNOWN
from helpers.copies.calibration import n_above, split_calibration
from helpers.copies.score_table import ScoreTable
from helpers.sound.corpus import Corpus

PARTS = ("C2", "C3", "C1")  # of the null, in the order that the page holds them
LABELS = {
    "n": "Clips trained on",
    "tau": "Threshold τ",
    "theta": "Near-exact from position θ",
    "beta": "Weight of the bias β",
    "k": "Background neighbours K",
}


def explorer(table: ScoreTable, galleries: Mapping[int, PlayedClips], data: Corpus, profile: Profile) -> HTML:
    """Sliders, a histogram and the clips to hear, of the first draw of every size, by the profile's detector and first null."""
    null = profile.nulls[0]
    runs, clips = {}, []
    for n in profile.sizes:
        runs[n], queries = _run(table, ("main", n, 0), profile)
        gallery, place = galleries[n], {query: row for row, query in enumerate(queries)}
        for slot in [*gallery.rows("quantile")["slot"], *gallery.rows(f"false alarm {null}")["slot"]]:
            if (row := gallery[slot])["query_id"] in place:
                label = f"{cards.QUANTILE_LABELS.get(slot, cards.KIND_LABELS[row['kind']])}, n = {n:,}"
                shown = cards.card(gallery, slot, data, profile, label, with_random=False).data
                at = f'data-n="{n}" data-row="{place[row["query_id"]]}" data-label="{escape(label)}"'
                clips.append(f'<div class="explorer-clip" {at}>{shown}</div>')
    depth = max(run["depth"] for run in runs.values())
    facts = json.dumps(runs)
    return HTML(
        inline("_vendor/uplot/uPlot.min.css", "scripts/explorer.css")
        + f'<div class="explorer" lang="en"><div class="explorer-play" hidden>{_controls(profile, depth, null)}'
        f'<p class="explorer-key"><span>generated</span> <span>{KNOWN[null]}</span> <span>τ</span>'
        " Each dot is a clip: press it to hear the pair. How high it lies means nothing.</p>"
        '<div class="explorer-chart" role="group" aria-label="Histogram of normalised scores, and clips to hear"></div>'
        '<div class="explorer-heard" aria-live="polite"></div></div>'
        '<details class="explorer-clips"><summary>All clips that the dots stand for</summary>'
        f"{''.join(clips)}</details>"
        f'<script type="application/json" class="explorer-facts">{facts}</script></div>'
        + inline("_vendor/uplot/uPlot.iife.min.js", "scripts/explorer.js")
    )


def _run(table: ScoreTable, run: tuple, profile: Profile) -> tuple[dict, list[str]]:
    """What the page knows of one run: a row a clip (score, background), generated ones first, then the null by PARTS; the position
    of each generated one; and the clips' names."""
    config = profile.thresholds
    null = table.best(run, config.detector, profile.nulls[0])
    part = split_calibration(null["query_id"], config.seed)
    best = [table.best(run, config.detector, "generated", MAIN), *(null[part == name] for name in PARTS)]
    clips = pd.concat(best, ignore_index=True)
    nearest = table.background(run, config.detector, clips["query_id"].to_numpy())
    rows = np.column_stack([clips["score"], nearest]).astype("<f4")
    positions = table.positions(run, config.detector, best[0], profile.nulls[0]).astype("<f8")
    facts = {
        "generated": len(best[0]),
        "c2": len(best[1]),
        "c3": len(best[2]),
        "above": n_above(len(best[1]), config.fpr),
        "depth": nearest.shape[1],
    }
    numbers = {
        name: base64.b64encode(of.tobytes()).decode() for name, of in {"rows": rows, "positions": positions}.items()
    }
    return facts | numbers, list(clips["query_id"])


def _controls(profile: Profile, depth: int, null: str) -> str:
    config = profile.thresholds
    sizes = "".join(
        f'<option value="{n}"{" selected" if n == sorted(profile.sizes)[len(profile.sizes) // 2] else ""}>{n:,}</option>'
        for n in sorted(profile.sizes)
    )
    ranges = {"tau": (0, 1, "any", 0), "theta": (0, 1.2, 0.01, config.theta),
              "beta": (0, 2, 0.05, config.beta), "k": (1, depth, 1, config.k)}  # fmt: skip
    sliders = "".join(
        f'<label>{LABELS[name]} <output data-value="{name}"></output>'
        f'<input type="range" name="{name}" min="{low}" max="{high}" step="{step}" value="{value:g}"></label>'
        for name, (low, high, step, value) in ranges.items()
    )
    counted = {"flagged": "Flagged", "false_alarms": "False alarms, checked",
               "precision": "Of the flagged, near-exact", "near": "Near-exact"}  # fmt: skip
    counts = "".join(f'<div><dt>{title}</dt><dd data-count="{name}"></dd></div>' for name, title in counted.items())
    return (
        f'<form class="explorer-controls"><label>{LABELS["n"]} <select name="n">{sizes}</select></label>{sliders}'
        f'<label class="explorer-follow"><input type="checkbox" name="follow" checked> τ follows: set it where '
        f"{100 * config.fpr:g} % of {KNOWN[null]} would pass</label>"
        '<button type="reset">Back to the study’s settings</button></form>'
        f'<div role="status"><dl class="explorer-counts">{counts}</dl></div>'
    )
