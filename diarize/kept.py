"""What a result was made from, without its sound: enough to make it again otherwise, in a blink.

    meeting = diarizer("meeting.wav")
    meeting.kept.save("meeting.diarize")
    again = Kept.load("meeting.diarize")
    again.result() == meeting          # and `diarize.corrections` changes who is who in it

A result is the windows' rows with a label for each (`Labelling`), placed between the edges of the regions.
Rows are voices: treat such a file as you treat the recording.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diarize import _saving
from diarize._files import atomic_write
from diarize.clustering.affinity import centroids
from diarize.confidence import SECOND, confidence, evidence, margins
from diarize.errors import DiarizeError, FormatError
from diarize.resampling import SAMPLE_RATE
from diarize.result import Diarization, Turn, overlapping
from diarize.stages.boundaries import seconds, turns
from diarize.stages.items import Region, Span, Window

THOUSANDTHS = 1000
"""Mean probabilities of speech are kept as whole numbers of these."""

NOBODY = -1
"""In `Labelling.said`: nobody speaks there."""


@dataclass(frozen=True, eq=False)
class Labelling:
    """Whose each window is.

    made_by : what made it, for people
    labels : (n,) of the windows, each below the number of names
    names : of the labels
    fixed : (n,) whether somebody said whose the window is, so that nothing moves it
    said : (k, 3) start, end and label, or `NOBODY`, of pieces in which somebody said all there is
    """

    made_by: str
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    fixed: NDArray[np.bool_]
    said: NDArray[np.int64]

    @classmethod
    def found(cls, labels: NDArray[np.int64], names: Sequence[str] = ()) -> Labelling:
        """What clustering found."""
        return cls(
            "diarize",
            labels,
            tuple(names),
            np.zeros(len(labels), np.bool_),
            np.zeros((0, 3), np.int64),
        )


class Groups(NamedTuple):
    """Rows, each with windows of one label: the label, how many windows, and the group of each window."""

    rows: NDArray[np.float32]
    labels: NDArray[np.int64]
    sizes: NDArray[np.float64]
    where: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Kept:
    """Windows, their rows, and whose they are; times in samples at 16 kHz.

    uri, duration : of the recording; seconds
    model, overlap : as configured
    threshold : the score from which two windows are one speaker
    regions : (r, 2) start, end
    pauses : (p, 2) in regions, in which nobody is heard
    windows : (n, 3) start, end, start of its region
    speech : (n,) mean probability of speech, in thousandths
    rows : (m, E) unit rows; a long recording has fewer than windows
    index : (n,) the row of each window
    overlaps : (v, 2) where two voices are heard at once
    now : whose each window is
    before : what that was before corrections, the newest last
    """

    uri: str
    duration: float
    model: str
    overlap: str
    threshold: float
    regions: NDArray[np.int64]
    pauses: NDArray[np.int64]
    windows: NDArray[np.int64]
    speech: NDArray[np.int64]
    rows: NDArray[np.float32]
    index: NDArray[np.int64]
    overlaps: NDArray[np.int64]
    now: Labelling
    before: tuple[Labelling, ...] = ()

    # What follows from it -------------------------------------------------------------------------

    @cached_property
    def groups(self) -> Groups:
        """The rows, each with the windows of one label."""
        count = len(self.now.names)
        pairs, where, sizes = np.unique(
            self.index * count + self.now.labels, return_inverse=True, return_counts=True
        )
        return Groups(self.rows[pairs // count], pairs % count, sizes.astype(np.float64), where)

    @cached_property
    def means(self) -> NDArray[np.float32]:
        """The mean direction of each label's windows, (k, E); 0 for a label without any."""
        rows, labels, sizes = self.groups[:3]
        means = np.zeros((len(self.now.names), rows.shape[1]), np.float32)
        used, inverse = np.unique(labels, return_inverse=True)
        if len(used):
            means[used] = centroids(rows, inverse, sizes)
        return means

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Of each group's row with each label's mean, (g, k)."""
        return np.asarray(self.groups.rows, np.float64) @ np.asarray(self.means, np.float64).T

    @cached_property
    def items(self) -> list[Window]:
        """The windows."""
        return [Window(*row) for row in self.windows.tolist()]

    @cached_property
    def heard(self) -> list[Span]:
        """Who is heard best, by label: one a moment; nobody where somebody said all there is."""
        regions = [Region(*row) for row in self.regions.tolist()]
        said = self.now.said[:, :2].tolist()
        middles = (self.windows[:, 0] + self.windows[:, 1]) // 2
        spoken_for = np.zeros(len(middles), np.bool_)
        for start, end in said:
            spoken_for |= (start <= middles) & (middles < end)
        ours = np.flatnonzero(~spoken_for).tolist()
        scores = self.scores[self.groups.where[ours]]
        windows, labels = [self.items[i] for i in ours], self.now.labels[ours].tolist()
        found = turns(regions, windows, labels, scores, self.pauses.tolist())
        return [*without(found, said)]

    @cached_property
    def spans(self) -> list[Span]:
        """Who speaks, one a moment: who is heard best, and what somebody said."""
        return sorted([*self.heard, *one_a_moment(self.now.said.tolist())], key=lambda span: span.start)

    @cached_property
    def others(self) -> list[Span]:
        """Who speaks besides, where two voices are heard, but where somebody said all there is."""
        if self.overlap != "assign":
            return []
        both = [Span(start, end, 0) for start, end in self.overlaps.tolist()]
        free = [(span.start, span.end) for span in without(both, self.now.said[:, :2].tolist())]
        return seconds(self.spans, free)

    @cached_property
    def evidence(self) -> NDArray[np.float64]:
        """What speaks for each span, see `diarize.confidence`; (s, 3)."""
        nearer = margins(self.scores, self.groups.labels)[self.groups.where]
        return evidence(self.spans, self.items, self.now.labels, nearer, self.speech / THOUSANDTHS)

    @property
    def confidences(self) -> list[float | None]:
        """How likely each span is right: what somebody said, surely."""
        said = {(span.start, span.end) for span in one_a_moment(self.now.said.tolist())}
        found = confidence(self.model, self.evidence)
        return [
            1.0 if (span.start, span.end) in said else p for span, p in zip(self.spans, found, strict=True)
        ]

    def result(self) -> Diarization:
        """The diarization."""
        now = self.now
        if not len(self.windows):
            return Diarization((), self.duration, self.uri, kept=self)
        said = [Span(*row) for row in now.said.tolist() if row[2] != NOBODY]
        alone = as_turns(self.spans, now.names, self.confidences)
        beside = as_turns(self.others, now.names, [SECOND.get(self.model)] * len(self.others))
        beside += as_turns(said, now.names, [1.0] * len(said))
        if said:
            alone = overlapping(alone)
        there = dict.fromkeys(span.label for span in (*self.spans, *self.others, *said))
        return Diarization(
            tuple(overlapping([*alone, *beside]) if beside else alone),
            self.duration,
            self.uri,
            {now.names[label]: self.means[label] for label in there if self.means[label].any()},
            overlaps=tuple((start / SAMPLE_RATE, end / SAMPLE_RATE) for start, end in self.overlaps.tolist()),
            alone=tuple(alone),
            kept=self,
        )

    # Changed and stored ---------------------------------------------------------------------------

    def labelled(self, now: Labelling) -> Kept:
        """The same windows with other labels, and a way back."""
        return replace(self, now=now, before=(*self.before, self.now))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to a file, whole or not at all; returns its path."""
        path = Path(path)
        atomic_write(path, self.to_bytes())
        return path

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return _saving.pack(self, "kept result")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Kept:
        """Read what `save` wrote; nothing in it is executed.

        FormatError for any other file, DiarizeError for one that cannot be read.
        """
        path = Path(path)
        try:
            kept: Kept = _saving.unpack(cls, path.read_bytes(), "kept result")
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from None
        except OSError as error:
            raise DiarizeError(f"{path}: cannot be read: {error.strerror}") from None
        if (wrong := kept.contradiction()) is not None:
            raise FormatError(f"{path}: a damaged kept result: {wrong}")
        return kept

    def contradiction(self) -> str | None:
        """What in it contradicts itself, if anything does."""
        n, m = len(self.windows), len(self.rows)
        shapes: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "regions": (self.regions, (len(self.regions), 2)),
            "pauses": (self.pauses, (len(self.pauses), 2)),
            "windows": (self.windows, (n, 3)),
            "speech": (self.speech, (n,)),
            "index": (self.index, (n,)),
            "overlaps": (self.overlaps, (len(self.overlaps), 2)),
        }
        for number, one in enumerate((*self.before, self.now)):
            shapes |= {
                f"labels {number}": (one.labels, (n,)),
                f"fixed {number}": (one.fixed, (n,)),
                f"said {number}": (one.said, (len(one.said), 3)),
            }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                return f"{name} must be {shape}, got {array.shape}"
        if n == 0:
            return None
        if self.rows.ndim != 2 or not np.isfinite(self.rows).all():
            return f"rows must be finite, (m, E), got {self.rows.shape}"
        if not within(self.index, m):
            return f"there are {m} rows, got the numbers {self.index.min()} to {self.index.max()}"
        for one in (*self.before, self.now):
            if not within(one.labels, len(one.names)) or not within(one.said[:, 2] + 1, len(one.names) + 1):
                return f"there are {len(one.names)} names, and labels beyond them"
        ends = dict(self.regions.tolist())
        if not all(a <= start < end <= ends.get(a, 0) for start, end, a in self.windows.tolist()):
            return "a window lies outside its region"
        if not 0 <= self.duration < np.inf:
            return f"the duration must be seconds, got {self.duration}"
        return None


