"""The controls stage on the profile `tiny`: each kind against clips made here by hand."""

import numpy as np
import pandas as pd
import pytest

from helpers.copies.detectors import Detectors
from helpers.copies.search import top_k
from helpers.models.codec import load_codec
from helpers.sound import corpus
from helpers.sound.mel import log_mel
from helpers.sound.mixtures import Recipe
from helpers.sound.profiles import load_profile
from helpers.sound.transforms import TRANSFORMS
from helpers.stages import controls
from helpers.study import registry

N_TRAIN, DRAW = 4, 1  # a draw whose clips are not the first four, in another order
COLUMNS = [*controls.COLUMNS, "updates", "sample_seed"]


def with_counts(n_altered, n_same_bed, n_empirical):
    counts = {"n_altered": n_altered, "n_same_bed": n_same_bed, "n_empirical": n_empirical}
    return load_profile("tiny").replace("controls", **counts)


def run(folder, upstream, profile):
    controls.compute(folder, upstream, profile, N_TRAIN, DRAW)
    names = ("audio.npy", "decoded.npy")
    return pd.read_parquet(folder / "queries.parquet"), *(np.load(folder / name) for name in names)


@pytest.fixture(scope="module")
def profile():
    return with_counts(14, 5, 9)


@pytest.fixture(scope="module")
def upstream():
    return {name: registry.finished(name, load_profile("tiny")).path for name in ("corpus", "encoding")}


@pytest.fixture(scope="module")
def data(upstream):
    return corpus.load_corpus(upstream["corpus"])


@pytest.fixture(scope="module")
def codec(profile):
    return load_codec(profile.codec.codec_path)


@pytest.fixture(scope="module")
def made(profile, upstream, tmp_path_factory):
    return run(tmp_path_factory.mktemp("controls"), upstream, profile)


@pytest.fixture(scope="module")
def members(profile):
    return corpus.subset(profile.training_run(N_TRAIN, DRAW), profile.corpus.n_train)


def of_kind(made, kind):
    table, audio, decoded = made
    keep = (table["kind"] == kind).to_numpy()
    return table[keep].reset_index(drop=True), audio[keep], decoded[keep]


def test_files_hold_what_is_promised(made, data, members):
    table, audio, decoded = made
    assert table.columns.tolist() == COLUMNS
    assert table["kind"].tolist() == ["altered"] * 14 + ["same_bed"] * 5 + ["empirical"] * 9
    assert audio.shape == (28, 65_536) and audio.dtype == np.int16
    assert decoded.shape == (28, 256, 64) and decoded.dtype == np.float32
    assert table["query_id"].is_unique and table["query_id"][0] == f"altered_n4_d1_{table['index'][0]:05d}_0"
    assert set(table["index"]) <= set(members) and set(table["index"]) != set(range(len(set(table["index"]))))
    assert table["clip_id"].tolist() == [f"train_{i:05d}" for i in table["index"]]
    own = table["kind"] != "same_bed"
    assert table["caption"][own].tolist() == data.clips["caption"][table["index"][own]].tolist()
    assert (table[["updates", "sample_seed"]] == 0).all(axis=None)
    assert (table["transform"][table["kind"] != "altered"] == "").all()


def test_sound_belongs_to_the_decoded_mel(made, profile):
    _, audio, decoded = made
    heard = log_mel(audio, profile.mel, 16_000)
    error = np.abs(heard[:, None] - decoded[None]).mean(axis=(2, 3))
    assert error.argmin(axis=1)[:19].tolist() == list(range(19))  # of the empirical ones some are the same clip
    assert np.diag(error).max() < 1.0


def test_altered_clips_take_transforms_and_clips_in_turn(made, data, members, codec, profile):
    table, _, decoded = of_kind(made, "altered")
    names = list(TRANSFORMS)
    assert table["transform"].tolist() == (names + names)[:14]
    turns = [0] * len(names) + [1] * 2
    assert table["strength"].tolist() == [TRANSFORMS[t].strengths[s] for t, s in zip(table["transform"], turns)]
    assert all(set(table["index"][i : i + 4]) == set(members) for i in (0, 4, 8))
    gain = np.flatnonzero(table["transform"] == "gain")
    quieter = data.audio[table["index"][gain]] * 10 ** (table["strength"][gain].to_numpy()[:, None] / 20)
    expected = codec.decode(codec.encode(log_mel(np.rint(quieter).astype(np.int16), profile.mel, 16_000)))
    np.testing.assert_allclose(decoded[gain], expected, atol=1e-3)


