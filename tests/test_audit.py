"""An audit of another model's clips: copies are flagged, each beside its training clip, and what is bad is told."""

import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import __main__ as command
from helpers import audit
from helpers.config import load_profile

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


def of(folders):
    return (folders / name for name in ("generated", "training", "honest"))


def test_copies_are_flagged_beside_the_clip_they_copy(folders, profile, capfd):
    table, verdicts = audit.audit(*of(folders), profile)
    left_out = capfd.readouterr().err
    assert "left out: silent.wav" in left_out and "left out: broken.wav: cannot be decoded" in left_out
    assert list(table.columns) == audit.COLUMNS and not table.duplicated(["kind", "clip", "detector"]).any()
    for detector, tau, flagged, verified in verdicts:
        rows = table[(table["detector"] == detector) & (table["kind"] == "generated")].set_index("clip")
        assert set(rows.index) == {"copy_0.wav", "copy_1.wav", "copy_2.wav", "new/0.flac", "new/1.flac"}
        for i in range(3):
            assert rows.loc[f"copy_{i}.wav", ["nearest", "flagged"]].tolist() == [f"t{i}.wav", True]
        assert not rows.loc["new/0.flac", "flagged"] and (rows["tau"] == tau).all()
        assert (flagged.n, flagged.count) == (5, int(rows["flagged"].sum())) and verified.n == N_HONEST // 4
        beta = profile.thresholds.beta
        np.testing.assert_allclose(table["score"], table["similarity"] - beta * table["bias"], atol=1e-6)
    assert len(audit.in_words(verdicts, 0.1)) == 2


def test_a_rate_that_cannot_be_had_flags_nothing(folders, profile):
    table, verdicts = audit.audit(*of(folders), profile.replace("thresholds", fpr=0.001))
    assert table["flagged"].isna().all() and {verdict.tau for verdict in verdicts} == {None}
    assert audit.in_words(verdicts, 0.001)[0] == (
        "mel: with these honest clips no threshold has a rate of 0.001; nothing is flagged"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"honest": "training"}, "honest: expected clips that are not in the training folder, got 8, as t0.wav"),
        ({"honest": "generated/new"}, "honest: expected at least 40 usable clips, .* k = 10, got 2"),
        ({"training": "nowhere"}, "nowhere: expected a folder of audio files, found none"),
        ({"training": "empty"}, "empty: expected audio .* got 0 files, none usable"),
        ({"output": "nowhere/audit.csv"}, "--output: expected a folder that exists"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(folders, tmp_path, monkeypatch, capsys, change, message):
    (folders / "empty").mkdir(exist_ok=True)
    given = {"generated": "generated", "training": "training", "honest": "honest"} | change
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(folders / value))]
    if "output" not in change:
        arguments += ["--output", str(tmp_path / "audit.csv")]
    settings = ["--set", f"clip_samples={SAMPLES}", "detectors=[mel]"]
    monkeypatch.setattr(sys, "argv", ["helpers", "audit", "--profile", "smoke", *arguments, *settings])
    assert command.main() == 2 and not list(tmp_path.iterdir())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and pd.Series(said).str.contains(f"error: .*{message}").all()


def test_the_command_writes_the_table(folders, tmp_path, monkeypatch, capsys):
    arguments = [part for path in of(folders) for part in (f"--{path.name}", str(path))]
    settings = ["--set", f"clip_samples={SAMPLES}", "detectors=[mel]", "fpr=0.1", "beta=0"]
    out = tmp_path / "audit.csv"
    monkeypatch.setattr(
        sys, "argv", ["helpers", "audit", "--profile", "smoke", "--output", str(out), *arguments, *settings]
    )
    assert command.main() == 0 and [path.name for path in tmp_path.iterdir()] == ["audit.csv"]
    table = pd.read_csv(out)
    np.testing.assert_allclose(table["score"], table["similarity"], atol=1e-6)
    assert capsys.readouterr().out.startswith("mel: flagged 3 of 5 ")
