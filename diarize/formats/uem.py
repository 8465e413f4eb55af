"""UEM (NIST's Un-partitioned Evaluation Map): the parts of a recording that are scored.

meeting 1 0.000 30.000
uri     channel, start, end
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from diarize._files import atomic_write
from diarize.errors import FormatError

from . import clean_name, format_ms, parse_seconds, read_fields, to_ms

if TYPE_CHECKING:
    from pyannote.core import Timeline


def read_uem(path: str | os.PathLike[str]) -> dict[str, Timeline]:
    """The parts to score of every recording of a UEM file, by uri, in the order of the file.

    Channels of one recording are put together; parts may overlap (scoring takes their union).

    Raises
    ------
    FormatError
        ``meeting.uem:3: end must be > start, got 12.0 to 12.0``; the first line that is wrong is named.
    OSError
        when the file cannot be read.
    """
    from pyannote.core import Segment, Timeline

    recordings: dict[str, Timeline] = {}
    for where, fields in read_fields(path):
        if len(fields) != 4:
            raise FormatError(
                f"{where}: a UEM line must have 4 fields (uri, channel, start, end), got {len(fields)}"
            )
        start, end = parse_seconds(fields[2], "start", where), parse_seconds(fields[3], "end", where)
        if start < 0:
            raise FormatError(f"{where}: start must be >= 0, got {fields[2]}")
        if end <= start:
            raise FormatError(f"{where}: end must be > start, got {fields[2]} to {fields[3]}")
        recordings.setdefault(fields[0], Timeline(uri=fields[0])).add(Segment(start, end))
    return recordings


def format_uem(parts: Mapping[str, Timeline]) -> str:
    """UEM text of the parts of each recording, in milliseconds; parts that round to 0 ms are left out."""
    rows = (
        (clean_name(uri), to_ms(part.start), to_ms(part.end))
        for uri, timeline in parts.items()
        for part in timeline
    )
    return "".join(
        f"{uri} 1 {format_ms(start)} {format_ms(end)}\n" for uri, start, end in rows if end > start
    )


def write_uem(file: str | os.PathLike[str] | TextIO, parts: Mapping[str, Timeline]) -> None:
    """Write what `format_uem` gives to a path (the whole file or nothing) or an open text file."""
    text = format_uem(parts)
    if isinstance(file, str | os.PathLike):
        atomic_write(file, text)
    else:
        file.write(text)
