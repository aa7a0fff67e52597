"""Modules of the package laion_clap (Wu et al., 2023), imported without the package around them."""

import functools
import importlib
import importlib.util
import sys
import types
from pathlib import Path

from torch import nn


@functools.cache
def laion_module(name: str):
    """A module of laion_clap's `clap_module` (`htsat`, `loss`), imported without the package around it.

    `import laion_clap` fetches three tokenizers from a hub and imports torchvision, which it never uses for audio;
    the modules themselves need no more than the name of one torchvision class, given by a stand-in where it is absent.
    """
    package = "helpers_laion_clap"
    if package not in sys.modules:
        shell = types.ModuleType(package)
        shell.__path__ = [str(Path(importlib.util.find_spec("laion_clap").origin).parent / "clap_module")]
        sys.modules[package] = shell
    stand_ins = {}
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        stand_ins = {key: types.ModuleType(key) for key in ("torchvision", "torchvision.ops", "torchvision.ops.misc")}
        stand_ins["torchvision.ops.misc"].FrozenBatchNorm2d = nn.BatchNorm2d
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module(f"{package}.{name}")
    finally:
        for key in stand_ins:  # other libraries look for torchvision by its name
            del sys.modules[key]
