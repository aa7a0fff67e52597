"""The memorisation map: training sizes by updates, each cell a press away from what the model made of one prompt there.

Values are those of the published tables. Without JavaScript the clips stand below one another, with their values.

Notebook: 08_onset.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from IPython.display import HTML

from helpers.base.csv_file import read_csv
from helpers.base.profile import Profile
from helpers.book.inline import inline
from helpers.book.played_clips import PlayedClips
from helpers.book.players import FLICK, Item, player_row
from helpers.book.tables import arrange
from helpers.book.words import share_text
from helpers.sound.corpus import Corpus

COLUMNS = ["n_train", "updates", "query_id", "own_id", "caption", "position", "near_exact", "sound"]


@dataclass(frozen=True)
class Study:
    """Of the first draws: `cells` n_train, updates, rate (near-exact of the own clip, NaN where that is undefined for all), n_asked; `clips` (COLUMNS), of each cell
    one for each prompt that is played, and the corpus. `position` is that of the own clip, NaN where it is not the nearest and so unknown."""

    cells: pd.DataFrame
    clips: pd.DataFrame
    data: Corpus


def of_study(judged: pd.DataFrame, folders: Sequence[Path], data: Corpus, profile: Profile) -> Study:
    """What is heard and told of a finished study.

    judged: of `copies.conclusions.onset.judged_clips`. folders: one a size, of the stages `prompts`, whose prompts all sizes share, where all
    runs are searched in one pool; else of the stages `clips`, of every size the prompt that all its arms were asked for.
    """
    heard = [_prompts(folder / "prompts.csv") if profile.pooled else _arms(PlayedClips(folder)) for folder in folders]
    clips = pd.concat([pd.DataFrame(columns=["query_id", "caption", "sound"]), *heard])
    of_own = judged["top1"] | profile.pooled  # else the position is that of the match
    made = judged[judged["draw"] == 0].assign(position=judged["position"].where(of_own))
    near = made.assign(near=made["near_exact"].astype("boolean").astype("Float64"))
    cells = near.groupby(["n_train", "updates"])["near"].agg(rate="mean", n_asked="count")
    made = made.merge(clips, on="query_id")[COLUMNS].sort_values(["n_train", "updates"])
    return Study(cells.reset_index().astype({"rate": float}), made, data)


def _prompts(path: Path) -> pd.DataFrame:
    table = read_csv(path)
    table = table[~table["silent"]]
    return table.assign(sound=[path.parent / file for file in table["file"]])[["query_id", "caption", "sound"]]


def _arms(gallery: PlayedClips) -> pd.DataFrame:
    rows = gallery.rows("arm")
    return rows.assign(sound=[gallery.folder / file for file in rows["file"]])[["query_id", "caption", "sound"]]


def values(study: Study) -> pd.DataFrame:
    """The cells as a table for a page."""
    share = [share_text(rate) for rate in study.cells["rate"]]
    columns = {"training clips": "n_train", "updates": "updates", "near-exact": share, "of prompts": "n_asked"}
    return arrange(study.cells, columns, "How many prompts are replayed: near-exact of their own clip; first draws.")


def memorisation_map(study: Study, profile: Profile) -> HTML:
    """The map of one study; a prompt that several sizes share is chosen from a list, else each size has its own."""
    if study.clips.empty:
        return HTML("<p>This study keeps no clip of one prompt at every checkpoint, so nothing can be played here.</p>")
    shared = study.clips.groupby("own_id")["n_train"].nunique().max() > 1
    prompts = [*study.clips.groupby("own_id", sort=False)] if shared else [("", study.clips)]
    prompts.sort(key=lambda one: -len(one[1]))  # first the one of which most cells play
    lists, facts = [], []
    for _, clips in prompts:
        owns = list(clips.drop_duplicates("own_id")["own_id"])
        title = f"“{clips['caption'].iloc[0]}”" if shared else "each size has a prompt of its own"
        items = [Item("Training clip", *study.data.clip(own)) for own in owns]
        items += [
            Item(_name(row), soundfile.read(row.sound, dtype="int16")[0], row.caption) for row in clips.itertuples()
        ]
        rate_hz = profile.corpus.sample_rate_hz
        lists.append(
            f"<section><p><strong>Prompt: {escape(title)}</strong></p>"
            f"{player_row(items, rate_hz, mel=profile.mel).data}</section>"
        )
        near = [None if pd.isna(one) else bool(one) for one in clips["near_exact"]]
        heard = {
            f"{row.n_train} {row.updates}": [len(owns) + place, owns.index(row.own_id), row.position, near[place]]
            for place, row in enumerate(clips.itertuples())
        }
        facts.append({"title": title, "heard": heard})
    known = study.clips["position"].notna().all()
    text = json.dumps(facts, allow_nan=True).replace("NaN", "null").replace("<", "\\u003c")
    return HTML(
        inline("scripts/memorisation.css")
        + f'<div class="memorisation" lang="en"><div class="memorisation-play" hidden>{_controls(facts, known)}'
        f'{_grid(study.cells)}<div class="memorisation-now"><p class="memorisation-said" role="status"></p>'
        '<div class="memorisation-heard"></div></div></div>'
        f'<details class="memorisation-clips"><summary>All clips of the map</summary>{"".join(lists)}</details>'
        f'<script type="application/json" class="memorisation-facts">{text}</script></div>'
        + FLICK
        + inline("scripts/memorisation.js")
    )


def _name(row) -> str:
    where = "" if np.isnan(row.position) else f", position {row.position:.2f}"
    return f"{row.n_train:,} clips, {row.updates:,} updates{where}"


def _controls(facts: Sequence[Mapping], known: bool) -> str:
    options = "".join(f'<option value="{i}">{escape(fact["title"])}</option>' for i, fact in enumerate(facts))
    by = '<option value="position">position of this prompt’s clip</option>' if known else ""
    keys = {"rate": ("near-exact: no prompt", "all prompts"), "position": ("0: a typical twin", "1: a perfect replay")}
    return (
        f'<form><label>Prompt <select name="prompt">{options}</select></label>'
        f'<label>Colour <select name="by"><option value="rate">near-exact, of all prompts</option>{by}</select></label></form>'
    ) + "".join(
        f'<p class="memorisation-key" data-by="{name}"{" hidden" if name == "position" else ""}><span>{low}</span><i></i>'
        f'<span>{high}</span><span class="memorisation-mark">the clip you hear is near-exact</span></p>'
        for name, (low, high) in keys.items()
    )


def _grid(cells: pd.DataFrame) -> str:
    """Buttons in rows of training sizes. A cell begins at its updates and ends at the next of its row, as its model stands for
    what lies between."""
    logs = np.log(np.maximum(cells["updates"].to_numpy(float), 1))  # a model that was loaded has none
    rows = cells.assign(log=logs).groupby("n_train")["log"]
    step = rows.diff().min() if len(cells) > cells["n_train"].nunique() else 1.0
    place = np.round((logs - logs.min()) / step).astype(int)
    cells = cells.assign(place=place)
    cells["end"] = cells.groupby("n_train")["place"].shift(-1)
    cells["end"] = cells["end"].fillna(cells["place"] + 1).astype(int)
    sizes = sorted(cells["n_train"].unique())
    buttons = '<span class="memorisation-corner">updates</span>' + "".join(
        f'<span class="memorisation-size" style="--row:{i + 2}">{n:,} clips</span>' for i, n in enumerate(sizes)
    )
    for row in cells.itertuples():
        share = (
            f"{share_text(row.rate)} of {row.n_asked} prompts near-exact"
            if row.n_asked
            else "undefined which prompts are near-exact"
        )
        buttons += (
            f'<button type="button" disabled data-cell="{row.n_train} {row.updates}" data-rate="{row.rate!r}"'
            f' data-said="{row.n_train:,} clips, {row.updates:,} updates: {share}"'
            f' style="--row:{sizes.index(row.n_train) + 2};--from:{row.place + 2};--to:{row.end + 2}"></button>'
        )
    labelled = cells.drop_duplicates("place").sort_values("place")
    apart, last = cells["end"].max() / 8, -np.inf  # eight numbers at most
    edge = labelled["place"].max() - 1.3 * apart  # beyond it a number would meet the last one
    for row in labelled.itertuples():
        is_last = row.place == labelled["place"].max()
        if is_last or (row.place - last >= apart and row.place < edge):
            style = f"--from:{row.place + 2};--to:{row.end + 2}"
            end = " memorisation-last" if is_last else ""
            buttons += f'<span class="memorisation-updates{end}" style="{style}">{row.updates:,}</span>'
            last = row.place
    return (
        f'<div class="memorisation-grid" role="group" aria-label="Training sizes by updates" '
        f'style="--columns:{cells["end"].max()};--sizes:{len(sizes)}">{buttons}</div>'
    )
