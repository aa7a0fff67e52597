"""Measures the committed CLAP on held-out soundscapes; writes models/clap/metrics.json and its card.

Run by maintainers after `tools/train_clap.py` and `make aisfx`: `python tools/judge_clap.py`. Every figure is of the
stored weights.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from fitting import LICENCE, heldout, mixtures
from train_clap import CONFIG, GAIN_DB, analyse

from helpers.base.paths import ROOT
from helpers.copies.rates import flagged_rate
from helpers.models.aisfx import load_encoder
from helpers.models.clap import BATCH, Clap, load_clap
from helpers.models.folder import write_card
from helpers.models.laion_module import laion_module
from helpers.models.text import sentence_embeddings
from helpers.sound.mixtures import GENERIC

FOLDER = ROOT / "models" / "clap"
N_FIGURES = 500  # mixtures for the figures on training recordings
N_PROBE, PROBE_UPDATES = 2500, 600  # of the linear maps on `aisfx`

CARD = """# CLAP: audio and captions in one space

laion_clap's HTSAT audio tower, reduced for 16 kHz, and two projections, {parameters:.1f} million parameters together;
the text side is MiniLM's frozen sentence vector. Trained from scratch with laion_clap's contrastive loss by
`tools/train_clap.py`; frozen since. A clip of 4.096 s becomes a unit vector of {size} numbers. It knows this project's
soundscapes only: do not compare its scores with those of LAION's published CLAP.

Text-to-audio retrieval, the right clip among {n}:

| | R@1 | R@5 | R@10 |
|---|---|---|---|
| held-out soundscapes (other recordings) | {h1} | {h5} | {h10} |
| new mixtures of the training recordings | {f1:.1%} | {f5:.1%} | {f10:.1%} |
| the training mixtures themselves | {t1:.1%} | {t5:.1%} | {t10:.1%} |
| the same network untrained, held-out | {u1:.1%} | {u5:.1%} | {u10:.1%} |
| linear maps on `aisfx`' embeddings, held-out | {p1:.1%} | {p5:.1%} | {p10:.1%} |
| chance | {c1:.1%} | {c5:.1%} | {c10:.1%} |

In brackets exact binomial 95 % intervals. Zero-shot: the nearest of {n_classes} class captions ("{example}") names a class that is
in the held-out soundscape in {zero_shot}; always saying the most frequent class would do in {commonest:.1%}.

The target was an R@10 of 40 % on held-out soundscapes. What stands in the way seems to be the number of recordings: `aisfx`,
an encoder that others trained on many more sounds, reaches what the table says with linear maps learned on {probed:,} of
the same mixtures.

The gap between the first two lines is knowledge of the training recordings, of which the study's training clips are
made too: this CLAP is favoured on them.

- **Data**: mixtures of recordings of the training split with their captions
  (`helpers.sound.corpus.training_mixtures`); none is a clip of the study. Held-out: {heldout} soundscapes of recordings from
  other sources.
- **Commands**: `{command}`, then `python tools/judge_clap.py`
- **Training**: AdamW, cosine schedule, bf16, levels varied by {gain} dB either way, time and band masks
  (SpecAugment), the recordings' pitch and tilt, a random equaliser over each clip, dropout on the sentence vectors (the
  command's settings).
- **Weights**: float16, {megabytes:.1f} MB; the figures are of these stored weights. `metrics.json` holds all of them,
  and the losses.
- **Licence**: {licence}.
"""


@torch.inference_mode()
def retrieval(model: Clap, features: np.ndarray, sentences: np.ndarray) -> dict:
    """Share of captions whose own clip is among the first k of all, with intervals, and the clips' mean mutual cosine."""
    parts = [features[i : i + BATCH].astype(np.float32) for i in range(0, len(features), BATCH)]
    return ranks(
        torch.cat([model.audio(torch.from_numpy(part)) for part in parts]), model.text(torch.from_numpy(sentences))
    )


def ranks(audio: torch.Tensor, text: torch.Tensor) -> dict:
    """Where each caption's own clip stands among all clips: embeddings [N, E] of unit length of clips and captions."""
    scores = text @ audio.T
    rank = (scores >= scores.diagonal()[:, None]).sum(1)  # ties count against it
    rates = {k: flagged_rate((rank <= k).numpy()) for k in (1, 5, 10)}
    shares = {f"recall_at_{k}": rate.rate for k, rate in rates.items()}
    shares |= {f"recall_at_{k}_interval": [rate.low, rate.high] for k, rate in rates.items()}
    between = (audio @ audio.T).masked_fill(torch.eye(len(audio), dtype=torch.bool), 0).sum() / (
        len(audio) * (len(audio) - 1)
    )
    return {
        "n_clips": len(audio),
        **shares,
        "median_rank": rank.median().item(),
        "mean_cosine_between_clips": between.item(),
    }


