"""A second opinion: the sound-effects encoder of the package `aisfx`, which others trained. Optional.

Source: Ma and Lerch (2022), "Representation Learning for the Automatic Indexing of Sound Effects Libraries": a CNN after
the DCASE baselines (Kong et al., 2018), trained to tell the categories of commercial libraries. `make aisfx` installs it.

Settings, blocks, network and weights are the package's; only the spectrogram is computed here, for arrays instead of
files. It is laid as frames by bands, as Essentia gave it in training. The package's own librosa route lays it as bands by
frames, so its network would read pitch for time: on 24 clips of the corpus the mean cosine to the Essentia route's
embeddings was 0.80 that way, 0.99 this way.

Notebook: 05_retrieval.
"""

# torch, librosa and soxr are imported where they are used: processes that only name stages ask for `installed` and `weights`.
import functools
import importlib
import importlib.util
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from helpers.base.hashing import read_checked
from helpers.base.machine import computes_in_bf16
from helpers.sound.silence import refuse_silence

NAME = "aisfx"
WEIGHTS_SHA256 = "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"  # models/checkpoint.pth of 0.1.2
INSTALL = "`make aisfx` installs it (or `pip install --no-deps aisfx==0.1.2`)"
ABSENT = f"The sound-effects encoder `{NAME}` is not installed, so its second opinion is missing here: {INSTALL}."
DIMENSION = 512
HOP = 0.5  # of a block, the package's default: blocks of 2.3 s, one every 1.2 s
CHUNK = 32  # clips transformed at a time: bounds memory
BATCH = 16  # blocks embedded at a time


def installed() -> bool:
    """Whether the package is there; it is not imported."""
    return importlib.util.find_spec(NAME) is not None


def require(detectors: Iterable[str]) -> None:
    """Raises ModuleNotFoundError, with the command that installs it, where `detectors` need the package and lack it."""
    if NAME in detectors and not installed():
        raise ModuleNotFoundError(f"detectors: {NAME!r} needs a package that is not installed; {INSTALL}", name=NAME)


def weights(detectors: Iterable[str]) -> dict[str, str]:
    """What a stage's digest says of the weights: nothing without this detector, and nothing of what is installed."""
    return {NAME: WEIGHTS_SHA256} if NAME in detectors else {}


