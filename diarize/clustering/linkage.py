"""Average-linkage agglomerative clustering of weighted rows, stopped by a score and by a count.

The score of two clusters is the weighted mean score of their pairs of rows. The best pair merges
while its score is at least the threshold (a tie merges), and the count stays within its bounds.
Rows may be seeds, clusters that are known to differ: they take other rows in and never merge with one
another. scikit-learn's and scipy's work on distances, where 1 - x breaks ties, know neither weights nor
seeds, and give fewer clusters than asked for on duplicate rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.clustering.affinity import relabel


def average_linkage(
    affinity: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold: float,
    *,
    min_clusters: int = 1,
    max_clusters: int | None = None,
    seeds: int = 0,
) -> NDArray[np.int64]:
    """Cluster rows from their scores.

    affinity : (n, n) scores, symmetric
    weights : (n,) windows behind each row, > 0
    threshold : merge at this mean score or above
    min_clusters, max_clusters : bounds that override the threshold
    seeds : the first so many rows never merge with one another
    returns : (n,) labels 0, 1, ... in order of first appearance, so a seed's label is its index

    Among equal scores the pair that comes first in the recording merges first.
    """
    n = len(affinity)
    labels = np.arange(n)
    score = affinity.astype(np.float64, copy=True)
    np.fill_diagonal(score, -np.inf)
    score[:seeds, :seeds] = -np.inf
    weight = weights.astype(np.float64, copy=True)
    best = score.argmax(1) if n else labels
    best_score = score[labels, best] if n else np.zeros(0)
    clusters = n
    while clusters > max(1, min_clusters):
        i = int(best_score.argmax())
        if best_score[i] < threshold and clusters <= (max_clusters or n):
            break
        if np.isneginf(best_score[i]):  # only seeds are left
            break
        i, j = sorted((i, int(best[i])))
        merged = (weight[i] * score[i] + weight[j] * score[j]) / (weight[i] + weight[j])
        merged[[i, j]] = -np.inf
        merged[np.isneginf(score[i])] = -np.inf  # so stay rows merged away, and a seed's other seeds
        weight[i] += weight[j]
        score[i] = score[:, i] = merged
        score[j] = score[:, j] = -np.inf
        labels[labels == j] = i
        clusters -= 1
        # Only rows whose best partner was i or j can have lost it; any row may have gained i.
        stale = np.flatnonzero((best == i) | (best == j))
        for row in {i, *stale.tolist()}:
            best[row] = score[row].argmax()
            best_score[row] = score[row, best[row]]
        gained = merged > best_score
        best[gained], best_score[gained] = i, merged[gained]
        best_score[j] = -np.inf
    return relabel(labels)
