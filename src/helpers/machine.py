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

from .config import ROOT

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
        "commit": _commit(),
        "machine": {
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "os": platform.platform(),
            "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        },
    }


@functools.cache
def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


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
