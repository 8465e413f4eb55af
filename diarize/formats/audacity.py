r"""Audacity's label tracks: start, end and label, parted by tabs.

    0.512000	3.712000	Anna

Definition: the Audacity manual, *Importing and Exporting Labels*
(https://manual.audacityteam.org/man/importing_and_exporting_labels.html).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import FormatError

from . import distinct, format_ms, newlines, parse_seconds, read_text
from .rows import Recording, checked_turn, gathered, one_line, rows_of

if TYPE_CHECKING:
    from diarize.result import Turn


def format_audacity(recording: Recording) -> str:
    """The turns as labels, one a line, in milliseconds; labels of different speakers may overlap.

    Control characters in names (tabs and line ends among them) become ``_``, an empty name ``<NA>``, and
    different speakers keep different names.

    Raises
    ------
    FormatError
        for impossible times.
    """
    rows = rows_of(recording)
    names = distinct((row.speaker for row in rows), one_line)
    return "".join(
        f"{format_ms(start)}000\t{format_ms(end)}000\t{names[speaker]}\n" for start, end, speaker, _ in rows
    )


def read_audacity(path: str | os.PathLike[str]) -> list[Recording]:
    r"""The one recording of a file of labels, named as the file; none if it holds no turn.

    A label is a speaker. Labels of a single moment are marks, nobody's speech, and skipped, as are the
    frequency ranges (lines that begin with ``\``).

    Raises
    ------
    FormatError
        ``labels.txt:17: end must be > start, got 2 to 1``; the first line that is wrong is named.
    OSError
        when the file cannot be read.
    """
    return gathered(_turns(path))


def _turns(path: str | os.PathLike[str]) -> Iterator[tuple[str, Turn]]:
    text = newlines(read_text(path))
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        where, cells = f"{path}:{number}", line.split("\t", 2)
        if len(cells) < 3:
            raise FormatError(
                f"{where}: a label must have 3 fields parted by tabs (start, end, name), got {len(cells)}"
            )
        start = parse_seconds(cells[0].strip(), "start", where)
        end = parse_seconds(cells[1].strip(), "end", where)
        if start != end:
            yield Path(path).stem, checked_turn(start, end, cells[2], where)
