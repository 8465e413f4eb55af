"""Who spoke when: a row a speaker and a bar a turn, a reference above, and where the two differ below.

Long recordings go on in the next line, as text does: ten minutes a line, or more where that would give more
than `MOST_LINES`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diarize.errors import ConfigError
from diarize.plotting.matching import KINDS, Error, errors, ranks, turns_of
from diarize.plotting.style import (
    INK,
    PALETTE,
    TRACK,
    as_svg,
    check_ending,
    heading,
    label_time,
    matplotlib,
    name_rows,
    new_figure,
    plain,
    save,
)
from diarize.result import Diarization, Turn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pyannote.core import Annotation

LINES_S = (600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
"""Seconds in a line, of recordings that are longer than the first of them."""

MOST_LINES = 30
INCHES_A_ROW = 0.32
INCHES_A_ROW_OF_MANY = 0.2
"""In pictures of several lines, and of errors."""

FAINT = 0.2
"""Opacity of a turn that is hardly more likely right than wrong."""


def timeline(
    diarization: Diarization,
    reference: Annotation | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    line_s: float | None = None,
    width: float = 9.0,
) -> Figure:
    """Draw who spoke when; the surer a turn (`Turn.confidence`), the more opaque its bar.

    reference : if given, drawn above; a hypothesis speaker then has the colour and the place of the
        reference speaker that it is mapped to, one to one, so that their common time is greatest. Where the
        two differ stands below: collar 0, overlap counted, from 0 to the last end in either
    path : a file to write too, .png or .svg
    line_s : seconds in a line; None: all up to ten minutes, and as many as it takes for longer recordings
    width : in inches

    Raises DiarizeError when matplotlib is not installed, ConfigError for a file of another ending or a
    `line_s` that is not positive, OSError for a file that cannot be written.
    """
    matplotlib()
    if path is not None:
        check_ending(path)
    if line_s is not None and not line_s > 0:
        raise ConfigError(f"line_s must be seconds > 0, got {line_s}")
    found = list(diarization.turns)
    truth = [] if reference is None else turns_of(reference)
    whole_s = max([diarization.duration, *(turn.end for turn in truth + found), 1e-3])
    lines = list(lines_of(whole_s, line_s))
    panels = panels_of(truth, found, lines, reference is not None)
    inches = INCHES_A_ROW if len(lines) == 1 else INCHES_A_ROW_OF_MANY
    heights = [panel.rows * (INCHES_A_ROW_OF_MANY if panel.errors else inches) for panel in panels]
    titles = 0.3 * sum(1 for panel in panels if panel.title) + 0.1
    sure = any(turn.confidence is not None for turn in found)
    figure = new_figure(width, sum(heights) + titles + 0.45 * len(lines) + 0.25 * sure)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, panel in zip(axes, panels, strict=True):
        panel.draw(ax, whole_s, size=10 if len(lines) == 1 else 8)
    if sure:
        legend(figure)
    if path is not None:
        save(figure, path)
    return figure


def timeline_svg(diarization: Diarization, reference: Annotation | None = None) -> str:
    """`timeline` as SVG text: the same bytes for the same turns and the same matplotlib."""
    return as_svg(timeline(diarization, reference))


Line = tuple[float, float]
"""Seconds from and to."""


def lines_of(whole_s: float, line_s: float | None = None) -> Iterator[Line]:
    """The lines of a recording of so many seconds; the last one is as wide as the others."""
    if line_s is None:
        if whole_s <= LINES_S[0]:
            yield 0.0, whole_s
            return
        line_s = next((step for step in LINES_S if whole_s / step <= MOST_LINES), LINES_S[-1])
    for i in range(max(1, math.ceil(whole_s / line_s - 1e-9))):
        yield i * line_s, (i + 1) * line_s


@dataclass(frozen=True, slots=True)
class Panel:
    """One side of one line: turns or errors between two times.

    order : the rank of each speaker in it
    last : whether the time axis stands below it
    """

    title: str
    line: Line
    turns: Sequence[Turn] = ()
    order: Mapping[str, int] | None = None
    errors: Sequence[Error] = ()
    last: bool = False

    @property
    def rows(self) -> int:
        """How many rows it has, one at least."""
        return len(KINDS) if self.order is None else max(1, len(self.order))

    def draw(self, ax: Axes, whole_s: float, size: float) -> None:
        """A row a speaker, by rank from the top, and a bar a turn; or a row a kind of error."""
        plain(ax)
        ax.grid(visible=True, axis="x", color="0.8", linewidth=0.6)
        ax.set_axisbelow(True)
        end = min(self.line[1], whole_s)  # nothing stands behind what there is no recording of
        rectangle = matplotlib().patches.Rectangle
        for row in range(self.rows):
            place = (self.line[0], row - 0.36)
            ax.add_patch(rectangle(place, end - self.line[0], 0.72, color=TRACK, linewidth=0, zorder=0))
        if self.order is None:
            self._draw_errors(ax, size)
        else:
            self._draw_turns(ax, self.order, size)
        if self.title:
            heading(ax, self.title)
        label_time(ax, *self.line, whole_s)
        ax.tick_params(axis="x", labelsize=size, labelbottom=self.last)
        if not self.last:
            ax.set_xlabel("")

    def _draw_turns(self, ax: Axes, order: Mapping[str, int], size: float) -> None:
        speakers = sorted(order, key=order.__getitem__)
        for row, name in enumerate(speakers):
            own = [turn for turn in self.turns if turn.speaker == name]
            colour = PALETTE[order[name] % len(PALETTE)]
            ax.broken_barh(
                [(turn.start, turn.duration) for turn in own],
                (row - 0.36, 0.72),
                facecolors=[shade(colour, turn.confidence) for turn in own],
                linewidth=0,
            )
        name_rows(ax, speakers, size)
        if not speakers:
            ax.text(0.5, 0.5, "no speech", transform=ax.transAxes, ha="center", va="center", color=INK)

    def _draw_errors(self, ax: Axes, size: float) -> None:
        seconds = dict.fromkeys(KINDS, 0.0)
        for row, kind in enumerate(KINDS):
            own = [error for error in self.errors if error.kind == kind]
            seconds[kind] += sum(error.seconds for error in own)
            spans = [(error.start, error.end - error.start) for error in own]
            ax.broken_barh(spans, (row - 0.36, 0.72), facecolors=INK, linewidth=0)
        name_rows(ax, (f"{kind}, {duration:.1f} s" for kind, duration in seconds.items()), size)


def panels_of(truth: list[Turn], found: list[Turn], lines: list[Line], compared: bool) -> list[Panel]:
    """The panels from top to bottom: in each line reference, hypothesis, difference; or the turns alone."""
    truth_ranks, found_ranks = ranks(truth, found)
    wrong = errors(truth, found) if compared else []
    sides = [("hypothesis" if compared else "", found, found_ranks)]
    if compared:
        sides.insert(0, ("reference", truth, truth_ranks))
    panels = []
    for line in lines:
        for title, turns, order in sides:
            here = [
                Turn(start, end, turn.speaker, turn.confidence) for turn, start, end in within(turns, line)
            ]
            if len(lines) > 1:  # in a long recording only who speaks in it
                order = {name: rank for name, rank in order.items() if any(t.speaker == name for t in here)}
            panels.append(Panel(title, line, here, order, last=not compared))
        if compared:
            here_wrong = [Error(e.kind, start, end, e.voices) for e, start, end in within(wrong, line)]
            panels.append(Panel("difference", line, errors=here_wrong, last=True))
    return panels


def within(spans: Sequence[Any], line: Line) -> Iterator[tuple[Any, float, float]]:
    """What lies in a line, with its start and end there."""
    for span in spans:
        start, end = max(span.start, line[0]), min(span.end, line[1])
        if start < end:
            yield span, start, end


def shade(colour: str, confidence: float | None) -> tuple[str, float]:
    """A colour with its opacity: from `FAINT` at even odds to 1; opaque where nothing is known."""
    if confidence is None:
        return colour, 1.0
    return colour, FAINT + (1 - FAINT) * min(1.0, max(0.0, 2 * confidence - 1))


def legend(figure: Figure) -> None:
    """What the opacity means, below, in one line."""
    patch = matplotlib().patches.Patch
    shown = [patch(facecolor="none", linewidth=0, label="confidence")]
    for confidence, text in ((0.5, ".5 or less"), (0.75, ".75"), (1.0, "1")):
        shown.append(patch(facecolor=shade(INK, confidence), linewidth=0, label=text))
    figure.legend(
        handles=shown,
        loc="outside lower right",
        ncols=len(shown),
        fontsize=8,
        labelcolor=INK,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.0,
    )
