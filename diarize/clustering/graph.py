"""The graph of the strongest scores between rows, as a Laplacian.

Each row keeps its strongest affinities, the graph is symmetrised by the mean and its diagonal cleared,
as 3D-Speaker does it. Scores are made a block of rows at a time and only the kept ones stay, so there is
no matrix of all pairs: 4096 rows are 3 MB of edges where the matrix is 134 MB.

A row may stand for many windows. It counts as that many equal rows: it fills as much of its neighbours'
share, its edges weigh as much, and its windows move as one. Taken for one window each, rows that stand for
hundreds beside rows that stand for one hide the eigengap: in an hour of six voices four were found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DENSE_ROWS = 768
"""Up to this many rows the Laplacian is a dense matrix, for numpy: 50 ms at most, where importing scipy's
sparse solver takes 190."""

BLOCK = 512
"""Rows whose scores with all others are held at once."""

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def strongest(rows: NDArray[np.float32], weights: NDArray[np.float64], windows: float) -> Edges:
    """From which row to which, and the score, for each row's strongest affinities, itself included.

    rows : (n, E) float32, unit norm
    weights : (n,) windows behind each row
    windows : a row keeps as many as it takes to reach these

    Among equal scores those of later rows are kept, as a stable sort would leave them at the end.
    """
    n = len(rows)
    keep = min(n, int(np.ceil(windows / weights.min())))
    found: list[Edges] = []
    for begin in range(0, n, BLOCK):
        scores = rows[begin : begin + BLOCK] @ rows.T
        to = _highest(scores, keep)
        kept = np.take_along_axis(scores, to, axis=1)
        before = np.cumsum(weights[to], axis=1) - weights[to]
        row, rank = np.nonzero(before < windows)
        found.append((begin + row, to[row, rank], kept[row, rank].astype(np.float64)))
    start, end, score = (np.concatenate(part) for part in zip(*found, strict=True))
    return start, end, score


def _highest(scores: NDArray[np.float32], keep: int) -> NDArray[np.int64]:
    """Columns (b, keep) of each row's highest scores (b, n), the highest first, of equal ones the last."""
    least = np.partition(scores, -keep, axis=1)[:, -keep, None]
    chosen = scores >= least
    excess = np.count_nonzero(chosen, axis=1) - keep
    for row in np.flatnonzero(excess):  # more of them tie than there is room for
        chosen[row, np.flatnonzero(scores[row] == least[row])[: excess[row]]] = False
    columns = np.nonzero(chosen)[1].reshape(-1, keep)
    order = np.argsort(np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order[:, ::-1], axis=1)


def laplacian(rows: NDArray[np.float32], weights: NDArray[np.float64], windows: float) -> Any:
    """Unnormalised Laplacian of the graph, (n, n): dense up to `DENSE_ROWS`, a scipy.sparse.csr_array beyond.

    The degree is the sum of |affinity|. With weights W it is W^-1/2 (D - W A W) W^-1/2: its eigenvalues
    are those of the graph in which each row is repeated as often as it weighs, and its eigenvectors,
    divided by the roots of the weights, are the values at the repeated rows.
    """
    n = len(rows)
    start, end, score = strongest(rows, weights, windows)
    other = start != end
    start, end, half = start[other], end[other], score[other] / 2  # the mean of both directions
    degree = np.zeros(n)
    degree += np.bincount(start, np.abs(half) * weights[end], n)
    degree += np.bincount(end, np.abs(half) * weights[start], n)
    edge = half * np.sqrt(weights[start] * weights[end])
    if n <= DENSE_ROWS:
        dense = np.diag(degree)
        dense[start, end] -= edge
        dense[end, start] -= edge
        return dense
    from scipy.sparse import coo_array

    every = np.arange(n)
    values = np.concatenate([degree, -edge, -edge])
    row = np.concatenate([every, start, end]).astype(np.int32)
    column = np.concatenate([every, end, start]).astype(np.int32)
    return coo_array((values, (row, column)), (n, n)).tocsr()
