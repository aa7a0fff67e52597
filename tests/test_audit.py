"""An audit of another model's clips: copies are flagged, each beside its training clip, and what is bad is told."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import av
import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import __main__ as command
from helpers.base import spreadsheet
from helpers.base.mapped import Selection
from helpers.book import audit_page
from helpers.commands.audit import _audited_profile
from helpers.copies import detectors as detectors_module, search
from helpers.copies.audit import (
    audit,
    files as audit_files,
    options,
    planting,
    queries as audit_queries,
    verdict as audit_verdict,
    weights,
    within as audit_within,
)
from helpers.copies.detectors import Detectors, OfMels
from helpers.sound.audio_folder import readable
from helpers.sound.mel import level, log_mel
from helpers.sound.profiles import load_profile

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


def plant_few(patch: pytest.MonkeyPatch, copies: int, *kinds: str) -> None:
    """Some kinds of copies, few of each: what all of them cost, no test needs."""
    patch.setattr(audit_queries, "PLANTED", copies)
    for module in (audit_verdict, audit_queries):
        patch.setattr(module, "ALTERATIONS", {name: planting.ALTERATIONS[name] for name in kinds})


KINDS_PLANTED = ("exact", "shift 0.2 s", "2 s excerpt", "noise 20 dB")


@pytest.fixture(autouse=True)
def few_planted(monkeypatch):
    plant_few(monkeypatch, 4, *KINDS_PLANTED)


def of(root) -> dict:
    return {kind: root / kind for kind in audit.KINDS}


@pytest.fixture(scope="module")
def result(folders, profile):
    with pytest.MonkeyPatch.context() as patch:
        plant_few(patch, 4, *KINDS_PLANTED)
        return audit.audit(*map(str, of(folders).values()), profile)


def test_copies_are_flagged_beside_the_clip_they_copy(result):
    table = result.table
    assert list(table.columns) == audit_verdict.COLUMNS and not table.duplicated(["kind", "clip", "detector"]).any()
    assert [one.detector for one in result.verdicts] == ["combined", "mel", "mel_aligned", "landmarks"]
    for verdict in result.verdicts:
        rows = table[(table["detector"] == verdict.detector) & (table["kind"] == "generated")].set_index("clip")
        assert set(rows.index) == {"copy_0.wav", "copy_1.wav", "copy_2.wav", "new/0.flac", "new/1.flac"}
        for i in range(3):
            assert rows.loc[f"copy_{i}.wav", ["nearest", "flagged"]].tolist() == [f"t{i}.wav", True]
        assert (rows["tau"] == verdict.tau).all()
        assert (verdict.flagged.n, verdict.flagged.count) == (5, int(rows["flagged"].sum()))
        assert verdict.verified.n == N_HONEST // 4 and (verdict.copies.n, verdict.copies.count) == (4, 4)
    together = table[(table["detector"] == "combined") & (table["kind"] == "generated")].set_index("clip")
    assert not together.loc[["new/0.flac", "new/1.flac"], "flagged"].any()
    assert ((together["p"] <= 0.1) == together["flagged"]).all() and (together["q"] >= together["p"]).all()
    assert together["p"].min() == 1 / (N_HONEST // 2 + 1)
    np.testing.assert_allclose(
        together.loc["copy_0.wav", ["query_start_s", "reference_start_s"]].astype(float), 0, atol=0.1
    )
    lines = str(result).splitlines()
    assert lines[0].startswith("all detectors together: flagged 3 of 5 ")
    assert "at a rate of 0.01: needs at least 198 honest clips" in lines
    assert lines[-1] == "honest: 0 files left out"


@pytest.mark.parametrize("name", ["mel", "mel_centred", "mel_aligned"])
def test_features_computed_some_rows_at_a_time_are_those_of_all(name, monkeypatch):
    profile = load_profile("smoke")
    detectors = Detectors(
        profile.retrieval, profile.mel, RATE, np.linspace(-2, 2, profile.mel.n_mels, dtype=np.float32), True
    )
    mels = np.random.default_rng(0).normal(-5, 3, (7, 8, profile.mel.n_mels)).astype(np.float16)
    monkeypatch.setattr(detectors_module, "CHUNK", 3)
    heard, whole = OfMels(detectors, name, mels), detectors.of_mels(name, mels.astype(np.float32))
    assert heard.shape == whole.shape
    for rows in (slice(None), slice(1, 6), np.array([5, 0, 0, 2])):
        np.testing.assert_array_equal(heard[rows], whole[rows])
    some = Selection(heard, [6, 2, 3, 4, 5])  # as a search asks for them
    np.testing.assert_array_equal(some[1:5], whole[[2, 3, 4, 5]])


def test_silence_in_common_is_no_evidence_in_an_audit_and_the_study_keeps_its_features():
    """Two unrelated sounds, silent but for their first quarter: all that makes them alike is silence."""
    smoke, heard = load_profile("smoke"), SAMPLES // 4
    clips = np.zeros((2, SAMPLES), np.int16)
    clips[:, :heard] = [20_000 * sound(i + 700)[:heard] for i in range(2)]
    mels = log_mel(level(clips), smoke.mel, RATE)
    whole = np.stack([20_000 * sound(i) for i in range(8)]).astype(np.int16)
    mean = log_mel(level(whole), smoke.mel, RATE).mean(axis=(0, 1))
    config = smoke.replace("retrieval", detectors=("mel", "mel_centred", "mel_aligned")).retrieval
    of_study, of_audit = (Detectors(config, smoke.mel, RATE, mean, *switch) for switch in ((), (True,)))
    for name, expected in (("mel", mels), ("mel_centred", mels - mean), ("mel_aligned", mels - mean)):
        published, features = (one.features(name, clips).reshape(mels.shape) for one in (of_study, of_audit))
        assert np.array_equal(published, expected)
        silent = heard // smoke.mel.hop_length + 4  # frames; a window reaches over its edge
        assert published[:, silent:].any() and not features[:, silent:].any()
        kept = features.any(axis=2)
        assert kept.any(axis=1).all() and np.array_equal(features[kept], expected[kept])
    alike, apart = (one.similarity(name, *np.split(one.features(name, clips), 2))[0] for one in (of_study, of_audit))
    assert alike > 0.9 and apart < 0.6, (alike, apart)


def test_the_score_takes_off_the_weights_that_planted_copies_chose(result):
    for verdict in result.verdicts[1:-1]:
        rows = result.table[result.table["detector"] == verdict.detector]
        np.testing.assert_allclose(rows["score"], rows["similarity"] - verdict.beta * rows["bias"], atol=1e-6)
    assert {one.k for one in result.verdicts[1:-1]} <= {*load_profile("smoke").thresholds.ks, 10}


def test_power_is_told_for_each_kind_of_copy_and_its_remedy_where_it_is_low(result):
    power = result.power.set_index("alteration")
    assert power.index.tolist() == ["exact", "shift 0.2 s", "2 s excerpt", "noise 20 dB"]
    assert (power.loc["exact"] == 1).all() and ((power >= 0) & (power <= 1)).all(axis=None)
    remedies = [
        [
            line
            for line in audit_verdict.in_words(result._replace(power=result.power.assign(combined=shares)))
            if "More honest" in line
        ]
        for shares in ([1, 0.1, 0.9, 1], [1, 1, 0.9, 1], [1, 1, 1, 1])
    ]
    assert [len(lines) for lines in remedies] == [1, 1, 0]
    assert "most of the kind 'shift 0.2 s'. " in remedies[0][0] and "'2 s excerpt'. " in remedies[1][0]


def test_copies_of_a_training_clip_that_is_there_twice_are_found(folders, profile, tmp_path, few_planted):
    twice = tmp_path / "training"
    shutil.copytree(folders / "training", twice)
    for path in sorted(twice.iterdir()):
        shutil.copy(path, path.with_name(f"again_{path.name}"))
    some, found = profile.replace("retrieval", detectors=("mel",)), []
    for training in (folders / "training", twice):
        made = audit.audit(*map(str, (of(folders) | {"training": training}).values()), some)
        found.append(made.power.set_index("alteration").loc["exact", "combined"])
    assert found[1] >= found[0] >= 0.75, found


def test_an_honest_clip_that_alone_sets_a_threshold_is_named(result):
    """30 honest clips give p: at 4 % and 5 % the highest one sets the threshold, at 10 % the third, at 1 % none could."""
    together = result.table[(result.table["detector"] == "combined") & (result.table["part"] == "C2")]
    highest = together.sort_values("score").iloc[-1]
    named = [line for line in audit_verdict.in_words(result) if "sets the threshold" in line]
    assert not named and {0.1, 0.01} <= set(result.rates["fpr"])
    lower = result._replace(rates=result.rates.assign(fpr=result.rates["fpr"].replace({0.1: 0.04, 0.01: 0.05})))
    assert [(one["fpr"], one["clip"], one["nearest"]) for one in audit_verdict.set_by_one(lower)] == [
        (fpr, highest["clip"], highest["nearest"]) for fpr in (0.04, 0.05)
    ]
    assert sum(repr(highest["clip"]) in line for line in audit_verdict.in_words(lower)) == 2


def test_a_rate_that_does_not_hold_for_honest_clips_set_aside_is_told(result):
    """By more than chance: the interval lies above the stated rate. Here 1 of 15, then 7."""
    first = result.rates.iloc[0]
    assert (
        first["detector"] == "combined"
        and first["verified_low"] <= first["fpr"]
        and audit_verdict.caveats(result) == []
    )
    broken = result.rates.assign(verified_count=7, verified_low=0.21)
    (told,) = audit_verdict.caveats(result._replace(rates=broken))
    assert told.startswith(
        "of the honest clips set aside 7 of 15 are flagged, far more than the stated rate of 0.1. So"
    )


def test_matches_name_several_clips_with_their_places(result):
    matches = result.matches
    assert (
        list(matches.columns) == audit_verdict.MATCH_COLUMNS
        and matches.groupby(["kind", "clip", "detector"])["rank"].max().max() == 5
    )
    first = matches[(matches["rank"] == 1) & (matches["clip"] == "copy_1.wav")]
    assert set(first["nearest"]) == {"t1.wav"} and (first["length_s"] > 0.3).all()


def test_places_lie_within_both_files_and_are_told_of_enough_landmarks_only(folders, profile, tmp_path):
    """Also where a file is shorter than a window; one landmark in common says that, not where."""
    some = of(folders) | {"generated": tmp_path / "generated"}
    some["generated"].mkdir()
    seconds = {f"t{i}.wav": SAMPLES / RATE for i in range(200)}
    for i in range(4):
        clip = sound(i)[: SAMPLES * (i + 2) // 6]
        soundfile.write(some["generated"] / f"{i}.wav", clip, RATE)
        seconds[f"{i}.wav"] = len(clip) / RATE
    found = audit.audit(*some.values(), profile)
    made = found.matches[found.matches["kind"] == "generated"]
    for name, of_name in (("query_start_s", "clip"), ("reference_start_s", "nearest")):
        placed = made.dropna(subset=name)
        assert (placed[name] + placed["length_s"] <= placed[of_name].map(seconds) + 0.1).all(), name
    marks = made[made["detector"] == "landmarks"]
    few = marks["score"] < audit_verdict.LEAST_PLACED
    assert few.any() and marks.loc[few, "length_s"].isna().all() and not marks.loc[~few, "length_s"].isna().any()
    assert ((marks["nearest"] == "") == (marks["score"] == 0)).all() and (marks.loc[few, "nearest"] != "").any()


def test_weights_that_would_hide_copies_are_not_chosen(folders, profile, tmp_path):
    """With a background like the training clips the whole bias takes exact copies away: here beta = 0 serves."""
    alike = of(folders) | {kind: tmp_path / kind for kind in ("generated", "honest")}
    for kind, first, n in (("generated", 600, 8), ("honest", 300, N_HONEST)):
        alike[kind].mkdir()
        for i in range(n):
            soundfile.write(alike[kind] / f"{i}.wav", sound(i % 8) + 0.5 * sound(first + i), RATE)
    result = audit.audit(*alike.values(), profile, beta=2.0)
    assert not result.differing
    assert all(one.beta < 2 and one.copies.rate == 1 for one in result.verdicts[1:-1])


@pytest.mark.parametrize(("name", "said"), [("seconds", "length"), ("lead_s", "silence before")])
def test_no_rate_is_stated_where_honest_clips_differ_until_they_are_made_alike(
    folders, profile, tmp_path, capfd, name, said
):
    some = of(folders) | {"generated": tmp_path / "generated"}
    some["generated"].mkdir()
    for i in range(20):
        clip = sound(600 + i)
        clip = clip[: SAMPLES // 2] if name == "seconds" else np.concatenate([np.zeros(6000), clip[:-6000]])
        soundfile.write(some["generated"] / f"{i}.wav", clip, RATE)
    refused = audit.audit(*some.values(), profile)
    assert [one.measure for one in refused.differing] == [name]
    assert (
        refused.table[["p", "q", "tau", "flagged"]].isna().all(axis=None) and refused.rates["flagged_rate"].isna().all()
    )
    first, second = audit_verdict.in_words(refused)
    assert (
        f"no rate is stated: generated and honest clips differ in {said} (median " in first
        and "--match-honest" in second
    )
    matched = audit.audit(*some.values(), profile, match_honest=True)
    assert not matched.differing and matched.verdicts[0].flagged.count <= 6
    assert "honest, made like the generated ones; medians: " in capfd.readouterr().err
    assert "So the stated rate is approximate" in str(matched) and matched.summary()["made_alike"]
    assert audit_verdict.caveats(matched) == matched.summary()["caveats"] and audit_verdict.caveats(refused) == []
    page = audit_page.audit_page(matched, some)
    assert "of clips that copy nothing should be flagged, on average 2 of 20. That is uncertain" in page
    assert "at most are flagged" not in page
    assert "So the stated rate is approximate" in page


def test_a_stretch_of_one_constant_value_is_no_sound_and_stops_no_audit(folders, tmp_path):
    """Two windows of what CLAP takes lie at an offset that the file's mean is not: it is compared by what sounds in it."""
    profile, some = load_profile("smoke"), of(folders) | {"generated": tmp_path / "generated"}
    size = profile.corpus.clip_samples
    some["generated"].mkdir()
    clip = np.concatenate([sound(1), np.full(2 * size, 0.3), sound(901)])
    soundfile.write(some["generated"] / "offset.wav", clip, RATE)
    result = audit.audit(*some.values(), profile.replace("retrieval", detectors=("clap",)), fpr=0.1)
    rows = result.table[result.table["kind"] == "generated"].set_index("detector")
    assert set(rows.index) == {"combined", "clap", "landmarks"} and np.isfinite(rows["score"]).all()
    assert rows.loc["landmarks", "nearest"] == "t1.wav"


