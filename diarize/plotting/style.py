"""What pictures share: colours, the time axis, names in any script, and writing them to files."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize.errors import ConfigError, DiarizeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

logger = logging.getLogger("diarize")

PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#994455", "#997700", "#77aadd")
"""Colours that stay apart for colour-blind readers (Paul Tol, bright and muted); a tenth speaker has the
first again."""

INK, TRACK = "0.2", "0.95"
"""Grey levels of the text and of the row behind a speaker's turns."""

ENDINGS = (".png", ".svg")
"""What a picture's file can end in."""

DPI = 150
"""Dots an inch, of PNG."""

LONGEST_NAME = 28
"""Letters of a name that are shown."""

STEPS_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
"""Seconds between two ticks of the time axis, of recordings that are longer than two minutes."""


def matplotlib() -> Any:
    """The library; DiarizeError where it is not installed."""
    try:
        import matplotlib.figure
        import matplotlib.font_manager
        import matplotlib.layout_engine
        import matplotlib.patches
        import matplotlib.text
        import matplotlib.ticker
    except ImportError as error:
        raise DiarizeError(
            f"pictures need matplotlib ({error}); pip install 'diarize-campplus[plot]'"
        ) from error
    return matplotlib


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, in inches, whose parts make room for one another, and that a notebook shows."""
    library = matplotlib()
    figure: Figure = library.figure.Figure(
        figsize=(width, height),
        facecolor="white",
        layout=library.layout_engine.ConstrainedLayoutEngine(w_pad=0.1),  # inches beside the names
    )
    vars(figure)["_repr_png_"] = partial(as_png, figure)  # without pyplot, nobody tells IPython how
    return figure


def plain(ax: Axes) -> None:
    """Nothing around a panel, and its texts in ink."""
    ax.set_facecolor("white")
    ax.tick_params(axis="both", length=0, labelsize=10, labelcolor=INK)
    for spine in ax.spines.values():
        spine.set_visible(False)


def heading(ax: Axes, text: str) -> None:
    """The title of a panel, above its left end."""
    write(ax.set_title(text, fontsize=10, loc="left", color=INK, fontweight="bold"))


def label_time(ax: Axes, start_s: float, end_s: float, whole_s: float) -> None:
    """The time axis between two times of a recording: seconds up to two minutes, then m:ss or h:mm:ss."""
    ax.set_xlim(start_s, end_s)
    if whole_s <= 120:
        ax.set_xlabel("seconds", fontsize=10, color=INK)
        return
    ticker = matplotlib().ticker
    shown_s = end_s - start_s
    step = next((step for step in STEPS_S if shown_s / step <= 10), STEPS_S[-1])
    ax.xaxis.set_major_locator(
        ticker.MultipleLocator(step) if shown_s / step <= 30 else ticker.MaxNLocator(10)
    )
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda seconds, _: minutes(seconds)))


def minutes(seconds: float) -> str:
    """Whole seconds as m:ss, from an hour on as h:mm:ss."""
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def name_rows(ax: Axes, names: Iterable[str], size: float = 10) -> None:
    """The names of rows 0, 1, ... from the top."""
    shown = [shortened(name) for name in names]
    ax.set_yticks(range(len(shown)), shown)
    ax.set_ylim(max(len(shown), 1) - 0.5, -0.5)
    ax.tick_params(axis="y", labelsize=size)
    for label in ax.get_yticklabels():
        write(label)


# Texts ----------------------------------------------------------------------------------------------


def shortened(name: str) -> str:
    """A name as one line that is not too long."""
    line = " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in name).split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1].rstrip() + "…"


def write(text: Text) -> None:
    """Let a text be what it is: no formula in it, and fonts that have its letters after the usual one."""
    text.set_parse_math(False)
    if others := _fonts_for(text.get_text())[0]:
        text.set_fontfamily([*matplotlib().rcParams["font.family"], *others])


@cache
def _fonts_for(text: str) -> tuple[tuple[str, ...], str]:
    """Installed fonts for the letters that the usual one lacks, and the letters that no font has."""
    library = matplotlib()
    fonts = library.font_manager
    usual = fonts.findfont(fonts.FontProperties())
    missing = {ord(letter) for letter in text if not letter.isspace()} - _letters(usual)
    found: list[str] = []
    if not missing:
        return (), ""
    for font in sorted(fonts.fontManager.ttflist, key=lambda font: (font.style != "normal", font.name)):
        if missing & _letters(font.fname):
            found.append(font.name)
            missing -= _letters(font.fname)
        if not missing:
            break
    return tuple(found), "".join(sorted(map(chr, missing)))


@cache
def _letters(font: str) -> frozenset[int]:
    try:
        return frozenset(matplotlib().font_manager.get_font(font).get_charmap())
    except (OSError, RuntimeError):  # a font that is listed and cannot be read
        return frozenset()


def _texts(figure: Figure) -> Iterator[str]:
    text: Any
    for text in figure.findobj(matplotlib().text.Text):
        yield text.get_text()


def _left_to_the_viewer(text: str) -> bool:
    """Whether some letter has no font here, or changes its shape or place beside others."""
    return bool(_fonts_for(text)[1]) or any(
        unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter) in ("Mn", "Mc")
        for letter in text
    )


# Files ----------------------------------------------------------------------------------------------


def as_svg(figure: Figure) -> str:
    """A figure as SVG text: the same bytes for the same figure and the same matplotlib.

    Letters are outlines, so that they look the same everywhere, unless a name has letters that no font here
    has, or that have to be joined: then all are text, and the viewer's fonts draw them.
    """
    names = "none" if any(map(_left_to_the_viewer, set(_texts(figure)))) else "path"
    buffer = io.StringIO()
    settings = {"svg.hashsalt": "diarize", "svg.fonttype": names}
    with matplotlib().rc_context(settings), _no_complaints(), _settled(figure):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def as_png(figure: Figure) -> bytes:
    """A figure as PNG. Letters that no font here has become boxes, with a warning."""
    lacking = "".join(sorted(set("".join(_fonts_for(text)[1] for text in set(_texts(figure))))))
    if lacking:
        logger.warning(
            "no font that is installed has the letters %s; install one that does, or write SVG, which leaves "
            "them to the viewer",
            lacking[:20],
        )
    buffer = io.BytesIO()
    with _no_complaints():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@contextlib.contextmanager
def _settled(figure: Figure) -> Iterator[None]:
    """The layout made and held, at rounded places: the solver's last bits differ from one time to another."""
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        left, bottom, width, height = (round(value, 6) for value in ax.get_position().bounds)
        ax.set_position((left, bottom, width, height))
        ax.set_in_layout(True)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


@contextlib.contextmanager
def _no_complaints() -> Iterator[None]:
    """Without matplotlib's warning for every letter that a font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as its file's ending says, whole or not at all; returns the path.

    Raises ConfigError for an ending other than `ENDINGS`, OSError where it cannot be written.
    """
    from diarize._files import atomic_write

    path = check_ending(path)
    atomic_write(path, as_svg(figure) if path.suffix.lower() == ".svg" else as_png(figure))
    return path


def check_ending(path: str | os.PathLike[str]) -> Path:
    """The path of a picture; ConfigError for an ending other than `ENDINGS`."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{path}: a picture's file must end in {' or '.join(ENDINGS)}")
    return path
