"""Corpora of a user's own: the Hugging Face audio-folder layout, and AudioCaps' CSV beside a folder of audio.

A row whose clip cannot be used is listed with its reason in `left_out.json`; it does not stop the rest. Several captions of
one recording are one clip, under the first of them.

Notebook: 01_corpus.
"""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.progress import progress, say
from helpers.base.seeds import seeded
from helpers.base.settings import CorpusConfig
from helpers.sound.audio_file import read_clip
from helpers.sound.audio_folder import list_files
from helpers.sound.user_table import COLUMNS, UserDataError, locate, names_of, places, read_table

CHUNK = 64
REPORT = "left_out.json"
CELLS = {"file_name": "clip", "text": "caption", "audiocap_id": "clip", "youtube_id": "source", "start_time": "start"}
AGAIN = "a further caption of a recording that is listed before"


def read_user_corpus(config: CorpusConfig, out: Path) -> tuple[pd.DataFrame, Iterable[np.ndarray]]:
    """The table of a user's clips, split at random by source, and their audio in chunks int16 [<=CHUNK, S].

    Every file is read twice, once to learn which can be used and once to write it, so that memory stays flat. What is left
    out stands in `out`/left_out.json; where the corpus fails for it, beside `out`, whose files go then.

    Raises:
        FileNotFoundError: the table or the folder is missing.
        UserDataError: a table that cannot be read, too few clips or sources; what was looked for, and what is there.
    """
    path, folder = places(config)
    table, listing = read_table(path, config.kind), list_files(folder)
    clips = pd.DataFrame(table.values(), [*table], COLUMNS[config.kind]).rename(columns=CELLS)
    source = clips.get("source", clips["clip"])
    clips["source"] = source.where(source != "", clips["clip"])
    found = locate(map(names_of, table.values()), listing, folder, config.kind)
    clips["file"] = pd.Series(found, clips.index, dtype=object)
    clips["why"] = _reasons(clips, config)
    usable = clips[clips["why"] == ""].reset_index(drop=True)
    report, kept = _report(clips), out.with_suffix(f".{REPORT}")
    for place in (out / REPORT, kept):
        place.write_text(json.dumps(report, indent=1, ensure_ascii=False))
    told = _in_words(clips)
    try:
        order, rows = _split(usable, config)
    except ValueError as error:
        first = "".join(f", as {name!r}" for name in [*listing.files][:1])
        there = f"files that may be audio in {folder}: {len(listing.files)}{first}"
        raise UserDataError(f"corpus: {error}; {told}; {there}; all reasons: {kept}") from None
    kept.unlink()
    say(f"corpus: {told}")
    return rows, _chunks(usable["file"].iloc[order].to_list(), config)


def _reasons(clips: pd.DataFrame, config: CorpusConfig) -> list[str]:
    """Why each row gives no clip; "" for one that does."""
    reasons: list[str] = []
    seen: set = set()
    recordings = zip(clips["source"], clips["start"]) if config.kind == "audiocaps" else clips["file"]
    for file, caption, recording in zip(clips["file"], clips["caption"], recordings):
        reason = file if isinstance(file, str) else "" if caption.strip() else "no caption"
        reason = reason or (AGAIN if recording in seen else "")
        if not reason:
            seen.add(recording)
        reasons.append(reason)

    def check(file: Path, reason: str) -> str:
        if not reason:
            try:
                read_clip(file, config.sample_rate_hz, config.clip_samples, config.channel)
            except ValueError as error:
                return str(error).removeprefix(f"{file.name!r}: ")
        return reason

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        checked = threads.map(check, clips["file"], reasons)
        return list(progress(checked, total=len(clips), desc="checking clips", unit="clip"))


def _report(clips: pd.DataFrame) -> dict:
    again = clips["why"] == AGAIN
    left_out = clips[(clips["why"] != "") & ~again]
    return {
        "n_listed": len(clips),
        "n_left_out": len(left_out),
        "n_further_captions": int(again.sum()),
        "clips": left_out.rename_axis("line").reset_index()[["line", "clip", "why"]].to_dict("records"),
    }


def _in_words(clips: pd.DataFrame) -> str:
    """How many rows give no clip, by kind of reason, with the first of each kind."""
    reasons = clips.loc[clips["why"] != "", "why"]
    told = [f"{len(clips) - len(reasons)} of {len(clips)} listed clips can be used"]
    kinds = reasons.str.extract(r"^([^:(]+)", expand=False).str.strip()
    for kind, n in kinds.value_counts().items():
        first = reasons[kinds == kind]
        told.append(f"{n} {kind}, the first in line {first.index[0]}{first.iloc[0].removeprefix(kind)}")
    return "; ".join(told)


def _split(usable: pd.DataFrame, config: CorpusConfig) -> tuple[list[int], pd.DataFrame]:
    """Which of the usable clips are taken, in order, and the corpus' table of them. Raises ValueError for too few."""
    needed = {"train": config.n_train, "heldout": config.n_heldout, "background": config.n_background}
    if len(usable) < sum(needed.values()):
        raise ValueError(f"expected at least {sum(needed.values())} usable clips ({needed}), got {len(usable)}")
    of, captions = usable["source"], usable["caption"].str.strip()
    sources = sorted(set(of))
    rank = dict(zip(sources, seeded(config.seed, "user split").permutation(len(sources))))
    order = sorted(range(len(usable)), key=lambda i: (rank[of[i]], i))
    # whole sources only: a video's second clip must not land in another split
    rows, taken, current, splits = [], 0, None, iter(needed.items())
    split, target = next(splits)
    chosen = []
    for i in order:
        if taken >= target and of[i] != current:
            split, target = next(splits, ("", 0))
            taken = 0
            if not split:
                break
        if taken < target:
            rows.append((f"{split}_{taken:05d}", split, taken, captions[i], [of[i]], [of[i]], [""], ""))
            chosen.append(i)
            taken += 1
        current = of[i]
    clips = pd.DataFrame(
        rows, columns=["clip_id", "split", "index", "caption", "source_ids", "source_groups", "classes", "recipe"]
    )
    got = clips["split"].value_counts().to_dict()
    if got != needed:
        raise ValueError(f"expected {needed} clips from disjoint sources, got {got}")
    return chosen, clips


def _chunks(paths: list[Path], config: CorpusConfig) -> Iterable[np.ndarray]:
    def read(path: Path) -> np.ndarray:
        return read_clip(path, config.sample_rate_hz, config.clip_samples, config.channel)

    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        progress(total=len(paths), desc="reading clips", unit="clip") as bar,
    ):
        for start in range(0, len(paths), CHUNK):
            part = paths[start : start + CHUNK]
            yield np.stack(list(threads.map(read, part)))
            bar.update(len(part))
