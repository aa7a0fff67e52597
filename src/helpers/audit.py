"""An audit of clips that some model made: which come nearer to its training clips than honest clips would.

The book's instrument on three folders of audio: the nearest training clip by each detector, less the bias, against a
threshold of a stated false-positive rate. It is set on honest clips: such as the model could have made, but did not learn
from. Twins and ceiling need the recordings behind the clips and the codec, so nothing is called near-exact here.
"""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from helpers.arrays import Selection, chunks, forget
from helpers.config import Profile
from helpers.detectors import Detectors
from helpers.mel import level, log_mel
from helpers.progress import progress, say
from helpers.readers import AUDIO_SUFFIXES, read_clip
from helpers.retrieval import bias, normalised_scores
from helpers.thresholds import Rate, calibrate_threshold, flag, flagged_rate, split_calibration

COLUMNS = ["kind", "clip", "detector", "nearest", "similarity", "bias", "score", "tau", "flagged"]
CHUNK = 64


class Clips(NamedTuple):
    """The usable clips of a folder: their names in it, and their audio int16 [N, S]."""

    names: np.ndarray
    audio: np.ndarray


class Verdict(NamedTuple):
    """What one detector says: tau (None: the wished rate is unattainable), what it flags, and of honest clips set aside."""

    detector: str
    tau: float | None
    flagged: Rate | None
    verified: Rate | None


