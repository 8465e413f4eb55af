"""A bounded summary of any number of rows: weighted representatives.

Clustering needs every pair of rows, so their number must not grow with the recording. Once
`max_rows` rows are held, average linkage brings them down to half as many, each with the number of
windows it stands for; neighbours in time are mostly one voice, so that is done in parts of `PART`
rows, which costs a third of the time and little memory. A window keeps the number that its row had
when it came; each summary leaves behind where every row went, so no window is touched again before
somebody asks (`index`). That happens at the same window whatever was pushed how, so a stream and a
file compress alike (laws 2 and 10).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize._table import Table
from diarize.clustering.affinity import centroids, scores
from diarize.clustering.linkage import average_linkage

PART = 1024
"""Rows that are summarised together."""


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
        whole = np.arange(self.max_rows)
        ends = [*self.moved_at, len(numbers)]
        for k in range(len(self.moves) - 1, -1, -1):
            whole = whole[self.moves[k]]  # where the rows of before the k-th summary are now
            begin = ends[k - 1] if k else 0
            found[begin : ends[k]] = whole[numbers[begin : ends[k]]]
        return found

    def _compress(self) -> None:
        rows, weights = self.arrays()
        labels, count = np.zeros(len(rows), np.int64), 0
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // PART)):
            half = average_linkage(
                scores(rows[part]), weights[part], -np.inf, min_clusters=-(-len(part) // 2)
            )
            labels[part] = count + half
            count += int(half.max()) + 1
        self.rows = list(centroids(rows, labels, weights))
        self.weights = np.bincount(labels, weights).tolist()
        self.moves.append(labels.astype(np.int32))
        self.moved_at.append(len(self.numbers))
