"""How sure a turn is: the probability that its speaker speaks for at least half of it.

What speaks for a turn is how much nearer its windows are to their speaker than to the next one, how long it
is, and how sure the VAD was of speech in it. `confidence` makes a probability of these three, by logistic
regression; `benchmarks/confidence.py` fits and measures it (docs/decisions/0008-confidence.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE
from diarize.stages.items import Span, Window

WORTH = {"campplus-zh-en": (-3.7, 5.4, 0.69, 6.2)}
"""Logarithm of the odds that a turn is right: a constant, and what each kind of its evidence is worth."""


SECOND = {"campplus-zh-en": 0.65}
"""The probability that a turn is right of somebody who is heard in it beside somebody else only."""


def confidence(model: str, evidence: NDArray[np.float64]) -> list[float | None]:
    """The probability that a turn is right, for the evidence (m, 3) of each.

    None for models that it was never measured for.
    """
    if model not in WORTH:
        return [None] * len(evidence)
    constant, *worth = WORTH[model]
    odds = constant + evidence @ np.array(worth)
    return [float(p) for p in 1 / (1 + np.exp(-odds))]


def margins(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much each row scores higher with its own speaker than with the next one, (n,).

    scores : (n, k), of each row with each speaker's mean

    Where there is no other speaker: than 0.
    """
    others = scores.copy()
    own = others[np.arange(len(labels)), labels]
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(own - (others.max(1) if others.shape[1] > 1 else 0.0), np.float64)


def evidence(
    spans: Sequence[Span],
    windows: Sequence[Window],
    labels: NDArray[np.int64],
    margins: NDArray[np.float64],
    speech: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What speaks for each span, (m, 3): mean margin, logarithm of its seconds, mean probability of speech.

    windows : in order, with their labels, margins and mean probabilities of speech, all (n,), n > 0

    The means are over the span's windows: those with its label whose middle lies in it, else the nearest one.
    """
    middles = np.array([(window.start + window.end) / 2 for window in windows])
    found = np.empty((len(spans), 3))
    for row, span in zip(found, spans, strict=True):
        first, end = np.searchsorted(middles, (span.start, span.end))
        own = first + np.flatnonzero(labels[first:end] == span.label)
        if not len(own):
            own = np.array([abs(middles - (span.start + span.end) / 2).argmin()])
        row[:] = margins[own].mean(), np.log((span.end - span.start) / SAMPLE_RATE), speech[own].mean()
    return found
