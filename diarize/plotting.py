"""Pictures of turns: one row a speaker, a reference above the hypothesis where there is one.

Needs matplotlib (``pip install 'diarize-campplus[plot]'``). No window is opened, and `pyplot` with its
list of figures and its current axes is never touched.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diarize.errors import DiarizeError
from diarize.result import Diarization, Turn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pyannote.core import Annotation

PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#994455", "#997700", "#77aadd")
"""Colours that stay apart for colour-blind readers (Paul Tol, bright and muted); a tenth speaker has the
first again."""

INK, TRACK = "0.2", "0.95"
"""Grey levels of the text and of the row behind a speaker's turns."""

INCHES_A_ROW = 0.32
STEPS_S = (60, 120, 300, 600, 900, 1800, 3600)
"""Seconds between two ticks of the time axis, of recordings that are longer than two minutes."""


def timeline(diarization: Diarization, reference: Annotation | None = None, *, width: float = 9.0) -> Figure:
    """Draw who spoke when.

    reference : if given, drawn above; a hypothesis speaker then has the colour and the place of the
        reference speaker that it is mapped to, one to one, so that their common time is greatest
    width : in inches

    Raises DiarizeError when matplotlib is not installed.
    """
    found = list(diarization.turns)
    truth = [] if reference is None else turns_of(reference)
    truth_ranks, found_ranks = ranks(truth, found)
    panels = [("hypothesis" if reference is not None else "", found, found_ranks)]
    if reference is not None:
        panels.insert(0, ("reference", truth, truth_ranks))
    heights = [max(1, len(order)) for _, _, order in panels]
    titles = 0.3 if reference is not None else 0.05
    matplotlib = _matplotlib()
    figure: Figure = matplotlib.figure.Figure(
        figsize=(width, INCHES_A_ROW * sum(heights) + titles * len(panels) + 0.5),
        facecolor="white",
        layout=matplotlib.layout_engine.ConstrainedLayoutEngine(w_pad=0.1),  # inches beside the names
    )
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, panel in zip(axes, panels, strict=True):
        draw(ax, *panel)
    label_time(axes[-1], max([diarization.duration, *(turn.end for turn in truth + found), 1e-3]))
    return figure


def draw(ax: Axes, title: str, turns: Sequence[Turn], order: Mapping[str, int]) -> None:
    """One panel: a row a speaker, by rank from the top, and a bar a turn."""
    speakers = sorted(order, key=order.__getitem__)
    for row in range(max(1, len(speakers))):
        ax.axhspan(row - 0.36, row + 0.36, color=TRACK, linewidth=0)
    for row, name in enumerate(speakers):
        bars = [(turn.start, turn.duration) for turn in turns if turn.speaker == name]
        ax.broken_barh(bars, (row - 0.36, 0.72), facecolors=PALETTE[order[name] % len(PALETTE)], linewidth=0)
    if not speakers:
        ax.text(0.5, 0.5, "no speech", transform=ax.transAxes, ha="center", va="center", color=INK)
    ax.set_facecolor("white")
    ax.set_yticks(range(len(speakers)), speakers)
    ax.set_ylim(max(len(speakers), 1) - 0.5, -0.5)
    ax.set_title(title, fontsize=10, loc="left", color=INK, fontweight="bold")
    ax.tick_params(axis="both", length=0, labelsize=10, labelcolor=INK)
    ax.grid(visible=True, axis="x", color="0.8", linewidth=0.6)
    ax.grid(visible=False, axis="y")
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_visible(False)


def label_time(ax: Axes, end_s: float) -> None:
    """The time axis from 0 to the end: seconds up to two minutes, then m:ss or h:mm:ss."""
    ax.set_xlim(0, end_s)
    if end_s <= 120:
        ax.set_xlabel("seconds", fontsize=10, color=INK)
        return
    ticker = _matplotlib().ticker
    step = next((step for step in STEPS_S if end_s / step <= 10), STEPS_S[-1])
    ax.xaxis.set_major_locator(ticker.MultipleLocator(step) if end_s / step <= 30 else ticker.MaxNLocator(10))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda seconds, _: minutes(seconds)))


def minutes(seconds: float) -> str:
    """Whole seconds as m:ss, from an hour on as h:mm:ss."""
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def ranks(reference: Sequence[Turn], hypothesis: Sequence[Turn]) -> tuple[dict[str, int], dict[str, int]]:
    """The rank of each speaker, which is its place and its colour: reference names, hypothesis names.

    Reference speakers, or those of a hypothesis without one, count in order of first appearance. A
    hypothesis speaker has the rank of the reference speaker it is mapped to, else one of its own after
    all of those. What the two call their speakers plays no part.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    truth, found = speakers_of(reference), speakers_of(hypothesis)
    shared = np.zeros((len(found), len(truth)))
    for h in hypothesis:
        for r in reference:
            common = min(h.end, r.end) - max(h.start, r.start)
            shared[found.index(h.speaker), truth.index(r.speaker)] += max(0.0, common)
    pairs = zip(*linear_sum_assignment(-shared), strict=True)
    matched = {found[i]: int(j) for i, j in pairs if shared[i, j] > 0}
    spare = iter(range(len(truth), len(truth) + len(found)))
    order = {name: matched[name] if name in matched else next(spare) for name in found}
    return {name: i for i, name in enumerate(truth)}, order


def speakers_of(turns: Sequence[Turn]) -> list[str]:
    """Names in order of first appearance."""
    return list(dict.fromkeys(turn.speaker for turn in turns))


def turns_of(annotation: Annotation) -> list[Turn]:
    """The turns of a `pyannote.core.Annotation`, in order of time."""
    return [Turn(s.start, s.end, str(label)) for s, _, label in annotation.itertracks(yield_label=True)]


def timeline_svg(diarization: Diarization, reference: Annotation | None = None) -> str:
    """`timeline` as SVG text: the same bytes for the same turns and the same matplotlib."""
    buffer = io.StringIO()
    with _matplotlib().rc_context({"svg.hashsalt": "diarize"}):
        figure = timeline(diarization, reference)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _matplotlib() -> Any:
    try:
        import matplotlib.figure
        import matplotlib.layout_engine
        import matplotlib.ticker
    except ImportError as error:
        raise DiarizeError(
            f"pictures need matplotlib ({error}); pip install 'diarize-campplus[plot]'"
        ) from error
    return matplotlib
