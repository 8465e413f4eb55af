"""The settled side of a stream: speech probabilities to rows that wait for all the look-ahead they can use.

It does not know the latency, so what it holds after the last sample is what a file gives. Clustered, it
is the result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from diarize._table import Table
from diarize.clustering import cluster
from diarize.clustering.representatives import Representatives
from diarize.config import Bounds, Config
from diarize.enrolment import KnownVoice, recognise
from diarize.kept import THOUSANDTHS, Kept, Labelling
from diarize.resampling import SAMPLE_RATE
from diarize.result import Diarization, Match, next_name
from diarize.stages.boundaries import overlaps
from diarize.stages.items import FRAME, Region, Voices, Window
from diarize.stages.regions import Regions, RegionsState
from diarize.stages.windows import Windows, WindowsState

Threshold = Callable[[float, float], float]
"""The score from which two pieces of speech, of so many seconds, are one speaker."""


@dataclass
class SettledState:
    """Where the settled side of one stream is.

    rows : of the windows found so far
    regions_found, pauses_found, windows_found : start, end; start, end; start, end, region
    speech_found : of each window, those still to be embedded included, the mean probability of speech
    recent : probabilities of the last frames, from number `recent_from` on
    voices_found : start, end, count
    """

    rows: Representatives
    regions: RegionsState = field(default_factory=RegionsState)
    windows: WindowsState = field(default_factory=WindowsState)
    regions_found: Table = field(default_factory=lambda: Table(2))
    pauses_found: Table = field(default_factory=lambda: Table(2))
    windows_found: Table = field(default_factory=lambda: Table(3))
    speech_found: Table = field(default_factory=lambda: Table(1))
    recent: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    recent_from: int = 0
    voices_found: Table = field(default_factory=lambda: Table(3))

    @classmethod
    def new(cls, config: Config, bounds: Bounds) -> SettledState:
        """Nothing heard yet; room for the rows of every speaker asked for (law 7)."""
        return cls(Representatives(max(config.clustering.max_rows, 2 * bounds.low)))


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

    def result(
        self, duration: float, uri: str, known: Sequence[KnownVoice] = (), one_to_one: bool = True
    ) -> Diarization:
        """Cluster all rows, place the turns, give known voices their names.

        one_to_one : each known voice is one speaker at most; else speakers that are one voice become one,
            unless fewer than asked for would be left (law 7)
        """
        kept = self.kept(duration, uri)
        now, matches = self._named(kept, known, one_to_one)
        return replace(replace(kept, now=now).result(), matches=matches)

    def kept(self, duration: float, uri: str) -> Kept:
        """The windows and their rows, clustered; their labels have numbers for names."""
        table = self.state.windows_found.array()
        heard = self._heard(table)
        rows, weights, index = self._rows(heard)
        threshold = self._threshold(table[heard])
        labels = cluster(rows, weights, self.config.clustering, threshold, self.bounds)
        names = [str(label) for label in range(int(labels.max(initial=-1)) + 1)]
        both = overlaps(Voices(*row) for row in self.state.voices_found.array().tolist())
        return Kept(
            uri=uri,
            duration=duration,
            model=self.config.model,
            overlap=self.config.overlap,
            threshold=threshold,
            regions=self.state.regions_found.array(),
            pauses=self.state.pauses_found.array(),
            windows=table[heard],
            speech=self.state.speech_found.array()[: len(heard)][heard, 0],
            rows=rows,
            index=index,
            overlaps=np.array(both, np.int64).reshape(-1, 2),
            now=Labelling.found(labels[index], names),
        )

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
        if not heard.any():
            return np.zeros((0, 0), np.float32), np.zeros(0), np.zeros(0, np.int64)
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
        for pause in self.regions.filled():
            self.state.pauses_found.append(*pause)
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

    def _threshold(self, windows: NDArray[np.int64]) -> float:
        """For two windows exactly what `verify` uses; for more, that of two whole windows."""
        seconds = [self.config.windows.length_s] * 2
        if len(windows) == 2:
            seconds = ((windows[:, 1] - windows[:, 0]) / SAMPLE_RATE).tolist()
        return self.threshold(*seconds)

    def _named(
        self, kept: Kept, known: Sequence[KnownVoice], one_to_one: bool
    ) -> tuple[Labelling, dict[str, Match]]:
        """The labels with names, in order of first appearance, those of one name made one; who is who."""
        seconds: dict[int, float] = {}
        for span in kept.spans:
            seconds[span.label] = seconds.get(span.label, 0.0) + (span.end - span.start) / SAMPLE_RATE
        found = recognise(
            {label: kept.means[label] for label in seconds},
            seconds,
            known,
            self.threshold,
            one_to_one=one_to_one,
            least=self.bounds.low,
        )
        names: dict[int, str] = {}
        matches: dict[str, Match] = {}
        taken = {voice.name for voice in known}
        for label in (*seconds, *range(len(kept.now.names))):  # the last ones have no moment alone
            if label in names:
                continue
            match = found.get(label)
            names[label] = match.name if match and match.recognised else next_name(taken)
            taken.add(names[label])
            if match:  # of speakers who become one, the least sure
                matches[names[label]] = min(
                    match, matches.get(names[label], match), key=lambda m: m.score - m.threshold
                )
        people = list(dict.fromkeys(names[label] for label in range(len(names))))
        joined = np.array([people.index(names[label]) for label in range(len(names))], np.int64)
        return replace(kept.now, labels=joined[kept.now.labels], names=tuple(people)), matches
