"""The samples that may still be asked for: heard by one side of a stream, read by its stages."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize.errors import DiarizeError


@dataclass
class Held:
    """Samples ``[start, end)`` of a stream, 16 kHz; `pieces` are they, as they came or joined."""

    pieces: list[NDArray[np.float32]] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples."""
        self.pieces.append(samples)
        self.end += len(samples)

    def forget(self, horizon: int) -> None:
        """Drop the samples before this one."""
        if (past := horizon - self.start) > 0:
            self.pieces = [self._joined()[past:].copy()]
            self.start += past

    def samples(self, start: int, end: int) -> NDArray[np.float32]:
        """Samples ``[start, end)``, which must be held; a view."""
        if not self.start <= start < end <= self.end:
            raise DiarizeError(
                f"samples {start} to {end} are not held any more, or not yet; this is a bug, please report it"
            )
        return self._joined()[start - self.start : end - self.start]

    def _joined(self) -> NDArray[np.float32]:
        if len(self.pieces) != 1:
            self.pieces[:] = [np.concatenate([np.zeros(0, np.float32), *self.pieces])]
        return self.pieces[0]