class SoundEffectsEncoder:
    """Embeddings of clips at one sample rate. `dtype`: bfloat16 where the CPU computes with it, else float32.

    bfloat16 is twice as fast; the cosine to what float32 gives was 0.9999 at the least, over 64 clips of the corpus.
    """

    def __init__(self, network, sample_rate_hz: int):
        import torch

        if not 8_000 <= sample_rate_hz <= 48_000:
            raise ValueError(f"sample_rate_hz: expected 8000 to 48000 Hz, got {sample_rate_hz}")
        self.network, self.sample_rate_hz = network, sample_rate_hz
        self.package = importlib.import_module(f"{NAME}.inference")  # holds the settings, and the functions on blocks
        self.dtype = torch.bfloat16 if computes_in_bf16("cpu") else torch.float32

    def embed_audio(self, audio) -> np.ndarray:
        """Embeddings float32 [N, 512] of unit length of audio [N, S] (int16 or float): the mean over a clip's blocks.

        As in the package, a block that the clip does not fill is dropped: of 4.1 s the last 0.6 s are not heard.
        Raises ValueError for another shape or kind of number, NaN, infinity, a clip shorter than one block, or a silent
        one (one constant value).
        """
        audio = self._checked(audio)
        parts = [self._embed(audio[i : i + CHUNK]) for i in range(0, len(audio), CHUNK)]
        return np.concatenate([np.empty((0, DIMENSION), np.float32), *parts])

    def spectrograms(self, audio: np.ndarray) -> np.ndarray:
        """float32 [N, T, 96], log10(1 + 10,000 power) of HTK mel bands at 44.1 kHz, of audio [N, S] scaled to a peak of 1.

        The same values as the package's `spectrogram_librosa` gives for a file, with the last two axes exchanged.
        """
        import librosa
        import soxr

        settings = self.package
        rate = settings.SAMPLE_RATE
        clips = soxr.resample(audio.T.astype(np.float32), self.sample_rate_hz, rate).T  # librosa.load's own resampling
        clips = clips / np.abs(clips).max(axis=1, keepdims=True)
        power = librosa.feature.melspectrogram(
            y=clips, sr=rate, n_fft=settings.SPEC_BLOCK_LENGTH, hop_length=settings.SPEC_HOP_LENGTH,
            n_mels=settings.MEL_BINS, fmin=settings.F_MIN, fmax=settings.F_MAX, htk=True, norm=1.0, power=2.0,
        )  # fmt: skip
        return np.log10(power * 10_000 + 1).swapaxes(1, 2)

    def _embed(self, audio: np.ndarray) -> np.ndarray:
        import torch

        blocks = np.stack([self._blocks(one) for one in self.spectrograms(audio)])  # [n, blocks, 100, 96]
        flat = torch.from_numpy(blocks.reshape(-1, *blocks.shape[2:]).astype(np.float32))
        with torch.inference_mode(), torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            found = torch.cat([self.network(part).float() for part in flat.split(BATCH)])
        means = found.view(len(audio), -1, DIMENSION).mean(dim=1)
        return torch.nn.functional.normalize(means, dim=-1).numpy()

    def _blocks(self, spectrogram: np.ndarray) -> np.ndarray:
        """[blocks, 100, 96] of one spectrogram [T, 96], normalised by the package's constants."""
        length = self.package.EMB_BLOCK_LENGTH
        scaled = self.package.spectrogram_normalize(spectrogram)
        hop = self.package.compute_hopSize(length, HOP, scaled)
        return self.package.blocking(scaled, block_size=length, hop_size=hop, drop_partial_block=True)

    def _checked(self, audio) -> np.ndarray:
        audio = np.asarray(audio)
        if audio.ndim != 2:
            raise ValueError(f"audio: expected [N, S], got shape {audio.shape}")
        if audio.dtype != np.int16 and not np.issubdtype(audio.dtype, np.floating):
            raise ValueError(f"audio: expected int16 or floating point, got {audio.dtype}")
        if not np.isfinite(audio).all():
            raise ValueError("audio: expected finite samples, got NaN or infinity")
        hops = (self.package.EMB_BLOCK_LENGTH - 1) * self.package.SPEC_HOP_LENGTH
        least = int(np.ceil(hops * self.sample_rate_hz / self.package.SAMPLE_RATE))
        if audio.shape[1] < least:
            raise ValueError(
                f"audio: expected at least one block of {least} samples at {self.sample_rate_hz} Hz, got {audio.shape[1]}"
            )
        refuse_silence(audio)
        return audio


def load_encoder(sample_rate_hz: int) -> SoundEffectsEncoder:
    """The package's encoder for clips at `sample_rate_hz`, for inference.

    Raises ModuleNotFoundError where the package is missing, FileNotFoundError or ValueError where its weights are missing
    or not those of 0.1.2.
    """
    require([NAME])
    return SoundEffectsEncoder(_load_network(), sample_rate_hz)


@functools.cache
def _load_network():
    """The package's `EmbeddingNet` (4.7 million parameters); the classifiers behind it, one a library, stay away."""
    import torch

    network = importlib.import_module(f"{NAME}.models.cnn2d").EmbeddingNet("max", 3, 1, 64)
    prefix = "embedding_net."
    state = _read_checkpoint(Path(importlib.util.find_spec(NAME).origin).parent / "models" / "checkpoint.pth")
    network.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)


def _read_checkpoint(path: Path) -> dict:
    """The state dictionary of the checkpoint, its sha256 checked before it is read; no code is unpickled."""
    import torch
    from numpy._core import multiarray  # the checkpoint counts classes as numpy 1 integers, under numpy 1's name

    data = read_checked(path, WEIGHTS_SHA256, NAME, f"{NAME} 0.1.2")
    numbers = [(multiarray.scalar, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(numbers):
        state, _ = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
