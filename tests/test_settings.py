"""Settings: what is refused and in which words, and which fields enter a digest."""

import dataclasses
import itertools
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import yaml

from helpers.base.fields import Checked, option, settings
from helpers.base.paths import PROFILES, RESULTS
from helpers.base.profile import Profile
from helpers.sound import profiles

SECTIONS = [
    f.type for f in dataclasses.fields(Profile) if f.name not in ("name", "sizes", "draws", "schedules", "intervention")
]


@settings
class Before(Checked):
    n: int = option(3, unit="clips", low=1, high=10)
    shares: tuple[float, ...] = option((0.5, 1.0), low=0.0, high=1.0)
    kind: str = option("a", choices=("a", "b"))
    batch_size: int = option(8, low=1, digest=False)


@settings
class Grown(Before):
    """The same section later. The two new defaults are not what went before."""

    filtered: bool = option(True, before=False)
    bands: tuple[int, ...] = option((1, 2), low=1, before=[4])
    late: int = option(0, low=0)  # declared without `before`, as a field of a new section is


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"n": 0}, ValueError, "n: expected 1 to 10 clips, got 0"),
        ({"n": 11}, ValueError, "n: expected 1 to 10 clips, got 11"),
        ({"n": 2.0}, TypeError, "n: expected int, got 2.0 (float)"),
        ({"n": True}, TypeError, "n: expected int, got True (bool)"),
        ({"n": "3"}, TypeError, "n: expected int, got '3' (str)"),
        ({"n": np.int64(3)}, TypeError, "n: expected int, got np.int64(3) (int64)"),
        ({"batch_size": 0}, ValueError, "batch_size: expected at least 1, got 0"),
        ({"kind": "c"}, ValueError, "kind: expected one of a, b, got 'c'"),
        ({"kind": 1}, TypeError, "kind: expected str, got 1 (int)"),
        ({"shares": [0.5, 1.5]}, ValueError, "shares: expected 0.0 to 1.0, got 1.5"),
        ({"shares": [2, "x"]}, TypeError, "shares: expected a list of float, got (2, 'x') (tuple)"),
        ({"shares": [math.nan]}, TypeError, "shares: expected a list of float, got (nan,) (tuple)"),
        ({"shares": [math.inf]}, TypeError, "shares: expected a list of float, got (inf,) (tuple)"),
        ({"shares": [True]}, TypeError, "shares: expected a list of float, got (True,) (tuple)"),
        ({"shares": (np.float32(1),)}, TypeError, "shares: expected a list of float, got (np.float32(1.0),) (tuple)"),
        ({"shares": 0.5}, TypeError, "shares: expected a list of float, got 0.5 (float)"),
        ({"shares": {0.5}}, TypeError, "shares: expected a list of float, got {0.5} (set)"),
        ({"n": 0, "kind": 1}, ValueError, "n: expected 1 to 10 clips, got 0"),
        ({"m": 1}, TypeError, "m is not a setting of Before"),
    ],
)
def test_a_wrong_value_is_refused_by_name(given, error, message):
    with pytest.raises(error) as refused:
        Before(**given)
    assert str(refused.value) == message and refused.type is error


def test_one_sided_range():
    @settings
    class Most(Checked):
        share: float = option(0.5, unit="of all", high=1.0)

    with pytest.raises(ValueError, match=r"^share: expected at most 1.0 of all, got 2$"):
        Most(share=2)


def test_defaults_are_checked_and_a_missing_field_is_named():
    @settings
    class Wrong(Checked):
        n: int = option(0, low=1)

    with pytest.raises(ValueError, match="^n: expected at least 1, got 0$"):
        Wrong()
    with pytest.raises(TypeError, match="^name: expected str, got nothing$"):
        Profile(sizes=(4,), draws=(1,))


