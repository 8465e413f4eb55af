"""The live side of a stream: probabilities to final turns, each within the latency.

It runs the same stages as the settled side (`diarize.stream`) with their look-ahead shortened to the
latency, on rows of the same embedder. What it decides is final, and thrown away when the result is
made: that one is clustered anew, from settled rows only. Of a pause in which the speaker changes the one
before keeps what had to be decided before the other one was heard.

Where two voices are heard at once by the time of a decision, the one who spoke before has a turn too. What is
heard is known on a grid of `diarize.stages.overlap.LOOK_STEP`, so from that much latency and a window's step
on (1.5 s) all of a decision is looked at, with less of it a part or nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from diarize.config import Bounds, Config
from diarize.errors import ConfigError
from diarize.features import FRAME_SHIFT
from diarize.resampling import SAMPLE_RATE
from diarize.stages.boundaries import PAD, overlaps
from diarize.stages.deadlines import Deadlines, DeadlinesState, capped
from diarize.stages.items import FRAME, Decision, Span, Voices, Window
from diarize.stages.labelling import Labeller, LabellerState
from diarize.stages.overlap import LOOK, LOOK_STEP
from diarize.stages.regions import Regions, RegionsState
from diarize.stages.windows import Windows, WindowsState

MIN_WAIT = 6
"""Frames (192 ms) that a decision must be able to wait, or there is nothing to decide it on."""

KEPT_ROWS = 24
"""Rows that are kept after their window was decided: the settled side often wants the same ones."""

Row = NDArray[np.float32]
Samples = tuple[int, int]
"""What makes a window's row: its start and end."""

Look = Callable[[int], list[Voices]]
"""How many voices are heard at once in the last seconds before a sample."""


@dataclass
class LiveState:
    """Where the live side of one stream is: its stages, and the rows that may still be asked for.

    pauses : that are over, in regions, and may still have to be decided
    now, before : the label given last, and the last other one
    looked, both : the end of the last look for overlap, and where it heard two voices
    """

    regions: RegionsState = field(default_factory=RegionsState)
    windows: WindowsState = field(default_factory=WindowsState)
    deadlines: DeadlinesState = field(default_factory=DeadlinesState)
    labeller: LabellerState = field(default_factory=LabellerState)
    rows: dict[Samples, Row] = field(default_factory=dict)
    pauses: list[Samples] = field(default_factory=list)
    now: int | None = None
    before: int | None = None
    looked: int = -1
    both: list[Samples] = field(default_factory=list)


