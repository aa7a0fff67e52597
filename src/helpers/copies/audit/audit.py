"""An audit of clips that some model made: which come nearer to its training clips than honest clips do.

Files are compared whole: by the book's detectors over overlapping windows, and by a local one that finds excerpts
(`copies.audit.landmarks`). All detectors together give each clip one p-value (`copies.audit.p_values`), calibrated on honest clips: such
as the model could have made, but did not learn from, one a recording. Where these differ from the generated ones in length,
silence, bandwidth or noise, no rate holds, and none is stated (`sound.likeness`). What the audit could find is told by copies
that it plants itself (`copies.audit.planting`). Twins and ceiling need the recordings behind the clips and the codec, so nothing is
called near-exact here.
"""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.hashing import hash_file
from helpers.base.mapped import chunks
from helpers.base.paths import resolve
from helpers.base.profile import Profile
from helpers.base.progress import progress, say
from helpers.copies.audit import chromaprint as fingerprinting
from helpers.copies.audit.folders import KINDS, Clips, Folders, list_folders, read_clips, read_folders
from helpers.copies.audit.kept import Kept
from helpers.copies.audit.landmarks import HOP, Index
from helpers.copies.audit.options import USED, check_used
from helpers.copies.audit.planting import ALTERATIONS
from helpers.copies.audit.queries import PLANTED, Queries, gather
from helpers.copies.audit.search import PLACES, global_matches, local_matches
from helpers.copies.audit.verdict import LEAST_PLACED, LOCAL, Audit, account_of, judged
from helpers.copies.detectors import OF_MELS, Detectors, OfMels
from helpers.models import aisfx
from helpers.models.pretrained.locate import find_clap, is_laion
from helpers.sound.mel import level, log_mel, mean_of_bands
from helpers.sound.profiles import load_profile
from helpers.sound.sounds import Windows

CHUNK = 64


def audit(
    generated: str | Path,
    training: str | Path,
    honest: str | Path | None = None,
    profile: Profile | str = "pocket",
    report: str | Path | None = None,
    match_honest: bool = False,
    kept: Path | None = None,
    chromaprint: bool = False,
    **thresholds,
) -> Audit:
    """Which clips of a model come nearer to its training clips than honest clips do: folders of audio, one call.

    Args:
        generated: the folder of the clips that the model made; a folder is searched with all its subfolders.
        training: the folder of those that it was trained on.
        honest: the folder of clips of the same kind that it was not trained on, through its codec if it has one. Without
            one, training clips that have no duplicate stand in.
        profile: length of windows, sample rate, detectors and thresholds. A name stands for `profiles/<name>.yml`, less the
            detector `aisfx` where its package is not installed.
        report: a file to write what is left out to, as JSON, as soon as the folders are read: it outlives a failure.
        match_honest: whether honest clips are cut, padded and filtered to be like the generated ones.
        kept: a folder in which what is computed of training and honest files is kept by their content, so that it is not
            computed again; made where it is missing. None: nothing is kept.
        chromaprint: whether Chromaprint's fingerprints are one more detector; its program `fpcalc` makes them.
        thresholds: fields of `ThresholdsConfig` over the profile's, as `fpr=0.02`; those of `options.USED`.

    Returns:
        Tables, verdicts and what was left out. Printed, it says what was flagged and how far that can be trusted.

    Raises:
        FileNotFoundError: a folder that is missing, or `fpcalc`.
        ValueError: a setting out of range, folders that cannot be compared (`read_folders` says which), or `kept` in one.
        ModuleNotFoundError: a detector whose package is not installed.
        OSError: too little room in the folder for temporary files, a file that cannot be read, or of `fpcalc` no fingerprint.
        RuntimeError: the comparison failed after all of these were in order.

    Source: the score is that of chapters 05 and 06 (`copies.bias`); for p-values see `copies.audit.p_values`.
    """
    if isinstance(profile, str):
        profile = leave_out_missing(load_profile(profile))
    for setting in thresholds:
        check_used(setting, "thresholds", setting)
    if thresholds:
        profile = profile.replace("thresholds", **thresholds)
    given = dict(zip(KINDS, (generated, training, honest)))
    detectors, store = _ready(profile, given, kept, chromaprint)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        folders = read_folders(given, profile, scratch, report and Path(report), match_honest, store)  # type: ignore[arg-type]  # paths as text
        _check_room(folders, profile, scratch)
        if chromaprint:
            fingerprinting.check_lengths(folders.clips["honest"].measures["seconds"])
        try:
            return judge(folders, detectors, profile, scratch, chromaprint)
        except (ValueError, TypeError, FileNotFoundError) as error:  # what is raised above speaks of the caller's input
            raise RuntimeError(f"audit: the comparison failed: {error}") from error


