"""Labelled windows to turns: every sample of speech gets one speaker.

Inside a region each window owns the samples up to a cut between it and the next one, the first window from
the region's start and the last one to its end, so region edges stay sample-exact. A cut lies in the middle
between a window's end and the next one's start, and where the speaker changes it moves to where the scores
of both speakers would be equal if they changed evenly from the middle of one window to that of the other.
It moves at most `REACH` of the way between them, so no window loses all of its samples, and no label is
lost. Neighbouring pieces of one speaker are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from diarize.stages.items import Region, Span, Window

REACH = 0.4
"""How far a cut moves, at most, as a part of the way between the middles of two windows."""


def turns(
    regions: Iterable[Region],
    windows: Sequence[Window],
    labels: Sequence[int],
    scores: NDArray[np.float64],
) -> list[Span]:
    """The turns of labelled windows, in order; a region without a window has none.

    regions : closed regions that contain the windows
    windows : n of them, in order of time
    labels : a label for each window
    scores : (n, k), of each window with the speaker of each label
    """
    ends = {region.start: region.end for region in regions}
    spans: list[Span] = []
    for start, group in groupby(zip(windows, labels, scores, strict=True), key=lambda item: item[0].region):
        owned = list(group)
        edges = [start, *(cut(*one, *other) for one, other in pairwise(owned)), ends[start]]
        for (begin, end), (_, label, _) in zip(pairwise(edges), owned, strict=True):
            last = spans[-1] if spans else None
            if last and last.label == label and last.end == begin:
                spans[-1] = Span(last.start, end, label)
            else:
                spans.append(Span(begin, end, int(label)))
    return spans


def cut(
    a: Window,
    a_label: int,
    a_scores: NDArray[np.float64],
    b: Window,
    b_label: int,
    b_scores: NDArray[np.float64],
) -> int:
    """The sample where window `a` gives way to the next one, `b`."""
    middle = (a.end + b.start) // 2
    lead = float(a_scores[a_label] - a_scores[b_label])  # of a's speaker, in a
    lag = float(b_scores[b_label] - b_scores[a_label])  # of b's speaker, in b
    if a_label == b_label or lead + lag <= 0:
        return middle
    move = min(max(lead / (lead + lag) - 0.5, -REACH), REACH)
    return middle + round(move * ((b.start + b.end) - (a.start + a.end)) / 2)
