"""The folders of an audit: what is read of them, whole files, and what is left out and why; how they are made comparable."""

import hashlib
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base.machine import cores
from helpers.base.profile import Profile
from helpers.base.progress import progress, say
from helpers.base.seeds import seeded
from helpers.base.settings import ThresholdsConfig
from helpers.copies.audit.kept import Kept
from helpers.copies.audit.landmarks import Index, Landmarks, landmarks
from helpers.copies.audit.p_values import honest_needed
from helpers.copies.pairs import waveform_correlation
from helpers.sound.audio_file import read_sound
from helpers.sound.audio_folder import list_files, without_links
from helpers.sound.likeness import MEASURES, Difference, differences, make_alike, measure
from helpers.sound.sounds import Sounds

KINDS = ("generated", "training", "honest")
CHUNK = 64
NOTHING_KEPT = Kept(None)
SHOWN = 20  # files left out that are named while it runs; the report has all
SAME_WAVE = 0.95  # correlation of two waves from which on they are one recording; fixed beforehand, tuned on nothing
STAND_INS = 400  # training clips at most that stand in for honest ones
SAME = 0.25  # of a clip's own landmarks, by weight: a training clip that shares as much with another is its duplicate


class Clips(NamedTuple):
    """The usable files of a folder: their names in it, their sounds and the sha256 of each, a table of `likeness.MEASURES`,
    their landmarks, the keys by which they are kept; and the files left out, each with its reason."""

    names: np.ndarray
    sounds: Sounds
    digests: list[str]
    measures: pd.DataFrame
    marks: list[Landmarks]
    keys: list[str]
    left_out: dict[str, str]

    def first_of_equal(self) -> np.ndarray:
        """For each clip the number of the first that has the same samples: its own where none before it has."""
        return pd.Series(range(len(self.names))).groupby(np.array(self.digests)).transform("min").to_numpy()


class Folders(NamedTuple):
    """The clips of each of KINDS, and in what generated and honest ones differ. `stand_ins` [H] are the numbers of the
    training clips that stand in for honest ones, where no honest folder was given; none of these is searched in itself.
    `made_alike`: whether the honest clips were altered to be like the generated ones."""

    clips: dict[str, Clips]
    differing: list[Difference]
    stand_ins: np.ndarray
    kept: Kept
    made_alike: bool


