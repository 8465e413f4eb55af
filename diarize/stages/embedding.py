"""Windows to embeddings, in either of two ways (`windows.embedding`).

**Exact**: each window's own samples through the whole network. A shorter window is repeated until it fills
the standard length, so that the network sees one length and its statistics hold no padding.

**Dense**: the network runs once over a *tile* of the audio clock, and windows are pooled from its frames
(`diarize.networks.campplus` says why that is sound). Tile k is about the windows whose middle lies in
``[k TILE, (k + 1) TILE)`` and holds `MARGIN` more than half a window of audio on both sides, less only
where the recording begins or ends. A window that is alone in its region is embedded exactly: two short
segments are then two rows of verification (law 3).

Either way a row depends on the samples and on its window alone (law 6), never on what was pushed when:
a tile is computed when all of it was heard and no window of it can come any more.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE
from diarize.config import WindowsConfig
from diarize.engine import Engine, unit
from diarize.errors import StreamFinished
from diarize.features import FRAME_LENGTH, FRAME_SHIFT, log_mel, log_mel_moving
from diarize.stages.held import Held
from diarize.stages.items import Window

TILE = 20 * SAMPLE_RATE
"""Samples a tile is about: longer ones gain little time and wait longer."""

MARGIN = 2 * SAMPLE_RATE // 5
"""Samples beyond the windows of a tile that the network sees too."""

STRIDE = 2 * FRAME_SHIFT
"""Samples between the network's frames."""

WAITING = 32
"""Windows that are embedded exactly at a time, or fewer if they wait long: enough to keep every core busy."""

UNDER_WAY = 8
"""Tiles that may be under way before the caller waits: they hold 12 s of audio each."""

Row = NDArray[np.float32]
Samples = tuple[int, int]


