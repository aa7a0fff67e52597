"""The published study: what is restored is what was published, and what differs is told in one line."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers.base import hashing, machine
from helpers.study import entries, publication
from helpers.study.publication import difference, publish, restore, use_publication
from helpers.study.stage import Stage
from helpers.study.store import NotPublished, load_or_run
from tools import repack_published

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv("HELPERS_COMPUTE", raising=False)


def writing(**texts):
    """Computes files of these texts; `a__b` stands for a/b, and every name ends in .csv."""

    def compute(folder, upstream):
        for name, text in texts.items():
            path = folder / f"{name.replace('__', '/')}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return compute


def study(rate=0.001, n=100, beta=0.5, scores_version=1):
    """Corpus (unpublished) → training (labelled) → scores (flat) → thresholds (flat, light)."""
    corpus = Stage("corpus", {"corpus": {"n_train": n, "seed": 1}}, writing(audio="large"))
    training = Stage(
        "training", {"learning_rate": rate, "steps": (1, 2)}, writing(loss=f"loss {rate}", weights="large"),
        upstream={"corpus": corpus}, label="n100_d0", published=("loss.csv",), seed=3,
    )  # fmt: skip
    scores = Stage(
        "scores", {}, writing(scores="scores", clips__one="one", clips__two="two", other="large"),
        upstream={"training": training}, published=("scores.csv", "clips/*.csv"), version=scores_version,
    )  # fmt: skip
    thresholds = Stage(
        "thresholds", {"beta": beta}, writing(rates=f"beta {beta}"), upstream={"scores": scores},
        published=("rates.csv",), light=True,
    )  # fmt: skip
    return corpus, training, scores, thresholds


@pytest.fixture
def published(tmp_path):
    """The folder of a published study whose runs are gone, and an empty root."""
    stages, root = study(), tmp_path / "first_runs"
    load_or_run(stages[-1], root)
    publish(stages, tmp_path / "results", root)
    shutil.rmtree(root)
    return tmp_path / "results", tmp_path / "runs"


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


LISTS = ["digests.json", "manifest.json"]
EVERY = ["clips/one.csv", "clips/two.csv", *LISTS, "rates.csv", "scores.csv", "training/n100_d0/loss.csv"]


def test_layout_and_manifest(published):
    folder, _ = published
    assert files_of(folder) == EVERY
    entries = json.loads((folder / "manifest.json").read_text())["stages"]
    assert set(entries) == {"corpus", "training/n100_d0", "scores", "thresholds"}
    entry = entries["training/n100_d0"]
    assert set(entry["files"]) == {"loss.csv"} and entry["config"] == {"learning_rate": 0.001, "steps": [1, 2]}
    assert {"stage", "version", "digest", "seed", "upstream", "inputs", "wall_s", "peak_memory_mib"} <= set(entry)
    assert {"versions", "commit", "machine"} <= set(entry) and entries["corpus"]["files"] == {}
    assert json.loads((folder / "digests.json").read_text()) == {stage.title: stage.digest for stage in study()}


@pytest.mark.parametrize("commit", ["d" * 40 + "-dirty", None])
def test_what_no_commit_holds_is_not_published(published, monkeypatch, capfd, commit):
    folder, root = published
    before = {name: (folder / name).read_bytes() for name in EVERY}
    *_, scores, thresholds = study(beta=0.9)
    load_or_run(scores, root)
    monkeypatch.setattr(machine, "commit", lambda: commit)
    load_or_run(thresholds, root)
    capfd.readouterr()
    assert publish([thresholds], folder, root) == []
    assert {name: (folder / name).read_bytes() for name in files_of(folder)} == before
    (line,) = capfd.readouterr().err.splitlines()
    tree = "a tree with uncommitted changes" if commit else "a tree without a known commit"
    place = thresholds.folder(root)
    assert line.endswith(
        f"thresholds: computed from {tree}, so not published; commit, delete {place} and compute it again"
    )
    publish([scores, thresholds], folder, root)
    assert entries.read_entries(folder)["thresholds"]["config"] == {"beta": 0.5}, "the clean one beside it is"
    shutil.rmtree(place)  # as the line says
    monkeypatch.setattr(machine, "commit", lambda: "e" * 40)
    load_or_run(thresholds, root)
    publish([thresholds], folder, root)
    assert entries.read_entries(folder)["thresholds"]["commit"] == "e" * 40
    assert json.loads((folder / "digests.json").read_text())["thresholds"] == thresholds.digest


def test_what_was_published_from_a_dirty_tree_stays_without_a_word(published, tmp_path, capfd):
    folder, root = published
    *_, thresholds = stages = study()
    load_or_run(thresholds, root)
    manifest = json.loads((folder / "manifest.json").read_text())
    for stage in stages:  # as earlier versions published it
        path = stage.folder(root) / "manifest.json"
        dirty = json.loads(path.read_text()) | {"commit": "d" * 40 + "-dirty"}
        path.write_text(json.dumps(dirty))
        key = f"{stage.name}/{stage.label}".rstrip("/")
        manifest["stages"][key] |= {"commit": dirty["commit"], "wall_s": dirty["wall_s"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    capfd.readouterr()
    assert publish(stages, folder, root) == [] and entries.read_entries(folder) == manifest["stages"]
    assert capfd.readouterr().err == ""


def test_published_study_is_restored_byte_for_byte(published):
    folder, root = published
    _, training, scores, thresholds = study()
    with use_publication(folder):
        for stage in (training, scores, thresholds):
            result = load_or_run(stage, root)
            assert not result.computed and result.manifest["restored"] and result.path == stage.folder(root)
    assert files_of(scores.folder(root)) == ["clips/one.csv", "clips/two.csv", "manifest.json", "scores.csv"]
    assert (training.folder(root) / "loss.csv").read_bytes() == (folder / "training/n100_d0/loss.csv").read_bytes()
    assert not difference(training, folder)
    (scores.folder(root) / "scores.csv").write_text("edited")  # a copy, not a link
    assert (folder / "scores.csv").read_text() == "scores"


def test_light_stage_with_another_setting_is_computed(published):
    folder, root = published
    *_, thresholds = study(beta=0.7)
    with use_publication(folder):
        result = load_or_run(thresholds, root)
    assert result.computed and (result.path / "rates.csv").read_text() == "beta 0.7"
    assert not (root / "training").exists() and (root / "scores").exists()


def test_stage_that_is_not_light_has_those_before_it_computed_in_full(published):
    folder, root = published
    _, training, scores, _ = study()
    later = Stage("later", {}, writing(x="x"), upstream={"scores": scores})
    with use_publication(folder, "all"):
        assert load_or_run(training, root).manifest["restored"]
        assert load_or_run(later, root).computed
    assert (training.folder(root) / "weights.csv").exists() and (scores.folder(root) / "other.csv").exists()


@pytest.mark.parametrize(
    ("changes", "index", "line"),
    [
        ({"rate": 0.002}, 1, "training n100_d0: learning_rate is 0.002 in the profile, 0.001 in the published study"),
        (
            {"n": 64},
            1,
            "corpus: corpus.n_train is 64 in the profile, 100 in the published study (training n100_d0 is made from it)",
        ),
        ({"scores_version": 2}, 2, "scores: version is 2 in the code, 1 in the published study"),
        (
            {"rate": 0.002, "beta": 0.7},
            3,
            "thresholds: beta is 0.7 in the profile, 0.5 in the published study",
        ),
    ],
)  # fmt: skip
def test_difference_is_named(published, changes, index, line):
    folder, root = published
    stage = study(**changes)[index]
    assert difference(stage, folder) == line and not restore(stage, folder, root)


def test_refusal_is_one_line_with_the_command_and_the_time(published):
    folder, root = published
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"]["training/n100_d0"]["wall_s"] = 8280.0
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with use_publication(folder, command="make it"), pytest.raises(NotPublished) as refused:
        load_or_run(study(rate=0.002)[1], root)
    assert str(refused.value) == (
        "training n100_d0: learning_rate is 0.002 in the profile, 0.001 in the published study; "
        "to compute it (2.3 h for the published study): make it"
    )
    assert not list(root.rglob("manifest.json")), "nothing was computed on the way"
    with (
        use_publication(folder),
        pytest.raises(NotPublished, match="corpus: none of its files are published; to .*: make"),
    ):
        load_or_run(study()[0], root)
    with (
        use_publication(folder),
        pytest.raises(NotPublished, match="^new x is not part of the published study in .*results"),
    ):
        load_or_run(Stage("new", {}, writing(a="a"), label="x"), root)


def differing(**changes):
    base = {"name": "toy", "config": {"a": {"b": 1}, "c": [1, 2]}, "compute": writing(x="x"), "published": ("x.csv",)}
    return Stage(**{**base, **changes})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"config": {"a": {"b": 2}, "c": [3]}},
            r"toy: a.b is 2 in the profile, 1 in the published study \(and 1 more\)",
        ),
        ({"config": {"a": {"b": 1}}}, r"toy: c is absent in the profile, \[1, 2\] in the published study"),
        ({"config": {"a": {"b": 1}, "c": ["x" * 99]}}, r"toy: c is \['x{55}\.\.\. in the profile, \[1, 2\] in .*"),
        ({"seed": 5}, "toy: seed is 5 in the profile, None in the published study"),
        ({"upstream": {"early": differing(name="before", published=())}}, "toy: is made from early here only"),
    ],
)
def test_difference_of_every_kind(tmp_path, changes, line):
    load_or_run(differing(), tmp_path)
    publish([differing()], tmp_path / "results", tmp_path)
    assert re.fullmatch(line, difference(differing(**changes), tmp_path / "results"))


def test_changed_input_file_and_unpublished_upstream_are_named(tmp_path):
    pack, folder = tmp_path / "pack.bin", tmp_path / "results"
    pack.write_text("old")
    before = differing(name="before", files=(pack,), published=())
    load_or_run(differing(upstream={"x": before}), tmp_path)
    publish([differing(upstream={"x": before})], folder, tmp_path)
    old = hashing.hash_file(pack)
    pack.write_text("newer")
    after = differing(name="before", files=(pack,), published=())
    stage = differing(upstream={"x": after})
    assert difference(stage, folder) == (
        f"before: digest is {after.digest[:12]} here, {before.digest[:12]} in the published study (toy is made from it)"
    ), "the stage before was not given to publish"
    pack.write_text("old")
    publish([differing(name="before", files=(pack,), published=())], folder, tmp_path)
    pack.write_text("newer")
    assert difference(differing(upstream={"x": differing(name="before", files=(pack,), published=())}), folder) == (
        f"before: pack.bin has sha256 {hashing.hash_file(pack)[:12]} here, {old[:12]} in the published study"
        " (toy is made from it)"
    )


def test_damaged_file_is_refused_by_name_and_sha256(published):
    folder, root = published
    path = folder / "training" / "n100_d0" / "loss.csv"
    expected = hashing.hash_file(path)[:12]
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))
    _, training, _, _ = study()
    line = f"{path}: expected sha256 {expected}, got {hashing.hash_file(path)[:12]}"
    with pytest.raises(NotPublished) as refused:
        restore(training, folder, root)
    assert str(refused.value) == line == difference(training, folder)
    with use_publication(folder, command="make it"), pytest.raises(NotPublished) as refused:
        load_or_run(training, root)
    assert str(refused.value) == f"{line}; to compute it: make it"
    assert [path.suffix for path in (root / "training").iterdir()] in ([".lock"], [])
    path.unlink()
    assert difference(training, folder) == f"{path}: expected sha256 {expected}, the file is missing"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x", "", *LISTS])
def test_names_that_lead_out_of_the_folder_are_refused(published, name):
    folder, root = published
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"]["scores"]["files"][name] = {"size": 1, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    stages = study()
    for refused in (lambda: restore(stages[2], folder, root), lambda: publish(stages, folder, root)):
        with pytest.raises(NotPublished, match="manifest.json: expected names of files inside a stage's folder, got "):
            refused()


def test_manifest_that_cannot_be_read(published):
    folder, root = published
    for text in ('{"stages": ', "[]", "{}", '{"stages": {"a": 1}}'):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(NotPublished, match=r"manifest.json: cannot be read \(\w+\)"):
            restore(study()[2], folder, root)


def test_many_stages_that_are_passed_over_are_counted(capfd):
    passed = [("not computed", f"generation {n}", "") for n in range(40)] + [("restored", "scores", "")]
    publication._tell(passed)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "generation 0: not computed, so not published" and len(lines) == publication.MOST_NAMED + 2
    assert lines[-2:] == ["35 more stages: not computed, so not published", "scores: restored, so not published"]


def test_publishing_as_one_goes(tmp_path, capfd):
    root, folder = tmp_path / "runs", tmp_path / "results"
    corpus, training, scores, thresholds = study()
    load_or_run(training, root)
    paths = publish(study(), folder, root)
    assert paths == [folder / "training/n100_d0/loss.csv"]
    assert "scores: not computed, so not published" in capfd.readouterr().err
    load_or_run(thresholds, root)
    publish([scores, thresholds], folder, root)
    assert files_of(folder) == EVERY and set(entries.read_entries(folder)) >= {"corpus", "training/n100_d0"}


def test_interim_files_go_once_a_stage_made_from_them_is_published(tmp_path):
    """A study made run by run: each run's tables lie there until the stage that collects them does."""
    root, folder = tmp_path / "runs", tmp_path / "results"
    one, two = (
        Stage("search", {"draw": d}, writing(scores=f"of {d}"), published=("scores.csv",), collected_by="scores",
              label=f"d{d}") for d in range(2)
    )  # fmt: skip
    beside = Stage("quality", {}, writing(kid="0.1"), upstream={"search": one}, published=("kid.csv",))
    both = Stage("scores", {}, writing(all="all"), upstream={"a": one, "b": two}, published=("all.csv",), light=True)
    load_or_run(one, root)
    publish([one, two, both], folder, root)
    assert files_of(folder) == [*LISTS, "search/d0/scores.csv"]
    assert publication.wanted([one, two, both], folder) == [one, two, both]
    load_or_run(beside, root)
    publish([one, two, beside, both], folder, root)  # made from it too, but holds nothing of it
    assert files_of(folder) == ["digests.json", "kid.csv", "manifest.json", "search/d0/scores.csv"]
    shutil.rmtree(root)
    load_or_run(two, root)  # another machine
    publish([one, two, both], folder, root)
    assert files_of(folder) == [
        "digests.json",
        "kid.csv",
        "manifest.json",
        "search/d0/scores.csv",
        "search/d1/scores.csv",
    ]
    with use_publication(folder):
        load_or_run(both, root)
    publish([one, two, both], folder, root)
    assert (
        files_of(folder) == ["all.csv", "digests.json", "kid.csv", "manifest.json"] and not (folder / "search").exists()
    )
    assert entries.read_entries(folder)["search/d0"]["digest"] == one.digest  # what it took can still be told
    assert publication.wanted([one, two, both], folder) == [both]
    publish([two], folder, root)  # again: nothing comes back
    assert files_of(folder) == ["all.csv", "digests.json", "kid.csv", "manifest.json"]
    with use_publication(folder):
        assert load_or_run(both, tmp_path / "third").manifest["restored"]


