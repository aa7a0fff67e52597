"""A further detector, where its program is installed: Chromaprint's fingerprints, compared bit by bit at every offset.

A fingerprint has a number of 32 bits about eight times a second; each hears 2.6 s. Few numbers agree by chance: sounds of
less than 3.8 s, which have not LEAST of them, are taken as without a fingerprint.

Source: Lukáš Lalinský, Chromaprint (acoustid.org/chromaprint), after Ke, Hoiem and Sukthankar (2005), "Computer vision for
music identification", CVPR. Its program `fpcalc` makes the fingerprints.

Used by `audit`.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numpy.typing import ArrayLike

from helpers.base.machine import cores
from helpers.base.progress import progress
from helpers.copies.audit.kept import Kept
from helpers.copies.audit.landmarks import Matches
from helpers.sound.sounds import Sounds

NAME, PROGRAM = "chromaprint", "fpcalc"
FRAME_S = 4096 / 3 / 11_025  # from one number to the next
HEARD = 20  # frames that a number hears beyond its own
NONE_S, SOME_S = 2.5, 3.0  # a shorter sound has no fingerprint, a longer one has; between them the program tells
LEAST, LEAST_S = 8, 3.8  # numbers that a fingerprint is compared by, and the length of a sound that has them
LEAST_EXCESS = 0.05  # shares of bits that honest clips differ by at least: the scale of this detector's evidence
FINGERPRINTED = 0.9  # of the honest clips: with fewer the null would be of clips that cannot match
LIMIT_S = 60.0  # that the program may take, and as long as the sound lasts: some hundred times what it takes


def version() -> str:
    """What the program says of its version, and of the library that resamples for it: fingerprints follow from both.

    Raises FileNotFoundError with the remedy where it is not installed, ChildProcessError where it does not answer.
    """
    if shutil.which(PROGRAM) is None:
        raise FileNotFoundError(
            f"{NAME}: expected its program {PROGRAM}, found none; apt install libchromaprint-tools, or brew install chromaprint"
        )
    said = _run("-version").stdout.decode(errors="replace").strip()
    if not said:
        raise ChildProcessError(f"{PROGRAM} -version: expected its version, got nothing")
    return said


def _run(options: str, sound: bytes = b"", seconds: float = 0.0) -> subprocess.CompletedProcess[bytes]:
    limit_s = LIMIT_S + seconds
    try:
        return subprocess.run([PROGRAM, *options.split()], input=sound, capture_output=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ChildProcessError(f"{PROGRAM} {options}: expected an answer within {limit_s:.0f} s, got none") from None


def fingerprint(sound: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Chromaprint's fingerprint of a sound int16 [S], of any length: uint32 [n]; n = 0 of one that is too short.

    Raises ChildProcessError with what the program says where it makes none of a longer one, or takes too long.
    """
    if len(sound) < NONE_S * sample_rate_hz:
        return np.zeros(0, np.uint32)
    options = f"-format s16le -rate {sample_rate_hz} -channels 1 -length 0 -raw -json -"
    done = _run(options, np.asarray(sound, "<i2").tobytes(), len(sound) / sample_rate_hz)
    if not done.stdout.strip() and len(sound) <= SOME_S * sample_rate_hz:
        return np.zeros(0, np.uint32)
    try:  # version 1.5.1 takes the sound's end for an error (status 3): the fingerprint is whole
        numbers = json.loads(done.stdout)["fingerprint"]
        if any(type(number) is not int for number in numbers):
            raise TypeError
        return np.fromiter(numbers, np.uint32)
    except (ValueError, TypeError, KeyError, OverflowError):
        said = " ".join((done.stdout.strip() or done.stderr).decode(errors="replace").split())
        raise ChildProcessError(f"{PROGRAM}: expected a fingerprint as JSON, got {said[:200]!r}") from None


def fingerprints(
    names: ArrayLike, sounds: Sounds | list[np.ndarray], keys: Sequence[str], kept: Kept, sample_rate_hz: int
) -> list[np.ndarray]:
    """That of each sound, or none of one with less than LEAST numbers; those that are `kept`, by their keys, are read where
    this version of the program made them. Raises as `fingerprint` does, with the sound's name."""
    entry_name = f"{NAME}_{hashlib.sha256(version().encode()).hexdigest()[:16]}"

    def one(row: int) -> np.ndarray:
        if (entry := kept.load(keys[row], entry_name, ("values",))) is None:
            try:
                entry = {"values": fingerprint(sounds[row], sample_rate_hz)}
            except ChildProcessError as error:
                raise ChildProcessError(f"{str(np.asarray(names)[row])!r}: {error}") from None
            kept.store(keys[row], entry_name, **entry)
        return entry["values"] if len(entry["values"]) >= LEAST else entry["values"][:0]

    with ThreadPoolExecutor(cores()) as threads:
        return [*progress(threads.map(one, range(len(sounds))), desc=NAME, unit="file", total=len(sounds))]


def check_lengths(seconds) -> None:
    """Raises ValueError where less than FINGERPRINTED of the honest clips, of so many `seconds`, have a fingerprint."""
    if (share := np.mean(np.asarray(seconds) >= LEAST_S)) < FINGERPRINTED:
        raise ValueError(
            f"{NAME}: expected {FINGERPRINTED:.0%} of the honest clips to have {LEAST_S} s or more, as shorter ones have no "
            f"fingerprint, got {share:.0%}; leave it out, or give longer ones"
        )


class Index:
    """Fingerprints of many references, to be searched as `landmarks.Index` is; scores are shares of equal bits."""

    def __init__(self, references: list[np.ndarray]):
        self.values = np.concatenate([np.zeros(0, np.uint32), *references])
        self.first = np.cumsum([0, *map(len, references)])

    def match(self, query: np.ndarray, k: int, itself: int = -1) -> Matches:
        """The up to k references that share most with a query, but for `itself`; of one without a fingerprint there is none."""
        shares, offsets, lengths = _best_overlaps(query, self.values, self.first)
        best = np.argsort(-shares, kind="stable")
        best = best[(lengths[best] > 0) & (best != itself)][:k]
        start = np.maximum(0, -offsets[best])
        return Matches(shares[best], best, start, start + offsets[best], lengths[best] + HEARD)


@numba.njit(nogil=True, cache=True)
def _best_overlaps(query, values, first):
    """Of a query and each reference values[first[i] : first[i + 1]]: the share of equal bits, the offset at which it is
    greatest, and how many numbers overlap there; 0 where either is empty. Half of the shorter one overlaps: in less than
    that, silence alone agrees."""
    n = len(first) - 1
    shares, offsets, lengths = np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64)
    for number in range(n):
        other = values[first[number] : first[number + 1]]
        if not len(query) or not len(other):
            continue
        least = max(1, min(len(query), len(other)) // 2)
        for offset in range(least - len(query), len(other) - least + 1):
            start, end = max(0, -offset), min(len(query), len(other) - offset)
            differing = 0
            for i in range(start, end):
                bits = query[i] ^ other[i + offset]
                bits = bits - ((bits >> 1) & 0x55555555)  # the bits that are set, counted in pairs, fours, and bytes
                bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
                bits = (bits + (bits >> 4)) & 0x0F0F0F0F
                differing += ((bits * 0x01010101) >> 24) & 0xFF
            share = 1 - differing / (32 * (end - start))
            if share > shares[number]:
                shares[number], offsets[number], lengths[number] = share, offset, end - start
    return shares, offsets, lengths
