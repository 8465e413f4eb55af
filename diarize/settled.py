"""The settled side of a stream: speech probabilities to rows that wait for all the look-ahead they can use.

It does not know the latency, so what it holds after the last sample is what a file gives. Clustered, it
is the result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize._table import Table
from diarize.clustering import cluster
from diarize.clustering.affinity import centroids
from diarize.clustering.representatives import Representatives
from diarize.confidence import SECOND, confidence, evidence, margins
from diarize.config import Bounds, Config
from diarize.enrolment import KnownVoice, recognise
from diarize.resampling import SAMPLE_RATE
from diarize.result import Diarization, Turn, next_name, overlapping
from diarize.stages.boundaries import overlaps, seconds, turns
from diarize.stages.items import FRAME, Region, Span, Voices, Window
from diarize.stages.regions import Regions, RegionsState
from diarize.stages.windows import Windows, WindowsState

Threshold = Callable[[float, float], float]
"""The score from which two pieces of speech, of so many seconds, are one speaker."""


THOUSANDTHS = 1000
"""Mean probabilities of speech are kept as whole numbers of these."""


@dataclass
class SettledState:
    """Where the settled side of one stream is.

    rows : of the windows found so far
    regions_found, windows_found : start, end; start, end, region
    speech_found : of each window, those still to be embedded included, the mean probability of speech
    recent : probabilities of the last frames, from number `recent_from` on
    voices_found : start, end, count
    """

    rows: Representatives
    regions: RegionsState = field(default_factory=RegionsState)
    windows: WindowsState = field(default_factory=WindowsState)
    regions_found: Table = field(default_factory=lambda: Table(2))
    windows_found: Table = field(default_factory=lambda: Table(3))
    speech_found: Table = field(default_factory=lambda: Table(1))
    recent: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    recent_from: int = 0
    voices_found: Table = field(default_factory=lambda: Table(3))

    @classmethod
    def new(cls, config: Config, bounds: Bounds) -> SettledState:
        """Nothing heard yet; room for the rows of every speaker asked for (law 7)."""
        return cls(Representatives(max(config.clustering.max_rows, 2 * bounds.low)))


@dataclass(frozen=True, eq=False)
class Clustered:
    """What clustering made of the rows.

    spans : one speaker a moment
    seconds : who else speaks, where two voices are heard
    overlaps : where they are, ``[start, end)``
    embeddings : of each label, (E,)
    evidence : for each span, see `diarize.confidence`; (m, 3)
    """

    spans: list[Span] = field(default_factory=list)
    seconds: list[Span] = field(default_factory=list)
    overlaps: list[tuple[int, int]] = field(default_factory=list)
    embeddings: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    evidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))


class Settled:
    """`push` probabilities, `keep` the rows of the windows that come out, `hear` voices; then the `result`.

    voices : whether voices will be heard; regions without any are then no speech
    """

    def __init__(
        self, config: Config, threshold: Threshold, bounds: Bounds, voices: bool, state: SettledState
    ) -> None:
        self.config = config
        self.threshold = threshold
        self.bounds = bounds
        self.voices = voices
        self.state = state
        self.regions = Regions(config.vad, state.regions)
        self.windows = Windows(config.windows, state.windows)

    @property
    def horizon(self) -> int:
        """Samples before this one are not asked for any more."""
        return self.regions.horizon if self.windows.horizon is None else self.windows.horizon

    def push(self, probabilities: Iterable[float]) -> list[Window]:
        """Speech probabilities of the next frames; returns the windows that are complete."""
        return self._found(self.regions.push(self._hear(probabilities)))

    def finish(self, num_samples: int, probabilities: Iterable[float] = ()) -> list[Window]:
        """As `push`, for the last frames."""
        return self._found(self.regions.finish(num_samples, self._hear(probabilities)))

    def keep(self, embedded: Iterable[tuple[Window, NDArray[np.float32]]]) -> None:
        """Windows with their unit rows (E,), in order."""
        for window, row in embedded:
            self.state.windows_found.append(window.start, window.end, window.region)
            self.state.rows.add(row)

    def hear(self, voices: Iterable[Voices]) -> None:
        """How many voices are heard at once, in order."""
        for piece in voices:
            self.state.voices_found.append(piece.start, piece.end, piece.count)

    def fork(self) -> Settled:
        """A copy, to see what would come out if the stream ended now; the further, the dearer."""
        return Settled(self.config, self.threshold, self.bounds, self.voices, copy.deepcopy(self.state))

    def result(self, duration: float, uri: str, known: Sequence[KnownVoice] = ()) -> Diarization:
        """Cluster all rows, place the turns, give known voices their names."""
        found = self.clustered()
        names = self._names(found.spans, found.embeddings, known)
        sure = confidence(self.config.model, found.evidence)
        alone = as_turns(found.spans, names, sure)
        beside = as_turns(found.seconds, names, [SECOND.get(self.config.model)] * len(found.seconds))
        return Diarization(
            tuple(overlapping([*alone, *beside]) if beside else alone),
            duration,
            uri,
            {name: found.embeddings[label] for label, name in names.items()},
            overlaps=tuple((start / SAMPLE_RATE, end / SAMPLE_RATE) for start, end in found.overlaps),
            alone=tuple(alone),
        )

    def clustered(self) -> Clustered:
        """The spans of all rows, by label, and what speaks for each."""
        table = self.state.windows_found.array()
        heard = self._heard(table)
        windows = [Window(*row) for row in table[heard].tolist()]
        if not windows:
            return Clustered()
        rows, weights, index = self._rows(heard)
        labels = cluster(rows, weights, self.config.clustering, self._threshold(windows), self.bounds)
        means = centroids(rows, labels, weights)
        regions = [Region(*row) for row in self.state.regions_found.array().tolist()]
        scores = np.asarray(rows, np.float64) @ np.asarray(means, np.float64).T
        spans = turns(regions, windows, labels[index].tolist(), scores[index])
        speech = self.state.speech_found.array()[: len(heard)][heard, 0] / THOUSANDTHS
        sure = evidence(spans, windows, labels[index], margins(scores, labels)[index], speech)
        both = overlaps(Voices(*row) for row in self.state.voices_found.array().tolist())
        others = seconds(spans, both) if self.config.overlap == "assign" else []
        return Clustered(spans, others, both, dict(enumerate(means)), sure)

    def _heard(self, windows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the windows (n, 3) lie in regions where voices are heard, (n,).

        All of them where voices are not listened for, or where fewer would be left than speakers asked for.
        """
        everything = np.ones(len(windows), bool)
        if not self.voices:
            return everything
        voices, regions = self.state.voices_found.array(), self.state.regions_found.array()
        # Voices from the first that ends after a region begins, to the last that begins before it ends.
        first = np.searchsorted(voices[:, 1], regions[:, 0], side="right")
        last = np.searchsorted(voices[:, 0], regions[:, 1], side="left")
        heard = np.isin(windows[:, 2], regions[first < last, 0])
        asked = self.bounds.low if self.bounds != Bounds() else 0
        return heard if heard.sum() >= asked else everything

    def _rows(
        self, heard: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        """Rows, the windows behind each, and which row is that of each window, of some of the windows."""
        rows, weights = self.state.rows.arrays()
        index = self.state.rows.index()
        if heard.all():
            return rows, weights, index
        used, index = np.unique(index[heard], return_inverse=True)
        return rows[used], np.bincount(index).astype(np.float64), index

    def _found(self, regions: list[Region]) -> list[Window]:
        for region in regions:
            if region.closed:
                self.state.regions_found.append(region.start, region.end)
        windows = self.windows.push(regions)
        state = self.state
        for window in windows:
            first = window.start // FRAME - state.recent_from
            heard = state.recent[first : -(-window.end // FRAME) - state.recent_from]
            state.speech_found.append(round(THOUSANDTHS * float(heard.mean())))
        past = max(0, self.horizon // FRAME - state.recent_from)
        state.recent, state.recent_from = state.recent[past:].copy(), state.recent_from + past
        return windows

    def _hear(self, probabilities: Iterable[float]) -> list[float]:
        """Remember probabilities until the windows in them are known."""
        heard = list(probabilities)
        self.state.recent = np.concatenate([self.state.recent, np.asarray(heard, np.float32)])
        return heard

    def _threshold(self, windows: Sequence[Window]) -> float:
        """For two windows exactly what `verify` uses; for more, that of two whole windows."""
        seconds = [self.config.windows.length_s] * 2
        if len(windows) == 2:
            seconds = [(window.end - window.start) / SAMPLE_RATE for window in windows]
        return self.threshold(*seconds)

    def _names(
        self,
        spans: Sequence[Span],
        embeddings: Mapping[int, NDArray[np.float32]],
        known: Sequence[KnownVoice],
    ) -> dict[int, str]:
        """Names of the labels in order of first appearance."""
        seconds: dict[int, float] = {}
        for span in spans:
            seconds[span.label] = seconds.get(span.label, 0.0) + (span.end - span.start) / SAMPLE_RATE
        recognised = recognise(
            {label: embeddings[label] for label in seconds}, seconds, known, self.threshold
        )
        names: dict[int, str] = {}
        taken = {voice.name for voice in known}
        for label in seconds:
            names[label] = recognised.get(label) or next_name(taken)
            taken.add(names[label])
        return names


def as_turns(
    spans: Iterable[Span],
    names: Mapping[int, str] | Sequence[str],
    confidences: Sequence[float | None] | None = None,
) -> list[Turn]:
    """Spans as turns; `names` gives a label's speaker."""
    spans = list(spans)
    return [
        Turn(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE, names[span.label], confidence)
        for span, confidence in zip(spans, confidences or [None] * len(spans), strict=True)
    ]
