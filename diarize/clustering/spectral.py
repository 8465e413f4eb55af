"""Spectral clustering on a pruned graph of scores, as 3D-Speaker does it.

Each row keeps its strongest affinities; the graph is symmetrised; the eigenvectors of its
unnormalised Laplacian's smallest eigenvalues are clustered by k-means. The count is where the
eigenvalues jump most (eigengap): k nearly separate groups have k eigenvalues near zero.
von Luxburg, "A Tutorial on Spectral Clustering", 2007 (arXiv:0711.0189).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DENSE_ROWS = 1500
"""Up to this many rows the dense eigensolver is quicker than the sparse one."""


def prune(affinity: NDArray[np.float64], keep_fraction: float, keep_min: int) -> NDArray[np.float64]:
    """Keep each row's strongest affinities, symmetrise by the mean, clear the diagonal."""
    n = len(affinity)
    dropped = min(int((1 - keep_fraction) * n), n - keep_min)
    pruned = affinity.copy()
    if dropped > 0:
        weakest = np.argsort(pruned, axis=1, kind="stable")[:, :dropped]
        np.put_along_axis(pruned, weakest, 0.0, axis=1)
    pruned = (pruned + pruned.T) / 2
    np.fill_diagonal(pruned, 0.0)
    return pruned


def spectrum(graph: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `count` smallest eigenvalues of the graph's Laplacian, (count,), with vectors (n, count)."""
    from scipy import linalg, sparse
    from scipy.sparse.linalg import eigsh

    n = len(graph)
    count = min(count, n)
    degree = np.abs(graph).sum(1)
    if n <= DENSE_ROWS:
        values, vectors = linalg.eigh(np.diag(degree) - graph, subset_by_index=(0, count - 1))
    else:
        laplacian = sparse.diags_array(degree) - sparse.csr_array(graph)
        start = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(
            laplacian, count, which="SA", v0=start, ncv=max(6 * count, 100), maxiter=100 * n
        )
        order = values.argsort()
        values, vectors = values[order], vectors[:, order]
    return values, vectors


def eigengap(values: NDArray[np.float64], min_speakers: int, max_speakers: int) -> int:
    """The count, within bounds, after which the eigenvalues rise most."""
    high = min(max_speakers, len(values) - 1)
    if high <= min_speakers:
        return min_speakers
    gaps = np.diff(values[min_speakers - 1 : high + 1])
    return min_speakers + int(gaps.argmax())


def spectral(
    affinity: NDArray[np.float64],
    *,
    min_speakers: int,
    max_speakers: int,
    keep_fraction: float,
    keep_min: int,
) -> NDArray[np.int64]:
    """Labels (n,) from scores (n, n); their count lies within the bounds or, on duplicate rows, below."""
    from sklearn.cluster import k_means

    values, vectors = spectrum(prune(affinity, keep_fraction, keep_min), max_speakers + 1)
    count = eigengap(values, min_speakers, max_speakers)
    if count == 1:
        return np.zeros(len(affinity), np.int64)
    _, labels, _ = k_means(vectors[:, :count], count, random_state=0, n_init=10)
    return np.asarray(labels, np.int64)
