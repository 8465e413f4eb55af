r"""CSV: a table of turns, for spreadsheets, pandas and databases.

    uri,start,end,speaker,confidence
    meeting,0.512,3.712,Anna,0.980

Seconds with three decimals; an empty confidence is not known. Quoting as in RFC 4180, line ends are ``\n``.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import FormatError

from . import format_ms, parse_seconds, read_text
from .rows import Recording, checked_turn, encodable, gathered, parse_number, rows_of

if TYPE_CHECKING:
    from diarize.result import Turn

HEADER = "uri,start,end,speaker,confidence\n"


def format_csv(recordings: Sequence[Recording]) -> str:
    """The turns of recordings as CSV, a header and one turn a line; names are kept exactly.

    Raises
    ------
    FormatError
        for impossible times.
    """
    lines = [HEADER]
    for recording in recordings:
        for start, end, speaker, confidence in rows_of(recording):
            sure = "" if confidence is None else f"{confidence:.3f}"
            cells = (_cell(recording.uri), format_ms(start), format_ms(end), _cell(speaker), sure)
            lines.append(",".join(cells) + "\n")
    return "".join(lines)


def read_csv(path: str | os.PathLike[str]) -> list[Recording]:
    """The recordings of a CSV file, in its order.

    The first line names the columns: ``start``, ``end`` (or ``duration``) and ``speaker``, and if they are
    there ``uri`` and ``confidence``; others are ignored. Without ``uri`` all turns are of one recording,
    named as the file. Columns are parted by commas, semicolons or tabs.

    Raises
    ------
    FormatError
        ``meeting.csv:17: end must be > start, got 2 to 1``; the first line that is wrong is named.
    OSError
        when the file cannot be read.
    """
    return gathered(_turns(read_text(path), path))


def _turns(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, Turn]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    begun = 0
    while True:
        where = f"{path}:{begun + 1}"  # the line on which a record begins
        try:
            cells = next(lines, None)
        except csv.Error as error:
            raise FormatError(f"{where}: not CSV: {error}") from error
        begun = lines.line_num
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if not columns:
            columns = [cell.strip().lower() for cell in cells]
            _check(columns, where)
        elif len(cells) != len(columns):
            raise FormatError(f"{where}: must have {len(columns)} columns, as the header, got {len(cells)}")
        else:
            yield _turn(dict(zip(columns, cells, strict=True)), where, Path(path).stem)


def _check(columns: list[str], where: str) -> None:
    wanted = ("start", "duration" if "duration" in columns and "end" not in columns else "end", "speaker")
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise FormatError(
            f"{where}: the first line must name the columns, {', '.join(wanted)} among them; "
            f"missing: {', '.join(missing)}; got {', '.join(columns)[:80]!r}"
        )
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice:
        raise FormatError(f"{where}: a column must have a name of its own, {twice!r} is there twice")


def _turn(row: dict[str, str], where: str, name: str) -> tuple[str, Turn]:
    start = parse_seconds(row["start"].strip(), "start", where)
    if "end" in row:
        end = parse_seconds(row["end"].strip(), "end", where)
    else:
        end = start + parse_seconds(row["duration"].strip(), "duration", where)
    sure = row.get("confidence", "").strip()
    confidence = parse_number(sure, "confidence", where) if sure else None
    return row.get("uri", name), checked_turn(start, end, row["speaker"], where, confidence)


def _cell(name: str) -> str:
    name = encodable(name)
    return '"' + name.replace('"', '""') + '"' if any(ch in ',;\t"\r\n' for ch in name) else name