def test_renewed_stage_leaves_no_stale_file(published):
    folder, root = published
    corpus, training, *_ = study()
    scores = Stage(
        "scores", {"new": 1}, writing(scores="new"), upstream={"training": training}, published=("scores.csv",)
    )
    load_or_run(scores, root)
    publish([scores], folder, root)
    assert (
        files_of(folder) == [name for name in EVERY if not name.startswith("clips")] and not (folder / "clips").exists()
    )
    assert (folder / "scores.csv").read_text() == "new" and not difference(scores, folder)


def test_restored_stage_is_not_published_again(published, tmp_path, capfd):
    folder, root = published
    _, training, *_ = study()
    restore(training, folder, root)
    before = (folder / "manifest.json").read_bytes()
    assert publish([training], folder, root) == [] and (folder / "manifest.json").read_bytes() == before
    assert "not published" not in capfd.readouterr().err
    publish([training], tmp_path / "elsewhere", root)
    assert "training n100_d0: restored from a published study, not computed here" in capfd.readouterr().err


def test_restored_folder_follows_the_publication(published, tmp_path):
    """Computed again under the same settings, numbers may differ: what was restored before is replaced."""
    folder, root = published
    _, training, *_ = study()
    restore(training, folder, root)
    again = dataclasses.replace(training, compute=writing(loss="loss anew", weights="large"))
    load_or_run(again, tmp_path / "other_runs")
    publish([again], folder, tmp_path / "other_runs")
    with use_publication(folder):
        assert (load_or_run(training, root).path / "loss.csv").read_text() == "loss anew"


