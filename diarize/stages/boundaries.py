"""Labelled windows to turns: every sample of a region gets one speaker, but for pauses between two.

Inside a region each window owns the samples up to a cut between it and the next one, the first window from
the region's start and the last one to its end, so region edges stay sample-exact. A cut lies in the middle
between a window's end and the next one's start, and where the speaker changes it moves to where the scores
of both speakers would be equal if they changed evenly from the middle of one window to that of the other.
It moves at most `REACH` of the way between them, so no window loses all of its samples, and no label is
lost. Neighbouring pieces of one speaker are joined. A pause that was filled is one person's pause; where the
speaker changes in it, nobody speaks.

Where two voices are heard at once (`diarize.stages.overlap`) the other one is taken to be whose turn is
nearest in time: people speak at once where they take turns. `benchmarks/overlap.py` compares it with voices
(docs/decisions/0009-overlap.md).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from diarize.resampling import SAMPLE_RATE
from diarize.stages.items import Region, Span, Voices, Window

REACH = 0.4
"""How far a cut moves, at most, as a part of the way between the middles of two windows."""

PAD = SAMPLE_RATE // 20
"""Samples at both ends of a pause that stay speech; none to .1 s do about as well."""

SHORTEST = SAMPLE_RATE // 10
"""Samples: shorter overlaps are none, shorter pauses between overlaps are part of them."""


def turns(
    regions: Iterable[Region],
    windows: Sequence[Window],
    labels: Sequence[int],
    scores: NDArray[np.float64],
    pauses: Sequence[tuple[int, int]] = (),
) -> list[Span]:
    """The turns of labelled windows, in order; a region without a window has none.

    regions : closed regions that contain the windows
    windows : n of them, in order of time
    labels : a label for each window
    scores : (n, k), of each window with the speaker of each label
    pauses : ``[start, end)`` in order, in which nobody was heard
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
    return apart(spans, pauses)


def apart(spans: list[Span], pauses: Sequence[tuple[int, int]]) -> list[Span]:
    """Spans, of which two that meet in a pause leave it, less `PAD`, to nobody; none loses all it has.

    spans : in order; those that meet are of two speakers
    """
    starts = [start for start, _ in pauses]
    for k in range(len(spans) - 1):
        one, other = spans[k : k + 2]
        at = bisect_right(starts, one.end) - 1
        if one.end != other.start or at < 0 or one.end > pauses[at][1]:
            continue
        end, start = pauses[at][0] + PAD, pauses[at][1] - PAD
        if one.start < end < start < other.end:
            spans[k : k + 2] = replace(one, end=end), replace(other, start=start)
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


def overlaps(voices: Iterable[Voices]) -> list[tuple[int, int]]:
    """Where two voices are heard at once, ``[start, end)`` in order; no shorter ones than `SHORTEST`."""
    found: list[tuple[int, int]] = []
    for piece in voices:
        if piece.count < 2:
            continue
        if found and piece.start - found[-1][1] < SHORTEST:
            found[-1] = (found[-1][0], piece.end)
        else:
            found.append((piece.start, piece.end))
    return [(start, end) for start, end in found if end - start >= SHORTEST]


def seconds(spans: Sequence[Span], overlaps: Iterable[tuple[int, int]]) -> list[Span]:
    """Who speaks besides the speaker of each moment: the other one whose turn is nearest in time.

    spans : in order, one speaker a moment
    overlaps : in order; what lies outside the spans is nobody's, and a lone speaker has no second
    """
    before = [*previous_others(spans)]
    after = [*previous_others(spans[::-1])][::-1]
    found: list[Span] = []
    first = 0
    for start, end in overlaps:
        while first < len(spans) and spans[first].end <= start:
            first += 1
        for k in range(first, len(spans)):
            if spans[k].start >= end:
                break
            a, b = max(start, spans[k].start), min(end, spans[k].end)
            near = [(a - other.end, other.label) for other in before[k : k + 1] if other]
            near += [(other.start - b, other.label) for other in after[k : k + 1] if other]
            if near:
                found.append(Span(a, b, min(near, key=lambda choice: choice[0])[1]))
    return found


def previous_others(spans: Sequence[Span]) -> Iterator[Span | None]:
    """For each span the last one before it of another speaker."""
    other: Span | None = None
    for last, span in pairwise([None, *spans]):
        if span is None:
            continue
        if last is not None and last.label != span.label:
            other = last
        yield other
