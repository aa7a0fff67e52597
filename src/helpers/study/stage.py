"""What a stage is: a description of one step of the pipeline, and the digest that names its result.

The digest covers all that decides the output: name, version, full configuration, seed, the digests of the stages before it
and the contents of the files it reads.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.base.hashing import hash_file
from helpers.base.paths import runs_root


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline: what it is made from and how it is computed.

    `compute(folder, upstream)` writes its files into `folder`; `upstream` maps each key of `Stage.upstream` to that
    stage's finished folder. A `resumable` stage finds in `folder` what an interrupted run had left there, and may return the
    seconds that the work took in all; any other gets an empty folder. `config` is JSON-ready; `files` are inputs from
    outside the store, hashed by content.

    `shard(folder, upstream, k, n)` does the k-th of n parts of the work, from 1, ahead of `compute`, which does what is
    missing: it finds them in the folder with the suffix SHARDS beside its own. Several processes may do different parts.

    The last seven are no part of the digest: `published` are the files that a published study holds (patterns relative
    to the folder); where `collected_by` names a stage made from this one, only until that has published its own.
    `label` tells apart the instances of one name ("n100_d0"), and a `light` stage takes seconds and reads only
    published files of the stages before it. A published study may lack an `optional` stage, of some or of all runs.
    """

    name: str
    config: dict
    compute: Callable[[Path, dict[str, Path]], float | None]
    upstream: dict[str, "Stage"] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    version: int = 1
    seed: int | None = None
    resumable: bool = False
    published: tuple[str, ...] = ()
    collected_by: str = ""
    label: str = ""
    light: bool = False
    optional: bool = False
    shard: Callable[[Path, dict[str, Path], int, int], None] | None = None

    @property
    def title(self) -> str:
        """Name and label, for people."""
        return f"{self.name} {self.label}".strip()

    @functools.cached_property
    def digest(self) -> str:
        """64 hex digits. Raises FileNotFoundError for a missing input file, TypeError for a config JSON cannot hold."""
        identity = {
            "name": self.name,
            "version": self.version,
            "config": canonical(self.config),
            "seed": self.seed,
            "upstream": {key: stage.digest for key, stage in self.upstream.items()},
            "files": [[Path(path).name, hash_file(path)] for path in self.files],
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def folder(self, root: Path | None = None) -> Path:
        """Where the finished result is, or will be. Names carry 16 hex digits; the manifest carries all 64."""
        return (root or runs_root()) / self.name / self.digest[:16]


def hash_inputs(stage: Stage) -> dict[str, str]:
    """The sha256 of each of the stage's input files by its name in `input_paths`."""
    return {name: hash_file(path) for name, path in input_paths(stage).items()}


def input_paths(stage: Stage) -> dict[str, Path]:
    """The stage's input files by name; with the folder's name where two have one name."""
    paths = [Path(path) for path in stage.files]
    names = [path.name for path in paths]
    return {p.name if names.count(p.name) == 1 else f"{p.parent.name}/{p.name}": p for p in paths}


def canonical(value):
    """`value` with 1.0 as 1: a profile that writes `beta: 1` means the same as one that writes `beta: 1.0`."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
