"""Reading published weights: tensors only, never code, and every tensor used."""

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from helpers.base.hashing import check_sha256

# What a training loop's checkpoint holds beside its tensors: losses that are NumPy numbers. numpy 2 moved their module.
NUMPY_NUMBERS = (
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np._core.multiarray.scalar,
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
)


def read_tensors(path: Path, sha256: str = "", allowed=()) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, or of a PyTorch file read with `weights_only=True`: no code in it is run.

    A checkpoint's `state_dict` is taken out of what lies around it; `allowed` are further globals that may occur there.
    Tensors stay on disk until they are used, where the file's format lets them. Raises ValueError for another sha256,
    for a pickle that holds code or anything but tensors, and for a damaged file.
    """
    check_sha256(path, sha256)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(list(allowed)):
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # torch's message is a page of advice; what it found is somewhere within
        found = re.search(r"GLOBAL [\w.]+|Unsupported operand \d+", str(error))
        reason = found[0] if found else _first_line(error)
        raise ValueError(f"{path}: expected nothing but tensors, got {reason}; it was not run") from None
    except (RuntimeError, EOFError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: expected a whole checkpoint, got a damaged one ({_first_line(error)})") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise ValueError(f"{path}: expected tensors by name, got {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{path}: expected a tensor under {name!r}, got {type(value).__name__}")
    return dict(state)


def _first_line(text) -> str:
    return (str(text).strip().splitlines() or ["no reason given"])[0]


def load_exactly(model: torch.nn.Module, state: dict[str, torch.Tensor], source, assign: bool = False):
    """Puts `state` into `model`, frozen and in evaluation mode; returns it.

    Every tensor is used and none is wanting: raises ValueError, naming the first, for a missing or unknown name, another
    shape, or a weight that is not finite. `assign` takes the tensors as they are, for a model without memory of its own.
    """
    own = model.state_dict()
    problems = [f"lacks {_some(names)}" for names in [sorted(own.keys() - state.keys())] if names]
    problems += [f"holds the unknown {_some(names)}" for names in [sorted(state.keys() - own.keys())] if names]
    if problems:
        raise ValueError(
            f"{source}: expected exactly {type(model).__name__}'s tensors, but it {' and '.join(problems)}"
        )
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise ValueError(f"{source}: {name}: expected shape {tuple(own[name].shape)}, got {tuple(tensor.shape)}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{source}: {name}: expected finite weights, got NaN or infinity")
    state = {name: tensor.to(own[name].dtype) for name, tensor in state.items()}
    model.load_state_dict(state, assign=assign)
    return model.eval().requires_grad_(False)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} ({len(names)} in all)"
