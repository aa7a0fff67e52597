"""Trains the latent diffusion model: TANGO's objective (Ghosal et al., 2023), accelerate's devices, exact resumption.

Taken from TANGO: v-prediction on 1,000 scaled-linear steps, min-SNR weights, AdamW, the shape of the UNet. Different
from TANGO, where the settings do not say otherwise: captions are dropped so that the null prompt is trained too, weights
are averaged (EMA), and the learning rate has a warm-up. One process trains one network. Chapter: `notebooks/03_training.ipynb`.
"""

import logging
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

from helpers.base.machine import computes_in_bf16, refuse_several_processes
from helpers.base.mapped import Selection, chunks
from helpers.base.parquet_file import write_parquet
from helpers.base.progress import progress
from helpers.base.room import telling_no_room
from helpers.base.settings import TrainingConfig
from helpers.models.denoiser import build_noise_scheduler, build_unet, check_device, min_snr_weights, prepare_attention

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}  # ours: diffusers' names
ORDER, NOISE, WEIGHTS, POSTERIOR, CAPTIONS = range(5)  # independent streams of random numbers under one seed
STATE, PREVIOUS, DAMAGED = "state.pt", "state_previous.pt", "state_damaged.pt"
OVERHEAD = 0.05  # of the time, what writing states may take at most
log = logging.getLogger(__name__)


def _generator(config: TrainingConfig, stream: int, number: int = 0) -> torch.Generator:
    entropy = (config.seed, config.draw, config.n_train, stream, number)
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


@dataclass(frozen=True)
class Batch:
    """What chance decides in one update, on the CPU: clips [B], and timesteps [A], noise [A, C, h, w], dropped [A].

    A is B or, with a mixture of every two clips after them, 3 B / 2. `captions` [B]: whose caption each clip comes with.
    `posterior` [A, C, h, w] draws the latents, if at all.
    """

    clips: torch.Tensor
    captions: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    dropped: torch.Tensor
    posterior: torch.Tensor | None = None


def draw_batch(config: TrainingConfig, update: int, latent_shape) -> Batch:
    """Draws update number `update` (from 0) from a generator of its own, so that a resumed run repeats it exactly.

    Clips come in epochs: every clip once, in an order drawn per epoch, before any comes again.
    """
    positions = torch.arange(update * config.batch_size, (update + 1) * config.batch_size)
    epochs = positions // config.n_train
    order = {e: torch.randperm(config.n_train, generator=_generator(config, ORDER, e)) for e in set(epochs.tolist())}
    clips = torch.stack([order[int(e)][p % config.n_train] for e, p in zip(epochs, positions)])
    captions, other = clips, _generator(config, CAPTIONS, update)
    if config.caption_randomisation:
        swapped = torch.rand(config.batch_size, generator=other) < config.caption_randomisation
        captions = torch.where(swapped, torch.randint(config.n_train, clips.shape, generator=other), clips)
    generator, size = _generator(config, NOISE, update), config.batch_size * (3 if config.mixtures else 2) // 2
    timesteps = torch.randint(0, 1000, (size,), generator=generator)
    noise = torch.randn(size, *latent_shape, generator=generator)
    dropped = torch.rand(size, generator=generator) < config.caption_dropout
    if config.posterior == "mode":
        return Batch(clips, captions, timesteps, noise, dropped)
    drawn = torch.randn(size, *latent_shape, generator=_generator(config, POSTERIOR, update))
    return Batch(clips, captions, timesteps, noise, dropped, drawn)


