"""Group recordings that share a source: the same session by name, or the same waveform.

Two clips of one group must never be split between training and held-out sets, or a "replica" found there would only be
another take of the same session.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import scipy.fft
import scipy.signal
from sound_processing import SAMPLE_RATE_HZ
from tqdm import tqdm

SEARCH_RATE_HZ = 4_000  # band-limited copies: cheap, and robust to codecs
SNIPPET = 8_192  # samples: about 2 s of the loudest part
LONG_SECONDS = 6.0
# From here on two clips count as one source. Across sessions, nearly all pairs above 0.6 of clips of at least a second
# were copies, edits or layers of one recording; clicks and thumps below a second reach 0.88 by their shape alone.
MAX_CORRELATION = 0.6
MAX_CORRELATION_SHORT = 0.9
SHORT_SECONDS = 1.0


def session_name(prefix: str, path: str, title: str = "") -> str:
    """Return the recording session that a file name or title tells: the name without its take number or letter.

    >>> session_name("0ad-data", "audio/actor/fauna/animal/cattle_07.ogg")
    '0ad-data:audio/actor/fauna/animal/cattle'
    """
    if original := re.search(r'\(from "(.+)"\)', title):  # OpenSFX names the recording that it edited
        return f"{prefix}:{original[1].rsplit('.', 1)[0].lower()}"
    folder, _, name = path.rpartition("/")
    stem = name.rsplit(".", 1)[0].lower()
    if prefix.startswith("asterisk"):  # one phrase per file: the name is no take number
        return f"{prefix}:{folder}/{stem}"
    if "/Skin.ocg/" in path or "/units/" in path:  # one voice per folder
        return f"{prefix}:{folder}"
    if prefix.startswith("supersonic") and (kit := re.match(r"(tabla|drum|elec|arovane|tbd|mehackit|glitch)_", stem)):
        return f"{prefix}:{kit[1]}"
    take = re.sub(r"([._-]?\d+[a-z]?|_[a-z])$", "", stem)
    return f"{prefix}:{folder}/{take or stem}"


class Groups:
    """Union-find over ``n`` items."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def root(self, item: int) -> int:
        while self.parent[item] != item:
            self.parent[item] = self.parent[self.parent[item]]
            item = self.parent[item]
        return item

    def merge(self, a: int, b: int) -> None:
        a, b = sorted((self.root(a), self.root(b)))
        self.parent[b] = a


