"""STM (NIST's segment time marks): one turn a line, and what was said in it.

    meeting 1 Anna 0.512 3.712
    uri     channel, speaker, start, end, words (none here)

Definition: NIST's SCTK, *STM: segment time mark*
(https://github.com/usnistgov/SCTK/blob/master/doc/infmts.htm).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from diarize.errors import FormatError

from . import clean_names, distinct, format_ms, parse_seconds, read_fields
from .rows import Recording, checked_turn, gathered, no_comment, rows_of

if TYPE_CHECKING:
    from diarize.result import Turn

_NOBODY = {"inter_segment_gap", "excluded_region"}
"""Names by which NIST's tools mark what is not scored."""


def format_stm(recordings: Sequence[Recording]) -> str:
    """The turns of recordings as STM, without words, in milliseconds; names are cleaned as in RTTM.

    Raises
    ------
    FormatError
        for impossible times.
    """
    uris = distinct((recording.uri for recording in recordings), no_comment)
    lines = []
    for recording in recordings:
        rows = rows_of(recording)
        names = clean_names(row.speaker for row in rows)
        lines += [
            f"{uris[recording.uri]} 1 {names[speaker]} {format_ms(start)} {format_ms(end)}\n"
            for start, end, speaker, _ in rows
        ]
    return "".join(lines)


def read_stm(path: str | os.PathLike[str]) -> list[Recording]:
    """The recordings of an STM file, in its order; words and labels are not looked at.

    Channels of one recording are put together. Parts that are nobody's (``inter_segment_gap``) are skipped.

    Raises
    ------
    FormatError
        ``meeting.stm:17: end must be > start, got 2 to 1``; the first line that is wrong is named.
    OSError
        when the file cannot be read.
    """
    return gathered(_turns(path))


def _turns(path: str | os.PathLike[str]) -> Iterator[tuple[str, Turn]]:
    for where, fields in read_fields(path):
        if len(fields) < 5:
            raise FormatError(
                f"{where}: an STM line must have at least 5 fields (uri, channel, speaker, start, end), "
                f"got {len(fields)}"
            )
        uri, _, speaker = fields[:3]
        start, end = parse_seconds(fields[3], "start", where), parse_seconds(fields[4], "end", where)
        if speaker not in _NOBODY:
            yield uri, checked_turn(start, end, speaker, where)
