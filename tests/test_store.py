"""The stage store: nothing half-written is ever taken for finished, nothing finished is computed twice."""

import errno
import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from helpers.base import hashing, machine
from helpers.base.room import scratch_in
from helpers.study import manifest, store
from helpers.study.stage import Stage
from helpers.study.store import load_or_run


def writing(text="done", calls=None):
    def compute(folder, upstream):
        if calls is not None:
            calls.append(dict(upstream))
        (folder / "deep").mkdir()
        (folder / "deep" / "out.txt").write_text(text)

    return compute


def test_computes_once_and_then_loads(tmp_path):
    calls = []
    stage = Stage("toy", {"a": 1}, writing("x", calls), seed=7)
    first, second = load_or_run(stage, tmp_path), load_or_run(stage, tmp_path)
    assert first.computed and not second.computed and len(calls) == 1
    assert first.path == tmp_path / "toy" / stage.digest[:16] and (first.path / "deep" / "out.txt").read_text() == "x"
    assert first.manifest == second.manifest
    manifest = first.manifest
    assert manifest["config"] == {"a": 1} and manifest["seed"] == 7 and manifest["digest"] == stage.digest
    assert set(manifest["files"]) == {"deep/out.txt"} and manifest["files"]["deep/out.txt"]["size"] == 1
    assert manifest["files"]["deep/out.txt"]["sha256"] == hashing.hash_file(first.path / "deep" / "out.txt")
    assert manifest["peak_memory_mib"] > 5 and manifest["wall_s"] >= 0 and manifest["machine"]["cores"] >= 1
    assert manifest["versions"]["python"] and "numpy" in manifest["versions"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository of one commit, with code under src/, as the place where the package lies; git in it."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        command = ["git", "-C", tmp_path, *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("x = 1")
    (tmp_path / ".gitignore").write_text("ignored.py")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    return tmp_path, git


def test_commit_is_dirty_where_code_differs_from_it(checkout):
    folder, git = checkout
    commit = machine.commit.__wrapped__  # not the one that is kept for this process
    head = git("rev-parse", "HEAD")
    (folder / "notes.txt").write_text("of mine")
    (folder / "src" / "ignored.py").write_text("")
    assert commit() == head and not machine.is_dirty(head), "neither decides a result"
    (folder / "src" / "new.py").write_text("x = 2")
    assert commit() == f"{head}-dirty", "code that git does not know"
    (folder / "src" / "new.py").unlink()
    (folder / "src" / "code.py").write_text("x = 2")
    assert commit() == f"{head}-dirty" and machine.is_dirty(commit())
    git("commit", "--quiet", "-am", "two")
    assert commit() == git("rev-parse", "HEAD") != head


def test_commit_of_an_installed_package_is_unknown(checkout, monkeypatch):
    """It may lie within somebody else's repository."""
    monkeypatch.setattr(machine, "ROOT", checkout[0] / "src")
    assert machine.commit.__wrapped__() is None and machine.is_dirty(None)


def test_manifest_holds_the_commit_of_the_imported_code(tmp_path, checkout):
    """At a run's end the tree can be another than the one that ran."""
    before = machine.commit()

    def edit(folder, upstream):
        (checkout[0] / "src" / "code.py").write_text("x = 3")
        (folder / "out.txt").write_text("done")

    assert load_or_run(Stage("toy", {}, edit), tmp_path / "runs").manifest["commit"] == before
    assert machine.commit.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("release", "mac", "name"),
    [
        ({"PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}, "", "Debian GNU/Linux 12 (bookworm)"),
        (None, "14.5", "macOS 14.5"),
        (None, "", "Windows 11"),
    ],
)
def test_manifest_names_the_distribution(monkeypatch, release, mac, name):
    def os_release():
        if release is None:
            raise OSError("no /etc/os-release")
        return release

    monkeypatch.setattr(platform, "freedesktop_os_release", os_release)
    monkeypatch.setattr(platform, "mac_ver", lambda: (mac, ("", "", ""), ""))
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(platform, "release", lambda: "11")
    assert machine.describe_machine()["machine"]["os"] == name


def test_manifest_holds_no_path_of_this_machine(tmp_path):
    result = load_or_run(Stage("toy", {}, writing()), tmp_path)
    text = (result.path / manifest.MANIFEST).read_text()
    assert str(tmp_path) not in text and str(Path.home()) + os.sep not in text


def test_digest_covers_everything_that_decides_the_output(tmp_path):
    data = tmp_path / "input.bin"
    data.write_bytes(b"one")
    upstream = Stage("before", {"n": 1}, writing())
    base = {
        "name": "toy",
        "config": {"beta": 1.0, "ks": [1, 2]},
        "upstream": {"x": upstream},
        "files": (data,),
        "seed": 1,
    }

    def digest(**changes):
        return Stage(**{**base, "compute": writing(), **changes}).digest

    others = [
        digest(name="other"),
        digest(version=2),
        digest(seed=2),
        digest(config={"beta": 1.5, "ks": [1, 2]}),
        digest(config={"beta": 1.0, "ks": [2, 1]}),
        digest(upstream={"x": Stage("before", {"n": 2}, writing())}),
        digest(upstream={"y": upstream}),
        digest(files=()),
    ]
    assert len({digest(), *others}) == len(others) + 1
    assert digest(config={"ks": (1, 2), "beta": 1}) == digest(), (
        "order of keys, tuple or list, 1 or 1.0: the same settings"
    )
    before = digest()
    data.write_bytes(b"another")
    assert digest() != before
    data.unlink()
    with pytest.raises(FileNotFoundError, match=r"input\.bin: expected a file, found nothing"):
        digest()


def test_upstream_runs_only_where_it_is_needed(tmp_path):
    before_calls, calls = [], []
    before = Stage("before", {}, writing("b", before_calls))
    stage = Stage("after", {}, writing("a", calls), upstream={"source": before})
    result = load_or_run(stage, tmp_path)
    assert calls == [{"source": before.folder(tmp_path)}] and len(before_calls) == 1
    store.shutil.rmtree(before.folder(tmp_path))
    assert load_or_run(stage, tmp_path).path == result.path and len(before_calls) == 1


def flip(path: Path, keep_time: bool = False):
    """Changes one byte of a file, which keeps its size and, if so wished, its time."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda folder: (folder / "deep" / "out.txt").unlink(),
            r"deep/out.txt: expected sha256 \w{12}, the file is missing",
        ),
        (
            lambda folder: (folder / "deep" / "out.txt").write_text("do"),
            r"deep/out.txt: expected sha256 \w{12}, got \w{12}",
        ),
        (lambda folder: flip(folder / "deep" / "out.txt"), r"deep/out.txt: expected sha256 \w{12}, got \w{12}"),
        (lambda folder: (folder / manifest.MANIFEST).unlink(), r"\w{16}: unfinished"),
        (
            lambda folder: (folder / manifest.MANIFEST).write_text('{"digest": '),
            r"manifest.json: cannot be read \(\w+\)",
        ),
        (lambda folder: (folder / manifest.MANIFEST).write_bytes(b"\xff"), r"manifest.json: cannot be read \(\w+\)"),
        (lambda folder: (folder / manifest.MANIFEST).write_text("[]"), r"manifest.json: cannot be read \(\w+\)"),
        (
            lambda folder: (folder / manifest.MANIFEST).write_text(json.dumps({"digest": "0" * 64, "files": {}})),
            "manifest.json: of another digest",
        ),
    ],
    ids=[
        "file missing",
        "file cut short",
        "a byte",
        "no manifest",
        "manifest cut short",
        "no text",
        "a list",
        "another digest",
    ],
)
def test_damaged_folder_is_computed_again(tmp_path, capfd, damage, said):
    stage = Stage("toy", {}, writing())
    damage(load_or_run(stage, tmp_path).path)
    capfd.readouterr()
    result = load_or_run(stage, tmp_path)
    assert result.computed and (result.path / "deep" / "out.txt").read_text() == "done"
    first = capfd.readouterr().err.splitlines()[0]
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/toy/(\w+/)?{said}: not used", first), first
    assert not load_or_run(stage, tmp_path).computed


@pytest.mark.parametrize("keep_time", [False, True])
def test_what_a_stage_is_made_from_is_hashed_whole_before(tmp_path, keep_time):
    """Its size and time may be as they were: of a failing disk, or of a copy from one."""
    calls = []
    before = Stage("before", {}, writing("b", calls))
    stage = Stage(
        "after",
        {},
        lambda folder, up: (folder / "a").write_text((up["x"] / "deep" / "out.txt").read_text()),
        {"x": before},
    )
    path = load_or_run(before, tmp_path).path / "deep" / "out.txt"
    hashing.hash_file(path)
    store.time.sleep(0.02)  # a coarse clock gives the file the time of its manifest, else
    os.utime(path.parents[1] / manifest.MANIFEST)
    flip(path, keep_time)
    hashing._hash_contents.cache_clear()  # as in another process
    assert load_or_run(before, tmp_path).computed is not keep_time, "to look at it, size and time are enough"
    assert (load_or_run(stage, tmp_path).path / "a").read_text() == "b" and len(calls) == 2


def test_an_unchanged_result_is_not_read_to_be_loaded(tmp_path, monkeypatch):
    stage = Stage("toy", {}, writing())
    folder = load_or_run(stage, tmp_path).path
    later = (folder / manifest.MANIFEST).stat().st_mtime_ns + 10**8
    os.utime(folder / manifest.MANIFEST, ns=(later, later))
    monkeypatch.setattr(hashing, "hash_file", lambda path: pytest.fail(f"{path} was read"))
    assert not load_or_run(stage, tmp_path).computed


def test_a_result_that_may_not_be_read_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    stage = Stage("toy", {}, writing())
    folder = load_or_run(stage, tmp_path).path

    def failing(path):
        raise OSError(5, "Input/output error")

    flip(folder / "deep" / "out.txt")
    monkeypatch.setattr(hashing, "hash_file", failing)
    with pytest.raises(OSError, match="Input/output"):
        load_or_run(stage, tmp_path)
    assert (folder / "deep" / "out.txt").exists()


def test_a_damaged_result_that_may_not_be_computed_is_named(tmp_path):
    stage = Stage("first", {}, writing())
    flip(load_or_run(stage, tmp_path).path / "deep" / "out.txt")
    with (
        store.use_policy(restoring()),
        pytest.raises(store.NotPublished, match=r"out\.txt: expected sha256 .*; first is not there$"),
    ):
        load_or_run(stage, tmp_path)


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_restored_file_is_always_hashed_and_restored_again(tmp_path, keep_time):
    first, *_ = chain([])
    with store.use_policy(restoring("first")):
        path = load_or_run(first, tmp_path).path / "kept.txt"
        flip(path, keep_time)
        hashing._hash_contents.cache_clear()
        assert (load_or_run(first, tmp_path).path / "kept.txt").read_text() == "restored"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "interrupt"]
)
def test_failure_leaves_nothing_behind(tmp_path, error):
    def fail(folder, upstream):
        (folder / "out.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        load_or_run(Stage("toy", {}, fail), tmp_path)
    assert [path.suffix for path in (tmp_path / "toy").iterdir()] in ([".lock"], [])
    assert load_or_run(Stage("toy", {}, writing()), tmp_path).computed


def test_stage_without_files_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="toy: expected compute to write at least one file, got none"):
        load_or_run(Stage("toy", {}, lambda folder, upstream: None), tmp_path)


def test_resumable_stage_goes_on_from_what_is_there(tmp_path):
    def count(folder, upstream):
        state = folder / "state.txt"
        done = int(state.read_text()) if state.exists() else 0
        state.write_text(str(done + 1))
        if done < 2:
            raise InterruptedError
        return 100.0  # seconds, those of the interrupted runs too

    stage = Stage("toy", {}, count, resumable=True)
    for _ in range(2):
        with pytest.raises(InterruptedError):
            load_or_run(stage, tmp_path)
        assert manifest.read_manifest(stage, tmp_path) is None
    result = load_or_run(stage, tmp_path)
    assert (result.path / "state.txt").read_text() == "3" and result.manifest["wall_s"] == 100.0


# A stage in a process of its own: `at` says where it stops and waits to be killed.
SCRIPT = """
import os, sys, time
from pathlib import Path
from helpers.study import manifest, store

root, at, resumable = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "resumable"

def stop(where):
    if at == where:
        (root / "reached").touch()
        time.sleep(120)

def compute(folder, upstream):
    steps = folder / "steps.txt"
    if at == "forked" and os.fork() == 0:  # a worker that outlives the killed process
        time.sleep(15)
        os._exit(0)
    if at == "forked":
        (root / "reached").touch()
        time.sleep(120)
    with steps.open("a") as stream:
        stream.write("half ")
    stop("compute")
    with steps.open("a") as stream:
        stream.write("whole")

real_sync, real_rename = manifest.sync, os.rename
def slow_sync(path):
    if path.name.endswith(".draft"):
        stop("draft")
    return real_sync(path)
def slow_rename(*names):
    stop("rename")
    real_rename(*names)
manifest.sync, store.os.rename = slow_sync, slow_rename
result = store.load_or_run(store.Stage("toy", {}, compute, resumable=resumable), root)
print(result.computed, (result.path / "steps.txt").read_text())
"""


def start(root, at, kind):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(root), at, kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)
    path.unlink()


@pytest.mark.parametrize("kind", ["plain", "resumable"])
@pytest.mark.parametrize("at", ["compute", "draft", "rename"])
def test_killed_at_any_moment_the_next_run_completes(tmp_path, at, kind):
    victim = start(tmp_path, at, kind)
    wait_for(tmp_path / "reached", victim)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not [p for p in (tmp_path / "toy").iterdir() if not p.suffix], "no folder bears its final name"
    out, err = start(tmp_path, "nowhere", kind).communicate(timeout=20)
    again = "half half whole" if (at, kind) == ("compute", "resumable") else "half whole"
    if (at, kind) == ("draft", "resumable"):
        again = "half wholehalf whole"
    assert out.split(maxsplit=1) == ["True", again + "\n"], err
    (folder,) = [path for path in (tmp_path / "toy").iterdir() if not path.suffix]
    named = json.loads((folder / manifest.MANIFEST).read_text())["files"]
    assert set(named) == {path.name for path in folder.iterdir()} - {manifest.MANIFEST} == {"steps.txt"}


def test_lock_ends_with_its_process_even_where_a_worker_lives_on(tmp_path):
    victim = start(tmp_path, "forked", "plain")
    wait_for(tmp_path / "reached", victim)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    begun = time.monotonic()
    out, err = start(tmp_path, "nowhere", "plain").communicate(timeout=20)
    assert out.startswith("True half whole") and time.monotonic() - begun < 10, err


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("filelock._unix.lock_fd_nonblocking", missing)
    with (
        pytest.raises(OSError, match="expected a file system that locks files"),
        store.locked(tmp_path / "a.lock", "a"),
    ):
        pass


def test_scratch_that_is_still_mapped_goes_with_its_stage(tmp_path, monkeypatch):
    """As on NFS, where a file that is mapped cannot be removed yet."""

    def busy(*_, **__):
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    def compute(out, _):
        with monkeypatch.context() as nfs, scratch_in(out) as scratch:
            (Path(scratch) / "rows.npy").touch()
            nfs.setattr(os, "rmdir", busy)
        assert Path(scratch).is_dir()
        (out / "made.txt").touch()

    result = load_or_run(Stage("toy", {"version": 1}, compute), tmp_path)
    assert sorted(path.name for path in result.path.iterdir()) == ["made.txt", manifest.MANIFEST]
    assert list(result.manifest["files"]) == ["made.txt"]


def test_second_run_waits_and_loads(tmp_path):
    released = 'next((i for i in range(1500) if (root / "release").exists() or time.sleep(0.02)), None)'
    script = SCRIPT.replace("time.sleep(120)", released)
    command = [sys.executable, "-c", script, str(tmp_path), "compute", "plain"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **pipes)
    wait_for(tmp_path / "reached", first)
    second = subprocess.Popen(command, **pipes)
    assert "another run is at it; waiting" in second.stderr.readline()
    (tmp_path / "release").touch()
    (out_1, _), (out_2, _) = first.communicate(timeout=20), second.communicate(timeout=20)
    assert (out_1.split()[0], out_2.split()[0]) == ("True", "False")


def restoring(*names):
    """A policy that restores the stages called `names` with one file, and refuses to compute."""

    def restore(stage, root):
        def fill(folder):
            (folder / "kept.txt").write_text("restored")

        if stage.name in names:
            file = {"size": 8, "sha256": hashlib.sha256(b"restored").hexdigest()}
            manifest = {"digest": stage.digest, "files": {"kept.txt": file}, "restored": True}
            store.place(stage, manifest, fill, root)
        return stage.name in names

    return store.Policy(restore, lambda stage: f"{stage.title} is not there")


def chain(calls):
    """Three stages one after the other; the last is light."""

    def compute(name):
        def write(folder, upstream):
            calls.append(name)
            (folder / "kept.txt").write_text("computed")
            (folder / "large.txt").write_text("not published")

        return write

    first = Stage("first", {}, compute("first"), label="a")
    second = Stage("second", {}, compute("second"), upstream={"first": first})
    return first, second, Stage("third", {}, compute("third"), upstream={"second": second}, light=True)


def test_light_stage_is_computed_from_restored_ones_and_others_are_refused(tmp_path):
    calls = []
    first, second, third = chain(calls)
    with store.use_policy(restoring("second")):
        assert load_or_run(third, tmp_path).computed and calls == ["third"]
        restored = load_or_run(second, tmp_path)
        assert not restored.computed and restored.manifest["restored"]
        with pytest.raises(store.NotPublished, match="^first a is not there$"):
            load_or_run(first, tmp_path)
    assert load_or_run(first, tmp_path).computed, "the policy ends with its block"


def test_use_policy_without_a_block_stays(tmp_path):
    back = store.use_policy(restoring())
    try:
        with pytest.raises(store.NotPublished):
            load_or_run(chain([])[0], tmp_path)
    finally:
        back.close()
    assert load_or_run(chain([])[0], tmp_path).computed


def test_other_stages_have_restored_ones_computed_in_full(tmp_path):
    calls = []
    first, second, third = chain(calls)
    with store.use_policy(restoring("first", "second")):
        load_or_run(first, tmp_path)
        load_or_run(second, tmp_path)
    assert not load_or_run(second, tmp_path).computed, "restored is enough to load"
    load_or_run(third, tmp_path)
    assert calls == ["third"], "and for a light stage"
    assert load_or_run(Stage("fourth", {}, writing(), upstream={"second": second}), tmp_path).computed
    assert calls == ["third", "first", "second"]
    for stage in (first, second):
        assert (stage.folder(tmp_path) / "large.txt").exists() and not load_or_run(stage, tmp_path).manifest.get(
            "restored"
        )
    with store.use_policy(restoring("second")):
        assert (load_or_run(second, tmp_path).path / "kept.txt").read_text() == "computed", "never restored over"


def test_failure_in_full_leaves_the_restored_folder(tmp_path):
    first, _, _ = chain([])
    with store.use_policy(restoring("first")):
        load_or_run(first, tmp_path)

    def fail(folder, upstream):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        load_or_run(Stage("first", {}, fail, label="a"), tmp_path, whole=True)
    assert load_or_run(first, tmp_path).manifest["restored"]


def test_restoring_leaves_an_interrupted_run_to_be_resumed(tmp_path):
    def stop(folder, upstream):
        if not (folder / "state.txt").exists():
            (folder / "state.txt").write_text("half")
            raise InterruptedError

    stage = Stage("first", {}, stop, resumable=True)
    with pytest.raises(InterruptedError):
        load_or_run(stage, tmp_path)
    with store.use_policy(restoring("first")):
        assert load_or_run(stage, tmp_path).manifest["restored"]
    result = load_or_run(stage, tmp_path, whole=True)
    assert result.computed and (result.path / "state.txt").read_text() == "half"


def test_environment_overrules_the_policy(tmp_path, monkeypatch):
    calls = []
    first, second, third = chain(calls)
    with store.use_policy(restoring("first", "second")):
        load_or_run(second, tmp_path)
        monkeypatch.setenv("HELPERS_COMPUTE", "all")
        load_or_run(third, tmp_path)
        assert calls == ["first", "second", "third"]
        monkeypatch.setenv("HELPERS_COMPUTE", "some")
        with pytest.raises(ValueError, match="HELPERS_COMPUTE: expected all, missing or nothing, got 'some'"):
            load_or_run(third, tmp_path)


def test_what_is_published_is_no_part_of_the_digest():
    plain = Stage("toy", {}, writing())
    assert Stage("toy", {}, writing(), published=("*.csv",), label="n1_d0", light=True).digest == plain.digest


def test_input_files_of_one_name_are_both_recorded(tmp_path):
    for name in ("codec", "vocoder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    (tmp_path / "pack.bin").write_text("x")
    files = (tmp_path / "codec" / "config.json", tmp_path / "vocoder" / "config.json", tmp_path / "pack.bin")
    manifest = load_or_run(Stage("toy", {}, writing(), files=files), tmp_path / "runs").manifest
    assert manifest["inputs"] == {
        name: hashing.hash_file(path)
        for name, path in zip(("codec/config.json", "vocoder/config.json", "pack.bin"), files)
    }
