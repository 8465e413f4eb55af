"""How many speakers: bounds that were asked for, and clusters that are no speakers.

Law 7: a count that was asked for is what comes out, whatever the rows. `Bounds` say it; every
rule below stops at them, and `split_to` makes up for a method that fell short of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.clustering.affinity import centroids, relabel, scores
from diarize.clustering.linkage import average_linkage
from diarize.config import Bounds


def absorb_small(
    labels: NDArray[np.int64],
    rows: NDArray[np.float32],
    weights: NDArray[np.float64],
    min_windows: float,
    keep: int,
) -> NDArray[np.int64]:
    """Rows of clusters under `min_windows` windows join the nearest cluster that is not.

    The largest `keep` clusters stay whatever their size; where no cluster is large enough, the
    largest one takes all.
    """
    sizes = np.bincount(labels, weights)
    ranked = np.argsort(-sizes, kind="stable")
    large = [
        int(label) for rank, label in enumerate(ranked) if rank < max(1, keep) or sizes[label] >= min_windows
    ]
    if len(large) == len(sizes):
        return labels
    means = centroids(rows, labels, weights)
    labels = labels.copy()
    for label in sorted(set(range(len(sizes))) - set(large)):
        nearest = large[int((means[large] @ means[label]).argmax())]
        labels[labels == label] = nearest
    return relabel(labels)


def merge_near(
    labels: NDArray[np.int64],
    rows: NDArray[np.float32],
    weights: NDArray[np.float64],
    threshold: float,
    bounds: Bounds,
) -> NDArray[np.int64]:
    """Merge the clusters whose centroids score at least `threshold`, nearest first, within bounds."""
    while (count := int(labels.max()) + 1) > bounds.low:
        means = scores(centroids(rows, labels, weights))
        np.fill_diagonal(means, -np.inf)
        i, j = sorted(int(k) for k in np.unravel_index(means.argmax(), means.shape))
        if means[i, j] < threshold and count <= (bounds.high or count):
            break
        labels = relabel(np.where(labels == j, i, labels))
    return labels


def split_to(
    labels: NDArray[np.int64],
    affinity: NDArray[np.float64],
    weights: NDArray[np.float64],
    count: int,
) -> NDArray[np.int64]:
    """Cut the least coherent clusters in two until there are `count`, duplicate rows included."""
    labels = labels.copy()
    count = min(count, len(labels))
    while (have := int(labels.max()) + 1) < count:
        members = [np.flatnonzero(labels == label) for label in range(have)]
        coherence = [affinity[np.ix_(m, m)].mean() if len(m) > 1 else np.inf for m in members]
        chosen = members[int(np.argmin(coherence))]
        halves = average_linkage(affinity[np.ix_(chosen, chosen)], weights[chosen], -np.inf, min_clusters=2)
        labels[chosen[halves == 1]] = have
    return relabel(labels)
