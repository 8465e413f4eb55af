"""How alike all windows of a recording are: what clustering has seen, in the order of what it found."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize.errors import DiarizeError
from diarize.plotting.style import (
    INK,
    PALETTE,
    check_ending,
    matplotlib,
    minutes,
    new_figure,
    plain,
    save,
    shortened,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from diarize.kept import Kept
    from diarize.result import Diarization

MOST = 1000
"""Windows that are shown; of more, every second, third, ..."""

THINNEST = 4
"""Windows in a turn on average, from which on lines show where turns begin; else all would be lines."""


def similarity(
    diarization: Diarization, path: str | os.PathLike[str] | None = None, *, width: float = 7.0
) -> Figure:
    """Draw every window's score with every other's, speaker by speaker and in each by time.

    A speaker is a bright square on the diagonal; a bright square beside it says that two speakers sound
    alike, a dark cross through one a window that is like none of its speaker's others. Thin lines are where a
    turn begins. The mark on the scale is the threshold: from it on two windows are one speaker.

    path : a file to write too, .png or .svg
    width : in inches

    Raises DiarizeError without matplotlib, and for turns whose windows are not known, those read from a file
    of turns say; ConfigError for a file of another ending.
    """
    matplotlib()
    if path is not None:
        check_ending(path)
    kept = kept_of(diarization)
    names = kept.now.names
    order = in_order(kept)
    shown = order[:: -(-len(order) // MOST)] if len(order) else order
    labels = kept.now.labels[shown]
    rows = kept.rows[kept.index[shown]]
    figure = new_figure(width, 0.86 * width)
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 40], height_ratios=[40, 1])
    ax = figure.add_subplot(grid[0, 1])
    plain(ax)
    n = len(shown)
    if not n:
        ax.text(0.5, 0.5, "no speech", transform=ax.transAxes, ha="center", va="center", color=INK)
        ax.set(xticks=[], yticks=[])
    else:
        image = ax.imshow(rows @ rows.T, vmin=0, vmax=1, cmap="magma", interpolation="nearest", aspect="auto")
        bar = figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02)
        bar.set_label("score (cosine)", color=INK)
        bar.ax.axhline(kept.threshold, color="white", linewidth=2)
        bar.ax.tick_params(labelcolor=INK, color=INK)
        bar.outline.set_visible(False)
        _borders(ax, labels, turn_numbers(kept)[shown])
        for place, across in ((grid[0, 0], False), (grid[1, 1], True)):
            _strip(figure.add_subplot(place), labels, names, across)
        ax.set(xticks=[], yticks=[])
    every = "" if n == len(order) else f", 1 of {-(-len(order) // MOST)} shown"
    seconds = f"{minutes(diarization.duration)}, threshold {kept.threshold:.3f}"
    write(
        ax.set_title(
            f"{shortened(diarization.uri)}: {len(order)} windows{every}, {seconds}",
            fontsize=10, loc="left", color=INK,
        )
    )  # fmt: skip
    if path is not None:
        save(figure, path)
    return figure


def kept_of(diarization: Diarization) -> Kept:
    """What a result was made from; DiarizeError where that is not known."""
    if diarization.kept is None:
        raise DiarizeError(
            f"{diarization.uri}: the windows behind these turns are not known: give the recording, or what "
            "`diarize run --keep` has kept of it"
        )
    return diarization.kept


def in_order(kept: Kept) -> NDArray[np.int64]:
    """The windows, (n,), by speaker and in each by time."""
    return np.lexsort((kept.windows[:, 0], kept.now.labels)).astype(np.int64)


def turn_numbers(kept: Kept) -> NDArray[np.int64]:
    """In which turn each window is, (n,): a new one is another speaker's, or comes after a pause."""
    changes = np.diff(kept.now.labels, prepend=-1) != 0
    pauses = np.diff(kept.windows[:, 2], prepend=-1) != 0
    return np.cumsum(changes | pauses)


def _borders(ax: Axes, labels: NDArray[np.int64], turns: NDArray[np.int64]) -> None:
    """Lines where speakers change, and thin ones where turns begin, if these are not too many."""
    begins = np.flatnonzero(np.diff(turns, prepend=turns[0]))
    styles = [(begins, 0.25)] if len(begins) * THINNEST <= len(labels) else []
    for places, linewidth in (*styles, (np.flatnonzero(np.diff(labels, prepend=labels[0])), 1.2)):
        for at in places:
            ax.axhline(at - 0.5, color="white", linewidth=linewidth)
            ax.axvline(at - 0.5, color="white", linewidth=linewidth)


def _strip(ax: Axes, labels: NDArray[np.int64], names: tuple[str, ...], across: bool) -> None:
    """The speakers' colours beside the rows or below the columns, and their names beside the rows."""
    plain(ax)
    limits = (-0.5, len(labels) - 0.5)
    places, shown = [], []
    for label in np.unique(labels):
        at = np.flatnonzero(labels == label)
        span = (at[0] - 0.5, len(at))
        colour = PALETTE[int(label) % len(PALETTE)]
        ax.broken_barh(
            [span if across else (0, 1)], (0, 1) if across else span, facecolors=colour, linewidth=0
        )
        places.append(float(at.mean()))
        shown.append(shortened(names[label]))
    if across:
        ax.set(xlim=limits, ylim=(0, 1), xticks=[], yticks=[])
        return
    ax.set(xlim=(0, 1), ylim=limits[::-1], xticks=[])
    ax.set_yticks(places, shown)
    for name in ax.get_yticklabels():
        write(name)
