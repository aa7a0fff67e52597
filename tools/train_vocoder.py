"""Trains the vocoder on fresh mixtures of training recordings, in three phases, each resumable.

By spectral losses on the mixtures' own log-mels; then on log-mels half of which come through the codec, which is what the
vocoder will meet; then also against discriminators. Run by maintainers, rarely: `python tools/train_vocoder.py`. The
figures and the cards are made by `tools/judge_vocoder.py`.
"""

import argparse

import numpy as np
import torch
from discriminators import Discriminators
from fitting import arguments, fit, mixtures, parse, provenance
from spectral import stft_distance

from helpers.base.hashing import hash_file
from helpers.base.paths import ROOT
from helpers.base.settings import CorpusConfig, MelConfig
from helpers.models.codec import Codec, load_codec
from helpers.models.folder import write_model
from helpers.models.vocos import Vocos
from helpers.sound.mel import FLOOR, log_mel

RATE = CorpusConfig().sample_rate_hz
SEGMENT_FRAMES = 64  # about a second a segment
GAIN_DB = 6.0  # levels vary by this much either way: generated mels are not all at one level
MEL_WEIGHT, ADVERSARIAL_WEIGHT, MATCHING_WEIGHT = 2.0, 0.05, 0.1  # beside the STFT distance, of weight 1
DISCRIMINATOR_RATE = 3e-4
CODEC = "models/codec"
N_STATISTICS = 1000  # mixtures for the mel's mean and deviation
NETWORK = {"channels": 256, "hidden": 768, "blocks": 8}
TRAINED_REFINEMENTS, REFINEMENTS = 1, 6  # in training one, for speed; in use what leaves a hundred times real time


class Segments:
    """Random segments of the mixtures, drawn from torch's generator, with their log-mels; a `codec` takes half of these."""

    def __init__(self, audio: np.ndarray, mel: MelConfig, bank: torch.Tensor):
        self.audio, self.mel, self.bank = audio, mel, bank
        self.codec: Codec | None = None
        self.samples = SEGMENT_FRAMES * mel.hop_length

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """Waveforms float32 [len(rows), samples]."""
        starts = torch.randint(self.audio.shape[1] - self.samples + 1, (len(rows),)).tolist()
        parts = np.stack([self.audio[row, start : start + self.samples] for row, start in zip(rows, starts)])
        gains = 10 ** ((2 * torch.rand(len(rows), 1) - 1) * GAIN_DB / 20)
        return torch.from_numpy(parts.astype(np.float32) / 32_768) * gains

    def mels(self, model: Vocos, waveforms: torch.Tensor) -> torch.Tensor:
        """Log-mels [N, T, M], differentiable: `helpers.sound.mel.log_mel` is not."""
        bands = model.transform(waveforms).abs()[:, :-1] @ self.bank.T
        return bands.clamp(min=FLOOR).log()

    def given(self, mels: torch.Tensor) -> torch.Tensor:
        """What the vocoder is given for these mels."""
        if self.codec is None:
            return mels
        half = len(mels) // 2
        return torch.cat([torch.from_numpy(self.codec.decode(self.codec.encode(mels[:half].numpy()))), mels[half:]])


def spectral_loss(model: Vocos, segments: Segments, waveforms: torch.Tensor):
    """The made waveforms and the spectral part of the loss."""
    with torch.autocast("cpu", enabled=False):
        target = segments.mels(model, waveforms)
        given = segments.given(target)
    made = model(given)
    with torch.autocast("cpu", enabled=False):
        mel_error = (segments.mels(model, made) - target).abs().mean()
        return made, stft_distance(made, waveforms).mean() + MEL_WEIGHT * mel_error


def recipe(options, segments: Segments) -> dict:
    """All that a phase depends on beside its own options: those of the run, the constants, the codec."""
    run = {name: value for name, value in vars(options).items() if name not in ("work", "out")}
    weights = (MEL_WEIGHT, ADVERSARIAL_WEIGHT, MATCHING_WEIGHT, DISCRIMINATOR_RATE, GAIN_DB, SEGMENT_FRAMES)
    codec = None if segments.codec is None else hash_file(ROOT / CODEC / "codec.safetensors")
    return {"run": run, "constants": weights, "network": NETWORK, "codec": codec}


