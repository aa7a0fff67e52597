"""Stages in parts: by several processes, or by one that was killed on the way."""

import dataclasses

import numpy as np
import pytest

from helpers import __main__ as command
from helpers.base.parts import make_parts
from helpers.commands.arguments import parse_shard
from helpers.models import codec, sampler, synthesis
from helpers.models.clap import Clap
from helpers.sound.profiles import load_profile
from helpers.stages import encoding, generation, references
from helpers.study import registry, store


@pytest.fixture(scope="module")
def profile():
    """`tiny` with three clips a batch."""
    return load_profile("tiny").replace("generation", batch_size=3)


@pytest.fixture(scope="module")
def stage(profile):
    return registry.build("generation", profile, 8, 0)[0]


@pytest.fixture(scope="module")
def whole(stage, tmp_path_factory):
    """The folder of the same clips, made in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELPERS_RUNS", str(tmp_path_factory.mktemp("whole")))
        return store.load_or_run(stage).path


@pytest.fixture
def shards(stage, whole, tmp_path, monkeypatch):
    """Where shards lie, in a store that has what the stage is made from; files of at least four clips, so of six."""
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path))
    monkeypatch.setattr(generation, "SHARD", 4)
    for before in ("training", "encoding", "corpus"):
        (tmp_path / before).symlink_to(whole.parents[1] / before)
    return stage.folder().with_suffix(store.SHARDS)


def test_a_part_that_was_cut_short_is_made_again(tmp_path):
    def make(rows):
        return np.arange(rows.start, rows.stop)

    files = make_parts(tmp_path, 5, 2, make)
    files[1].write_bytes(b"")
    files[2].write_bytes(files[2].read_bytes()[:-4])
    assert np.concatenate([np.load(file) for file in make_parts(tmp_path, 5, 2, make)]).tolist() == [0, 1, 2, 3, 4]


def assert_same_clips(stage, whole):
    merged = store.load_or_run(stage).path
    assert merged != whole
    for name in ("audio.npy", "decoded.npy", "first_latents.npy", "queries.parquet"):
        assert (merged / name).read_bytes() == (whole / name).read_bytes(), name
    assert not merged.with_suffix(store.SHARDS).exists()


def test_shards_merge_to_the_clips_of_one_go(stage, whole, shards, monkeypatch):
    for part in ("2/2", "1/2"):
        store.run_shard(stage, *parse_shard(part))
    made = sorted(path.name for path in shards.glob("*.npy"))
    assert made == ["000000-000006.npy", "000006-000008.npy"]
    for file in shards.glob("*.seconds"):
        file.write_text("1000.0")
    monkeypatch.setattr(sampler, "sample_latents", None)  # all is there
    assert_same_clips(stage, whole)
    assert 2000 < store.load_or_run(stage).manifest["wall_s"] < 2100, "the time of the parts is that of the stage"
    store.run_shard(stage, 1, 2)  # finished: nothing to do
    assert not shards.exists()


def test_a_killed_generation_goes_on_after_its_last_shard(stage, whole, shards, monkeypatch):
    sample, asked = sampler.sample_latents, []

    def killed(unet, states, *rest):
        asked.append(len(states))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return sample(unet, states, *rest)

    monkeypatch.setattr(sampler, "sample_latents", killed)
    with pytest.raises(KeyboardInterrupt):
        store.load_or_run(stage)
    assert [path.name for path in shards.glob("*.npy")] == ["000000-000006.npy"]
    assert_same_clips(stage, whole)
    assert asked == [6, 2, 2]


def test_a_shard_of_another_batch_size_is_not_used(profile, stage, shards):
    store.run_shard(stage, 1, 1)
    other = registry.build("generation", dataclasses.replace(profile).replace("generation", batch_size=5), 8, 0)[0]
    assert other.digest == stage.digest
    store.run_shard(other, 1, 1)
    assert "000000-000005.npy" in [path.name for path in shards.iterdir()]


@pytest.mark.parametrize(
    ("name", "module", "size", "network"),
    [
        ("encoding", encoding, "SHARD", (codec.Codec, "encode")),
        ("references", references, "CHUNK", (Clap, "embed_audio")),
    ],
)
def test_what_all_runs_share_is_cut_too(name, module, size, network, profile, whole, tmp_path, monkeypatch):
    shared = registry.build(name, profile)[0]
    monkeypatch.setenv("HELPERS_RUNS", str(whole.parents[1]))
    in_one_go = store.load_or_run(shared).path
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path))
    for before in ("corpus", "roundtrip"):
        if (whole.parents[1] / before).exists():
            (tmp_path / before).symlink_to(whole.parents[1] / before)
    monkeypatch.setattr(module, size, 6)
    for k in (2, 1):
        store.run_shard(shared, k, 2)
    made = [path.name for path in shared.folder().with_suffix(store.SHARDS).glob("*.npy")]
    assert len(made) == len(set(made)) > 2
    monkeypatch.setattr(*network, None)  # all is there
    merged = store.load_or_run(shared).path
    files = sorted(path.name for path in in_one_go.glob("*.np*"))
    assert files and files == sorted(path.name for path in merged.glob("*.np*"))
    for file in files:  # batches of another size round otherwise; those of the stages themselves are the same
        ours, theirs = np.load(merged / file), np.load(in_one_go / file)
        for key in getattr(ours, "files", [...]):
            np.testing.assert_allclose(ours[key], theirs[key], atol=1e-4)


def test_a_shard_begins_where_a_batch_does():
    assert encoding.SHARD % synthesis.CHUNK == 0 and references.CHUNK % 32 == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["generation", "--shard", "3/2"], "--shard: expected K/N, as 2/8, got '3/2'"),
        (["generation", "--shard", "x"], "--shard: expected K/N, as 2/8, got 'x'"),
        (
            ["corpus", "--shard", "1/2"],
            "--shard: expected encoding, references or generation, whose work can be cut, got corpus",
        ),
    ],
)
def test_what_is_no_shard_is_told(arguments, told, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["helpers", "run", *arguments, "--profile", "tiny"])
    assert command.main() == 2 and capsys.readouterr().err.splitlines()[-1] == f"error: {told}"
