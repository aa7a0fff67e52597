"""The cosine of rows, pair by pair. (Each row with every other: `copies.search`.)"""

import numpy as np


def row_cosines(a: np.ndarray, b: np.ndarray, dtype=None) -> np.ndarray:
    """Cosine float64 [N] of each pair of rows of a and b [N, D]; NaN where one is all zeros.

    Products are summed in `dtype`, by default the rows' own.
    """
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide(np.einsum("nd,nd->n", a, b, dtype=dtype), norms, out=np.full(len(a), np.nan), where=norms > 0)
