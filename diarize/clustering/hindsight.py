"""What a live stream sees afterwards of the speakers it named: who was somebody else all along.

Somebody new gets a name on a second or two of speech, and a name that was given stays. But what follows can
be labelled better than what came before: from time to time the windows labelled so far are clustered as those
of a file are. Each cluster is the speaker's who has most of it, one to one. Who is left without a cluster was
another one's voice and is set aside: nothing joins them any more, unless somebody new sounds like them.

Unlike the `representatives` of a result no window remembers its row, so that what is held does not grow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize.clustering import cluster
from diarize.clustering.affinity import centroids
from diarize.clustering.representatives import halved
from diarize.config import Bounds, ClusteringConfig

MAX_ROWS = 512
"""Rows that are held, the means of several when there are more; 256 to 4096 do about as well."""

FIRST, LEAST, GROWTH = 75, 25, 0.1
"""Windows, of .4 s each in long regions, before the first look back; and before the next one, as a share of
those so far if that is more. 50 to 100, 25 to 50, and up to .2 do about as well."""


@dataclass
class Hindsight:
    """Windows that were labelled.

    rows : of one window each (E,), or the means of several
    votes : how many windows of each label are behind each row
    heard, due : windows so far, and at the next look back
    """

    rows: list[NDArray[np.float32]] = field(default_factory=list)
    votes: list[dict[int, int]] = field(default_factory=list)
    heard: int = 0
    due: int = FIRST

    def add(self, row: NDArray[np.float32], label: int) -> bool:
        """One more window; returns whether it is time to look back."""
        if len(self.rows) >= MAX_ROWS:
            self._summarise()
        self.rows.append(row)
        self.votes.append({label: 1})
        self.heard += 1
        if self.heard < self.due:
            return False
        self.due += max(LEAST, int(GROWTH * self.due))
        return True

    def look_back(
        self, enrolled: Collection[int], config: ClusteringConfig, threshold: float, bounds: Bounds
    ) -> dict[int, int]:
        """Which labels were somebody else's voice by all that was heard, and whose; their windows are now.

        enrolled : labels of voices known beforehand, who are nobody else
        bounds : the count that was asked for, if any
        """
        clusters = cluster(np.stack(self.rows), self._weights(), config, threshold, bounds)
        labels = 1 + max(label for votes in self.votes for label in votes)
        common = np.zeros((labels, int(clusters.max()) + 1), np.int64)
        for votes, number in zip(self.votes, clusters.tolist(), strict=True):
            common[list(votes), number] += list(votes.values())
        owner = one_to_one(common)
        taken_for = {
            label: owner[place]
            for label, place in enumerate(common.argmax(1).tolist())
            if place in owner
            and common[label, place]
            and label not in owner.values()
            and label not in enrolled
        }
        self.votes = [_counted((taken_for.get(k, k), n) for k, n in votes.items()) for votes in self.votes]
        return taken_for

    def _weights(self) -> NDArray[np.float64]:
        return np.array([sum(votes.values()) for votes in self.votes], np.float64)

    def _summarise(self) -> None:
        rows = np.stack(self.rows)
        groups = halved(rows)
        self.rows = list(centroids(rows, groups, self._weights()))
        behind: list[list[tuple[int, int]]] = [[] for _ in self.rows]
        for votes, group in zip(self.votes, groups.tolist(), strict=True):
            behind[group] += votes.items()
        self.votes = [_counted(votes) for votes in behind]


def _counted(votes: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Labels with the sums of their counts."""
    sums: dict[int, int] = {}
    for label, count in votes:
        sums[label] = sums.get(label, 0) + count
    return sums


def one_to_one(common: NDArray[np.int64]) -> dict[int, int]:
    """Which row each column belongs to: pairs of a row and a column, the highest counts first.

    common : (rows, columns) counts; none belongs where the count is 0

    The best pairs in sum, as elsewhere, do as well, but importing scipy for them would hold up a push.
    """
    owner: dict[int, int] = {}
    for place in np.argsort(-common, axis=None, kind="stable").tolist():
        row, column = divmod(place, common.shape[1])
        if not common[row, column]:
            break
        if column not in owner and row not in owner.values():
            owner[column] = row
    return owner
