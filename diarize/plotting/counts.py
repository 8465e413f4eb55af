"""Why so many speakers, as a picture and in sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize.plotting.evidence import Alternative, Change, Evidence, evidence, people
from diarize.plotting.similarity import kept_of
from diarize.plotting.style import (
    INK,
    PALETTE,
    TRACK,
    check_ending,
    heading,
    label_time,
    matplotlib,
    name_rows,
    new_figure,
    plain,
    save,
    shortened,
    write,
)
from diarize.resampling import SAMPLE_RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from diarize.config import ClusteringConfig
    from diarize.kept import Kept
    from diarize.result import Diarization

MOST_NUMBERS = 12
"""Speakers up to which the scores between them are written out."""


def count_diagnosis(
    diarization: Diarization,
    path: str | os.PathLike[str] | None = None,
    *,
    config: ClusteringConfig | None = None,
    width: float = 9.0,
) -> Figure:
    """Draw what speaks for the number of speakers, and what one fewer or one more would do.

    Above: the values that propose the count, and the scores between the speakers' means. Below: how much each
    speaks, and whose each window is with one speaker fewer, as found, and with one more.

    path : a file to write too, .png or .svg
    config : how it was clustered; by default as in the default configuration
    width : in inches

    Raises DiarizeError without matplotlib, and for turns whose windows are not known; ConfigError for a file
    of another ending.
    """
    matplotlib()
    if path is not None:
        check_ending(path)
    kept = kept_of(diarization)
    why = evidence(kept, config)
    labels, names = people(kept)
    strips = [*(a for a in why.alternatives if a.count < why.found), None]
    strips += [a for a in why.alternatives if a.count > why.found]
    tall = [2.6, 0.24 * max(1, len(names)) + 0.2, 0.42 * len(strips) + 0.3]
    figure = new_figure(width, sum(tall) + 1.5)
    grid = figure.add_gridspec(3, 2, height_ratios=tall, width_ratios=[1.25, 1])
    draw_values(figure.add_subplot(grid[0, 0]), why)
    draw_means(figure.add_subplot(grid[0, 1]), why, names)
    draw_times(figure.add_subplot(grid[1, :]), diarization, names)
    strip_axes = figure.add_subplot(grid[2, :])
    draw_strips(strip_axes, kept, labels, strips, diarization.duration)
    title = figure.suptitle(
        f"{shortened(diarization.uri)}: {summary(why)}", x=0.01, ha="left", fontsize=11, color=INK
    )
    write(title)
    if path is not None:
        save(figure, path)
    return figure


def sentences(diarization: Diarization, config: ClusteringConfig | None = None) -> Iterator[str]:
    """The same in words; arguments and errors of `count_diagnosis`."""
    why = evidence(kept_of(diarization), config)
    yield f"{diarization.uri}: {summary(why)}"
    if why.found > 1:
        i, j = np.unravel_index((why.means - 2 * np.eye(why.found)).argmax(), why.means.shape)
        names = people(kept_of(diarization))[1]
        score = f"score {why.means[i, j]:.3f} between their means"
        yield f"the two most alike: {names[i]} and {names[j]}, {score}"
    for other in why.alternatives:
        yield f"{what_if(why.found, other)}: {outcome(other)}"


def summary(why: Evidence) -> str:
    """The counts in one line."""
    by = "the eigenvalues propose" if why.spectral else "linkage proposes"
    found = f"{why.found} speaker{'s' if why.found != 1 else ''} found"
    if why.free == why.found:
        return f"{found}; {by} {why.proposed}"
    otherwise = "before corrections" if why.corrected else "if no number is asked for"
    return f"{found}; {by} {why.proposed}; {why.free} {otherwise}"


def what_if(found: int, other: Alternative) -> str:
    """The name of an alternative."""
    return f"with {other.count}, one {'fewer' if other.count < found else 'more'}"


def outcome(other: Alternative) -> str:
    """What an alternative would do."""
    said = [effect(change) for change in other.changes]
    if other.moved >= 0.005:
        said.append(f"{'and ' if said else ''}{100 * other.moved:.0f} % of the windows change sides")
    return ", ".join(said) or "nothing would change"


def effect(change: Change) -> str:
    """What happens to whom."""
    names = [shortened(name) for name in change.speakers]
    score = f"score {change.score:.2f}"
    if change.splits:
        parts = " + ".join(map(str, change.windows))
        return f"{names[0]} is split, {parts} windows ({score})"
    return f"{', '.join(names[:-1])} and {names[-1]} are one ({score})"


# Panels ---------------------------------------------------------------------------------------------


def draw_values(ax: Axes, why: Evidence) -> None:
    """The eigenvalues with the gap that proposes the count; or the scores at which clusters would merge."""
    plain(ax)
    ax.grid(visible=True, axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    n = len(why.values)
    if why.spectral:
        heading(ax, "eigenvalues")
        at = np.arange(1, n + 1)
        ax.plot(at, why.values, marker="o", markersize=4, color=INK, linewidth=0.8)
        k = why.proposed
        if k < n:
            ax.plot([k, k + 1], why.values[k - 1 : k + 1], color=PALETTE[1], linewidth=3, alpha=0.8)
            ax.annotate(
                f"widest gap after {k}", (k + 0.5, why.values[k - 1 : k + 1].mean()), (14, -12),
                textcoords="offset points", color=PALETTE[1], fontsize=9,
            )  # fmt: skip
        ax.axvline(why.found, color="0.6", linewidth=0.8, linestyle=":")
        ax.set_xlabel("speakers (dotted: found)", color=INK)
    else:
        heading(ax, "score at which two clusters become one")
        at = np.arange(n + 1, 1, -1)
        colours = [PALETTE[0] if value >= why.threshold else PALETTE[1] for value in why.values]
        ax.bar(at, why.values, color=colours, width=0.6)
        ax.axhline(why.threshold, color=INK, linewidth=0.8, linestyle=":")
        ax.set_xlabel("clusters before (dotted: the threshold)", color=INK)
    if n:
        ax.set_xticks(at)
    else:
        ax.set(xticks=[], yticks=[])


def draw_means(ax: Axes, why: Evidence, names: tuple[str, ...]) -> None:
    """The scores between the speakers' means."""
    plain(ax)
    heading(ax, "scores between speakers")
    if why.found:
        ax.imshow(why.means, vmin=0, vmax=1, cmap="magma", aspect="auto")
    if why.found <= MOST_NUMBERS:
        for i in range(why.found):
            for j in range(why.found):
                score = why.means[i, j]
                colour = "black" if score > 0.6 else "white"
                shown = "" if i == j else f"{score:.2f}"
                ax.text(j, i, shown, ha="center", va="center", color=colour, fontsize=8)
    name_rows(ax, names, 8)
    ax.set_xticks([])


