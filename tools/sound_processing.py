"""Decode, trim, measure and encode the recordings of the sound pack: mono, 16 kHz, Ogg Vorbis with fixed bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

SAMPLE_RATE_HZ = 16_000
BED_SECONDS = 120.0  # beds stay long: every window of a bed can lie under another soundscape
FOREGROUND_SECONDS = 20.0
FRAME_SECONDS = 0.01
MIN_RMS_DBFS = -66.0  # quieter recordings count as silent
SILENCE_DB = -50.0  # of the loudest frame; quieter ends are cut
BED_MIN_SECONDS = 6.0
BED_MAX_CREST_DB = 15.0  # loud half seconds (95th percentile) against the median: above, events stand out of the bed
BED_MAX_DROP_DB = 22.5  # median half second against the quiet ones (5th percentile): above, the bed has holes
BED_MAX_PAUSE_SECONDS = 1.0  # longest stretch 20 dB below the median
STRETCH_DB = 15.0  # half seconds this close to the median belong to a steady stretch
QUIET_RMS_DBFS = -40.0  # quieter recordings are amplified up to here, as far as their peak allows
OGG_SERIAL = 1
VORBIS_COMPRESSION = 0.3  # libsndfile: 0 is best quality, 1 is smallest; 0.3 takes about 7 kB a second


@dataclass(frozen=True)
class Measures:
    """Measurements of a mono waveform; levels in dB relative to full scale (dBFS)."""

    seconds: float
    peak_dbfs: float
    rms_dbfs: float
    clipped: float  # fraction of samples within 0.1% of the peak, if the peak is near full scale
    crest_db: float  # 95th percentile of the levels of half seconds, above their median
    drop_db: float  # their median, above the 5th percentile
    pause_seconds: float  # longest stretch of half seconds more than 20 dB below the median


def decode_with_av(content: bytes, path: str) -> tuple[np.ndarray, int]:
    """Decode what libsndfile cannot read: G.722, which has no header, and MP3 files with a long preamble.

    Returns:
        Waveform, shape (n_samples, n_channels), float32, and its sampling rate in Hz.
    """
    import av  # loads all of FFmpeg

    with av.open(io.BytesIO(content), format=path.rpartition(".")[2]) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)  # changes the format only
        frames = [part.to_ndarray() for frame in container.decode(stream) for part in resampler.resample(frame)]
        return np.concatenate(frames, axis=1).T, stream.rate


def decode(content: bytes, path: str) -> tuple[np.ndarray, int]:
    """Decode a sound file; the suffix of ``path`` names the format of files without a header.

    Returns:
        Mono waveform, shape (n_samples,), float32, and its sampling rate in Hz.
    """
    try:
        samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)  # (samples, channels)
    except soundfile.LibsndfileError:
        samples, rate_hz = decode_with_av(content, path)
    mono = samples.mean(axis=1)
    if np.std(mono) < 0.25 * np.std(samples[:, 0]):  # channels in opposite phase cancel: keep one
        mono = samples[:, 0]
    return np.ascontiguousarray(mono, dtype=np.float32), rate_hz


def trim(samples: np.ndarray) -> np.ndarray:
    """Cut silence at both ends of a 16 kHz waveform, shape (n_samples,); 10 ms stay before, 50 ms after the sound."""
    frame = int(FRAME_SECONDS * SAMPLE_RATE_HZ)
    n_frames = -(-len(samples) // frame)
    padded = np.pad(samples, (0, n_frames * frame - len(samples)))
    rms = np.sqrt(np.mean(padded.reshape(n_frames, frame) ** 2, axis=1))
    loud = np.flatnonzero(rms > rms.max(initial=0.0) * 10 ** (SILENCE_DB / 20))
    if not len(loud):
        return samples[:0]
    return samples[max(loud[0] - 1, 0) * frame : (loud[-1] + 6) * frame]


def fade(samples: np.ndarray) -> np.ndarray:
    """Fade both ends of a waveform, shape (n_samples,), in place over 5 ms, so that no cut clicks; return it."""
    n_fade = min(len(samples) // 4, SAMPLE_RATE_HZ // 200)
    ramp = np.linspace(0.0, 1.0, n_fade, dtype=np.float32)
    samples[:n_fade] *= ramp
    samples[len(samples) - n_fade :] *= ramp[::-1]
    return samples


def process(content: bytes, path: str, max_seconds: float) -> np.ndarray:
    """Decode, resample to 16 kHz, trim, cut and fade one recording; amplify it if it is very quiet.

    Returns:
        Waveform, shape (n_samples,), float32, peak at most 0.99; empty if the recording is silent.
    """
    samples, rate_hz = decode(content, path)
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: expected finite samples, got NaN or infinity")
    samples = samples - np.mean(samples, dtype=np.float64).astype(np.float32)
    samples = trim(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ, quality="HQ"))
    samples = samples[: int(max_seconds * SAMPLE_RATE_HZ)].copy()
    rms_dbfs = to_db(float(np.sqrt(np.mean(samples**2)))) if len(samples) else MIN_RMS_DBFS - 1
    if rms_dbfs < MIN_RMS_DBFS:
        return samples[:0]
    fade(samples)
    gain = max(1.0, 10 ** ((QUIET_RMS_DBFS - rms_dbfs) / 20))
    return samples * np.float32(min(gain, 0.99 / max(float(np.abs(samples).max()), 1e-9)))


def steady_stretch(samples: np.ndarray) -> np.ndarray:
    """Return the longest stretch of half seconds that stay near the median level, shape (n_samples,).

    A night with one owl in it, or a storm that pauses, is a bed before and after that.
    """
    half = SAMPLE_RATE_HZ // 2
    levels = half_second_levels(samples)
    near = np.abs(levels - np.median(levels)) <= STRETCH_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], near, [False]]).astype(int)))  # starts and ends, in turn
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return samples[starts[longest] * half : ends[longest] * half]


def process_bed(content: bytes, path: str) -> np.ndarray:
    """Like ``process``, for a bed: up to 120 s, cut to its longest steady stretch if events or pauses break it.

    Returns:
        Waveform, shape (n_samples,), float32; steady only if ``is_steady`` says so.
    """
    samples = process(content, path, BED_SECONDS)
    return samples if not len(samples) or is_steady(measure(samples)) else fade(steady_stretch(samples).copy())


def to_db(value: float) -> float:
    """Return an amplitude in dB, at least -120."""
    return float(20 * np.log10(max(value, 1e-6)))


def half_second_levels(samples: np.ndarray) -> np.ndarray:
    """Return the level of every half second of a 16 kHz waveform in dBFS, shape (n_frames,); the rest is left out."""
    half = SAMPLE_RATE_HZ // 2
    n_frames = max(len(samples) // half, 1)
    frames = samples[: n_frames * half].reshape(n_frames, -1)  # a sound below half a second is one frame
    return 20 * np.log10(np.maximum(np.sqrt(np.mean(frames**2, axis=1)), 1e-6))


def measure(samples: np.ndarray) -> Measures:
    """Measure a 16 kHz waveform, shape (n_samples,)."""
    if not len(samples):
        return Measures(0.0, -120.0, -120.0, 0.0, 0.0, 0.0, 0.0)
    peak, rms = float(np.abs(samples).max()), float(np.sqrt(np.mean(samples**2)))
    clipped = float(np.mean(np.abs(samples) > 0.999 * peak)) if peak > 0.95 else 0.0
    levels = half_second_levels(samples)
    low, median, high = np.percentile(levels, [5, 50, 95])
    pause = longest = 0
    for quiet in levels < median - 20:
        pause = pause + 1 if quiet else 0
        longest = max(longest, pause)
    seconds = len(samples) / SAMPLE_RATE_HZ
    return Measures(seconds, to_db(peak), to_db(rms), clipped, high - median, median - low, longest / 2)


def is_steady(measures: Measures) -> bool:
    """Return True if a sound is long and even enough to lie under others as a bed."""
    return (
        measures.seconds >= BED_MIN_SECONDS
        and measures.crest_db <= BED_MAX_CREST_DB
        and measures.drop_db <= BED_MAX_DROP_DB
        and measures.pause_seconds <= BED_MAX_PAUSE_SECONDS
    )


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


CRC_TABLE = _crc_table()


def ogg_crc(page: bytes) -> int:
    """Return the checksum of an Ogg page: CRC-32 with polynomial 0x04C11DB7, neither reflected nor inverted."""
    crc = 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ CRC_TABLE[(crc >> 24) ^ byte]
    return crc


def fix_ogg_serial(content: bytes, serial: int = OGG_SERIAL) -> bytes:
    """Give every page of an Ogg stream the same serial number, and the checksum that goes with it.

    libsndfile draws the serial number at random, so the same sound never gives the same bytes twice.
    Page layout: RFC 3533, section 6 (serial at byte 14, checksum at 22, segment table at 26).
    """
    content, start = bytearray(content), 0
    while start < len(content):
        if content[start : start + 4] != b"OggS":
            raise ValueError(f"expected an Ogg page at byte {start}, got {bytes(content[start : start + 4])!r}")
        n_segments = content[start + 26]
        end = start + 27 + n_segments + sum(content[start + 27 : start + 27 + n_segments])
        content[start + 14 : start + 18] = serial.to_bytes(4, "little")
        content[start + 22 : start + 26] = bytes(4)
        content[start + 22 : start + 26] = ogg_crc(content[start:end]).to_bytes(4, "little")
        start = end
    return bytes(content)


def encode(samples: np.ndarray) -> bytes:
    """Encode a 16 kHz waveform, shape (n_samples,), as Ogg Vorbis; the same samples give the same bytes."""
    file = io.BytesIO()
    # libsndfile overruns its stack on one long Vorbis write: hand it half-minute blocks
    with soundfile.SoundFile(
        file, "w", SAMPLE_RATE_HZ, 1, "VORBIS", format="OGG", compression_level=VORBIS_COMPRESSION
    ) as sink:
        for start in range(0, len(samples), 30 * SAMPLE_RATE_HZ):
            sink.write(samples[start : start + 30 * SAMPLE_RATE_HZ])
    return fix_ogg_serial(file.getvalue())
