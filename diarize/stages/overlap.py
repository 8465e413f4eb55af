"""How many voices are heard at once: nobody's, one, or two, by the segmentation network.

The network runs over tiles of the audio clock: tile k answers for ``[k TILE, (k + 1) TILE)`` and hears
`MARGIN` more on both sides, less only where the recording begins or ends. A tile in which the VAD never
reaches its onset is left out. So what comes out depends on the samples alone (law 1); a tile is computed
when all of it was heard, beside the caller.

Who they are is not asked of the network: its
speakers are those of one tile, and within twenty seconds it often takes two for one.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diarize.engine import Engine
from diarize.networks.powerset import FIRST_CENTRE, MIN_SAMPLES, POWERSET, STEP
from diarize.resampling import SAMPLE_RATE
from diarize.stages.held import Held
from diarize.stages.items import FRAME, Voices

TILE = 20 * SAMPLE_RATE
"""Samples a tile answers for; 10 to 30 s do about as well."""

MARGIN = SAMPLE_RATE
"""Samples beyond its own that a tile hears on each side."""

UNDER_WAY = 8
"""Tiles that may be under way before the caller waits."""

PROBABLE = (0.5, 0.6)
"""One voice is heard from this probability on, two from that; .4 to .7 do about as well for the DER."""


LOOK = 5 * SAMPLE_RATE
"""Samples that a live decision looks back over, at most, from its latest moment on `LOOK_STEP`."""

LOOK_STEP = SAMPLE_RATE
"""Samples between two such looks; decisions between them share one."""


class Segmenter(Protocol):
    """Samples to the probabilities that somebody speaks, and that two do."""

    def tile(self, samples: NDArray[np.float32]) -> Future[NDArray[np.float32]]:
        """Probabilities (T, 2) that one voice at least and that two are heard, in each frame of a tile (n,).

        Frames are those of `diarize.networks.powerset`; computed beside the caller.
        """
        ...


class PowersetSegmenter:
    """The segmentation network on an engine; one serves any number of streams and threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def tile(self, samples: NDArray[np.float32]) -> Future[NDArray[np.float32]]:
        """See `Segmenter`."""
        return self.engine.submit(self._tile, samples)

    def _tile(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        classes = np.exp(self.engine.segment(samples))
        counts = np.array([sum(voices) for voices in POWERSET])
        return np.stack([classes[:, counts >= least].sum(1) for least in (1, 2)], axis=1)


@dataclass
class OverlapState:
    """Where one stream is.

    frame : VAD frames heard
    tile : the first that has not begun
    speech : whether there is speech, by the VAD, in it and in those after it that began to be heard
    """

    frame: int = 0
    tile: int = 0
    speech: list[bool] = field(default_factory=list)


class Overlap:
    """The stage: probabilities of the VAD in, pieces with voices out, in order of time.

    segmenter : None: nothing is heard, nothing comes out
    onset : the probability from which there is speech
    """

    def __init__(
        self, segmenter: Segmenter | None, onset: float, held: Held, state: OverlapState | None = None
    ) -> None:
        self.segmenter = segmenter
        self.onset = onset
        self.held = held
        self.state = state or OverlapState()
        self.under_way: deque[tuple[int, int, int, Future[NDArray[np.float32]]]] = deque()

    def needed(self, horizon: int) -> int:
        """No sample before this one is needed, nor before `horizon` by others."""
        if self.segmenter is None:
            return horizon
        return min(horizon, self.state.tile * TILE - MARGIN)

    def push(self, probabilities: Iterable[float]) -> list[Voices]:
        """Probabilities of speech in the next frames, whose samples are held; returns what is ready."""
        if self.segmenter is None:
            return []
        self._hear(probabilities)
        while self.held.end >= (self.state.tile + 1) * TILE + MARGIN:
            self._begin(self.segmenter)
        return self._landed(UNDER_WAY)

    def finish(self, probabilities: Iterable[float] = ()) -> list[Voices]:
        """As `push`, for the last frames: everything is computed."""
        if self.segmenter is None:
            return []
        self._hear(probabilities)
        while self.state.tile * TILE < self.held.end:
            self._begin(self.segmenter)
        return self._landed(0)

    def would_be(self) -> list[Voices]:
        """What `finish` would return now; nothing is decided by it."""
        other = copy.copy(self)
        other.state = copy.deepcopy(self.state)
        other.under_way = self.under_way.copy()
        return other.finish()

    def landed(self) -> list[Voices]:
        """What is being computed: wait for it all."""
        return self._landed(0)

    def _hear(self, probabilities: Iterable[float]) -> None:
        state = self.state
        for p in probabilities:
            number = state.frame * FRAME // TILE - state.tile
            state.speech += [False] * (number + 1 - len(state.speech))
            state.speech[number] |= p >= self.onset
            state.frame += 1

    def _begin(self, segmenter: Segmenter) -> None:
        """Begin the next tile, unless nobody speaks in it."""
        state = self.state
        first, last = state.tile * TILE, min((state.tile + 1) * TILE, self.held.end)
        if state.speech.pop(0):
            start, end = max(0, first - MARGIN), min(last + MARGIN, self.held.end)
            samples = self.held.samples(start, end)
            samples = np.pad(samples, (0, max(0, MIN_SAMPLES - len(samples))))
            self.under_way.append((start, first, last, segmenter.tile(samples)))
        state.tile += 1

    def _landed(self, most: int) -> list[Voices]:
        found: list[Voices] = []
        while self.under_way and (len(self.under_way) > most or self.under_way[0][-1].done()):
            start, first, last, future = self.under_way.popleft()
            found += voices(future.result(), start, first, last)
        return found


def look(segmenter: Segmenter, held: Held, end: int) -> list[Voices]:
    """The voices in the last `LOOK` samples before `end`, at once."""
    end = min(end, held.end)
    start = max(0, end - LOOK)
    if end - start < MIN_SAMPLES:
        return []
    return voices(segmenter.tile(held.samples(start, end)).result(), start, start, end)


def voices(probabilities: NDArray[np.float32], start: int, first: int, last: int) -> list[Voices]:
    """The pieces of ``[first, last)`` with one voice or two, of a tile that began at `start`.

    probabilities : (T, 2), see `Segmenter`; a frame answers for the samples nearest to its middle
    """
    counts = (probabilities >= np.array(PROBABLE, np.float32)).sum(1)
    changes = np.flatnonzero(np.diff(counts)) + 1
    edges = start + FIRST_CENTRE - STEP // 2 + STEP * changes
    starts = np.array([start, *edges]).clip(first, last).tolist()
    ends = np.array([*edges, last]).clip(first, last).tolist()
    held = counts[[0, *changes]].tolist()
    return [Voices(a, b, n) for a, b, n in zip(starts, ends, held, strict=True) if n and a < b]
