"""Spectral clustering on a pruned graph of scores, as 3D-Speaker does it.

The eigenvectors of the smallest eigenvalues of the graph's Laplacian (`diarize.clustering.graph`) are
clustered by k-means. The count is where the eigenvalues jump most (eigengap): k nearly separate groups
have k eigenvalues near zero.
von Luxburg, "A Tutorial on Spectral Clustering", 2007 (arXiv:0711.0189).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.clustering.graph import DENSE_ROWS, laplacian
from diarize.clustering.kmeans import k_means


def spectrum(matrix: Any, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `count` smallest eigenvalues of a Laplacian, (count,), with their vectors (n, count).

    Groups that nothing joins have an eigenvalue of zero each, and a Lanczos solver overlooks some of many
    equal ones (of 12 it found 10); so it is given one connected component at a time.
    """
    n = matrix.shape[0]
    count = min(count, n)
    if isinstance(matrix, np.ndarray):
        return _smallest(matrix, count)
    from scipy.sparse.csgraph import connected_components

    number, component = connected_components(matrix, directed=False)
    values, vectors = [np.zeros(0)], []
    for members in np.split(np.argsort(component, kind="stable"), np.bincount(component).cumsum()[:-1]):
        part = matrix if number == 1 else matrix[members][:, members]
        value, vector = _smallest(part, min(count, len(members)))
        values.append(value)
        vectors += [(members, column) for column in vector.T]
    every = np.concatenate(values)
    chosen = np.argsort(every, kind="stable")[:count]
    placed = np.zeros((n, count))
    for k, i in enumerate(chosen.tolist()):
        members, column = vectors[i]
        placed[members, k] = column
    return every[chosen], placed


def _smallest(matrix: Any, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `count` smallest eigenvalues, ascending, and vectors of a dense or sparse symmetric matrix."""
    n = matrix.shape[0]
    if n <= DENSE_ROWS:
        values, vectors = np.linalg.eigh(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())
        return values[:count], vectors[:, :count]
    from scipy.sparse.linalg import eigsh

    start = np.random.default_rng(0).standard_normal(n)
    ncv = min(n, 3 * count + 8)
    values, vectors = eigsh(matrix, count, which="SA", v0=start, ncv=ncv, maxiter=100 * n)
    order = values.argsort()
    return values[order], vectors[:, order]


def eigengap(values: NDArray[np.float64], min_speakers: int, max_speakers: int) -> int:
    """The count, within bounds, after which the eigenvalues rise most."""
    high = min(max_speakers, len(values) - 1)
    if high <= min_speakers:
        return min_speakers
    gaps = np.diff(values[min_speakers - 1 : high + 1])
    return min_speakers + int(gaps.argmax())


def spectral(
    rows: NDArray[np.float32],
    *,
    weights: NDArray[np.float64],
    min_speakers: int,
    max_speakers: int,
    keep_fraction: float,
    keep_min: int,
) -> NDArray[np.int64]:
    """Labels (n,) of rows (n, E); their count lies within the bounds or, on duplicate rows, below.

    weights : (n,) windows behind each row; a row of weight 3 is three equal rows
    keep_fraction, keep_min : the share of all windows, and their least number, that a row keeps
    """
    windows = float(weights.sum())
    dropped = max(0.0, min(int((1 - keep_fraction) * windows), windows - keep_min))
    values, vectors = spectrum(laplacian(rows, weights, windows - dropped), max_speakers + 1)
    count = eigengap(values, min_speakers, max_speakers)
    if count == 1:
        return np.zeros(len(rows), np.int64)
    return k_means(vectors[:, :count] / np.sqrt(weights)[:, None], count, weights)