def test_same_bed_clips_keep_the_bed_under_other_events(made, data, members, codec, profile):
    table, _, decoded = of_kind(made, "same_bed")
    maker = corpus.generator(profile.corpus, corpus.pools(profile.corpus)["train"], "train")
    own = {i: Recipe.from_json(data.clips["recipe"][i]) for i in members}
    beds = {i for i, recipe in own.items() if recipe.layers[-1].role == "bed"}
    assert set(table["index"]) == beds
    recipes = [maker.same_bed(own[i], i, seed=number // len(beds)) for number, i in enumerate(table["index"])]
    assert table["caption"].tolist() == [recipe.caption for recipe in recipes]
    assert table["caption"].is_unique and not set(table["caption"]) & {recipe.caption for recipe in own.values()}
    (audio,) = corpus.render_all(recipes, profile.corpus)
    expected = codec.decode(codec.encode(log_mel(audio, profile.mel, 16_000)))
    np.testing.assert_allclose(decoded, expected, atol=1e-3)


def test_empirical_clips_are_training_clips_and_find_themselves(made, data, members, upstream, codec, profile):
    table, audio, decoded = of_kind(made, "empirical")
    latents = np.load(upstream["encoding"] / "latents.npy")
    np.testing.assert_allclose(decoded, codec.decode(latents[table["index"]]), atol=1e-3)
    assert table["index"].nunique() > 1
    detectors = Detectors(profile.retrieval, profile.mel, 16_000, data.mel_mean())
    references = detectors.features("mel", data.audio[members])
    found = top_k(detectors.features("mel", audio), references, 1).indices[:, 0]
    assert members[found].tolist() == table["index"].tolist()


def test_fewer_clips_are_the_first_of_more(made, profile, upstream, tmp_path):
    fewer = run(tmp_path, upstream, with_counts(3, 2, 2))
    for kind, count in (("altered", 3), ("same_bed", 2), ("empirical", 2)):
        (table, _, decoded), (all_rows, _, all_decoded) = of_kind(fewer, kind), of_kind(made, kind)
        pd.testing.assert_frame_equal(table, all_rows[:count])
        np.testing.assert_allclose(decoded, all_decoded[:count], atol=1e-3)


def test_a_corpus_of_ones_own_has_no_same_bed_clips(upstream, tmp_path):
    own = {"corpus": {"kind": "audiofolder", "path": "anywhere"}, "planted": {"trained": False}}
    own = with_counts(1, 5, 1).replace_in(own)
    assert run(tmp_path, upstream, own)[0]["kind"].tolist() == ["altered", "empirical"]


def test_a_set_without_beds_has_no_same_bed_clips(data, upstream, tmp_path):
    for name in ("audio.npy", "mels.npy"):
        (tmp_path / name).symlink_to(upstream["corpus"] / name)
    recipes = [Recipe.from_json(text) for text in data.clips["recipe"]]
    dry = [Recipe(r.caption, tuple(layer for layer in r.layers if layer.role != "bed")).to_json() for r in recipes]
    data.clips.assign(recipe=dry).to_parquet(tmp_path / "clips.parquet")
    out = tmp_path / "out"
    out.mkdir()
    assert run(out, {**upstream, "corpus": tmp_path}, with_counts(1, 5, 0))[0]["kind"].tolist() == ["altered"]


def test_no_controls_give_empty_files(made, upstream, tmp_path):
    table, audio, decoded = run(tmp_path, upstream, with_counts(0, 0, 0))
    assert table.columns.tolist() == COLUMNS and not len(table)
    assert table.dtypes.tolist() == made[0].dtypes.tolist()
    assert audio.shape == (0, 65_536) and decoded.shape == (0, 256, 64)
