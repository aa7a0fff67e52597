"""What it takes to compute stages, told before anything runs: seconds, memory and disk of each.

Times and memory were measured whenever a stage was computed, and stand in its manifest. A stage that was measured as it
is has its recorded values. Any other is scaled from those of its name that are nearest to it: on a machine like this one
where there are such, then in size (`work.size`). Disk follows from the shapes of the arrays. All of it is an estimate.
"""

import contextlib
import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from helpers.base.machine import cores, vector_extensions
from helpers.base.profile import Profile
from helpers.study import entries, publication, store, work
from helpers.study.manifest import kept_manifests, read_manifest
from helpers.study.stage import Stage

ANNOUNCED_S = 60.0  # what takes longer is announced before it begins
START_S, START_MIB = 2.0, 900.0  # to load code and models: what does not grow with a stage's size
UNKNOWN_S = 86_400.0  # asked of a batch system for what was neither measured nor counted: a day
AROUND_MIB = 700.0  # of a batch system's job beside the stage: Snakemake twice, and the process that runs the notebook
PARTS = ("kind", "codec_path", "vocoder", "encoder", "clap_path", "architecture")  # times of another tell nothing


@dataclass(frozen=True)
class Record:
    """A stage that was measured, as far as its manifest describes it, and that manifest."""

    stage: Stage
    size: float
    manifest: dict


@dataclass(frozen=True)
class Estimate:
    """Of one stage, and the machine that it rests on. Where nothing comparable was measured, `unknown` says why; the memory
    is then counted (`work.memory`)."""

    stage: Stage
    seconds: float | None
    memory_mib: float
    disk_bytes: int
    machine: str = ""
    unknown: str = ""


def missing(
    stages: Iterable[Stage], folder: Path | None = None, root: Path | None = None, everything: bool | None = None
) -> list[Stage]:
    """The stages that `store.load_or_run` would compute for these, in that order; `folder`: of a published study in use.

    `everything`: as if nothing were published; by default what HELPERS_COMPUTE asks for.
    """
    order, seen = {}, set()

    def visit(stage: Stage, whole: bool):
        if (stage.digest, whole) in seen or stage.digest in order:
            return
        seen.add((stage.digest, whole))
        manifest = read_manifest(stage, root)
        if manifest and not (whole and manifest.get("restored")):
            return
        if folder and not whole and not entries.difference(stage, folder):
            return  # restored
        for before in stage.upstream.values():
            visit(before, whole=everything or not stage.light)
        order[stage.digest] = stage

    everything = store.computes_all() if everything is None else everything
    folder = None if everything else folder
    for stage in stages:
        visit(stage, whole=everything)
    return list(order.values())


def measured() -> list[Record]:
    """All that was measured: in the published studies, and in what is kept on this machine.

    A study that is still being made tells nothing: its runs come from machines that did other work beside.
    """
    studies = [entries.read_entries(path) for path in publication.RESULTS.glob("*")]
    manifests = [one for study in studies if "findings" in study for one in study.values()]
    manifests += kept_manifests()
    by_digest, built, records = {manifest["digest"]: manifest for manifest in manifests}, {}, []

    def build(digest: str) -> Stage:
        if digest not in built:
            one = by_digest[digest]
            upstream = {key: build(before) for key, before in one["upstream"].items() if before in by_digest}
            built[digest] = Stage(one["stage"], one["config"], None, upstream)
        return built[digest]

    for digest, manifest in by_digest.items():
        # else its size is that of what is no longer there, or it has an older version's settings
        with contextlib.suppress(KeyError):
            records.append(Record(build(digest), work.size(build(digest)), manifest))
    return records


def estimate_all(stages: list[Stage]) -> list[Estimate]:
    """The estimate of each stage, by all that was measured."""
    records = measured() if stages else []
    return [estimate(stage, records) for stage in stages]


def resources(stages: list[Stage], profile: Profile) -> dict[str, int]:
    """What a batch system is asked for to compute what is missing of these: `mem_mb`, and `runtime` in minutes.

    Half as much memory again as is estimated, and twice as long, with an hour for the start. Where nothing comparable
    was measured, the time is that of a GPU, as counted; of what is not counted either, a day: a job that is too short
    is killed, and few stages can resume.
    """
    estimates = estimate_all(missing(stages))
    if any(one.unknown for one in estimates):
        from helpers.study import operations  # imports torch
    seconds, memory_mib = 3600.0, START_MIB
    for one in estimates:
        counted = operations.count(one.stage, profile) if one.unknown else None
        known = counted.seconds if counted else one.seconds
        seconds += UNKNOWN_S if known is None else 2 * known
        memory_mib = max(memory_mib, one.memory_mib)
    return {"mem_mb": math.ceil((AROUND_MIB + 1.5 * memory_mib) * 2**20 / 1e6), "runtime": math.ceil(seconds / 60)}


def with_network(stages: list[Stage]) -> bool:
    """Whether what is missing of these computes with a network, so that a GPU may serve it: the denoiser and
    published networks run on one, those made here do not."""
    return any(stage.name in work.LOADS for stage in missing(stages))


def announcement(stages: list[Stage]) -> str:
    """One line before long work: how much there is to compute, about how long it takes, how to stop; "" if it is short."""
    estimates = estimate_all(stages)
    if not any(one.unknown for one in estimates) and sum(one.seconds for one in estimates) < ANNOUNCED_S:
        return ""
    longest = max(estimates, key=lambda one: one.seconds or 0.0)
    return (
        f"first computes {total_in_words(estimates)}, the longest {longest.stage.title}; "
        "Ctrl-C stops it, and the same command goes on from there; --dry-run tells each stage"
    )


