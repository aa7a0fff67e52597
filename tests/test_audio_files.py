"""What is read of audio files of every kind, and what is said of those that hold no sound: a table, a row a file."""

import wave

import av
import numpy as np
import pytest
import soundfile

from helpers.sound import audio_file
from helpers.sound.audio_file import read_clip, read_sound

RATE, SAMPLES = 16_000, 16_384
ONE_LSB = 1 / 32768


def tone(rate: int, seconds: float = 1.2, channels: int = 1) -> np.ndarray:
    """A tone that comes and goes, in [n, channels]."""
    t = np.arange(round(rate * seconds)) / rate
    return np.repeat((0.3 * np.sin(880 * np.pi * t) * np.exp(-((t - 0.4) ** 2) / 0.05))[:, None], channels, 1)


def by_ffmpeg(path, codec: str, rate: int = 48_000, film_s: int = 0, **options) -> None:
    """A file of a kind that libsndfile neither writes nor reads, with or without a film of so many seconds beside the sound."""
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if film_s:
            video = container.add_stream("mpeg4", rate=5, width=32, height=32, pix_fmt="yuv420p")
            for number in range(5 * film_s):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), "rgb24")
                picture.pts = number
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(tone(rate).T.astype(np.float32).copy(), "fltp", "mono")
        frame.sample_rate, frame.pts = rate, 0
        context = stream.codec_context
        for part in (fit := av.AudioResampler(stream.format, "mono", rate, context.frame_size)).resample(
            frame
        ) + fit.resample(None):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


# name: format, subtype, rate, channels
SNDFILE = {
    f"{rate} Hz.wav": ("WAV", "PCM_16", rate, 1) for rate in (8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000)
}
SNDFILE |= {f"{name}.wav": ("WAV", "PCM_16", RATE, n) for name, n in {"mono": 1, "stereo": 2, "5.1": 6}.items()}
SNDFILE |= {
    f"{of}.wav": ("WAV", of, RATE, 1)
    for of in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "GSM610")
}
SNDFILE |= {
    "a.aiff": ("AIFF", "PCM_16", RATE, 1), "a.au": ("AU", "PCM_16", RATE, 1), "mu-law.au": ("AU", "ULAW", 8_000, 1),
    "a.caf": ("CAF", "PCM_16", RATE, 2), "a.w64": ("W64", "PCM_16", RATE, 1), "a.rf64": ("RF64", "PCM_16", RATE, 1),
    "a.flac": ("FLAC", "PCM_16", RATE, 1), "a.ogg": ("OGG", "VORBIS", RATE, 1), "a.oga": ("OGG", "VORBIS", RATE, 1),
    "a.opus": ("OGG", "OPUS", 48_000, 1), "a.mp3": ("MP3", "MPEG_LAYER_III", 44_100, 1), "a.sph": ("NIST", "PCM_16", RATE, 1),
    "no suffix": ("WAV", "PCM_16", RATE, 1), "wrong suffix.mp3": ("FLAC", "PCM_16", RATE, 1),
}  # fmt: skip
FFMPEG = {"a.m4a": "aac", "a.mp4": "aac", "a.webm": "libopus", "a.mka": "ac3", "a.tta": "tta", "a.wv": "wavpack"}


@pytest.mark.parametrize("name", [*SNDFILE, *FFMPEG])
def test_what_is_read(tmp_path, name):
    path = tmp_path / name
    if name in FFMPEG:
        by_ffmpeg(path, FFMPEG[name])
    else:
        kind, subtype, rate, channels = SNDFILE[name]
        soundfile.write(path, tone(rate, channels=channels), rate, format=kind, subtype=subtype)
    clip, expected = read_clip(path, RATE, SAMPLES), tone(RATE)[:SAMPLES, 0]
    assert clip.shape == (SAMPLES,) and clip.dtype == np.int16 and np.abs(clip).max() == pytest.approx(16_384, abs=2)
    assert clip @ expected / np.linalg.norm(clip.astype(float)) / np.linalg.norm(expected) > 0.995  # in time as well


