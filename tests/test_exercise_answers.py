"""Much of what the solutions of the exercises say comes out, with the profile `tiny`: which results move with a setting, and which cannot.
Numbers of the published study are those of its tables."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers.base.paths import RESULTS, ROOT
from helpers.book.summaries import prevention
from helpers.book.words import share_text
from helpers.sound.profiles import load_profile
from helpers.study import registry

TINY = load_profile("tiny")
RUN = (8, 0)


def made(stage: str, file: str, profile=TINY, run=()) -> pd.DataFrame:
    path = registry.finished(stage, profile, *run).path / file
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def test_another_seed_mixes_anew_and_moves_no_recording():
    one, other = (made("corpus", "clips.parquet", TINY.replace("corpus", seed=seed)) for seed in (TINY.corpus.seed, 7))
    assert len(one) == len(other) and (one["caption"] != other["caption"]).mean() > 0.5
    split: dict[str, set] = {}
    for table in (one, other):
        for recordings, name in zip(table["source_ids"], table["split"]):
            for recording in recordings:
                split.setdefault(recording, set()).add(name)
    assert max(map(len, split.values())) == 1 and {"train", "heldout"} <= set.union(*split.values())


def test_more_background_changes_no_training_clip_and_generic_captions_are_fewer():
    one, more = (
        made("corpus", "clips.parquet", TINY.replace("corpus", n_background=n)) for n in (TINY.corpus.n_background, 16)
    )
    train = [table[table["split"] == "train"].reset_index(drop=True) for table in (one, more)]
    pd.testing.assert_frame_equal(*train)
    generic = made("corpus", "clips.parquet", TINY.replace("corpus", captions="generic"))
    assert generic["caption"].nunique() < one["caption"].nunique() and (generic["caption"] != one["caption"]).all()


def test_another_vocoder_moves_the_columns_of_both_parts_alone():
    one, other = (
        made("roundtrip", "queries.parquet", TINY.replace("codec", vocoder=name)) for name in ("vocos", "griffin_lim")
    )
    for column in ("codec_cosine", "codec_mae"):
        assert (one[column] == other[column]).all()
        assert (one[column.replace("codec", "vocoder")] != other[column.replace("codec", "vocoder")]).all()


def test_weights_that_are_not_averaged_leave_the_loss_as_it_is():
    losses = [
        made("training", "loss.parquet", TINY.replace("training", ema_decay=d), RUN)[["update", "loss"]]
        for d in (0.9, 0.0)
    ]
    pd.testing.assert_frame_equal(*losses)


def test_solver_steps_and_noise_train_nothing_again():
    for setting in ({"steps": 2}, {"sample_seed": 7}, {"guidance": 1.0}):
        one, other = (
            registry.build("training", profile, *RUN)[0] for profile in (TINY, TINY.replace("generation", **setting))
        )
        assert one.digest == other.digest, setting
        made_anew = [
            registry.build("generation", profile, *RUN)[0].digest
            for profile in (TINY, TINY.replace("generation", **setting))
        ]
        assert len(set(made_anew)) == 2, setting


def test_without_shifts_the_aligned_detector_is_the_centred_one():
    table = made("alterations", "alterations.csv", TINY.replace("retrieval", max_shift_s=0.0))
    areas = table.pivot_table(index=["transform", "strength"], columns="detector", values="auroc", dropna=False)
    np.testing.assert_allclose(areas["mel_aligned"], areas["mel_centred"], atol=0.02)


@pytest.mark.parametrize("setting", [{"top_k": 8}, {"detectors": ("mel", "mel_centred", "mel_aligned")}])
def test_neither_more_neighbours_nor_fewer_detectors_change_the_nearest_clip(setting):
    columns = ["query_id", "detector", "ref_id", "score"]
    one, other = (
        made("retrieval", "scores.parquet", profile, RUN)
        .query("rank == 1 and detector != 'clap'")[columns]
        .reset_index(drop=True)
        for profile in (TINY, TINY.replace("retrieval", **setting))
    )
    pd.testing.assert_frame_equal(one, other)


def test_no_bias_enters_the_near_exact_rule_and_no_theta_a_flag():
    """A clip is near-exact from theta on, by its position; of these few, hardly trained, none is."""
    changed = ({}, {"beta": 0.0}, {"theta": 0.8})
    profiles = [TINY.replace("thresholds", **setting) for setting in changed]
    one, unbiased, strict = (made("thresholds", "decisions.parquet", profile) for profile in profiles)
    for other in (unbiased, strict):
        pd.testing.assert_series_equal(one["position"], other["position"])
    assert one["position"].nunique() > 10
    one, unbiased, strict = (made("thresholds", "replication.csv", profile) for profile in profiles)
    assert not one["tau"].equals(unbiased["tau"]) and one["flagged_rate"].max() > 0
    pd.testing.assert_series_equal(one["flagged_rate"], strict["flagged_rate"])


def solution(name: str, start: str) -> str:
    """The solution of a chapter that begins so, on one line but for its code."""
    text = "\n".join(cell.source for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells)
    return re.search(rf"Solution\n:class: dropdown\n({start}.*?)\n:::", text, re.DOTALL)[1]


def test_more_false_alarms_find_less_than_as_many_more_replays(capsys, monkeypatch):
    told = solution("09_data_free", "```python")
    monkeypatch.chdir(ROOT)
    exec(re.search(r"```python\n(.*?)```", told, re.DOTALL)[1], {})
    one, ten = (line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert f"It finds {one[1]} replays at one false alarm, and {ten[1]} at ten." in told and (one[0], ten[0]) == (
        "1",
        "10",
    )


def test_what_early_stopping_loses_and_gains():
    study = load_profile("pocket")
    told = solution("10_prevention", "Compare the rows").replace(" %", "\u00a0%")
    rows = prevention.compared(prevention.all_trajectories(study, RESULTS)).set_index(["intervention", "draw"])
    last, early = (rows.loc[name] for name in (prevention.STUDY, prevention.EARLY))
    first, second, third = (f"{n:,}" for n in last["updates"] - early["updates"])
    assert f"by {first}, {second} and {third} updates in draws 0, 1 and 2." in told
    assert (early["kid"] > last["kid"]).all() and (early["kid_low"] < last["kid_high"]).all()
    kids = [f"{end:.2f}" for kid in (early["kid"], last["kid"]) for end in (kid.min(), kid.max())]
    assert "({} to {}, not {} to {})".format(*kids) in told
    rates = [early["own_near_exact_rate"], last["own_near_exact_rate"]]
    ends = [share_text(end) for rate in rates for end in (rate.min(), rate.max())]
    numbers = [end.removesuffix("\u00a0%") for end in ends]
    assert "{} to {}\u00a0%, not {} to {}\u00a0%.".format(*numbers) in told
    assert f"Of twins {prevention.twins_in_words(study, 'mel').split(' (')[0]} count." in told
