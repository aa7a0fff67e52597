"""Folders of frozen models (`models/*`): safetensors and config.json, checked on loading; training.json, metrics.json, card."""

import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch

from helpers.base.hashing import read_checked


def read_config(folder: Path, kind: str) -> dict:
    """config.json of a model folder. Raises FileNotFoundError where there is none, ValueError for another `kind`."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{kind}: expected a model folder with config.json, found none at {path}")
    config = json.loads(path.read_text())
    if config.get("kind") != kind:
        raise ValueError(f"{path}: expected a model of kind {kind!r}, got {config.get('kind')!r}")
    return config


def read_weights(folder: Path, config: dict) -> dict[str, torch.Tensor]:
    """The state dictionary that config.json's `weights` names, as float32, its sha256 checked before it is read.

    Raises FileNotFoundError where the file is missing, ValueError where its bytes are not the recorded ones.
    """
    path, expected = folder / config["weights"]["file"], config["weights"]["sha256"]
    data = read_checked(path, expected, config["kind"], "config.json")
    return {name: tensor.float() for name, tensor in safetensors.torch.load(data).items()}


def write_model(folder: Path, config: dict, state: dict[str, torch.Tensor], training: dict | None = None) -> dict:
    """Writes the weights as float16 and config.json with their sha256; returns that configuration.

    `training` tells of the run that made them; it goes to training.json, since results follow from weights and
    configuration alone. Raises ValueError where a weight does not survive float16 as a finite number.
    """
    half = {name: tensor.detach().half().contiguous() for name, tensor in state.items()}
    broken = [name for name, tensor in half.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"weights: expected finite values within float16, got others in {', '.join(broken)}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{config['kind']}.safetensors"
    data = safetensors.torch.save(half)
    path.write_bytes(data)
    config = config | {"weights": {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if training is not None:
        (folder / "training.json").write_text(json.dumps(training, indent=1) + "\n")
    return config


def write_card(folder: Path, metrics: dict, card: str) -> None:
    """Writes metrics.json and the model card README.md."""
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    (folder / "README.md").write_text(card)
