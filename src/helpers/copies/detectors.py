"""The detectors under study: each turns clips into vectors that are compared by cosine similarity.

`mel` is the plain log-mel spectrogram, as in the paper; `mel_centred` subtracts the training mean of each mel bin;
`mel_aligned` compares the same at the best shift in time; `clap` is the CLAP audio embedding; `aisfx`, which is optional, that of an encoder which others trained.

Notebook: 05_retrieval.
"""

from pathlib import Path

import numpy as np

from helpers.base.cosine import row_cosines
from helpers.base.mapped import Selection, chunks, create, forget
from helpers.base.settings import MelConfig, RetrievalConfig
from helpers.copies.bias import centre
from helpers.copies.search import Neighbours, top_k
from helpers.copies.shifted import aligned_cosines, top_aligned
from helpers.models.aisfx import load_encoder
from helpers.models.clap import load_clap
from helpers.sound.mel import level, log_mel

CHUNK = 512  # clips per step: bounds memory
OF_MELS = ("mel", "mel_centred", "mel_aligned")
SILENT_NP = 6.9  # nepers below a clip's loudest frame (60 dB): softer ones are silence


class Detectors:
    """Features of clips by detector name.

    Args:
        config, mel, sample_rate_hz: the retrieval and mel settings.
        mel_mean: float32 [M] in nepers, what the centred log-mel subtracts (`Corpus.mel_mean`).
        sounding_only: whether frames of log-mels in which a clip is silent count nothing: clips that are padded alike would
            be alike for that.

    Raises:
        FileNotFoundError, ValueError: a model of the detectors `clap` or `aisfx` is missing, altered, or of another rate.
        ModuleNotFoundError: the package of the detector `aisfx` is not installed.
    """

    def __init__(
        self,
        config: RetrievalConfig,
        mel: MelConfig,
        sample_rate_hz: int,
        mel_mean: np.ndarray,
        sounding_only: bool = False,
    ):
        self.config, self.names, self.mel, self.rate = config, config.detectors, mel, sample_rate_hz
        self.max_shift = config.max_shift(sample_rate_hz, mel.hop_length)
        self.mean, self.sounding_only = mel_mean, sounding_only
        path, sha256 = config.clap_path, config.clap_sha256
        self.clap = load_clap(path, sample_rate_hz, sha256) if "clap" in config.detectors else None
        self.aisfx = load_encoder(sample_rate_hz) if "aisfx" in config.detectors else None

    def features(self, name: str, audio, file: Path | None = None) -> np.ndarray:
        """Features of clips int16 [N, S]: float32 [N, D], D = T·M or the embedding's size; [N, T, M] for `mel_aligned`.

        `audio` may be a mapped file or an `mapped.Selection` of one. Many clips' log-mels do not fit into memory: with
        `file` the features are written there (.npy) and come back as a mapped file.

        Raises:
            ValueError: an unknown detector, or no clips.
        """
        if name not in self.names:
            raise ValueError(f"detector: expected one of {', '.join(self.names)}, got {name!r}")
        if not len(audio):
            raise ValueError(f"audio: expected clips for detector {name}, got none")
        features = np.empty(0, np.float32)
        for part, clips in chunks(audio, CHUNK):
            computed = self._part(name, clips)
            if not part.start:  # only now is their shape known
                shape = (len(audio), *computed.shape[1:])
                features = create(file, np.float32, shape) if file else np.empty(shape, np.float32)
            features[part] = computed
            forget(features)
        return np.load(file, mmap_mode="r") if file else features

    def _part(self, name: str, audio: np.ndarray) -> np.ndarray:
        if name == "clap" and self.clap is not None:
            return self.clap.embed_audio(np.round(level(audio) * 32767).astype(np.int16))
        if name == "aisfx" and self.aisfx is not None:
            return self.aisfx.embed_audio(level(audio))
        return self.of_mels(name, log_mel(level(audio), self.mel, self.rate))

    def of_mels(self, name: str, mels: np.ndarray) -> np.ndarray:
        """Features of clips by their log-mels float32 [N, T, M], which are all that the detectors OF_MELS hear."""
        if name not in OF_MELS:
            raise NotImplementedError(f"detector {name}: nothing computes its features")
        values = mels if name == "mel" else centre(mels, self.mean)
        if self.sounding_only:
            loudest = mels.max(axis=2)
            values = values * (loudest > loudest.max(axis=1, keepdims=True) - SILENT_NP)[..., None]
        return values if name == "mel_aligned" else values.reshape(len(mels), -1)

    def nearest(self, name: str, queries, references, k: int) -> Neighbours:
        """The k references nearest to each query: `features` of both, or an `mapped.Selection` of them."""
        if name != "mel_aligned":
            return top_k(queries, references, k)
        return Neighbours(*top_aligned(queries, references, k, self.max_shift, max(k, self.config.n_candidates)))

    def similarity(self, name: str, a, b) -> np.ndarray:
        """Similarity float64 [N] of each pair of rows of two `features` with N rows."""
        cosines = np.empty(len(a))
        for (part, left), (_, right) in zip(chunks(a, CHUNK), chunks(b, CHUNK)):
            if name == "mel_aligned":
                cosines[part] = aligned_cosines(left, right, self.max_shift)
            else:
                cosines[part] = row_cosines(left, right, np.float64)
        return cosines


class OfMels(Selection):
    """Features of the detectors OF_MELS, computed from log-mels [N, T, M] (a file, or a `mapped.Selection`) when sliced."""

    def __init__(self, detectors: Detectors, name: str, mels):
        self.array, self.detectors, self.name, self.dtype = mels, detectors, name, np.dtype(np.float32)
        self.shape = mels.shape if name == "mel_aligned" else (len(mels), int(np.prod(mels.shape[1:])))
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        some = Selection(self.array, np.arange(len(self))[rows])
        if len(some) <= CHUNK:
            return self.detectors.of_mels(self.name, np.asarray(some[:], np.float32))
        features = np.empty((len(some), *self.shape[1:]), np.float32)
        # some at a time: what is computed on the way would take a block's memory three times over
        for part, mels in chunks(some, CHUNK):
            features[part] = self.detectors.of_mels(self.name, np.asarray(mels, np.float32))
        return features
