"""The committed sound pack keeps its promises, and a broken pack is refused."""

import csv
import io
import re
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from helpers.sound.pack import LICENCES, METADATA_COLUMNS, ROLES, SAMPLE_RATE_HZ, decode_sounds, load_soundpack

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import package_readers  # noqa: E402
import sound_packages  # noqa: E402
import sound_processing  # noqa: E402

DATA = ROOT / "data"
PACK = DATA / "sounds.parquet"
PLURAL_VERBS = (
    "bark beep bleat break burn bustle buzz call chirp clash click clink crackle crash croak fall flutter gallop "
    "hammer play quack ring rise roar rustle screech sing snap stir talk trot tumble turn wash"
)


@pytest.fixture(scope="module")
def pack():
    return load_soundpack(PACK)


@pytest.fixture(scope="module")
def small_pack():
    """The three shortest recordings, as a pyarrow table to break."""
    table = pq.read_table(PACK)
    order = np.argsort(table["seconds"].to_numpy())[:3]
    return table.take(order)


def replace_column(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


def test_every_recording_has_author_and_known_licence(pack):
    assert tuple(pack.columns) == METADATA_COLUMNS
    assert (pack["author"].str.strip() != "").all()
    assert set(pack["licence"]) <= LICENCES
    assert not pack["licence"].str.contains("GPL|mixed", case=False).any()
    assert pack["sha256"].str.fullmatch(r"[0-9a-f]{64}").all()
    assert pack["sha256"].is_unique


def test_size_and_balance(pack):
    assert len(pack) >= 1_800
    assert pack["package"].nunique() == 10
    assert PACK.stat().st_size <= 48e6
    assert pack["id"].is_unique
    assert set(pack["role"]) == ROLES
    counts = pack["class"].value_counts()
    for name, cap in {"speech": 300, "impact": 120, "synth": 60, "whoosh": 40}.items():
        assert counts[name] <= cap, name
    beds = pack[pack["role"] == "bed"]
    assert len(beds) >= 40
    assert beds["seconds"].between(6, 120).all()
    assert pack["seconds"][pack["role"] == "foreground"].between(0.15, 20).all()
    assert set(pack["confidence"]) <= {"H", "M"}


def test_no_source_group_dominates(pack):
    sizes = pack["source_group"].value_counts()
    assert sizes.max() < 0.05 * len(pack)
    assert len(sizes) >= 500
    assert pack["source_group"].str.strip().ne("").all()


def test_gcompris_holds_only_free_art_recordings(pack):
    """The package as a whole is under the GPL; its copyright file frees the recordings named *_LA and *_LA_cut."""
    rows = pack[pack["package"] == "gcompris-qt-data"]
    assert rows["path"].str.contains(r"_LA(?:_cut)?\.ogg$").all()
    assert (rows["licence"] == "LAL-1.3").all()


def test_captions_are_clauses(pack):
    """A caption works in "X while Y": lower case, no final period, a finite verb after the subject."""
    captions = pack["caption"].drop_duplicates()
    for caption in captions:
        assert caption == caption.lower().strip(), caption
        assert not re.search(r"[<>/\\()\[\]_]|\.(ogg|wav|mp3)|\.$|\s\s", caption), caption
        # a verb in the third person: singular in -s ("barks", "is"), or one of the plural verbs in use
        words = re.sub(r'"[^"]*"', "", caption).split()
        assert len(words) >= 2, caption
        assert any(re.fullmatch(r"[a-z-]+s", word) or word in PLURAL_VERBS.split() for word in words[1:]), caption
        assert not re.match(r"(footsteps|applause|a footstep) (on|in)\b", caption), caption


def test_sources_list_is_what_was_packed(pack):
    with (DATA / "sources.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(METADATA_COLUMNS)
    assert [row["id"] for row in rows] == pack["id"].tolist()
    for name in METADATA_COLUMNS:
        packed = pack[name].tolist()
        listed = [float(row[name]) if name == "seconds" else row[name] for row in rows]
        assert packed == listed, name


def test_attribution_names_every_author_and_package(pack):
    text = (DATA / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for column in ("author", "package", "version", "licence"):
        for value in pack[column].unique():
            assert value in text, value
    for title in pack["title"][pack["licence"] == "CC-BY-3.0"]:
        assert title in text, title
    assert "not verified by ear" in text


def test_sample_decodes_as_stated(pack):
    chosen = pack.sample(60, random_state=0)
    sounds = decode_sounds(PACK, [*chosen["id"], chosen["id"].iloc[0]])
    assert list(sounds) == chosen["id"].tolist()
    for id_, seconds in zip(chosen["id"], chosen["seconds"], strict=True):
        samples = sounds[id_]
        assert samples.ndim == 1 and samples.dtype == np.float32
        assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(seconds, abs=1e-3)
        assert np.sqrt(np.mean(samples**2)) > 1e-3
        assert np.abs(samples).max() < 1.2  # Vorbis may overshoot a little


def test_no_ids_decode_to_nothing():
    assert decode_sounds(PACK, []) == {}


def test_unknown_id_is_refused():
    with pytest.raises(ValueError, match="expected ids of the pack, got .'no-such-sound'"):
        decode_sounds(PACK, ["no-such-sound"])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("author", "", "expected an author"), ("author", None, "expected an author"), ("licence", "GPL-2.0", "licence of"),
     ("licence", None, "licence of"), ("role", "music", "role of"), ("id", "twice", "unique ids")],
)  # fmt: skip
def test_broken_metadata_is_refused(tmp_path, small_pack, column, value, message):
    values = small_pack[column].to_pylist()
    values[:2] = [value, value]
    pq.write_table(replace_column(small_pack, column, values), tmp_path / "pack.parquet")
    with pytest.raises(ValueError, match=message):
        load_soundpack(tmp_path / "pack.parquet")


@pytest.mark.parametrize("column", ["audio", "author", "source_group"])
def test_missing_column_is_refused(tmp_path, small_pack, column):
    pq.write_table(small_pack.drop_columns([column]), tmp_path / "pack.parquet")
    with pytest.raises(ValueError, match=f"got none of .'{column}'"):
        load_soundpack(tmp_path / "pack.parquet")


def make_ogg(path, samples, rate_hz):
    soundfile.write(path, samples, rate_hz, format="OGG", subtype="VORBIS")
    return path.read_bytes()


def test_broken_sounds_are_refused(tmp_path, small_pack):
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ).astype(np.float32)
    file = tmp_path / "sound.ogg"
    cases = {
        "expected Ogg Vorbis": b"not a sound",
        "expected mono at 16000 Hz, got 1 channels at 8000": make_ogg(file, noise[:8_000], 8_000),
        "expected mono at 16000 Hz, got 2 channels": make_ogg(file, np.stack([noise, noise], axis=1), SAMPLE_RATE_HZ),
        "RMS above": make_ogg(file, 0 * noise, SAMPLE_RATE_HZ),
        "expected 1.0 s, got 0.5": make_ogg(file, noise[:8_000], SAMPLE_RATE_HZ),
    }
    for message, audio in cases.items():
        table = replace_column(small_pack, "audio", [audio] * 3)
        table = replace_column(table, "seconds", [1.0] * 3)
        pq.write_table(table, tmp_path / "pack.parquet")
        with pytest.raises(ValueError, match=message):
            decode_sounds(tmp_path / "pack.parquet", [small_pack["id"][0].as_py()])


