"""Measures the committed vocoders beside librosa's Griffin-Lim on held-out clips; writes metrics.json and the cards.

Run by maintainers after `tools/train_vocoder.py`: `python tools/judge_vocoder.py`. All vocoders get the same mels in the
same run; differences are paired by clip. Needs the optional package `aisfx`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyloudnorm
import torch
from fitting import LICENCE, heldout
from spectral import stft_distance

from helpers.base.paths import ROOT
from helpers.base.settings import CodecConfig, CorpusConfig, MelConfig
from helpers.copies.rates import cluster_bootstrap
from helpers.models.aisfx import load_encoder
from helpers.models.codec import load_codec
from helpers.models.folder import write_card
from helpers.models.vocoder import load_vocoder
from helpers.sound.mel import as_float, log_mel

RATE, MEL = CorpusConfig().sample_rate_hz, MelConfig()
VOCODERS = {
    "griffin_lim": CodecConfig(vocoder="griffin_lim", griffin_lim_iterations=32),
    "spectral": CodecConfig(vocoder="vocos", vocoder_path="models/vocoder"),
    "adversarial": CodecConfig(vocoder="vocos", vocoder_path="models/vocoder_adversarial"),
}
SPEED_RUNS, SPEED_CLIPS = 5, 64
MEASURES = {
    "stft_distance": "multi-resolution STFT distance to the original",
    "mel_error_nepers": "log-mel error after re-analysis, nepers",
    "aisfx_distance": "distance to the original in `aisfx` embedding (1 - cosine)",
    "loudness_difference_db": "loudness difference to the original, dB (absolute)",
    "dc": "mean of the waveform (absolute)",
    "full_scale_share": "share of samples at full scale",
}

CARD = """# Vocoder: log-mels to waveforms ({phase})

A small Vocos (`helpers.models.vocos`), {parameters:.1f} million parameters: ConvNeXt blocks at the frame rate, a head of
magnitudes and phases, an inverse STFT, and {refinements} refinements towards the mel it was given. 16 kHz, 64 mels, hop 256.
It takes the place that HiFi-GAN has in TANGO. It knows this project's soundscapes only: it is no general vocoder.
{story}

Means over {n} held-out clips; in brackets the mean paired difference to Griffin-Lim (librosa, 32 iterations, same mels, same
run) with its 95 % interval (bootstrap over clips).

| from the clip's own log-mel | Griffin-Lim | spectral losses alone | and adversarial |
|---|---|---|---|
{from_mel}

| from the log-mel after the codec | Griffin-Lim | spectral losses alone | and adversarial |
|---|---|---|---|
{from_codec}

Speed on two cores, median of {runs} runs: {speed}.

STFT distance and mel error are near to what the networks were trained on, so they favour the networks; `aisfx` and loudness are not.

- **Data**: fresh mixtures of recordings of the training split (`helpers.sound.corpus.training_mixtures`); none is a clip of
  the study; from the second phase on half of the log-mels come through the codec. Held-out: soundscapes of recordings from
  other sources.
- **Commands**: `{command}`, then `python tools/judge_vocoder.py`
- **Weights**: float16, {megabytes:.1f} MB; the figures are of these stored weights. `metrics.json` holds all of them.
- **Licence**: {licence}.
"""
STORIES = {
    "spectral": "This one was trained by spectral losses alone. It is the one in use: it comes nearest to the mel and to the magnitudes.",
    "adversarial": "This one was trained by spectral losses, then also against discriminators that see complex spectrograms,\nhence phases. It is kept to be compared with: see the tables.",
}


def measure(audio: np.ndarray, mels: np.ndarray, originals: np.ndarray, wanted: np.ndarray, encoder) -> dict:
    """Every measure, float64 [N], of made audio int16 [N, S] against its mels, the originals and their embeddings."""
    made, real = as_float(audio), as_float(originals)
    meter = pyloudnorm.Meter(RATE)
    parts = [
        stft_distance(torch.from_numpy(made[i : i + 32]), torch.from_numpy(real[i : i + 32]))
        for i in range(0, len(made), 32)
    ]
    loudness = [meter.integrated_loudness(a) - meter.integrated_loudness(b) for a, b in zip(made, real)]
    found = {
        "stft_distance": torch.cat(parts).numpy(),
        "mel_error_nepers": np.abs(log_mel(audio, MEL, RATE) - mels).mean(axis=(1, 2)),
        "aisfx_distance": 1 - (encoder.embed_audio(audio) * wanted).sum(axis=1),
        "loudness_difference_db": np.abs(loudness),
        "dc": np.abs(made.mean(axis=1)),
        "full_scale_share": (np.abs(audio.astype(np.int32)) >= 32_767).mean(axis=1),
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def compare(found: dict[str, dict], seed: int = 0) -> dict:
    """Means of every vocoder's measures, and paired differences to Griffin-Lim with bootstrap intervals over clips."""
    result = {}
    for name, measures in found.items():
        result[name] = {}
        for key, values in measures.items():
            difference = values - found["griffin_lim"][key]
            low, high = cluster_bootstrap(difference, range(len(values)), np.mean, seed=seed)
            result[name][key] = {"mean": values.mean(), "largest": values.max(), "difference": difference.mean()}
            result[name][key] |= {"difference_low": low, "difference_high": high}
    return result


