"""Readers for a user's own audio: the Hugging Face audio-folder layout and AudioCaps' CSV beside a folder of audio.

File names come from outside: they are looked up, never trusted as paths. A clip that is missing, cannot be decoded or is
silent is counted and listed in `left_out.json`; it does not stop the rest.

Notebook: 01_corpus.
"""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import soundfile

from helpers.base.progress import progress
from helpers.base.seeds import seeded
from helpers.base.settings import CorpusConfig
from helpers.sound.mel import normalise_waveform

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")  # what libsndfile decodes
COLUMNS = {"audiofolder": ("file_name", "text"), "audiocaps": ("audiocap_id", "youtube_id", "start_time", "caption")}
CHUNK = 64


def read_table(path: Path, kind: str) -> pd.DataFrame:
    """Reads the CSV of a user's corpus and checks its columns.

    Raises:
        FileNotFoundError, ValueError: the file, or one of its columns, is not there; says what was expected and found.
    """
    path = Path(path)
    path = path / "metadata.csv" if kind == "audiofolder" and path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"corpus.path: expected {'metadata.csv in the folder' if kind == 'audiofolder' else 'a CSV file'}, found none at {path}"
        )
    table = pd.read_csv(path, dtype={"youtube_id": str, "file_name": str, "text": str, "caption": str})
    missing = [c for c in COLUMNS[kind] if c not in table.columns]
    if missing:
        raise ValueError(f"{path.name}: expected columns {', '.join(COLUMNS[kind])}; missing {', '.join(missing)}")
    return table


def locate_audiofolder(table: pd.DataFrame, folder: Path) -> list[Path | None]:
    """The audio file of each row; None where it is missing or would lie outside the folder."""
    folder = Path(folder).resolve()
    paths = [(folder / str(name)).resolve() for name in table["file_name"]]
    return [path if path.is_relative_to(folder) and path.is_file() else None for path in paths]


def locate_audiocaps(table: pd.DataFrame, folder: Path) -> list[Path | None]:
    """The audio file of each row, by the names in use: <audiocap_id>, <youtube_id>_<start_time>, [Y]<youtube_id>.

    None where there is none of these. Raises FileNotFoundError where the folder is missing.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"corpus.audio_path: expected a folder of audio files, got {folder}")
    by_stem = {p.stem: p for p in sorted(Path(folder).rglob("*")) if p.suffix.lower() in AUDIO_SUFFIXES}
    paths = []
    for caption_id, video, start_s in zip(table["audiocap_id"], table["youtube_id"], table["start_time"]):
        start = f"{float(start_s):g}"
        stems = (str(caption_id), f"{video}_{start}", f"Y{video}_{start}", video, f"Y{video}")
        paths.append(next((by_stem[s] for s in stems if s in by_stem), None))
    return paths


def read_clip(path: str | Path, sample_rate_hz: int, clip_samples: int) -> np.ndarray:
    """One file as int16 [clip_samples]: mono, resampled, mean removed, peak at 0.5, padded or cut at the end (as TANGO).

    Raises:
        ValueError: the file cannot be decoded or is silent.
    """
    path = Path(path)
    try:
        # by handle: soundfile takes names in UTF-8 only
        with path.open("rb") as raw, soundfile.SoundFile(raw) as file:
            frames = -(-clip_samples * file.samplerate // sample_rate_hz)
            audio = file.read(frames, dtype="float32", always_2d=True).mean(axis=1)
            audio = librosa.resample(audio, orig_sr=file.samplerate, target_sr=sample_rate_hz)
    except (OSError, RuntimeError, ValueError) as error:  # soundfile's errors are RuntimeErrors
        raise ValueError(f"{path.name!r}: cannot be decoded ({getattr(error, 'error_string', error)})") from error
    audio = librosa.util.fix_length(audio, size=clip_samples)
    try:
        return np.round(normalise_waveform(audio) * 32767).astype(np.int16)
    except ValueError as error:
        raise ValueError(f"{path.name!r}: {error}") from None


def read_user_corpus(config: CorpusConfig, out: Path) -> tuple[pd.DataFrame, Iterable[np.ndarray]]:
    """The table of a user's clips, split at random by source, and their audio in chunks int16 [<=CHUNK, S].

    Every file is read twice, once to learn which can be used and once to write it, so that memory stays flat. Raises
    FileNotFoundError as `read_table` and `locate_audiocaps` do, ValueError also for too few clips or sources.
    """
    table = read_table(Path(config.path), config.kind)
    if config.kind == "audiofolder":
        paths, captions, sources = locate_audiofolder(table, Path(config.path)), table["text"], table["file_name"]
    else:
        paths, captions, sources = (
            locate_audiocaps(table, Path(config.audio_path)),
            table["caption"],
            table["youtube_id"],
        )
    usable, left_out = _usable(paths, captions, sources, config)
    (out / "left_out.json").write_text(
        json.dumps({"n_listed": len(table), "n_left_out": len(left_out), "clips": left_out}, indent=1)
    )
    clips = _split(usable, config)
    return clips, _chunks([usable[i]["path"] for i in clips.pop("order")], config)


def _usable(paths, captions, sources, config):
    def check(item):
        path, caption, source = item
        if path is None:
            return source, "missing"
        if not isinstance(caption, str) or not caption.strip():
            return source, "no caption"
        try:
            read_clip(path, config.sample_rate_hz, config.clip_samples)
        except ValueError as error:
            return source, str(error)
        return None

    items = list(zip(paths, captions, sources))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        problems = list(progress(threads.map(check, items), total=len(items), desc="checking clips", unit="clip"))
    usable = [
        {"path": p, "caption": c.strip(), "source": str(s)} for (p, c, s), bad in zip(items, problems) if bad is None
    ]
    return usable, [{"clip": str(bad[0]), "why": bad[1]} for bad in problems if bad is not None]


def _split(usable: list[dict], config: CorpusConfig) -> pd.DataFrame:
    needed = {"train": config.n_train, "heldout": config.n_heldout, "background": config.n_background}
    if len(usable) < sum(needed.values()):
        raise ValueError(f"corpus: expected at least {sum(needed.values())} usable clips ({needed}), got {len(usable)}")
    sources = sorted({item["source"] for item in usable})
    rank = dict(zip(sources, seeded(config.seed, "user split").permutation(len(sources))))
    order = sorted(range(len(usable)), key=lambda i: (rank[usable[i]["source"]], i))
    # whole sources only: a video's second clip must not land in another split
    rows, taken, current, splits = [], 0, None, iter(needed.items())
    split, target = next(splits)
    for i in order:
        source = usable[i]["source"]
        if taken >= target and source != current:
            split, target = next(splits, ("", 0))
            taken = 0
            if not split:
                break
        if taken < target:
            rows.append((f"{split}_{taken:05d}", split, taken, usable[i]["caption"], [source], [source], [""], "", i))
            taken += 1
        current = source
    clips = pd.DataFrame(
        rows,
        columns=["clip_id", "split", "index", "caption", "source_ids", "source_groups", "classes", "recipe", "order"],
    )
    got = clips["split"].value_counts().to_dict()
    if got != needed:
        raise ValueError(f"corpus: expected {needed} clips from disjoint sources, got {got}")
    return clips


def _chunks(paths: list[Path], config: CorpusConfig) -> Iterable[np.ndarray]:
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        progress(total=len(paths), desc="reading clips", unit="clip") as bar,
    ):
        for start in range(0, len(paths), CHUNK):
            part = paths[start : start + CHUNK]
            yield np.stack(list(threads.map(lambda p: read_clip(p, config.sample_rate_hz, config.clip_samples), part)))
            bar.update(len(part))
