"""Log-mels of a batch of clips, beside librosa a clip at a time and librosa on the whole batch in threads."""

from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
from sounds import clips
from timing import compare, options, write

from helpers.base.settings import CorpusConfig, MelConfig
from helpers.sound.mel import FLOOR, log_mel

RATE, MEL = CorpusConfig().sample_rate_hz, MelConfig()
SETTINGS = {"sr": RATE, "n_fft": MEL.n_fft, "hop_length": MEL.hop_length, "n_mels": MEL.n_mels, "fmin": MEL.fmin_hz,
            "fmax": MEL.fmax_hz, "power": 1.0, "pad_mode": "reflect"}  # fmt: skip


def one(clip: np.ndarray) -> np.ndarray:
    """librosa's log-mel of int16 audio [..., S]: the frames [..., T, M] that ours has."""
    bands = librosa.feature.melspectrogram(y=clip.astype(np.float32) / 32768, **SETTINGS)
    frames = clip.shape[-1] // MEL.hop_length
    return np.log(np.maximum(bands, FLOOR)).swapaxes(-1, -2)[..., :frames, :]


def main():
    """512 clips of 4.096 s."""
    chosen = options(__doc__, n=512)
    audio = np.array(clips(chosen.n)[0])

    def textbook():
        return np.stack([one(clip) for clip in audio])

    def tuned():
        with ThreadPoolExecutor() as threads:  # the transform releases Python's lock
            return np.concatenate(list(threads.map(one, np.array_split(audio, max(1, len(audio) // 16)))))

    ours = log_mel(audio, MEL, RATE)
    detail = f"greatest difference {np.abs(ours - textbook()).max():.1g} nepers"
    peers = {"librosa, clip by clip, textbook": textbook, "librosa, batches in threads, tuned": tuned}
    name = f"log-mel, {chosen.n:,} clips"
    write(compare(name, lambda: log_mel(audio, MEL, RATE), peers, chosen.runs, detail, ["librosa"]), chosen.out)


if __name__ == "__main__":
    main()