def within(numbers: NDArray[np.int64], count: int) -> bool:
    """Whether all lie in 0, 1, ... count - 1."""
    return not len(numbers) or bool(numbers.min() >= 0 and numbers.max() < count)


def merged(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pieces in order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(map(tuple, pieces)):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def without(spans: Sequence[Span], pieces: Iterable[tuple[int, int]]) -> Iterable[Span]:
    """Spans, less what of them lies in one of the pieces."""
    cut = merged(pieces)
    first = 0
    for span in spans:
        while first < len(cut) and cut[first][1] <= span.start:
            first += 1
        begin = span.start
        for start, end in cut[first:]:
            if start >= span.end:
                break
            if begin < start:
                yield Span(begin, start, span.label)
            begin = max(begin, end)
        if begin < span.end:
            yield Span(begin, span.end, span.label)


def one_a_moment(said: Iterable[Sequence[int]]) -> list[Span]:
    """Pieces (start, end, label) that may overlap, as spans that do not: who began first goes on."""
    found: list[Span] = []
    last = 0
    for start, end, label in sorted(map(tuple, said)):
        if label != NOBODY and max(start, last) < end:
            found.append(Span(max(start, last), end, label))
            last = end
    return found


def as_turns(
    spans: Iterable[Span],
    names: Sequence[str],
    confidences: Sequence[float | None] | None = None,
) -> list[Turn]:
    """Spans as turns; `names` gives a label's speaker."""
    spans = list(spans)
    return [
        Turn(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE, names[span.label], confidence)
        for span, confidence in zip(spans, confidences or [None] * len(spans), strict=True)
    ]
