"""Why so many speakers: the numbers behind a count, and what one speaker fewer or one more would do.

The count comes about in two steps: spectral clustering proposes one, where the eigenvalues jump most (short
recordings: average linkage, until no two clusters reach the threshold); then a mixture, or rules, say which
clusters are speakers of their own. `alternatives` cluster the same rows again with the count held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.clustering import cluster
from diarize.clustering.affinity import centroids, scores
from diarize.clustering.graph import laplacian
from diarize.clustering.linkage import average_linkage
from diarize.clustering.spectral import eigengap, spectrum
from diarize.config import Bounds, ClusteringConfig
from diarize.kept import Kept

NEVER = 2.0
"""A score that no two clusters reach."""


@dataclass(frozen=True, slots=True)
class Change:
    """What another count does to a speaker, or to several.

    speakers : who become one, two or more; or the one who is split
    windows : of each of the speakers, or of each of the parts, the largest first
    score : between the two that are nearest, of those that become one or of the parts; a cosine
    """

    speakers: tuple[str, ...]
    windows: tuple[int, ...]
    score: float

    @property
    def splits(self) -> bool:
        """Whether one becomes several, rather than several one."""
        return len(self.speakers) == 1


@dataclass(frozen=True, eq=False)
class Alternative:
    """The same windows with another number of speakers.

    count : that number
    labels : (n,) of the windows; those that go on are numbered as in the result
    changes : who would be one, who would be split
    moved : the share of windows that would change sides besides
    """

    count: int
    labels: NDArray[np.int64]
    changes: tuple[Change, ...]
    moved: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for the number of speakers.

    found : how many there are in the result
    proposed : how many the eigenvalues or the linkage propose
    free : how many there are if no number is asked for, and nothing is corrected
    corrected : whether the result was
    threshold : the score from which two windows are one speaker
    values : (m,) the smallest eigenvalues, ascending; or the scores at which m + 1, m, ... 2 clusters become
        one fewer; empty for one window
    spectral : whether `values` are eigenvalues
    means : (k, k) scores between the speakers' means
    windows : (k,) of each speaker
    alternatives : with one speaker fewer and with one more, where that can be
    """

    found: int
    proposed: int
    free: int
    corrected: bool
    threshold: float
    values: NDArray[np.float64]
    spectral: bool
    means: NDArray[np.float64]
    windows: NDArray[np.int64]
    alternatives: tuple[Alternative, ...]


def evidence(kept: Kept, config: ClusteringConfig | None = None) -> Evidence:
    """The numbers behind a result's count.

    config : how it was clustered
    """
    config = config or ClusteringConfig()
    weights = np.bincount(kept.index, minlength=len(kept.rows)).astype(np.float64)
    used = np.flatnonzero(weights)
    rows, weights = kept.rows[used], weights[used]
    index = np.searchsorted(used, kept.index)  # of each window, among the rows that are used
    labels, names = people(kept)
    count = len(names)
    values, proposed, is_spectral = proposal(rows, weights, config, kept.threshold)

    def clustered(bounds: Bounds) -> NDArray[np.int64]:
        return cluster(rows, weights, config, kept.threshold, bounds)[index]

    others = []
    for other in (count - 1, count + 1):
        if 1 <= other <= len(rows) and count:
            others.append(alternative(other, labels, names, clustered(Bounds(other, other)), rows[index]))
    everything = rows[index]
    means = centroids(everything, labels, np.ones(len(labels))) if count else np.zeros((0, 1), np.float32)
    return Evidence(
        found=count,
        proposed=proposed,
        free=int(clustered(Bounds()).max(initial=-1)) + 1,
        corrected=bool(kept.before),
        threshold=kept.threshold,
        values=values,
        spectral=is_spectral,
        means=scores(means),
        windows=np.bincount(labels, minlength=count),
        alternatives=tuple(others),
    )


def people(kept: Kept) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The windows' labels (n,) and the names, of those who have windows."""
    used, labels = np.unique(kept.now.labels, return_inverse=True)
    return labels.astype(np.int64), tuple(kept.now.names[label] for label in used)


def proposal(
    rows: NDArray[np.float32], weights: NDArray[np.float64], config: ClusteringConfig, threshold: float
) -> tuple[NDArray[np.float64], int, bool]:
    """The values that propose a count, the count, and whether they are eigenvalues; see `Evidence`."""
    n = len(rows)
    if n < 2:
        return np.zeros(0), n, False
    if config.method == "spectral" or (config.method == "auto" and n >= config.spectral_min_windows):
        windows = float(weights.sum())
        dropped = max(0.0, min(int((1 - config.keep_fraction) * windows), windows - config.keep_min))
        values, _ = spectrum(laplacian(rows, weights, windows - dropped), config.eigengap_max + 1)
        return values, eigengap(values, 1, config.eigengap_max), True
    affinity = scores(rows)
    merges = []
    for count in range(min(n, config.eigengap_max), 1, -1):
        labels = average_linkage(affinity, weights, NEVER, max_clusters=count)
        merges.append(nearest(affinity, weights, labels))
    proposed = int(average_linkage(affinity, weights, threshold).max()) + 1
    return np.array(merges), proposed, False


def nearest(affinity: NDArray[np.float64], weights: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The mean score of the two clusters that average linkage would merge next."""
    member = np.eye(int(labels.max()) + 1)[labels] * weights[:, None]
    sizes = member.sum(0)
    between = member.T @ affinity @ member / np.outer(sizes, sizes)
    np.fill_diagonal(between, -np.inf)
    return float(between.max())


def alternative(
    count: int,
    labels: NDArray[np.int64],
    names: tuple[str, ...],
    other: NDArray[np.int64],
    rows: NDArray[np.float32],
) -> Alternative:
    """What becomes of speakers under other labels.

    labels, other : (n,) of the windows, as they are and as they would be
    rows : (n, E) of the windows
    """
    together = np.zeros((len(names), int(other.max()) + 1), np.int64)
    np.add.at(together, (labels, other), 1)
    into, source = together.argmax(1), together.argmax(0)
    changes, explained = [], np.zeros_like(together, bool)
    explained[np.arange(len(names)), into] = True
    explained[source, np.arange(together.shape[1])] = True
    renamed = np.full(together.shape[1], -1)
    for column in range(together.shape[1]):
        joined = np.flatnonzero(into == column)
        if len(joined) > 1:
            changes.append(_change(tuple(names[i] for i in joined), [rows[labels == i] for i in joined]))
    for row, name in enumerate(names):
        parts = [c for c in np.flatnonzero(source == row) if together[row, c]]
        if len(parts) > 1:
            changes.append(_change((name,), [rows[other == c] for c in parts]))
        parts.sort(key=lambda c: -together[row, c])
        if parts:
            renamed[parts[0]] = row
    spare = iter(range(len(names), len(names) + len(renamed)))
    renamed = np.array([label if label >= 0 else next(spare) for label in renamed], np.int64)
    moved = 1 - float(together[explained].sum()) / max(1, int(together.sum()))
    return Alternative(count, renamed[other], tuple(changes), moved)


def _change(speakers: tuple[str, ...], groups: list[NDArray[np.float32]]) -> Change:
    joined = np.concatenate(groups)
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    between = scores(centroids(joined, labels, np.ones(len(labels))))
    np.fill_diagonal(between, -np.inf)
    windows = [len(group) for group in groups]
    if len(speakers) == 1:
        windows.sort(reverse=True)
    return Change(speakers, tuple(windows), float(between.max()))