def total_in_words(estimates: list[Estimate]) -> str:
    """How many stages, and about how long all of them take."""
    told = [one.seconds for one in estimates if not one.unknown]
    time = f"about {publication.duration(sum(told))}" if told else "for an unknown time"
    unknown = len(estimates) - len(told)
    more = f", and {unknown} of an unknown time" if told and unknown else ""
    return f"{len(estimates)} stage{'s' * (len(estimates) > 1)}, {time}{more}"


def estimate(stage: Stage, records: list[Record]) -> Estimate:
    """Seconds, memory and disk of computing `stage`, by `records` of `measured`."""
    parts, namesakes = _parts(stage), [record for record in records if record.stage.name == stage.name]
    alike = [record for record in namesakes if parts.items() <= _parts(record.stage).items()]  # of fewer detectors too
    if not alike:
        known = {part for record in namesakes for part in _parts(record.stage).items()}
        new = [value for name, value in parts.items() if (name, value) not in known] or parts.values()
        why = f"nothing was measured with {' and '.join(new)}" if namesakes and new else "no such stage was measured"
        return Estimate(stage, None, START_MIB + work.memory(stage) / 2**20, work.disk(stage), unknown=why)
    size, ranks = work.size(stage), []
    for record in alike:
        if record.manifest["digest"] == stage.digest:
            return _scaled(stage, [record], [1.0])
        ranks.append((*_unlike(record.manifest["machine"]), abs(math.log(size / record.size))))
    *machine, gap = min(ranks)
    nearest = [record for record, (*other, far) in zip(alike, ranks) if other == machine and far < gap + 0.01]
    return _scaled(stage, nearest, [size / record.size for record in nearest])


def _scaled(stage: Stage, records: list[Record], ratios: list[float]) -> Estimate:
    manifests = [record.manifest for record in records]

    def scale(name: str, fixed: float, power: float = 1.0) -> float:
        values = [manifest[name] for manifest in manifests]
        return median(
            min(value, fixed) + max(0.0, value - fixed) * ratio**power for value, ratio in zip(values, ratios)
        )

    power = 0.5 if stage.name in work.OF_PAIRS else 1.0  # of memory and disk
    published = [sum(file["size"] for file in manifest["files"].values()) for manifest in manifests]
    disk = work.disk(stage) or round(median(size * ratio**power for size, ratio in zip(published, ratios)))
    machine = manifests[0]["machine"]
    n_cores = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}"
    words = ", ".join(filter(None, (machine["cpu"], n_cores, *machine["vectors"][-1:], machine["gpu"])))
    memory_mib = scale("peak_memory_mib", START_MIB, power)
    if stage.name in work.OF_PARTS:
        most = max(manifest["peak_memory_mib"] for manifest in manifests)
        memory_mib = min(memory_mib, max(most, START_MIB + work.memory(stage) / 2**20))
    return Estimate(stage, scale("wall_s", START_S), memory_mib, disk, words)


def _unlike(machine: dict) -> tuple[bool, bool, bool]:
    """In what a machine differs from this one, the weightiest first."""
    gpu, vectors = bool(shutil.which("nvidia-smi")), vector_extensions()
    return bool(machine["gpu"]) != gpu, machine["vectors"] != vectors, machine["cores"] != cores()


def _parts(stage: Stage) -> dict[str, str]:
    """The models and the kind of corpus that decide how long a stage takes beside its size."""
    parts = {}
    for one in (*stage.upstream.values(), stage):
        for config in (one.config, *(value for value in one.config.values() if isinstance(value, dict))):
            parts |= {name: config[name] for name in PARTS if name in config and (name != "kind" or one is stage)}
    return parts


def in_words(estimates: list[Estimate]) -> list[str]:
    """A line for each stage, their sum, and what the numbers rest on."""
    if not estimates:
        return ["nothing to compute: all is there"]
    told = [one for one in estimates if not one.unknown]
    total = (
        f"{len(estimates)} stage{'s' * (len(estimates) > 1)}",
        sum(one.seconds for one in told) if told else None,
        max(one.memory_mib for one in estimates),
        sum(one.disk_bytes for one in estimates),
    )
    rows = [(one.stage.title, one.seconds, one.memory_mib, one.disk_bytes) for one in estimates]
    lines = [f"{'stage':<28} {'time':>8} {'memory':>10} {'disk':>10}"]
    for title, seconds, mib, size_bytes in (*rows, total):
        time = "?" if seconds is None else publication.duration(seconds)
        lines.append(f"{title:<28} {time:>8} {in_bytes(mib * 2**20):>10} {in_bytes(size_bytes):>10}")
    whys: dict[str, list[str]] = {}
    for one in estimates:
        if one.unknown:
            whys.setdefault(one.unknown, []).append(one.stage.title)
    lines += [
        f"cannot be told: {titles[0]}{f' and {len(titles) - 1} more' * (len(titles) > 1)}: {why}"
        for why, titles in whys.items()
    ]
    if whys:
        lines.append("Their memory is counted, by the sizes of published networks and of the clips held at a time.")
    if machines := dict.fromkeys(one.machine for one in told):
        lines.append(f"Estimates, within about a factor of two, from runs on: {'; '.join(machines)}.")
    free, most = shutil.disk_usage(_existing(store.runs_root())).free, max(work.scratch(one.stage) for one in estimates)
    more = f" While it is computed, a stage takes up to {in_bytes(most)} more." if most else ""
    lines.append(f"Free where stages are kept: {in_bytes(free)}.{more}")
    if total[-1] + most > free:
        lines.append(
            f"Too little is free: expected {in_bytes(total[-1] + most)}; HELPERS_RUNS=/folder keeps stages elsewhere"
        )
    return lines


def in_bytes(number: float) -> str:
    """A number of bytes with its unit, for people."""
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number:.0f} B"


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
