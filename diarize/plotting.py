"""Pictures of turns: one row a speaker, a reference above the hypothesis where there is one.

Needs matplotlib (the extra `plot`); no window is opened and no global state of it is touched.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from diarize.result import Diarization, Turn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pyannote.core import Annotation

INCHES_A_ROW = 0.28


def timeline(diarization: Diarization, reference: Annotation | None = None, *, width: float = 10.0) -> Figure:
    """Draw who spoke when.

    reference : if given, drawn above, and hypothesis speakers take the colours of the reference
        speakers that they share most time with
    width : in inches
    """
    from matplotlib.figure import Figure

    rows = [("hypothesis" if reference is not None else "", list(diarization.turns))]
    if reference is not None:
        segments = reference.itertracks(yield_label=True)
        rows.insert(0, ("reference", [Turn(s.start, s.end, str(label)) for s, _, label in segments]))
    colours = colour_map(rows[-1][1], rows[0][1])
    heights = [max(1, len(speakers_of(turns))) for _, turns in rows]
    figure = Figure(
        figsize=(width, INCHES_A_ROW * sum(heights) + 0.45 * len(rows) + 0.35), layout="constrained"
    )
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (title, turns) in zip(axes, rows, strict=True):
        draw(ax, title, turns, colours)
    axes[-1].set_xlim(0, max(diarization.duration, 1e-3))
    axes[-1].set_xlabel("seconds", fontsize=8)
    return figure


def draw(ax: Axes, title: str, turns: Sequence[Turn], colours: dict[str, str]) -> None:
    """One panel: a row a speaker, in order of first appearance from the top."""
    speakers = speakers_of(turns)
    for row, name in enumerate(speakers):
        bars = [(turn.start, turn.duration) for turn in turns if turn.speaker == name]
        ax.broken_barh(bars, (row - 0.35, 0.7), facecolors=colours[name], linewidth=0)
    ax.set_yticks(range(len(speakers)), speakers, fontsize=8)
    ax.set_ylim(max(len(speakers), 1) - 0.4, -0.6)
    ax.set_title(title, fontsize=8, loc="left")
    ax.tick_params(axis="both", length=0, labelsize=8)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_visible(False)


def colour_map(hypothesis: Sequence[Turn], reference: Sequence[Turn]) -> dict[str, str]:
    """A colour for each name; a hypothesis speaker has that of the reference speaker it matches best."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    palette = [
        "#4477aa",
        "#ee6677",
        "#228833",
        "#ccbb44",
        "#66ccee",
        "#aa3377",
        "#994455",
        "#997700",
        "#77aadd",
    ]
    truth, found = speakers_of(reference), speakers_of(hypothesis)
    shared = np.zeros((len(found), len(truth)))
    for h in hypothesis:
        for r in reference:
            shared[found.index(h.speaker), truth.index(r.speaker)] += max(
                0, min(h.end, r.end) - max(h.start, r.start)
            )
    order = {name: i for i, name in enumerate(truth)}
    matched = {
        found[i]: int(j) for i, j in zip(*linear_sum_assignment(-shared), strict=True) if shared[i, j] > 0
    }
    spare = iter(range(len(truth), len(truth) + len(found)))
    order |= {name: matched[name] if name in matched else next(spare) for name in found}
    return {name: palette[i % len(palette)] for name, i in order.items()}


def speakers_of(turns: Sequence[Turn]) -> list[str]:
    """Names in order of first appearance."""
    return list(dict.fromkeys(turn.speaker for turn in turns))


def timeline_svg(diarization: Diarization, reference: Annotation | None = None) -> str:
    """`timeline` as SVG text, the same bytes for the same turns."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "diarize"}):
        timeline(diarization, reference).savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