def test_without_honest_clips_training_clips_stand_in(folders, profile, tmp_path, capfd):
    many = tmp_path / "training"
    many.mkdir()
    for i in range(180):
        soundfile.write(many / f"t{i}.wav", sound(i), RATE)
    for i in range(20):
        soundfile.write(many / f"again{i}.wav", 0.5 * sound(i), RATE)
    result = audit.audit(folders / "generated", many, None, profile)
    assert (
        "50 training clips stand in" in capfd.readouterr().err
    )  # a quarter, though many that are drawn have a duplicate
    said = "no honest clips were given: 50 training clips stand in for them. What is alike"
    assert said in str(result) and result.summary()["stand_ins"] == 50
    page = audit_page.audit_page(result, {"generated": folders / "generated", "training": many})
    assert f"N{said[1:]}" in page, "in its first lines"
    rows = result.table[(result.table["detector"] == "combined") & result.table["flagged"].astype(bool)]
    copies = rows[(rows["kind"] == "generated") & rows["clip"].str.startswith("copy")]
    assert len(copies) == 3
    honest = result.table[result.table["kind"] == "honest"]
    assert not (honest["nearest"] == honest["clip"]).any()
    laid = result.table[(result.table["part"] == "2 s excerpt") & (result.table["detector"] == "landmarks")]
    stand_ins = {*honest["clip"]}  # a copy that is laid over one is not found in it: that is a training clip too
    assert len(laid) and laid["nearest"].isin(stand_ins).mean() < 0.5
    assert result.measures.loc["training", "clips"] == 200


