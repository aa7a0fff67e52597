"""Trains the latent diffusion model: TANGO's objective (Ghosal et al., 2023), accelerate's devices, exact resumption.

Taken from TANGO: v-prediction on 1,000 scaled-linear steps, min-SNR weights, AdamW, the shape of the UNet. Different
from TANGO: captions are dropped so that the null prompt is trained too, weights are averaged (EMA), and the learning
rate has a warm-up. Chapter: `notebooks/03_training.ipynb`.
"""

import logging
import math
import os
import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

from helpers.base.machine import computes_in_bf16
from helpers.base.progress import progress
from helpers.base.room import telling_no_room
from helpers.base.settings import TrainingConfig
from helpers.models.denoiser import (
    build_noise_scheduler,
    build_unet,
    min_snr_weights,
    prepare_attention,
)

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}  # ours: diffusers' names
ORDER, NOISE, WEIGHTS = range(3)  # independent streams of random numbers under one seed
STATE, PREVIOUS, DAMAGED = "state.pt", "state_previous.pt", "state_damaged.pt"
log = logging.getLogger(__name__)


def _generator(config: TrainingConfig, stream: int, number: int = 0) -> torch.Generator:
    entropy = (config.seed, config.draw, config.n_train, stream, number)
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


@dataclass(frozen=True)
class Batch:
    """What chance decides in one update, on the CPU: clips [B], timesteps [B], noise [B, C, h, w], dropped [B]."""

    clips: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    dropped: torch.Tensor


def draw_batch(config: TrainingConfig, update: int, latent_shape) -> Batch:
    """Draws update number `update` (from 0) from a generator of its own, so that a resumed run repeats it exactly.

    Clips come in epochs: every clip once, in an order drawn per epoch, before any comes again.
    """
    positions = torch.arange(update * config.batch_size, (update + 1) * config.batch_size)
    epochs = positions // config.n_train
    order = {e: torch.randperm(config.n_train, generator=_generator(config, ORDER, e)) for e in set(epochs.tolist())}
    clips = torch.stack([order[int(e)][p % config.n_train] for e, p in zip(epochs, positions)])
    generator, size = _generator(config, NOISE, update), config.batch_size
    timesteps = torch.randint(0, 1000, (size,), generator=generator)
    noise = torch.randn(size, *latent_shape, generator=generator)
    return Batch(clips, timesteps, noise, torch.rand(size, generator=generator) < config.caption_dropout)


@dataclass(frozen=True)
class Data:
    """Training set: latents [n, C, h, w], text states [n, L, D], mask [n, L], and the null prompt's [L, D], [L]."""

    latents: torch.Tensor
    states: torch.Tensor
    mask: torch.Tensor
    null_state: torch.Tensor
    null_mask: torch.Tensor

    def check(self, config: TrainingConfig) -> None:
        n = config.n_train
        length, dim = self.null_state.shape[-2:]
        expected = {
            "latents": (n, *self.latents.shape[1:4]),
            "states": (n, length, dim),
            "mask": (n, length),
            "null_state": (length, dim),
            "null_mask": (length,),
        }
        for name, shape in expected.items():
            got = tuple(getattr(self, name).shape)
            if got != shape or (name == "latents" and len(got) != 4):
                raise ValueError(f"{name}: expected shape {shape} for n_train = {n}, got {got}")
        finite = self.latents.isfinite().flatten(1).all(1)
        if not finite.all():
            raise ValueError(
                f"latents: expected finite values, got NaN or infinity in clip {int(finite.int().argmin())}"
            )


