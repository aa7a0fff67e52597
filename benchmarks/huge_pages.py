"""One training step at pocket size, with memory taken in huge pages and kept, beside glibc's defaults.

Every update makes its arrays anew. glibc returns large ones to the system at once, so that each is mapped and cleared
again. `GLIBC_TUNABLES` must be set before a process starts, so each run is a process of its own, in turns.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from timing import options, row, write

from helpers.models.trainer import Data, Trainer
from helpers.sound.profiles import load_profile

TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296"
N, LATENTS, TEXT = 128, (16, 32, 8), (48, 384)


def measure(steps: int) -> float:
    """Seconds of a step, the median of `steps` after four."""
    random = torch.Generator().manual_seed(0)
    config = replace(load_profile("pocket").training, n_train=N, updates=10_000, checkpoints=(10_000,))
    latents, states = (torch.randn(N, *shape, generator=random) for shape in (LATENTS, TEXT))
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        data = Data(latents, states, torch.ones(N, TEXT[0], dtype=torch.bool), states[0], torch.ones(TEXT[0], dtype=torch.bool))  # fmt: skip
        trainer = Trainer(Path(folder), config, data)
        batches = trainer.batches()
        for _ in range(steps + 4):
            start = time.perf_counter()
            trainer.step(*next(batches))
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[4:]))


def main():
    """Two processes a run."""
    chosen = options(__doc__, steps=20, child=0)
    if chosen.child:
        return print(measure(chosen.steps))
    command, times = [sys.executable, __file__, "--child", "1", "--steps", str(chosen.steps)], {"ours": [], "peer": []}
    for run in range(chosen.runs + 1):
        for name, tunables in (("ours", TUNABLES), ("peer", "")):
            environment = {**os.environ, "GLIBC_TUNABLES": tunables}
            printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
            if run:
                times[name].append(float(printed))
    medians = {name: float(np.median(values)) for name, values in times.items()}
    write(
        [row("training step, huge pages", medians["ours"], "glibc's defaults", medians["peer"], chosen.runs)],
        chosen.out,
    )


if __name__ == "__main__":
    main()
