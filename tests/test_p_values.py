"""p-values hold their rate over detectors, and add up where detectors agree; planted copies are what their names say."""

import numpy as np
import pandas as pd
import pytest

from helpers.copies.audit.p_values import Tail, combined, honest_needed, p_values, q_values, smallest_p
from helpers.copies.audit.planting import ALTERATIONS, plant
from helpers.copies.audit.search import PLACES
from helpers.copies.audit.verdict import TOGETHER, judged
from helpers.sound.sounds import Sounds, Windows

RATE = 16_000


def test_p_counts_nulls_at_or_above_and_is_never_below_one_in_n_plus_one():
    null = [1.0, 2.0, 2.0, 3.0]
    assert p_values([0, 2, 2.5, 3, 9], null).tolist() == [1, 0.8, 0.4, 0.4, 0.2]
    assert smallest_p(4) == 0.2 and honest_needed(0.05) == 38 and honest_needed(0.01) == 198
    with pytest.raises(ValueError, match="null: expected numbers, got 0"):
        p_values([1.0], [])
    with pytest.raises(ValueError, match="NaN in 1"):
        p_values([1.0], [1.0, np.nan])


@pytest.mark.parametrize("rate", [0.05, 0.01])
def test_the_summed_evidence_holds_its_rate_where_flagging_by_any_detector_does_not(rate):
    """Five detectors, heavy-tailed and correlated, that name one of three training clips: what unrelated clips get."""
    rng, parts = np.random.default_rng(0), ["C1"] * 50 + ["C2"] * 300 + [""] * 500
    about = pd.DataFrame({"kind": np.where(np.array(parts) == "", "generated", "honest"), "part": parts})
    about = about.assign(clip=[f"{i}.wav" for i in range(len(parts))], of=-1, role="")
    flagged, by_any = [], []
    for _ in range(12):
        shared, found = rng.standard_t(3, len(parts)), []
        for scale in range(1, 6):
            reference = rng.integers(3, size=len(parts))
            scores = scale * (rng.standard_t(3, len(parts)) + shared)
            table = pd.DataFrame({"row": np.arange(len(parts)), "reference": reference, "score": scores})
            found.append(table.assign(detector=f"d{scale}", similarity=scores, bias=0.0, **dict.fromkeys(PLACES, 0.0)))
        matches = pd.concat(found, ignore_index=True)
        table = judged(matches.assign(nearest=matches["reference"].map("t{}.wav".format)), about)
        made = table[table["kind"] == "generated"]
        hit = made.set_index(["clip", "detector"])["p"].le(rate).unstack()
        assert hit.shape == (500, 6)
        flagged.append(hit.pop(TOGETHER).mean())
        by_any.append(hit.any(axis=1).mean())
    assert 0.5 * rate < np.mean(flagged) <= 1.25 * rate
    assert np.mean(by_any) > 2 * rate


def test_false_discoveries_are_controlled():
    p = np.array([0.001, 0.012, 0.02, 0.5])
    np.testing.assert_allclose(q_values(p), [0.004, 0.024, 0.08 / 3, 0.5])
    assert len(q_values([])) == 0


def test_detectors_that_name_the_same_clip_add_up():
    rows = [("mel", "a", 2.0), ("clap", "a", 1.5), ("landmarks", "b", 3.0)]
    table = pd.DataFrame(rows, columns=["detector", "nearest", "evidence"]).assign(kind="generated", clip="x")
    assert combined(table)[["nearest", "evidence"]].to_numpy().tolist() == [["a", 3.5]]