def look_ahead(config: Config, resampler: int = 0) -> dict[str, int]:
    """What each stage waits for before it settles a sample, in samples at 16 kHz: the table of look-aheads.

    Both sides wait for these. For a dense row the settled side waits for the whole tile as well, up to
    `diarize.stages.embedding.TILE` and about a second; nothing live waits for one.

    resampler : `diarize.resampling.Resampler.look_ahead`
    """
    frames = [config.vad.min_silence_s, config.vad.min_speech_s]
    return {
        "resampling": resampler,
        "vad": FRAME,  # a frame must fill
        # A sound too short to be speech is speech after all if more comes before the pause is over.
        "regions": sum(-(-round(s * SAMPLE_RATE) // FRAME) * FRAME for s in frames)
        + round(config.vad.pad_s * SAMPLE_RATE),
        # The first window of a region may end with the region, which is known when the region is over.
        "windows": config.windows.length,
    }


def settling(config: Config, resampler: int = 0) -> int:
    """Latency, in samples, from which live regions and windows are the settled ones.

    The look-aheads come one on top of another, and decisions fall due a frame at a time.
    """
    return sum(look_ahead(config, resampler).values()) + FRAME


class Live:
    """Place a block's decisions (`place`), embed the windows they need (`learn`), then `decide` them.

    latency : samples (16 kHz) between a sample's arrival and its decision, at most
    look_ahead : samples of them that pass before it reaches this stage
    threshold : the score from which two windows are one speaker
    """

    def __init__(
        self,
        config: Config,
        *,
        latency: int,
        look_ahead: int,
        threshold: float,
        bounds: Bounds,
        state: LiveState | None = None,
    ) -> None:
        self.state = state = state or LiveState()
        wait = (latency - look_ahead) // FRAME - 1  # a frame must fill before it is heard
        if wait < MIN_WAIT:
            least = ((MIN_WAIT + 1) * FRAME + look_ahead) / SAMPLE_RATE
            raise ConfigError(
                f"latency_s must be at least {least:.3f} at this sample rate, got {latency / SAMPLE_RATE:g}"
            )
        self.wait = wait * FRAME
        self.regions = Regions(capped(config.vad, wait), state.regions)
        self.windows = Windows(config.windows, state.windows)
        self.deadlines = Deadlines(config.windows, wait, state.deadlines)
        self.labeller = Labeller(
            config.live, config.clustering, config.windows.length, threshold, bounds, state.labeller
        )

    @property
    def horizon(self) -> int:
        """Samples before this one are not asked for any more."""
        state = self.state.deadlines
        ends = [region.end for region in state.waiting if not region.closed]  # where windows may have to end
        heard = min([state.frame * FRAME, *ends]) // FRAME_SHIFT * FRAME_SHIFT - self.deadlines.length
        return min(heard, self.regions.horizon if self.windows.horizon is None else self.windows.horizon)

    @property
    def decided(self) -> int:
        """Every sample before this one is final."""
        return self.deadlines.horizon

    @property
    def names(self) -> list[str]:
        """The speakers' names, by label."""
        return [speaker.name for speaker in self.state.labeller.speakers]

    def place(self, probabilities: Iterable[float]) -> tuple[list[Decision], list[Window]]:
        """Speech probabilities of the next frames; returns decisions that fall due, and new windows."""
        decisions: list[Decision] = []
        placed: list[Window] = []
        for p in probabilities:
            regions = self.deadlines.clip(self.regions.push([p]))
            windows = self.windows.push(regions)
            placed += windows
            self.state.pauses += self.regions.filled()
            decisions += map(self._resumed, self.deadlines.push(regions, windows, self.windows.horizon))
            while self.state.pauses and self.state.pauses[0][1] < self.decided:
                del self.state.pauses[0]
        return decisions, placed

    def finish(
        self, num_samples: int, probabilities: Iterable[float] = ()
    ) -> tuple[list[Decision], list[Window]]:
        """As `place`, for the last frames: everything falls due."""
        self.labeller.over = True
        regions = self.deadlines.clip(self.regions.finish(num_samples, probabilities))
        windows = self.windows.push(regions)
        self.state.pauses += self.regions.filled()
        return [*map(self._resumed, self.deadlines.finish(regions, windows))], windows

    def _resumed(self, decision: Decision) -> Decision:
        """The decision, with what is known by now of a pause at its start."""
        for start, end in self.state.pauses:
            if start <= decision.start <= end:
                return replace(decision, resumed=end - PAD)
        return decision

    def missing(self, windows: Iterable[Window]) -> list[Window]:
        """Those of the windows whose rows are not here, once each."""
        return list({key(w): w for w in windows if key(w) not in self.state.rows}.values())

    def rows_of(self, windows: Iterable[Window]) -> list[tuple[Window, Row]]:
        """Each window with its row, which is here."""
        return [(window, self.state.rows[key(window)]) for window in windows]

    def learn(self, rows: Iterable[tuple[Window, Row]]) -> None:
        """Take the rows of new windows."""
        self.state.rows |= {key(window): row for window, row in rows}

    def needed(self, horizon: int) -> int:
        """No sample before this one is needed for a look, nor before `horizon` by others."""
        return min(horizon, self.decided + self.wait - LOOK_STEP - LOOK)

    def decide(self, decisions: Sequence[Decision], look: Look | None = None) -> list[Span]:
        """What decisions say whose rows are all here: a span each, where somebody speaks.

        look : says how many voices are heard before a sample; with it, a second span where there are two
        """
        rows = self.state.rows
        spans: list[Span] = []
        for decision in decisions:
            label = self.labeller.push(decision, [rows[key(window)] for window in decision.ahead])
            if label is None:
                continue
            start = decision.start if label == self.state.now else max(decision.start, decision.resumed)
            if start >= decision.end:
                continue
            if label != self.state.now:
                self.state.now, self.state.before = label, self.state.now
            spans.append(Span(start, decision.end, label))
            if look is not None:
                spans += self._beside(spans[-1], decision.start, look)
        if len(rows) > KEPT_ROWS:
            wanted = {key(w) for waiting in self.state.deadlines.waiting for w in waiting.windows}
            for old in [k for k in list(rows)[:-KEPT_ROWS] if k not in wanted]:
                del rows[old]
        return spans

    def _beside(self, span: Span, decided: int, look: Look) -> list[Span]:
        """Who speaks besides, as far as it was heard when sample `decided` had to be."""
        state = self.state
        if state.before is None or state.labeller.speakers[state.before].aside:
            return []
        end = (decided + self.wait) // LOOK_STEP * LOOK_STEP
        if end != state.looked:
            state.looked, state.both = end, overlaps(look(end))
        common = [(max(a, span.start), min(b, span.end)) for a, b in state.both]
        return [Span(a, b, state.before) for a, b in common if a < b]

    def fork(self) -> LiveState:
        """A copy of the state, to see what would be decided if the stream ended now.

        It shares what hindsight needs, which a stream that is over does not touch.
        """
        hindsight = self.state.labeller.hindsight
        return copy.deepcopy(self.state, {id(hindsight): hindsight})


def key(window: Window) -> Samples:
    """The samples of a window; the region that it counts to does not change its row."""
    return window.start, window.end
