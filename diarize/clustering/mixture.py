"""Labels made better by a model of voices: a variational Bayesian mixture, one Gaussian a speaker.

Rows of a speaker scatter around the speaker's own mean, means scatter around the recording's, both the same
in every direction; how far, was measured once (`SCATTER`, `SPREAD`). From the labels it starts with, the
mixture alternates between where each speaker is and whose each row is, as long as labels change. What the
rules of spectral clustering need counts and thresholds for comes by itself: a cluster that is too small or
too close to another one for what it explains loses its rows, and rows at the edge of two clusters change
sides. It is the mixture of VBx without the chain over time, which changed nothing here
(docs/decisions/0007). Landini, Profant, Diez, Burget, "Bayesian HMM clustering of x-vector sequences
(VBx)", Computer Speech & Language 71, 2022 (arXiv:2012.14952).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.clustering.affinity import centroids, relabel, scores
from diarize.clustering.linkage import average_linkage

SCATTER = 0.5
"""Squared distance of a window's unit row from its speaker's mean, on average."""

SPREAD = 0.85
"""Squared distance of speakers' means from the recording's, as a multiple of `SCATTER`."""

DEPENDENCE = 16.0
"""Windows that say as much of where a speaker is as one would that resembled no other: neighbours overlap,
and voices drift. 12 to 20 give the same results."""

ITERATIONS = 30
FEWEST = 3
"""Windows that a group needs in order to be tried as a speaker of its own."""

MOST = 1024
"""Rows at most that are looked at together for such groups: there is a matrix over them."""


def refined(
    rows: NDArray[np.float32],
    weights: NDArray[np.float64],
    labels: NDArray[np.int64],
    threshold: float,
    most: int | None = None,
) -> NDArray[np.int64]:
    """Better labels (n,), of as many speakers or fewer or, where rows fit nobody, more.

    rows : (n, E) float32, unit norm
    weights : (n,) windows behind each row
    labels : (n,) 0, 1, ... to begin with
    threshold : rows that score less with their own cluster may be somebody else
    most : speakers at most
    """
    labels = with_strangers(rows, weights, labels, threshold, most)
    count = int(labels.max()) + 1
    if count == 1:
        return labels
    shifted = rows.astype(np.float64) - np.average(rows, axis=0, weights=weights)
    shifted *= np.sqrt(rows.shape[1] / SCATTER)
    shares = np.eye(count)[labels]
    for _ in range(ITERATIONS):
        shares = whose(shifted, weights, shares)
        before, labels = labels, shares.argmax(1)
        if np.array_equal(before, labels):
            break
    return relabel(labels)


def whose(
    shifted: NDArray[np.float64], weights: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One iteration: the probability (n, S) of each speaker for each row, from the last ones.

    shifted : (n, E) rows less their mean, in units of the scatter in one direction
    """
    weighted = shares * weights[:, None]
    sizes = weighted.sum(0)
    variance = 1 / (1 + SPREAD * sizes / DEPENDENCE)  # of each mean, in units of the spread
    means = variance[:, None] / DEPENDENCE * np.sqrt(SPREAD) * (weighted.T @ shifted)
    uncertainty = shifted.shape[1] * variance + (means**2).sum(1)
    with np.errstate(divide="ignore"):
        logs = np.log(sizes / sizes.sum())
    logs = logs + np.sqrt(SPREAD) * (shifted @ means.T) - SPREAD / 2 * uncertainty
    logs -= logs.max(1, keepdims=True)
    found = np.exp(logs)
    return np.asarray(found / found.sum(1, keepdims=True), np.float64)


def with_strangers(
    rows: NDArray[np.float32],
    weights: NDArray[np.float64],
    labels: NDArray[np.int64],
    threshold: float,
    most: int | None,
) -> NDArray[np.int64]:
    """Rows unlike their own cluster that resemble one another, as clusters to be tried; the largest first."""
    own = (rows * centroids(rows, labels, weights)[labels]).sum(1)
    strange = np.flatnonzero(own < threshold)
    strange = np.sort(strange[np.argsort(own[strange], kind="stable")[:MOST]])
    if weights[strange].sum() < FEWEST:
        return labels
    groups = average_linkage(scores(rows[strange]), weights[strange], threshold)
    sizes = np.bincount(groups, weights[strange])
    labels, count = labels.copy(), int(labels.max()) + 1
    for group in np.argsort(-sizes, kind="stable").tolist():
        if sizes[group] < FEWEST or (most is not None and count >= most):
            break
        labels[strange[groups == group]] = count
        count += 1
    return relabel(labels)