@dataclass(frozen=True)
class Data:
    """Training set: latents [n, C, h, w], token states of captions [n, L, D], mask [n, L], and the null prompt's [L, D], [L].

    Rows of the first three are read as they are drawn, from the disk if they are there. `deviations` [n, C, h, w] are those of the
    posterior whose means the latents are. `mix(first, second)` gives mixtures of clips by their rows, as latents,
    deviations, states and mask.
    """

    latents: np.ndarray | Selection
    states: np.ndarray | Selection
    mask: np.ndarray | Selection
    null_state: np.ndarray
    null_mask: np.ndarray
    deviations: np.ndarray | Selection | None = None
    mix: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]] | None = None

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
        for name, needed in (("deviations", config.posterior == "sample"), ("mix", config.mixtures)):
            if needed and getattr(self, name) is None:
                raise ValueError(f"{name}: expected them, as the training set is drawn from them, got none")
        for part, latents in chunks(self.latents, 1024):
            finite = np.isfinite(np.asarray(latents)).all(axis=(1, 2, 3))
            if not finite.all():
                raise ValueError(
                    f"latents: expected finite values, got NaN or infinity in clip {part.start + int(finite.argmin())}"
                )

    def rows(self, drawn: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents, states and mask of a batch, with its mixtures last; latents drawn from their posterior, if at all."""
        clips, captions = drawn.clips.numpy(), drawn.captions.numpy()
        parts = [[self.latents[clips], None if self.deviations is None else self.deviations[clips]]]
        parts[0] += [self.states[captions], self.mask[captions]]
        if self.mix and len(drawn.timesteps) > len(clips):
            parts.append([*self.mix(clips[::2], clips[1::2])])
        latents, deviations, states, mask = (
            None if values[0] is None else torch.cat([torch.tensor(np.asarray(value)) for value in values])
            for values in zip(*parts)
        )
        return latents if drawn.posterior is None else latents + deviations * drawn.posterior, states, mask


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
        refuse_several_processes()
        data.check(config)
        self.out, self.config, self.data = out, config, data
        self.null_state, self.null_mask = (torch.tensor(np.asarray(one)) for one in (data.null_state, data.null_mask))
        # Precision is set in `_loss`: an Accelerator would fix it for the whole life of the process.
        self.accelerator = Accelerator(mixed_precision="no")
        automatic = computes_in_bf16(self.accelerator.device.type)
        self.bf16 = {"bf16": True, "no": False, "auto": automatic}[config.precision]
        self.noise_scheduler = build_noise_scheduler()
        self.latent_shape = tuple(data.latents.shape[1:])
        with torch.random.fork_rng():
            torch.manual_seed(_generator(config, WEIGHTS).initial_seed())
            unet = build_unet(config, self.latent_shape, data.states.shape[-1])
        check_device(unet, self.accelerator.device)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
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
            num_training_steps=_schedule_length(config),
        )
        # Warm-up: the decay is (1 + update) / (10 + update) until that exceeds `ema_decay`. Without one, no second copy.
        self.ema = EMAModel(self.unet.parameters(), decay=config.ema_decay, foreach=True) if config.ema_decay else None
        self.rows: list[list[float]] = []  # update, loss, learning rate, seconds
        self.saved_at = self.started = time.monotonic()
        self.saving_s = 0.0  # what the last state took to write

    @property
    def update(self) -> int:
        return len(self.rows)

    def batches(self) -> Iterator[tuple[Batch, tuple[torch.Tensor, ...]]]:
        """The batch of each update that is left, with its rows: the next is read, and mixed, while one is trained on."""

        def read(update: int):
            drawn = draw_batch(self.config, update, self.latent_shape)
            return drawn, self.data.rows(drawn)

        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(read, self.update)
            for update in range(self.update, self.config.updates):
                batch = ahead.result()
                ahead = reader.submit(read, update + 1)  # after the last update in vain
                yield batch

    def _losses(self, drawn: Batch, rows: tuple[torch.Tensor, ...]) -> Iterator[torch.Tensor]:
        """The loss of an update, in parts that add up to it: as many clips at a time as memory is to hold."""
        n = len(drawn.timesteps)
        step = self.config.micro_batch or n
        for start in range(0, n, step):
            part = slice(start, start + step)
            yield self._loss(drawn, part, *(one[part] for one in rows)) * (len(drawn.timesteps[part]) / n)

    def _loss(self, drawn: Batch, part: slice, latents, states, mask) -> torch.Tensor:
        """TANGO's loss on a part of the update's batch: weighted mean squared error of v."""
        device, dropped = self.accelerator.device, drawn.dropped[part]
        states = torch.where(dropped[:, None, None], self.null_state, states).to(device).float()
        mask = torch.where(dropped[:, None], self.null_mask, mask).to(device)
        latents, noise = latents.to(device), drawn.noise[part].to(device)
        timesteps = drawn.timesteps[part].to(device)
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            predicted = self.model(noisy, timesteps, encoder_hidden_states=states, encoder_attention_mask=mask).sample
        target = self.noise_scheduler.get_velocity(latents, noise, timesteps)
        error = (predicted.float() - target).square().flatten(1).mean(1)
        return (error * min_snr_weights(self.noise_scheduler, timesteps, self.config.min_snr_gamma)).mean()

    def step(self, drawn: Batch, rows: tuple[torch.Tensor, ...]) -> float:
        """One update on one of `batches`; returns its loss. Raises FloatingPointError, before any weight changes, if that is not finite."""
        value, rate = 0.0, self.schedule.get_last_lr()[0]
        for loss in self._losses(drawn, rows):
            value += loss.item()
            self.accelerator.backward(loss)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"loss: expected a finite value, got {value} in update {self.update + 1} (learning rate {rate:g}); "
                "lower learning_rate or raise warmup_updates"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        if self.ema:
            self.ema.step(self.unet.parameters())
        now = time.monotonic()
        seconds = (self.rows[-1][3] if self.rows else 0.0) + now - self.started
        self.started = now
        self.rows.append([self.update + 1, value, rate, seconds])
        return value

    def is_due(self, every_s: float) -> bool:
        """Whether to save the state now: not sooner than `every_s`, and so that writing takes OVERHEAD of the time; 0: yes."""
        return not every_s or time.monotonic() - self.saved_at > max(every_s, self.saving_s / OVERHEAD)

    def save_state(self) -> None:
        """Writes `state.pt`, all that a resumed run needs, and keeps the one before as `state_previous.pt`.

        No more than these two are on the disk at a time: one set aside as damaged goes before.
        """
        started = time.monotonic()
        state = {
            "config": self.config.digest_fields(),
            "unet": self.unet.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rows": torch.tensor(self.rows, dtype=torch.float64),
        }
        (self.out / DAMAGED).unlink(missing_ok=True)
        if (self.out / STATE).exists():
            (self.out / STATE).replace(self.out / PREVIOUS)
        _write_atomically(self.out / STATE, lambda path: torch.save(state, path))
        self.saved_at = time.monotonic()
        self.saving_s = self.saved_at - started

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
                path.replace(self.out / DAMAGED)
                continue
            if config != (own := self.config.digest_fields()):
                differ = [
                    f"{key} = {own[key]!r}, got {config.get(key)!r}" for key in own if own[key] != config.get(key)
                ]
                raise ValueError(f"{path} belongs to another run: expected {'; '.join(differ)}")
            self.unet.load_state_dict(state["unet"])
            if self.ema:
                self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.rows = rows
            log.info("training resumes after update %d of %d", self.update, self.config.updates)
            break
        if self.ema:
            self.ema.to(self.accelerator.device)

    def save_checkpoint(self) -> None:
        """Writes the averaged weights; with `keep_raw`, and after the last update, the raw ones too."""
        names = [name for name, _ in self.unet.named_parameters()]
        kinds = {"ema": dict(zip(names, self.ema.shadow_params if self.ema else self.unet.parameters()))}
        if self.config.keep_raw or self.update == self.config.updates:
            kinds["raw"] = self.unet.state_dict()
        for kind, weights in kinds.items():
            weights = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
            path = self.out / "checkpoints" / f"{kind}_{self.update:06d}.safetensors"
            _write_atomically(path, lambda part, weights=weights: save_file(weights, part))

    def finish(self) -> None:
        """Writes `loss.parquet` and removes the states."""
        _write_atomically(self.out / "loss.parquet", lambda path: write_losses(self.rows, path))
        for name in (STATE, PREVIOUS, DAMAGED):
            (self.out / name).unlink(missing_ok=True)


def write_losses(rows: list[list[float]], path: Path) -> None:
    """`loss.parquet`, a row an update: update, loss, learning_rate, seconds since the training began."""
    table = pd.DataFrame(rows, columns=["update", "loss", "learning_rate", "seconds"], dtype=np.float64)
    write_parquet(table.astype({"update": np.int32, "loss": np.float32, "seconds": np.float32}), path)


def _schedule_length(config: TrainingConfig) -> int:
    """After how many updates the learning rate would be zero, if training did not end before."""
    return config.warmup_updates + round((config.updates - config.warmup_updates) / (1 - config.final_rate))


def train(out: Path, config: TrainingConfig, data: Data, save_every_s: float = 30.0) -> float:
    """Trains one denoiser on `data`, of which the null prompt replaces the caption of a share `caption_dropout` of the clips.

    A state is saved every `save_every_s` or, where writing it takes long, as seldom as OVERHEAD asks. Writes into `out`:
    `checkpoints/ema_<updates>.safetensors` at each of `config.checkpoints` and at the end,
    `checkpoints/raw_<updates>.safetensors` at the end and, with `keep_raw`, at each of them, `unet.json`, and `loss.parquet`
    (update, loss, learning_rate, seconds). Returns the seconds of all updates. A run that was cut off continues from `state.pt`, to the same losses and weights
    bit for bit (same machine, same number of threads). Raises ValueError for shapes that disagree with each other or with
    `n_train` and for latents that are not finite, FloatingPointError naming the update where the loss is not finite.
    """
    trainer = Trainer(out, config, data)
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    _write_atomically(out / "unet.json", lambda path: path.write_text(trainer.unet.to_json_string()))
    trainer.restore()
    due = {*config.checkpoints, config.updates}
    name = f"training n={config.n_train} draw={config.draw}"
    with progress(total=config.updates, initial=trainer.update, desc=name, unit="update") as bar:
        for drawn, rows in trainer.batches():
            bar.set_postfix(loss=f"{trainer.step(drawn, rows):.3f}", refresh=False)
            bar.update()
            if trainer.update in due:
                trainer.save_checkpoint()
            if trainer.is_due(save_every_s):
                trainer.save_state()
    trainer.finish()
    return trainer.rows[-1][3]
