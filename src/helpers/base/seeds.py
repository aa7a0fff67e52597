"""Independent random numbers for every purpose, from one seed and a key."""

import zlib

import numpy as np


def seeded(*key: int | str) -> np.random.Generator:
    """A generator seeded by the whole key; strings enter by their CRC-32."""
    return np.random.default_rng([zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key])


def seed_of(*key: int | str) -> int:
    """A seed below 2**31 for what draws by itself, as a sampler's noise, from the whole key."""
    return int(seeded(*key).integers(2**31))


def deal(members: np.ndarray, count: int, key: tuple) -> np.ndarray:
    """`count` of `members` in seeded order, each of them once before any comes again; none where there are no members."""
    if not len(members):
        return members
    rounds = [seeded(*key, number).permutation(members) for number in range(-(-count // len(members)))]
    return np.concatenate([members[:0], *rounds])[:count]
