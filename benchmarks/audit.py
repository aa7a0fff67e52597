"""Which planted copies an audit finds, beside Chromaprint: right at 5 % and 1 % false alarms, by kind of alteration.

Right is a copy that is flagged beside the very clip that it was made of. Two sets of clips: recordings as they are, and
mixtures of four in 10 s. Half of the recordings served to choose how detectors are combined (`--half choose`); the table is
of the other half. Every step is kept in runs/benchmarks, so an interrupted run goes on where it stopped. Chromaprint takes
part where `fpcalc` is installed (Debian: libchromaprint-tools), calibrated on the same honest clips as the audit.
"""

import argparse
import resource
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from recordings import RATE, recordings
from timing import WORK

from helpers.base.machine import describe_machine
from helpers.base.progress import progress
from helpers.base.seeds import seeded
from helpers.copies.audit import audit
from helpers.copies.audit.chromaprint import Index, fingerprint
from helpers.copies.audit.p_values import p_values
from helpers.copies.audit.planting import ALTERATIONS, plant
from helpers.copies.rates import flagged_rate
from helpers.sound.audio_file import read_sound
from helpers.sound.likeness import differences, measure
from helpers.sound.profiles import load_profile

TABLE = Path(__file__).with_suffix(".csv")
SETS, HALVES, FPRS = ("short", "mixtures"), ("choose", "measure"), (0.05, 0.01)
SECONDS, MOST_CLIPS = 10, 382  # as many mixtures as the recordings of a half give
SHARES = (0.28, 0.54, 0.18)  # of the clips: learned, honest (C2, half of them, needs 99 for 1 %), and unrelated ones
CHROMAPRINT = "Chromaprint"
UNRELATED = {  # what is done to unrelated clips, which must not raise false alarms
    "unrelated": lambda clip, rng: clip,
    "unrelated, cut to 2 s": lambda clip, rng: clip[: 2 * RATE],
    "unrelated, 1.5 s of silence before": lambda clip, rng: np.concatenate([np.zeros(24_000, np.int16), clip]),
    "unrelated, noise 10 dB": lambda clip, rng: plant("noise 10 dB", clip, clip, RATE, int(rng.integers(2**31))),
    "unrelated, low-pass 4 kHz": lambda clip, rng: plant("low-pass 4 kHz", clip, clip, RATE, 0),
}


def clips_of(half: str, name: str) -> list[np.ndarray]:
    """Clips int16 [n] each, in random order, of one half of the recordings; no recording is in two."""
    sounds = [*recordings().values()]
    side = seeded("halves").permutation(len(sounds)) % 2
    sounds = [sound for sound, of in zip(sounds, side) if HALVES[of] == half]
    clips = mixtures(sounds) if name == "mixtures" else sounds
    return [clips[row] for row in seeded("order").permutation(len(clips))[:MOST_CLIPS]]


def mixtures(sounds: list[np.ndarray]) -> list[np.ndarray]:
    """Of four recordings each; no recording is in two."""
    longest, n = sorted(sounds, key=len, reverse=True), len(sounds) // 4
    return [mix(longest[number::n][:4], seeded("mixture", number)) for number in range(n)]


