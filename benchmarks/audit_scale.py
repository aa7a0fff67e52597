"""What an audit costs as its folders grow, and on the next day, when the training side is kept; beside Chromaprint and MiRA.

Files are mixtures of 10 s of the recordings in recordings.csv. Seconds are of the processor, all cores added up, as other work may
share the machine; each size runs in a process of its own, which tells its peak memory. Peers take part at the smallest size.
MiRA's loop over pairs (see mira.py) is timed on a few pairs and extrapolated.
"""

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from audit import RATE, fingerprints, mix
from recordings import recordings
from timing import WORK

from helpers.base.machine import describe_machine
from helpers.base.progress import progress
from helpers.base.seeds import seeded
from helpers.copies.audit import audit
from helpers.copies.audit.chromaprint import Index
from helpers.sound.profiles import load_profile

TABLE = Path(__file__).with_suffix(".csv")
HONEST, PAIRS = 200, 20


def files_of(name: str, n: int) -> Path:
    """A folder of n mixtures, written once; a smaller one's are the first of a larger one's."""
    folder = WORK / "audit_scale" / f"{name}_{n}"
    done = folder.with_suffix(".done")  # beside the folder: all that lies in it is taken for a sound
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sounds = [*recordings().values()]
        for number in progress(range(n), desc=name, unit="file"):
            rng = seeded("scale", name, number)
            chosen = [sounds[row] for row in rng.choice(len(sounds), 4, replace=False)]
            soundfile.write(folder / f"{number:05d}.wav", mix(chosen, rng), RATE)
        done.touch()
    return folder


def folders_of(n_queries: int, n_training: int) -> tuple[Path, Path, Path]:
    return files_of("generated", n_queries), files_of("training", n_training), files_of("honest", HONEST)


def audited(n_queries: int, n_training: int, kept: Path | None) -> dict:
    """Seconds of processor and of the clock, and peak memory, of one audit."""
    folders = folders_of(n_queries, n_training)
    start, clock = time.process_time(), time.perf_counter()
    profile = load_profile("pocket").replace("retrieval", detectors=("mel", "mel_centred", "mel_aligned", "clap"))
    print(audit.audit(*folders, profile, kept=kept), flush=True)
    return {
        "cpu_s": time.process_time() - start,
        "wall_s": time.perf_counter() - clock,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def alone(function, *arguments) -> dict:
    """What a function gives in a process of its own; what it raises, or a process that dies, is raised here."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def chromaprint(n_queries: int, n_training: int) -> dict:
    """The same of Chromaprint: fingerprints of all files by `fpcalc`, and every pair compared."""
    folders = folders_of(n_queries, n_training)
    Index([np.zeros(9, np.uint32)]).match(np.zeros(9, np.uint32), 1)  # compiled
    clock, start = time.perf_counter(), time.process_time()
    generated, training, honest = map(fingerprints, folders)
    index = Index([*training.values()])
    for query in (*generated.values(), *honest.values()):
        index.match(query, 1)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": time.process_time() - start + children.ru_utime + children.ru_stime,
        "wall_s": time.perf_counter() - clock,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def mira(n_queries: int, n_training: int) -> dict:
    """The same of MiRA's loop, counted up from PAIRS pairs of files cut to what CLAP takes."""
    from mira import mira_rows  # loads torch

    from helpers.models.clap import load_clap

    clap = load_clap("models/clap")
    with tempfile.TemporaryDirectory() as scratch:
        cut = []
        for path in sorted(files_of("training", n_training).glob("*.wav"))[: PAIRS + 1]:
            cut.append(Path(scratch) / path.name)
            soundfile.write(cut[-1], soundfile.read(path, clap.samples)[0], RATE)
        mira_rows(clap, cut[:1], cut[:1])
        clock, start = time.perf_counter(), time.process_time()
        mira_rows(clap, cut[:1], cut[1:])
        times = (n_queries + HONEST) * n_training / PAIRS
    return {
        "cpu_s": times * (time.process_time() - start),
        "wall_s": times * (time.perf_counter() - clock),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["100x1000", "300x3000", "1000x10000"], help="queries x training")
    parser.add_argument("--out", type=Path, default=TABLE, help="table of results")
    chosen = parser.parse_args()
    cpu = describe_machine()["machine"]["cpu"]
    sizes = [tuple(map(int, size.split("x"))) for size in chosen.sizes]
    for n_queries, n_training in sizes:
        # written in a process of its own: this one stays small, as the peak of a child counts it
        alone(folders_of, n_queries, n_training)
        with tempfile.TemporaryDirectory(dir=WORK) as kept:
            cases = {"audit": (audited, Path(kept)), "audit, training side kept": (audited, Path(kept))}
            if (n_queries, n_training) == sizes[0]:
                cases |= {"Chromaprint": (chromaprint,), "MiRA's loop over pairs, reimplemented": (mira,)}
            for name, (function, *more) in cases.items():
                row = {"of": name, "generated": n_queries, "training": n_training, "honest": HONEST}
                row |= alone(function, n_queries, n_training, *more) | {"cpu": cpu}
                table = pd.read_csv(chosen.out) if chosen.out.is_file() else pd.DataFrame(columns=[*row])
                same = (table[["of", "generated", "training", "cpu"]] == [name, n_queries, n_training, cpu]).all(axis=1)
                pd.concat([table[~same], pd.DataFrame([row])]).round(2).to_csv(chosen.out, index=False)
                print(row, flush=True)


if __name__ == "__main__":
    main()
