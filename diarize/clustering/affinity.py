"""Scores between embeddings: cosines, and what is read off them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.engine import unit


def scores(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of every pair of unit rows, (n, n) float64, exactly symmetric, in [-1, 1].

    BLAS may round (i, j) and (j, i) differently, so the upper half is copied to the lower one.
    """
    rows = np.asarray(rows, np.float64)
    matrix = np.triu(rows @ rows.T)
    matrix += np.triu(matrix, 1).T
    return np.clip(matrix, -1.0, 1.0, out=matrix)


def centroids(
    rows: NDArray[np.floating], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Weighted mean direction of each label 0..k-1, (k, E) float32 unit rows."""
    count = int(labels.max()) + 1
    sums = np.zeros((count, rows.shape[1]), np.float64)
    np.add.at(sums, labels, rows * weights[:, None])
    return unit(sums)


def relabel(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same partition numbered 0, 1, ... in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
