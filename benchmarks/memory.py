"""Peak memory and time of the corpus, the embeddings and the search, each in a process of its own, at n clips.

`make bench` measures the pocket profile's 4,500 training clips, `make bench-large` ten times as many.
"""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from timing import WORK, options, row, write

from helpers.base.mapped import Selection
from helpers.base.settings import CorpusConfig, MelConfig, RetrievalConfig
from helpers.copies.detectors import Detectors
from helpers.sound import corpus
from helpers.stages import corpus as corpus_stage

STAGES = ("corpus", "embeddings, log-mel", "embeddings, CLAP", "search, log-mel", "search, shift-aligned")


def compute(stage: str, folder: Path, n: int) -> None:
    """One stage on the files that those before it have left in the folder."""
    config, mel = CorpusConfig(n_train=n, n_heldout=50, n_background=50), MelConfig()
    if stage == "corpus":
        return corpus_stage.compute(folder, {}, config, mel)
    data = corpus.load_corpus(folder)
    detectors = Detectors(RetrievalConfig(), mel, config.sample_rate_hz, data.mel_mean())
    train = Selection(data.audio, data.rows("train"))
    if stage == "embeddings, CLAP":
        detectors.features("clap", train)
    elif stage == "embeddings, log-mel":
        detectors.features("mel_aligned", train, folder / "features.npy")
    else:
        aligned = np.load(folder / "features.npy", mmap_mode="r")
        name, features = ("mel", aligned.reshape(n, -1)) if stage == "search, log-mel" else ("mel_aligned", aligned)
        detectors.nearest(name, features, features, 10)


def main():
    """Every stage, each in a child process."""
    chosen = options(__doc__, n=4500, stage="")
    folder = WORK / f"memory_{chosen.n}"
    if chosen.stage:
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        compute(chosen.stage, folder, chosen.n)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
        detail = f"peak {peak:.2f} GiB"
        return write(
            [row(f"memory, {chosen.stage}, {chosen.n:,} clips", time.perf_counter() - start, detail=detail)], chosen.out
        )
    for stage in STAGES:
        command = [sys.executable, __file__, "--n", str(chosen.n), "--stage", stage, "--out", str(chosen.out)]
        subprocess.run(command, check=True)
    shutil.rmtree(folder)  # 45,000 clips take 12 GB


if __name__ == "__main__":
    main()
