"""Corpora of a user's own: the Hugging Face audio-folder layout, and AudioCaps' CSV beside a folder of audio.

A row whose clip cannot be used is listed with its reason in `left_out.json`; it does not stop the rest. Several captions of
one recording are one clip, under one of them, drawn once.

Notebook: 01_corpus.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers.base.hashing import hash_file
from helpers.base.machine import cores
from helpers.base.paths import runs_root
from helpers.base.progress import progress, say
from helpers.base.seeds import seeded
from helpers.base.settings import CorpusConfig
from helpers.sound.audio_file import read_clip
from helpers.sound.audio_folder import fingerprint, list_files
from helpers.sound.user_table import (
    READERS_VERSION,
    SPLITS,
    UserDataError,
    locate,
    named_files,
    names_of,
    places,
    read_tables,
)

CHUNK = 64
REPORT = "left_out.json"
CELLS = {"file_name": "clip", "text": "caption", "audiocap_id": "clip", "youtube_id": "source", "start_time": "start"}
AGAIN = "a further caption of a recording that is listed before"
TRAINED = "of a video that the training split has too"
LEARNED = "the same sound as a clip of the training split"


def read_user_corpus(config: CorpusConfig, out: Path) -> tuple[pd.DataFrame, Iterable[np.ndarray]]:
    """The table of a user's clips, split by source, and their audio in chunks int16 [<=CHUNK, S].

    AudioCaps' own splits are kept where the tables say them: training clips are of `train`, the others of `val` and
    `test`. Else the split is at random. Every file is read twice, once to learn which can be used and once to write it,
    so that memory stays flat. What is left out stands in `out`/left_out.json; where the corpus fails for it, beside
    `out`, whose files go then.

    Raises:
        FileNotFoundError: a table or the folder is missing.
        UserDataError: a table that cannot be read, too few clips or sources; what was looked for, and what is there.
    """
    clips = check_clips(config)
    usable = clips[clips["why"] == ""].reset_index(drop=True)
    report, kept = _report(clips), out.with_suffix(f".{REPORT}")
    for place in (out / REPORT, kept):
        place.write_text(json.dumps(report, indent=1, ensure_ascii=False))
    told = _in_words(clips)
    try:
        order, rows = _split(usable, config)
    except ValueError as error:
        folder = places(config)[1]
        files = list_files(folder).files
        first = "".join(f", as {name!r}" for name in [*files][:1])
        there = f"files that may be audio in {folder}: {len(files)}{first}"
        raise UserDataError(f"corpus: {error}; {told}; {there}; all reasons: {kept}") from None
    kept.unlink()
    say(f"corpus: {told}")
    return rows, _chunks(usable["file"].iloc[order].to_list(), config)


def count_training(config: CorpusConfig) -> int:
    """How many clips of the official training split can be used: what `n_train: all` means. Errors as `read_user_corpus`."""
    clips = check_clips(config)
    if "split" not in clips:
        raise UserDataError(
            "n_train: expected a number, as the table says no splits, got 'all'; a folder with train.csv, val.csv and "
            "test.csv, or a column `split`, says them"
        )
    return int(((clips["split"] == "train") & (clips["why"] == "")).sum())


def check_clips(config: CorpusConfig) -> pd.DataFrame:
    """Every listed row: clip, caption, source, file, `why` it gives no clip ("" for one that does), official split if any.

    Reading all files takes minutes, so what came out is kept with the results and read from there the next time.
    """
    tables, folder = places(config)
    rows, listing = read_tables(tables, config.kind), list_files(folder)
    if not rows:
        raise UserDataError(f"{tables[0].name}: expected a row for each clip, got none")
    clips = pd.DataFrame([*rows.values()], [*rows]).rename(columns=CELLS)
    if "split" in clips:
        clips["split"] = clips["split"].map(SPLITS).fillna("")
        clips = clips.sort_values("split", key=lambda split: split != "train", kind="stable")
    source = clips.get("source", clips["clip"])
    clips["source"] = source.where(source != "", clips["clip"])
    found = locate((names_of(rows[line]) for line in clips.index), listing, folder, config.kind)
    clips["file"] = pd.Series(found, clips.index, dtype=object)
    read_as = (READERS_VERSION, config.kind, config.sample_rate_hz, config.clip_samples, config.channel)
    key = seeded(*map(str, read_as), *map(hash_file, tables), fingerprint(named_files(found, listing))).bytes(16).hex()
    kept = runs_root() / "checked" / f"{key}.json"
    if (checked := _read_checked(kept, len(clips))) is None:
        checked = _check(clips, config)
        kept.parent.mkdir(parents=True, exist_ok=True)
        (part := kept.with_suffix(f".{os.getpid()}")).write_text(json.dumps(checked))
        part.replace(kept)
    clips["why"], sounds = [why for why, _ in checked], pd.Series([sound for _, sound in checked], clips.index)
    if "split" in clips:
        learned = sounds[(clips["split"] == "train") & (clips["why"] == "")]
        clips.loc[(clips["split"] != "train") & (clips["why"] == "") & sounds.isin(learned), "why"] = LEARNED
    else:
        clips["source"] = _joined(clips["source"], sounds)
    clips["caption"] = _drawn_captions(clips, config)
    return clips


def _read_checked(kept: Path, n: int) -> list[list[str]] | None:
    """What an earlier `_check` of the same `n` rows found; None where there is none, or it was cut off."""
    try:
        checked = json.loads(kept.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return checked if isinstance(checked, list) and len(checked) == n else None


def _joined(sources: pd.Series, sounds: pd.Series) -> pd.Series:
    """The sources, where those that have a sound in common go by the name of the first: else equal clips could land in different
    splits. `sounds` has "" for rows that give no clip."""
    names, numbers = np.unique(sources.to_numpy(str), return_inverse=True)
    used = (sounds != "").to_numpy()
    kinds, of_kind = np.unique(sounds[used].to_numpy(str), return_inverse=True)
    edges = coo_array(
        (np.ones(used.sum()), (numbers[used], len(names) + of_kind)), shape=(len(names) + len(kinds),) * 2
    )
    parts = connected_components(edges, directed=False)[1][: len(names)]
    _, first, part = np.unique(parts, return_index=True, return_inverse=True)
    return pd.Series(names[first][part][numbers], sources.index)


def _recordings(clips: pd.DataFrame, config: CorpusConfig) -> pd.Series:
    """What tells one recording from another: AudioCaps' video and start, else the file."""
    of = clips["source"] + "_" + clips["start"] if config.kind == "audiocaps" else clips["file"].astype(str)
    return of.set_axis(clips.index)