def test_file_that_the_code_asks_for_anew_is_named(published):
    folder, root = published
    _, training, *_ = study()
    wanting = dataclasses.replace(training, published=("w*.csv",))
    assert not restore(wanting, folder, root)
    assert difference(wanting, folder) == "training n100_d0: w*.csv is not among its published files"


def test_interrupted_publishing_leaves_the_earlier_publication(published, monkeypatch):
    folder, root = published
    stages = study(rate=0.002, beta=0.9)
    load_or_run(stages[-1], root)
    before = {name: (folder / name).read_bytes() for name in EVERY}
    copy, copied = shutil.copyfile, []

    def interrupted(source, target):
        copied.append(source)
        if len(copied) == 3:
            raise OSError(28, "No space left on device")
        copy(source, target)

    monkeypatch.setattr(publication.shutil, "copyfile", interrupted)
    with pytest.raises(OSError):
        publish(stages, folder, root)
    assert {name: (folder / name).read_bytes() for name in files_of(folder)} == before
    monkeypatch.undo()
    publish(stages, folder, root)
    assert files_of(folder) == EVERY and not any(difference(stage, folder) for stage in stages[1:])


def test_two_stages_in_one_place_are_refused(published):
    folder, root = published
    other = Stage("other", {}, writing(scores="mine"), published=("*.csv",))
    twice = [Stage("twin", {"i": i}, writing(a="a"), published=("*.csv",)) for i in range(2)]
    for stage in (other, *twice):
        load_or_run(stage, root)
    with pytest.raises(ValueError, match="scores.csv: expected one stage to publish it, got scores and other"):
        publish([other], folder, root)
    with pytest.raises(ValueError, match="twin: expected one stage of this name and label, got two"):
        publish(twice, folder, root)
    assert files_of(folder) == EVERY and (folder / "scores.csv").read_text() == "scores"


