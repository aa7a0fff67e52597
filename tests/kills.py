"""Kills a run of the profile `tiny` at random moments: what is there in the end has the bytes of an undisturbed run.

python tests/kills.py --kills 20                  the whole study, some minutes
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

TELLING_TIMES = ("manifest.json", "summary.json")  # what stages were made with, the seconds and memory that they took


def start(root: Path, stage: str) -> subprocess.Popen:
    """`helpers run` of a stage and its options, in a group of processes of its own."""
    command = [sys.executable, "-m", "helpers", "run", *stage.split(), "--profile", "tiny"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "HELPERS_RUNS": str(root)}, start_new_session=True, **quiet)


def run(root: Path, stage: str):
    """Completes the stage. Raises RuntimeError with what was said where it fails."""
    process = start(root, stage)
    said = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(said)


def kill(root: Path, stage: str, after_s: float) -> bool:
    """Starts the stage and kills it after so many seconds; False where it had finished by then."""
    process = start(root, stage)
    try:
        process.communicate(timeout=after_s)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True


def contents(root: Path) -> dict[str, str]:
    """The sha256 of every file but locks and those that tell times; of losses without the seconds they took."""
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        if path.suffix != ".lock" and path.name not in TELLING_TIMES:
            data = path.read_bytes()
            if path.name == "loss.parquet":
                data = pd.read_parquet(path).drop(columns="seconds").to_csv().encode()
            found[path.relative_to(root).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def survive(folder: Path, stage: str, kills: int, longest_s: float, seed: int = 0) -> list[str]:
    """Runs once undisturbed, then with so many kills, each within `longest_s`; the files that differ or are not in both."""
    undisturbed, chance, n = folder / "undisturbed", random.Random(seed), 0
    run(undisturbed, stage)
    expected, differing = contents(undisturbed), []
    for round_ in range(kills):  # a run that was finished before enough kills is followed by another
        root = folder / f"killed_{round_}"
        while n < kills and kill(root, stage, after_s := chance.uniform(0.1, longest_s)):
            n += 1
            print(
                f"killed after {after_s:.1f} s; {len(list(root.glob('*/*/manifest.json')))} stages finished", flush=True
            )
        run(root, stage)
        found = contents(root)
        differing += [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
        print(f"{n} kills, {len(found)} files, {len(differing)} unlike those of an undisturbed run", flush=True)
        if n >= kills:
            break
    return differing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", default="findings")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=60.0, help="seconds; more than any one stage takes")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        sys.exit("\n".join(survive(Path(place), chosen.stage, chosen.kills, chosen.longest, chosen.seed)) or 0)
