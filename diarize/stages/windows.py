"""Speech regions to windows: the pieces that are embedded.

Windows lie on an absolute grid, window k at ``[k step, k step + length)``, clipped inward to their
region on the 10 ms frames; one that keeps no more than half its length is left to its neighbour. A
region in which no window keeps more becomes one window as a whole, and where several windows of the grid
hold a whole region it is one window too. So every window lies inside its region, no two are the same, and
its place depends on the audio clock and the region alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from diarize.audio import SAMPLE_RATE
from diarize.config import WindowsConfig
from diarize.errors import StreamFinished
from diarize.features import FRAME_SHIFT, on_frames
from diarize.stages.items import Region, Window


@dataclass
class WindowsState:
    """Where one stream is: the open region, the next window of the grid, the end of the last one given."""

    region: int | None = None
    next: int = 0
    given: int | None = None
    finished: bool = False


class Windows:
    """The stage: regions in, windows out, each as soon as its region is known to cover it."""

    def __init__(self, config: WindowsConfig, state: WindowsState | None = None) -> None:
        self.length = config.length
        self.step = round(config.step_s * SAMPLE_RATE)
        self.min_length = round(config.min_length_s * SAMPLE_RATE)
        self.state = state or WindowsState()

    @property
    def horizon(self) -> int | None:
        """No window of the open region to come starts before this sample; None without one."""
        state = self.state
        if state.region is None:
            return None
        start = on_frames(state.region)
        return start if state.given is None else max(start, state.next * self.step)

    def push(self, regions: Iterable[Region]) -> list[Window]:
        """Regions in order, open ones as often as they grow; returns windows in order."""
        if self.state.finished:
            raise StreamFinished("this window stage")
        return [window for region in regions for window in self._region(region)]

    def finish(self) -> list[Window]:
        """Nothing is held back: the region stage closes every region."""
        self.state.finished = True
        return []

    def _region(self, region: Region) -> list[Window]:
        state = self.state
        start = on_frames(region.start)
        end = region.end // FRAME_SHIFT * FRAME_SHIFT
        if state.region != region.start:
            # The first of the grid that keeps more than half a window inside the region.
            first = (start - self.length // 2) // self.step + 1
            state.region, state.next, state.given = region.start, first, None
        windows = []
        while True:
            left, right = state.next * self.step, state.next * self.step + self.length
            if right > end and (not region.closed or end - max(left, start) <= self.length // 2):
                break
            if left > start or state.given != min(right, end):
                windows.append(Window(max(left, start), min(right, end), region.start))
                state.given = min(right, end)
            state.next += 1
        if region.closed:
            if state.given is None and end - start >= self.min_length:
                windows.append(Window(start, end, region.start))
            state.region = None
        return windows
