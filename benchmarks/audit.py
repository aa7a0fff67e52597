"""Which planted copies an audit finds, beside Chromaprint: right at 5 % and 1 % false alarms, by kind of alteration.

Right is a copy that is flagged beside the very clip that it was made of. `--recordings` names a folder of freely licensed
recordings that the sound pack does not hold; without it the pack's held-out recordings serve. `--mixtures 1` mixes four
recordings into 10 s, each recording in one mixture alone; 0 takes them as they are. Chromaprint takes part where `fpcalc` is
installed; two fingerprints are compared at the offset at which fewest of their bits differ.
"""

import argparse
import json
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from statsmodels.stats.proportion import proportion_confint

from helpers.base.paths import SOUND_PACK
from helpers.base.seeds import seeded
from helpers.base.settings import CorpusConfig
from helpers.copies import audit
from helpers.copies.evidence import p_values
from helpers.copies.planting import ALTERATIONS, plant
from helpers.sound.audio_file import read_sound
from helpers.sound.audio_folder import list_files
from helpers.sound.corpus import pools
from helpers.sound.pack import decode_sounds
from helpers.sound.profiles import load_profile

RATE, SECONDS = 16_000, 10
LEAST = 0.3  # s; shorter recordings are left out
OVERLAP = 8  # values of two fingerprints that must lie beside one another: 1 s


def recordings(folder: Path | None) -> list[np.ndarray]:
    """int16 [n] each, none twice."""
    if folder:
        sounds = []
        for path in list_files(folder).files.values():
            try:
                sounds.append(read_sound(path, RATE)[0][: 60 * RATE])
            except ValueError:
                continue
    else:
        held_out = pools(CorpusConfig(), SOUND_PACK)["heldout"]
        sounds = [
            np.round(16383 * sound).astype(np.int16) for sound in decode_sounds(SOUND_PACK, held_out["id"]).values()
        ]
    once = {sound.tobytes(): sound for sound in sounds if len(sound) >= LEAST * RATE and np.ptp(sound)}
    return [*once.values()]


