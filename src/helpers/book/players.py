"""Players for the chapters: short compressed clips of equal loudness above captions, below aligned spectrograms.

Sound and picture travel inside the page as data URIs, so a player works in the book, in Jupyter and in a bare Papermill
output alike. MP3 is the one small format that every browser plays, Safari on iOS included.

Notebook: notebooks/01_corpus.ipynb and every chapter after it.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import librosa
import numpy as np
import pyloudnorm
import soundfile
from IPython.display import HTML
from matplotlib import colormaps
from PIL import Image

from helpers.base.settings import MelConfig
from helpers.base.shielded import shielded
from helpers.book.inline import inline
from helpers.sound.mel import as_float, log_mel

TARGET_LUFS = -23.0  # EBU R 128
QUIETEST_LUFS = -36.0  # a row is not lowered further than this for the sake of one clip of a few sharp peaks
PEAK = 0.89  # -1 dBFS: MP3 overshoots a little
MP3_LEVEL = 0.84  # libsndfile's 0 to 1 scale at a constant rate: 32 kbit/s at 16 kHz
RANGE_DB = 70.0  # dynamic range of a spectrogram's colours

# Colours follow the book's theme, then JupyterLab's, then a neutral default.
STYLE = inline("scripts/players.css")
FLICK = inline("scripts/flick.js")

# One clip sounds at a time, and a line runs through its spectrogram.
ONE_AT_A_TIME = "for(const a of document.querySelectorAll('audio'))if(a!==this)a.pause()"
_ON_TIME = (
    "const s=this.parentNode.querySelector('.player-view').style;s.setProperty('--on',1);"
    "s.setProperty('--at',this.currentTime/this.duration||0)"
)


@dataclass(frozen=True, eq=False)
class Item:
    """One player: `audio` is mono, int16 or float in [-1, 1], shape [S]; `score` stays folded until asked for. `match` is the
    part, from and to in s, that is marked in the spectrogram; `name` is the id of its audio element."""

    label: str
    audio: np.ndarray
    caption: str = ""
    score: float | None = None
    match: tuple[float, float] | None = None
    name: str = ""


def match_loudness(clips: Sequence[np.ndarray], sample_rate_hz: int) -> list[np.ndarray]:
    """Brings clips (int16 or float, [S] each) to one integrated loudness (ITU-R BS.1770); float32, peak <= 0.89.

    The common loudness is TARGET_LUFS, or the highest that every clip reaches without exceeding the peak, but not
    below -36 LUFS. Raises ValueError for a clip that is not mono, not finite, shorter than 0.4 s, or silent.
    """
    waves = [_as_float(clip) for clip in clips]
    meter = pyloudnorm.Meter(sample_rate_hz)
    loudness, reachable = [], []
    for position, wave in enumerate(waves):
        if len(wave) < 0.4 * sample_rate_hz:
            raise ValueError(f"clip {position}: expected at least 0.4 s, got {len(wave) / sample_rate_hz:.3f} s")
        lufs = meter.integrated_loudness(wave)
        if not np.isfinite(lufs):
            raise ValueError(f"clip {position}: expected sound, got silence (peak {np.abs(wave).max():.1e})")
        loudness.append(lufs)
        reachable.append(lufs + 20 * np.log10(PEAK / np.abs(wave).max()))
    common = max(min([TARGET_LUFS, *reachable]), QUIETEST_LUFS)
    gains = [10 ** ((min(common, top) - lufs) / 20) for lufs, top in zip(loudness, reachable)]
    return [(wave * gain).astype(np.float32) for wave, gain in zip(waves, gains)]


def encode_mp3(wave: np.ndarray, sample_rate_hz: int) -> bytes:
    """Mono float [S] as MP3 at a constant 32 kbit/s (libsndfile)."""
    buffer = io.BytesIO()
    options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": MP3_LEVEL}
    shielded(soundfile.write, buffer, wave, sample_rate_hz, **options)
    return buffer.getvalue()


def player_row(
    items: Sequence[Item],
    sample_rate_hz: int,
    *,
    score_name: str = "log-mel similarity",
    mel: MelConfig | None = None,
    pair: bool = False,
) -> HTML:
    """A row of players at one loudness, their spectrograms on one colour scale; on a phone they stand in a column.

    Of a `pair`, the first two, a press shows one in the other's place, and plays it from there on (`scripts/flick.js`).
    Everything that comes from data is escaped. Raises ValueError as `match_loudness`, and for an empty row.
    """
    mel = mel or MelConfig()
    figures = player_figures(items, sample_rate_hz, score_name=score_name, mel=mel)
    longest = max(len(item.audio) for item in items) / sample_rate_hz
    note = (
        f"Equal loudness. Log-mel spectrograms: {mel.fmin_hz / 1000:g} to {mel.fmax_hz / 1000:g} kHz upwards, "
        f"{longest:.1f} s to the right, one colour scale."
    )
    return HTML(
        f'{STYLE}<div class="players" lang="en" role="group" aria-label="{len(items)} audio players">'
        f'<div class="players-row{" players-four" if len(items) == 4 else ""}{" players-pair" if pair else ""}">{figures}</div>'
        f'<p class="players-note">{note}</p></div>{FLICK if pair else ""}'
    )


def player_figures(items: Sequence[Item], sample_rate_hz: int, *, score_name: str = "", mel: MelConfig) -> str:
    """The players of `player_row` alone, for a page that has STYLE. Raises as it does."""
    if not items:
        raise ValueError("items: expected at least one, got none")
    waves = match_loudness([item.audio for item in items], sample_rate_hz)
    views = spectrograms(waves, [escape(item.label) for item in items], mel, sample_rate_hz)
    return "".join(
        _player(item, wave, view, sample_rate_hz, score_name) for item, wave, view in zip(items, waves, views)
    )


def _as_float(clip: np.ndarray) -> np.ndarray:
    wave = np.asarray(clip)
    if wave.ndim != 1 or not wave.size:
        raise ValueError(f"audio: expected mono of shape [S], got shape {wave.shape}")
    wave = as_float(wave).astype(np.float64)
    if not np.isfinite(wave).all():
        raise ValueError("audio: expected finite samples, got NaN or infinity")
    return wave


def spectrograms(waves: Sequence[np.ndarray], labels: Sequence[str], mel: MelConfig, sample_rate_hz: int) -> list[str]:
    """Log-mel spectrograms of float waves [S] as elements of a page, on one colour scale. `labels` are escaped already."""
    spectra = [log_mel(wave[: len(wave) // mel.hop_length * mel.hop_length], mel, sample_rate_hz)[0] for wave in waves]
    top = max(float(spectrum.max()) for spectrum in spectra)
    return [
        f'<img alt="Log-mel spectrogram of {label}: {describe_spectrum(spectrum, mel, sample_rate_hz)}"'
        f' width="{spectrum.shape[0]}" height="{spectrum.shape[1]}"'
        f' src="{data_uri(_spectrogram_webp(spectrum, top), "image/webp")}">'
        for spectrum, label in zip(spectra, labels)
    ]


def _player(item, wave, view, sample_rate_hz, score_name) -> str:
    label, caption = escape(item.label), escape(item.caption)
    spoken = f"{label}: {caption}" if caption else label
    sound = data_uri(encode_mp3(wave, sample_rate_hz), "audio/mpeg")
    score = mark = ""
    name = f' id="{escape(item.name)}"' if item.name else ""
    if item.match:
        start, end = (100 * at * sample_rate_hz / len(wave) for at in item.match)
        mark = f'<span class="player-match" style="--from:{start:.2f}%;--width:{end - start:.2f}%"></span>'
        name += f' data-start="{item.match[0]:.3f}"'
    if item.score is not None:
        score = f"<details><summary>Show the score</summary>{escape(score_name)} {item.score:.3f}</details>"
    return (
        f'<figure class="player"><p class="player-label">{label}</p>'
        f'<div class="player-view">{view}{mark}</div>'
        f'<audio{name} controls preload="metadata" aria-label="{spoken}" onplay="{ONE_AT_A_TIME}" ontimeupdate="{_ON_TIME}"'
        f' src="{sound}"></audio>'
        f"{f'<figcaption>{caption}</figcaption>' if caption else ''}{score}</figure>"
    )


def describe_spectrum(spectrum: np.ndarray, mel: MelConfig, sample_rate_hz: int) -> str:
    """Where the energy of a log-mel spectrogram [T, M] lies, in words, for those who cannot see it."""
    energy = np.exp(2 * spectrum.astype(np.float64))
    bands = librosa.mel_frequencies(mel.n_mels + 2, fmin=mel.fmin_hz, fmax=mel.fmax_hz)[1:-1]
    share = np.cumsum(energy.sum(axis=0)) / energy.sum()
    low, high = (bands[min(np.searchsorted(share, q), mel.n_mels - 1)] for q in (0.1, 0.9))
    loudest_s = energy.sum(axis=1).argmax() * mel.hop_length / sample_rate_hz
    return f"most energy from {low:.0f} to {high:.0f} Hz, loudest at {loudest_s:.1f} s"


def data_uri(content: bytes, kind: str) -> str:
    """`content` as a data URI of media type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _spectrogram_webp(spectrum: np.ndarray, top: float) -> bytes:
    """[T, M] natural-log magnitudes as a WebP, low bands at the bottom; `top` is the brightest colour."""
    floor = top - RANGE_DB / 20 * np.log(10)
    shade = np.clip((spectrum.T[::-1] - floor) / (top - floor), 0, 1)
    pixels = (colormaps["magma"](shade)[..., :3] * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=60, method=6)
    return buffer.getvalue()
