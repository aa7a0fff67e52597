"""An audit of clips that some model made: which come nearer to its training clips than honest clips do.

The book's instrument on three folders of audio: the nearest training clip by each detector, less the bias, against a
threshold of a stated false-positive rate. It is set on honest clips: such as the model could have made, but did not learn
from, one a recording, and in all else like the generated ones (codec, length, level). Twins and ceiling need the recordings
behind the clips and the codec, so nothing is called near-exact here.
"""

import hashlib
import itertools
import json
import math
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection, chunks, create, forget
from helpers.base.progress import progress, say
from helpers.base.settings import Profile
from helpers.copies.bias import bias, normalised_scores
from helpers.copies.calibration import calibrate_threshold, flag, split_calibration
from helpers.copies.detectors import Detectors
from helpers.copies.rates import Rate, flagged_rate
from helpers.models import aisfx
from helpers.sound.audio_file import read_clip
from helpers.sound.audio_folder import list_files
from helpers.sound.mel import level, log_mel, mean_of_bands
from helpers.sound.profiles import load_profile
from helpers.sound.silence import is_silent

KINDS = ("generated", "training", "honest")
COLUMNS = ["kind", "clip", "detector", "nearest", "similarity", "bias", "score", "tau", "flagged", "part"]
CHUNK = 64
SHOWN = 20  # files left out that are named while it runs; the report has all


class Clips(NamedTuple):
    """The usable clips of a folder: their names in it, their audio int16 [N, S]; the files left out, each with its reason."""

    names: np.ndarray
    audio: np.ndarray | Selection
    left_out: dict[str, str]


class Verdict(NamedTuple):
    """What one detector flags at tau: of generated clips, of honest ones set aside, and what of exact copies it would."""

    detector: str
    tau: float
    flagged: Rate
    verified: Rate
    copies: Rate


class Audit(NamedTuple):
    """What `audit` returns: a table of clips (COLUMNS), a verdict for each detector, and what was left out of each folder,
    the reasons by file. As text: `in_words`, and how many files were left out."""

    table: pd.DataFrame
    verdicts: list[Verdict]
    left_out: dict[str, dict[str, str]]

    def __str__(self) -> str:
        used = [*in_words(self.table, self.verdicts), *(_account(kind, self.left_out[kind]) for kind in KINDS)]
        return "\n".join(used)


def audit(
    generated: str | Path,
    training: str | Path,
    honest: str | Path,
    profile: Profile | str = "pocket",
    report: Path | None = None,
    **thresholds,
) -> Audit:
    """Which clips of a model come nearer to its training clips than honest clips do: three folders of audio, one call.

    Args:
        generated: the folder of the clips that the model made; a folder is searched with all its subfolders.
        training: the folder of those that it was trained on.
        honest: the folder of clips of the same kind that it was not trained on, through its codec if it has one.
        profile: clip length, sample rate, detectors and thresholds. A name stands for `profiles/<name>.yml`, less the
            detector `aisfx` where its package is not installed.
        report: a file to write what is left out to, as JSON, as soon as the folders are read: it outlives a failure.
        thresholds: fields of `ThresholdsConfig` over the profile's, as `fpr=0.02`.

    Returns:
        The table and the verdicts that `judge` describes. Printed, it says in a line a detector what was flagged.

    Raises:
        FileNotFoundError: a folder that is missing.
        ValueError: a setting out of range, or folders that cannot be compared (`read_folders` says which).
        ModuleNotFoundError: a detector whose package is not installed.
        OSError: too little room in the folder for temporary files, or a file that cannot be read.
        RuntimeError: the comparison failed after all of these were in order.

    Source: the score and its threshold are those of chapters 05 and 06 (`copies.bias`, `copies.calibration`).
    """
    if isinstance(profile, str):
        profile = leave_out_missing(load_profile(profile))
    if thresholds:
        profile = profile.replace("thresholds", **thresholds)
    aisfx.require(profile.retrieval.detectors)
    with tempfile.TemporaryDirectory() as folder:
        scratch, detectors = Path(folder), load_detectors(profile)
        clips = read_folders(dict(zip(KINDS, map(Path, (generated, training, honest)))), profile, scratch, report)
        try:
            left_out = {kind: clips[kind].left_out for kind in KINDS}
            return Audit(*judge(clips, detectors, profile, scratch), left_out)
        except (ValueError, TypeError, FileNotFoundError) as error:  # what is raised above speaks of the caller's input
            raise RuntimeError(f"audit: the comparison failed: {error}") from error


def leave_out_missing(profile: Profile) -> Profile:
    """The profile without the detector whose package is optional, where that is not installed."""
    names = profile.retrieval.detectors
    if aisfx.NAME not in names or aisfx.installed():
        return profile
    return profile.replace("retrieval", detectors=tuple(name for name in names if name != aisfx.NAME))


