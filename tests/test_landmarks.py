"""The local detector: an excerpt is found where it lies, through noise, filters and shifts; silence and strangers are not."""

import numpy as np
import pytest
from scipy import signal

from helpers.copies.audit.landmarks import HOP, Index, landmarks
from helpers.sound.transforms import apply_transform

RATE, SAMPLES = 16_000, 160_000


def sound(number: int, samples: int = SAMPLES) -> np.ndarray:
    """Tones that are struck and die away, eight a second, over a hiss; int16, unlike those of any other number."""
    rng = np.random.default_rng(number)
    t = np.arange(samples) / RATE
    total = 0.002 * rng.standard_normal(samples)
    for start, pitch, fall in zip(*(rng.uniform(a, b, 80) for a, b in ((0, 9.9), (100, 4000), (0.03, 0.3)))):
        part = slice(round(start * RATE), round((start + 3 * fall) * RATE))
        total[part] += 0.1 * np.sin(2 * np.pi * pitch * t[part]) * np.exp(-(t[part] - start) / fall)
    return np.round(total / np.abs(total).max() * 16383).astype(np.int16)


@pytest.fixture(scope="module")
def index() -> Index:
    return Index([landmarks(sound(i), RATE) for i in range(20)])


def strangers(index) -> float:
    """The greatest score of sounds that the index does not hold."""
    return max(index.match(landmarks(sound(100 + i), RATE), 1).scores.max(initial=0) for i in range(10))


@pytest.mark.parametrize(
    "alter",
    [
        lambda x: np.concatenate([np.zeros(24_000, np.int16), x[:-24_000]]),
        lambda x: x[80_000:],
        lambda x: apply_transform("noise", x, 10, np.random.default_rng(0)),
        lambda x: signal.sosfilt(signal.butter(8, 3000, fs=RATE, output="sos"), x.astype(float)),
        lambda x: x // 50,
    ],
    ids=["1.5 s later", "last half", "noise at 10 dB", "low-passed", "34 dB softer"],
)
def test_an_altered_copy_is_found(index, alter):
    found = index.match(landmarks(alter(sound(7)), RATE), 3)
    assert found.indices[0] == 7 and found.scores[0] > 2 * strangers(index)


def test_two_seconds_inside_other_content_are_found_where_they_lie_in_both(index):
    host = sound(50)
    host[40_000:72_000] = sound(3)[96_000:128_000]
    found = index.match(landmarks(host, RATE), 1)
    start, reference, length = (
        part[0] * HOP / RATE for part in (found.query_start, found.reference_start, found.length)
    )
    assert found.indices[0] == 3 and found.scores[0] > 2 * strangers(index)
    assert 2.4 < start < 3.2 and 1 < length < 2.1
    assert reference - start == pytest.approx(6.0 - 2.5, abs=2 * HOP / RATE)


def test_a_file_of_any_length_is_searched(index):
    """One minute, of which five seconds are known; and a reference longer than the query."""
    long = np.concatenate([sound(60 + i) for i in range(6)])
    long[700_000:780_000] = sound(11)[:80_000]
    found = index.match(landmarks(long, RATE), 1)
    assert found.indices[0] == 11 and abs(found.query_start[0] * HOP / RATE - 43.75) < 0.5
    (best,) = Index([landmarks(long, RATE)]).match(landmarks(sound(11)[:80_000], RATE), 1).reference_start
    assert abs(best * HOP / RATE - 43.75) < 0.5


def test_silence_that_both_have_is_no_evidence():
    """Two strangers, each between six seconds of silence, share nothing; nor does a silent file have any landmark."""
    quiet = [np.zeros(SAMPLES, np.int16) for _ in range(2)]
    for number, clip in enumerate(quiet):
        clip[60_000:100_000] = sound(200 + number)[:40_000]
    first, second = (landmarks(clip, RATE) for clip in quiet)
    own = Index([first]).match(first, 1).scores[0]
    assert Index([first]).match(second, 1).scores.max(initial=0) < 0.1 * own
    for empty in (np.zeros(SAMPLES, np.int16), np.zeros(10, np.int16), sound(0)[:300]):
        nothing = landmarks(empty, RATE)
        assert not len(Index([nothing]).match(nothing, 1).scores) or len(empty) == 300


def test_what_many_clips_hold_weighs_less_than_what_one_holds():
    hum = landmarks(sound(1), RATE)
    rare, common = (Index([hum] * n + [landmarks(sound(30 + i), RATE) for i in range(20 - n)]) for n in (1, 12))
    assert common.match(hum, 1).scores[0] < 0.8 * rare.match(hum, 1).scores[0]


def test_a_reference_that_is_searched_in_the_others_scores_as_if_it_were_not_among_them():
    marks = [landmarks(sound(900 + i) + sound(901 + i), RATE) for i in range(6)]
    found = Index(marks).match(marks[2], 3, itself=2)
    rest = [*range(2), *range(3, 6)]
    alone = Index([marks[row] for row in rest]).match(marks[2], 3)
    assert [rest[row] for row in alone.indices] == found.indices.tolist() and 2 not in found.indices
    # as many landmarks weigh less in a larger index, by the logarithm of its size alone
    assert found.scores[0] == pytest.approx(alone.scores[0], rel=0.05) and found.scores[0] >= alone.scores[0]
    assert Index(marks).match(marks[2], 1).indices.tolist() == [2]