def test_values_stay_as_they_are_given():
    made = Before(shares=[0, 1.0])
    assert made.shares == (0, 1.0) and [type(share) for share in made.shares] == [int, float]
    assert made.digest_fields() == {"n": 3, "shares": [0, 1.0], "kind": "a"}
    assert repr(made.digest_fields()["shares"]) == "[0, 1.0]"  # a digest knows 0 from 0.0


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_settings_are_values(section):
    """They are keys of caches, cross to other processes and are changed by `dataclasses.replace`."""
    one, other = section(), section()
    assert one == other == pickle.loads(pickle.dumps(one)) and len({one, other}) == 1
    assert section.from_digest_fields(one.digest_fields()) == one
    name = dataclasses.fields(section)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, name, getattr(one, name))
    with pytest.raises(TypeError, match=f"{name}: expected "):
        dataclasses.replace(one, **{name: None})


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("mel: {n_melz: 3}", ValueError, "profile own: mel.n_melz is not a setting of MelConfig"),
        ("mel: {n_mels: 3}", ValueError, "profile own: mel.n_mels: expected 8 to 256 bands, got 3"),
        ("mel: {n_mels: x}", TypeError, "profile own: mel.n_mels: expected int, got 'x' (str)"),
        ("mel: 3", TypeError, "profile own: mel: expected MelConfig, got 3 (int)"),
        ("planted: {copies: [2, x]}", TypeError, "profile own: planted.copies: expected a list of int, got (2, 'x') (tuple)"),
        ("planted: {copies: [2, 1]}", ValueError, "profile own: planted.copies: expected 2 to 128 copies, got 1"),
        ("training: {updates: 5}", ValueError, "profile own: training.checkpoints: expected at most updates = 5, got 5625"),
        ("moll: {}", ValueError, "profile own: unknown section 'moll'; expected corpus, planted, duplicates, mel, "),
        ("sizes: 4", TypeError, "profile own: sizes: expected a list of int, got 4 (int)"),
        ("corpus: {n_train: 3}", ValueError, "sizes: expected at most corpus.n_train = 3, got 4"),
        ("thresholds: {k: 50}", ValueError, "k: expected at most retrieval.k_max = 10 and the 500 background clips, got 50"),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_refused_by_section_and_field(text, error, message, tmp_path):
    (tmp_path / "base.yml").write_text("sizes: [4]\ndraws: [1]\n")
    (tmp_path / "own.yml").write_text(f"base: base\n{text}\n")
    with pytest.raises(error) as refused:
        profiles.load_profile("own", tmp_path)
    assert message in str(refused.value) and refused.type is error


def test_a_field_is_out_of_the_digest_at_the_value_that_it_had_before():
    assert Grown(filtered=False, bands=(4,), late=0).digest_fields() == Before().digest_fields() | {"late": 0}
    assert "filtered" not in Grown(filtered=False).digest_fields() and "bands" not in Grown(bands=[4]).digest_fields()


def test_a_field_is_in_the_digest_at_a_default_that_is_not_what_was_before():
    assert Grown().digest_fields() == Before().digest_fields() | {"filtered": True, "bands": [1, 2], "late": 0}


@pytest.mark.parametrize("given", [{}, {"n": 5}, {"shares": []}, {"kind": "b", "batch_size": 1}])
def test_a_field_with_a_value_from_before_leaves_the_digests_of_a_section(given):
    @settings
    class Later(Before):
        taper: str = option("none", choices=("none", "hann"), before="none")

    assert Later(**given).digest_fields() == Before(**given).digest_fields()
    assert Later(**given, taper="hann").digest_fields() == Before(**given).digest_fields() | {"taper": "hann"}


def test_settings_are_read_back_from_their_digest():
    """What was written before a field existed means its value from before, whatever the default is now."""
    written = Before(n=5).digest_fields()
    assert Grown.from_digest_fields(written) == Grown(n=5, filtered=False, bands=(4,))
    for made in (Grown(), Grown(filtered=False), Grown(bands=[4], late=2)):
        assert Grown.from_digest_fields(made.digest_fields()) == made


def test_a_value_from_before_that_nobody_can_choose_is_refused():
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):

        @settings
        class Wrong(Checked):
            n: int = option(1, low=1, before=0)


def test_the_study_of_onsets_follows_its_plan():
    law = profiles.load_profile("pocket")
    plan = yaml.safe_load((PROFILES / "protocol.yml").read_text())
    expected = {n_train: first for n_train, (first, *_) in plan["first_prediction"]["near_exact"]["predicted"].items()}
    expected[4500] = plan["second_prediction"]["checkpoints_for"]
    for n_train, schedule in zip(law.sizes, law.schedules):
        ratios = [after / before for before, after in itertools.pairwise(schedule)]
        assert schedule[0] <= expected[n_train] / 3 and max(ratios) <= 1.26
        assert schedule[-1] > 1.3 * expected[n_train]
    assert law.corpus.n_train == plan["corpus"]["pool"] and law.generation.n_prompts == plan["primary"]["prompts"]
    assert law.training_run(500, 2).updates == 15_000 and law.training_run(500, 2).draw == 2


def test_each_detector_has_the_bias_that_the_pilot_chose():
    plan = yaml.safe_load((PROFILES / "protocol.yml").read_text())["detectors"]
    tried = pd.read_csv(RESULTS / "pilot" / "choices.csv").groupby(["detector", "beta", "k"])["auroc"].mean()
    for detector, chosen in plan.items():
        best = tried[detector][tried[detector] >= tried[detector].max() - 1e-9]
        assert (chosen["beta"], chosen["k"]) == min(best.index)


def test_a_checkpoint_is_asked_for_by_the_schedule_of_its_size():
    law = profiles.load_profile("pocket")
    asked = law.replace("generation", n_train=200, updates=600, weights="raw")  # `keep_raw`: at every checkpoint
    assert asked.generation.updates == 600
    with pytest.raises(ValueError, match="updates: expected a checkpoint, one of 600, 750, .* got 275"):
        law.replace("generation", n_train=200, updates=275)
    with pytest.raises(ValueError, match="as raw weights are kept after the last alone"):
        law.replace_in(
            {"training": {"keep_raw": False}, "generation": {"n_train": 200, "updates": 600, "weights": "raw"}}
        )
