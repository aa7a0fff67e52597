"""Readers of a user's own audio: what is read, what is left out, what is refused, and what is said of it."""

import dataclasses
import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import __main__ as command
from helpers.base.paths import PROFILES
from helpers.base.settings import CorpusConfig, MelConfig
from helpers.book.pages import page_settings
from helpers.sound import user_audio, user_table
from helpers.sound.audio_file import read_clip, read_sound
from helpers.sound.audio_folder import fingerprint, list_files, without_links
from helpers.sound.corpus import load_corpus, reader_report
from helpers.sound.profiles import load_profile
from helpers.sound.user_table import UserDataError
from helpers.stages import corpus
from helpers.study import input_files, publication, store
from helpers.study.graph import Graph
from helpers.study.store import load_or_run

RATE, SAMPLES = 16_000, 16_384
rng = np.random.default_rng(0)


def write_wav(path, seconds=1.0, rate=RATE, silent=False):
    audio = np.zeros(int(seconds * rate)) if silent else 0.3 * rng.standard_normal(int(seconds * rate))
    soundfile.write(path, audio, rate)


def write_table(path, rows, columns=("file_name", "text")):
    pd.DataFrame(rows, columns=list(columns), dtype=object).to_csv(path, index=False)  # an id beside None stays whole


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
        ("4.wav", "another caption"),
        ("n" * 300 + ".wav", "a name over 255 bytes"),
        ("metadata.csv", "no audio"),
    ]
    write_table(tmp_path / "metadata.csv", rows)
    return tmp_path


def user_config(path, kind="audiofolder", **options):
    sizes = {"n_train": 6, "n_heldout": 2, "n_background": 2} | options
    return CorpusConfig(kind=kind, path=str(path), sample_rate_hz=RATE, clip_samples=SAMPLES, **sizes)


def compute(folder, config):
    """The corpus stage in `folder`/stage.part, as the store runs it."""
    (out := folder / "stage.part").mkdir(parents=True)
    corpus.compute(out, {}, config, MelConfig())
    return out


def test_audiofolder_is_read_and_bad_clips_are_listed(audiofolder, tmp_path_factory, capfd):
    out = compute(tmp_path_factory.mktemp("out"), user_config(audiofolder))
    data, report = load_corpus(out), reader_report(out)
    assert data.audio.shape == (10, SAMPLES)
    assert data.clips["split"].value_counts().to_dict() == {"train": 6, "heldout": 2, "background": 2}
    assert np.abs(data.audio).max(axis=1) == pytest.approx(0.5 * 32767, abs=2)
    why = {item["clip"]: item["why"] for item in report["clips"]}
    assert (report["n_listed"], report["n_left_out"], report["n_further_captions"]) == (18, 7, 1)
    assert why["missing.wav"] == "missing: no file 'missing.wav'" and why["../outside.wav"].startswith("missing: ")
    assert why["3.wav"] == "no caption" and "cannot be decoded" in why["broken.wav"] and "silence" in why["silent.wav"]
    assert why["metadata.csv"].endswith("that may be read: no audio by its name (text/csv)")
    assert why["n" * 300 + ".wav"].startswith("missing: ")
    assert "another caption" not in set(
        data.clips["caption"]
    )  # of a recording that has one: one clip, the first caption
    said = capfd.readouterr().err
    assert "10 of 18 listed clips can be used; 4 missing, the first in line 14: no file 'missing.wav'; " in said
    assert "1 a further caption of a recording that is listed before, the first in line 17" in said
    assert [path.name for path in out.parent.iterdir()] == ["stage.part"]