def draw_times(ax: Axes, diarization: Diarization, names: tuple[str, ...]) -> None:
    """How much each speaker speaks."""
    plain(ax)
    heading(ax, "speaking time")
    seconds = [diarization.speaking_time.get(name, 0.0) for name in names]
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(names))]
    bars = ax.barh(range(len(names)), seconds, color=colours, height=0.72)
    ax.bar_label(bars, fmt="%.1f s", padding=4, fontsize=8, color=INK)
    name_rows(ax, names, 8)
    ax.set_xticks([])
    ax.set_xlim(0, 1.1 * max([*seconds, 1e-3]))


def draw_strips(
    ax: Axes, kept: Kept, labels: NDArray[np.int64], strips: list[Alternative | None], duration: float
) -> None:
    """Whose each window is, a strip a count; None is the result itself."""
    plain(ax)
    heading(ax, "whose each window is")
    found = int(labels.max(initial=-1)) + 1
    titles = []
    starts, ends = kept.windows[:, 0] / SAMPLE_RATE, kept.windows[:, 1] / SAMPLE_RATE
    later = np.append(starts[1:], np.inf) if len(starts) else starts
    widths = np.minimum(ends, later) - starts  # windows overlap: each is shown until the next begins
    for row, strip in enumerate(strips):
        own = labels if strip is None else strip.labels
        ax.broken_barh([(0, duration)], (row - 0.2, 0.56), color=TRACK, linewidth=0)
        colours = [PALETTE[int(label) % len(PALETTE)] for label in own]
        ax.broken_barh(
            list(zip(starts, widths, strict=True)), (row - 0.2, 0.56), facecolors=colours, linewidth=0
        )
        said = "as found" if strip is None else outcome(strip)
        write(ax.text(0, row - 0.24, said, fontsize=8, color=INK, va="bottom", transform=ax.transData))
        titles.append(str(found if strip is None else strip.count))
    ax.set_yticks(range(len(strips)), [f"{title} speaker{'s' if title != '1' else ''}" for title in titles])
    ax.set_ylim(len(strips) - 0.5, -0.6)
    ax.tick_params(axis="y", labelsize=8)
    label_time(ax, 0, max(duration, 1e-3), duration)
