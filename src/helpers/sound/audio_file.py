"""One clip of a user's audio file, or all of it: corpora and `audit` read by this alone.

What a file holds decides, not its name: libsndfile reads it, else FFmpeg (PyAV). A file that cannot be used raises a
ValueError that names it and says why, whatever is wrong with it, so that the others can go on.

Notebook: 01_corpus.
"""

import contextlib
import os
import re
from pathlib import Path

import librosa
import numpy as np
import soundfile

from helpers.base.settings import CHANNELS
from helpers.base.shielded import shielded
from helpers.sound.mel import normalise_waveform

LEAST_S = 0.02  # a shorter file is no sound: one period at 50 Hz, the lowest that is heard
CUT_S = 0.1  # what may be missing at the end of a file: an MP3's length is not always exact
FAINTEST = 1 / 32768  # a greatest value that is no more than this, less the mean, is silence: 16 bits cannot hold it
OGG_CUT = re.compile(r"Ogg ?: Last page lacks an end-of-stream bit\.\s+Ogg ?: Junk")  # as libsndfile's log has it
# An MP3 whose length libsndfile guesses by the bit rate of its first frame, as no Xing header says that it varies
BY_BIT_RATE = re.compile(r"^ *bitrate mode *: constant", re.MULTILINE)
# Of ISO 11172-3 and 13818-3, layer III: bit rates below MPEG-1 and of it, sample rates by the header's number of the version.
MP3_KBPS = (
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
MP3_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
STREAMED = 2**31 - 2**12  # so many bytes or more are stated by those who wrote into a pipe and did not know the length
LEAST_HZ = 1_000  # a lower sample rate is a damaged header; brought to 16 kHz such a file would fill the memory
CANCELLED = 0.01  # channels cancel where the mean's level is this small a part of the loudest channel's (-40 dB)


def read_clip(path: str | Path, sample_rate_hz: int, clip_samples: int, channel: str = "mean") -> np.ndarray:
    """One file's beginning as int16 [clip_samples]: mono, mean removed, resampled, padded or cut, peak at 0.5 (as TANGO).

    `channel`: the mean of all channels, or the first. Only what the clip needs is decoded, however long the file is.

    Raises:
        ValueError: the file cannot be decoded, or what would be used of it is silent, shorter than LEAST_S, not finite, or
            in channels that cancel each other; the message names the file. Or a rate or length below 1, or another channel.
    """
    if sample_rate_hz < 1 or clip_samples < 1:
        raise ValueError(
            f"expected a sample rate and a length of 1 or more, got {sample_rate_hz} Hz and {clip_samples}"
        )
    audio = _read(Path(path), sample_rate_hz, clip_samples / sample_rate_hz, channel)
    return _as_int16(librosa.util.fix_length(audio, size=clip_samples))


def read_sound(path: str | Path, sample_rate_hz: int, channel: str = "mean") -> tuple[np.ndarray, float]:
    """All of one file as int16 [n], prepared as `read_clip` does but neither padded nor cut; and its level in dB.

    The level is the root mean square of what the file holds, in dB of full scale. Raises ValueError as `read_clip` does.
    """
    audio = _read(Path(path), sample_rate_hz, np.inf, channel)
    return _as_int16(audio), float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64))))


def holds_sound(path: str | Path) -> bool:
    """Whether the beginning of a file can be decoded."""
    try:
        shielded(_decode, Path(path), LEAST_S)
    except ValueError:
        return False
    return True


def _read(path: Path, sample_rate_hz: int, seconds: float, channel: str) -> np.ndarray:
    """The first seconds of a file, float32 [n], mono, without its mean, at the sample rate asked for."""
    if channel not in CHANNELS:
        raise ValueError(f"channel: expected one of {', '.join(CHANNELS)}, got {channel!r}")
    try:
        audio, rate_hz = shielded(_decode, path, seconds)  # soundfile reads a handle through callbacks
        audio = _mono(audio, rate_hz, channel)
        # less its mean before it is padded or resampled: else either makes a step, which levelling would amplify
        audio = audio - audio.mean()
        if not np.isfinite(audio).all():
            raise ValueError("expected samples whose mean can be taken, got some of far above full scale")
        audio = librosa.resample(audio, orig_sr=rate_hz, target_sr=sample_rate_hz)
        if _peak(audio) <= FAINTEST:
            raise ValueError(f"expected sound below {sample_rate_hz // 2:,} Hz, got none")
        return audio
    except ValueError as error:
        raise ValueError(f"{path.name!r}: {error}") from error