def read_folder(folder: Path, sample_rate_hz: int, clip_samples: int, file: Path) -> Clips:
    """Every audio file below a folder, as `readers.read_clip` prepares it; the audio is kept in `file` (.npy).

    What cannot be decoded or is silent is named on the terminal and left out. Raises FileNotFoundError for a folder that
    is not there, ValueError where no clip is usable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of audio files, found none")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())

    def read(path: Path) -> np.ndarray | None:
        try:
            return read_clip(path, sample_rate_hz, clip_samples)
        except ValueError as error:
            say(f"left out: {error}")
            return None

    names, audio = [], None
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        progress(total=len(paths), desc=folder.name, unit="clip") as bar,
    ):
        for part, some in chunks(paths, CHUNK):
            for path, clip in zip(some, threads.map(read, some)):
                if clip is None:
                    continue
                if audio is None:
                    audio = open_memmap(file, "w+", np.int16, (len(paths), clip_samples))
                audio[len(names)] = clip
                names.append(path.relative_to(folder).as_posix())
            forget(audio)
            bar.update(part.stop - part.start)
    if not names:
        raise ValueError(f"{folder}: expected audio ({', '.join(AUDIO_SUFFIXES)}), got {len(paths)} files, none usable")
    return Clips(np.array(names), np.load(file, mmap_mode="r")[: len(names)])


def audit(generated: Path, training: Path, honest: Path, profile: Profile) -> tuple[pd.DataFrame, list[Verdict]]:
    """Compares every generated clip with every training clip by the profile's detectors.

    Args:
        generated, training, honest: folders of audio. A quarter of the honest clips is the background that the bias is
            taken from, a half sets tau, a quarter verifies the rate.
        profile: detectors (`retrieval`), beta, K, rate and seed (`thresholds`), rate and length of clips (`corpus`).

    Returns:
        A table (COLUMNS; a row for each generated clip and each honest one outside the background, by detector and
        falling score; `flagged` is empty where tau is unattainable), and a verdict for each detector.

    Raises:
        FileNotFoundError, ValueError: a folder that is missing or without usable clips; too few honest clips, or training
            clips among them.
    """
    used, corpus = profile.thresholds, profile.corpus
    with TemporaryDirectory() as scratch:
        folders = {"generated": generated, "training": training, "honest": honest}
        clips = {
            name: read_folder(folder, corpus.sample_rate_hz, corpus.clip_samples, Path(scratch) / f"{name}.npy")
            for name, folder in folders.items()
        }
        _refuse_shared(clips["honest"], clips["training"])
        parts = _split(clips["honest"].names, used.k, used.seed)
        detectors = Detectors(
            profile.retrieval, profile.mel, corpus.sample_rate_hz, _mel_mean(clips["training"], profile)
        )
        tables, verdicts = [], []
        for detector in progress(profile.retrieval.detectors, desc="audit", unit="detector"):
            table = _compare(detectors, detector, clips, parts, used, Path(scratch))
            tau = calibrate_threshold(table.loc[table["part"] == "C2", "score"], used.fpr)
            table["tau"] = np.nan if tau is None else tau
            table["flagged"] = None if tau is None else flag(table["score"], tau)
            tables.append(table.sort_values(["kind", "score"], ascending=[True, False]))
            verdicts.append(_verdict(detector, tau, table, used.confidence))
    return pd.concat(tables, ignore_index=True)[COLUMNS], verdicts


def _refuse_shared(honest: Clips, training: Clips) -> None:
    """Raises ValueError for a training clip among the honest ones: it would set the threshold at a perfect copy."""
    digests = {hashlib.sha256(clip).digest() for clip in training.audio}
    shared = [name for name, clip in zip(honest.names, honest.audio) if hashlib.sha256(clip).digest() in digests]
    if shared:
        raise ValueError(
            f"honest: expected clips that are not in the training folder, got {len(shared)}, as {shared[0]}"
        )


def _split(names: np.ndarray, k: int, seed: int) -> np.ndarray:
    parts = split_calibration(names, seed) if len(names) > 2 else np.array(["C2"] * len(names))
    background = int((parts == "C1").sum())
    if background < k:
        raise ValueError(
            f"honest: expected at least {4 * k} usable clips, as a quarter is the background and k = {k}, got {len(names)}"
        )
    return parts


def _mel_mean(training: Clips, profile: Profile) -> np.ndarray:
    total = 0.0
    for _, audio in chunks(training.audio, CHUNK):
        mels = log_mel(level(audio), profile.mel, profile.corpus.sample_rate_hz)
        total = total + mels.mean(axis=1, dtype=np.float64).sum(axis=0)
    return (total / len(training.names)).astype(np.float32)


def _compare(detectors: Detectors, name: str, clips: dict[str, Clips], parts, used, scratch: Path) -> pd.DataFrame:
    features = {
        kind: detectors.features(name, some.audio, scratch / f"{name}_{kind}.npy") for kind, some in clips.items()
    }
    background = Selection(features["honest"], np.flatnonzero(parts == "C1"))
    judged = np.flatnonzero(parts != "C1")
    found = []
    for kind, rows in (("generated", np.arange(len(clips["generated"].names))), ("honest", judged)):
        queries = Selection(features[kind], rows)
        nearest = detectors.nearest(name, queries, features["training"], 1)
        beside = detectors.nearest(name, queries, background, used.k).scores
        found.append(
            pd.DataFrame(
                {
                    "kind": kind,
                    "clip": clips[kind].names[rows],
                    "detector": name,
                    "nearest": clips["training"].names[nearest.indices[:, 0]],
                    "similarity": nearest.scores[:, 0],
                    "bias": bias(beside, used.k),
                    "score": normalised_scores(nearest.scores[:, 0], beside, used.beta, used.k),
                    "part": parts[rows] if kind == "honest" else "",
                }
            )
        )
    return pd.concat(found, ignore_index=True)


def _verdict(detector: str, tau: float | None, table: pd.DataFrame, confidence: float) -> Verdict:
    if tau is None:
        return Verdict(detector, None, None, None)
    judged = (table["kind"] == "generated", table["part"] == "C3")
    return Verdict(detector, tau, *(flagged_rate(table.loc[rows, "flagged"], confidence) for rows in judged))


def in_words(verdicts: Iterable[Verdict], fpr: float) -> list[str]:
    """A line a detector: what it flags, at which threshold, and what it flags of the honest clips set aside."""
    lines = []
    for detector, tau, flagged, verified in verdicts:
        if tau is None:
            lines.append(f"{detector}: with these honest clips no threshold has a rate of {fpr:g}; nothing is flagged")
        else:
            lines.append(
                f"{detector}: flagged {flagged} of the generated clips, at tau {tau:.4f} for a rate of {fpr:g}; "
                f"of honest clips set aside {verified}"
            )
    return lines
