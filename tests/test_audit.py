"""An audit of another model's clips: copies are flagged, each beside its training clip, and what is bad is told."""

import json
import os
import re
import shutil
import sys

import av
import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import __main__ as command
from helpers.base.settings import load_profile
from helpers.copies import audit

RATE, SAMPLES, N_HONEST = 16_000, 16_384, 60


def sound(number: int) -> np.ndarray:
    """A few tones that come and go, unlike those of any other number."""
    rng = np.random.default_rng(number)
    t = np.arange(SAMPLES) / RATE
    parts = [
        np.sin(2 * np.pi * f * t) * np.exp(-((t - c) ** 2) / 0.01) for f, c in rng.uniform((80, 0), (7000, 1), (6, 2))
    ]
    return 0.2 * np.sum(parts, axis=0) + 0.001 * rng.standard_normal(SAMPLES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Generated: three training clips at other levels, two of other sounds, one silent file, one that is no audio."""
    root = tmp_path_factory.mktemp("audit")
    made = {f"copy_{i}.wav": 0.3 * sound(i) for i in range(3)} | {f"new/{i}.flac": sound(900 + i) for i in range(2)}
    made["silent.wav"] = np.zeros(SAMPLES)
    clips = {
        "generated": made,
        "training": {f"t{i}.wav": sound(i) for i in range(8)},
        "honest": {f"h{i}.wav": sound(100 + i) for i in range(N_HONEST)},
    }
    for name, files in clips.items():
        for file, samples in files.items():
            (root / name / file).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / name / file, samples, RATE)
    (root / "generated" / "broken.wav").write_bytes(b"not audio")
    return root


@pytest.fixture(scope="module")
def profile():
    changed = load_profile("smoke").replace("corpus", clip_samples=SAMPLES).replace("thresholds", fpr=0.1)
    return changed.replace("retrieval", detectors=("mel", "mel_aligned"))


def of(root) -> dict:
    return {kind: root / kind for kind in audit.KINDS}


def test_copies_are_flagged_beside_the_clip_they_copy(folders, profile, tmp_path, capfd):
    clips = audit.read_folders(of(folders), profile, tmp_path)
    said = capfd.readouterr().err
    assert "generated: left out 'silent.wav': expected sound in its first 1.02 s, got silence" in said
    assert "generated: left out 'broken.wav': cannot be decoded (Format not recognised; FFmpeg: " in said
    assert "generated: 5 files used, 0 of them end in silence" in said
    table, verdicts = audit.judge(clips, audit.load_detectors(profile), profile, tmp_path)
    assert list(table.columns) == audit.COLUMNS and not table.duplicated(["kind", "clip", "detector"]).any()
    assert not list(tmp_path.glob("features*"))
    for detector, tau, flagged, verified, copies in verdicts:
        rows = table[(table["detector"] == detector) & (table["kind"] == "generated")].set_index("clip")
        assert set(rows.index) == {"copy_0.wav", "copy_1.wav", "copy_2.wav", "new/0.flac", "new/1.flac"}
        for i in range(3):
            assert rows.loc[f"copy_{i}.wav", ["nearest", "flagged"]].tolist() == [f"t{i}.wav", True]
        assert not rows.loc["new/0.flac", "flagged"] and (rows["tau"] == tau).all()
        assert (flagged.n, flagged.count) == (5, int(rows["flagged"].sum()))
        assert verified.n == N_HONEST // 4 and (copies.n, copies.count) == (8, 8)
        beta = profile.thresholds.beta
        np.testing.assert_allclose(table["score"], table["similarity"] - beta * table["bias"], atol=1e-6)
    *lines, together = audit.in_words(table, verdicts)
    assert len(lines) == 2 and together.startswith("by any of them: 3 of 5 generated clips, ")


def test_what_copies_would_be_flagged_shows_a_search_without_power(folders, profile, tmp_path):
    """With the whole bias taken off and a background like the training clips, not even exact copies pass."""
    alike = of(folders) | {"honest": tmp_path / "alike"}
    alike["honest"].mkdir()
    for i in range(N_HONEST):
        rng = np.random.default_rng(i)
        soundfile.write(alike["honest"] / f"{i}.wav", sound(i % 8) + 1e-3 * rng.standard_normal(SAMPLES), RATE)
    (scratch := tmp_path / "scratch").mkdir()
    clips = audit.read_folders(alike, profile, scratch)
    _, verdicts = audit.judge(clips, audit.load_detectors(profile), profile.replace("thresholds", beta=2.0), scratch)
    assert verdicts[0].copies.rate < 0.5


def test_repeated_and_padded_clips_are_told(folders, profile, tmp_path, capfd):
    some = of(folders) | {"honest": tmp_path / "honest"}
    shutil.copytree(folders / "honest", some["honest"])
    shutil.copy(some["honest"] / "h3.wav", some["honest"] / "again.wav")
    soundfile.write(some["honest"] / "short.wav", sound(7000)[:9000], RATE)
    name = os.fsencode(some["honest"]) + b"/caf\xe9.wav"  # not UTF-8
    with open(name, "wb") as file:
        soundfile.write(file, sound(7001), RATE, format="WAV")
    (scratch := tmp_path / "scratch").mkdir()
    clips = audit.read_folders(some, profile, scratch)
    said = capfd.readouterr().err
    assert f"honest: {N_HONEST + 3} files used, 1 of them end in silence" in said
    assert "honest: 1 clips repeat others" in said and len(clips["honest"].names) == N_HONEST + 2
    assert clips["honest"].left_out == {"h3.wav": "repeats another honest clip"}  # again.wav comes before it
    table, _ = audit.judge(clips, audit.load_detectors(profile), profile, scratch)
    assert "caf\\xe9.wav" in clips["honest"].names and table.to_csv(index=False).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"honest": "training"}, "training: expected a folder apart from that of honest"),
        ({"honest": "copied"}, "honest: expected no clip of the training folder, got 8, as 't0.wav'"),
        ({"honest": "few"}, "honest: expected at least 40 usable clips for a rate of 0.1 and k = 10 .*, got 2"),
        ({"training": "nowhere"}, "training: expected a folder of audio files, found none"),
        ({"training": "empty"}, "training: expected files with sound, got none; training: 0 files left out"),
        ({"training": "linked"}, "honest: expected files apart from those of training, got 'h0.wav', which is in both"),
        ({"output": "nowhere/audit.csv"}, "--output: expected a file in a folder that exists"),
        ({"output": "empty"}, "--output: expected a file in a folder that exists"),
        ({"detectors": "[mel,mel]"}, "detectors: expected each value once"),
        ({"detectors": "[clap]"}, "detector clap takes no such clips .*expected 65536 samples a clip, got 16384"),
        ({"fpr": "0.001"}, "honest: expected at least 2000 usable clips for a rate of 0.001"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_leaves_nothing(folders, tmp_path, monkeypatch, capsys, change, message):
    for name in ("empty", "linked"):
        (folders / name).mkdir(exist_ok=True)
    if not (folders / "linked" / "more").exists():
        (folders / "linked" / "more").symlink_to(folders / "honest")
    shutil.copytree(folders / "training", folders / "copied", dirs_exist_ok=True)
    shutil.copytree(folders / "generated" / "new", folders / "few", dirs_exist_ok=True)
    given = {kind: kind for kind in audit.KINDS} | {"detectors": "[mel]", "fpr": "0.1"} | change
    arguments = [part for kind in audit.KINDS for part in (f"--{kind}", str(folders / given[kind]))]
    output = folders / given["output"] if "output" in given else tmp_path / "audit.csv"
    settings = ["--set", f"clip_samples={SAMPLES}", *(f"{name}={given[name]}" for name in ("detectors", "fpr"))]
    command_line = ["helpers", "audit", "--profile", "smoke", *arguments, "--output", str(output), *settings]
    monkeypatch.setattr(sys, "argv", command_line)
    assert command.main() == 2 and {path.name for path in tmp_path.iterdir()} <= {"audit.left_out.json"}
    *_, last = capsys.readouterr().err.splitlines()
    assert re.match(f"error: .*({message})", last)


def test_the_command_writes_the_table(folders, tmp_path, monkeypatch, capsys):
    arguments = [part for kind, path in of(folders).items() for part in (f"--{kind}", str(path))]
    settings = ["--set", f"clip_samples={SAMPLES}", "detectors=[mel]", "fpr=0.1", "beta=0"]
    out = tmp_path / "audit.csv"
    command_line = ["helpers", "audit", "--profile", "smoke", "--output", str(out), *arguments, *settings]
    monkeypatch.setattr(sys, "argv", command_line)
    assert command.main() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.csv", "audit.left_out.json"]
    assert [len(files) for files in json.loads((tmp_path / "audit.left_out.json").read_text()).values()] == [2, 0, 0]
    table = pd.read_csv(out)
    np.testing.assert_allclose(table["score"], table["similarity"], atol=1e-6)
    said = capsys.readouterr().out
    assert said.startswith("mel: flagged 3 of 5 ")
    assert "generated: 2 files left out, the first 'broken.wav': cannot be decoded" in said


def test_one_call_takes_folders_and_gives_table_and_words(folders, profile):
    result = audit.audit(*map(str, of(folders).values()), profile, beta=0.0)
    rows = result.table[result.table["flagged"] & (result.table["kind"] == "generated")]
    assert set(rows["clip"]) == {"copy_0.wav", "copy_1.wav", "copy_2.wav"}
    np.testing.assert_allclose(result.table["score"], result.table["similarity"], atol=1e-6)
    assert str(result).splitlines()[:-3] == audit.in_words(result.table, result.verdicts)
    assert str(result).endswith("\ntraining: 0 files left out\nhonest: 0 files left out")


@pytest.mark.parametrize("name", ["t.aiff", "t.caf", "t.w64", "t.au", "t.oga", "t.m4a", "more/t.wav"])
def test_a_copy_of_a_training_file_is_found_whatever_its_format(folders, profile, tmp_path, name):
    """Where such a file were passed over, a clip identical to it would pass as new."""
    some = of(folders) | {kind: tmp_path / kind for kind in ("training", "generated")}
    for kind in ("training", "generated"):
        shutil.copytree(folders / "training", some[kind])
    for file in some["generated"].iterdir():
        file.rename(file.with_name(f"other{file.name}"))
    (tmp_path / "elsewhere").mkdir()
    place = tmp_path / "elsewhere" / name.rpartition("/")[2]
    write(place, sound(5000))
    shutil.copy(place, some["generated"] / place.name)
    if name.startswith("more"):
        (some["training"] / "more").symlink_to(tmp_path / "elsewhere")
    else:
        shutil.move(place, some["training"])
    result = audit.audit(*some.values(), profile.replace("retrieval", detectors=("mel",)))
    (row,) = result.table[result.table["clip"] == place.name].to_dict("records")
    assert (row["nearest"], row["flagged"]) == (name, True) and row["similarity"] > 0.999


def write(path, samples):
    """A file in the format that its suffix names; m4a through FFmpeg."""
    if path.suffix != ".m4a":
        return soundfile.write(path, samples, RATE, format="OGG" if path.suffix == ".oga" else None)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def test_an_interrupted_command_says_only_that_there_is_no_table(folders, tmp_path, monkeypatch, capsys):
    """What was left out of the folders is written before the search begins, and stays."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "judge", interrupted)
    given = [part for kind, path in of(folders).items() for part in (f"--{kind}", str(path))]
    settings = ["--set", f"clip_samples={SAMPLES}", "detectors=[mel]", "fpr=0.1"]
    line = ["helpers", "audit", "--profile", "smoke", "--output", str(tmp_path / "audit.csv"), *given, *settings]
    monkeypatch.setattr(sys, "argv", line)
    assert command.main() == 130 and [path.name for path in tmp_path.iterdir()] == ["audit.left_out.json"]
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; no table was written"


def test_what_was_left_out_outlives_a_failure(folders, profile, tmp_path):
    report = tmp_path / "audit.left_out.json"
    with pytest.raises(ValueError, match="honest: expected at least"):
        audit.audit(*of(folders).values(), profile, report, fpr=0.001)
    assert set(json.loads(report.read_text())["generated"]) == {"broken.wav", "silent.wav"}


def test_bad_input_is_told_apart_from_a_comparison_that_failed(folders, profile, monkeypatch):
    with pytest.raises(ValueError, match="fpr: expected"):
        audit.audit(*of(folders).values(), profile, fpr=2.0)
    monkeypatch.setattr(audit, "judge", lambda *_: audit.flag(np.zeros(1), None))
    with pytest.raises(RuntimeError, match="audit: the comparison failed: tau: expected a number"):
        audit.audit(*of(folders).values(), profile)


@pytest.mark.parametrize("installed", [True, False])
def test_a_profile_by_name_does_without_the_optional_detector(installed, monkeypatch):
    monkeypatch.setattr(audit.aisfx, "installed", lambda: installed)
    pocket = load_profile("pocket")
    assert ("aisfx" in audit.leave_out_missing(pocket).retrieval.detectors) is installed
    missing = FileNotFoundError if installed else ModuleNotFoundError  # the folders, or the package before them
    monkeypatch.setattr(audit, "load_detectors", lambda _: None)
    with pytest.raises(missing):
        audit.audit("nowhere", "nowhere", "nowhere", pocket)
