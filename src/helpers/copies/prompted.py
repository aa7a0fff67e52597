"""A prompt of one's own: what a trained denoiser makes of it, and how near that comes to a clip it was trained on.

Used by `helpers prompt`.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base.mapped import Selection
from helpers.base.profile import Profile
from helpers.base.seeds import seed_of
from helpers.copies.detectors import Detectors
from helpers.copies.pooled import judge_own, twins_and_ceiling
from helpers.copies.replication import near_exact, position
from helpers.models import sampler
from helpers.models.codec import load_codec
from helpers.models.denoiser import load_unet
from helpers.models.text import encode_captions
from helpers.models.vocoder import load_vocoder
from helpers.sound.corpus import Corpus, subset
from helpers.sound.mel import log_mel
from helpers.sound.silence import GENERATED_PEAK

DETECTOR = "mel"  # by which the book calls a clip near-exact
COLUMNS = ("seed", "silent", "nearest_id", "nearest_caption", "score", "position", "near_exact")
N_SUGGESTED = 3  # captions that the model was trained on, to try next


class Honest(NamedTuple):
    """Of a study's twins: the median similarity to their own clips, of all sizes, and the share that is near-exact at one."""

    median: float
    near_exact_rate: float


@dataclass(frozen=True, eq=False)
class Prompted:
    """One row (`COLUMNS`) a clip; `audio` int16 [N, S] of these clips and `nearest` of their nearest training clips; captions
    that the model was trained on. Of a silent clip nothing is known but that it is silent."""

    prompt: str
    table: pd.DataFrame
    audio: np.ndarray
    nearest: np.ndarray
    suggested: list[str]


def honest_clips(null: Path, theta: float, n_train: int) -> Honest:
    """What honest clips reach, from null.parquet of the scores stage of a study whose runs share one gallery."""
    twins, ceiling = twins_and_ceiling(pd.read_parquet(null), DETECTOR)
    judged = judge_own(twins[twins["n_train"] == n_train], twins, ceiling, theta)
    known = judged["near_exact"].dropna().astype(float)
    return Honest(float(twins["own_score"].median()), float(known.mean()))


def ask(
    prompt: str,
    n_seeds: int,
    weights: Path,
    corpus: Corpus,
    median_twin: float,
    profile: Profile,
    n_train: int,
    draw: int,
) -> Prompted:
    """Generates `n_seeds` clips of one prompt and compares each with all clips that the model was trained on, by log-mel.

    Args:
        weights: the folder of a training or denoiser stage, of the run (n_train, draw).
        median_twin: of the study, the median similarity of a twin to its own clip: position 0.

    A clip's position is that to its nearest training clip, whose own copy through codec and vocoder is position 1. Raises
    ValueError for weights that are not there.
    """
    config = dataclasses.replace(profile.generation, n_train=n_train, draw=draw)
    unet = load_unet(weights, weights=config.weights)
    trained = corpus.rows("train")[subset(profile.training_run(n_train, draw), profile.corpus.n_train)]
    sounds = np.stack([np.asarray(corpus.audio[row]) for row in trained])
    codec = load_codec(profile.codec.codec_path, profile.codec.codec_sha256)
    vocode = load_vocoder(profile.codec, profile.mel, profile.corpus.sample_rate_hz)

    def through_codec(clips: np.ndarray) -> np.ndarray:
        return vocode(codec.decode(codec.encode(log_mel(clips, profile.mel, profile.corpus.sample_rate_hz))))

    (state, null_state), (mask, null_mask) = encode_captions([prompt, ""], profile.text)
    seeds = [seed_of(config.sample_seed, "prompt", number) for number in range(n_seeds)]
    shape = codec.encode(log_mel(sounds[:1], profile.mel, profile.corpus.sample_rate_hz)).shape[1:]
    states, masks = np.repeat(state[None], n_seeds, axis=0), np.repeat(mask[None], n_seeds, axis=0)
    made = sampler.sample_latents(unet, states, masks, null_state, null_mask, seeds, config, shape)
    audio = vocode(codec.decode(made))
    silent = np.abs(audio.astype(np.int32)).max(axis=1) < GENERATED_PEAK
    clips = corpus.clips.iloc[trained].reset_index(drop=True)
    found, sounding = _nearest(audio, silent, sounds, through_codec, profile), np.flatnonzero(~silent)
    table = pd.DataFrame({"seed": range(n_seeds), "silent": silent})
    of_sounding = pd.DataFrame(
        {
            "nearest_id": clips["clip_id"].to_numpy()[found["row"]],
            "nearest_caption": clips["caption"].to_numpy()[found["row"]],
            "score": found["score"],
            "position": position(found["score"].to_numpy(), found["ceiling"].to_numpy(), median_twin),
        },
        index=sounding,
    )
    table = table.join(of_sounding)
    table["near_exact"] = near_exact(table["position"].to_numpy(float), profile.thresholds.theta)
    rows = found["row"].reindex(range(n_seeds), fill_value=0).to_numpy()
    suggested = clips["caption"].iloc[np.linspace(0, len(clips) - 1, N_SUGGESTED).astype(int)].tolist()
    return Prompted(prompt, table[[*COLUMNS]], audio, sounds[rows], suggested)


def _nearest(
    audio: np.ndarray, silent: np.ndarray, sounds: np.ndarray, through_codec, profile: Profile
) -> pd.DataFrame:
    """Of each clip that is not silent, by its number: row and score of the nearest of `sounds`, and that one's own ceiling."""
    one = dataclasses.replace(profile.retrieval, detectors=(DETECTOR,))
    detectors = Detectors(one, profile.mel, profile.corpus.sample_rate_hz, np.zeros(profile.mel.n_mels, np.float32))
    sounding = np.flatnonzero(~silent)
    if not len(sounding):
        return pd.DataFrame({"row": pd.Series(dtype=int), "score": pd.Series(dtype=float), "ceiling": []})
    references = detectors.features(DETECTOR, sounds)
    nearest = detectors.nearest(DETECTOR, detectors.features(DETECTOR, audio[sounding]), references, 1)
    rows = nearest.indices[:, 0]
    copies = detectors.features(DETECTOR, through_codec(sounds[rows]))
    ceiling = detectors.similarity(DETECTOR, copies, Selection(references, rows))
    return pd.DataFrame({"row": rows, "score": nearest.scores[:, 0], "ceiling": ceiling}, index=sounding)
