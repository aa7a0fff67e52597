"""What training and generation take on a GPU, counted before anything runs and without weights: operations and memory.

The network is built without storage (torch's meta device), and PyTorch counts what one pass through it multiplies and
what training has to remember of it. The rest is arithmetic, and the rates are assumptions.
"""

import functools
import json
from dataclasses import dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from helpers.base.profile import Profile
from helpers.base.settings import TrainingConfig
from helpers.models.denoiser import build_unet
from helpers.models.pretrained.locate import is_audioldm
from helpers.study import work
from helpers.study.stage import Stage

# Operations a second of one H100, sustained, by precision of the products: assumed, about two thirds of what its makers
# state for the first and under a third for the last; never measured here.
RATES = {"no": 45e12, "tf32": 150e12, "bf16": 300e12}
WORKING = 8  # of the largest array of one clip, as many are in memory at a time where nothing has to be remembered


@dataclass(frozen=True)
class Network:
    """Of a denoiser: its weights, operations of one pass of one clip, and bytes that training remembers of that, the largest."""

    weights: int
    operations: float
    remembered: int
    largest: int


@dataclass(frozen=True)
class OnGpu:
    """Of one stage: operations, seconds on one H100 at RATES, and bytes of its memory."""

    operations: float
    seconds: float
    memory_bytes: int


def in_words(stages: list[Stage], profile: Profile) -> list[str]:
    """A line for each training and generation stage, and their sum, by the precisions of the profile and in bfloat16.

    None below one hour in sum: a study that small needs no GPU.
    """
    counted = {stage.title: found for stage in stages if (found := count(stage, profile))}
    hours = sum(one.seconds for one in counted.values()) / 3600
    if hours < 1:
        return []
    lines = [
        f"{title:<28} {one.seconds / 3600:7.1f} GPU h {one.memory_bytes / 1e9:7.0f} GB"
        for title, one in counted.items()
    ]
    fast = sum(one.operations for one in counted.values()) / RATES["bf16"] / 3600
    rates = ", ".join(f"{rate / 1e12:g} with precision {name}" for name, rate in RATES.items())
    return [
        f"{'on a GPU':<28} {'time':>13} {'memory':>10}",
        *lines,
        f"{len(counted)} stages: {_hours(hours)} GPU hours; all in bf16 {_hours(fast)}.",
        f"The denoiser's operations were counted, those of text encoder, codec and vocoder were not; their rate on one H100 is assumed (TFLOP/s: {rates}). The memory is at most that.",
    ]


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


def count(stage: Stage, profile: Profile) -> OnGpu | None:
    """Of a training or generation stage; None of any other, which takes little of a GPU beside these."""
    if stage.name == "training" and not profile.training.checkpoint_path:
        config = TrainingConfig.from_digest_fields(stage.config)
        network, n = _network_of(stage), config.batch_size * (3 if config.mixtures else 2) // 2
        operations = 3.0 * network.operations * n * config.updates  # the way back is twice the way there
        held = min(profile.training.micro_batch or n, n)
        memory = 16 * network.weights + held * network.remembered  # float32 weights, gradients, AdamW's two moments
        return _on_gpu(operations, config.precision, memory)
    if stage.name == "generation":
        own, network = stage.config["generation"], _network_of(stage.upstream["training"])
        sides = 1 if own["guidance"] in (0, 1) else 2
        held = min(profile.generation.batch_size, work.clips(stage)) * sides
        memory = 4 * network.weights + WORKING * held * network.largest
        return _on_gpu(
            network.operations * work.clips(stage) * own["steps"] * sides, own.get("precision", "no"), memory
        )
    return None


def _on_gpu(operations: float, precision: str, memory_bytes: int) -> OnGpu:
    return OnGpu(operations, operations / RATES["bf16" if precision == "auto" else precision], memory_bytes)


def _network_of(training: Stage) -> Network:
    encoding = training.upstream["encoding"]
    settings = encoding.upstream["corpus"].config
    frames, bands = settings["corpus"]["clip_samples"] // settings["mel"]["hop_length"], settings["mel"]["n_mels"]
    channels, stride = (8, 4) if is_audioldm(encoding.config["codec"]) else (16, 8)
    text = encoding.config["text"]
    shape = (channels, frames // stride, bands // stride)
    return _count(json.dumps(training.config), shape, text["max_tokens"], work.WIDTH[text["encoder"]])


@functools.cache
def _count(config: str, shape: tuple[int, ...], tokens: int, width: int) -> Network:
    sizes: dict[int, int] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim > 2 and tensor.shape[-1] == tensor.shape[-2] > tokens:
            return tensor  # every position by every other: a GPU's fused attention holds no such matrix
        storage = tensor.untyped_storage()
        sizes[storage._cdata] = storage.nbytes()
        kept.append(tensor)  # else its place could be another's
        return tensor

    kept: list[torch.Tensor] = []
    with torch.device("meta"):
        unet = build_unet(TrainingConfig.from_digest_fields(json.loads(config)), shape, width)
        inputs = torch.empty(1, *shape), torch.zeros(1, dtype=torch.int64)
        text = {
            "encoder_hidden_states": torch.empty(1, tokens, width),
            "encoder_attention_mask": torch.ones(1, tokens) > 0,
        }
    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(remember, lambda tensor: tensor):
        unet(*inputs, **text)
    parameters = [*unet.parameters()]
    for one in parameters:
        sizes.pop(one.untyped_storage()._cdata, None)
    weights = sum(one.numel() for one in parameters)
    return Network(weights, float(counter.get_total_flops()), sum(sizes.values()), max(sizes.values()))
