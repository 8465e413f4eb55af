"""Rows to labels: which windows are the same speaker.

Two rows are one speaker exactly when their score reaches the threshold, and no other rule applies:
that is verification (law 3). More rows are clustered agglomeratively or spectrally; then a mixture, or
rules if they were asked for, settles which clusters are no speakers of their own, all within the count
that was asked for (law 7).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.clustering.affinity import relabel, scores
from diarize.clustering.counting import absorb_small, merge_near, split_to
from diarize.clustering.linkage import average_linkage
from diarize.clustering.mixture import refined
from diarize.clustering.spectral import spectral
from diarize.config import Bounds, ClusteringConfig

__all__ = ["cluster"]


def cluster(
    rows: NDArray[np.float32],
    weights: NDArray[np.float64],
    config: ClusteringConfig,
    threshold: float,
    bounds: Bounds | None = None,
) -> NDArray[np.int64]:
    """Label rows by speaker.

    rows : (n, E) float32, unit norm
    weights : (n,) windows behind each row
    threshold : the score from which two rows are one speaker
    bounds : the count that was asked for, if any; it overrides every rule
    returns : (n,) labels 0, 1, ... in order of first appearance
    """
    n = len(rows)
    if n < 2:
        return np.zeros(n, np.int64)
    bounds = (bounds or Bounds()).within(n)
    if n == 2:
        return average_linkage(
            scores(rows), weights, threshold, min_clusters=bounds.low, max_clusters=bounds.high
        )
    if config.method == "spectral" or (config.method == "auto" and n >= config.spectral_min_windows):
        labels = spectral(
            rows,
            weights=weights,
            min_speakers=bounds.low,
            max_speakers=bounds.high or max(config.eigengap_max, bounds.low),
            keep_fraction=config.keep_fraction,
            keep_min=config.keep_min,
        )
    else:
        labels = average_linkage(
            scores(rows), weights, threshold, min_clusters=bounds.low, max_clusters=bounds.high
        )
    labels = relabel(labels)
    if config.refine == "mixture":
        better = refined(rows, weights, labels, threshold, bounds.high)
        if int(better.max()) + 1 >= bounds.low:
            labels = better
    if weights.sum() >= config.min_cluster_from:
        labels = absorb_small(labels, rows, weights, config.min_cluster_windows, bounds.low)
    labels = merge_near(labels, rows, weights, config.merge_threshold, bounds)
    if int(labels.max()) + 1 < bounds.low:
        labels = split_to(labels, scores(rows), weights, bounds.low)
    return labels
