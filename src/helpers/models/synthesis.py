"""From log-mels or latents to sound: what goes through the frozen codec and vocoder, a chunk at a time.

Every query of the study is a clip that came out of codec and vocoder, so that a generated clip differs from its nulls
and its ceiling by the denoiser alone.
"""

from pathlib import Path

import numpy as np

from helpers.base.mapped import create, forget
from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.models.codec import load_codec
from helpers.models.vocoder import load_vocoder

CHUNK = 128  # clips held in memory at a time


def pass_through_codec(out: Path, mels, profile: Profile, desc: str) -> None:
    """Writes audio.npy int16 [N, S] and decoded.npy float32 [N, T, M]: log-mels [N, T, M] after codec, and vocoder."""
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    decode_and_vocode(out, len(mels), lambda rows: codec.decode(codec.encode(np.asarray(mels[rows]))), profile, desc)


def decode_and_vocode(out: Path, n: int, decode, profile: Profile, desc: str) -> None:
    """Writes decoded.npy and audio.npy for `n` clips whose log-mels `decode(rows)` gives, a chunk at a time."""
    frames = profile.corpus.clip_samples // profile.mel.hop_length
    vocode = load_vocoder(profile.codec, profile.mel, profile.corpus.sample_rate_hz)
    audio = create(out / "audio.npy", np.int16, (n, profile.corpus.clip_samples))
    decoded = create(out / "decoded.npy", np.float32, (n, frames, profile.mel.n_mels))
    step = min(CHUNK, profile.codec.batch_size)
    with progress(total=n, desc=desc, unit="clip") as bar:
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            decoded[rows] = decode(rows)
            audio[rows] = vocode(decoded[rows])
            forget(audio)
            forget(decoded)
            bar.update(rows.stop - start)
    audio.flush()
    decoded.flush()
