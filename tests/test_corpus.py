"""The corpus stage on the real sound pack, a few clips of each split; twins, subsets, planted duplicates."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soxr
from scipy import signal

from helpers.base.paths import SOUND_PACK
from helpers.base.settings import CorpusConfig, MelConfig, PlantedConfig, TrainingConfig
from helpers.sound.corpus import (
    Mixed,
    generator,
    leading_groups,
    load_corpus,
    originals,
    pools,
    render_all,
    spread,
    subset,
    training_mixtures,
    twin_recipes,
)
from helpers.sound.mel import log_mel
from helpers.sound.pack import load_soundpack
from helpers.stages import corpus, planted

TINY = CorpusConfig(n_train=10, n_heldout=4, n_background=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    corpus.compute(out, {}, TINY, MelConfig())
    return out


@pytest.fixture(scope="module")
def data(folder):
    return load_corpus(folder)


def test_shapes_order_and_levels(data):
    assert data.audio.shape == (18, 65_536) and data.audio.dtype == np.int16
    assert data.mels.shape == (18, 256, 64) and data.mels.dtype == np.float32
    assert data.clips["split"].tolist() == ["train"] * 10 + ["heldout"] * 4 + ["background"] * 4
    assert data.clips["clip_id"][0] == "train_00000" and data.clips["clip_id"].is_unique
    assert np.abs(data.audio).max(axis=1) == pytest.approx(0.5 * 32767, abs=2)
    assert data.rows("heldout").tolist() == [10, 11, 12, 13]


def test_mels_belong_to_the_audio(data):
    assert np.allclose(data.mels[3:5], log_mel(data.audio[3:5], MelConfig(), 16_000), atol=1e-5)


def test_no_source_group_is_in_two_splits(data):
    groups = [set().union(*part["source_groups"]) for _, part in data.clips.groupby("split")]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


def test_a_clip_belongs_to_the_group_of_the_recording_heard_first(data):
    groups = leading_groups(data.clips)
    assert groups.index.tolist() == data.clips["clip_id"].tolist()
    pack = load_soundpack(SOUND_PACK).set_index("id")["source_group"]
    for clip in data.clips.itertuples():
        first = min(json.loads(clip.recipe)["layers"], key=lambda layer: (layer["role"] == "bed", layer["start_s"]))
        assert groups[clip.clip_id] == pack[first["source_id"]] and groups[clip.clip_id] in clip.source_groups
    own = data.clips.head(2).assign(source_ids=[["a video"], ["another"]])
    assert leading_groups(own).tolist() == ["a video", "another"]


def test_of_clips_that_were_not_mixed_each_recording_is_a_group_and_no_pack_is_needed(monkeypatch):
    monkeypatch.setattr("helpers.sound.corpus.SOUND_PACK", Path("/nowhere"))
    own = pd.DataFrame({"clip_id": ["a", "b"], "source_ids": [["a video"], ["another"]], "recipe": ""})
    assert leading_groups(own).to_dict() == {"a": "a video", "b": "another"}


def test_same_seed_same_bytes(folder, tmp_path):
    corpus.compute(tmp_path, {}, TINY, MelConfig())
    for name in ("audio.npy", "mels.npy", "clips.parquet"):
        first, second = (hashlib.sha256((f / name).read_bytes()).hexdigest() for f in (folder, tmp_path))
        assert first == second, name


def test_a_larger_corpus_begins_with_the_smaller(data):
    more = CorpusConfig(n_train=14, n_heldout=4, n_background=4)
    pool = pools(more)["train"]
    captions = [r.caption for r in generator(more, pool, "train").recipes(14)]
    assert captions[:10] == data.clips["caption"][:10].tolist()


def test_main_captions_are_unique_at_full_size():
    config = CorpusConfig()
    recipes = generator(config, pools(config)["train"], "train").recipes(config.n_train)
    assert len({r.caption for r in recipes}) == config.n_train


def test_pilot_touches_no_recording_outside_the_training_split():
    main, pilot = (pools(CorpusConfig(pilot=flag)) for flag in (False, True))
    training = set(main["train"]["id"])
    assert all(set(pool["id"]) <= training and len(pool) for pool in pilot.values())


def test_twins_share_captions_but_not_the_sound(data):
    table, recipes = twin_recipes(TINY, data.clips, np.array([2, 5]), 4)
    assert table["query_id"].tolist() == ["twin_00002_s0", "twin_00005_s0", "twin_00002_s1", "twin_00005_s1"]
    assert table["caption"].tolist() == [data.clips["caption"][i] for i in (2, 5, 2, 5)]
    audio = np.concatenate(list(render_all(recipes, TINY)))
    for i, row in enumerate(table["index"]):
        assert abs(np.corrcoef(audio[i].astype(float), data.audio[row].astype(float))[0, 1]) < 0.9
    assert not np.array_equal(audio[0], audio[2])


def _run(n_train, draw, **changes):
    return TrainingConfig(n_train=n_train, draw=draw, seed=7, **changes)


def test_subsets_are_nested_and_draws_differ():
    for draw in (0, 1):
        small, large = (set(subset(_run(n, draw), 100).tolist()) for n in (10, 40))
        assert small < large
    assert subset(_run(5, 0), 100).tolist() == [0, 1, 2, 3, 4]
    assert not np.array_equal(subset(_run(10, 1), 100), subset(_run(10, 2), 100))
    with pytest.raises(ValueError, match="expected 1 to 100, the clips there are, got 101"):
        subset(_run(101, 0), 100)


def test_with_offsets_draws_are_parts_of_one_permutation():
    def rows(n, draw):
        return subset(_run(n, draw, offsets=(0, 25, 90)), 100).tolist()

    order = rows(100, 0)
    assert sorted(order) == list(range(100)) != order
    assert rows(30, 0) == order[:30] and rows(10, 1) == order[25:35]
    assert rows(20, 2) == order[90:] + order[:10]


def test_training_mixtures_are_no_clips_of_the_corpus(data):
    audio, captions = training_mixtures(TINY, 3, seed=1)
    assert audio.shape == (3, 65_536) and len(captions) == 3
    assert not any(np.array_equal(a, b) for a in audio for b in data.audio)


PLANTED = PlantedConfig(n_train=24, groups_per_cell=1, copies=(2, 4))


def test_planted_truth_matches_the_audio(tmp_path):
    main, out = tmp_path / "main", tmp_path / "planted"
    for folder in (main, out):
        folder.mkdir()
    corpus.compute(main, {}, TINY, MelConfig())
    planted.compute(out, {"corpus": main}, PLANTED, TINY, MelConfig())
    made, source = load_corpus(out), load_corpus(main)
    for split in ("heldout", "background"):  # those of the main corpus
        np.testing.assert_array_equal(made.audio[made.rows(split)], source.audio[source.rows(split)])
    clips = made.clips[made.clips["split"] == "train"]
    again = Mixed(made.clips, TINY)
    for row in clips.index[clips["alteration"] == "none"][:4]:
        np.testing.assert_array_equal(again[row], made.audio[row])
    with pytest.raises(ValueError, match="expected a clip as it was mixed, got a copy altered by"):
        again[clips.index[clips["alteration"] != "none"][0]]
    sizes = clips.groupby("cluster_id")["copies"].agg(["size", "first"])
    assert (sizes["size"] == sizes["first"]).all() and len(clips) == 24
    for _, part in clips[clips["copies"] > 1].groupby("cluster_id"):
        same = [np.array_equal(made.audio[part.index[0]], made.audio[row]) for row in part.index]
        if part["kind"].iloc[0] == "exact":
            assert all(same)
        else:
            assert (part["alteration"] == "none").sum() == 1 and sum(same) < len(part)
    assert {"exact", "altered", "single"} == set(clips["kind"])


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_planted_copies_beside_clips_of_another_rate_are_the_same_mixtures(rate):
    samples = TINY.clip_samples * rate // TINY.sample_rate_hz
    own = dataclasses.replace(TINY, kind="audiofolder", path="clips", sample_rate_hz=rate, clip_samples=samples)
    recipes = generator(TINY, pools(TINY)["train"], "t").recipes(3)
    (ours,), (theirs,) = (list(render_all(recipes, one)) for one in (TINY, own))
    again = soxr.resample(theirs.T.astype(np.float32), rate, TINY.sample_rate_hz).T[:, : TINY.clip_samples]
    low = signal.butter(6, 3000, fs=TINY.sample_rate_hz, output="sos")
    for one, other in zip(signal.sosfilt(low, ours), signal.sosfilt(low, again)):
        assert np.corrcoef(one[: len(other)], other)[0, 1] > 0.99


def test_too_many_planted_copies_are_refused():
    with pytest.raises(ValueError, match=r"at least the 24 planted copies, got 20"):
        planted.plan(PlantedConfig(n_train=20, groups_per_cell=2, copies=(2, 4)))


def test_a_group_of_copies_is_asked_for_by_its_first_caption_and_once():
    """Two groups a cell: every second one is reworded, and its copies stand in any order."""
    settings = PlantedConfig(n_train=140, groups_per_cell=2)
    truth = planted.plan(settings)
    names = [f"base {base}" for base in truth["base"]]
    reworded = (truth["caption_kind"] == "other") & (truth["number"] > 0)
    train = truth.assign(
        caption=np.where(reworded, [f"again {name}" for name in names], names),
        recipe=[json.dumps({"caption": name}) for name in names],
        alteration=np.where((truth["kind"] == "altered") & (truth["number"] > 0), "gain", "none"),
    )
    asked = train.iloc[originals(train)]
    assert asked["cluster_id"].is_unique and set(asked["cluster_id"]) == set(train["cluster_id"])
    assert not reworded[asked.index].any() and (asked["alteration"] == "none").all()
    assert (np.diff((asked["copies"] == 1).astype(int)) >= 0).all()  # copies first


def test_a_part_is_spread_over_the_whole():
    indices = np.array([5, 3, 8, 1, 9, 2])
    assert spread(indices, 3).tolist() == [5, 8, 9] and spread(indices, 4).tolist() == [
        5,
        3,
        1,
        9,
    ]
    assert spread(indices, 7).tolist() == indices.tolist()