def read_folders(
    folders: dict[str, Path | None],
    profile: Profile,
    scratch: Path,
    report: Path | None = None,
    match_honest: bool = False,
    kept: Kept = NOTHING_KEPT,
) -> Folders:
    """The clips of the folders of `KINDS`, whole, their audio kept in files in `scratch`.

    Honest clips that repeat, or that lie in the training folder too, are left out. Without an honest folder training clips
    that have no duplicate stand in. `match_honest` makes honest clips like the generated ones (`likeness.make_alike`).

    Raises:
        FileNotFoundError: a folder that is missing.
        ValueError: two folders that are one, lie in another or share files through a link, a folder without usable clips,
            or fewer honest clips than K and the rate need.
        OSError: too little room in `scratch`.
    """
    found, left_out = list_folders(folders)
    # at the least two clips in the background, as each half of it takes the other's bias
    enough = max(8, 4 * profile.thresholds.k, honest_needed(profile.thresholds.fpr))
    given = "honest" in found
    try:
        files = len(found["honest"]) if given else min(STAND_INS, len(found["training"]) // 4)
        _check_number(files, enough, profile.thresholds, given, account("honest", left_out.get("honest", {})))
        clips = {
            kind: read_clips(
                kind, found[kind], left_out[kind], profile, scratch, NOTHING_KEPT if kind == "generated" else kept
            )
            for kind in found
        }
        if "honest" in clips:
            clips["honest"], stand_ins = _distinct(clips, scratch), np.zeros(0, np.int64)
        else:
            clips["honest"], stand_ins = _stand_ins(clips["training"], profile.thresholds.seed)
        if match_honest:
            clips["honest"] = _alike(clips["honest"], clips["generated"], profile, scratch)
    finally:
        if report:
            report.write_text(json.dumps(left_out, indent=1))
    left = account("honest", clips["honest"].left_out)
    _check_number(len(clips["honest"].names), enough, profile.thresholds, given, left)
    differing = differences(clips["generated"].measures, clips["honest"].measures)
    return Folders(clips, differing, stand_ins, kept, match_honest)


def _check_number(n: int, enough: int, thresholds: ThresholdsConfig, given: bool, left_out: str) -> None:
    """Raises ValueError for fewer than `enough` honest clips, or training clips that stand in where none are `given`. First told by
    the numbers of files, before any is read."""
    if n >= enough:
        return
    why = (
        f"for a rate of {thresholds.fpr:g} and k = {thresholds.k} (a quarter is the background, a half gives p-values)"
    )
    if given:
        raise ValueError(f"honest: expected at least {enough} usable clips {why}, got {n}; {left_out}")
    raise ValueError(
        f"honest: expected at least {enough} clips {why}; without --honest FOLDER a quarter of the training clips stand in, "
        f"{STAND_INS} at most, such as have no duplicate: here {n}"
    )


def account(kind: str, left_out: dict[str, str]) -> str:
    """How many files of a folder were left out, and the first with its reason."""
    first = "".join(f", the first {name!r}: {why}" for name, why in [*left_out.items()][:1])
    return f"{kind}: {len(left_out)} file{'s' * (len(left_out) != 1)} left out{first}"


def list_folders(folders: dict[str, Path | None]) -> tuple[dict[str, dict[str, Path]], dict[str, dict[str, str]]]:
    """The files of some folders by kind, and what is left out unread. Raises as `read_folders` does."""
    given = {kind: Path(folder) for kind, folder in folders.items() if folder is not None}
    found, left_out = {}, {}
    for kind, folder in given.items():
        if not folder.is_dir():
            raise FileNotFoundError(f"{kind}: expected a folder of audio files, found none at {folder}")
        found[kind], left_out[kind] = without_links(list_files(folder))
    for one, other in itertools.permutations(given, 2):
        if given[one].resolve().is_relative_to(given[other].resolve()):
            raise ValueError(f"{one}: expected a folder apart from that of {other}, got {given[one]}")
    for one, other in itertools.combinations(given, 2):
        places = {path.resolve() for path in found[one].values()}
        if shared := [name for name, path in found[other].items() if path.resolve() in places]:
            named = ", ".join(map(repr, shared[:5])) + (f" and {len(shared) - 5} more" if len(shared) > 5 else "")
            raise ValueError(f"{other}: expected files apart from those of {one}, got {len(shared)} in both: {named}")
    return found, left_out


def read_clips(
    kind: str,
    files: dict[str, Path],
    left_out: dict[str, str],
    profile: Profile,
    scratch: Path,
    kept: Kept = NOTHING_KEPT,
) -> Clips:
    """The clips that can be read of `files`; the others join `left_out`. Those that are `kept` are not read again."""
    names: list[str] = []
    sounds, digests, rows, marks, keys = Sounds(scratch / f"{kind}.int16"), [], [], [], []
    read = partial(_read, profile=profile, kept=kept)
    with ThreadPoolExecutor(cores()) as threads, progress(total=len(files), desc=kind, unit="file") as bar:
        for start in range(0, len(files), CHUNK):  # a chunk at a time: sounds of any length do not pile up
            some = [*files][start : start + CHUNK]
            for name, got in zip(some, threads.map(read, (files[name] for name in some))):
                if isinstance(got, str):
                    left_out[name] = got
                    continue
                entry, key = got
                names.append(name)
                sounds.extend([entry["sound"]])
                digests.append(_digest(entry["sound"]))
                rows.append(entry["measures"])
                marks.append(Landmarks(entry["codes"], entry["frames"]))
                keys.append(key)
            bar.update(len(some))
    for name, why in [*left_out.items()][:SHOWN]:
        say(f"{kind}: left out {name!r}: {why}")
    if not names:
        raise ValueError(f"{kind}: expected files with sound, got none; {account(kind, left_out)}")
    measures = pd.DataFrame(rows, columns=[*MEASURES])
    _tell(f"{kind}: {len(names)} file{'s' * (len(names) != 1)} used", measures)
    return Clips(np.array(names), sounds, digests, measures, marks, keys, left_out)


def _tell(what: str, measures: pd.DataFrame) -> None:
    middle = measures.median()
    say(
        f"{what}; medians: {middle['seconds']:.3g} s, silence before {middle['lead_s']:.2g} s and after "
        f"{middle['trail_s']:.2g} s, up to {middle['bandwidth_hz']:,.0f} Hz, noise floor {middle['floor_db']:.0f} dB"
    )


def _read(path: Path, profile: Profile, kept: Kept) -> tuple[dict[str, np.ndarray], str] | str:
    """A file's sound, measures and landmarks, and the key by which they are kept; or why it is left out."""
    rate = profile.corpus.sample_rate_hz
    try:
        key = kept.key(path)
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    try:
        if (entry := kept.load(key, "sound", ("sound", "codes", "frames", "measures"))) is None:
            sound, level_db = read_sound(path, rate, profile.corpus.channel)
            measures, found = measure(sound, rate, level_db), landmarks(sound, rate)
            entry = {"sound": sound, "codes": found.codes, "frames": found.frames}
            entry["measures"] = np.array([measures[name] for name in MEASURES])
            kept.store(key, "sound", **entry)
        return entry, key
    except ValueError as error:
        return str(error).removeprefix(f"{path.name!r}: ")


def _pick(clips: Clips, rows: np.ndarray, file: Path) -> Clips:
    sounds = Sounds(file).extend(clips.sounds[row] for row in rows)
    digests, marks, keys = ([part[row] for row in rows] for part in (clips.digests, clips.marks, clips.keys))
    measures = clips.measures.iloc[rows].reset_index(drop=True)
    return Clips(clips.names[rows], sounds, digests, measures, marks, keys, clips.left_out)


def _distinct(clips: dict[str, Clips], scratch: Path) -> Clips:
    """The honest clips without repetitions, without training clips, also in another encoding, and without generated ones. A
    training clip would set tau at a perfect copy, a generated one at what it is itself."""
    honest, training, generated = clips["honest"], clips["training"], set(clips["generated"].digests)
    learned = set(training.digests)
    kept, trained, made, seen, index = [], 0, 0, set(), Index(training.marks)
    for row, (name, digest) in enumerate(zip(honest.names, honest.digests)):
        near = index.match(honest.marks[row], 1).indices
        if digest in learned or digest in seen:
            honest.left_out[str(name)] = "is a training clip" if digest in learned else "repeats another honest clip"
            trained += digest in learned
        elif digest in generated:
            honest.left_out[str(name)] = "is a generated clip"
            made += 1
        elif any(same_recording(honest.sounds[row], training.sounds[other]) for other in near):
            honest.left_out[str(name)] = f"is a training clip in another encoding: {str(training.names[near[0]])!r}"
            trained += 1
        else:
            kept.append(row)
            seen.add(digest)
    if len(kept) == len(honest.names):
        return honest
    repeated = len(honest.names) - len(kept) - trained - made
    why = [
        (trained, "in the training folder too"),
        (made, "among the generated clips too"),
        (repeated, "of another one's sound"),
    ]
    say(f"honest: {trained + made + repeated} left out: {', '.join(f'{n} {what}' for n, what in why if n)}")
    return _pick(honest, np.array(kept, np.int64), scratch / "honest_distinct.int16")


def same_recording(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two sounds int16 [n] are one recording at any level, as MP3 or Ogg too: their waves correlate by SAME_WAVE."""
    if min(len(one), len(other)) < 0.9 * max(len(one), len(other)):
        return False
    return waveform_correlation(one, other) >= SAME_WAVE


def _digest(sound: np.ndarray) -> str:
    return hashlib.sha256(sound.tobytes()).hexdigest()


def _stand_ins(training: Clips, seed: int) -> tuple[Clips, np.ndarray]:
    """Training clips that share nothing with another, in the place of honest ones: at most a quarter of all."""
    index, n = Index(training.marks), len(training.names)
    alone: list[int] = []
    passed = 0
    for row in seeded(seed, "stand-ins").permutation(n):
        if len(alone) == min(STAND_INS, n // 4):
            break
        found = index.match(training.marks[row], 2)
        own = found.scores[found.indices == row].max(initial=0)
        if found.scores[found.indices != row].max(initial=0) <= SAME * own:
            alone.append(row)
        else:
            passed += 1
    say(
        f"honest: none given: {len(alone)} training clips stand in, {passed} others had a duplicate. What is "
        f"alike within the training set counts as honest, so copies of what the set repeats are harder to find."
    )
    kept = np.sort(np.array(alone, np.int64))
    picked = _pick(training, kept, training.sounds.file.with_name("stand_ins.int16"))
    return picked._replace(left_out={}), kept


def _alike(honest: Clips, generated: Clips, profile: Profile, scratch: Path) -> Clips:
    rate = profile.corpus.sample_rate_hz
    sounds = [honest.sounds[row] for row in range(len(honest.sounds))]
    made = make_alike(sounds, honest.measures, generated.measures, rate, profile.thresholds.seed)
    measures = pd.DataFrame([measure(one, rate, had) for one, had in zip(made, honest.measures["level_db"])])
    _tell("honest, made like the generated ones", measures)
    kept = Sounds(scratch / "honest_alike.int16").extend(made)
    keys = [""] * len(made)  # what is made of them is no file's
    digests, marks = [_digest(one) for one in made], [landmarks(one, rate) for one in made]
    return Clips(honest.names, kept, digests, measures, marks, keys, honest.left_out)
