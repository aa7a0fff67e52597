"""Independent random numbers for every purpose, from one seed and a key."""

import zlib

import numpy as np


def seeded(*key: int | str) -> np.random.Generator:
    """A generator seeded by the whole key; strings enter by their CRC-32."""
    return np.random.default_rng([zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key])
