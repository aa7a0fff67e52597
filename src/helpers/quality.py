"""How good generated sound is as a set: the kernel distance between embeddings of generated and real clips.

A model that makes noise replicates nothing and proves nothing. `tools/codec_curve.py` compares codecs by it.
"""

import numpy as np
from sklearn.metrics.pairwise import polynomial_kernel


def kernel_distance(made: np.ndarray, real: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of embeddings [N, E] and [M, E], with a cubic kernel.

    Source: the kernel inception distance of Bińkowski et al. (2018), on any embedding: k(x, y) = (x·y / E + 1)³. Zero in
    expectation for two samples of one distribution, so it can come out slightly negative; unlike Fréchet distances it
    does not depend on the sample size. Embeddings of unit length are scaled to length sqrt(E), as x·y / E is meant for
    coordinates of variance one. Raises ValueError for sets of different dimension, below two members, or not finite.
    """
    made, real = np.asarray(made, np.float64), np.asarray(real, np.float64)
    if made.ndim != 2 or real.ndim != 2 or made.shape[1] != real.shape[1] or min(len(made), len(real)) < 2:
        raise ValueError(f"embeddings: expected [N >= 2, E] and [M >= 2, E], got shapes {made.shape} and {real.shape}")
    if not (np.isfinite(made).all() and np.isfinite(real).all()):
        raise ValueError("embeddings: expected finite numbers, got NaN or infinity")
    size = made.shape[1]
    made, real = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12) * np.sqrt(size) for x in (made, real))
    within = [polynomial_kernel(x, degree=3, gamma=1 / size, coef0=1) for x in (made, real)]
    between = polynomial_kernel(made, real, degree=3, gamma=1 / size, coef0=1)
    means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in within]
    return float(sum(means) - 2 * between.mean())
