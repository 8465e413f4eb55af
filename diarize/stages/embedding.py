"""Windows to embeddings: each window's own samples, through the filterbank and the network.

A window shorter than the standard length is repeated until it fills it, so that the network sees
one length; its statistics then never hold padding. What a row is depends on its window alone
(law 6), so rows are computed a few calls at a time, whenever enough windows wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diarize.engine import TorchEngine, one_thread, unit
from diarize.errors import DiarizeError, StreamFinished
from diarize.features import log_mel
from diarize.stages.items import Window

WAITING = 32
"""Windows that are embedded together: enough to keep every core busy."""


class Embedder(Protocol):
    """Samples to unit rows; a row must depend on its own samples only."""

    embedding_size: int

    def __call__(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed n pieces of samples; returns (n, E) float32, unit norm."""
        ...


class CAMPPlusEmbedder:
    """CAM++ on an engine; one serves any number of streams and threads.

    path : checkpoint file
    device, threads : see `diarize.engine.TorchEngine`
    """

    def __init__(self, path: str | Path, *, device: str = "auto", threads: int = 0) -> None:
        self.engine = TorchEngine(path, device=device, threads=threads)
        self.embedding_size = self.engine.embedding_size

    def __call__(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed n pieces of samples at 16 kHz; returns (n, E) float32, unit norm."""
        bins = self.engine.feature_bins
        with one_thread():
            features = [log_mel(piece, bins) for piece in pieces]
        return unit(self.engine(features))


@dataclass
class EmbeddingState:
    """The samples that a window may still ask for, and the windows that wait."""

    samples: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    start: int = 0
    waiting: list[tuple[Window, NDArray[np.float32]]] = field(default_factory=list)
    finished: bool = False


class Embedding:
    """The stage: windows in, ``(window, row)`` out, in the same order.

    length : samples to which shorter windows are repeated
    """

    def __init__(self, embedder: Embedder, length: int, state: EmbeddingState | None = None) -> None:
        self.embedder = embedder
        self.length = length
        self.state = state or EmbeddingState()

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples, before the windows that lie in them."""
        self.state.samples = np.concatenate([self.state.samples, samples])

    def forget(self, horizon: int) -> None:
        """Drop the samples before `horizon`: no window will ask for them."""
        state = self.state
        if (past := horizon - state.start) > 0:
            state.samples = state.samples[past:].copy()
            state.start += past

    def push(self, windows: Sequence[Window]) -> list[tuple[Window, NDArray[np.float32]]]:
        """Windows within the samples heard and not forgotten; returns the rows that are ready."""
        state = self.state
        if state.finished:
            raise StreamFinished("this embedding stage")
        state.waiting += [(window, self._samples(window)) for window in windows]
        return self._embed() if len(state.waiting) >= WAITING else []

    def at_once(self, windows: Sequence[Window]) -> list[tuple[Window, NDArray[np.float32]]]:
        """The rows of windows that cannot wait; those that wait are left alone."""
        return self._rows([(window, self._samples(window)) for window in windows])

    def would_be(self) -> list[tuple[Window, NDArray[np.float32]]]:
        """The rows of the windows that wait, which go on waiting."""
        return self._rows(self.state.waiting)

    def finish(self) -> list[tuple[Window, NDArray[np.float32]]]:
        """The rows of the windows that still wait."""
        self.state.finished = True
        return self._embed()

    def _samples(self, window: Window) -> NDArray[np.float32]:
        state = self.state
        if not state.start <= window.start < window.end <= state.start + len(state.samples):
            raise DiarizeError(f"{window} lies outside the samples held; this is a bug, please report it")
        samples = state.samples[window.start - state.start : window.end - state.start]
        return repeat(samples, self.length)

    def _embed(self) -> list[tuple[Window, NDArray[np.float32]]]:
        waiting, self.state.waiting = self.state.waiting, []
        return self._rows(waiting)

    def _rows(
        self, pieces: Sequence[tuple[Window, NDArray[np.float32]]]
    ) -> list[tuple[Window, NDArray[np.float32]]]:
        if not pieces:
            return []
        rows = self.embedder([samples for _, samples in pieces])
        return [(window, row) for (window, _), row in zip(pieces, rows, strict=True)]


def repeat(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The samples, repeated from their start until there are `length` of them; a copy."""
    if len(samples) >= length:
        return samples.copy()
    return np.resize(samples, length)