def search_copy(samples: np.ndarray) -> np.ndarray:
    """Return a 4 kHz copy of a 16 kHz waveform, band-limited to 150-1,900 Hz and spectrally flattened."""
    sos = scipy.signal.butter(4, [150, 1_900], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    low = scipy.signal.sosfilt(sos, samples.astype(np.float64))[:: SAMPLE_RATE_HZ // SEARCH_RATE_HZ]
    return np.diff(low, prepend=0.0).astype(np.float32)  # +6 dB per octave: less weight on the lowest tones


def loudest_part(samples: np.ndarray, size: int) -> np.ndarray:
    """Return the loudest ``size`` samples, zero-padded to ``size`` and of unit energy, shape (size,)."""
    if len(samples) > size:
        energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
        start = int(np.argmax(energy[size:] - energy[:-size]))
        samples = samples[start : start + size]
    part = np.pad(samples, (0, size - len(samples)))
    return part / max(float(np.linalg.norm(part)), 1e-9)


def correlate_short(copies: list[np.ndarray], threshold: np.ndarray) -> np.ndarray:
    """Return the largest |correlation| over all lags of the loudest parts, for pairs that may reach the threshold.

    No lag can bring two signals closer than the scalar product of their magnitude spectra; that bound, one matrix
    product for all pairs, spares the inverse transforms of nearly all of them.

    Args:
        copies: search copies, each of shape (n_samples,).
        threshold: correlation that matters, per pair, shape (n, n).

    Returns:
        Shape (n, n), upper triangle; 0 where the bound lies below the threshold.
    """
    n, n_fft = len(copies), 2 * SNIPPET
    parts = np.stack([loudest_part(copy, SNIPPET) for copy in copies]).astype(np.float32)
    spectra = scipy.fft.rfft(parts, n_fft)  # (n, n_fft / 2 + 1)
    magnitudes = np.abs(spectra) * np.float32(np.sqrt(2 / n_fft))  # of unit length
    candidates = np.triu(magnitudes @ magnitudes.T >= threshold, k=1)
    print(f"{candidates.sum():,} of {n * (n - 1) // 2:,} pairs may correlate")
    best = np.zeros((n, n), dtype=np.float32)
    for i in tqdm(range(n - 1), desc="correlate", unit="clip"):
        others = np.flatnonzero(candidates[i])
        for start in range(0, len(others), 256):  # blocks: bounded memory
            block = others[start : start + 256]
            lags = scipy.fft.irfft(spectra[block] * np.conj(spectra[i]), n_fft, overwrite_x=True)
            best[i, block] = np.abs(lags).max(axis=1)
    return best


def correlate_long(copies: list[np.ndarray]) -> np.ndarray:
    """Return the largest |correlation| of the loudest 2 s of each long clip with every place of every other one.

    Args:
        copies: search copies, each of shape (n_samples,) with at least ``SNIPPET`` samples.

    Returns:
        Shape (n, n), upper triangle.
    """
    n = len(copies)
    templates = [loudest_part(copy, SNIPPET).astype(np.float32) for copy in copies]
    best = np.zeros((n, n), dtype=np.float32)
    for j in tqdm(range(n), desc="correlate long", unit="clip"):
        target = copies[j]
        n_fft = scipy.fft.next_fast_len(len(target) + SNIPPET, real=True)
        spectrum = scipy.fft.rfft(target, n_fft)
        energy = np.concatenate([[0.0], np.cumsum(target.astype(np.float64) ** 2)])
        local = np.sqrt(np.maximum(energy[SNIPPET:] - energy[:-SNIPPET], 1e-3 * energy[-1] * SNIPPET / len(target)))
        for i in range(n):
            if i != j:
                product = spectrum * np.conj(scipy.fft.rfft(templates[i], n_fft))
                lags = scipy.fft.irfft(product, n_fft)[: len(local)]
                value = float(np.max(np.abs(lags) / local))
                best[min(i, j), max(i, j)] = max(best[min(i, j), max(i, j)], value)
    return best


def assign_source_groups(rows: list[dict], waveforms: dict[str, np.ndarray]) -> np.ndarray:
    """Add ``source_group`` to every row: sessions by name, merged where waveforms match.

    Args:
        rows: the clips, with ``id``, ``package``, ``path``, ``title`` and ``seconds``.
        waveforms: 16 kHz waveform of every id, shape (n_samples,).

    Returns:
        The largest |correlation| of the pairs that were compared, shape (n, n), upper triangle.
    """
    names = [session_name(row["package"], row["path"], row["title"]) for row in rows]
    copies = [search_copy(waveforms[row["id"]]) for row in tqdm(rows, desc="search copies", unit="clip")]
    short = np.array([row["seconds"] < SHORT_SECONDS for row in rows])
    threshold = np.where(short[:, None] | short[None, :], MAX_CORRELATION_SHORT, MAX_CORRELATION)
    best = correlate_short(copies, threshold)
    long = [i for i, row in enumerate(rows) if row["seconds"] >= LONG_SECONDS]
    best[np.ix_(long, long)] = np.maximum(best[np.ix_(long, long)], correlate_long([copies[i] for i in long]))
    groups, first = Groups(len(rows)), {}
    for i, name in enumerate(names):
        groups.merge(first.setdefault(name, i), i)
    pairs = np.argwhere(best >= threshold)
    for i, j in pairs:
        groups.merge(int(i), int(j))
    for i, row in enumerate(rows):
        row["source_group"] = names[groups.root(i)]
    across = sum(names[i] != names[j] for i, j in pairs)
    sizes = Counter(row["source_group"] for row in rows)
    print(f"{len(pairs)} pairs of clips correlate, {across} of them across the {len(first)} sessions")
    print(f"{len(sizes)} source groups, largest: {sizes.most_common(8)}")
    return best