def test_a_corpus_is_known_by_the_files_that_it_names_and_a_page_by_the_corpus(tmp_path):
    """Neither a system's stray file nor an editor's copy makes it another; a clip that can be read again does."""
    for number in range(12):
        write_wav(tmp_path / f"{number}.wav")
    table = "".join(f"{number}.wav,caption {number}\n" for number in range(12))
    (tmp_path / "metadata.csv").write_text(f"file_name,text\n{table}")
    config = user_config(tmp_path, n_background=3, n_heldout=3)
    known = fingerprint(user_table.listed_files(config))
    (tmp_path / ".DS_Store").write_bytes(b"x"), (tmp_path / "metadata.csv~").write_bytes(b"x")
    assert fingerprint(user_table.listed_files(config)) == known
    profile = dataclasses.replace(
        load_profile("tiny").replace("planted", trained=False), sizes=(4,), draws=(1,), corpus=config
    )
    page = page_settings(profile, "01_corpus")
    assert page_settings(profile, "01_corpus") == page
    (tmp_path / "metadata.csv").write_text(f"file_name,text\n{table}".replace("caption 3", "another"))
    input_files.listing.__wrapped__.cache_clear()
    changed = page_settings(profile, "01_corpus")
    assert changed != page and changed["clips"][1] == page["clips"][1]
    write_wav(tmp_path / "3.wav", seconds=0.5)
    input_files.listing.__wrapped__.cache_clear()
    assert page_settings(profile, "01_corpus")["clips"][1] != page["clips"][1]


def test_clips_are_known_by_what_they_hold_wherever_and_whenever_they_were_copied(audiofolder, tmp_path_factory):
    config = user_config(audiofolder)
    known = input_files.listing(config)
    copied = tmp_path_factory.mktemp("elsewhere") / "clips"
    shutil.copytree(audiofolder, copied, copy_function=shutil.copyfile)
    assert input_files.listing(user_config(copied)) == known
    os.utime(audiofolder / "3.wav")
    input_files.listing.__wrapped__.cache_clear()
    assert input_files.listing(config) == known
    write_wav(audiofolder / "3.wav", seconds=0.7 + 0.1 * 3, rate=22_050)  # as long, other sound
    input_files.listing.__wrapped__.cache_clear()
    assert input_files.listing(config) != known


def test_a_caption_is_one_line(tmp_path):
    for number in range(12):
        write_wav(tmp_path / f"{number}.wav")
    rows = "".join(f'{number}.wav,"a dog\r barks\n twice {number}"\n' for number in range(12))
    (tmp_path / "metadata.csv").write_text(f"file_name,text\n{rows}", newline="")
    data = load_corpus(compute(tmp_path / "out", user_config(tmp_path)))
    assert data.clips["caption"].str.fullmatch(r"a dog barks twice \d+").all()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("{}", "36 missing, the first in line 2: no file 'a00', but 'a00.wav'"),
        ("{}.mp3", "no file 'a00.mp3', but 'a00.wav'"),
        ("A{:.2}.WAV", "no file 'Aa0.WAV'; files that may be audio in "),
        ("clips\\{}.wav", r"no file 'clips\\\\a00.wav', but 'a00.wav'"),
        ("{}\0.wav", r"no file 'a00\\x00.wav'"),
    ],
)
def test_what_was_looked_for_and_what_is_there_is_told(tmp_path, names, told):
    stems = [f"a{i:02d}" for i in range(36)]
    for stem in stems[:2]:
        write_wav(tmp_path / f"{stem}.wav")
    rows = [(names.format(stem), f"caption {stem}") for stem in stems]
    if "\0" in names:
        (tmp_path / "metadata.csv").write_text("file_name,text\n" + "".join(f"{a},{b}\n" for a, b in rows))
        with pytest.raises(user_table.UserDataError, match="metadata.csv, line 2: expected text, got a zero byte"):
            compute(tmp_path / "out", user_config(tmp_path))
        return
    write_table(tmp_path / "metadata.csv", rows)
    with pytest.raises(user_table.UserDataError) as refused:
        compute(tmp_path / "out", user_config(tmp_path))
    text = str(refused.value)
    assert told.replace("\\\\", "\\") in text and "expected at least 10 usable clips" in text and "\n" not in text
    kept = tmp_path / "out" / "stage.left_out.json"  # the stage's own folder goes when it fails
    assert f"all reasons: {kept}" in text and len(json.loads(kept.read_text())["clips"]) == 36