def mix(sounds: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Sounds int16 [n] each at random times and levels of SECONDS, over a faint hiss."""
    samples = SECONDS * RATE
    total = 0.002 * rng.standard_normal(samples)
    for sound in sounds:
        part = sound[:samples].astype(float)
        start = int(rng.integers(samples - len(part) + 1))
        level = 10 ** (rng.uniform(-9, 3) / 20) / max(np.sqrt(np.mean(part**2)), 1e-9)
        total[start : start + len(part)] += level * part
    return np.round(total / np.abs(total).max() * 16383).astype(np.int16)


def write_folders(root: Path, clips: list[np.ndarray], n: int) -> dict[str, Path]:
    """Folders `training`, `honest`, `generated` (n copies of each kind, and the UNRELATED), and one for each of these alone."""
    folders = {name: root / name for name in ("training", "honest", "generated", *UNRELATED)}
    if (root / "done").is_file():
        return folders
    shutil.rmtree(root, ignore_errors=True)
    for folder in folders.values():
        folder.mkdir(parents=True)
    training, honest, strangers = np.split(np.arange(len(clips)), (np.cumsum(SHARES)[:2] * len(clips)).astype(int))
    for name, rows in (("training", training), ("honest", honest)):
        for row in rows:
            soundfile.write(folders[name] / f"{row:05d}.wav", clips[row], RATE)
    for kind, (name, alter) in enumerate(UNRELATED.items()):
        for row in strangers:
            file = folders[name] / f"{kind:02d}_by_{row:05d}.wav"
            soundfile.write(file, alter(clips[row], seeded(name, int(row))), RATE)
            (folders["generated"] / file.name).hardlink_to(file)
    for kind, name in enumerate(progress([*ALTERATIONS], desc="copies", unit="kind")):
        for i, row in enumerate(seeded("copies", name).permutation(training)[:n]):
            copy = plant(name, clips[row], clips[strangers[i % len(strangers)]], RATE, i)
            if np.ptp(copy):
                soundfile.write(folders["generated"] / f"{kind:02d}_of_{row:05d}.wav", copy, RATE)
    (root / "done").touch()
    return folders


def kept(file: Path, make) -> pd.DataFrame:
    """A table as `make` gives it, with the seconds of processor that this took; made once."""
    if not file.is_file():
        start = _cpu_seconds()
        table = make()
        draft = file.with_suffix(".part")
        table.assign(cpu_s=_cpu_seconds() - start).to_parquet(draft)
        draft.rename(file)
    return pd.read_parquet(file)


def _cpu_seconds() -> float:
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def audited(folders: dict[str, Path], generated: str, profile, match_honest: bool = False) -> pd.DataFrame:
    """The audit's table; p is given also where the audit refuses to state a rate."""
    found = audit.audit(folders[generated], folders["training"], folders["honest"], profile, match_honest=match_honest)
    print(found, flush=True)
    table = found.table
    for _, rows in table.groupby("detector").groups.items():
        scores = table.loc[rows, "score"]
        table.loc[rows, "p"] = p_values(scores, scores[table.loc[rows, "part"] == "C2"])
    return table[["kind", "clip", "detector", "nearest", "score", "part", "p"]]


def refused(folders: dict[str, Path]) -> dict[str, bool]:
    """Whether an audit would state no rate, were all that is generated unrelated clips of one kind."""

    def measures(folder: Path) -> pd.DataFrame:
        return pd.DataFrame([measure(read_sound(path, RATE)[0], RATE) for path in sorted(folder.iterdir())])

    honest = measures(folders["honest"])
    return {kind: bool(differences(measures(folders[kind]), honest)) for kind in UNRELATED}


def fingerprints(folder: Path) -> dict[str, np.ndarray]:
    """Chromaprint's, uint32 [n] for each file."""
    return {path.name: fingerprint(soundfile.read(path, dtype="int16")[0], RATE) for path in sorted(folder.iterdir())}


def chromaprint(folders: dict[str, Path], calibrating: set[str]) -> pd.DataFrame:
    """The nearest training clip of each generated and each calibrating honest clip, with its p-value, as `audited`."""
    learned = fingerprints(folders["training"])
    index, rows = Index([*learned.values()]), []
    for kind, folder in (("generated", folders["generated"]), ("honest", folders["honest"])):
        for name, query in fingerprints(folder).items():
            if kind == "honest" and name not in calibrating:
                continue
            found = index.match(query, 1)
            nearest, score = ([*learned][found.indices[0]], found.scores[0]) if len(found.scores) else ("", 0.0)
            rows.append((kind, name, CHROMAPRINT, nearest, score))
    table = pd.DataFrame(rows, columns=["kind", "clip", "detector", "nearest", "score"])
    return table.assign(p=p_values(table["score"], table.loc[table["kind"] == "honest", "score"]))


def judged(table: pd.DataFrame, after: str = "") -> pd.DataFrame:
    """A row for each generated clip, detector and rate: `kind` of alteration, and whether it is a hit: flagged, and of a copy
    beside the right clip. `after`: what else was done, for the name of the kind."""
    made = table[table["kind"] == "generated"]
    found = made["clip"].str.extract(r"^(?P<number>\d\d)_(?P<way>of|by)_(?P<source>\d+\.wav)")
    of_copy = found["way"] == "of"
    names = [
        [*(ALTERATIONS if copy else UNRELATED)][int(number)] + after for number, copy in zip(found["number"], of_copy)
    ]
    true = (made["nearest"] == found["source"]) | ~of_copy
    return pd.concat([
        made[["clip", "detector"]].assign(kind=names, fpr=fpr, hit=(made["p"] <= fpr) & true) for fpr in FPRS
    ])  # fmt: skip


def shares(hits: pd.DataFrame, name: str) -> pd.DataFrame:
    """A row for each kind, rate and detector: the share of hits with its exact interval, and how far it lies above
    Chromaprint's, with the paired interval of that difference (bootstrap over clips), in per cent."""
    rows = []
    for (kind, fpr), part in hits.groupby(["kind", "fpr"], sort=False):
        wide = part.pivot(index="clip", columns="detector", values="hit").astype(float)
        for detector in wide:
            rate = flagged_rate(wide[detector].to_numpy(bool), 0.95)
            row = {"set": name, "kind": kind, "fpr": fpr, "detector": detector, "n": rate.n, "percent": rate.rate, "low": rate.low, "high": rate.high}  # fmt: skip
            if CHROMAPRINT in wide:
                apart = (wide[detector] - wide[CHROMAPRINT]).to_numpy()
                drawn = seeded("paired").choice(apart, (2000, len(apart))).mean(axis=1)
                row |= dict(zip(("over_chromaprint", "over_low", "over_high"), (apart.mean(), *np.quantile(drawn, (0.025, 0.975)))))  # fmt: skip
            rows.append(
                {key: 100 * value if isinstance(value, float) and key != "fpr" else value for key, value in row.items()}
            )
    return pd.DataFrame(rows)


def measured(half: str, name: str, n: int, detectors: tuple[str, ...]) -> pd.DataFrame:
    """All shares of one set of clips; each step is kept."""
    root = WORK / "audit" / f"{half}_{name}_{n}"
    folders = write_folders(root, clips_of(half, name) if not (root / "done").is_file() else [], n)
    profile = load_profile("pocket").replace("retrieval", detectors=detectors)
    table = kept(root / "audit.parquet", partial(audited, folders, "generated", profile))
    tables = [table]
    if shutil.which("fpcalc"):
        calibrating = {*table.loc[table["part"] == "C2", "clip"]}
        tables.append(kept(root / "chromaprint.parquet", partial(chromaprint, folders, calibrating)))
    hits = [judged(pd.concat(tables))]
    for kind in [*UNRELATED][1:]:
        alike = kept(root / f"{kind}.parquet", partial(audited, folders, kind, profile, True))
        hits.append(judged(alike, ", honest made alike"))
        tables.append(alike)
    for one in tables:
        print(f"{half}, {name}: {one['clip'].nunique()} clips, {one['cpu_s'].iloc[0]:.0f} s of processor")
    made = shares(pd.concat(hits), name)
    return made.assign(refused=made["kind"].map(refused(folders)))


def readable(table: pd.DataFrame, fpr: float) -> str:
    """Markdown: a row a kind, a column a detector."""
    some = table[table["fpr"] == fpr]
    wide = some.pivot_table(index=["set", "kind"], columns="detector", values="percent", sort=False)
    return wide.round(0).to_markdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES, default="measure", help="of the recordings")
    parser.add_argument("--n", type=int, default=100, help="copies of each kind")
    parser.add_argument("--detectors", default="mel,mel_centred,mel_aligned,clap")
    parser.add_argument("--out", type=Path, default=TABLE, help="table of results")
    chosen = parser.parse_args()
    made = pd.concat([measured(chosen.half, name, chosen.n, tuple(chosen.detectors.split(","))) for name in SETS])
    made.assign(cpu=describe_machine()["machine"]["cpu"]).round(2).to_csv(chosen.out, index=False)
    for fpr in FPRS:
        print(f"\nRight at {fpr:.0%} false alarms, %\n\n{readable(made, fpr)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
