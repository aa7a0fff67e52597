"""Trains the small CLAP on fresh mixtures of training recordings and writes models/clap.

Run by maintainers, rarely: `python tools/train_clap.py`. It continues from runs/train_clap/state.pt if interrupted. The
figures and the card are made by `tools/judge_clap.py`.
"""

import numpy as np
import torch
from fitting import arguments, fit, mixtures, parse, provenance

from helpers.clap import BATCH, Clap, laion_module
from helpers.config import CorpusConfig
from helpers.text import sentence_embeddings
from helpers.weights import write_model

CONFIG = {
    "kind": "clap",
    "samples": CorpusConfig().clip_samples,
    "sample_rate_hz": CorpusConfig().sample_rate_hz,
    "mel": {"n_fft": 1024, "hop_length": 256, "n_mels": 64, "fmin_hz": 50.0, "fmax_hz": 8000.0},
    "htsat": {
        "spec_size": 128,  # 256 frames of 64 bands folded into a square: a quarter of HTSAT's usual cost
        "patch_size": 4,
        "patch_stride": [4, 4],
        "embed_dim": 32,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 2, 4, 8],
        "window_size": 8,
    },
    "embedding": 128,
}
GAIN_DB = 6.0  # random level of a training clip, either way: a copy that is a little softer is still the copy
EQ_DB, EQ_POINTS = 4.0, 6  # deviation of a random equaliser at points spread over the bands
SEMITONES, TILT_DB = 5.0, 3.0  # how far the recordings in a mixture vary
TEXT_DROPOUT = 0.2  # of the numbers of a sentence vector
WEIGHT_DECAY = 0.05


def train(model: Clap, features: np.ndarray, sentences: np.ndarray, options) -> dict:
    """Fits the tower and both projections in place; returns what `fit` says of the run."""
    contrast = laion_module("loss").ClipLoss()
    augmenter = type(model.tower.spec_augmenter)
    # HTSAT's own masks are made for 1,024 frames; a clip has 256
    model.tower.spec_augmenter = augmenter(
        time_drop_width=24, time_stripes_num=2, freq_drop_width=6, freq_stripes_num=2
    )

    def loss(rows):
        batch = torch.from_numpy(features[rows].astype(np.float32))
        batch = batch + (2 * torch.rand(len(rows), 1, 1) - 1) * GAIN_DB
        curve = torch.randn(len(rows), 1, EQ_POINTS) * EQ_DB
        batch = batch + torch.nn.functional.interpolate(curve, batch.shape[2], mode="linear", align_corners=True)
        audio = model.audio(batch).float()
        text = model.text(torch.nn.functional.dropout(torch.from_numpy(sentences[rows]), TEXT_DROPOUT)).float()
        return contrast(audio, text, model.logit_scale.clamp(max=float(np.log(100))).exp())

    recipe = {"gain_db": GAIN_DB, "eq_db": EQ_DB, "eq_points": EQ_POINTS, "semitones": SEMITONES, "tilt_db": TILT_DB}
    recipe |= {"text_dropout": TEXT_DROPOUT, "weight_decay": WEIGHT_DECAY, "config": CONFIG}
    return fit(model, loss, options, len(features), recipe)


def analyse(model: Clap, audio: np.ndarray) -> np.ndarray:
    """HTSAT's input for many clips, float32 [N, frames, M]."""
    return np.concatenate([model.features(audio[i : i + BATCH]) for i in range(0, len(audio), BATCH)])


def main():
    """Mixtures and training; writes the model folder."""
    parser = arguments(__doc__, "clap", mixtures=15_000, updates=1100, batch_size=128, learning_rate=1e-3)
    options = parse(parser)
    torch.manual_seed(options.seed)
    model = Clap(CONFIG)
    features, captions = mixtures(options, lambda a: analyse(model, a), semitones=SEMITONES, tilt_db=TILT_DB)
    run = provenance("train_clap.py", options) | train(model, features, sentence_embeddings(captions), options)
    write_model(options.out, CONFIG, model.state_dict(), run)


if __name__ == "__main__":
    main()
