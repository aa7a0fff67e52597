"""CDPAM: the distance between two recordings that was trained on what listeners said. For maintainers, optional.

Source: Manocha et al. (2021), "CDPAM: Contrastive learning for perceptual audio similarity" (MIT licence). Network and
weights are those of the package `cdpam`; `pip install --no-deps cdpam==0.0.6` installs it (98 MB). The package itself
is not imported: it asks for libraries that it does not use, loads its weights as a pickle that may hold code, and by default
wants a GPU. Its network is imported from its file, and its weights are read as tensors only. So read, it gives 0.16963 for
the pair of recordings for which its authors state 0.1696 (sample_audio/ref.wav and 2.wav of their repository), and 0.1707 in bfloat16.
"""

import importlib.util
import io
import pickle
import pickletools
from pathlib import Path

import numpy as np
import soxr
import torch
from torch.nn.functional import normalize

from helpers.base.hashing import check_sha256, read_checked
from helpers.models.pretrained.checkpoint import load_exactly
from helpers.sound.mel import level

INSTALL = "`pip install --no-deps cdpam==0.0.6` installs it"
NETWORK = ("models.py", "5e7c94b484d130004ba839234480869ca87af01f8bbaa2ca75b2a965b6ac632c")
WEIGHTS = (
    "CDPAM_trained/scratchJNDdefault_best_model.pth",
    "453c8b6edee1a94f0120236156436ff28fe4d8d884485e4a67695c8e8570bdfe",
)
SETTINGS = {"encoder_layers": 16, "encoder_filters": 64, "ndim": [16, 6], "classif_BN": 0, "input_size": 512}
RATE_HZ = 22_050  # of what it was trained on


class PerceptualDistance:
    """CDPAM on the processor. `fast`: its convolutions in bfloat16, in a third of the time where there are instructions for it.

    Raises ModuleNotFoundError where the package is not installed, ValueError where its files are not those of 0.0.6.
    """

    def __init__(self, fast: bool = True):
        folder, self.fast = _folder(), fast
        self.network = load_exactly(_network(folder / NETWORK[0]), _weights(folder / WEIGHTS[0]), "cdpam")

    @torch.inference_mode()
    def embed(self, audio: np.ndarray, rate_hz: int) -> np.ndarray:
        """What the distance hears of clips int16 [N, S]: float32 [N, 512], of unit length.

        All clips are brought to one peak, as for the detectors, then to CDPAM's rate and its scale, that of int16.
        """
        parts = []
        for clip in level(audio):
            samples = np.round(soxr.resample(clip, rate_hz, RATE_HZ) * 32768)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
                _, acoustics, _ = self.network.base_encoder(torch.from_numpy(samples)[None, None])
            parts.append(normalize(acoustics.float(), dim=1))
        return torch.cat(parts).numpy()

    @torch.inference_mode()
    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances float32 [N] of pairs of rows of `embed`; 0 for the same, without an upper bound."""
        return self.network.model_dist(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def _folder() -> Path:
    spec = importlib.util.find_spec("cdpam")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"cdpam: expected the package, which is not installed; {INSTALL}", name="cdpam")
    return Path(spec.origin).parent


def _network(file: Path) -> torch.nn.Module:
    check_sha256(file, NETWORK[1])
    spec = importlib.util.spec_from_file_location("cdpam_models", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file}: expected a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FINnet(**SETTINGS)


def _weights(file: Path) -> dict[str, torch.Tensor]:
    data = read_checked(file, WEIGHTS[1], "cdpam", "cdpam 0.0.6")
    return torch.load(io.BytesIO(_readable(data)), map_location="cpu", weights_only=True)["state"]


def _readable(data: bytes) -> bytes:
    """A checkpoint of Python 2 with its long integers written as torch's reader of tensors knows them.

    That reader lacks one opcode (INT, decimal digits) and refuses the file for it. LONG1 holds the same numbers.
    """
    stream, parts, done = io.BytesIO(data), [], 0
    for _ in range(4):  # magic number, protocol, system, then the checkpoint; the tensors' bytes follow
        for opcode, value, position in pickletools.genops(stream):
            if opcode.name == "INT":
                number = pickle.encode_long(value)
                parts += [data[done:position], b"\x8a", bytes([len(number)]), number]
                done = data.index(b"\n", position) + 1
    return b"".join([*parts, data[done:]])
