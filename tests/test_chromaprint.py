"""Chromaprint's fingerprints as one more detector of an audit, by its program where that is installed, else by a stand-in."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_audit import RATE, SAMPLES, command_line, few_planted, sound  # noqa: F401 (few_planted is a fixture)
from test_landmarks import sound as struck

from helpers import __main__ as command
from helpers.copies.audit import chromaprint
from helpers.copies.audit.chromaprint import FRAME_S, HEARD, Index, fingerprint, fingerprints
from helpers.copies.audit.kept import Kept

# A number for each 1,024 samples, of the signs of 32: louder or softer they stay. As version 1.5.1 it ends with status 3.
STAND_IN = """#!{python} -ISE
import array, json, sys
if sys.argv[1:] == ["-version"]: sys.exit(print("fpcalc version 1"))
heard = array.array("h", sys.stdin.buffer.read())
blocks = [heard[i : i + 1024] for i in range(0, len(heard), 1024) if len(heard) > {least}]
values = [sum((block[32 * i + 16] > 0) << i for i in range(32)) for block in blocks if len(block) == 1024]
print(json.dumps({{"duration": 0, "fingerprint": values}}) if values else "", end="")
sys.exit("ERROR: " + ("End of file" if values else "Empty fingerprint"))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A program of that name on the path, and none other of it; shorter sounds than {least} samples have no fingerprint."""
    (folder := tmp_path / "bin").mkdir()
    program = folder / chromaprint.PROGRAM
    program.write_text(STAND_IN.format(python=sys.executable, least=12_000))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(chromaprint, "NONE_S", 0.0)
    monkeypatch.setattr(chromaprint, "LEAST_S", 0.8)
    return program


def test_two_fingerprints_are_compared_at_their_best_offset():
    rng = np.random.default_rng(0)
    one, other = rng.integers(2**32, size=(2, 40), dtype=np.uint32)
    index, part = Index([other, one, other[:0]]), one[10:30]
    found = index.match(part, 5)
    assert found.indices.tolist() == [1, 0] and found.scores[0] == 1 and 0.5 < found.scores[1] < 0.7
    assert (found.query_start[0], found.reference_start[0], found.length[0]) == (0, 10, 20 + HEARD)
    longer = Index([part]).match(one, 1)
    assert (longer.scores[0], longer.query_start[0], longer.reference_start[0]) == (1, 10, 0)
    assert index.match(part ^ np.uint32(2**31), 1).scores[0] == 31 / 32
    expected = max(
        np.mean([a == b for x, y in zip(other[max(0, -o) :], part[max(0, o) :]) for a, b in zip(f"{x:032b}", f"{y:032b}")])
        for o in range(10 - 40, 20 - 10 + 1)
    )  # fmt: skip
    assert Index([part]).match(other, 1).scores[0] == pytest.approx(expected)
    assert not len(index.match(one[:0], 5).scores)


def test_what_is_too_short_has_none_and_honest_clips_are_to_have_one(stand_in, tmp_path, monkeypatch):
    kept, heard = Kept(tmp_path / "kept"), (20_000 * sound(0)).astype(np.int16)
    monkeypatch.setattr(chromaprint, "LEAST", 14)
    assert [len(one) for one in fingerprints(["a", "b"], [heard[: 1024 * 13], heard], ["", ""], kept, RATE)] == [0, 16]
    chromaprint.check_lengths([4.0] * 9 + [0.5])
    with pytest.raises(ValueError, match="expected 90% of the honest clips to have 0.8 s or more, .* got 80%"):
        chromaprint.check_lengths([4.0] * 8 + [0.5] * 2)


@pytest.mark.skipif(shutil.which(chromaprint.PROGRAM) is None, reason="fpcalc is not installed")
def test_the_program_makes_fingerprints_by_which_a_later_half_is_found():
    prints = [fingerprint(struck(i), RATE) for i in range(4)]
    found = Index(prints).match(fingerprint(struck(2)[70_000:], RATE), 4)
    assert found.indices[0] == 2 and found.scores[0] > 0.85 > 0.75 > found.scores[1]
    assert found.query_start[0] == 0 and found.reference_start[0] * FRAME_S == pytest.approx(70_000 / RATE, abs=FRAME_S)
    assert found.length[0] * FRAME_S == pytest.approx(90_000 / RATE, abs=0.3)
    for samples in (0, 100, 32_000):
        assert not len(fingerprint(struck(2)[:samples], RATE))
    assert len(fingerprint(struck(2)[: int(chromaprint.LEAST_S * RATE) + 1], RATE))


def test_fingerprints_are_kept_by_content_and_version(stand_in, tmp_path):
    """Those of another version are never compared with, and those of this one still serve when it is back."""
    kept, sounds, keys = (
        Kept(tmp_path / "kept"),
        [(20_000 * sound(i)).astype(np.int16) for i in range(2)],
        ["a" * 64, ""],
    )
    program = stand_in.read_text()
    (first, other) = fingerprints(["a", "b"], sounds, keys, kept, RATE)
    assert len(first) == 16
    broken = program.replace("heard = ", "sys.exit('broken'); heard = ")
    stand_in.write_text(broken)
    assert np.array_equal(fingerprints(["a"], sounds[:1], keys[:1], kept, RATE)[0], first), (
        "it was asked for a version alone"
    )
    stand_in.write_text(program.replace("version 1", "version 2").replace("> 0", "<= 0"))
    second = fingerprints(["a", "b"], sounds, keys, kept, RATE)
    assert (second[0] != first).all() and (second[1] != other).all()
    stand_in.write_text(broken)
    assert np.array_equal(fingerprints(["a"], sounds[:1], keys[:1], kept, RATE)[0], first)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("print('ERROR: no such option', file=sys.stderr)", "expected a fingerprint as JSON, got 'ERROR: no such option'"),
        ("print('DURATION=3', 'FINGERPRINT=AQAA', sep=chr(10))", "expected .* as JSON, got 'DURATION=3 FINGERPRINT=AQAA'"),
        ("print('{}')", "expected .* as JSON, got '{}'"),
        ("print('[1]')", "expected .* as JSON, got '.1.'"),
        ("print('{\"fingerprint\": [1, 1.5]}')", "expected .* as JSON, got "),
        ("print('{\"fingerprint\": [1, -1]}')", "expected .* as JSON, got "),
        ("print('{\"fingerprint\": [1, [2]]}')", "expected .* as JSON, got "),
        ("sys.stdout.buffer.write(bytes(200 + i % 9 for i in range(999)))", "expected .* as JSON, got "),
        ("import time; time.sleep(99)", "expected an answer within 1 s, got none"),
    ],
)  # fmt: skip
def test_what_is_no_fingerprint_is_an_error_with_the_clips_name(stand_in, monkeypatch, answer, told):
    monkeypatch.setattr(chromaprint, "LIMIT_S", 0.1)
    monkeypatch.setattr(chromaprint, "SOME_S", 0.5)
    stand_in.write_text(f"#!{sys.executable} -ISE\nimport sys\nif sys.argv[1] == '-version': print(9)\nelse: {answer}")
    with pytest.raises(ChildProcessError, match=rf"^'a.wav': fpcalc\b.*: {told}") as caught:
        fingerprints(["a.wav"], [np.ones(RATE, np.int16)], [""], Kept(None), RATE)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_a_program_without_a_version_is_refused(stand_in):
    stand_in.write_text(f"#!{sys.executable} -ISE\nimport sys\nprint(9, file=sys.stderr)")
    with pytest.raises(ChildProcessError, match="fpcalc -version: expected its version, got nothing"):
        chromaprint.version()


def test_the_command_tells_it_in_one_line_and_leaves_no_table(stand_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chromaprint, "SOME_S", 0.5)
    stand_in.write_text("#!/bin/sh\necho no JSON")
    for kind, n in (("generated", 1), ("training", 3), ("honest", 40)):
        (tmp_path / kind).mkdir()
        for number in range(n):
            soundfile.write(tmp_path / kind / f"{kind}{number}.wav", sound(len(kind) * 50 + number), RATE)
    given = {kind: tmp_path / kind for kind in ("generated", "training", "honest")}
    monkeypatch.setattr(sys, "argv", command_line(given, tmp_path / "audit.csv", "--chromaprint"))
    assert command.main() == 2 and not (tmp_path / "audit.csv").exists()
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"error: 'training\d.wav': fpcalc: expected a fingerprint as JSON, got 'no JSON'", last)


def test_a_program_that_does_not_even_tell_its_version_stops_the_command_at_once(
    stand_in, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(chromaprint, "LIMIT_S", 0.1)
    stand_in.write_text(f"#!{sys.executable} -ISE\nimport time; time.sleep(99)")
    given = {"generated": tmp_path / "x", "training": tmp_path / "y"}
    monkeypatch.setattr(sys, "argv", command_line(given, tmp_path / "audit.csv", "--chromaprint"))
    assert command.main() == 2
    assert "error: fpcalc -version: expected an answer within 0 s, got none" in capsys.readouterr().err


def test_an_audit_with_it_calibrates_it_and_tells_what_is_too_short(stand_in, tmp_path, monkeypatch, capsys):
    made = {f"copy_{i}.wav": 0.3 * sound(i) for i in range(3)} | {f"new{i}.wav": sound(900 + i) for i in range(2)}
    made["short.wav"] = sound(4)[: SAMPLES // 2]
    folders = {
        "generated": made,
        "training": {f"t{i}.wav": sound(i) for i in range(8)},
        "honest": {f"h{i}.wav": sound(100 + i) for i in range(60)},
    }
    for kind, files in folders.items():
        (tmp_path / kind).mkdir()
        for name, samples in files.items():
            soundfile.write(tmp_path / kind / name, samples, RATE)
    out = tmp_path / "audit.csv"
    given = {kind: tmp_path / kind for kind in folders}
    monkeypatch.setattr(sys, "argv", command_line(given, out, "--chromaprint"))
    assert command.main() == 0
    told = "1 generated clips without a match, as it has no fingerprint of less than 3.8 s"
    assert any(
        line.startswith("chromaprint: flagged 3 of 6 ") and told in line
        for line in capsys.readouterr().out.splitlines()
    )
    table = pd.read_csv(out)
    assert set(table["detector"]) == {"combined", "mel", "landmarks", "chromaprint"}
    by = table[(table["detector"] == "chromaprint") & (table["kind"] == "generated")].set_index("clip")
    assert by.loc[[f"copy_{i}.wav" for i in range(3)], "nearest"].tolist() == ["t0.wav", "t1.wav", "t2.wav"]
    assert (by.loc["copy_0.wav", ["score", "p", "flagged", "query_start_s"]] == [1, 1 / 31, True, 0]).all()
    assert by.loc["short.wav", ["nearest", "query_start_s"]].isna().all() and by.loc["short.wav", "p"] == 1
    matches = pd.read_parquet(tmp_path / "audit.matches.parquet")
    assert (matches["detector"] == "chromaprint").sum() > 5 * 60
    summary = json.loads((tmp_path / "audit.summary.json").read_text())
    (verdict,) = [one for one in summary["verdicts"] if one["detector"] == "chromaprint"]
    assert verdict["unmatched"] == 1 and {"chromaprint"} <= set(summary["power"][0])
    page = (tmp_path / "audit.html").read_text()
    assert "Chromaprint has no fingerprint of less than 0.8 s, so 1 of the generated clips" in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"generated": "x", "training": "x"}, "chromaprint: expected its program fpcalc, found none; apt install libchroma"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_used_is_told_in_one_line(tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", command_line(more, tmp_path / "audit.csv", "--chromaprint"))
    assert command.main() == 2
    assert f"error: {message}" in capsys.readouterr().err.splitlines()[-1]
