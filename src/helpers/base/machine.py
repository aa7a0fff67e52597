"""What a result was made with: package versions, commit, machine, and the memory that a block of work took at most."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from helpers.base.paths import ROOT

PACKAGES = ("numpy", "scipy", "torch", "diffusers", "transformers", "accelerate", "librosa", "laion-clap", "faiss-cpu")


def describe_machine() -> dict:
    """Versions, commit and machine, as they stand in every stage's manifest. Holds no host name, user name or path."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    torch = sys.modules.get("torch")  # only where the stage has loaded it: importing it takes seconds
    return {
        "versions": versions,
        "commit": commit(),
        "machine": {
            "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
            "vectors": vector_extensions(),
            "cores": cores(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "os": _distribution(),
            "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        },
    }


def cores() -> int:
    """How many processor cores this process may use: of a batch job, those that it asked for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def commit() -> str | None:
    """The commit of the code that this process runs, with "-dirty" where files differ from it; None without git.

    Asked once a process, by the stage store before the first stage is computed: at the end of a run of hours the tree can
    be another than the one that ran. Dirty is a changed tracked file anywhere, or a file under `src/` that git neither tracks nor
    ignores: code that no commit holds. Untracked files elsewhere are none of a result's making: what a stage reads is in
    its manifest by settings and sha256.
    """
    if not (ROOT / ".git").exists():  # an installed package, which may lie in someone else's repository
        return None
    try:
        described = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
        unknown_code = _git("ls-files", "--others", "--exclude-standard", "--", "src")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{described}-dirty" if unknown_code and not is_dirty(described) else described


def refuse_several_processes() -> None:
    """Raises ValueError where `torchrun` or `accelerate launch` started more than this process."""
    if (n := os.environ.get("WORLD_SIZE", "1")) not in ("", "1"):
        raise ValueError(
            f"WORLD_SIZE: expected one process, got {n}; each training size is a job with one GPU of its own, and "
            "generation is cut into shards, so start it without torchrun or accelerate launch"
        )


def is_dirty(commit: str | None) -> bool:
    """Whether no commit holds the code that ran: it had changes, or it is not known which it was."""
    return commit is None or commit.endswith("-dirty")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def _distribution() -> str:
    """The operating system as people name it, as "Debian GNU/Linux 12 (bookworm)": its kernel's build decides no result."""
    with contextlib.suppress(OSError):  # systems without /etc/os-release
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    if version := platform.mac_ver()[0]:
        return f"macOS {version}"  # platform.release() is Darwin's there
    return f"{platform.system()} {platform.release()}"


def _cpuinfo(field: str) -> str:
    """What Linux says of the first processor under this name; "" elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(field):
                return line.split(":", 1)[1].strip()
    return ""


def vector_extensions() -> list[str]:
    """The processor's vector instructions that decide how fast this project runs; empty where the system does not tell.

    Two processors under one name may differ in them, and without those for 16-bit and 8-bit numbers most is slower.
    """
    flags = _cpuinfo("flags").split()
    return [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in flags]


def computes_in_bf16(device_type: str) -> bool:
    """Whether bfloat16 is faster than float32 there: on GPUs, and on CPUs with instructions for it; others emulate it."""
    import torch

    if device_type != "cpu":
        return True
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


class PeakMemory:
    """Peak resident memory of this process and its children while the block runs, in MiB.

    Sampled, since children come and go; the operating system's own maximum replaces the samples of this process where
    it rose during the block. Pages that forked workers share are counted in each.
    """

    INTERVAL_S = 0.5

    def __enter__(self):
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._before = self._own_maximum()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        if (own := self._own_maximum()) > self._before:
            self.peak_mib = max(self.peak_mib, own)

    def _watch(self):
        process = psutil.Process()
        while True:
            total = 0
            with contextlib.suppress(psutil.Error):  # a child that ends while it is looked at
                for one in (process, *process.children(recursive=True)):
                    total += one.memory_info().rss
            self.peak_mib = max(self.peak_mib, total / 2**20)
            if self._stop.wait(self.INTERVAL_S):
                return

    @staticmethod
    def _own_maximum() -> float:
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