def _ready(profile: Profile, given: dict, kept: Path | None, chromaprint: bool) -> tuple[Detectors, Kept]:
    """The detectors, and where things are kept. Raises first what `audit` does for what is not installed, or kept among what is read."""
    aisfx.require(profile.retrieval.detectors)
    if chromaprint:
        fingerprinting.version()
    for kind, folder in given.items():
        if kept and folder and Path(kept).resolve().is_relative_to(Path(folder).resolve()):
            raise ValueError(f"keep: expected a folder apart from that of {kind}, got {kept}")
    return load_detectors(profile), _store(kept, profile)


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
    mean = np.zeros(profile.mel.n_mels, np.float32)
    detectors = Detectors(profile.retrieval, profile.mel, corpus.sample_rate_hz, mean, sounding_only=True)
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, corpus.clip_samples), dtype=np.int16)
    for name in names:
        try:
            detectors.features(name, noise)
        except ValueError as error:
            raise ValueError(f"detector {name} takes no such clips ({error}); detectors=[...] leaves it out") from None
    return detectors


def of_windows(detectors: Detectors, profile: Profile) -> dict[str, tuple[Callable, type]]:
    """What is computed of windows and in which numbers, by the name that it is kept by: log-mels, which several detectors
    share, and embeddings."""
    computed: dict[str, tuple[Callable, type]] = {}
    rate = profile.corpus.sample_rate_hz
    for name in detectors.names:
        if name in OF_MELS:
            computed["mels"] = (lambda audio: log_mel(level(audio), profile.mel, rate)), np.float16
        else:
            computed[name] = partial(detectors.features, name), np.float32
    return computed


def prepare(
    folders: dict[str, Path | None],
    profile: Profile,
    part: tuple[int, int],
    match_honest: bool,
    kept: Path,
    chromaprint: bool = False,
) -> None:
    """Puts into `kept` what an `audit` computes of the training and honest files, but only of the k-th of n parts, where `part`
    is (k, n): on n machines that share the folder the parts are made at once, and an audit with it then reads them all.

    With `match_honest` the honest files are only read: how they are altered follows from all. No value follows from what it
    is computed beside, so the audit is that of one go. (Of the embedding CLAP up to rounding: by 1e-7.) Raises as `audit`.
    """
    detectors, store = _ready(profile, folders, kept, chromaprint)
    found, left_out = list_folders(folders)
    for kind in found.keys() - {"generated"}:
        files = dict([*found[kind].items()][part[0] - 1 :: part[1]])
        with tempfile.TemporaryDirectory() as folder:
            try:
                clips = read_clips(kind, files, left_out[kind], profile, Path(folder), store)
            except ValueError as error:  # this part has no usable files: others may
                say(str(error))
                continue
            if kind == "honest" and match_honest:
                continue
            windows = Windows(clips.sounds, range(len(clips.names)), profile.corpus.clip_samples)
            for name, (compute, dtype) in of_windows(detectors, profile).items():
                store.of_windows(name, windows, clips.keys, compute, Path(folder) / f"{name}.npy", dtype)
            if chromaprint:
                fingerprinting.fingerprints(clips.names, clips.sounds, clips.keys, store, profile.corpus.sample_rate_hz)


def _store(kept: Path | None, profile: Profile) -> Kept:
    """Where things are kept, by the settings and CLAP's weights: those of a path may change. (aisfx has one set of weights.)"""
    path, weights = profile.retrieval.clap_path, {}
    if kept and "clap" in profile.retrieval.detectors:  # a model made here has its weights' sha256 in config.json
        weights["clap"] = hash_file(find_clap(path) if is_laion(path) else resolve(path) / "config.json")
    used = [(name, getattr(profile.corpus, name)) for name in USED["corpus"]]
    return Kept(kept and Path(kept), (used, profile.mel), weights)


