"""One training step at pocket size, beside a textbook diffusers loop on the same network, and what each measure brings.

The textbook loop is that of diffusers' text-to-image examples: float32, captions and log-mels encoded in every step,
attention as diffusers sets it, AdamW as torch sets it. The measures are added one after the other; bf16 is none on a processor
that has to emulate it.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from sounds import clips, log_mels
from timing import compare, options, row, write

from helpers.base.machine import computes_in_bf16
from helpers.models.codec import load_codec
from helpers.models.denoiser import build_noise_scheduler, build_unet, min_snr_weights
from helpers.models.text import encode_captions
from helpers.models.trainer import SCHEDULES, Data, Trainer, draw_batch
from helpers.sound.profiles import load_profile

MEASURES = ("cached latents and text", "bf16", "plain attention", "channels last", "fused AdamW", "compiled")


class Loop:
    """A textbook loop with some of `MEASURES`; `step()` is one update and returns its loss."""

    def __init__(self, ours: Trainer, mels: np.ndarray, captions: list[str], codec, profile, measures=()):
        config, data = ours.config, ours.data
        self.config, self.mels, self.captions, self.data = config, mels, captions, data
        self.codec, self.text, self.measures = codec, profile.text, measures
        self.shape = tuple(data.latents.shape[1:])
        self.unet = build_unet(config, self.shape, data.states.shape[-1])
        self.unet.load_state_dict(ours.unet.state_dict())
        if "plain attention" in measures:
            self.unet.set_attn_processor(AttnProcessor())
        if "channels last" in measures:
            self.unet.to(memory_format=torch.channels_last)
        self.forward = torch.compile(self.unet) if "compiled" in measures else self.unet
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(),
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused="fused AdamW" in measures or None,
        )
        self.schedule = get_scheduler(
            SCHEDULES[config.schedule],
            self.optimizer,
            num_warmup_steps=config.warmup_updates,
            num_training_steps=config.updates,
        )
        self.ema = EMAModel(self.unet.parameters(), decay=config.ema_decay, foreach="fused AdamW" in measures)
        self.scheduler, self.update = build_noise_scheduler(), 0

    def encoded(self, rows: list[int]):
        """Latents and text states of some clips."""
        if "cached latents and text" in self.measures:
            return self.data.latents[rows], self.data.states[rows], self.data.mask[rows]
        states, mask = encode_captions([self.captions[r] for r in rows], self.text)
        return torch.from_numpy(self.codec.encode(np.asarray(self.mels[rows]))), *map(torch.from_numpy, (states, mask))

    def step(self) -> float:
        batch = draw_batch(self.config, self.update, self.shape)
        latents, states, mask = self.encoded(batch.clips.tolist())
        states = torch.where(batch.dropped[:, None, None], self.data.null_state, states).float()
        mask = torch.where(batch.dropped[:, None], self.data.null_mask, mask)
        noisy = self.scheduler.add_noise(latents, batch.noise, batch.timesteps)
        if "channels last" in self.measures:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in self.measures):
            predicted = self.forward(noisy, batch.timesteps, states, encoder_attention_mask=mask).sample
        target = self.scheduler.get_velocity(latents, batch.noise, batch.timesteps)
        error = (predicted.float() - target).square().flatten(1).mean(1)
        loss = (error * min_snr_weights(self.scheduler, batch.timesteps, self.config.min_snr_gamma)).mean()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.ema.step(self.unet.parameters())
        self.update += 1
        return loss.item()


def main():
    """128 clips, batches of 32."""
    chosen = options(__doc__, n=128, updates=60, compile=1)
    profile, n = load_profile("pocket"), chosen.n
    config = replace(profile.training, n_train=n, updates=10_000, checkpoints=(10_000,))
    mels, captions = log_mels(n), clips(n)[1]
    codec = load_codec(profile.codec.codec_path)
    states, mask = encode_captions(captions, profile.text)
    null_states, null_mask = encode_captions([""], profile.text)
    arrays = (codec.encode(np.asarray(mels)), states, mask, null_states[0], null_mask[0])
    data = Data(*map(torch.from_numpy, arrays))
    usual = tuple(name for name in MEASURES if name != "bf16" or computes_in_bf16("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        ours = Trainer(Path(folder), config, data)
        batches = ours.batches()
        loops = {
            measures[-1] if measures else "textbook": Loop(ours, mels, captions, codec, profile, measures)
            for measures in (usual[:count] for count in range(len(usual) + bool(chosen.compile)))
        }
        names = {name: f"textbook diffusers loop{'' if name == 'textbook' else ', + ' + name}" for name in loops}

        def step() -> float:
            return ours.step(*next(batches))

        rows = compare(
            f"training step, batch of {config.batch_size}", step,
            {names[name]: loop.step for name, loop in loops.items()}, chosen.runs, packages=["diffusers", "accelerate"],
        )  # fmt: skip
        curves = {}
        for name, one in (("ours", step), ("textbook", loops["textbook"].step)):
            curves[name] = np.array([one() for _ in range(chosen.updates)])
    difference = curves["ours"] - curves["textbook"]  # the same clips, noise and timesteps in every update
    detail = (
        f"same batches: mean loss {curves['ours'].mean():.4f} and {curves['textbook'].mean():.4f}, "
        f"difference {difference.mean():.1g} +- {difference.std(ddof=1) / np.sqrt(len(difference)):.1g} (standard error)"
    )
    write([*rows, row(f"training loss over {chosen.updates} updates", float("nan"), detail=detail)], chosen.out)


if __name__ == "__main__":
    main()
