"""What an audit keeps of files: tomorrow's audit reads no training audio, a cut entry is made anew, and results are the same."""

import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_audit import plant_few
from test_room import on_small_disk

from helpers.copies.audit import audit, folders as audit_folders
from helpers.copies.audit.folders import NOTHING_KEPT, read_clips
from helpers.copies.audit.kept import Kept
from helpers.sound.profiles import load_profile
from helpers.sound.sounds import Windows

RATE = 16_000


@pytest.fixture
def files(tmp_path):
    rng, found = np.random.default_rng(0), {}
    for number in range(5):
        found[f"{number}.wav"] = tmp_path / f"{number}.wav"
        soundfile.write(found[f"{number}.wav"], 0.1 * rng.standard_normal(9000 * (1 + number)), RATE)
    return found


@pytest.fixture
def read(files, tmp_path, monkeypatch):
    """Reads the files with a `Kept`; `read.names` are those that were decoded since."""
    plain = audit_folders.read_sound

    def counting(path, *rest):
        if path.name == read.stops_at:
            raise KeyboardInterrupt
        read.names.append(path.name)
        return plain(path, *rest)

    def read(kept=None):
        read.names = []
        scratch = tmp_path / f"scratch_{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        kept = Kept(tmp_path / "kept", "settings") if kept is None else kept
        return read_clips("training", files, {}, load_profile("smoke"), scratch, kept)

    read.stops_at, read.names = "", []
    monkeypatch.setattr(audit_folders, "read_sound", counting)
    return read


def same(one, other) -> bool:
    pd.testing.assert_frame_equal(one.measures, other.measures)
    assert one.names.tolist() == other.names.tolist()
    for row in range(len(one.names)):
        assert np.array_equal(one.sounds[row], other.sounds[row])
        assert all(map(np.array_equal, one.marks[row], other.marks[row]))
    return True


def test_the_second_time_no_file_is_decoded_but_one_that_changed(read, files, tmp_path):
    plain = read(NOTHING_KEPT)
    assert same(plain, read()) and sorted(read.names) == sorted(files) and not any(plain.keys)
    assert same(plain, read()) and not read.names
    soundfile.write(files["2.wav"], 0.3 * np.random.default_rng(9).standard_normal(9000), RATE)
    changed = read()
    assert read.names == ["2.wav"] and len(changed.sounds[2]) == 9000
    files["moved.wav"] = files.pop("0.wav").rename(tmp_path / "moved.wav")
    assert len(read().names) == 5 and not read.names, "the content names an entry, not the file's name"
    read(Kept(tmp_path / "kept", "other settings"))
    assert sorted(read.names) == sorted(files)


@pytest.mark.parametrize("at", range(5))
def test_an_interrupt_at_any_file_loses_at_most_what_was_in_hand(read, files, at, monkeypatch):
    monkeypatch.setattr(audit_folders, "cores", lambda: 1)
    plain = read(NOTHING_KEPT)
    read.stops_at = f"{at}.wav"
    with pytest.raises(KeyboardInterrupt):
        read()
    done, read.stops_at = set(read.names), ""
    assert len(done) >= at
    assert same(plain, read()) and set(read.names) == set(files) - done


