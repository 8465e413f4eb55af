"""Rows of whole numbers that only ever grow: 8 bytes a number, and no append that costs more than another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CHUNK = 1024
"""Rows that are allocated at once."""


@dataclass
class Table:
    """An append-only (n, width) table of int64; what was written is never copied again."""

    width: int
    count: int = 0
    chunks: list[NDArray[np.int64]] = field(default_factory=list)

    def append(self, *row: int) -> None:
        """Add a row of `width` numbers."""
        if self.count == CHUNK * len(self.chunks):
            self.chunks.append(np.zeros((CHUNK, self.width), np.int64))
        self.chunks[-1][self.count % CHUNK] = row
        self.count += 1

    def __len__(self) -> int:
        return self.count

    def array(self, start: int = 0) -> NDArray[np.int64]:
        """The rows from number `start` on, (n, width); a copy."""
        first = start // CHUNK
        rows = np.concatenate([np.zeros((0, self.width), np.int64), *self.chunks[first:]])
        return rows[start - first * CHUNK : self.count - first * CHUNK]