def test_of_detectors_that_hear_the_same_the_strongest_counts_in_full_and_others_half():
    """Three log-mel detectors that agree weakly are outweighed by an independent one that is surer; without kinship they are not."""
    rows = [("mel", "a", 2.0), ("mel_aligned", "a", 1.6), ("mel_centred", "a", 1.0), ("landmarks", "b", 3.5)]
    table = pd.DataFrame(rows, columns=["detector", "nearest", "evidence"]).assign(kind="generated", clip="x")
    kin = ("mel", "mel_centred", "mel_aligned")
    assert combined(table, kin)[["nearest", "evidence"]].to_numpy().tolist() == [["b", 3.5]]
    assert combined(table[:3], kin)[["nearest", "evidence"]].to_numpy().tolist() == [["a", 3.3]]
    assert combined(table)[["nearest", "evidence"]].to_numpy().tolist() == [["a", 4.6]]


def test_a_tail_scales_by_what_honest_clips_exceed_and_refuses_nothing():
    tail = Tail.of([0.0, 1.0, 2.0, 3.0, 4.0])
    assert tail == (2.0, 1.5) and tail.evidence([1.0, 3.5]).tolist() == [0.0, 1.0]
    assert Tail.of([0.0, 0.0], least=10.0).evidence([30.0]).tolist() == [3.0]
    with pytest.raises(ValueError, match="scores: expected finite ones"):
        Tail.of([])


def clip(number: int, samples: int = 5 * RATE) -> np.ndarray:
    return np.random.default_rng(number).integers(-9999, 9999, samples, dtype=np.int16)


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_each_alteration_is_repeatable_takes_others_of_any_length_and_short_clips(kind):
    late = np.concatenate([np.zeros(9 * RATE, np.int16), clip(2, RATE)])  # silent but for its end
    for copied in (clip(1), clip(1, RATE // 3)):
        made = [plant(kind, copied, other, RATE, 7) for other in (late, late, clip(3, 100))]
        assert np.array_equal(made[0], made[1]) and made[0].dtype == np.int16 and np.ptp(made[2])
    assert (plant("exact", clip(1), late, RATE) == clip(1)).all()
    with pytest.raises(ValueError, match="kind: expected one of exact"):
        plant("louder", clip(1), late, RATE)


def test_an_excerpt_lies_inside_the_other_and_a_shift_begins_with_silence():
    made, copied = plant("2 s excerpt", clip(1), clip(2), RATE, 1).astype(float), clip(1).astype(float)
    kept = made == np.resize(np.roll(clip(2), -np.abs(clip(2).astype(int)).argmax()), len(made))
    assert kept.sum() == pytest.approx(3 * RATE, abs=50)
    part = made[~kept][1000:3000]
    assert np.correlate(copied, part, "valid").max() > 0.99 * np.linalg.norm(part) * np.linalg.norm(copied[:2000]) * 0.9
    later = plant("shift 1.5 s", clip(1), clip(2), RATE)
    assert not later[:24_000].any() and (later[24_000:] == clip(1)[:-24_000]).all()
    assert (plant("last half", clip(1), clip(2), RATE) == clip(1)[40_000:]).all()


def test_windows_cover_a_sound_of_any_length_and_pass_over_silence(tmp_path):
    long, short = np.arange(1, 2_501).astype(np.int16), np.full(300, 500, np.int16)
    offset = np.full(3_000, 900, np.int16)  # a constant is no sound
    gap = np.concatenate([np.tile(np.array([900, -900], np.int16), 500), offset])
    sounds = Sounds(tmp_path / "all").extend([long]).extend([short, gap, np.tile(np.array([9, 0], np.int16), 200)])
    windows = Windows(sounds, range(4), 1_000)
    assert windows.owner.tolist() == [0, 0, 0, 0, 1, 2, 2, 3]
    assert windows.start.tolist() == [0, 500, 1000, 1500, 0, 0, 500, 0]
    assert windows[0:4][:, 0].tolist() == [1, 501, 1001, 1501] and windows[3:4][0, -1] == 2_500
    assert (windows[4:5][0, :300] == 500).all() and not windows[4:5][0, 300:].any()
    assert windows.shape == (8, 1_000) and (sounds[1] == short).all()
