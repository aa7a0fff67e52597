"""Times functions beside their peers in one run; the medians go to results.csv, and to a page of the book."""

import argparse
import gc
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.machine import describe_machine
from helpers.base.paths import ROOT
from helpers.study.store import runs_root

RESULTS = Path(__file__).parent / "results.csv"
PAGE = ROOT / "book" / "speed.md"
WORK = runs_root() / "benchmarks"
ABOUT = """# How fast it is

The slow parts of the study were made faster before it ran, without giving up accuracy. Searches are exact, but for the
shift-aligned one, whose row says what it misses. Log-mels agree with librosa's. Each row times a function of the book and a peer in turns, within one run, and gives the medians.
*Speed-up* is the peer's time divided by ours: below 1 the peer is faster. A *textbook* peer is used as its documentation shows, a *tuned* one at its best. Rows without a peer are measurements of their own.
*Same neighbours as faiss* is below 100 % as faiss adds up in 32 bits, so that neighbours about equally near change places; the row on disk is checked in 64 bits.
`make bench` remakes the table of its processor from the scripts in `benchmarks/`. How much is gained depends on the processor: the exact search
owes its lead to instructions for 8-bit products (VNNI, AMX); without them faiss itself searches, and only its scores are made more accurate.
"""
COLUMNS = ["benchmark", "ours_s", "peer", "peer_s", "ratio", "n_runs", "detail", "versions", "cpu"]


def compare(
    benchmark: str, ours: Callable, peers: dict[str, Callable], n_runs: int, detail: str = "", packages: Iterable = ()
) -> list[dict]:
    """A row per peer. Every run times ours and then each peer, so that a slow spell of the machine falls on all of them.

    A function that prepares anything does so in a first call, which is not counted. Seconds are medians.
    """
    functions = {"ours": ours} | peers
    seconds = {name: [] for name in functions}
    for run in range(n_runs + 1):
        for name, function in functions.items():
            gc.collect()
            start = time.perf_counter()
            function()
            if run:
                seconds[name].append(time.perf_counter() - start)
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    return [row(benchmark, median["ours"], peer, median[peer], n_runs, detail, packages) for peer in peers]


def row(benchmark, ours_s, peer="", peer_s=float("nan"), n_runs=1, detail="", packages=()) -> dict:
    """One line of results.csv; without a peer, a measurement of its own."""
    versions = "; ".join(f"{name} {version(name)}" for name in ("numpy", "torch", *packages))
    machine = describe_machine()["machine"]
    ratio = peer_s / ours_s if ours_s else float("nan")
    cpu = f"{machine['cpu']} ({', '.join(machine['vectors']) or 'vector instructions unknown'})"
    return dict(zip(COLUMNS, (benchmark, ours_s, peer, peer_s, ratio, n_runs, detail, versions, cpu)))


def write(rows: list[dict], out: Path = RESULTS) -> None:
    """Puts rows into a table of results in place of the same benchmarks' on the same processor, and prints them."""
    new = pd.DataFrame(rows, columns=COLUMNS)
    old = pd.read_csv(out) if out.is_file() else new.head(0)
    keys = ["benchmark", "cpu"]
    again = pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
    table = pd.concat([old[~again], new], ignore_index=True)
    for column in ("ours_s", "peer_s", "ratio"):
        table[column] = table[column].map(lambda value: value if pd.isna(value) else float(f"{value:.4g}"))
    table = table.sort_values(["cpu", "benchmark"], ascending=[False, True], kind="stable")
    table.to_csv(out, index=False)
    page = PAGE if out == RESULTS else out.with_suffix(".md")
    page.write_text(f"{ABOUT}\n{readable(table)}")
    print(new[["benchmark", "ours_s", "peer", "peer_s", "ratio", "detail"]].to_string(index=False))


def readable(table: pd.DataFrame) -> str:
    """The table in Markdown, a section for each processor."""
    sections = [f"## {cpu}\n\n{_section(part)}\n" for cpu, part in table.groupby("cpu", sort=False)]
    versions = sorted({name for names in table["versions"] for name in names.split("; ")})
    return "\n".join([*sections, f"Versions: {', '.join(versions)}.\n"])


def _section(table: pd.DataFrame) -> str:
    texts = {
        "Benchmark": table["benchmark"],
        "Ours, s": table["ours_s"].map("{:.3g}".format),
        "Compared with": table["peer"],
        "Its time, s": table["peer_s"].map("{:.3g}".format),
        "Speed-up": table["ratio"].map("{:.2f}".format),
        "Runs": table["n_runs"],
        "Remarks": table["detail"],
    }
    return pd.DataFrame(texts).fillna("").replace("nan", "").to_markdown(index=False)


def options(description: str, n_runs: int = 5, **more) -> argparse.Namespace:
    """The command line of a benchmark: --runs, --out and, for each of `more`, an option of its name and default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--runs", type=int, default=n_runs, help="timed runs, after one that is not counted")
    parser.add_argument("--out", type=Path, default=RESULTS, help="table of results")
    for name, value in more.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(value), default=value, help="the case that is timed"
        )
    return parser.parse_args()
