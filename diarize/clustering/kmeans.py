"""k-means, seeded: the last step of spectral clustering.

A few thousand points in a few dimensions take milliseconds, so the import would be the cost: .8 s for
scikit-learn's, .2 s for scipy's, more than all other clustering of a short file. Greedy k-means++ (Arthur and
Vassilvitskii, "k-means++: the advantages of careful seeding", 2007), Lloyd's iterations, the best of
several starts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STARTS = 10
ITERATIONS = 300
Floats = NDArray[np.float64]


def k_means(points: Floats, count: int, weights: Floats) -> NDArray[np.int64]:
    """Labels (n,) below `count` of points (n, d); a weight is that many equal points.

    Where fewer than `count` points differ, fewer labels are used.
    """
    rng = np.random.default_rng(0)
    best, labels = np.inf, np.zeros(len(points), np.int64)
    for _ in range(STARTS):
        found, inertia = _settled(points, weights, _drawn(points, weights, count, rng))
        if inertia < best:
            best, labels = inertia, found
    return labels


def _drawn(points: Floats, weights: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Points (count, d) to start from, each likely to be far from those before: the best of a few draws."""
    drawn = rng.choice(len(points), 1, p=weights / weights.sum())
    centres = points[drawn]
    nearest = _distances(points, centres)[:, 0]
    while len(centres) < count:
        chance = np.cumsum(nearest * weights)
        drawn = chance.searchsorted(rng.random(2 + int(np.log(count))) * chance[-1]).clip(0, len(points) - 1)
        left = np.minimum(nearest[:, None], _distances(points, points[drawn]))
        best = int((weights @ left).argmin())
        nearest = left[:, best]
        centres = np.concatenate([centres, points[drawn[best], None]])
    return centres


def _settled(points: Floats, weights: Floats, centres: Floats) -> tuple[NDArray[np.int64], float]:
    """Labels after centres and labels have settled, and their inertia; an empty centre stays where it was."""
    count = len(centres)
    labels = np.full(len(points), -1)
    for _ in range(ITERATIONS):
        before, distances = labels, _distances(points, centres)
        labels = distances.argmin(1)
        if np.array_equal(labels, before):
            break
        sizes = np.bincount(labels, weights, count)[:, None]
        sums = np.stack([np.bincount(labels, weights * column, count) for column in points.T], axis=1)
        centres = np.where(sizes > 0, sums / np.where(sizes > 0, sizes, 1), centres)
    return labels, float(weights @ distances.min(1))


def _distances(points: Floats, centres: Floats) -> Floats:
    """Squared distances (n, count)."""
    squares: Floats = (points**2).sum(1)[:, None] + (centres**2).sum(1)
    return np.maximum(squares - 2 * (points @ centres.T), 0.0, out=squares)