TABLES = {
    "unquoted comma": (b"file_name,text\na.wav,a tone, high\n", "line 2: expected 2 values, as the first line has, got 3; "),
    "semicolons": (b"file_name;text\na.wav;x\n", "line 1: expected each of the columns file_name, text once, separated by commas, got 'file_name;text'"),
    "cp1252": ("file_name,text\na.wav,x\nb.wav,a caf\xe9\n".encode("cp1252"), "line 3: expected UTF-8, got byte 0xe9, perhaps of cp1252; save it as CSV UTF-8"),
    "UTF-16": ("file_name,text\na.wav,x\n".encode("utf-16"), "line 1: expected UTF-8, got UTF-16; save it as CSV UTF-8"),
    "UTF-16 unmarked": ("file_name,text\n".encode("utf-16-le"), "line 1: expected text, got a zero byte"),
    "zero byte": (b"file_name,text\na.wav,x\nb.wav,\0\n", "line 3: expected text, got a zero byte; remove it"),
    "open quote": (b'file_name,text\na.wav,"x\nb.wav,y\n', "line 3: cannot be read as CSV (unexpected end of data)"),
    "bare quote": (b'file_name,text\na.wav,"loud" bell\n', "line 2: cannot be read as CSV"),
    "empty": (b"", "line 1: expected each of the columns file_name, text once, separated by commas, got nothing"),
    "column missing": (b"file_name,label\na.wav,x\n", "got 'file_name', 'label'"),
    "column twice": (b"file_name,text,text\na.wav,x,y\n", "once, separated by commas, got 'file_name', 'text', 'text'"),
    "short line": (b"file_name,text\na.wav\n", "line 2: expected 2 values, as the first line has, got 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_read_is_told_by_file_and_line(tmp_path, name):
    content, told = TABLES[name]
    (path := tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(user_table.UserDataError) as refused:
        user_table.read_table(path, "audiofolder")
    assert (
        str(refused.value).startswith(f"{path}, {told}")
        or f"{path}, line 1: " in str(refused.value)
        and told in str(refused.value)
    )
    assert "\n" not in str(refused.value)


def test_cells_are_text(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(
        b"\xef\xbb\xbfaudiocap_id,youtube_id,start_time,caption,note\r\n"
        b'091000,-a,0:10,None,x\r\n,,,,\r\n91002,1e5,30.0,"two\nlines, one comma",\r\n91003,NA,1:00:01,null,\r\n'
    )
    rows = user_table.read_table(path, "audiocaps")
    assert [*rows] == [2, 3, 5, 6]
    assert [row["audiocap_id"] for row in rows.values()] == ["091000", "", "91002", "91003"]
    assert [row["start_time"] for row in rows.values()] == ["10", "", "30", "3601"]
    assert [row["caption"] for row in rows.values()] == ["None", "", "two\nlines, one comma", "null"]
    assert user_table.names_of(rows[5]) == ("91002", "1e5_30", "Y1e5_30", "1e5", "Y1e5")


def test_a_users_mistake_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    """Not as a traceback, which is what a fault of the program gives."""
    monkeypatch.setattr(sys, "argv", ["helpers", "run", "corpus", "--profile", "tiny"])
    monkeypatch.setattr(store, "load_or_run", lambda _: user_table.read_table(tmp_path / "t.csv", "audiofolder"))
    (tmp_path / "t.csv").write_text("a,b\n")
    assert command.main() == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/t.csv, line 1: expected each of the columns")


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "audiofolder", "path": "x", "audio_path": "y"},
        {"kind": "audiofolder", "path": "x", "pilot": True},
        {"kind": "audiocaps", "path": "x", "audio_path": "y", "captions": "generic"},
        {"path": "x"},
        {"channel": "first"},
    ],
)
def test_a_setting_that_these_clips_make_no_use_of_is_refused(given):
    """Were it ignored, its reader would believe that it was obeyed."""
    *_, name = given
    kind = given.get("kind", "pocket")
    with pytest.raises(ValueError, match=f"^{name}: expected .*, as clips of kind {kind} make no use of it, got "):
        CorpusConfig(**given)


def test_missing_places_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="corpus.path: expected metadata.csv in a folder of audio, found none"):
        input_files.user_files(user_config(tmp_path))
    with pytest.raises(ValueError, match="path: expected where the clips of kind audiofolder lie, got nothing"):
        user_config("")
    (csv := tmp_path / "a.csv").write_text("audiocap_id,youtube_id,start_time,caption\n")
    with pytest.raises(ValueError, match="audio_path: expected where the clips of kind audiocaps lie"):
        user_config(csv, "audiocaps")
    with pytest.raises(FileNotFoundError, match="audio_path: expected a folder of audio files, found none at .*/none"):
        input_files.user_files(user_config(csv, "audiocaps", audio_path=str(tmp_path / "none")))


