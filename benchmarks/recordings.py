"""Freely licensed recordings that the sound pack does not hold, from the packages in recordings.csv; kept in runs/benchmarks.

The column `licence` is what each package's own file `copyright` says of its sounds, `kept` a pattern of the paths that serve.
None is passed on: what is measured on them is.
"""

import csv
import re
import sys
from pathlib import Path

import librosa
import numpy as np
from timing import WORK

from helpers.base.paths import ROOT
from helpers.base.progress import progress

sys.path.append(str(ROOT / "tools"))
from sound_packages import Package, unpack  # noqa: E402
from sound_processing import decode  # noqa: E402

RATE, LEAST_S, MOST_S = 16_000, 0.3, 60.0
SUFFIXES = (".ogg", ".wav", ".mp3", ".flac", ".g722")


def recordings() -> dict[str, np.ndarray]:
    """int16 [n] each by `package/path`, mono at RATE, none twice, none silent or shorter than LEAST_S; cut to MOST_S."""
    once: dict[bytes, tuple[str, np.ndarray]] = {}
    with Path(__file__).with_suffix(".csv").open(newline="") as file:
        for row in csv.DictReader(file):
            stored = WORK / f"recordings_{row['name']}.npz"
            if not stored.is_file():
                draft = stored.with_suffix(".part.npz")
                np.savez(draft, **_of_package(**row))
                draft.rename(stored)
            with np.load(stored) as sounds:
                for name in sounds.files:
                    sound = sounds[name]
                    once.setdefault(sound.tobytes(), (name, sound))
    return dict(once.values())


def _of_package(kept: str, licence: str, **about: str) -> dict[str, np.ndarray]:
    folder = unpack(Package(**about, prefix=""), WORK / "packages")
    found = {}
    for path in progress(sorted(folder.rglob("*")), desc=about["name"], unit="file"):
        name = str(path.relative_to(folder))
        if not re.search(kept, name) or path.suffix.lower() not in SUFFIXES:
            continue
        try:
            audio, rate = decode(path.read_bytes(), path.name)
        except Exception as error:  # noqa: BLE001  # whatever a decoder says of a file that it cannot read
            print(f"left out {name}: {error}")
            continue
        audio = librosa.resample(audio[: round(MOST_S * rate)], orig_sr=rate, target_sr=RATE)
        audio = audio - audio.mean()
        if len(audio) >= LEAST_S * RATE and (peak := np.abs(audio).max()) > 1e-3:
            found[f"{about['name']}/{name}"] = np.round(16383 * audio / peak).astype(np.int16)
    return found
