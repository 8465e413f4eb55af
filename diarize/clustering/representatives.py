"""A bounded summary of any number of rows: weighted representatives.

Clustering compares every pair of rows, so their number must not grow with the recording. Once `max_rows`
rows are held they are brought down to half as many, each with the number of windows it stands for: rows
join their nearest, the surest first, so what is alike melts together and what is rare stays as it is. A
window keeps the number that its row had when it came; each summary leaves behind where every row went,
so no window is touched again before somebody asks (`index`). That happens at the same window whatever
was pushed how, so a stream and a file compress alike (laws 2 and 10).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize._table import Table
from diarize.clustering.affinity import centroids, relabel

BLOCK = 512
"""Rows whose scores with all others are held at once."""


@dataclass
class Representatives:
    """Rows as they come; exact until `max_rows` of them, summarised beyond."""

    max_rows: int
    rows: list[NDArray[np.float32]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    numbers: Table = field(default_factory=lambda: Table(1))
    moves: list[NDArray[np.int32]] = field(default_factory=list)
    moved_at: list[int] = field(default_factory=list)

    def add(self, row: NDArray[np.float32]) -> None:
        """Add the unit row of one more window."""
        if len(self.rows) >= self.max_rows:
            self._compress()
        self.numbers.append(len(self.rows))
        self.rows.append(row)
        self.weights.append(1.0)

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The rows (m, E) and the windows behind each (m,), m <= max_rows."""
        return np.stack(self.rows), np.asarray(self.weights, np.float64)

    def index(self) -> NDArray[np.int64]:
        """The representative of every window that was added, (n,)."""
        numbers = self.numbers.array()[:, 0]
        found = numbers.copy()
        whole = np.arange(len(self.rows))
        ends = [*self.moved_at, len(numbers)]
        for k in range(len(self.moves) - 1, -1, -1):
            whole = whole[self.moves[k]]  # where the rows of before the k-th summary are now
            begin = ends[k - 1] if k else 0
            found[begin : ends[k]] = whole[numbers[begin : ends[k]]]
        return found

    def _compress(self) -> None:
        rows, weights = self.arrays()
        labels = halved(rows)
        self.rows = list(centroids(rows, labels, weights))
        self.weights = np.bincount(labels, weights).tolist()
        self.moves.append(labels.astype(np.int32))
        self.moved_at.append(len(self.numbers))


def halved(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels (n,) of half as many groups of unit rows (n, E), made by joining rows with their nearest.

    The highest scores join first, of equal ones what comes first in the recording. There are enough of
    them: were all rows joined with their nearest, no group would have fewer than two.
    """
    nearest, score = nearest_rows(rows)
    first = list(range(len(rows)))  # a row's way to the first row of its group

    def group(row: int) -> int:
        while first[row] != row:
            first[row] = row = first[first[row]]
        return row

    joins = len(rows) // 2
    for row in np.argsort(-score, kind="stable").tolist():
        if not joins:
            break
        a, b = sorted((group(row), group(int(nearest[row]))))
        joins -= a != b
        first[b] = a
    return relabel(np.array([group(row) for row in range(len(rows))]))


def nearest_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of n >= 2 rows the other row that scores highest with it, (n,), and the score, (n,)."""
    nearest, score = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    for begin in range(0, len(rows), BLOCK):
        part = np.arange(begin, min(begin + BLOCK, len(rows)))
        scores = rows[part] @ rows.T
        scores[part - begin, part] = -np.inf
        nearest[part] = scores.argmax(1)
        score[part] = scores[part - begin, nearest[part]]
    return nearest, score
