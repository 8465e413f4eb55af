"""Labelled windows to turns: every sample of speech gets one speaker.

Inside a region each window owns the samples up to the middle between its end and the next window's
start, the first one from the region's start and the last one to its end, so region edges stay
sample-exact and no label is lost. Neighbouring pieces of one speaker are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from diarize.stages.items import Region, Span, Window


def turns(regions: Iterable[Region], windows: Sequence[Window], labels: Sequence[int]) -> list[Span]:
    """The turns of labelled windows, in order; a region without a window has none.

    regions : closed regions that contain the windows
    windows : in order of time
    labels : a label for each window
    """
    ends = {region.start: region.end for region in regions}
    spans: list[Span] = []
    for start, group in groupby(zip(windows, labels, strict=True), key=lambda item: item[0].region):
        owned = list(group)
        cuts = [(a.end + b.start) // 2 for (a, _), (b, _) in pairwise(owned)]
        edges = [start, *cuts, ends[start]]
        for (begin, end), (_, label) in zip(pairwise(edges), owned, strict=True):
            last = spans[-1] if spans else None
            if last and last.label == label and last.end == begin:
                spans[-1] = Span(last.start, end, label)
            else:
                spans.append(Span(begin, end, int(label)))
    return spans
