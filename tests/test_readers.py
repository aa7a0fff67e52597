"""Readers of a user's own audio: what is read, what is left out, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.base.settings import CorpusConfig, MelConfig
from helpers.sound import user_audio
from helpers.sound.corpus import load_corpus, reader_report
from helpers.stages import corpus

RATE, SAMPLES = 16_000, 16_384
rng = np.random.default_rng(0)


def write_wav(path, seconds=1.0, rate=RATE, silent=False):
    audio = np.zeros(int(seconds * rate)) if silent else 0.3 * rng.standard_normal(int(seconds * rate))
    soundfile.write(path, audio, rate)


@pytest.fixture
def audiofolder(tmp_path):
    rows = []
    for i in range(10):
        write_wav(tmp_path / f"{i}.wav", seconds=0.7 + 0.1 * i, rate=22_050 if i % 2 else RATE)
        rows.append((f"{i}.wav", f"a caption <b>{i}</b>"))
    write_wav(tmp_path / "silent.wav", silent=True)
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    write_wav(tmp_path.parent / "outside.wav")
    rows += [
        ("silent.wav", "silence"),
        ("broken.wav", "noise"),
        ("missing.wav", "x"),
        ("../outside.wav", "x"),
        ("3.wav", None),
    ]
    pd.DataFrame(rows, columns=["file_name", "text"]).to_csv(tmp_path / "metadata.csv", index=False)
    return tmp_path


def user_config(path, kind="audiofolder", **options):
    sizes = {"n_train": 6, "n_heldout": 2, "n_background": 2} | options
    return CorpusConfig(kind=kind, path=str(path), sample_rate_hz=RATE, clip_samples=SAMPLES, **sizes)


def test_audiofolder_is_read_and_bad_clips_are_listed(audiofolder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    corpus.compute(out, {}, user_config(audiofolder), MelConfig())
    data, report = load_corpus(out), reader_report(out)
    assert data.audio.shape == (10, SAMPLES) and data.clips["split"].value_counts().to_dict() == {
        "train": 6,
        "heldout": 2,
        "background": 2,
    }
    assert np.abs(data.audio).max(axis=1) == pytest.approx(0.5 * 32767, abs=2)
    why = {item["clip"]: item["why"] for item in report["clips"]}
    assert report["n_listed"] == 15 and report["n_left_out"] == 5
    assert why["missing.wav"] == "missing" and why["../outside.wav"] == "missing" and why["3.wav"] == "no caption"
    assert "cannot be decoded" in why["broken.wav"] and "silent" in why["silent.wav"]


def test_too_few_usable_clips_are_refused(audiofolder, tmp_path_factory):
    with pytest.raises(ValueError, match="expected at least 24 usable clips .* got 10"):
        corpus.compute(tmp_path_factory.mktemp("out"), {}, user_config(audiofolder, n_train=20), MelConfig())


def test_missing_column_and_missing_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected metadata.csv in the folder"):
        user_audio.read_table(tmp_path, "audiofolder")
    pd.DataFrame({"file_name": ["a.wav"]}).to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(ValueError, match="missing text"):
        user_audio.read_table(tmp_path, "audiofolder")


def test_audiocaps_finds_files_and_keeps_a_video_in_one_split(tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    rows = []
    for i in range(8):
        youtube_id = f"abcdefgh{i // 2:03d}"  # two clips a video
        name = (f"{1000 + i}", f"{youtube_id}_{30 * (i % 2)}")[i % 2]
        write_wav(audio / f"{name}.flac")
        rows.append((1000 + i, youtube_id, 30 * (i % 2), f"caption {i}"))
    rows += [(2000, "../../etc/pw", 0, "missing"), (2001, "zzzzzzzzzzz", 10, "missing")]
    csv = tmp_path / "train.csv"
    pd.DataFrame(rows, columns=["audiocap_id", "youtube_id", "start_time", "caption"]).to_csv(csv, index=False)
    out = tmp_path / "out"
    out.mkdir()
    config = user_config(csv, "audiocaps", n_train=4, n_heldout=2, n_background=2, audio_path=str(audio))
    corpus.compute(out, {}, config, MelConfig())
    clips = load_corpus(out).clips
    assert clips.assign(video=clips["source_groups"].str[0]).groupby("video")["split"].nunique().max() == 1
    assert reader_report(out)["n_left_out"] == 2
    assert json.loads((out / "left_out.json").read_text())["clips"][0]["why"] == "missing"


def test_audiocaps_without_its_audio_folder_is_refused(tmp_path):
    table = pd.DataFrame({"audiocap_id": [1], "youtube_id": ["a"], "start_time": [0], "caption": ["x"]})
    with pytest.raises(FileNotFoundError, match="audio_path: expected a folder"):
        user_audio.locate_audiocaps(table, tmp_path / "none")