def probe(options, heldout_audio: np.ndarray, heldout_sentences: np.ndarray) -> dict:
    """Retrieval by linear maps on `aisfx`' embeddings, learned with the same loss on mixtures of the same recordings.

    Says how much of the gap to the target is the audio tower's: that encoder has heard far more than these recordings.
    """
    encoder = load_encoder(CONFIG["sample_rate_hz"])
    kept = argparse.Namespace(**(vars(options) | {"work": options.work / "aisfx"}))
    kept.work.mkdir(exist_ok=True)
    audio, captions = mixtures(kept, encoder.embed_audio, np.float32, n=N_PROBE)
    mean, std = audio.mean(axis=0), audio.std(axis=0)
    audio, text = torch.from_numpy((audio - mean) / std), torch.from_numpy(sentence_embeddings(captions))
    torch.manual_seed(options.seed)
    maps = torch.nn.ModuleDict({
        "audio": torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(audio.shape[1], CONFIG["embedding"])),
        "text": torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(text.shape[1], CONFIG["embedding"])),
    })  # fmt: skip
    scale = torch.nn.Parameter(torch.tensor(float(np.log(1 / 0.07))))
    optimizer, contrast = torch.optim.AdamW([*maps.parameters(), scale], 1e-3), laion_module("loss").ClipLoss()
    unit = torch.nn.functional.normalize
    for _ in range(PROBE_UPDATES):
        rows = torch.randperm(len(audio))[:256]
        pair = unit(maps["audio"](audio[rows]), dim=1), unit(maps["text"](text[rows]), dim=1)
        loss = contrast(*pair, scale.clamp(max=float(np.log(100))).exp())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    maps.eval()
    with torch.inference_mode():
        heard = torch.from_numpy((encoder.embed_audio(heldout_audio) - mean) / std).float()
        found = unit(maps["audio"](heard), dim=1), unit(maps["text"](torch.from_numpy(heldout_sentences)), dim=1)
    return ranks(*found) | {"mixtures": N_PROBE, "updates": PROBE_UPDATES}


@torch.inference_mode()
def zero_shot(model: Clap, audio: np.ndarray, classes: list) -> dict:
    """How often the nearest class caption names a class of the clip: audio [N, S], classes a list of names a clip."""
    names = [name for name in GENERIC if any(name in own for own in classes)]
    scores = model.embed_audio(audio) @ model.embed_text([GENERIC[name] for name in names]).T
    hits = np.array([names[best] in own for best, own in zip(scores.argmax(axis=1), classes)])
    rate = flagged_rate(hits)
    commonest = max(np.mean([name in own for own in classes]) for name in names)
    return {
        "n_classes": len(names),
        "accuracy": rate.rate,
        "accuracy_interval": [rate.low, rate.high],
        "always_the_commonest_class": float(commonest),
        "example": GENERIC[names[0]],
    }


def main():
    """Measures, metrics.json and the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--heldout", type=int, default=500, help="held-out soundscapes")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "train_clap", help="cache")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    config, run = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("config", "training"))
    options.pilot, options.seed = False, run["seed"]
    model, data = load_clap(FOLDER), heldout(options)
    captions, classes = data.clips["caption"].tolist(), data.clips["classes"].tolist()
    start = time.perf_counter()
    model.embed_audio(data.audio)
    seconds = (time.perf_counter() - start) / len(data.audio)

    def made(**settings):
        features, texts = mixtures(options, lambda a: analyse(model, a), n=N_FIGURES, **settings)
        return np.asarray(features, np.float32), sentence_embeddings(texts)

    test = analyse(model, data.audio), sentence_embeddings(captions)
    torch.manual_seed(options.seed)
    metrics = run | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "heldout": retrieval(model, *test) | {"unique_captions": len(set(captions))},
        "zero_shot": zero_shot(model, data.audio, classes),
        "new_mixtures": retrieval(model, *made(seed=options.seed + 1)),
        "training_mixtures": retrieval(model, *made(semitones=run["semitones"], tilt_db=run["tilt_db"])),
        "untrained": retrieval(Clap(config).eval(), *test),
        "aisfx_probe": probe(options, np.asarray(data.audio), test[1]),
        "chance": {f"recall_at_{k}": k / len(data.audio) for k in (1, 5, 10)},
        "seconds_per_clip": seconds,
    }
    write_card(FOLDER, metrics, card(metrics, config, options))


def card(metrics: dict, config: dict, options) -> str:
    """The model card, its figures taken from `metrics`."""
    rows = {
        "h": "heldout",
        "f": "new_mixtures",
        "t": "training_mixtures",
        "u": "untrained",
        "p": "aisfx_probe",
        "c": "chance",
    }
    values = {f"{key}{k}": metrics[name][f"recall_at_{k}"] for key, name in rows.items() for k in (1, 5, 10)}
    for k in (1, 5, 10):
        low, high = metrics["heldout"][f"recall_at_{k}_interval"]
        values[f"h{k}"] = f"{values[f'h{k}']:.1%} ({100 * low:.1f} to {100 * high:.1f})"
    shot = metrics["zero_shot"]
    low, high = shot["accuracy_interval"]
    return CARD.format(
        **values,
        n_classes=shot["n_classes"],
        example=shot["example"],
        zero_shot=f"{shot['accuracy']:.1%} ({100 * low:.1f} to {100 * high:.1f})",
        commonest=shot["always_the_commonest_class"],
        n=metrics["heldout"]["n_clips"],
        probed=metrics["aisfx_probe"]["mixtures"],
        parameters=metrics["parameters"] / 1e6,
        size=config["embedding"],
        heldout=options.heldout,
        gain=GAIN_DB,
        command=metrics["command"],
        megabytes=config["weights"]["bytes"] / 1e6,
        licence=LICENCE,
    )


if __name__ == "__main__":
    main()