def _as_int16(audio: np.ndarray) -> np.ndarray:
    return np.round(normalise_waveform(audio) * 32767).astype(np.int16)


def _decode(path: Path, seconds: float) -> tuple[np.ndarray, int]:
    """The first seconds of a file, float32 [n, channels], and its rate in Hz. Raises ValueError without the file's name."""
    try:
        with path.open("rb") as raw:  # by handle: soundfile takes names in UTF-8 only
            try:
                file = soundfile.SoundFile(raw)
            except soundfile.LibsndfileError as error:
                raw.seek(0)
                return _decode_by_ffmpeg(raw, seconds, error.error_string.rstrip("."))
            if not file.frames:  # or a header that a pipe could not go back to, with the length 0: FFmpeg reads on
                raw.seek(0)
                return _decode_by_ffmpeg(raw, seconds, "no samples")
            with file:
                if seconds * file.samplerate > file.frames and OGG_CUT.search(file.extra_info):
                    raise ValueError(f"damaged or cut off (it ends inside a page, after {file.frames} samples)")
                frames = int(min(np.ceil(seconds * file.samplerate), _frames_stated(file)))
                audio = file.read(frames, dtype="float32", always_2d=True)
                short = frames - len(audio) > CUT_S * file.samplerate
                if file.format == "MP3" and (short or len(audio) == file.frames):
                    lasts_s, inside = _scan_mp3(raw)
                    if inside:
                        raise ValueError(f"damaged or cut off (it ends inside a frame, after {lasts_s:.3g} s)")
                    if BY_BIT_RATE.search(file.extra_info):
                        short = False
                        if lasts_s - len(audio) / file.samplerate > CUT_S:
                            raw.seek(0)
                            return _decode_by_ffmpeg(raw, seconds, "no length stated")
                if short:
                    raise ValueError(f"damaged or cut off ({len(audio)} of {frames} samples can be decoded)")
                return audio, file.samplerate
    except TypeError as error:  # soundfile goes by the suffix .raw, whatever the file holds
        raise ValueError("cannot be decoded (a raw sound does not say its sample rate)") from error
    except soundfile.LibsndfileError as error:
        raise ValueError(f"damaged or cut off ({error.error_string.rstrip('.')})") from error
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror or error})") from error


def _frames_stated(file: soundfile.SoundFile) -> int:
    """As the header has it. libsndfile counts those that are there; where these are fewer bytes, its log gives both."""
    told = re.search(
        r"^ *(?:data|riff|Riff size|SSND|BODY|Data Size) *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE
    )
    stated, there = map(int, told.groups()) if told else (0, 0)
    return file.frames * stated // there if there < stated < STREAMED and there else file.frames


def _scan_mp3(raw) -> tuple[float, bool]:
    """How many seconds the frames of an MP3 last, and whether the last one is shorter than its header says."""
    import av

    lasts_s, last, _ = 0.0, b"", raw.seek(0)
    with contextlib.suppress(av.FFmpegError), av.open(raw, format="mp3", metadata_errors="ignore") as container:
        for packet in container.demux(audio=0):
            if packet.size:
                lasts_s, last = lasts_s + float((packet.duration or 0) * packet.time_base), bytes(packet)
    return lasts_s, _is_cut(last)