def train_spectral(model: Vocos, segments: Segments, options, run: dict) -> dict:
    """The first two phases, in place."""
    return fit(model, lambda rows: spectral_loss(model, segments, segments(rows))[1], options, len(segments.audio), run)


def train_adversarial(model: Vocos, segments: Segments, options, run: dict) -> dict:
    """The third phase, in place: the discriminators take a step of their own before each of the vocoder's."""
    torch.manual_seed(options.seed)
    critics = Discriminators(options.critic_channels)
    optimizer = torch.optim.AdamW(critics.parameters(), DISCRIMINATOR_RATE, betas=(0.8, 0.99), fused=True)

    def loss(rows):
        waveforms = segments(rows)
        made, spectral = spectral_loss(model, segments, waveforms)
        critics.requires_grad_(True)
        optimizer.zero_grad()
        critics.own_loss(waveforms, made.detach()).backward()
        optimizer.step()
        critics.requires_grad_(False)
        adversarial, matching = critics.vocoder_losses(waveforms, made)
        return spectral + ADVERSARIAL_WEIGHT * adversarial + MATCHING_WEIGHT * matching

    companions = {"critics": critics, "critics_optimizer": optimizer}
    return fit(model, loss, options, len(segments.audio), run, companions)


def phase(options, name: str, **changes) -> argparse.Namespace:
    """The options of one phase, with a working folder of its own."""
    folder = options.work / name
    folder.mkdir(exist_ok=True)
    return argparse.Namespace(**(vars(options) | {"work": folder} | changes))


def main():
    """Mixtures and three phases; writes models/vocoder after the second, models/vocoder_adversarial after the third."""
    parser = arguments(__doc__, "vocoder", mixtures=6000, updates=3000, batch_size=16, learning_rate=1e-3)
    parser.add_argument("--adapting-updates", type=int, default=1200, help="optimiser steps of the second phase")
    parser.add_argument("--adversarial-updates", type=int, default=1000, help="optimiser steps of the third phase")
    parser.add_argument("--later-rate", type=float, default=4e-4, help="peak learning rate from the second phase on")
    parser.add_argument("--critic-channels", type=int, default=16, help="channels of each discriminator layer")
    options = parse(parser)
    torch.manual_seed(options.seed)
    audio, _ = mixtures(options, lambda clips: clips, np.int16)
    mels = log_mel(audio[:N_STATISTICS], MelConfig(), RATE)
    mean = mels.mean(axis=(0, 1), dtype=np.float64)
    config = {
        "kind": "vocoder",
        "architecture": "vocos",
        **NETWORK,
        "refinements": REFINEMENTS,
        "mel": MelConfig().digest_fields(),
    }
    config |= {"sample_rate_hz": RATE, "mel_mean": [round(float(value), 5) for value in mean]}
    config["mel_std"] = round(float(np.sqrt(np.mean((mels - mean) ** 2, dtype=np.float64))), 5)
    model = Vocos(config | {"refinements": TRAINED_REFINEMENTS})
    segments = Segments(audio, model.mel, model.bank)
    run = provenance(
        "train_vocoder.py", options, ("adapting_updates", "adversarial_updates", "later_rate", "critic_channels")
    )
    run["spectral"] = train_spectral(model, segments, phase(options, "spectral"), recipe(options, segments))
    segments.codec = load_codec(CODEC)
    changes = {"updates": options.adapting_updates, "learning_rate": options.later_rate}
    adapting = phase(options, "adapting", **changes)
    run["adapting"] = train_spectral(model, segments, adapting, recipe(options, segments))
    write_model(options.out, config, model.state_dict(), run)
    changes = {"updates": options.adversarial_updates, "learning_rate": options.later_rate}
    adversarial = phase(options, "adversarial", **changes)
    run["adversarial"] = train_adversarial(model, segments, adversarial, recipe(options, segments))
    write_model(options.out.with_name(f"{options.out.name}_adversarial"), config, model.state_dict(), run)


if __name__ == "__main__":
    main()
