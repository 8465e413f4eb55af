"""Small references, parts of a recording to score, and the parts of a score."""

from __future__ import annotations

from pyannote.core import Annotation, Segment, Timeline


def said(*turns: tuple[float, float, str], uri: str = "m") -> Annotation:
    annotation = Annotation(uri=uri)
    for track, (start, end, speaker) in enumerate(turns):
        annotation[Segment(start, end), track] = speaker
    return annotation


def part(*segments: tuple[float, float]) -> Timeline:
    return Timeline([Segment(*s) for s in segments])


def parts_of(one) -> tuple[float, float, float, float]:
    return one.total_s, one.miss_s, one.false_alarm_s, one.confusion_s