def load_detectors(profile: Profile) -> Detectors:
    """The profile's detectors, each tried on noise of the profile's clip length; `judge` sets their mean.

    Raises ValueError for none, one twice, or one that takes clips of another length.
    """
    names, corpus = profile.retrieval.detectors, profile.corpus
    if not names or len(set(names)) < len(names):
        raise ValueError(f"detectors: expected one or more different ones, got {list(names)}")
    detectors = Detectors(
        profile.retrieval, profile.mel, corpus.sample_rate_hz, np.zeros(profile.mel.n_mels, np.float32)
    )
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, corpus.clip_samples), dtype=np.int16)
    for name in names:
        try:
            detectors.features(name, noise)
        except ValueError as error:
            raise ValueError(f"detector {name} takes no such clips ({error}); detectors=[...] leaves it out") from None
    return detectors


def read_folders(
    folders: dict[str, Path], profile: Profile, scratch: Path, report: Path | None = None
) -> dict[str, Clips]:
    """The clips of the folders of `KINDS`, their audio kept in files in `scratch`; honest clips that repeat are left out.

    Raises:
        FileNotFoundError: a folder that is missing.
        ValueError: two folders that are one, lie in another or share a file through a link, a folder without usable clips,
            a training clip among the honest ones, or fewer honest clips than K and the rate need.
        OSError: too little room in `scratch`.
    """
    found, left_out = {}, {}
    owner: dict[Path, str] = {}
    for kind in KINDS:
        if not (folder := Path(folders[kind])).is_dir():
            raise FileNotFoundError(f"{kind}: expected a folder of audio files, found none at {folder}")
        found[kind], left_out[kind] = list_files(folder)
    for one, other in itertools.permutations(KINDS, 2):
        if Path(folders[one]).resolve().is_relative_to(Path(folders[other]).resolve()):
            raise ValueError(f"{one}: expected a folder apart from that of {other}, got {folders[one]}")
    for kind in KINDS:
        for name, path in found[kind].items():
            if (first := owner.setdefault(path.resolve(), kind)) != kind:
                raise ValueError(f"{kind}: expected files apart from those of {first}, got {name!r}, which is in both")
    samples, mel, used = profile.corpus.clip_samples, profile.mel, profile.thresholds
    files = sum(map(len, found.values()))
    needed = files * (2 * samples + 4 * samples // mel.hop_length * mel.n_mels)  # audio, and one detector's features
    if needed > (free := shutil.disk_usage(scratch).free):
        raise OSError(
            f"expected {needed / 1e9:.1f} GB free for {files} clips, got {free / 1e9:.1f}; TMPDIR=... names a folder for them"
        )
    try:
        clips = {kind: _read(kind, found[kind], left_out[kind], profile, scratch) for kind in KINDS}
        clips["honest"] = _distinct(clips["honest"], clips["training"])
    finally:
        if report:
            report.write_text(json.dumps(left_out, indent=1))
    enough = max(4 * used.k, 2 * math.ceil(1 / used.fpr))
    if len(clips["honest"].names) < enough:
        raise ValueError(
            f"honest: expected at least {enough} usable clips for a rate of {used.fpr:g} and k = {used.k} (a quarter is the "
            f"background, a half sets the threshold), got {len(clips['honest'].names)}"
        )
    return clips


def _read(kind: str, files: dict[str, Path], left_out: dict[str, str], profile: Profile, scratch: Path) -> Clips:
    """The clips that can be read of `files`; the others join `left_out`."""
    names: list[str] = []
    file, corpus = scratch / f"{kind}.npy", profile.corpus
    rate, samples = corpus.sample_rate_hz, corpus.clip_samples
    audio = create(file, np.int16, (max(len(files), 1), samples))

    def read(path: Path) -> np.ndarray | str:
        try:
            return read_clip(path, rate, samples, corpus.channel)
        except ValueError as error:
            return str(error).removeprefix(f"{path.name!r}: ")

    short = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads, progress(total=len(files), desc=kind, unit="clip") as bar:
        for part, some in chunks([*files], CHUNK):
            for name, clip in zip(some, threads.map(read, (files[name] for name in some))):
                if isinstance(clip, str):
                    left_out[name] = clip
                    continue
                audio[len(names)] = clip
                names.append(name)
                short += bool(is_silent(clip[-rate // 100 :]))  # padded: recordings seldom end in digital silence
            forget(audio)
            bar.update(part.stop - part.start)
    say(f"{kind}: {len(names)} files used, {short} of them end in silence or are shorter than {samples / rate:g} s")
    for name, why in [*left_out.items()][:SHOWN]:
        say(f"{kind}: left out {name!r}: {why}")
    if not names:
        raise ValueError(f"{kind}: expected files with sound, got none; {_account(kind, left_out)}")
    return Clips(np.array(names), np.load(file, mmap_mode="r")[: len(names)], left_out)


def _account(kind: str, left_out: dict[str, str]) -> str:
    first = "".join(f", the first {name!r}: {why}" for name, why in [*left_out.items()][:1])
    return f"{kind}: {len(left_out)} files left out{first}"


def _distinct(honest: Clips, training: Clips) -> Clips:
    """The honest clips without repetitions. One that the model was trained on would set tau at a perfect copy."""
    learned, digests = set(_digests(training)), _digests(honest)
    if shared := [name for name, digest in zip(honest.names, digests) if digest in learned]:
        raise ValueError(f"honest: expected no clip of the training folder, got {len(shared)}, as '{shared[0]}'")
    first = np.sort(np.unique(digests, return_index=True)[1])
    if len(first) < len(digests):
        say(f"honest: {len(digests) - len(first)} clips repeat others and are left out")
    honest.left_out.update({str(name): "repeats another honest clip" for name in np.delete(honest.names, first)})
    return Clips(honest.names[first], Selection(honest.audio, first), honest.left_out)


def _digests(clips: Clips) -> list[str]:
    return [hashlib.sha256(clip).hexdigest() for _, part in chunks(clips.audio, CHUNK) for clip in part]


def judge(
    clips: dict[str, Clips], detectors: Detectors, profile: Profile, scratch: Path
) -> tuple[pd.DataFrame, list[Verdict]]:
    """Compares every generated clip with every training clip by each detector.

    A quarter of the honest clips (part C1) is the background that the bias is taken from, a half (C2) sets tau, a quarter
    (C3) is set aside. Returns a table (COLUMNS; a row for each generated clip and each honest one of C2 and C3, by
    detector, falling by score) and a verdict for each detector. One detector's features lie in `scratch` at a time.
    """
    used = profile.thresholds
    parts = split_calibration(clips["honest"].names, used.seed)
    learned = chunks(clips["training"].audio, CHUNK)
    detectors.mean = mean_of_bands(
        log_mel(level(audio), profile.mel, profile.corpus.sample_rate_hz) for _, audio in learned
    )
    tables, verdicts = [], []
    for name in progress(detectors.names, desc="audit", unit="detector"):
        table, of_copies = _compare(detectors, name, clips, parts, used, scratch)
        tau = calibrate_threshold(table.loc[table["part"] == "C2", "score"], used.fpr)
        table = table.assign(tau=tau, flagged=flag(table["score"], tau))
        tables.append(table.sort_values(["kind", "score"], ascending=[True, False]))
        generated, aside = (
            table.loc[rows, "flagged"] for rows in (table["kind"] == "generated", table["part"] == "C3")
        )
        rates = (flagged_rate(flags, used.confidence) for flags in (generated, aside, flag(of_copies, tau)))
        verdicts.append(Verdict(name, tau, *rates))  # type: ignore[arg-type]  # `flag` refuses a tau of None
    return pd.concat(tables, ignore_index=True)[COLUMNS], verdicts


def _compare(detectors: Detectors, name: str, clips: dict[str, Clips], parts, used, scratch: Path):
    """A table without tau, and the scores that exact copies of the training clips would have."""
    files = {kind: scratch / f"features_{kind}.npy" for kind in KINDS}
    features = {kind: detectors.features(name, clips[kind].audio, file) for kind, file in files.items()}
    background = Selection(features["honest"], np.flatnonzero(parts == "C1"))
    found = []
    for kind, rows in (
        ("generated", np.arange(len(clips["generated"].names))),
        ("honest", np.flatnonzero(parts != "C1")),
    ):
        queries = Selection(features[kind], rows)
        nearest = detectors.nearest(name, queries, features["training"], 1)
        beside = detectors.nearest(name, queries, background, used.k).scores
        columns = {
            "kind": kind,
            "clip": clips[kind].names[rows],
            "detector": name,
            "nearest": clips["training"].names[nearest.indices[:, 0]],
            "similarity": nearest.scores[:, 0],
            "bias": bias(beside, used.k),
            "score": normalised_scores(nearest.scores[:, 0], beside, used.beta, used.k),
            "part": parts[rows] if kind == "honest" else "",
        }
        found.append(pd.DataFrame(columns))
    beside = detectors.nearest(name, features["training"], background, used.k).scores
    of_copies = normalised_scores(np.ones(len(beside)), beside, used.beta, used.k)
    for file in files.values():
        file.unlink()
    return pd.concat(found, ignore_index=True), of_copies


def in_words(table: pd.DataFrame, verdicts: list[Verdict]) -> list[str]:
    """Lines on what each detector flags, at which threshold, and how far that can be trusted; then on all together."""
    lines = [
        f"{detector}: flagged {flagged} of the generated clips; of honest ones set aside {verified}; "
        f"of exact copies it would flag {copies}; tau {tau:.4f}"
        for detector, tau, flagged, verified, copies in verdicts
    ]
    if len(verdicts) > 1:
        anyhow = table.groupby(["kind", "part", "clip"])["flagged"].any()
        counts = [(int(flags.sum()), len(flags)) for flags in (anyhow.xs("generated"), anyhow.xs(("honest", "C3")))]
        lines.append(
            "by any of them: {} of {} generated clips, {} of {} honest ones set aside".format(*counts[0], *counts[1])
        )
    return lines
