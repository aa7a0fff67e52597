"""Trains the small CLAP on fresh mixtures of training recordings and writes models/clap with its figures and card.

Run by maintainers, rarely: `python tools/train_clap.py`. It continues from runs/train_clap/state.pt if interrupted.
"""

import time

import numpy as np
import torch
from fitting import LICENCE, arguments, fit, heldout, mixtures, parse, provenance

from helpers.clap import BATCH, Clap, laion_module, load_clap
from helpers.config import CorpusConfig
from helpers.text import sentence_embeddings
from helpers.weights import model_folder, write_card, write_model

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
N_FIGURES = 500

CARD = """# CLAP: audio and captions in one space (first version)

laion_clap's HTSAT audio tower, reduced for 16 kHz, and two projections, {parameters:.1f} million parameters together;
the text side is MiniLM's frozen sentence vector. Trained from scratch with laion_clap's contrastive loss by
`tools/train_clap.py`; frozen since. A clip of 4.096 s becomes a unit vector of {size} numbers. It knows this project's
soundscapes only: do not compare its scores with those of LAION's published CLAP.

Text-to-audio retrieval, the right clip among {n}:

| | R@1 | R@5 | R@10 |
|---|---|---|---|
| held-out soundscapes (other recordings) | {h1:.1%} | {h5:.1%} | {h10:.1%} |
| new mixtures of the training recordings | {f1:.1%} | {f5:.1%} | {f10:.1%} |
| the training mixtures themselves | {t1:.1%} | {t5:.1%} | {t10:.1%} |
| the same network untrained, held-out | {u1:.1%} | {u5:.1%} | {u10:.1%} |
| chance | {c1:.1%} | {c5:.1%} | {c10:.1%} |

The gap between the first two lines is knowledge of the training recordings, of which the study's training clips are
made too: this CLAP is favoured on them.

- **Data**: {mixtures} mixtures of recordings of the training split with their captions
  (`helpers.corpus.training_mixtures`); none is a clip of the study. Held-out: {heldout} soundscapes of recordings from
  other sources.
- **Command**: `{command}`
- **Training**: AdamW, cosine schedule, bf16, batches of {batch}, levels varied by {gain} dB either way, time and band
  masks (SpecAugment).
- **Weights**: float16, {megabytes:.1f} MB; the figures are of these stored weights. `metrics.json` holds all of them,
  and the losses.
- **Licence**: {licence}.
"""


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

    return fit(model, loss, options, len(features))


@torch.inference_mode()
def retrieval(model: Clap, features: np.ndarray, sentences: np.ndarray) -> dict:
    """Share of captions whose own clip is among the first k of all, and the clips' mean cosine to each other."""
    parts = [features[i : i + BATCH].astype(np.float32) for i in range(0, len(features), BATCH)]
    audio = torch.cat([model.audio(torch.from_numpy(part)) for part in parts])
    scores = model.text(torch.from_numpy(sentences)) @ audio.T
    rank = (scores >= scores.diagonal()[:, None]).sum(1)  # ties count against it
    shares = {f"recall_at_{k}": (rank <= k).float().mean().item() for k in (1, 5, 10)}
    between = (audio @ audio.T).masked_fill(torch.eye(len(audio), dtype=torch.bool), 0).sum() / (
        len(audio) * (len(audio) - 1)
    )
    return {
        "n_clips": len(audio),
        **shares,
        "median_rank": rank.median().item(),
        "mean_cosine_between_clips": between.item(),
    }


def main():
    """Mixtures, training, figures, card."""
    parser = arguments(__doc__, "clap", mixtures=15_000, updates=1100, batch_size=128, learning_rate=1e-3)
    options = parse(parser)
    torch.manual_seed(options.seed)
    model = Clap(CONFIG)
    untrained = {name: value.clone() for name, value in model.state_dict().items()}

    def analyse(audio):
        return np.concatenate([model.features(audio[i : i + BATCH]) for i in range(0, len(audio), BATCH)])

    features, captions = mixtures(options, analyse, semitones=SEMITONES, tilt_db=TILT_DB)
    fresh, fresh_captions = mixtures(options, analyse, n=N_FIGURES, seed=options.seed + 1)
    sentences = sentence_embeddings(captions)
    run = train(model, features, sentences, options)

    folder = model_folder(options.out)
    stored = write_model(folder, CONFIG, model.state_dict())
    model = load_clap(folder)
    data = heldout(options)
    start = time.perf_counter()
    model.embed_audio(data.audio)
    seconds = (time.perf_counter() - start) / len(data.audio)
    test = model.features(data.audio).numpy(), sentence_embeddings(list(data.clips["caption"]))
    metrics = {
        "version": "first",
        **provenance("train_clap.py", options),
        "parameters": sum(p.numel() for p in model.parameters()),
        "heldout": retrieval(model, *test) | {"unique_captions": int(data.clips["caption"].nunique())},
        "new_mixtures": retrieval(model, fresh, sentence_embeddings(fresh_captions)),
        "training": retrieval(model, features[:N_FIGURES], sentences[:N_FIGURES]),
        "seconds_per_clip": seconds,
        **run,
    }
    model.load_state_dict(untrained)
    metrics["untrained"] = retrieval(model, *test)
    metrics["chance"] = {f"recall_at_{k}": k / len(data.audio) for k in (1, 5, 10)}
    write_card(folder, metrics, card(metrics, stored, options))


def card(metrics: dict, config: dict, options) -> str:
    """The model card, its figures taken from `metrics`."""
    rows = {"h": "heldout", "f": "new_mixtures", "t": "training", "u": "untrained", "c": "chance"}
    values = {f"{key}{k}": metrics[name][f"recall_at_{k}"] for key, name in rows.items() for k in (1, 5, 10)}
    return CARD.format(
        **values,
        n=metrics["heldout"]["n_clips"],
        parameters=metrics["parameters"] / 1e6,
        size=config["embedding"],
        mixtures=options.mixtures,
        heldout=options.heldout,
        batch=options.batch_size,
        gain=GAIN_DB,
        command=metrics["command"],
        megabytes=config["weights"]["bytes"] / 1e6,
        licence=LICENCE,
    )


if __name__ == "__main__":
    main()