def _write_atomically(path: Path, write) -> None:
    """Calls `write(temporary path)`, flushes to disk and renames: `path` is whole or not there. Nothing else is left."""
    part = path.with_name(path.name + ".part")
    try:
        with telling_no_room(path.parent):
            write(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Trainer:
    """One training run: the network and all that an update changes, and its saving and restoring."""

    def __init__(self, out: Path, config: TrainingConfig, data: Data):
        data.check(config)
        self.out, self.config, self.data = out, config, data
        # Precision is set in `_loss`: an Accelerator would fix it for the whole life of the process.
        self.accelerator = Accelerator(mixed_precision="no")
        if config.batch_size % self.accelerator.num_processes:
            raise ValueError(
                f"batch_size: expected a multiple of {self.accelerator.num_processes} processes, got {config.batch_size}"
            )
        automatic = computes_in_bf16(self.accelerator.device.type)
        self.bf16 = {"bf16": True, "no": False, "auto": automatic}[config.precision]
        self.noise_scheduler = build_noise_scheduler()
        self.latent_shape = tuple(data.latents.shape[1:])
        with torch.random.fork_rng():
            torch.manual_seed(_generator(config, WEIGHTS).initial_seed())
            unet = build_unet(config, self.latent_shape, data.states.shape[-1])
        optimizer = torch.optim.AdamW(
            unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.model, self.optimizer = self.accelerator.prepare(unet, optimizer)
        self.unet = prepare_attention(self.accelerator.unwrap_model(self.model))
        if config.compiled:
            self.model = torch.compile(self.model)
        self.schedule = get_scheduler(
            SCHEDULES[config.schedule],
            optimizer,
            num_warmup_steps=config.warmup_updates,
            num_training_steps=config.updates,
        )
        # Warm-up: the decay is (1 + update) / (10 + update) until that exceeds `ema_decay`.
        self.ema = EMAModel(self.unet.parameters(), decay=config.ema_decay, foreach=True)
        self.rows: list[list[float]] = []  # update, loss, learning rate, seconds
        self.saved_at = self.started = time.monotonic()

    @property
    def update(self) -> int:
        return len(self.rows)

    def _loss(self) -> torch.Tensor:
        """TANGO's loss on this process's share of the update's batch: weighted mean squared error of v."""
        device, share = self.accelerator.device, self.config.batch_size // self.accelerator.num_processes
        drawn = draw_batch(self.config, self.update, self.latent_shape)
        own = slice(self.accelerator.process_index * share, (self.accelerator.process_index + 1) * share)
        clips, dropped = drawn.clips[own], drawn.dropped[own]
        states = torch.where(dropped[:, None, None], self.data.null_state, self.data.states[clips]).to(device).float()
        mask = torch.where(dropped[:, None], self.data.null_mask, self.data.mask[clips]).to(device)
        latents, noise = self.data.latents[clips].to(device), drawn.noise[own].to(device)
        timesteps = drawn.timesteps[own].to(device)
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            predicted = self.model(noisy, timesteps, encoder_hidden_states=states, encoder_attention_mask=mask).sample
        target = self.noise_scheduler.get_velocity(latents, noise, timesteps)
        error = (predicted.float() - target).square().flatten(1).mean(1)
        return (error * min_snr_weights(self.noise_scheduler, timesteps, self.config.min_snr_gamma)).mean()

    def step(self) -> float:
        """One update; returns its loss. Raises FloatingPointError, before any weight changes, if that is not finite."""
        loss = self._loss()
        value = self.accelerator.reduce(loss.detach(), "mean").item()
        rate = self.schedule.get_last_lr()[0]
        if not math.isfinite(value):
            raise FloatingPointError(
                f"loss: expected a finite value, got {value} in update {self.update + 1} (learning rate {rate:g}); "
                "lower learning_rate or raise warmup_updates"
            )
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.ema.step(self.unet.parameters())
        now = time.monotonic()
        seconds = (self.rows[-1][3] if self.rows else 0.0) + now - self.started
        self.started = now
        self.rows.append([self.update + 1, value, rate, seconds])
        return value

    def save_state(self) -> None:
        """Writes `state.pt`, all that a resumed run needs, and keeps the one before as `state_previous.pt`."""
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        state = {
            "config": self.config.digest_fields(),
            "unet": self.unet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rows": torch.tensor(self.rows, dtype=torch.float64),
        }
        if (self.out / STATE).exists():
            (self.out / STATE).replace(self.out / PREVIOUS)
        _write_atomically(self.out / STATE, lambda path: torch.save(state, path))

    def restore(self) -> None:
        """Continues from `state.pt`, or from the one before where that cannot be read, else starts anew.

        Raises ValueError if the state belongs to another configuration.
        """
        for name in (STATE, PREVIOUS):
            path = self.out / name
            if not path.exists():
                continue
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                config, rows = state["config"], state["rows"].tolist()
            except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                log.warning("%s cannot be read and is set aside as %s: %s", path, DAMAGED, reason)
                self.accelerator.wait_for_everyone()
                if self.accelerator.is_main_process:
                    path.replace(self.out / DAMAGED)
                continue
            if config != (own := self.config.digest_fields()):
                differ = [
                    f"{key} = {own[key]!r}, got {config.get(key)!r}" for key in own if own[key] != config.get(key)
                ]
                raise ValueError(f"{path} belongs to another run: expected {'; '.join(differ)}")
            self.unet.load_state_dict(state["unet"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.rows = rows
            log.info("training resumes after update %d of %d", self.update, self.config.updates)
            break
        self.ema.to(self.accelerator.device)

    def save_checkpoint(self) -> None:
        """Writes the averaged weights; with `keep_raw`, and after the last update, the raw ones too."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        names = [name for name, _ in self.unet.named_parameters()]
        kinds = {"ema": dict(zip(names, self.ema.shadow_params))}
        if self.config.keep_raw or self.update == self.config.updates:
            kinds["raw"] = self.unet.state_dict()
        for kind, weights in kinds.items():
            weights = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
            path = self.out / "checkpoints" / f"{kind}_{self.update:06d}.safetensors"
            _write_atomically(path, lambda part, weights=weights: save_file(weights, part))

    def finish(self) -> None:
        """Writes `loss.csv` and removes the states."""
        if not self.accelerator.is_main_process:
            return
        lines = [f"{int(update)},{loss!r},{rate!r},{seconds:.3f}" for update, loss, rate, seconds in self.rows]
        text = "\n".join(["update,loss,learning_rate,seconds", *lines, ""])
        _write_atomically(self.out / "loss.csv", lambda path: path.write_text(text))
        for name in (STATE, PREVIOUS, DAMAGED):
            (self.out / name).unlink(missing_ok=True)


def train(
    out: Path,
    config: TrainingConfig,
    latents: np.ndarray,
    text_states: np.ndarray,
    text_mask: np.ndarray,
    null_state: np.ndarray,
    null_mask: np.ndarray,
    save_every_s: float = 30.0,
) -> None:
    """Trains one denoiser on `latents` [n, C, h, w] and their captions' token states [n, L, D] and mask [n, L].

    `null_state` [L, D] and `null_mask` [L] encode "": they replace the caption of a share `caption_dropout` of the
    clips. Writes into `out`: `checkpoints/ema_<updates>.safetensors` at each of `config.checkpoints` and at the end,
    `checkpoints/raw_<updates>.safetensors` at the end and,
    with `keep_raw`, at each of them, `unet.json`, and `loss.csv` (update, loss, learning_rate,
    seconds). A run that was cut off continues from `state.pt`, to the same losses and weights bit for bit (same
    machine, same number of threads). Raises ValueError for shapes that disagree with each other or with `n_train` and
    for latents that are not finite, FloatingPointError naming the update where the loss is not finite.
    """
    arrays = (latents, text_states, text_mask, null_state, null_mask)
    trainer = Trainer(out, config, Data(*(torch.as_tensor(np.asarray(array)) for array in arrays)))
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    _write_atomically(out / "unet.json", lambda path: path.write_text(trainer.unet.to_json_string()))
    trainer.restore()
    due = {*config.checkpoints, config.updates}
    name = f"training n={config.n_train} draw={config.draw}"
    quiet = not trainer.accelerator.is_main_process
    with progress(total=config.updates, initial=trainer.update, desc=name, unit="update", disable=quiet) as bar:
        while trainer.update < config.updates:
            bar.set_postfix(loss=f"{trainer.step():.3f}", refresh=False)
            bar.update()
            if trainer.update in due:
                trainer.save_checkpoint()
            if trainer.update in due or time.monotonic() - trainer.saved_at > save_every_s:
                trainer.save_state()
    trainer.finish()
