"""How sure a turn is: the probability that its speaker speaks for at least half of it.

What speaks for a turn is how much nearer its windows are to their speaker than to the next one, how long it
is, and how sure the VAD was of speech in it. `diarize.calibration` makes a probability of these three; it
was fitted and is measured by `benchmarks/confidence.py` (docs/decisions/0008-confidence.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE
from diarize.stages.items import Span, Window


def margins(
    rows: NDArray[np.float32], labels: NDArray[np.int64], means: NDArray[np.float32]
) -> NDArray[np.float64]:
    """By how much each row (n, E) scores higher with its own speaker's mean (k, E) than with the next, (n,).

    Where there is no other speaker: than 0.
    """
    scores = np.asarray(rows, np.float64) @ np.asarray(means, np.float64).T
    own = scores[np.arange(len(rows)), labels]
    scores[np.arange(len(rows)), labels] = -np.inf
    others = scores.max(1) if scores.shape[1] > 1 else np.zeros(len(rows))
    return np.asarray(own - others, np.float64)


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
