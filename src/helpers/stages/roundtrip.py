"""The roundtrip stage: held-out and training clips after codec and vocoder, and what they lose.

Notebook: 02_codec.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection, chunks
from helpers.base.parquet_file import write_parquet
from helpers.base.profile import Profile
from helpers.base.settings import TrainingConfig
from helpers.models.synthesis import CHUNK, pass_through_codec
from helpers.sound import corpus
from helpers.sound.mel import log_mel


def compute(
    out: Path, upstream: dict[str, Path], profile: Profile, run: TrainingConfig | None = None, n_asked: int = 0
) -> None:
    """Sends held-out clips and the first training clips through codec and vocoder; for a run, the clips whose captions it is
    asked: `n_asked` held-out ones and `n_asked` of its own, and those of another draw.

    Writes audio.npy, decoded.npy and queries.parquet: query_id, clip_id, split, index, caption, updates, sample_seed, and
    codec_cosine, codec_mae (the codec alone), vocoder_cosine, vocoder_mae (both parts), departure and change (of the
    original: deviation from the mean spectrum, and mean difference of neighbouring frames). Cosines are centred: minus the
    training mean of each mel bin; all others are in nepers.
    """
    data = corpus.load_corpus(upstream["corpus"])
    train = data.rows("train")
    if run:
        if profile.generation.prompts == "clusters":
            asked = corpus.originals(data.clips.iloc[train])[:n_asked]
        else:
            asked = corpus.spread(corpus.subset(run, len(train)), n_asked)
        if n_other := min(profile.arms.n_other_draw, n_asked):
            asked = np.concatenate([asked, corpus.spread(corpus.other_subset(run, len(train)), n_other)])
        rows = np.concatenate([data.rows("heldout")[:n_asked], train[np.sort(asked)]])
    else:
        rows = np.concatenate([data.rows("heldout"), train[: profile.codec.n_roundtrip]])
    originals = Selection(data.mels, rows)
    pass_through_codec(out, originals, profile, "codec and vocoder")
    decoded, audio = (np.load(out / f"{name}.npy", mmap_mode="r") for name in ("decoded", "audio"))
    mean, measures = data.mel_mean(), []
    for part, mels in chunks(originals, CHUNK):
        vocoded = log_mel(audio[part], profile.mel, profile.corpus.sample_rate_hz)
        measured = {
            "departure": (mels - mean).std(axis=(1, 2)),
            "change": np.abs(np.diff(mels, axis=1)).mean(axis=(1, 2)),
        }
        for name, after in (("codec", decoded[part]), ("vocoder", vocoded)):
            measured[f"{name}_cosine"] = cosines(mels - mean, after - mean)
            measured[f"{name}_mae"] = np.abs(mels - after).mean(axis=(1, 2))
        measures.append(pd.DataFrame(measured))
    table = data.clips.iloc[rows][["split", "index", "clip_id", "caption"]].reset_index(drop=True)
    table = table.join(pd.concat(measures, ignore_index=True)).assign(updates=0, sample_seed=0)
    write_parquet(table.assign(query_id="roundtrip_" + table["clip_id"]), out / "queries.parquet")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of each pair of spectrograms [N, T, M] and [N, T, M]: [N]."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