def mixtures(sounds: list[np.ndarray]) -> list[np.ndarray]:
    """Of four recordings each, at random times and levels over a faint hiss; no recording is in two."""
    longest = sorted(sounds, key=len, reverse=True)
    mixed = []
    for number in range(len(sounds) // 4):
        rng, samples = seeded("mixture", number), SECONDS * RATE
        total = 0.002 * rng.standard_normal(samples)
        for sound in longest[number :: len(sounds) // 4][:4]:
            part = sound[:samples].astype(float)
            start = int(rng.integers(samples - len(part) + 1))
            level = 10 ** (rng.uniform(-9, 3) / 20) / max(np.sqrt(np.mean(part**2)), 1e-9)
            total[start : start + len(part)] += level * part
        mixed.append(np.round(total / np.abs(total).max() * 16383).astype(np.int16))
    return mixed


def write_folders(root: Path, clips: list[np.ndarray], n: int) -> dict[str, Path]:
    """Half of the clips are learned, a third honest, and of the rest unrelated ones are generated, beside n copies a kind."""
    order = seeded("folders").permutation(len(clips))
    training, honest, strangers = np.split(order, [len(order) // 2, len(order) * 5 // 6])
    folders = {kind: root / kind for kind in audit.KINDS}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for name, rows in (("training", training), ("honest", honest), ("generated", strangers)):
        for row in rows:
            soundfile.write(folders[name] / f"{row:05d}.wav", clips[row], RATE)
    for kind, name in enumerate(ALTERATIONS):
        for i, row in enumerate(seeded("copies", name).permutation(training)[:n]):
            copy = plant(name, clips[row], clips[strangers[i % len(strangers)]], RATE, i)
            if np.ptp(copy):
                soundfile.write(folders["generated"] / f"{kind:02d}_of_{row:05d}.wav", copy, RATE)
    return folders


def fingerprints(folder: Path) -> dict[str, np.ndarray]:
    """Chromaprint's, uint32 [n] for each file; none of a file that is too short for one."""
    made = {}
    for path in sorted(folder.iterdir()):
        done = subprocess.run(["fpcalc", "-raw", "-json", path], capture_output=True, text=True)
        if done.returncode == 0 and (values := json.loads(done.stdout)["fingerprint"]):
            made[path.name] = np.array(values, np.uint32)
    return made


def chromaprint(folders: dict[str, Path]) -> pd.DataFrame:
    """The nearest training clip of each generated and honest one, with its p-value: columns as the audit's table."""
    prints = {kind: fingerprints(folder) for kind, folder in folders.items()}
    rows = []
    for kind in ("generated", "honest"):
        for path in sorted(folders[kind].iterdir()):
            scores = {"": 0.0}
            if (query := prints[kind].get(path.name)) is not None:
                scores |= {name: shared_bits(query, other) for name, other in prints["training"].items()}
            nearest = max(scores, key=scores.get)
            rows.append((kind, path.name, "Chromaprint", nearest, scores[nearest]))
    table = pd.DataFrame(rows, columns=["kind", "clip", "detector", "nearest", "score"])
    return table.assign(p=p_values(table["score"], table.loc[table["kind"] == "honest", "score"]))


def shared_bits(one: np.ndarray, other: np.ndarray) -> float:
    """The greatest share of equal bits of two fingerprints over all offsets at which enough of them overlap."""
    equal = 32 - np.bitwise_count(one[:, None] ^ other[None, :]).astype(np.int64)
    least = min(OVERLAP, len(one), len(other))
    offsets = range(least - len(one), len(other) - least + 1)
    return max(np.diagonal(equal, offset).mean() for offset in offsets) / 32


def right(table: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Share of the copies that each detector flags beside the right clip, by kind; the last row are unrelated clips."""
    made = table[table["kind"] == "generated"]
    found = made["clip"].str.extract(r"^(?P<number>\d\d)_of_(?P<source>\d+\.wav)")
    names = found["number"].map(lambda number: [*ALTERATIONS][int(number)], na_action="ignore").fillna("unrelated")
    hit = (made["p"] <= rate) & ((made["nearest"] == found["source"]) | (names == "unrelated"))
    shares = hit.groupby([names, made["detector"]]).mean().unstack()
    return shares.reindex([*ALTERATIONS, "unrelated"]).rename_axis(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, help="a folder; default: the pack's held-out recordings")
    parser.add_argument("--mixtures", type=int, default=1, help="1: mixtures of 10 s; 0: recordings as they are")
    parser.add_argument("--n", type=int, default=20, help="copies of each kind")
    parser.add_argument("--clips", type=int, default=0, help="at most so many clips in all; 0: all")
    parser.add_argument("--detectors", default="mel,mel_centred,mel_aligned,clap")
    parser.add_argument("--out", type=Path, help="folder for the tables")
    chosen = parser.parse_args()
    sounds = recordings(chosen.recordings)
    clips = mixtures(sounds) if chosen.mixtures else sounds
    clips = clips[: chosen.clips or None]
    profile = load_profile("pocket").replace("retrieval", detectors=tuple(chosen.detectors.split(",")))
    with tempfile.TemporaryDirectory() as root:
        folders = write_folders(Path(root), clips, chosen.n)
        start = time.perf_counter()
        found = audit.audit(folders["generated"], folders["training"], folders["honest"], profile)
        seconds = time.perf_counter() - start
        table = found.table
        if shutil.which("fpcalc"):
            table = pd.concat([table, chromaprint(folders)], ignore_index=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(found)
    files = ", ".join(f"{len(list(found.table.loc[found.table['kind'] == kind, 'clip'].unique()))} {kind}" for kind in ("generated", "honest"))  # fmt: skip
    low, high = proportion_confint(chosen.n // 2, chosen.n, method="beta")
    print(
        f"\n{len(clips)} clips; searched: {files}; {seconds:.0f} s, {peak:.1f} GiB; a share of 50 % is known to {low:.0%} to {high:.0%}"
    )
    for rate in (0.05, 0.01):
        print(f"\nRight at {rate:.0%} false alarms, %\n\n{(100 * right(table, rate)).round(0).to_markdown()}")
        if chosen.out:
            chosen.out.mkdir(parents=True, exist_ok=True)
            right(table, rate).to_csv(chosen.out / f"audit_right_{rate:g}.csv")


if __name__ == "__main__":
    main()
