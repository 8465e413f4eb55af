"""Guards against tuning to noise: a plateau rather than a peak, a gain with its interval, what was not seen.

`diarize.tuning` says how they are used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diarize import scoring
from diarize.config import Config
from diarize.scoring import Overall, Score

TOLERANCE = 0.001
"""Differences of DER that count as none: a tenth of a point."""

DRAWS = 20_000
"""Of the bootstrap."""

FOLDS = 20
"""Parts for cross-validation, at most; with fewer recordings each is a part."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One configuration, judged on every recording.

    axis, value : by which it differs from the trial `against`; empty for the first
    """

    axis: str
    value: str
    config: Config
    scores: tuple[Score, ...]
    against: Trial | None = None

    @cached_property
    def overall(self) -> Overall:
        """All recordings, seconds added first."""
        return scoring.aggregate(self.scores)


@dataclass(frozen=True)
class Gain:
    """By how much a DER is lower than another, .01 for a point; its interval, where there is one."""

    der: float
    low: float | None = None
    high: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low is not None and self.low > 0


def gain(before: Sequence[Score], after: Sequence[Score], comparisons: int = 1) -> Gain:
    """Of the overall DER, with its interval, 95 % for so many comparisons together (Bonferroni).

    The interval is the bootstrap's, paired over recordings, and wider by Student's t, as that of few is too
    narrow (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, arXiv:1411.5279). There is
    none with fewer recordings than are `needed`.
    """
    from scipy.special import ndtri, stdtrit

    der = scoring.aggregate(before).der - scoring.aggregate(after).der
    n = len(before)
    if before is after or spoken(before) < needed(comparisons):
        return Gain(der)
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)

    def ders(scores: Sequence[Score]) -> NDArray[np.float64]:
        wrong, total = (counts @ [[seconds_wrong(one), one.total_s] for one in scores]).T
        found: NDArray[np.float64] = np.where(total > 0, wrong / np.where(total > 0, total, 1), wrong > 0)
        return found

    tail = 0.025 / comparisons
    low, high = np.quantile(ders(before) - ders(after), (tail, 1 - tail))
    wider = math.sqrt(n / (n - 1)) * stdtrit(n - 1, tail) / ndtri(tail)
    return Gain(der, float(der - wider * (der - low)), float(der + wider * (high - der)))


def needed(comparisons: int) -> int:
    """Recordings with reference speech that tell a gain from chance: 6 for one comparison, 11 for 45.

    All of n get better, or all worse, by chance once in 2 ** (n - 1) times; with fewer recordings that
    would be more often than once in twenty searches.
    """
    return 1 + math.ceil(math.log2(20 * comparisons))


def spoken(scores: Sequence[Score]) -> int:
    """Recordings with reference speech."""
    return sum(one.total_s > 0 for one in scores)


def seconds_wrong(score: Score) -> float:
    """Miss, false alarm and confusion."""
    return score.miss_s + score.false_alarm_s + score.confusion_s


def middle(row: Sequence[Trial], now: int, numbers: bool) -> Trial:
    """The trial to choose: number `now` if none is clearly better, else the middle of the best plateau."""
    ders = [trial.overall.der for trial in row]
    best = min(range(len(row)), key=lambda i: (ders[i], abs(i - now)))
    good = [der <= ders[best] + TOLERANCE for der in ders]
    if good[now] or not numbers:
        return row[now if good[now] else best]
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(row) and good[high + 1]:
        high += 1
    return row[(low + high + (now > high)) // 2]


def parts(count: int) -> list[range]:
    """Recordings that are left out together; none for a single one."""
    return [range(first, count, FOLDS) for first in range(min(count, FOLDS))] if count > 1 else []


def lowest_unseen(trials: Sequence[Trial]) -> Overall | None:
    """Each recording by the trial that is best on the others, the first of equals; None for one recording."""
    wrong = np.array([[seconds_wrong(one) for one in trial.scores] for trial in trials])
    found: list[Score] = []
    for part in parts(wrong.shape[1]):
        best = trials[int(np.delete(wrong, part, 1).sum(1).argmin())]
        found += [best.scores[place] for place in part]
    return scoring.aggregate(found) if found else None