class Embedder(Protocol):
    """Samples to unit rows; a row must depend on its own samples only."""

    embedding_size: int

    def __call__(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed n pieces of samples, exactly; returns (n, E) float32, unit norm."""
        ...


class DenseEmbedder(Embedder, Protocol):
    """An embedder that can do many windows of one piece of audio at once."""

    def tile(self, samples: NDArray[np.float32], spans: Sequence[Samples]) -> Future[NDArray[np.float32]]:
        """Rows (n, E) of n spans of a tile, start and end in it; computed beside the caller.

        A row must depend on the tile and on its own span only.
        """
        ...

    def alone(self, samples: NDArray[np.float32]) -> Future[NDArray[np.float32]]:
        """The exact row of one piece, (1, E); computed beside the caller."""
        ...


class CAMPPlusEmbedder:
    """CAM++ on an engine; one serves any number of streams and threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.embedding_size = engine.embedding_size

    def __call__(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed n pieces of samples at 16 kHz; returns (n, E) float32, unit norm."""
        return unit(self.engine.embed([log_mel(piece, self.engine.feature_bins) for piece in pieces]))

    def tile(self, samples: NDArray[np.float32], spans: Sequence[Samples]) -> Future[NDArray[np.float32]]:
        """Rows (n, E) of n spans of a tile; computed on one of the engine's threads."""
        return self.engine.submit(self._tile, samples, spans)

    def alone(self, samples: NDArray[np.float32]) -> Future[NDArray[np.float32]]:
        """The exact row of one piece, (1, E); computed on one of the engine's threads."""
        return self.engine.submit(self._alone, samples)

    def _tile(self, samples: NDArray[np.float32], spans: Sequence[Samples]) -> NDArray[np.float32]:
        frames = self.engine.frames(log_mel_moving(samples, self.engine.feature_bins))
        return unit(self.engine.project(np.stack([pooled(frames, *span) for span in spans])))

    def _alone(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return unit(self.engine.row(log_mel(samples, self.engine.feature_bins))[None])


def pooled(frames: NDArray[np.float32], start: int, end: int) -> NDArray[np.float32]:
    """Mean and standard deviation (2 C,) of the frames (T', C) that lie inside a span of samples."""
    inside = frames[-(-start // STRIDE) : (end - FRAME_LENGTH) // STRIDE + 1]
    return np.concatenate([inside.mean(0), inside.std(0, ddof=1)])


@dataclass
class EmbeddingState:
    """The windows that wait.

    region : of the newest window
    firsts : for each window that waits, whether it is the first of its region
    """

    waiting: list[Window] = field(default_factory=list)
    firsts: list[bool] = field(default_factory=list)
    region: int | None = None
    finished: bool = False


class Embedding:
    """The stage: windows in, ``(window, row)`` out, in the same order."""

    def __init__(
        self, embedder: Embedder, config: WindowsConfig, held: Held, state: EmbeddingState | None = None
    ) -> None:
        self.embedder = embedder
        self.held = held
        self.length = config.length
        self.around = -(-(self.length // 2 + MARGIN) // STRIDE) * STRIDE
        self.dense = config.embedding == "dense" and hasattr(embedder, "tile")
        self.state = state or EmbeddingState()
        self.under_way: deque[tuple[list[Window], Future[NDArray[np.float32]]]] = deque()

    def needed(self, horizon: int) -> int:
        """No sample before this one is needed if no window to come starts before `horizon`."""
        waiting = self.state.waiting
        needed = min(horizon, waiting[0].start) if waiting else horizon
        return min(needed, needed // TILE * TILE - self.around) if self.dense else needed

    def push(self, windows: Sequence[Window], horizon: int, region: int | None) -> list[tuple[Window, Row]]:
        """Windows within the samples heard and not forgotten; returns the rows that are ready.

        horizon : no window to come starts before this sample
        region : the open region, if there is one; it may have more windows
        """
        if self.state.finished:
            raise StreamFinished("this embedding stage")
        self._wait(windows)
        if self.dense:
            self._launch(horizon, region)
        elif self._enough():
            return self._exact(self._taken(len(self.state.waiting)))
        return self._landed(UNDER_WAY)

    def at_once(self, windows: Sequence[Window]) -> list[tuple[Window, Row]]:
        """The exact rows of windows that cannot wait; those that wait are left alone."""
        return self._exact(windows)

    def would_be(self, windows: Sequence[Window]) -> list[tuple[Window, Row]]:
        """The rows of all windows that wait, and of these, if no sample were to come; they go on waiting."""
        other = copy.copy(self)
        other.state = copy.copy(self.state)
        other.state.waiting, other.state.firsts = [*self.state.waiting], [*self.state.firsts]
        other.under_way = self.under_way.copy()
        return other.finish(windows)

    def landed(self) -> list[tuple[Window, Row]]:
        """The rows that are being computed: wait for them all."""
        return self._landed(0)

    def finish(self, windows: Sequence[Window] = ()) -> list[tuple[Window, Row]]:
        """Take the last windows; returns all rows that are left."""
        self._wait(windows)
        self.state.finished = True
        if not self.dense:
            return self._exact(self._taken(len(self.state.waiting)))
        self._launch(None, None)
        return self._landed(0)

    def _enough(self) -> bool:
        """Whether windows have waited long enough to be embedded exactly: their samples are held for them."""
        state = self.state
        return len(state.waiting) >= WAITING or bool(
            state.waiting and self.held.end - state.waiting[0].start > 2 * TILE
        )

    def _wait(self, windows: Sequence[Window]) -> None:
        state = self.state
        for window in windows:
            state.waiting.append(window)
            state.firsts.append(window.region != state.region)
            state.region = window.region

    def _taken(self, count: int) -> list[Window]:
        state = self.state
        taken = state.waiting[:count]
        del state.waiting[:count], state.firsts[:count]
        return taken

    # Dense ---------------------------------------------------------------------------------------

    def _launch(self, horizon: int | None, region: int | None) -> None:
        """Begin the tiles that are complete; without a horizon, all of them: nothing more will come."""
        state = self.state
        for number, group in [(k, len(list(g))) for k, g in groupby(state.waiting, tile_of)]:
            end = (number + 1) * TILE
            if horizon is not None and (
                horizon < end or self.held.end < end + self.around or self._undecided(group, region)
            ):
                return
            alone = list(self._alone(group))
            windows = self._taken(group)
            self._begin(number, windows, alone)

    def _undecided(self, count: int, region: int | None) -> bool:
        """Whether the last of the first `count` windows may or may not stay alone in its region."""
        state = self.state
        return len(state.waiting) == count and state.firsts[count - 1] and state.waiting[-1].region == region

    def _alone(self, count: int) -> Iterator[bool]:
        """For each of the first `count` windows that wait, whether it is alone in its region."""
        state = self.state
        for i in range(count):
            last = i + 1 == len(state.waiting) or state.firsts[i + 1]
            yield state.firsts[i] and last

    def _begin(self, number: int, windows: list[Window], alone: list[bool]) -> None:
        embedder = cast(DenseEmbedder, self.embedder)
        start = max(0, number * TILE - self.around)
        end = min((number + 1) * TILE + self.around, self.held.end)
        tile = self.held.samples(start, end)
        for by_itself, pairs in groupby(zip(windows, alone, strict=True), lambda pair: pair[1]):
            some = [window for window, _ in pairs]
            if by_itself:
                self.under_way += [([window], embedder.alone(self._piece(window))) for window in some]
            else:
                spans = [(window.start - start, window.end - start) for window in some]
                self.under_way.append((some, embedder.tile(tile, spans)))

    def _landed(self, most: int) -> list[tuple[Window, Row]]:
        """The rows that are here, in order; waits until no more than `most` tiles are under way."""
        rows: list[tuple[Window, Row]] = []
        while self.under_way and (len(self.under_way) > most or self.under_way[0][1].done()):
            windows, future = self.under_way.popleft()
            rows += zip(windows, future.result(), strict=True)
        return rows

    # Exact ---------------------------------------------------------------------------------------

    def _exact(self, windows: Sequence[Window]) -> list[tuple[Window, Row]]:
        if not windows:
            return []
        return list(zip(windows, self.embedder([self._piece(window) for window in windows]), strict=True))

    def _piece(self, window: Window) -> NDArray[np.float32]:
        """What is embedded exactly for a window."""
        return repeat(self.held.samples(window.start, window.end), self.length)


def tile_of(window: Window) -> int:
    """The number of the tile that a window is pooled from."""
    return (window.start + window.end) // 2 // TILE


def repeat(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The samples, repeated from their start until there are `length` of them; a copy."""
    if len(samples) >= length:
        return samples.copy()
    return np.resize(samples, length)
