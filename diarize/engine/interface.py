"""What every engine promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
"""(T, F) log-mel features."""

Note = Callable[[str], None]
"""Told what takes a while, such as converting the network."""


class Engine(Protocol):
    """The loaded networks; any number of threads and streams share them."""

    name: str
    precision: str
    device: str
    threads: int
    embedding_size: int
    feature_bins: int

    def embed(self, inputs: Sequence[Features]) -> NDArray[np.float32]:
        """The exact network over n inputs of any lengths; (n, E), not normalised."""
        ...

    def row(self, features: Features) -> NDArray[np.float32]:
        """As `embed` of one input, on the caller's thread; (E,)."""
        ...

    def frames(self, features: Features) -> NDArray[np.float32]:
        """The dense network over one input, on the caller's thread; (T', C), a frame every 20 ms."""
        ...

    def project(self, statistics: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean and standard deviation over frames, (n, 2 C), to embeddings (n, E), not normalised."""
        ...

    def segment(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The segmentation network over one input (n,), on the caller's thread; (T, 7) log-probabilities."""
        ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a function beside the caller, on one of the engine's threads."""
        ...