@pytest.mark.parametrize("share", [0.0, 0.4, 0.999])
def test_an_entry_that_was_cut_off_or_altered_is_made_anew(read, tmp_path, share):
    plain = read()
    entries = sorted((tmp_path / "kept").rglob("*.npz"))
    assert len(entries) == 5 and not [*(tmp_path / "kept").rglob("*.part")]
    content = entries[0].read_bytes()
    entries[0].write_bytes(content[: int(share * len(content))])
    flipped = bytearray(entries[1].read_bytes())
    flipped[len(flipped) // 2] ^= 255
    entries[1].write_bytes(flipped)
    entries[2].with_suffix(".1.2.part").write_bytes(b"half of one")
    assert same(plain, read()) and len(read.names) == 2
    assert same(plain, read()) and not read.names


def test_windows_that_are_kept_are_not_computed_and_give_the_same_rows(read, tmp_path):
    clips = read()
    windows = Windows(clips.sounds, range(5), 8192)
    asked = []

    def compute(audio):
        asked.append(len(audio))
        return np.stack([audio[:, :16].astype(np.float32)] * 2, axis=1)

    plain = Kept(None).of_windows("mels", windows, [""] * 5, compute, tmp_path / "plain.npy", np.float16)
    first, again = (
        Kept(tmp_path / "kept", "settings").of_windows(
            "mels", windows, clips.keys, compute, tmp_path / file, np.float16
        )
        for file in ("first.npy", "again.npy")
    )
    assert plain.dtype == np.float16 and plain.shape == (len(windows), 2, 16) and asked == [len(windows)] * 2
    assert np.array_equal(plain, first) and np.array_equal(plain, again)
    mixed = Kept(tmp_path / "kept", "settings").of_windows(
        "mels", windows, [*clips.keys[:3], "", clips.keys[4]], compute, tmp_path / "mixed.npy", np.float16
    )
    assert asked[2:] == [(windows.owner == 3).sum()] and np.array_equal(plain, mixed)


WRITING = """
import sys
from pathlib import Path
import numpy as np
from helpers.copies.audit.kept import Kept

folder = Path(sys.argv[1])
(folder / "clip").write_bytes(b"clip")
kept = Kept(folder)
try:
    kept.store(kept.key(folder / "clip"), "sound", rows=np.ones(2**20))
except OSError as error:
    found = [path.name for path in folder.rglob("*") if path.is_file()]
    sys.exit(f"{error.strerror}; {found}")
"""


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_of_an_entry(tmp_path):
    done = on_small_disk(tmp_path, "size=1m", sys.executable, "-c", WRITING, tmp_path)
    assert done.returncode == 1 and done.stderr == "no room left on the disk; ['clip']\n"


def test_an_audit_of_tomorrow_or_of_parts_reads_only_what_was_generated_and_says_the_same(tmp_path, monkeypatch, capfd):
    """The features of training and honest windows are not computed a second time either; nor after their parts were put
    there, more parts than there are training files."""
    plant_few(monkeypatch, 2, "exact", "shift 0.2 s")
    rng = np.random.default_rng(1)
    for kind, n in (("generated", 2), ("training", 6), ("honest", 40)):
        (tmp_path / kind).mkdir()
        for number in range(n):
            tones = rng.standard_normal((8, 4096)).cumsum(axis=1).ravel()  # a hum of its own
            soundfile.write(tmp_path / kind / f"{kind}{number}.wav", 0.3 * tones / np.abs(tones).max(), RATE)
    profile = load_profile("smoke").replace("corpus", clip_samples=16_384).replace("thresholds", fpr=0.1)
    profile = profile.replace("retrieval", detectors=("mel", "mel_aligned"))
    plain_read, plain_mel = audit_folders.read_sound, audit.log_mel
    read, heard = [], []
    monkeypatch.setattr(
        audit_folders, "read_sound", lambda path, *rest: (read.append(path.name), plain_read(path, *rest))[1]
    )
    monkeypatch.setattr(audit, "log_mel", lambda clips, *rest: (heard.append(len(clips)), plain_mel(clips, *rest))[1])
    folders = [tmp_path / kind for kind in audit.KINDS]
    without = audit.audit(*folders, profile)
    first = audit.audit(*folders, profile, kept=tmp_path / "kept")
    for k in range(1, 8):
        read.clear()
        audit.prepare(dict(zip(audit.KINDS, folders)), profile, (k, 7), False, tmp_path / "parts")
        assert len(read) == (k < 7) + 6 - (k > 40 % 7) and not any("generated" in name for name in read)
    assert "training: expected files with sound, got none" in capfd.readouterr().err
    read.clear()
    heard.clear()
    parts = audit.audit(*folders, profile, kept=tmp_path / "parts")
    assert sorted(read) == ["generated0.wav", "generated1.wav"]
    read.clear()
    again = audit.audit(*folders, profile, kept=tmp_path / "kept")
    assert sorted(read) == ["generated0.wav", "generated1.wav"]
    planted = 2 * 2 * 2  # kinds, roles, PLANTED
    assert sum(heard) <= 2 * (2 + planted) * 4, "windows of what is generated and planted alone"
    for other in (first, again, parts):
        pd.testing.assert_frame_equal(without.table, other.table)
    heard.clear()
    for k in (1, 2):
        audit.prepare(dict(zip(audit.KINDS, folders)), profile, (k, 2), True, tmp_path / "matched")
    assert sum(heard) == 6 * 3, "windows of training clips alone: honest ones are made alike as one"
    matched = [audit.audit(*folders, profile, match_honest=True, kept=kept) for kept in (None, tmp_path / "matched")]
    pd.testing.assert_frame_equal(*(one.table for one in matched))
    assert (matched[0].table["score"] != without.table["score"]).any()


def test_what_is_kept_follows_from_the_weights_that_a_path_has_now(tmp_path, monkeypatch):
    """Of LAION's file, which has no digest beside it, and of a model made here, whose config.json has one. What no weights made
    is kept whichever they are, and whichever detectors are chosen.
    """
    (tmp_path / "clip").write_bytes(b"clip")
    for path, file in (("music.pt", "music.pt"), ("clap", "clap/config.json")):
        profile = load_profile("smoke").replace("retrieval", detectors=("mel", "clap"), clap_path=str(tmp_path / path))
        (tmp_path / file).parent.mkdir(exist_ok=True)
        for weights in (b"one " + path.encode(), b"other " + path.encode()):
            (tmp_path / file).write_bytes(weights)
            kept = audit._store(tmp_path / "kept", profile)
            key = kept.key(tmp_path / "clip")
            assert kept.load(key, "clap") is None
            for name in ("clap", "mels"):
                kept.store(key, name, rows=np.ones(1))
                assert audit._store(tmp_path / "kept", profile).load(key, name)
        without = audit._store(tmp_path / "kept", profile.replace("retrieval", detectors=("mel",)))
        assert without.key(tmp_path / "clip") == key and without.load(key, "mels")
        assert audit._store(None, profile).key(tmp_path / "clip") == ""


def test_a_damaged_entry_counts_as_none_whichever_byte_it_is(tmp_path):
    kept = Kept(tmp_path)
    kept.store("ab" * 32, "sound", sound=np.arange(8, dtype=np.int16))
    (path,) = tmp_path.rglob("*.npz")
    content = path.read_bytes()
    for place in range(len(content)):  # the header of an array is Python's text, whose damage numpy tells otherwise
        for bit in (1, 64):
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            entry = kept.load("ab" * 32, "sound", ("sound",))
            assert entry is None or np.array_equal(entry["sound"], np.arange(8))


def test_an_entry_that_lacks_a_part_counts_as_none(tmp_path):
    kept = Kept(tmp_path)
    kept.store("ab" * 32, "sound", sound=np.zeros(8, np.int16))
    assert kept.load("ab" * 32, "sound", ("sound", "measures")) is None


def test_a_file_that_vanished_is_left_out_whether_or_not_anything_is_kept(tmp_path):
    profile = load_profile("smoke")
    for kept in (NOTHING_KEPT, Kept(tmp_path / "kept")):
        assert str(audit_folders._read(tmp_path / "gone.wav", profile, kept)).startswith("cannot be opened")