def noise_of(seconds):
    return 0.1 * np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE_HZ)).astype(np.float32)


def test_encoding_gives_the_same_bytes_twice():
    samples = noise_of(2)
    first = sound_processing.encode(samples)
    assert first == sound_processing.encode(samples)
    decoded, rate_hz = soundfile.read(io.BytesIO(first))
    assert rate_hz == SAMPLE_RATE_HZ and len(decoded) == len(samples)


def test_page_checksums_agree_with_libogg():
    """Writing the serial number that libsndfile drew must restore its bytes: libogg computed those checksums."""
    file = io.BytesIO()
    soundfile.write(file, noise_of(3), SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")
    content = file.getvalue()
    serial = int.from_bytes(content[14:18], "little")
    other = sound_processing.fix_ogg_serial(content, serial ^ 1)
    assert other != content
    assert sound_processing.fix_ogg_serial(other, serial) == content


def test_trim_and_steady_stretch_keep_the_sound():
    silence, noise = np.zeros(SAMPLE_RATE_HZ, np.float32), noise_of(8)
    trimmed = sound_processing.trim(np.concatenate([silence, noise, silence]))
    assert len(noise) <= len(trimmed) <= len(noise) + 0.1 * SAMPLE_RATE_HZ
    broken = np.concatenate([noise, silence, silence, noise_of(4)])
    assert not sound_processing.is_steady(sound_processing.measure(broken))
    stretch = sound_processing.steady_stretch(broken)
    assert len(stretch) == len(noise)
    assert sound_processing.is_steady(sound_processing.measure(stretch))


def test_readers_open_nested_packages(tmp_path):
    """A .deb around an OpenTTD sound set, both written by hand from their formats."""
    label = b'"Cow". By Ann. License: Creative Commons Zero 1.0.\0'
    sound = b"RIFF1234"
    cat = struct.pack("<II", 8, len(sound)) + bytes([len(label)]) + label + sound
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:xz") as archive:
        member = tarfile.TarInfo("./usr/share/set.cat")
        member.size = len(cat)
        archive.addfile(member, io.BytesIO(cat))
    deb = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0"), ("data.tar.xz", tar.getvalue())):
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        deb += content + b"\n" * (len(content) % 2)
    path = tmp_path / "openttd-opensfx_1_all.deb"
    path.write_bytes(deb)
    members = dict(package_readers.read_package("openttd-opensfx", path))
    assert members == {"00_Cow.wav": sound, "credits/00_Cow.txt": label[:-1]}
    path.write_bytes(b"not a package")
    with pytest.raises(ValueError, match="expected magic"):
        dict(package_readers.read_package("openttd-opensfx", path))


def test_package_with_another_content_is_refused(tmp_path):
    package = sound_packages.PACKAGES[0]
    (tmp_path / package.file).write_bytes(b"changed")
    with pytest.raises(ValueError, match=f"expected sha256 {package.sha256}, got"):
        sound_packages.fetch(package, tmp_path)