def with_length(path, stated: bytes):
    """A WAV file whose header states so many bytes of sound, whatever there are."""
    soundfile.write(path, tone(RATE), RATE)
    data = path.read_bytes()
    assert data[36:40] == b"data"
    path.write_bytes(data[:4] + stated + data[8:40] + stated + data[44:])


ODD = {  # files that are whole, though their headers do not say how long they are, or another stream is longer
    "length 0.wav": lambda p: with_length(p, bytes(4)),
    "length unknown.wav": lambda p: with_length(p, b"\xff" * 4),
    "as SoX pipes.wav": lambda p: with_length(p, b"\xff\xff\xff\x7f"),
    "live.mkv": lambda p: by_ffmpeg(p, "libopus", options={"live": "1"}),
    "film.mkv": lambda p: by_ffmpeg(p, "libopus", film_s=5),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_whole_is_read_whatever_its_header_says(tmp_path, name):
    ODD[name](path := tmp_path / name)
    clip, expected = read_clip(path, RATE, 2 * SAMPLES), np.zeros(2 * SAMPLES)
    expected[: len(tone(RATE))] = tone(RATE)[:, 0]
    assert clip @ expected / np.linalg.norm(clip.astype(float)) / np.linalg.norm(expected) > 0.995


def write(path, audio, rate=RATE, subtype="DOUBLE"):
    soundfile.write(path, audio, rate, format="WAV", subtype=subtype)


def with_value(value):
    audio = tone(RATE)
    audio[5000] = value
    return audio


def cut(path, kind, **options):
    """The first half of a file; with a suffix for a kind, FFmpeg writes it."""
    if kind.startswith("."):
        by_ffmpeg(whole := path.with_suffix(kind), **options)
    else:
        soundfile.write(whole := path, tone(RATE), RATE, format=kind, **options)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


def bare_mp3(path, share=1.0):
    """The beginning of an MP3 without the header that states its length."""
    soundfile.write(path, tone(RATE), RATE, format="MP3")
    whole = path.read_bytes()
    first = 72_000 * audio_file.MP3_KBPS[0][(whole[2] >> 4) - 1] // RATE + (whole[2] >> 1 & 1)
    assert b"Xing" in whole[:first]
    path.write_bytes(whole[first:][: round(share * (len(whole) - first))])


def film(path):
    """A file that FFmpeg reads, but for sound."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5, width=32, height=32, pix_fmt="yuv420p")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))


ANTIPHASE = tone(RATE) * [[1, -1]]
REFUSED = {  # what is written, and what is said of it
    "0 bytes": (lambda p: p.touch(), "cannot be decoded (empty)"),
    "text": (lambda p: p.write_text("not audio\n" * 99), "cannot be decoded (Format not recognised; FFmpeg: "),
    "header only": (lambda p: write(p, tone(RATE)[:0]), "expected at least 0.02 s of sound, got 0 samples at 16,000 Hz"),
    "one sample": (lambda p: write(p, tone(RATE)[5000:5001]), "expected at least 0.02 s of sound, got 1 samples"),
    "a few samples": (lambda p: write(p, tone(RATE)[5000:5200]), "expected at least 0.02 s of sound, got 200 samples"),
    "1 Hz": (lambda p: write(p, tone(RATE), 1), "expected at least 0.02 s of sound, got 2 samples at 1 Hz"),
    "half a FLAC": (lambda p: cut(p, "FLAC"), "damaged or cut off (Error : flac decoder lost sync)"),
    "half an MP3": (lambda p: cut(p, "MP3"), "damaged or cut off ("),
    "half a bare MP3": (lambda p: bare_mp3(p, 0.6), "damaged or cut off (it ends inside a frame, after "),
    "half an Ogg": (lambda p: cut(p, "OGG"), "cannot be decoded (Supported file format but file is malformed; FFmpeg: "),
    "half a WAV": (lambda p: cut(p, "WAV"), "damaged or cut off (9589 of 16384 samples can be decoded)"),
    "half a float WAV": (lambda p: cut(p, "WAV", subtype="FLOAT"), "damaged or cut off (9590 of 16384 samples can be decoded)"),
    "half an AIFF": (lambda p: cut(p, "AIFF"), "damaged or cut off (9586 of 16384 samples can be decoded)"),
    "half an AU": (lambda p: cut(p, "AU"), "damaged or cut off (9594 of 16384 samples can be decoded)"),
    "half a W64": (lambda p: cut(p, "W64"), "damaged or cut off (9"),
    "half an RF64": (lambda p: cut(p, "RF64"), "damaged or cut off (9"),
    "half a CAF": (lambda p: cut(p, "CAF"), "damaged or cut off (Supported file format but file is malformed)"),
    "half a WebM": (lambda p: cut(p, ".webm", codec="libopus"), "damaged or cut off (it ends after 0.474 of 1.21 s)"),
    "half a Matroska": (lambda p: cut(p, ".mka", codec="flac"), "damaged or cut off (it ends after 0."),
    "half a film": (lambda p: cut(p, ".mkv", codec="libopus", film_s=5), "damaged or cut off (it ends after "),
    "half a Flash": (lambda p: cut(p, ".flv", codec="mp3", rate=44_100), "damaged or cut off (it ends after 0."),
    "half an MP4": (lambda p: cut(p, ".mp4", codec="aac", options={"movflags": "faststart"}), "damaged or cut off (FFmpeg: "),
    "a picture": (lambda p: film(p), "holds no audio"),
    "sound too late": (lambda p: write(p, np.concatenate([0 * tone(RATE), tone(RATE)])), "expected sound in its first 1.02 s, got"),
    "zeros": (lambda p: write(p, 0 * tone(RATE)), "s, got silence"),
    "DC": (lambda p: write(p, 0 * tone(RATE) + 0.4), "s, got silence"),
    "short DC": (lambda p: write(p, 0 * tone(RATE)[:9000] + 0.4), "s, got silence"),
    "DC at another rate": (lambda p: write(p, 0 * tone(44_100) + 0.4, 44_100), "s, got silence"),
    "less than 16 bits hold": (lambda p: write(p, ONE_LSB * tone(RATE)), "s, got silence"),
    "ultrasound": (
        lambda p: write(p, np.hanning(192_000) * np.sin(np.arange(192_000) * 2), 192_000), "expected sound below 8,000 Hz, got none"),
    "one NaN": (lambda p: write(p, with_value(np.nan)), "got NaN or infinity in 1 of 16384, the first at 0.312 s"),
    "one infinity": (lambda p: write(p, with_value(np.inf)), "expected finite samples, got NaN or infinity in 1 of"),
    "beyond float32": (lambda p: write(p, with_value(1e300)), "expected finite samples, got NaN or infinity in 1 of"),
    "all NaN": (lambda p: write(p, tone(RATE) * np.nan), "got NaN or infinity in 16384 of 16384, the first at 0.000 s"),
    "antiphase": (lambda p: write(p, ANTIPHASE), "expected channels that add up, got such as cancel each other; channel=first"),
}  # fmt: skip


@pytest.mark.parametrize("tail", [b"", b"TAG" + 125 * b"\0"])
def test_a_whole_mp3_is_read_with_and_without_a_header_whatever_follows(tmp_path, tail):
    for name in ("with.mp3", "without.mp3"):
        path = tmp_path / name
        bare_mp3(path) if name == "without.mp3" else soundfile.write(path, tone(RATE), RATE, format="MP3")
        path.write_bytes(path.read_bytes() + tail)
        assert len(audio_file.read_sound(path, RATE)[0]) >= len(tone(RATE))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_said(tmp_path, name):
    make, told = REFUSED[name]
    make(path := tmp_path / f"{name}.wav")
    with pytest.raises(ValueError) as refused:
        read_clip(path, RATE, SAMPLES)
    assert str(refused.value).startswith(f"'{name}.wav': ") and told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("path", ["gone.wav", "n" * 300 + ".wav", "zero\0byte.wav", "."])
def test_a_path_that_cannot_be_opened_is_told_too(tmp_path, path):
    with pytest.raises(ValueError, match="cannot be opened|embedded null byte"):
        read_clip(tmp_path / path, RATE, SAMPLES)


def test_the_setting_channel(tmp_path):
    write(tmp_path / "a.wav", ANTIPHASE)
    assert np.array_equal(read_clip(tmp_path / "a.wav", RATE, SAMPLES, "first"), clip_of(tmp_path, tone(RATE)))
    write(tmp_path / "right.wav", ANTIPHASE * [[0, 1]])
    with pytest.raises(ValueError, match="sound in the first channel, got silence; channel=mean takes all"):
        read_clip(tmp_path / "right.wav", RATE, SAMPLES, "first")
    assert np.array_equal(read_clip(tmp_path / "right.wav", RATE, SAMPLES), -clip_of(tmp_path, tone(RATE)))


def clip_of(folder, audio, rate=RATE):
    write(folder / "of.wav", audio, rate)
    return read_clip(folder / "of.wav", RATE, SAMPLES)


def test_a_constant_added_to_a_short_file_is_taken_off_before_it_is_padded(tmp_path):
    """Else it makes a step at the padding, louder than the sound."""
    for rate in (RATE, 44_100):
        audio = 0.01 * tone(rate, 0.7)
        assert np.abs(clip_of(tmp_path, audio + 0.5, rate) - clip_of(tmp_path, audio, rate)).max() <= 2


def test_of_an_hour_only_the_beginning_is_decoded(tmp_path, monkeypatch):
    path, seconds = tmp_path / "hour.wav", 3600
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((tone(RATE)[:, 0] * 32767).astype("<i2").tobytes())
    header = bytearray(path.read_bytes()[:44])
    header[40:44], header[4:8] = ((2 * RATE * seconds + extra).to_bytes(4, "little") for extra in (0, 36))
    with path.open("r+b") as file:  # the rest is a hole: 115 MB that take no disk
        file.write(header)
        file.truncate(44 + 2 * RATE * seconds)
    assert soundfile.info(path).duration == seconds
    asked = []
    real = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda f, n, **how: asked.append(n) or real(f, n, **how))
    clip = read_clip(path, RATE, SAMPLES)
    assert asked == [SAMPLES] and np.abs(clip).max() == pytest.approx(16_384, abs=2)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("W64", "PCM_16"), ("CAF", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
def test_a_cut_is_told_where_it_is_reached_alone(tmp_path, kind, subtype):
    noise = 0.1 * np.random.default_rng(0).standard_normal(
        20 * RATE
    )  # many pages of an Ogg, which a tone does not fill
    soundfile.write(path := tmp_path / "whole", noise, RATE, format=kind, subtype=subtype)
    assert len(read_sound(path, RATE)[0]) == len(noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert np.abs(read_clip(path, RATE, SAMPLES)).max() == pytest.approx(16_384, abs=2)
    with pytest.raises(ValueError, match="damaged or cut off"):
        read_sound(path, RATE)


def test_how_a_sound_is_made_mono_and_its_length_are_checked(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    wrong = (
        ((16_000, 800, "left"), "channel: expected one of mean, first"),
        ((16_000, -5), "1 or more"),
        ((0, 800), "1 or more"),
    )
    for given, message in wrong:
        with pytest.raises(ValueError, match=message):
            read_clip(tmp_path / "a.wav", *given)
