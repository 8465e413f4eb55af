"""What the stages hand to one another; every time is a sample index at 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass

FRAME = 512
"""Samples a VAD frame."""


@dataclass(frozen=True, slots=True)
class Region:
    """Contiguous speech ``[start, end)``; an open one may still grow, its start is settled."""

    start: int
    end: int
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Window:
    """What is embedded, ``[start, end)``, and the region it lies in, by the region's start."""

    start: int
    end: int
    region: int


@dataclass(frozen=True, slots=True)
class Span:
    """A piece ``[start, end)`` of one speaker, by label."""

    start: int
    end: int
    label: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Samples ``[start, end)`` get the label of `window`, for good.

    ahead : the windows that may be looked at, `window` first; none where it was decided before
    window : None where there is too little speech to tell who it is
    resumed : where speech goes on, if a pause was known to be at the start; before it only one who
        spoke before the pause has a turn
    """

    start: int
    end: int
    window: Window | None
    ahead: tuple[Window, ...]
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class Voices:
    """A piece ``[start, end)`` in which this many voices are heard at once, 1 or 2."""

    start: int
    end: int
    count: int