def test_result_that_changed_after_it_was_computed_is_not_published(tmp_path):
    stage = differing()
    path = load_or_run(stage, tmp_path).path / "x.csv"
    path.write_text("y")
    with pytest.raises(NotPublished, match=r"x\.csv: expected sha256 \w{12}, got \w{12}$"):
        publish([stage], tmp_path / "results", tmp_path)


@pytest.mark.parametrize("command", ["restore", "compare"])
def test_command_line_without_a_published_study(command, repository, tmp_path):
    call = [sys.executable, "-m", "helpers", command, "--profile", "smoke", "--folder", tmp_path / "none"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "published study" in done.stderr and "none" in done.stderr


def test_command_line_publishes_what_there_is(repository, tmp_path):
    call = [sys.executable, "-m", "helpers", "publish", "--profile", "smoke", "--folder", tmp_path / "results"]
    done = subprocess.run(
        call, capture_output=True, text=True, cwd=repository, env={**os.environ, "HELPERS_RUNS": str(tmp_path / "runs")}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 files published") and "missing: thresholds is not part of" in done.stdout
    assert publication.find("smoke") is None and not (tmp_path / "results").exists(), "nothing is no published study"


def test_changed_line_ends_are_named_as_the_cause(published, tmp_path):
    folder, root = published
    _, training, *_ = study()
    path = folder / "training" / "n100_d0" / "loss.csv"
    original = b"update,loss\n1,0.5\n"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["stages"]["training/n100_d0"]["files"]["loss.csv"]["sha256"] = hashlib.sha256(original).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path.write_bytes(original.replace(b"\n", b"\r\n"))
    cause = "as its line ends were changed to CRLF"
    assert cause in difference(training, folder)
    path.write_bytes(b"update,loss\r\n1,0.6\r\n")
    assert "got" in difference(training, folder) and cause not in difference(training, folder)
    config = tmp_path / "config.json"
    config.write_bytes(b"{\n}\n")
    before = differing(files=(config,))
    load_or_run(before, root)
    publish([before], folder, root)
    config.write_bytes(b"{\r\n}\r\n")
    assert re.fullmatch(
        rf"toy: config.json has sha256 \w+ here, \w+ in the .* study, {cause}.*",
        difference(differing(files=(config,)), folder),
    )


def test_how_to_bring_a_published_file_back_is_told(published, monkeypatch):
    folder, _ = published
    monkeypatch.setattr(hashing, "RESULTS", folder.parent)
    path = folder / "scores.csv"
    path.write_text("scored")
    assert difference(study()[2], folder).endswith(f"; to bring it back: rm -f {path}; git checkout -- {path}")


def test_what_was_restored_does_not_hide_a_damaged_publication(published, monkeypatch, capsys):
    """Nor does a damaged copy of a whole one stay: it is restored again."""
    from argparse import Namespace

    from helpers.commands import publication as command

    folder, root = published
    *_, scores, thresholds = stages = study()
    monkeypatch.setenv("HELPERS_RUNS", str(root))
    monkeypatch.setattr(command, "all_stages", lambda profile: stages)
    command.restore_stages(Namespace(folder=folder, profile="pocket"))
    copy = scores.folder(root) / "scores.csv"
    copy.write_text("scorez")
    command.restore_stages(Namespace(folder=folder, profile="pocket"))
    assert copy.read_text() == "scores" and capsys.readouterr().out.endswith("3 stages: 1 restored, 2 there already\n")
    (folder / "scores.csv").write_text("scorez")
    with pytest.raises(command.UserError, match="scores.csv: expected sha256"):
        command.restore_stages(Namespace(folder=folder, profile="pocket"))
    with use_publication(folder):
        assert (load_or_run(scores, root).path / "scores.csv").read_text() == "scores", (
            "what is loaded is whole all the same"
        )


def test_restoring_passes_over_what_was_computed_here(published, tmp_path, monkeypatch, capsys):
    """A stage that differs from the publication stops the command, unless this code has computed it already."""
    from argparse import Namespace

    from helpers.commands import publication as command

    folder, root = published[0], tmp_path / "runs"
    changed = Stage("training", {"updates": 9}, writing(loss="0.1"), published=("loss.csv",), label="n100_d0")
    monkeypatch.setenv("HELPERS_RUNS", str(root))
    monkeypatch.setattr(command, "all_stages", lambda profile: [changed])
    with pytest.raises(command.UserError, match="training n100_d0"):
        command.restore_stages(Namespace(folder=folder, profile="pocket"))
    load_or_run(changed, root)
    command.restore_stages(Namespace(folder=folder, profile="pocket"))
    assert capsys.readouterr().out == "1 stages: 0 restored, 1 there already\n"


def test_published_tables_are_written_anew_where_that_makes_them_smaller(tmp_path):
    table = pd.DataFrame(
        {"name": [f"clip_{i // 40:05d}" for i in range(4000)], "score": np.linspace(0, 1, 4000, dtype=np.float32)}
    )
    stage = Stage(
        "scores", {}, lambda folder, upstream: table.to_parquet(folder / "scores.parquet"), published=("*.parquet",)
    )
    load_or_run(stage, tmp_path / "runs")
    (path,) = publish([stage], tmp_path / "published", tmp_path / "runs")
    before = path.stat().st_size
    assert repack_published.repack(tmp_path / "published") == before - path.stat().st_size > 0
    assert difference(stage, tmp_path / "published") == "" and repack_published.repack(tmp_path / "published") == 0
    assert restore(stage, tmp_path / "published", tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(pd.read_parquet(stage.folder(tmp_path / "elsewhere") / "scores.parquet"), table)