def _drawn_captions(clips: pd.DataFrame, config: CorpusConfig) -> pd.Series:
    """The caption of each clip: one of its recording's, drawn by the recording's name; other rows keep theirs."""
    recordings, captions = _recordings(clips, config), clips["caption"].copy()
    worded = captions[clips["why"].isin(("", AGAIN))].groupby(recordings).agg(list)
    for line in clips.index[clips["why"] == ""]:
        choices = worded[recordings[line]]
        if len(choices) > 1:  # files are known by their names in the folder, wherever it lies
            name = recordings[line] if config.kind == "audiocaps" else clips["file"][line].name
            captions[line] = choices[seeded(config.seed, "caption", name).integers(len(choices))]
    return captions


def _check(clips: pd.DataFrame, config: CorpusConfig) -> list[list[str]]:
    """Of each row why it gives no clip, "" for one that does; and of one that does what its sound is known by."""
    reasons: list[str] = []
    seen: set = set()
    trained: set = set()  # the videos of the official training split, whose rows come first
    splits = clips.get("split", pd.Series("", clips.index))
    for file, caption, recording, source, split in zip(
        clips["file"], clips["caption"], _recordings(clips, config), clips["source"], splits
    ):
        reason = file if isinstance(file, str) else "" if caption.strip() else "no caption"
        reason = reason or (AGAIN if recording in seen else TRAINED if split != "train" and source in trained else "")
        if not reason:
            seen.add(recording)
            trained |= {source} if split == "train" else set()
        reasons.append(reason)

    def check(file: Path, reason: str) -> list[str]:
        if reason:
            return [reason, ""]
        try:
            sound = read_clip(file, config.sample_rate_hz, config.clip_samples, config.channel)
        except ValueError as error:
            return [str(error).removeprefix(f"{file.name!r}: "), ""]
        return ["", hashlib.sha256(sound.tobytes()).hexdigest()]

    with ThreadPoolExecutor(cores()) as threads:
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
    pools = {"": (usable, needed)}
    if "split" in usable:
        trained, others = usable["split"] == "train", dict([*needed.items()][1:])
        pools = {
            " of train": (usable[trained], {"train": config.n_train}),
            " of val and test": (usable[~trained], others),
        }
    chosen: dict[str, list[int]] = {}
    for name, (pool, wanted) in pools.items():
        if len(pool) < sum(wanted.values()):
            raise ValueError(f"expected at least {sum(wanted.values())} usable clips{name} ({wanted}), got {len(pool)}")
        chosen |= _draw(pool["source"], wanted, config)
    order = [row for rows in chosen.values() for row in rows]
    if (got := {split: len(rows) for split, rows in chosen.items()}) != needed:
        raise ValueError(f"expected {needed} clips from disjoint sources, got {got}")
    clips = pd.DataFrame(
        [(f"{split}_{i:05d}", split, i, " ".join(usable["caption"][row].split()), [of := usable["source"][row]], [of], [""], "")
         for split, rows in chosen.items() for i, row in enumerate(rows)],
        columns=["clip_id", "split", "index", "caption", "source_ids", "source_groups", "classes", "recipe"],
    )  # fmt: skip
    return order, clips


def _draw(of: pd.Series, wanted: dict[str, int], config: CorpusConfig) -> dict[str, list[int]]:
    """The rows of each split, by the sources `of` the rows: whole sources in an order drawn by the seed.

    A source's second clip must not land in another split; those beyond a split's number are left.
    """
    sources = sorted(set(of))
    rank = dict(zip(sources, seeded(config.seed, "user split").permutation(len(sources))))
    chosen: dict[str, list[int]] = {split: [] for split in wanted}
    splits, current = iter(wanted), None
    split = next(splits)
    for i in sorted(of.index, key=lambda i: (rank[of[i]], i)):
        if len(chosen[split]) == wanted[split] and of[i] != current and not (split := next(splits, "")):
            break
        if len(chosen[split]) < wanted[split]:
            chosen[split].append(i)
        current = of[i]
    return chosen


def _chunks(paths: list[Path], config: CorpusConfig) -> Iterable[np.ndarray]:
    def read(path: Path) -> np.ndarray:
        return read_clip(path, config.sample_rate_hz, config.clip_samples, config.channel)

    with ThreadPoolExecutor(cores()) as threads, progress(total=len(paths), desc="reading clips", unit="clip") as bar:
        for start in range(0, len(paths), CHUNK):
            part = paths[start : start + CHUNK]
            yield np.stack(list(threads.map(read, part)))
            bar.update(len(part))
