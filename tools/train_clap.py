"""Trains the small CLAP on fresh mixtures of training recordings and writes models/clap.

Run by maintainers, rarely: `python tools/train_clap.py`. It continues from runs/train_clap/state.pt if interrupted. The
figures and the card are made by `tools/judge_clap.py`.
"""

import numpy as np
import torch
from fitting import arguments, fit, mixtures, parse, provenance

from helpers.base.settings import CorpusConfig
from helpers.models.clap import BATCH, Clap
from helpers.models.folder import write_model
from helpers.models.laion_module import laion_module
from helpers.models.text import sentence_embeddings

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
EQ_POINTS = 6  # of a random equaliser, spread over the bands
VARIATIONS = (
    ("semitones", 3.0, "how far the pitch of a mixture's recordings varies"),
    ("tilt_db", 3.0, "how far their spectra tilt, dB an octave"),
    ("eq_db", 3.0, "deviation of a random equaliser over each clip, dB"),
    ("text_dropout", 0.1, "share of a sentence vector's numbers left out"),
)


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
        curve = torch.randn(len(rows), 1, EQ_POINTS) * options.eq_db
        batch = batch + torch.nn.functional.interpolate(curve, batch.shape[2], mode="linear", align_corners=True)
        audio = model.audio(batch).float()
        text = model.text(torch.nn.functional.dropout(torch.from_numpy(sentences[rows]), options.text_dropout)).float()
        return contrast(audio, text, model.logit_scale.clamp(max=float(np.log(100))).exp())

    recipe = {"gain_db": GAIN_DB, "eq_points": EQ_POINTS, "config": CONFIG}
    return fit(model, loss, options, len(features), recipe)


def analyse(model: Clap, audio: np.ndarray) -> np.ndarray:
    """HTSAT's input for many clips, float32 [N, frames, M]."""
    return np.concatenate([model.features(audio[i : i + BATCH]) for i in range(0, len(audio), BATCH)])


def main():
    """Mixtures and training; writes the model folder."""
    parser = arguments(__doc__, "clap", mixtures=30_000, updates=2000, batch_size=128, learning_rate=1e-3)
    for name, value, text in VARIATIONS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value, help=text)
    options = parse(parser)
    torch.manual_seed(options.seed)
    model = Clap(CONFIG)
    features, captions = mixtures(
        options, lambda a: analyse(model, a), semitones=options.semitones, tilt_db=options.tilt_db
    )
    variations = tuple(name for name, *_ in VARIATIONS)
    run = provenance("train_clap.py", options, variations) | {name: getattr(options, name) for name in variations}
    run |= train(model, features, sentence_embeddings(captions), options)
    write_model(options.out, CONFIG, model.state_dict(), run)


if __name__ == "__main__":
    main()
