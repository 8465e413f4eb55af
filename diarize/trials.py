"""Trials: scores of pairs of which it is known whether they are one speaker, and what follows from them.

Error rates (EER, minDCF), the calibration loss Cllr and its part that no calibration removes, minCllr
(Brümmer and du Preez, "Application-independent evaluation of speaker detection", 2006), and the fit of a
calibration by logistic regression, judged on speakers that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Fitted = TypeVar("Fitted")

P_TARGET = 0.01
"""Of minDCF; both costs are 1."""

FOLDS = 5
"""Parts that the speakers are divided into to judge a calibration."""

KNOWN_TRIALS = 10
"""Trials of each kind that the calibration known before is worth beside new ones."""

MOST_STEPS = 50
"""Of Newton's method, which needs about ten."""


class Curve:
    """False accepts and rejects over every score as a threshold.

    score, target : (n,), of both kinds at least one
    weights : (n,), of each trial within its kind; by default all the same
    """

    def __init__(self, score: Floats, target: Bools, weights: Floats | None = None) -> None:
        self.order = np.argsort(score, kind="stable")
        self.score, self.target = score[self.order], target[self.order]
        self.weights = np.ones(len(score)) if weights is None else weights[self.order]
        # The first of equal scores: what lies before it is rejected, the rest accepted.
        self.first = np.searchsorted(self.score, self.score)

    def rates(self, weights: Floats) -> tuple[Floats, Floats]:
        """Shares of impostors accepted and of targets rejected with each score as the threshold."""
        targets = np.concatenate([[0.0], np.cumsum(np.where(self.target, weights, 0))])
        impostors = np.concatenate([[0.0], np.cumsum(np.where(self.target, 0, weights))])
        accepted = 1 - impostors[:-1][self.first] / impostors[-1]
        return accepted, targets[:-1][self.first] / targets[-1]

    def equal(self, weights: Floats | None = None) -> tuple[float, float]:
        """Equal error rate, and its threshold: the middle of the gap where there is one."""
        accepted, rejected = self.rates(self.weights if weights is None else weights)
        score = self.score
        below = int(np.searchsorted(rejected - accepted, 0, side="left"))  # it never falls with the score
        up_to = int(np.searchsorted(rejected - accepted, 0, side="right"))
        first, last = max(0, below - 1), max(0, up_to - 1)
        near = min(
            (abs(rejected[k] - accepted[k]), (rejected[k] + accepted[k]) / 2)
            for k in {first, last, min(up_to, len(score) - 1)}
        )
        return float(near[1]), float((score[first] + score[last]) / 2)

    def cost(self) -> float:
        """The least normalised detection cost (minDCF)."""
        accepted, rejected = self.rates(self.weights)
        return float(np.min(rejected + accepted * (1 - P_TARGET) / P_TARGET).clip(max=1.0))


def balanced(target: Bools, weights: Floats | None = None) -> Floats:
    """Weights (n,) with which both kinds weigh one half."""
    weights = np.ones(len(target)) if weights is None else weights
    of_targets = float(weights[target].sum())
    of_impostors = float(weights[~target].sum())
    return np.where(target, weights / of_targets, weights / of_impostors) / 2


def cllr(llr: Floats, target: Bools, weights: Floats | None = None) -> float:
    """Calibration loss of log-likelihood ratios (n,), in bits; 1 is what saying nothing (0) costs."""
    loss = np.logaddexp(0, np.where(target, -llr, llr))
    return float((balanced(target, weights) * loss).sum() / np.log(2))


def min_cllr(score: Floats, target: Bools, weights: Floats | None = None) -> float:
    """The least Cllr that any calibration rising with the score gives these trials (isotonic regression)."""
    from scipy.optimize import isotonic_regression
    from scipy.special import xlogy

    weights = balanced(target, weights)
    of = np.unique(score, return_inverse=True)[1].reshape(-1)  # equal scores stay equal
    total, hits = np.bincount(of, weights), np.bincount(of, weights * target)
    used = total > 0
    share = isotonic_regression(hits[used] / total[used], weights=total[used]).x.clip(0, 1)
    hits, total = hits[used], total[used]
    loss = xlogy(hits, share) + xlogy((total - hits).clip(0), 1 - share)
    return max(0.0, float(-loss.sum() / np.log(2)))


def regress(features: Floats, target: Bools, known: Floats, weights: Floats | None = None) -> Floats:
    """Coefficients (k,) whose sums over the features (n, k) are log-likelihood ratios: logistic regression.

    Both kinds weigh the same. A label is what is true mixed with what the ratios known before (n,) say of
    that trial, as if the latter were worth `KNOWN_TRIALS` trials of each kind: a few trials then move what
    was known a little, and trials without an error among them still give finite numbers. (Platt, 1999,
    mixes with one half.)
    """
    count = np.where(target, target.sum(), (~target).sum())
    label = (count * target + KNOWN_TRIALS * logistic(known)) / (count + KNOWN_TRIALS)
    weights = balanced(target, weights)
    found = np.zeros(features.shape[1])
    for _ in range(MOST_STEPS):
        share = logistic(features @ found)
        slope = features.T @ (weights * (label - share))
        bend = (features * (weights * share * (1 - share))[:, None]).T @ features
        step = np.linalg.lstsq(bend + 1e-12 * np.eye(len(found)), slope, rcond=None)[0]
        longest = float(np.abs(features @ step).max())
        found += step * min(1.0, 8 / max(longest, 1e-9))  # far steps overshoot where the loss is flat
        if longest < 1e-8:
            break
    return found


def recalibrate(llr: Floats, target: Bools) -> tuple[float, float]:
    """A factor and a term (scale, offset) with which log-likelihood ratios (n,) fit these trials better."""
    scale, offset = regress(np.stack([llr, np.ones(len(llr))], 1), target, llr)
    return float(scale), float(offset)


def logistic(llr: Floats) -> Floats:
    """Probabilities at even odds of log-likelihood ratios (n,)."""
    return 0.5 * (1 + np.tanh(llr / 2))


def speakers(a: Sequence[int], b: Sequence[int], target: Bools, count: int) -> NDArray[np.int64]:
    """The speaker of each of `count` recordings, (count,): those that targets join are one.

    a, b : (n,) the recordings of each trial. Speakers with the most recordings come first.
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, same in zip(a, b, target, strict=True):
        if same:
            parent[root(i)] = root(j)
    _, of, sizes = np.unique([root(i) for i in range(count)], return_inverse=True, return_counts=True)
    place = np.argsort(np.argsort(-sizes, kind="stable"))
    found: NDArray[np.int64] = place[of.reshape(-1)].astype(np.int64)
    return found


def left_out(
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    fit: Callable[[Bools], Fitted],
    apply: Callable[[Fitted, Bools], Floats],
) -> Floats:
    """Log-likelihood ratios (n,) of trials, each by a fit to trials that share no speaker with it.

    a, b : (n,) the speakers of both sides; speaker s belongs to part s modulo `FOLDS`
    fit : given a mask (n,) of trials, fits them
    apply : given such a fit and a mask, the log-likelihood ratios of those trials
    """
    found = np.full(len(a), np.nan)
    left, right = a % FOLDS, b % FOLDS
    for i, j in combinations_with_replacement(range(FOLDS), 2):
        tried = ((left == i) & (right == j)) | ((left == j) & (right == i))
        if tried.any():
            free = ~np.isin(left, (i, j)) & ~np.isin(right, (i, j))
            found[tried] = apply(fit(free), tried)
    return found