def test_a_training_clip_that_stands_in_is_searched_in_all_others_as_a_generated_clip_is(
    profile, tmp_path, monkeypatch
):
    """Were it searched in those alone that do not stand in, generated clips had more to be near to, and more of them were
    flagged than is stated. Each of these pairs is alike but for noise; some of both stand in. By faiss, as on most processors, and
    as for CLAP on all: it is asked for fewer than there are."""
    monkeypatch.setattr(search, "codes_pay", lambda: False)
    for kind in ("training", "generated"):
        (tmp_path / kind).mkdir()
    for i in range(96):
        soundfile.write(tmp_path / "training" / f"{i:03d}.wav", 0.5 * sound(i // 2) + 0.3 * sound(500 + i), RATE)
    for i in range(8):  # copies of all kinds of training clips, of those that stand in as background too
        shutil.copy(tmp_path / "training" / f"{12 * i:03d}.wav", tmp_path / "generated")
    given = {"generated": tmp_path / "generated", "training": tmp_path / "training", "honest": None}
    some = profile.replace("retrieval", detectors=("mel",)).replace("thresholds", k=2, ks=(2,), fpr=0.2)
    (scratch := tmp_path / "scratch").mkdir()
    folders = audit.read_folders(given, some, scratch)
    standing = set(folders.clips["honest"].names)
    found = audit.judge(folders, audit.load_detectors(some), some, scratch)
    first = found.matches[(found.matches["rank"] == 1) & (found.matches["kind"] == "honest")]
    for name in ("mel", "landmarks"):
        beside = first[first["detector"] == name]
        assert (beside["clip"] != beside["nearest"]).all() and beside["nearest"].isin(standing).any()
    made = found.table[(found.table["kind"] == "generated") & (found.table["detector"] == "mel")]
    assert (made["clip"] == made["nearest"]).all() and made["flagged"].all()
    assert made["clip"].isin(standing).any()


def test_the_background_leaves_out_the_clip_that_is_compared_and_its_half(profile):
    """Of four background clips, two a half, a query's bias beside one of them is that of the other half."""
    about = pd.DataFrame({"part": ["C1", "C2", "C1", "C1", "C1"], "itself": [0, 1, 2, 3, 4]})
    assert weights.halves(about).tolist() == [1, 0, 2, 1, 2]
    features = np.eye(5, 3, dtype=np.float32)[[0, 0, 1, 2, 1]] + 0.1
    detectors = Detectors(profile.retrieval, profile.mel, RATE, np.zeros(profile.mel.n_mels, np.float32))
    beside = weights.similarities_beside(detectors, "mel", features, about, np.arange(5), 9).reshape(3, 5, 2)
    cosines = (features @ features.T) / np.outer(*[np.linalg.norm(features, axis=1)] * 2)
    for side, background in enumerate(([0, 2, 3, 4], [2, 4], [0, 3])):
        np.testing.assert_allclose(beside[side], -np.sort(-cosines[:, background])[:, :2], atol=1e-5)


def test_copies_are_planted_as_long_as_generated_clips_are(folders, profile, tmp_path):
    """Power that is told of longer ones would be too good. Those of long generated clips stay as long as the training clips."""
    some = of(folders) | {"generated": tmp_path / "generated"}
    some["generated"].mkdir()
    lengths = [SAMPLES // 4, SAMPLES // 2, 3 * SAMPLES]
    for i, samples in enumerate(lengths):
        soundfile.write(some["generated"] / f"{i}.wav", np.resize(sound(700 + i), samples), RATE)
    (scratch := tmp_path / "scratch").mkdir()
    clips = audit.read_folders(some, profile, scratch).clips
    queries = audit_queries.gather(clips, np.zeros(0, np.int64), profile, scratch)
    exact = queries.about[queries.about["part"] == "exact"]
    assert {len(queries.sounds[row]) for row in exact.index} == {SAMPLES // 4, SAMPLES // 2, SAMPLES}
    for row, copied in exact["of"].items():
        original, copy = clips["training"].sounds[copied], queries.sounds[row]
        windows = np.lib.stride_tricks.sliding_window_view(original, len(copy))
        assert (windows[windows[:, 0] == copy[0]] == copy).all(axis=1).any()


def test_repeated_and_padded_clips_are_told(folders, profile, tmp_path, capfd):
    some = of(folders) | {"honest": tmp_path / "honest"}
    shutil.copytree(folders / "honest", some["honest"])
    shutil.copy(some["honest"] / "h3.wav", some["honest"] / "again.wav")
    soundfile.write(some["honest"] / "short.wav", sound(7000)[:9000], RATE)
    soundfile.write(some["honest"] / "encoded.ogg", np.pad(0.4 * sound(3), (0, 500)), RATE)
    soundfile.write(
        some["honest"] / "mixed.ogg", 0.4 * (sound(4) + sound(7002)), RATE
    )  # holds a training clip, is none
    name = os.fsencode(some["honest"]) + b"/caf\xe9.wav"  # not UTF-8
    with open(name, "wb") as file:
        soundfile.write(file, sound(7001), RATE, format="WAV")
    (scratch := tmp_path / "scratch").mkdir()
    folders_read = audit.read_folders(some, profile, scratch)
    clips, said = folders_read.clips, capfd.readouterr().err
    assert f"honest: {N_HONEST + 5} files used; medians: 1.02 s" in said
    assert (
        "honest: 2 left out: 1 in the training folder too, 1 of another one's sound" in said
        and len(clips["honest"].names) == N_HONEST + 3
    )
    assert clips["honest"].left_out == {
        "encoded.ogg": "is a training clip in another encoding: 't3.wav'",
        "h3.wav": "repeats another honest clip",  # again.wav comes before it
    }
    table = audit.judge(folders_read, audit.load_detectors(profile), profile, scratch).table
    assert "caf\\xe9.wav" in clips["honest"].names and table.to_csv(index=False).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"honest": "training"}, "training: expected a folder apart from that of honest"),
        (
            {"honest": "copied"},
            "honest: expected at least 40 usable .*, got 35; honest: 8 files left out, the first 't0.wav': is a training clip",
        ),
        ({"honest": "few"}, "honest: expected at least 40 usable clips for a rate of 0.1 and k = 10 .*, got 2"),
        ({"training": "nowhere"}, "training: expected a folder of audio files, found none"),
        ({"training": "empty"}, "training: expected files with sound, got none; training: 0 files left out"),
        (
            {"training": "linked"},
            "honest: expected files apart from those of training, got 60 in both: 'h0.wav', .* and 55 more",
        ),
        ({"output": "nowhere/audit.csv"}, "--output: expected a file in a folder that exists"),
        ({"output": "empty"}, "--output: expected a file in a folder that exists"),
        ({"detectors": "[mel,mel]"}, "detectors: expected each value once"),
        ({"detectors": "[clap]"}, "detector clap takes no such clips .*expected 65536 samples a clip, got 16384"),
        ({"honest": None}, "honest: expected at least 40 .*; without --honest FOLDER a quarter of .*: here 2"),
        ({"training": None}, "expected --generated FOLDER and --training FOLDER, or --within FOLDER"),
        ({"fpr": "0.001"}, "honest: expected at least 1998 usable clips for a rate of 0.001"),
        ({"output": "audit.html"}, "--output: expected a name for the table, as audit.csv, got .*audit.html"),
        (
            {"output": "taken.csv"},
            "--output: expected files or nothing where its files go, got a folder .*taken.summary.json",
        ),
        ({"more": ["--within", "training"]}, "--within: expected no --generated or --training or --honest beside it"),
        ({"more": ["--shard", "1/2"]}, "--shard: expected --keep FOLDER"),
        ({"more": ["--fail-above", "-1"]}, "--fail-above: expected 0 or more, got -1"),
        (
            {"more": ["--fail-above", "1", "--shard", "1/2", "--keep", "k"]},
            "--fail-above: expected no --shard beside it",
        ),
        ({"more": ["--keep", "training/t1.wav"]}, "--keep: expected a folder, got training/t1.wav"),
        ({"more": ["--shard", "3/2", "--keep", "kept"]}, "--shard: expected K/N, as 2/8, got '3/2'"),
        (
            {"more": ["--keep", "training/kept"]},
            "keep: expected a folder apart from that of training, got training/kept",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_leaves_nothing(folders, tmp_path, monkeypatch, capsys, change, message):
    for name in ("empty", "linked", "taken.summary.json"):
        (folders / name).mkdir(exist_ok=True)
    if not (folders / "linked" / "more").exists():
        (folders / "linked" / "more").symlink_to(folders / "honest")
    shutil.copytree(folders / "training", folders / "copied", dirs_exist_ok=True)
    for i in range(35):
        shutil.copy(folders / "honest" / f"h{i}.wav", folders / "copied")
    shutil.copytree(folders / "generated" / "new", folders / "few", dirs_exist_ok=True)
    given = {kind: kind for kind in audit.KINDS} | {"detectors": "[mel]", "fpr": "0.1"} | change
    arguments = [part for kind in audit.KINDS if given[kind] for part in (f"--{kind}", str(folders / given[kind]))]
    output = folders / given["output"] if "output" in given else tmp_path / "audit.csv"
    settings = ["--set", f"clip_samples={SAMPLES}", *(f"{name}={given[name]}" for name in ("detectors", "fpr"))]
    settings = [] if "--within" in arguments + given.get("more", []) else settings
    command_line = ["helpers", "audit", "--profile", "smoke", *arguments, "--output", str(output), *settings]
    command_line += given.get("more", [])
    monkeypatch.chdir(folders)
    monkeypatch.setattr(sys, "argv", command_line)
    assert command.main() == 2 and {path.name for path in tmp_path.iterdir()} <= {"audit.left_out.json"}
    *_, last = capsys.readouterr().err.splitlines()
    assert re.match(f"error: .*({message})", last)


@pytest.mark.parametrize("more", [["--match-honest"], ["--chromaprint"], ["--keep", "k"], ["--shard", "1/2"]])
def test_inside_one_folder_no_option_is_ignored(more, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["helpers", "audit", "--within", "x", *more])
    assert command.main() == 2
    assert f"error: --within: expected no {more[0]} beside it" in capsys.readouterr().err


def test_a_further_rate_that_is_the_stated_one_is_told_once(result, folders, profile):
    stated = audit.audit(*of(folders).values(), profile, further_fprs=(0.1, 0.2))
    assert [one.detector for one in stated.verdicts] == ["combined", "mel", "mel_aligned", "landmarks"]
    assert stated.rates["fpr"].tolist() == [0.1, 0.2] * 4
    pd.testing.assert_frame_equal(stated.table, result.table)


def command_line(folders, out, *more) -> list[str]:
    arguments = [part for kind, path in folders.items() for part in (f"--{kind}", str(path))]
    settings = ["--set", f"clip_samples={SAMPLES}", "detectors=[mel]", "fpr=0.1"] if "generated" in folders else []
    return ["helpers", "audit", "--profile", "smoke", "--output", str(out), *arguments, *more, *settings]


def test_a_name_with_a_dot_stays_whole_and_files_of_an_older_audit_go(tmp_path):
    assert [path.name for path in audit_files.beside(tmp_path / "model-1.5")][:2] == [
        "model-1.5",
        "model-1.5.matches.parquet",
    ]
    assert audit_files.left_out_beside(tmp_path / "a.csv").name == "a.left_out.json"
    older = tmp_path / "a.summary.json"
    older.touch()
    audit_files.write(audit_within.Duplicates(pd.DataFrame({"file": ["x"]}), {"y": "why"}), tmp_path / "a.csv", "page")
    assert not older.exists() and json.loads((tmp_path / "a.left_out.json").read_text()) == {"y": "why"}


def test_the_command_writes_tables_that_no_spreadsheet_runs_and_fails_above_a_limit(
    folders, tmp_path, monkeypatch, capsys
):
    some, out = of(folders) | {"generated": tmp_path / "generated"}, tmp_path / "out" / "audit.csv"
    out.parent.mkdir()
    shutil.copytree(folders / "generated", some["generated"])
    (some["generated"] / "copy_0.wav").rename(some["generated"] / "=cmd|' ,0.wav")
    monkeypatch.setattr(sys, "argv", command_line(some, out, "--fail-above", "3"))
    assert command.main() == 0
    names = ["audit.csv", "audit.html", "audit.left_out.json", "audit.matches.parquet", "audit.summary.json"]
    assert sorted(path.name for path in out.parent.iterdir()) == names
    page = (out.parent / names.pop(1)).read_text()
    assert "<h1>3 of 5 generated clips come too near to a training clip</h1>" in page and "=cmd|&#39; ,0.wav" in page
    assert [len(files) for files in json.loads((out.parent / names[1]).read_text()).values()] == [2, 0, 0]
    text, table = out.read_text(), pd.read_csv(out)
    assert "'=cmd|' ,0.wav" in set(table["clip"]) and not re.search('(^|,)"?[=+@]', text, re.MULTILINE)
    assert "=cmd|' ,0.wav" in set(pd.read_parquet(out.parent / names[2])["clip"])
    summary = json.loads((out.parent / names[3]).read_text())
    assert summary["left_out"]["generated"].keys() == {"broken.wav", "silent.wav"} and summary["smallest_p"] == 1 / 31
    assert {one["fpr"] for one in summary["rates"]} == {0.1, 0.01, 0.001} and len(summary["power"]) == 4
    said = capsys.readouterr().out
    assert said.startswith("all detectors together: flagged 3 of 5 ")
    assert "generated: 2 files left out, the first 'broken.wav': cannot be decoded" in said
    monkeypatch.setattr(sys, "argv", command_line(some, out, "--fail-above", "2"))
    assert command.main() == 1
    assert "--fail-above: expected at most 2 generated clips flagged, got 3" in capsys.readouterr().err


@pytest.mark.parametrize("start", [*spreadsheet.FORMULA])
def test_text_that_begins_a_formula_is_made_inert_and_numbers_are_left(start):
    table = spreadsheet.inert(pd.DataFrame({"clip": [f"{start}1+1", "a=b"], "score": [-1.0, 2.0]}))
    assert table["clip"].tolist() == [f"'{start}1+1", "a=b"] and table["score"].tolist() == [-1.0, 2.0]


def test_a_carriage_return_in_a_name_begins_no_row(tmp_path):
    names = ["z\r=1+1.wav", "a.wav"]
    spreadsheet.inert(pd.DataFrame({"clip": names, "score": [1.0, 2.0]})).to_csv(tmp_path / "t.csv", index=False)
    assert pd.read_csv(tmp_path / "t.csv")["clip"].tolist() == ["z\\r=1+1.wav", "a.wav"]


def test_duplicates_inside_a_folder_come_as_clusters_with_those_to_drop(profile, tmp_path, monkeypatch, capsys):
    """Two copies of one, and a part of another inside a longer file; twelve strangers."""
    (home := tmp_path / "set").mkdir()
    for i in range(14):
        soundfile.write(home / f"{i:02d}.wav", np.concatenate([sound(i), sound(50 + i)]), RATE)
    soundfile.write(home / "softer.wav", 0.1 * np.concatenate([sound(3), sound(53)]), RATE)
    soundfile.write(home / "longer.wav", np.concatenate([sound(90), sound(5), sound(91)]), RATE)
    (home / "no.wav").write_bytes(b"no")
    table, left_out = audit_within.duplicates(home, profile)
    clusters = [set(part["file"]) for _, part in table.groupby("cluster")]
    assert sorted(clusters, key=min) == [{"03.wav", "softer.wav"}, {"05.wav", "longer.wav"}] and left_out.keys() == {
        "no.wav"
    }
    assert set(table.loc[table["drop"], "file"]) == {"softer.wav", "05.wav"}
    row = table.set_index("file").loc["05.wav"]
    assert row["like"] == "longer.wav" and row["reference_start_s"] - row["query_start_s"] == pytest.approx(
        1.024, abs=0.05
    )
    out = tmp_path / "within.csv"
    monkeypatch.setattr(
        sys, "argv", ["helpers", "audit", "--within", str(home), "--output", str(out), "--fail-above", "1"]
    )
    assert command.main() == 1 and "expected at most 1 files to drop, got 2" in capsys.readouterr().err
    assert pd.read_csv(out)["cluster"].tolist() == [1, 1, 2, 2]
    assert "<h1>2 files to drop, in 2 clusters</h1>" in out.with_suffix(".html").read_text()


def test_channels_that_cancel_are_used_with_the_first_alone(tmp_path, monkeypatch, capsys):
    (home := tmp_path / "set").mkdir()
    for i in range(4):
        soundfile.write(home / f"{i}.wav", sound(i), RATE)
    soundfile.write(home / "inverted.wav", np.stack([sound(2), -sound(2)], 1), RATE)
    call = ["helpers", "audit", "--within", str(home), "--output", str(tmp_path / "w.csv")]
    for more, dropped in ([], 0), (["--set", "channel=first"], 1):
        monkeypatch.setattr(sys, "argv", [*call, *more])
        assert command.main() == 0, capsys.readouterr().err
        assert pd.read_csv(tmp_path / "w.csv")["drop"].sum() == dropped


def test_generated_clips_among_the_honest_are_left_out(folders, profile, tmp_path):
    """They would make any copy look as near as an honest clip comes."""
    shutil.copytree(folders / "honest", tmp_path / "honest")
    for name in ("copy_0.wav", "copy_1.wav"):
        sounds, _ = soundfile.read(folders / "generated" / "new/0.flac")
        soundfile.write(tmp_path / "honest" / name, sounds, RATE)
    found = audit.audit(folders / "generated", folders / "training", tmp_path / "honest", profile)
    left_out = found.summary()["left_out"]["honest"]
    assert left_out == dict.fromkeys(("copy_0.wav", "copy_1.wav"), "is a generated clip")


def test_generated_clips_that_repeat_are_told(folders, profile, tmp_path, result):
    shutil.copytree(folders / "generated", tmp_path / "generated")
    for number in range(2):
        shutil.copy(tmp_path / "generated" / "copy_0.wav", tmp_path / "generated" / f"again_{number}.wav")
    found = audit.audit(tmp_path / "generated", folders / "training", folders / "honest", profile)
    assert found.repeated == 2 and "2 generated clips have exactly the sound of another one" in str(found)
    assert result.repeated == 0 and "exactly the sound" not in str(result)


def test_a_folder_whose_name_is_no_utf_8_is_named_on_the_page():
    assert readable(os.fsdecode(b"gen_\xfcber")) == "gen_\\xfcber"


@pytest.mark.parametrize("place", ["made.wav", "audit.html"])
def test_no_recording_is_overwritten_by_the_table(place, tmp_path):
    soundfile.write(tmp_path / "made.wav", sound(1), RATE)
    given = dict.fromkeys(("within", "fail_above", "shard", "keep", *options.COMPARED))
    given |= {"generated": tmp_path, "training": tmp_path, "output": tmp_path / place}
    with pytest.raises(ValueError, match="--output: expected a name for the table, as audit.csv"):
        options.check(given)
    given |= {"output": tmp_path / "audit.csv", "keep": tmp_path / "loop"}
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match="--keep: expected a folder"):
        options.check(given)


@pytest.mark.parametrize("name", ["pipe", "link.csv", f"{'y' * 236}.csv"])
def test_no_device_and_no_name_too_long_is_written_to(name, tmp_path):
    """A file moved to the place of /dev/null would be there from then on, and a name too long is told before the work."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    given = dict.fromkeys(("within", "fail_above", "shard", "keep", *options.COMPARED))
    given |= {"generated": tmp_path, "training": tmp_path, "output": tmp_path / name}
    with pytest.raises(ValueError, match="--output: expected a (name for the table|shorter name)"):
        options.check(given)


@pytest.mark.parametrize("name", ["pocket", "pocket_dose", "pilot", "tiny", "paper"])
def test_the_first_channel_can_be_asked_for_with_any_profile(name):
    """Also one whose clips are mixed, or hold copies: an audit takes how it searches from a profile, not its clips."""
    arguments = SimpleNamespace(settings=["channel=first"], profile=name, within=None)
    assert _audited_profile(arguments, lambda profile: profile).corpus.channel == "first"


@pytest.mark.parametrize("name", ["pocket", "pocket_captions", "paper"])
def test_any_sample_rate_can_be_asked_for(name):
    """Also with a profile whose clips are of 16 kHz: what is read here are files."""
    arguments = SimpleNamespace(settings=["sample_rate_hz=44100"], profile=name, within=None)
    assert _audited_profile(arguments, lambda profile: profile).corpus.sample_rate_hz == 44_100


@pytest.mark.parametrize(
    "setting", ["theta=0.9", "labels=x.csv", "top_k=9", "guidance=2", "corpus.path=x", "n_bootstrap=200"]
)
def test_a_setting_that_an_audit_does_not_follow_is_refused(setting):
    arguments = SimpleNamespace(settings=[setting], profile="pocket", within=None)
    with pytest.raises(
        ValueError, match=f"{setting.split('=')[0]}: this audit makes no use of it; expected one of channel"
    ):
        _audited_profile(arguments, lambda profile: profile)


def test_inside_one_folder_no_setting_of_a_comparison_is_taken(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["helpers", "audit", "--within", "x", "--set", "fpr=0.1"])
    assert command.main() == 2
    said = "fpr: this audit makes no use of it; expected one of channel, sample_rate_hz"
    assert said in capsys.readouterr().err


def test_a_function_call_takes_no_setting_that_an_audit_does_not_follow(folders, profile):
    with pytest.raises(ValueError, match="theta: this audit makes no use of it"):
        audit.audit(*of(folders).values(), profile, theta=0.5)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a place that is always full, as Linux has")
def test_a_full_disk_is_told_with_its_place_after_the_verdict(folders, tmp_path, monkeypatch, capsys):
    """What took long is on the terminal before anything is written."""
    monkeypatch.setattr(sys, "argv", command_line(of(folders), tmp_path / "audit.csv"))
    monkeypatch.setattr(audit_files, "inert", lambda table: SimpleNamespace(to_csv=lambda *_, **__: full()))

    def full():
        with open("/dev/full", "wb", buffering=0) as place:
            place.write(b"x")

    assert command.main() == 2
    said = capsys.readouterr()
    assert said.out.startswith("all detectors together: flagged ")
    assert f"error: {tmp_path}: no room left on the disk; no table was written; with --keep FOLDER" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["audit.left_out.json"]


def test_no_bias_is_among_the_weights_that_are_tried_whatever_the_counts(profile):
    """Where fewer background clips are there than the least K, K is capped; a weight of 0 is tried all the same."""
    about = pd.DataFrame({"role": ["fit"] * 4, "part": [""] * 4, "of": [0, 1, -1, -1]})
    about.loc[2:, "part"] = "C1"
    pairs = pd.DataFrame(
        {"row": range(4), "beside": range(4), "reference": [0, 1, 0, 1], "similarity": [0.9, 0.8, 0.3, 0.2]}
    )
    beside = np.tile([[0.9], [0.8], [0.0], [0.0]], 5)  # copies resemble the background: any bias hides them
    beta, _ = weights.choose_weights(pairs, beside, about, dataclasses.replace(profile.thresholds, ks=(10,), k=10))
    assert beta == 0


def test_of_many_takes_of_one_clip_one_is_kept(profile, tmp_path):
    (home := tmp_path / "set").mkdir()
    rng = np.random.default_rng(0)
    clips = {f"{i:02d}": sound(i) for i in range(4)}
    clips |= {f"take {i:02d}": sound(9) + rng.normal(size=len(sound(9))) * 0.001 for i in range(12)}
    for name, clip in clips.items():
        soundfile.write(home / f"{name}.wav", clip / np.abs(clip).max() / 2, RATE)
    table = audit_within.duplicates(home, profile).table
    assert len(table) == 12 and table["cluster"].nunique() == 1 and table["drop"].sum() == 11


def test_a_mirror_image_hides_no_duplicates_and_equal_files_are_joined_whatever_they_hold(profile, tmp_path):
    """One file is another played backwards; two pairs are the same samples, one of them too short to have landmarks."""
    (home := tmp_path / "set").mkdir()
    clips = {f"{i:02d}": np.concatenate([sound(i), sound(50 + i)]) for i in range(12)}
    clips |= {"mirror": clips["05"][::-1], "softer": 0.2 * clips["03"], "again": clips["07"]}
    clips |= {name: np.full(400, 0.1) * np.sign(np.sin(np.arange(400))) for name in ("click", "click again")}
    for name, clip in clips.items():
        soundfile.write(home / f"{name}.wav", clip, RATE)
    table = audit_within.duplicates(home, profile).table
    clusters = sorted(sorted(part["file"]) for _, part in table.groupby("cluster"))
    assert clusters == [["03.wav", "softer.wav"], ["07.wav", "again.wav"], ["click again.wav", "click.wav"]]
    click = table.set_index("file").loc["click.wav"]
    assert click["drop"] and click["like"] == "click again.wav" and click["length_s"] == 400 / RATE


def test_only_what_matches_a_kept_file_is_dropped(profile, tmp_path):
    """A chain: the first shares with the second, that with the third. The longest is kept, and the end that it does not match."""
    (home := tmp_path / "set").mkdir()
    parts = [sound(200 + i) for i in range(4)]
    chain = {"a": parts[:2], "b": [*parts[1:3]], "c": [*parts[2:], sound(300)]}
    for name, some in chain.items():
        soundfile.write(home / f"{name}.wav", np.concatenate(some), RATE)
    for i in range(10):
        soundfile.write(home / f"other{i}.wav", np.concatenate([sound(i), sound(50 + i)]), RATE)
    table = audit_within.duplicates(home, profile).table.set_index("file")
    assert table["drop"].to_dict() == {"c.wav": False, "a.wav": False, "b.wav": True}
    assert table["cluster"].nunique() == 1 and table.loc["b.wav", "like"] in ("a.wav", "c.wav")


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_every_kind_of_copy_can_be_planted_at_any_rate(rate):
    rng = np.random.default_rng(rate)
    clip, other = (np.round(9_000 * rng.standard_normal(rate)).clip(-32768, 32767).astype(np.int16) for _ in range(2))
    for kind in planting.ALTERATIONS:
        copy = planting.plant(kind, clip, other, rate, 0)
        assert copy.dtype == np.int16 and copy.any() and len(clip) // 2 <= len(copy) <= len(clip), kind
    coded = planting.plant("MP3 32 kbit/s", clip, other, rate, 0)
    assert len(coded) == len(clip) and not np.array_equal(coded, clip)


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
    (row,) = result.table[(result.table["clip"] == place.name) & (result.table["detector"] == "mel")].to_dict("records")
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


def test_an_interrupted_command_says_that_there_is_no_table_and_what_is_kept(folders, tmp_path, monkeypatch, capsys):
    """What was left out of the folders is written before the search begins, and stays."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "judge", interrupted)
    given = [part for kind, path in of(folders).items() for part in (f"--{kind}", str(path))]
    settings = ["--set", f"clip_samples={SAMPLES}", "detectors=[mel]", "fpr=0.1"]
    line = ["helpers", "audit", "--profile", "smoke", "--output", str(tmp_path / "audit.csv"), *given, *settings]
    monkeypatch.setattr(sys, "argv", line)
    assert command.main() == 130 and [path.name for path in tmp_path.iterdir()] == ["audit.left_out.json"]
    said = "interrupted; no table was written; with --keep FOLDER the next audit would not compute all of it again"
    assert capsys.readouterr().err.splitlines()[-1] == said

    kept = str(tmp_path / "kept")
    monkeypatch.setattr(sys, "argv", [*line, "--keep", kept])
    assert command.main() == 130
    said = f"interrupted; no table was written, but what is in {kept} is not computed again"
    assert capsys.readouterr().err.splitlines()[-1] == said


def test_an_audit_that_a_batch_system_ends_leaves_no_scratch(folders, tmp_path):
    (scratch := tmp_path / "scratch").mkdir()
    line = [sys.executable, "-m", *command_line(of(folders), tmp_path / "audit.csv")]
    running = subprocess.Popen(line, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not any(scratch.rglob("*.int16")):
        time.sleep(0.05)
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and said.splitlines()[-1].startswith("interrupted; no table was written")
    assert not any(scratch.iterdir()) and not (tmp_path / "audit.csv").exists()


def test_what_was_left_out_outlives_a_failure(folders, profile, tmp_path):
    report, some = tmp_path / "audit.left_out.json", of(folders) | {"honest": tmp_path / "honest"}
    shutil.copytree(
        folders / "training", some["honest"]
    )  # as many files as are needed, but not as many that can be used
    for i in range(35):
        shutil.copy(folders / "honest" / f"h{i}.wav", some["honest"])
    with pytest.raises(ValueError, match="honest: expected at least 40 usable .* got 35"):
        audit.audit(*some.values(), profile, report, fpr=0.1)
    assert set(json.loads(report.read_text())["generated"]) == {"broken.wav", "silent.wav"}


def test_bad_input_is_told_apart_from_a_comparison_that_failed(folders, profile, monkeypatch):
    with pytest.raises(ValueError, match="fpr: expected"):
        audit.audit(*of(folders).values(), profile, fpr=2.0)
    monkeypatch.setattr(audit, "judge", lambda *_: audit_verdict.flag(np.zeros(1), None))
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
