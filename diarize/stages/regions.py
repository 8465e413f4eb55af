"""Speech probabilities to speech regions.

Speech begins at the first frame with p >= onset and is over once p < offset has lasted for
`min_silence_s`; shorter pauses are filled, and remembered (`Regions.filled`): one person pauses, and
between two of them nobody speaks. What lasted under `min_speech_s` is dropped, the rest is padded by
`pad_s` on both sides. A pause shorter than both paddings is filled too, so that regions never overlap.

A region is reported while it is open, each time its certain end has moved, so that a monologue does
not hold up what follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from diarize.audio import SAMPLE_RATE
from diarize.config import VadConfig
from diarize.errors import StreamFinished
from diarize.stages.items import FRAME, Region


@dataclass
class RegionsState:
    """Where one stream is, in frames: the speech being heard, unpadded ``[start, end)``, if any.

    filled : pauses that nobody asked for yet
    """

    frame: int = 0
    start: int | None = None
    end: int = 0
    filled: list[tuple[int, int]] = field(default_factory=list)
    finished: bool = False


class Regions:
    """The stage: probabilities in, regions out, open ones repeatedly, the closed one last."""

    def __init__(self, config: VadConfig, state: RegionsState | None = None) -> None:
        self.config = config
        self.state = state or RegionsState()
        self.pad = round(config.pad_s * SAMPLE_RATE)
        self.min_speech = round(config.min_speech_s * SAMPLE_RATE)
        self.min_silence = max(round(config.min_silence_s * SAMPLE_RATE), 2 * self.pad)

    @property
    def horizon(self) -> int:
        """No region to come or to grow starts before this sample."""
        state = self.state
        return max(0, (state.frame if state.start is None else state.start) * FRAME - self.pad)

    def push(self, probabilities: Iterable[float]) -> list[Region]:
        """Speech probabilities of the next frames; returns regions in order."""
        if self.state.finished:
            raise StreamFinished("this region stage")
        found = []
        for p in probabilities:
            if (region := self._frame(float(p))) is not None:
                found.append(region)
        return found

    def finish(self, num_samples: int, probabilities: Iterable[float] = ()) -> list[Region]:
        """Take the last frames and close what is open; no region reaches beyond `num_samples`.

        The last frame may be filled up with silence, so only here are the samples fewer than the frames.
        """
        found = self.push(probabilities)
        self.state.finished = True
        if (region := self._close(num_samples)) is not None:
            found.append(region)
        return [replace(region, end=min(region.end, num_samples)) for region in found]

    def filled(self) -> list[tuple[int, int]]:
        """Pauses ``[start, end)`` inside regions, in samples and in order; each is given once."""
        pauses, self.state.filled = self.state.filled, []
        return [(start * FRAME, end * FRAME) for start, end in pauses]

    def _frame(self, p: float) -> Region | None:
        state = self.state
        state.frame += 1
        if p >= (self.config.onset if state.start is None else self.config.offset):
            if state.start is None:
                state.start = state.frame - 1
            elif state.end < state.frame - 1:
                state.filled.append((state.end, state.frame - 1))
            state.end = state.frame
            return self._open()
        if state.start is not None and (state.frame - state.end) * FRAME >= self.min_silence:
            return self._close(state.frame * FRAME)
        return None

    def _open(self) -> Region | None:
        start, end = self.state.start, self.state.end
        if start is None or (end - start) * FRAME < self.min_speech:
            return None
        return Region(max(0, start * FRAME - self.pad), end * FRAME, closed=False)

    def _close(self, num_samples: int) -> Region | None:
        state = self.state
        start, end, state.start = state.start, state.end, None
        if start is None or (end - start) * FRAME < self.min_speech:
            return None
        return Region(max(0, start * FRAME - self.pad), min(end * FRAME + self.pad, num_samples))