def _check_room(folders: Folders, profile: Profile, scratch: Path) -> None:
    samples, mel = profile.corpus.clip_samples, profile.mel
    seconds = {kind: clips.measures["seconds"] for kind, clips in folders.clips.items()}
    copies = 2 * PLANTED * len(ALTERATIONS)
    planted = copies * min(seconds["training"].mean(), seconds["generated"].mean())
    heard = (sum(part.sum() for part in seconds.values()) + planted) * profile.corpus.sample_rate_hz
    files = sum(map(len, seconds.values())) + copies
    needed = (2 * heard / samples + files) * 2 * samples // mel.hop_length * mel.n_mels  # log-mels in 16 bits
    if needed > (free := shutil.disk_usage(scratch).free):
        raise OSError(
            f"expected {needed / 1e9:.1f} GB free for {files} files, got {free / 1e9:.1f}; TMPDIR=... names a folder for them"
        )


def judge(folders: Folders, detectors: Detectors, profile: Profile, scratch: Path, chromaprint: bool = False) -> Audit:
    """Compares every generated clip with every training clip by each detector, and all of them together.

    A quarter of the honest clips (part C1) is the background that the bias is taken from, and sets with planted copies
    each detector's weights and scale; a half (C2) gives p-values; a quarter (C3) is set aside, as a check. Log-mels, which
    three detectors share, are kept in 16 bits: no cosine moves by more than 3e-5, a five-hundredth of the scale of honest ones.
    """
    training, thresholds = folders.clips["training"], profile.thresholds
    queries, equal = gather(folders.clips, folders.stand_ins, profile, scratch), training.first_of_equal()
    planted = (queries.about["kind"] == "planted").to_numpy()
    queries.about.loc[planted, "of"] = equal[queries.about.loc[planted, "of"]]
    local = _local(training, queries, folders.kept, profile.corpus.sample_rate_hz, chromaprint)
    sides: dict[str, Clips | Queries] = {"training": training, "queries": queries}
    size = profile.corpus.clip_samples
    windows = {side: Windows(clips.sounds, range(len(clips.sounds)), size) for side, clips in sides.items()}
    computed = of_windows(detectors, profile)

    def features(name: str) -> dict[str, np.ndarray]:
        compute, dtype = computed[name]
        return {
            side: folders.kept.of_windows(
                name, windows[side], clips.keys, compute, scratch / f"{name}_{side}.npy", dtype
            )
            for side, clips in sides.items()
        }

    mels = features("mels") if "mels" in computed else {}
    if mels:
        detectors.mean = mean_of_bands(part.astype(np.float32) for _, part in chunks(mels["training"], CHUNK))
    found, weights = [], {}
    for name in progress(detectors.names, desc="audit", unit="detector"):
        of_mels = name in OF_MELS
        heard: dict = {side: OfMels(detectors, name, mels[side]) for side in sides} if of_mels else features(name)
        matches, *weights[name] = global_matches(detectors, name, heard, queries.about, windows, thresholds, equal)
        found.append(matches.assign(detector=name))
    for name, (index, marks, frame_s) in local.items():
        some = progress(marks, desc=name, unit="file")
        found.append(local_matches(index, some, frame_s, queries.about).assign(detector=name))
    matches = pd.concat(found, ignore_index=True)
    matches.loc[(matches["detector"] == LOCAL) & (matches["score"] < LEAST_PLACED), PLACES] = np.nan
    # a copy of one of two equal training clips is found where the other is named
    of_planted = planted[matches["row"]]
    matches.loc[of_planted, "reference"] = equal[matches.loc[of_planted, "reference"]]
    matches["nearest"] = training.names[matches["reference"]]
    table = judged(matches, queries.about)
    return account_of(table, matches, queries.about, weights, folders, thresholds)


def _local(training: Clips, queries: Queries, kept: Kept, rate: int, chromaprint: bool) -> dict[str, tuple]:
    """Of each local detector: the index of the training clips, what is looked up there of each query, and a frame's seconds."""
    local: dict[str, tuple] = {LOCAL: (Index(training.marks), queries.marks, HOP / rate)}
    if chromaprint:
        learned, asked = (
            fingerprinting.fingerprints(clips.names, clips.sounds, clips.keys, kept, rate)
            for clips in (training, queries)
        )
        local[fingerprinting.NAME] = fingerprinting.Index(learned), asked, fingerprinting.FRAME_S
    return local
