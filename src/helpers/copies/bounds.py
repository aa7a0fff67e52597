"""Blocks of rows and their 8-bit codes, which bound the cosine of any two rows from above.

A CPU multiplies 8-bit numbers several times as fast as float32. What a code leaves out of its row is known, and the
Cauchy-Schwarz inequality turns it into a bound on each cosine, so a search may rule references out by their codes and
lose nothing (filter and refine; Weber et al., 1998, "A quantitative analysis and performance study for
similarity-search methods in high-dimensional spaces", call such codes a vector approximation file).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch

CHUNK_ROWS = 32  # rows measured and coded at a time: 32 log-mels of 256 x 64 are 2 MB, which a cache holds
PART = 512  # dimensions that are summed in float32; the parts are added in float64: cosines of 16,384 err by 3e-7
MEAN_ROWS = 512  # whose mean need not be coded
WIDEST = 2**17  # dimensions; beyond, a sum of 8-bit products could leave 32 bits
ROUNDING = 2e-5  # float32 rounding of the terms of a bound; with log-mels up to 3e-6 was seen


class Codes(NamedTuple):
    """Rows of unit length, less a common mean, as 8-bit numbers [N, D]; the rest is a number a row, float32 [N].

    row - mean = step * code + remainder. `size` is the length of row - mean, `error` that of the remainder, `offset`
    the product of the row and the mean, less half the mean's with itself.
    """

    codes: torch.Tensor
    step: torch.Tensor
    size: torch.Tensor
    error: torch.Tensor
    offset: torch.Tensor


class Block(NamedTuple):
    """Some rows of an array: float32 [n, D], the index of the first, their lengths float64 [n], and codes if wanted."""

    rows: np.ndarray
    start: int
    lengths: np.ndarray
    codes: Codes | None


def codes_pay() -> bool:
    """The switch of the exact search: whether this CPU multiplies 8-bit numbers exactly, and by instructions for it.

    With these (VNNI or AMX) wide rows are filtered by their codes; without them the products are exact as well, but many
    times as slow as float32 ones, and faiss filters. `search.top_k(..., codes=)` forces either.
    """
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_vnni", "amx_int8")) and codes_are_exact()


@cache
def codes_are_exact() -> bool:
    """Whether 8-bit numbers are multiplied without saturation: some older instructions add pairs in 16 bits."""
    extreme = torch.full((32, 64), 127, dtype=torch.int8)
    extreme[::2, ::3] = -127
    return torch.equal(torch._int_mm(extreme, extreme.T).long(), extreme.long() @ extreme.T.long())


def mean_row(rows: np.ndarray) -> torch.Tensor:
    """Mean of some rows at unit length, float32 [D]: what all have in common need not be coded, so that codes err less."""
    some = torch.from_numpy(rows[:: max(1, len(rows) // MEAN_ROWS)])
    return (some / _lengths(some)[:, None].float().clamp(min=1e-30)).mean(0).nan_to_num()


def measure(features: np.ndarray, first_row: int, mean: torch.Tensor | None, name: str) -> Block:
    """The rows float32 [n, D] as a block, coded if there is a mean. Raises ValueError for a zero or non-finite row."""
    rows = torch.from_numpy(features)
    lengths, codes = torch.empty(len(rows), dtype=torch.float64), None
    if mean is not None:
        codes = Codes(torch.empty(rows.shape, dtype=torch.int8), *torch.empty(4, len(rows)))
        scratch = torch.empty(2, min(CHUNK_ROWS, len(rows)), rows.shape[1])
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        lengths[chunk] = _lengths(rows[chunk])
        bad = ~(lengths[chunk].isfinite() & (lengths[chunk] > 0))
        if bad.any():
            row = start + int(bad.nonzero()[0])
            kind = "all zeros" if lengths[row] == 0 else "not finite"
            raise ValueError(f"{name}: row {first_row + row} is {kind}; expected a finite, non-zero vector")
        if codes is not None and mean is not None:
            part = Codes(*(column[chunk] for column in codes))
            _encode(rows[chunk], lengths[chunk], mean, part, scratch[:, : len(part.step)])
    return Block(features, first_row, lengths.numpy(), codes)


def unit_length(block: Block) -> Block:
    """The same rows at unit length, as a copy without codes."""
    rows, factor = np.empty_like(block.rows), (1 / block.lengths).astype(np.float32)
    torch.mul(torch.from_numpy(block.rows), torch.from_numpy(factor)[:, None], out=torch.from_numpy(rows))
    return Block(rows, block.start, np.ones(len(rows)), None)


def _encode(rows: torch.Tensor, lengths: torch.Tensor, mean: torch.Tensor, into: Codes, scratch: torch.Tensor) -> None:
    """Writes the codes of a chunk of rows [n, D]; `scratch` [2, n, D] spares the allocation of memory for each chunk."""
    unit, rounded = scratch
    torch.mul(rows, (1 / lengths).float()[:, None], out=unit)
    into.offset.copy_(unit @ mean - mean @ mean / 2)
    unit -= mean
    into.size.copy_(torch.linalg.vector_norm(unit, dim=1))
    into.step.copy_(torch.maximum(unit.amax(1), -unit.amin(1)).div_(127).clamp_(min=1e-30))  # aminmax is far slower
    torch.mul(unit, (1 / into.step)[:, None], out=rounded).round_()
    into.codes.copy_(rounded)
    into.error.copy_(torch.linalg.vector_norm(unit.sub_(rounded.mul_(into.step[:, None])), dim=1))


def upper_bounds(some: Block, block: Block) -> torch.Tensor:
    """Bounds [q, r] that no cosine exceeds.

    With u = mean + a + e for a query and v = mean + b + f for a reference (a, b what the codes say, e, f remainders):
    u.v = a.b + (e.(b + f) + a.f) + u.mean + v.mean - mean.mean, and the bracket is at most |e||b + f| + |a||f|.
    """
    left, right, one = some.codes, block.codes, torch.ones_like
    assert left is not None and right is not None, "a block without codes has no bounds"
    bounds = torch._int_mm(left.codes, right.codes.T).float()
    bounds.mul_(left.step[:, None]).mul_(right.step)
    outer = (left.error, left.size + left.error, left.offset, one(left.step))
    inner = (right.size, right.error, one(right.step), right.offset + ROUNDING)
    return bounds.addmm_(torch.stack(outer, dim=1), torch.stack(inner))


def parts(dimensions: int) -> int:
    """Into how many equal parts of about PART numbers a row is cut, so that float32 sums stay short (1: it cannot be)."""
    fewest = -(-dimensions // PART)
    return next((p for p in range(fewest, 4 * fewest) if dimensions % p == 0), 1)


def _lengths(rows: torch.Tensor) -> torch.Tensor:
    """Lengths of rows [N, D], float64 [N]."""
    cut = rows.view(len(rows), parts(rows.shape[1]), -1)
    return torch.linalg.vector_norm(cut, dim=2).double().square_().sum(1).sqrt_()
