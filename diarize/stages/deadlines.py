"""When every sample of speech must be decided, and by which windows: what makes latency a promise.

A decision falls due `wait` VAD frames after the frame that it is about, on the audio clock, whatever
was pushed how. Until then more windows may arrive; the ones that are complete by then may be looked at,
later ones may not. Each piece of a region belongs to a window as in `diarize.stages.boundaries`: up to
the middle between its end and the next one's start. Where the window that a piece belongs to is not
complete in time, the last complete one decides up to `MARGIN` before its end, and beyond that a window
that ends with the speech heard so far, off the grid: short latencies cost more windows.

`capped` shortens the look-ahead of the VAD's rules to what the latency leaves. With enough of it (the
default options need 2.8 s, `diarize.live.settling`) nothing is shortened, no window is late, and live
regions and windows are the settled ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from diarize.audio import SAMPLE_RATE
from diarize.config import VadConfig, WindowsConfig
from diarize.features import FRAME_SHIFT, on_frames
from diarize.stages.items import FRAME, Decision, Region, Window

MARGIN = SAMPLE_RATE // 5
"""Samples before its end that a window may still decide, where a better one is late."""

QUANTUM = 8 * FRAME
"""Samples that are decided at once, beyond what is due, where windows are made for the purpose."""

MAX_AHEAD = 32
"""Windows that a decision looks at, at most."""

EVERYTHING = 1 << 62


@dataclass
class Waiting:
    """A region on its way out: what is decided of it, and its windows that are not yet."""

    start: int
    end: int
    closed: bool
    decided: int
    windows: list[Window] = field(default_factory=list)
    last: Window | None = None


@dataclass
class DeadlinesState:
    """Where one stream is; `start` is the newest region's, after what was decided before it showed."""

    frame: int = 0
    region: int | None = None
    start: int = 0
    waiting: list[Waiting] = field(default_factory=list)


class Deadlines:
    """The stage: what each frame brought in, decisions out.

    wait : frames that a decision can wait
    """

    def __init__(self, config: WindowsConfig, wait: int, state: DeadlinesState | None = None) -> None:
        self.length = config.length
        self.min_length = round(config.min_length_s * SAMPLE_RATE)
        self.wait = wait
        self.state = state or DeadlinesState()

    @property
    def horizon(self) -> int:
        """Every sample before this one is decided."""
        return max(0, self.state.frame - self.wait) * FRAME

    def clip(self, regions: Iterable[Region]) -> list[Region]:
        """Regions without the part that was already decided to be no speech."""
        clipped = []
        for region in regions:
            if self.state.region != region.start:
                self.state.region, self.state.start = region.start, max(region.start, self.horizon)
            if region.end > self.state.start:
                clipped.append(dataclasses.replace(region, start=self.state.start))
        return clipped

    def push(
        self, regions: Iterable[Region], windows: Iterable[Window], upcoming: int | None
    ) -> list[Decision]:
        """What one more frame brought: regions, as `clip` gave them, and windows that are complete.

        upcoming : where the open region's next window will start, if there is an open one
        """
        self._take(regions, windows)
        self.state.frame += 1
        return list(self._due(self.horizon, upcoming))

    def finish(self, regions: Iterable[Region], windows: Iterable[Window]) -> list[Decision]:
        """Take the last of both and decide everything."""
        self._take(regions, windows)
        return list(self._due(EVERYTHING, None))

    def _take(self, regions: Iterable[Region], windows: Iterable[Window]) -> None:
        waiting = self.state.waiting
        for region in regions:
            if waiting and waiting[-1].start == region.start:
                waiting[-1].end, waiting[-1].closed = region.end, region.closed
            else:
                waiting.append(Waiting(region.start, region.end, region.closed, region.start))
        for window in windows:
            next(w for w in reversed(waiting) if w.start == window.region).windows.append(window)

    def _due(self, horizon: int, upcoming: int | None) -> Iterator[Decision]:
        waiting = self.state.waiting
        while waiting:
            first = waiting[0]
            decision = self._by_window(first, horizon, upcoming) or self._without(first, horizon)
            if decision is not None:
                first.decided, first.last = decision.end, decision.window
                yield decision
            elif first.closed and first.decided >= first.end:
                del waiting[0]
            else:
                return

    def _by_window(self, region: Waiting, horizon: int, upcoming: int | None) -> Decision | None:
        """The decision of the region's next complete window, if it is due."""
        if not region.windows:
            return None
        window = region.windows[0]
        if len(region.windows) > 1:
            end = (window.end + region.windows[1].start) // 2
        elif region.closed:
            end = region.end
        else:
            end = min((window.end + (upcoming or window.end)) // 2, region.end)
        if region.decided >= horizon and end > region.decided:
            return None
        ahead = [w for waiting in self.state.waiting for w in waiting.windows]
        del region.windows[0]
        return Decision(region.decided, max(end, region.decided), window, tuple(ahead[:MAX_AHEAD]))

    def _without(self, region: Waiting, horizon: int) -> Decision | None:
        """The decision on speech that is due and that no complete window is left to decide."""
        begin, last = region.decided, region.last
        if region.windows or begin >= min(horizon, region.end):
            return None
        if region.closed:
            return Decision(begin, region.end, last, ())
        end = min(horizon + QUANTUM, region.end)
        if last is not None and last.end - MARGIN > begin:
            return Decision(begin, min(end, last.end - MARGIN), last, ())
        right = region.end // FRAME_SHIFT * FRAME_SHIFT
        left = max(on_frames(region.start), right - self.length)
        if right - left < self.min_length:  # too short to tell who it is
            return Decision(begin, end, last, ())
        tail = Window(left, right, region.start)
        return Decision(begin, end, tail, (tail,))


def capped(config: VadConfig, wait: int) -> VadConfig:
    """The rules of the VAD with no look-ahead beyond `wait` frames."""
    longest = wait * FRAME
    min_speech = min(round(config.min_speech_s * SAMPLE_RATE), longest // 2)
    needed = -(-min_speech // FRAME) * FRAME
    pad = min(round(config.pad_s * SAMPLE_RATE), longest - needed, longest // 2)
    return dataclasses.replace(
        config,
        min_speech_s=min_speech / SAMPLE_RATE,
        pad_s=pad / SAMPLE_RATE,
        min_silence_s=min(config.min_silence_s, longest / SAMPLE_RATE),
    )