def test_a_relative_path_counts_from_the_root_wherever_python_was_started(audiofolder, monkeypatch, tmp_path_factory):
    monkeypatch.setattr("helpers.base.paths.ROOT", audiofolder.parent)
    config, listed = user_config(audiofolder.name), set()
    for place in ("root", "notebooks"):
        monkeypatch.chdir(tmp_path_factory.mktemp(place))
        input_files.listing.__wrapped__.cache_clear()
        listed.add((input_files.listing(config), input_files.user_files(config)))
        assert len(load_corpus(compute(tmp_path_factory.mktemp("out"), config)).clips) == 10
    assert listed == {(input_files.listing(user_config(audiofolder)), (audiofolder / "metadata.csv",))}


def write_caps(folder, rows):
    write_table(folder / "train.csv", rows, ("audiocap_id", "youtube_id", "start_time", "caption"))


def test_audiocaps_finds_files_and_keeps_a_video_in_one_split(tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    rows = []
    for i in range(8):
        youtube_id = f"abcdefgh{i // 2:03d}"  # two clips a video
        name = (f"{1000 + i}", f"{youtube_id}_{30 * (i % 2)}")[i % 2]
        write_wav(audio / f"{name}.flac")
        rows.append((1000 + i, youtube_id, 30 * (i % 2), f"caption {i}"))
    rows += [(2000, "../../etc/pw", 0, "missing"), (2001, "zzzzzzzzzzz", 10, "missing"), (None,) * 4]
    rows += [(1009, "abcdefgh000", "0:30", "another caption of the second clip")]
    write_caps(tmp_path, rows)
    config = user_config(tmp_path / "train.csv", "audiocaps", n_train=4, audio_path=str(audio))
    out = compute(tmp_path / "out", config)
    clips, report = load_corpus(out).clips, reader_report(out)
    assert clips.assign(video=clips["source_groups"].str[0]).groupby("video")["split"].nunique().max() == 1
    assert (report["n_left_out"], report["n_further_captions"]) == (3, 1)
    names = "'2000' or '../../etc/pw_0' or 'Y../../etc/pw_0' or '../../etc/pw' or 'Y../../etc/pw'"
    assert report["clips"][0] == {"line": 10, "clip": "2000", "why": f"missing: no file {names}"}
    assert report["clips"][2]["why"] == "missing: the row names no file"


@pytest.mark.usefixtures("committed")
def test_clips_of_ones_own_are_read_again_where_a_published_study_is_restored(audiofolder, tmp_path, monkeypatch):
    """They can be played there; what is published holds neither them nor their captions."""
    monkeypatch.delenv("HELPERS_COMPUTE", raising=False)
    few = load_profile("tiny").replace_in({"planted": {"trained": False}, "thresholds": {"k": 1, "ks": (1,)}})
    config = user_config(audiofolder, n_heldout=3, n_background=1)
    stage = Graph(dataclasses.replace(few, sizes=(4,), draws=(1,), corpus=config)).corpus()
    folder = tmp_path / "published"
    load_or_run(stage, tmp_path / "here")
    assert publication.publish([stage], folder, tmp_path / "here") == []
    with publication.use_publication(folder):
        data = load_corpus(load_or_run(stage, tmp_path / "there").path)
    assert data.audio.shape == (10, SAMPLES) and data.mels is not None


def test_one_row_without_an_id_leaves_the_others_theirs(tmp_path):
    rows = [(91_000 + i, f"id{i:09d}", 30, f"caption {i}") for i in range(10)] + [(None, None, None, "no id")]
    for number, *_ in rows[:-1]:
        write_wav(tmp_path / f"{number}.wav")
    write_caps(tmp_path, rows)
    out = compute(tmp_path / "out", user_config(tmp_path / "train.csv", "audiocaps", audio_path=str(tmp_path)))
    assert len(load_corpus(out).clips) == 10 and reader_report(out)["n_left_out"] == 1


def test_features_beside_a_sound_are_not_taken_for_it(tmp_path):
    """A name of AudioCaps' has no suffix; `12.npy` and `12.txt.bak` lie beside many a `12.wav`."""
    rows = [(91_000 + i, f"id{i:09d}", 30, f"caption {i}") for i in range(10)]
    for number, *_ in rows:
        write_wav(tmp_path / f"{number}.wav")
        for suffix in ("aaa", "zzz"):  # before it and after it
            (tmp_path / f"{number}.{suffix}").write_bytes(b"\x93NUMPY")
    write_caps(tmp_path, rows)
    out = compute(tmp_path / "out", user_config(tmp_path / "train.csv", "audiocaps", audio_path=str(tmp_path)))
    assert len(load_corpus(out).clips) == 10 and reader_report(out)["n_left_out"] == 0


CAPS = ("audiocap_id", "youtube_id", "start_time", "caption")


@pytest.fixture(params=["three files", "one file"])
def official(request, tmp_path):
    """AudioCaps as it comes: a caption a clip in train.csv, five in val.csv and test.csv, an id for each caption.

    Beside it a video of the training split that test lists too, a further caption in train, and a damaged file.
    """
    audio, tables, number = tmp_path / "audio", {"train": [], "val": [], "test": []}, 0
    audio.mkdir()
    for split, clips, captions in (("train", 12, 1), ("val", 4, 5), ("test", 5, 5)):
        for i in range(clips):
            video = f"{split}{i:07d}"
            write_wav(audio / f"{video}.wav")
            for j in range(captions):
                tables[split].append((number := number + 1, video, 30, f"{split} {i} said {j} ways"))
    tables["train"].append((9000, "train0000003", 30, "train 3 said once more"))
    tables["test"].append((9001, "train0000004", 60, "another part of a training video"))
    (audio / "train0000005.wav").write_bytes(b"no audio")
    if request.param == "three files":
        for split, rows in tables.items():
            write_table(tmp_path / f"{split}.csv", rows, CAPS)
        return tmp_path
    names = {"test": "test", "val": "Validation", "train": "train"}  # the training split last
    rows = [(*row, names[split]) for split in names for row in tables[split]]
    write_table(tmp_path / "all.csv", rows, (*CAPS, "split"))
    return tmp_path / "all.csv"


def official_config(path, **options):
    folder = path if path.is_dir() else path.parent
    sizes = {"n_train": 11, "n_heldout": 6, "n_background": 3} | options
    return user_config(path, "audiocaps", audio_path=str(folder / "audio"), **sizes)


def test_official_splits_are_kept_and_every_clip_is_there_once(official, tmp_path, capfd):
    out = compute(tmp_path / "out", official_config(official))
    clips, report = load_corpus(out).clips, reader_report(out)
    assert clips["split"].value_counts().to_dict() == {"train": 11, "heldout": 6, "background": 3}
    assert not clips["source_groups"].str[0].duplicated().any()
    assert set(clips.loc[clips["split"] == "train", "caption"].str[:6]) == {"train "}
    assert set(clips.loc[clips["split"] != "train", "caption"].str.split().str[0]) == {"val", "test"}
    assert (report["n_listed"], report["n_left_out"], report["n_further_captions"]) == (59, 2, 1 + 9 * 4)
    said = capfd.readouterr().err
    assert "20 of 59 listed clips can be used; 37 a further caption of a recording that is listed before, " in said
    assert "1 of a video that the training split has too" in said
    ways = clips.loc[clips["split"] != "train", "caption"].str.split().str[3]
    assert len(set(ways)) > 1, "of five captions not always the same one"
    again = load_corpus(compute(tmp_path / "again", official_config(official))).clips
    pd.testing.assert_frame_equal(again, clips)
    other = load_corpus(compute(tmp_path / "other", official_config(official, seed=1))).clips
    assert set(other["caption"]) != set(clips["caption"])


def test_all_is_the_number_of_training_clips_that_can_be_used(official, tmp_path, monkeypatch):
    config = official_config(official)
    (tmp_path / "own.yml").write_text(
        "base: paper\nsizes: [4, all]\ndraws: [1, 1]\nschedules: []\nthresholds: {k: 3, ks: [1]}\n"
        f"corpus: {{path: '{config.path}', audio_path: '{config.audio_path}', n_train: all, n_background: 3}}\n"
    )
    (tmp_path / "paper.yml").write_text((PROFILES / "paper.yml").read_text())
    (tmp_path / "base.yml").write_text((PROFILES / "base.yml").read_text())
    profile = load_profile("own", tmp_path)
    assert (profile.sizes, profile.corpus.n_train) == ((4, 11), 11)
    monkeypatch.setattr(user_audio, "read_clip", None)  # what was checked is not read for that again
    assert load_profile("own", tmp_path) == profile
    (tmp_path / "train.csv" if official.is_dir() else official).unlink()
    assert load_profile("own", tmp_path).sizes == (4, 45_438)  # TANGO's, until there are data


def test_without_official_splits_all_is_refused(tmp_path):
    write_caps(tmp_path, [(1, "a", 0, "x")])
    with pytest.raises(user_table.UserDataError, match="n_train: expected a number, as the table says no splits, got"):
        user_audio.count_training(user_config(tmp_path / "train.csv", "audiocaps", audio_path=str(tmp_path)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n_train": 12}, r"expected at least 12 usable clips of train \(.*\), got 11; "),
        ({"n_heldout": 7}, r"expected at least 10 usable clips of val and test \(.*\), got 9; "),
    ],
)
def test_too_few_clips_of_a_split_are_told(official, tmp_path, options, told):
    with pytest.raises(user_table.UserDataError, match=told):
        compute(tmp_path / "out", official_config(official, **options))


def test_a_table_that_is_not_there_and_a_split_that_is_none_are_told(official, tmp_path):
    if official.is_dir():
        (official / "val.csv").unlink()
        with pytest.raises(
            FileNotFoundError, match="a folder with train.csv, val.csv, test.csv, found none at .*val.csv"
        ):
            user_table.places(official_config(official))
    else:
        official.write_text(official.read_text().replace("Validation", "dev"))
        with pytest.raises(
            user_table.UserDataError, match="line 28: expected split train, val, .*, got 'dev'; without"
        ):
            compute(tmp_path / "out", official_config(official))


def test_what_is_added_to_a_short_clip_is_silence(tmp_path):
    """The mean is removed before, as TANGO does: after, the added part would be lifted by it."""
    audio = 0.3 + 0.1 * rng.standard_normal(RATE // 2)
    soundfile.write(tmp_path / "offset.wav", audio, RATE)
    clip = read_clip(tmp_path / "offset.wav", RATE, SAMPLES)
    assert not clip[RATE // 2 :].any() and abs(clip[: RATE // 2].mean()) < 1


def test_links_are_followed_once_and_what_is_left_out_is_named(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    for place in (home / "sub", other / "deep"):
        place.mkdir(parents=True)
        (place / "a.wav").touch()
    (home / "A.XYZ").touch()
    (home / "table.csv").touch()
    (home / "cafe\u0301.wav").touch()
    for name, target in {
        "loop": home,
        "up": tmp_path,
        "again": home / "sub",
        "more": other,
        "deeper": other / "deep",
    }.items():
        (home / name).symlink_to(target)
    (home / "gone.wav").symlink_to(home / "nowhere.wav")
    (other / "back").symlink_to(home / "sub")
    (home / "caf\xe9.wav").touch()  # another file, whose name is the same in composed form
    files, left_out = list_files(home)
    assert [*files] == ["A.XYZ", "caf\xe9.wav", "caf\xe9.wav (2)", "deeper/a.wav", "sub/a.wav"]
    assert left_out["table.csv"] == "no audio by its name (text/csv)" and "leads nowhere" in left_out["gone.wav"]
    assert {"loop", "up", "again"} <= set(left_out) and all(
        "or to one above" in left_out[n] for n in ("loop", "up", "again")
    )


def test_first_captions_and_channels_are_settings_of_own_corpora_alone():
    assert "channel" not in CorpusConfig().digest_fields()
    assert user_config("x", channel="first").digest_fields()["channel"] == "first"


def test_read_clip_is_a_public_name():
    import helpers

    assert helpers.read_clip is read_clip and user_audio.read_clip is read_clip


def test_a_link_to_a_file_that_is_listed_is_left_out_and_the_file_stays(tmp_path):
    for name in ("z.wav", "other.wav"):
        (tmp_path / name).touch()
    (tmp_path / "a_link.wav").symlink_to(tmp_path / "z.wav")
    files, left_out = without_links(list_files(tmp_path))
    assert [*files] == ["other.wav", "z.wav"] and left_out == {"a_link.wav": "a link to 'z.wav', which is listed"}


@pytest.mark.parametrize(
    ("name", "rate", "audio", "why"),
    [
        ("loud.wav", RATE, 1e37 * rng.standard_normal(SAMPLES), "far above full scale"),
        ("slow.wav", 7, rng.standard_normal(2000), "expected a sample rate of 1,000 Hz or more, got 7 Hz"),
    ],
)
def test_what_no_recording_holds_is_refused_by_name(tmp_path, name, rate, audio, why):
    soundfile.write(tmp_path / name, audio, rate, subtype="FLOAT")
    with pytest.raises(ValueError, match=f"{name}.*{why}"):
        read_sound(tmp_path / name, RATE)


def test_a_playlist_in_the_place_of_a_sound_opens_no_other_file(tmp_path):
    soundfile.write(tmp_path / "t000.wav", 0.1 * rng.standard_normal(SAMPLES), RATE)
    (tmp_path / "x.wav").write_text("ffconcat version 1.0\nfile t000.wav\n")
    with pytest.raises(ValueError, match="x.wav.*cannot be decoded"):
        read_clip(tmp_path / "x.wav", RATE, SAMPLES)


def test_a_raw_sound_is_refused_by_name(tmp_path):
    (tmp_path / "rec.raw").write_bytes(bytes(4000))
    with pytest.raises(ValueError, match=r"rec\.raw.*does not say its sample rate"):
        read_clip(tmp_path / "rec.raw", RATE, SAMPLES)


def test_a_table_without_rows_and_a_check_that_was_cut_off(tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path / "runs"))
    (home := tmp_path / "clips").mkdir()
    (home / "metadata.csv").write_text("file_name,text\n")
    with pytest.raises(UserDataError, match=r"metadata\.csv: expected a row for each clip, got none"):
        user_audio.check_clips(user_config(str(home)))
    soundfile.write(home / "a.wav", 0.1 * rng.standard_normal(SAMPLES), RATE)
    (home / "metadata.csv").write_text("file_name,text\na.wav,rain\n")
    assert user_audio.check_clips(user_config(str(home)))["why"].tolist() == [""]
    (kept,) = (tmp_path / "runs" / "checked").glob("*.json")
    for cut in ("", "[]", "{}"):
        kept.write_text(cut)
        assert user_audio.check_clips(user_config(str(home)))["why"].tolist() == [""]


def test_equal_sounds_under_two_names_land_in_one_split(tmp_path, monkeypatch):
    """A held-out clip that is a training clip would set the threshold at a perfect copy."""
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path / "runs"))
    (home := tmp_path / "clips").mkdir()
    names = [f"{kind}{i:02d}.wav" for kind in ("", "copy of ") for i in range(12)]
    for i, name in enumerate(names):
        soundfile.write(home / name, 0.1 * np.random.default_rng(i % 12).standard_normal(SAMPLES), RATE)
    write_table(home / "metadata.csv", [(name, f"sound {i}") for i, name in enumerate(names)])
    (out := tmp_path / "out").mkdir()
    config = user_config(str(home), n_train=10, n_heldout=8, n_background=4)
    rows, chunks = user_audio.read_user_corpus(config, out)
    sounds = pd.Series([clip.tobytes() for chunk in chunks for clip in chunk], rows["split"])
    splits = sounds.reset_index().groupby(0)["split"].nunique()
    assert len(rows) == 22 and (splits == 1).all()
    assert rows["source_ids"].str[0].str.startswith("copy of").sum() in (0, 22), "equal sounds are one source"


def test_of_official_splits_what_the_training_split_has_is_left_out_of_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("HELPERS_RUNS", str(tmp_path / "runs"))
    (audio := tmp_path / "audio").mkdir()
    rows = []
    for i, split in enumerate(["train", "train", "val", "test"]):
        soundfile.write(audio / f"v{i}_30.wav", 0.1 * np.random.default_rng(i % 3).standard_normal(SAMPLES), RATE)
        rows.append((i, f"v{i}", 30, "rain", split))
    write_table(tmp_path / "all.csv", rows, ("audiocap_id", "youtube_id", "start_time", "caption", "split"))
    config = user_config(str(tmp_path / "all.csv"), kind="audiocaps", audio_path=str(audio))
    clips = user_audio.check_clips(config).set_index("source")
    assert clips.loc[["v0", "v1", "v2"], "why"].eq("").all() and clips.loc["v3", "why"] == user_audio.LEARNED
