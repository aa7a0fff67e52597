"""The clips that benchmarks work on: fresh mixtures of the sound pack's training recordings, kept in runs/benchmarks."""

import numpy as np
from timing import WORK

from helpers.base.hashing import hash_file
from helpers.base.paths import SOUND_PACK
from helpers.base.settings import CorpusConfig, MelConfig
from helpers.sound import corpus
from helpers.sound.mel import log_mel


def clips(n: int, seed: int = 11) -> tuple[np.ndarray, list[str]]:
    """`n` clips int16 [n, S] and their captions."""
    audio, captions = _kept("audio", n, seed), _folder(n, seed) / "captions.txt"
    return audio, captions.read_text().split("\n")


def log_mels(n: int, seed: int = 11) -> np.ndarray:
    """Log-mels float32 [n, T, M] of `clips(n)`."""
    return _kept("mels", n, seed)


def _folder(n: int, seed: int):
    return WORK / f"clips_{n}_{seed}_{hash_file(SOUND_PACK)[:8]}"


def _kept(name: str, n: int, seed: int) -> np.ndarray:
    folder = _folder(n, seed)
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        audio, captions = corpus.training_mixtures(CorpusConfig(), n, seed)
        np.save(folder / "audio.npy", audio)
        np.save(folder / "mels.npy", log_mel(audio, MelConfig(), CorpusConfig().sample_rate_hz))
        (folder / "captions.txt").write_text("\n".join(captions))
        (folder / "done").touch()
    return np.load(folder / f"{name}.npy", mmap_mode="r")