def _is_cut(frame: bytes) -> bool:
    """Whether an MP3's frame is shorter than its header says; False of what may follow the sound, such as a tag."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:  # no layer III
        return False
    version, kbps, rate, padding = frame[1] >> 3 & 3, frame[2] >> 4, frame[2] >> 2 & 3, frame[2] >> 1 & 1
    if version == 1 or not 0 < kbps < 15 or rate == 3:  # reserved, or of no stated rate
        return False
    per_frame = 144_000 if version == 3 else 72_000  # bytes at 1 kbit/s and 1 Hz; half as many samples below MPEG-1
    return len(frame) < per_frame * MP3_KBPS[version == 3][kbps - 1] // MP3_HZ[version][rate] + padding


def _decode_by_ffmpeg(raw, seconds: float, before: str) -> tuple[np.ndarray, int]:
    import av  # only where it is needed: it loads all of FFmpeg

    parts, n, ends_s = [], 0, 0.0
    try:
        # no protocol: a playlist in the place of a sound may not open other files or addresses
        with av.open(raw, metadata_errors="ignore", options={"protocol_whitelist": "none"}) as container:
            if not container.streams.audio or not container.streams.audio[0].rate:
                raise ValueError("holds no audio")
            stream = container.streams.audio[0]
            rate_hz, to_float = stream.rate, av.AudioResampler("fltp")
            for packet in container.demux():  # of all streams: another may last longer
                if packet.pts is not None:
                    ends_s = max(ends_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                for frame in packet.decode() if packet.stream is stream else ():
                    parts += [part.to_ndarray() for part in to_float.resample(frame)]  # float32 [channels, n]
                    n += frame.samples
                if n >= seconds * rate_hz:
                    break
            else:
                if "malformed" in before and container.format.name in ("caf", "ogg"):  # libsndfile tells by the header
                    raise ValueError(f"damaged or cut off ({before})")
                # of Matroska, WebM and Flash, only the length in the header tells a cut; others guess it from the size
                stated = 0 if stream.duration else (container.duration or 0) + (container.start_time or 0)
                if (stated_s := stated / av.time_base) - ends_s > CUT_S:
                    raise ValueError(f"damaged or cut off (it ends after {ends_s:.3g} of {stated_s:.3g} s)")
    except av.FFmpegError as error:
        empty = not raw.seek(0, os.SEEK_END)
        reason = "empty" if empty else f"{'' if parts else f'{before}; '}FFmpeg: {error.strerror}"
        raise ValueError(f"{'damaged or cut off' if parts else 'cannot be decoded'} ({reason})") from error
    audio = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)
    return audio[:, : int(min(np.ceil(seconds * rate_hz), audio.shape[1]))].T, rate_hz


def _mono(audio: np.ndarray, rate_hz: int, channel: str) -> np.ndarray:
    """[n] of [n, channels]. Raises ValueError for what is no sound."""
    n = len(audio)
    if n < LEAST_S * max(rate_hz, 8_000):
        raise ValueError(f"expected at least {LEAST_S:g} s of sound, got {n} samples at {rate_hz:,} Hz")
    if rate_hz < LEAST_HZ:
        raise ValueError(f"expected a sample rate of {LEAST_HZ:,} Hz or more, got {rate_hz:,} Hz")
    if len(bad := np.argwhere(~np.isfinite(audio))):
        where = f"the first at {bad[0, 0] / rate_hz:.3f} s"
        raise ValueError(f"expected finite samples, got NaN or infinity in {len(bad)} of {audio.size}, {where}")
    mono = audio[:, 0] if channel == "first" else audio.mean(axis=1)
    of_all, of_one = _peak(audio), _peak(mono)
    if of_all.max() <= FAINTEST:
        raise ValueError(f"expected sound in its first {n / rate_hz:.3g} s, got silence")
    if channel == "first" and of_one <= FAINTEST:
        raise ValueError("expected sound in the first channel, got silence; channel=mean takes all of them")
    if channel == "mean" and of_one <= CANCELLED * of_all.max():
        raise ValueError("expected channels that add up, got such as cancel each other; channel=first takes one")
    return mono


def _peak(audio: np.ndarray) -> np.ndarray:
    """The greatest distance from the mean, of each channel."""
    return np.abs(audio - audio.mean(axis=0)).max(axis=0, initial=0)