def seconds_per_clip(vocoders: dict, mels: np.ndarray) -> dict:
    """Median over runs of the time a clip takes, each run with all vocoders in turn."""
    times = {name: [] for name in vocoders}
    for _ in range(SPEED_RUNS):
        for name, vocode in vocoders.items():
            start = time.perf_counter()
            vocode(mels)
            times[name].append((time.perf_counter() - start) / len(mels))
    return {name: float(np.median(values)) for name, values in times.items()}


def table(compared: dict) -> str:
    """The rows of one of the card's tables."""
    rows = []
    for key, text in MEASURES.items():
        cells = [f"{compared['griffin_lim'][key]['mean']:.3g}"]
        for name in ("spectral", "adversarial"):
            m = compared[name][key]
            cells.append(
                f"{m['mean']:.3g} ({m['difference']:+.2g}, {m['difference_low']:+.2g} to {m['difference_high']:+.2g})"
            )
        rows.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main():
    """Measures, metrics.json and the cards of both vocoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--heldout", type=int, default=200, help="held-out clips")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "train_vocoder", help="cache")
    options = parser.parse_args()
    options.pilot = False
    options.work.mkdir(parents=True, exist_ok=True)
    data, encoder = heldout(options), load_encoder(RATE)
    originals = np.asarray(data.audio)
    vocoders = {name: load_vocoder(config, MEL, RATE) for name, config in VOCODERS.items()}
    codec = load_codec("models/codec")
    inputs = {"from_mel": np.asarray(data.mels), "from_codec": codec.decode(codec.encode(np.asarray(data.mels)))}
    wanted = encoder.embed_audio(originals)
    metrics = {"n_clips": len(originals)}
    for source, mels in inputs.items():
        found = {name: measure(vocode(mels), mels, originals, wanted, encoder) for name, vocode in vocoders.items()}
        metrics[source] = compare(found)
    metrics["seconds_per_clip"] = seconds_per_clip(vocoders, inputs["from_mel"][:SPEED_CLIPS])
    clip_s = originals.shape[1] / RATE
    metrics["times_real_time"] = {name: clip_s / s for name, s in metrics["seconds_per_clip"].items()}
    for phase in ("spectral", "adversarial"):
        folder = ROOT / VOCODERS[phase].vocoder_path
        config, run = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "training"))
        write_card(folder, run | metrics, card(phase, config, run, metrics))


def card(phase: str, config: dict, run: dict, metrics: dict) -> str:
    """The model card, its figures taken from `metrics`."""
    return CARD.format(
        phase="adversarial training" if phase == "adversarial" else "spectral losses alone",
        parameters=config["weights"]["bytes"] / 2e6,
        refinements=config["refinements"],
        story=STORIES[phase],
        n=metrics["n_clips"],
        from_mel=table(metrics["from_mel"]),
        from_codec=table(metrics["from_codec"]),
        runs=SPEED_RUNS,
        speed=", ".join(
            f"{name.replace('_', '-')} {x:.0f} times real time" for name, x in metrics["times_real_time"].items()
        ),
        command=run["command"],
        megabytes=config["weights"]["bytes"] / 1e6,
        licence=LICENCE,
    )


if __name__ == "__main__":
    main()
