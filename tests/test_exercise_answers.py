"""Much of what the solutions of the exercises say comes out, with the profile `tiny`: which results move with a setting, and which cannot."""

import numpy as np
import pandas as pd
import pytest

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
