"""RTTM (NIST's Rich Transcription Time Marked): one turn a line.

    SPEAKER meeting 1 0.512 3.200 <NA> <NA> speaker_1 0.98 <NA>
            uri     channel, start, duration        speaker, confidence

Definition: NIST, *The Rich Transcription 2009 evaluation plan*, appendix A.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from diarize._files import atomic_write
from diarize.errors import FormatError

from . import NO_NAME, clean_name, clean_names, format_ms, parse_seconds, read_fields
from .rows import Recording, SpeakerTurn, rows_of

if TYPE_CHECKING:
    from pyannote.core import Annotation

_OTHER_TYPES = {"A/P", "CB", "EDIT", "FILLER", "IP", "LEXEME", "NON-LEX", "NON-SPEECH"} | {
    "NOSCORE",
    "NO_RT_METADATA",
    "SEGMENT",
    "SPKR-INFO",
    "SU",
}


def read_rttm(path: str | os.PathLike[str]) -> dict[str, Annotation]:
    """Every recording of an RTTM file, by its uri, in the order of the file.

    Every turn survives, overlapping and identical ones included (each has a track of its own). Channels
    of one recording are put together. A line needs its first 8 fields, up to the speaker; 10 is the most.
    Lines of RTTM's other types (SPKR-INFO, LEXEME, NON-SPEECH, ...) and comments are skipped, NOSCORE
    included: what part is scored is said by a UEM file. A file without a turn gives ``{}``.

    A duration of zero is refused like a negative one, not skipped: it is nobody's speech, and a file
    that says so has lost something (most often digits) on its way.

    Raises
    ------
    FormatError
        ``meeting.rttm:17: duration must be > 0, got 0.000``; the first line that is wrong is named.
    OSError
        when the file cannot be read.
    """
    from pyannote.core import Annotation, Segment

    recordings: dict[str, Annotation] = {}
    for track, (where, fields) in enumerate(read_fields(path)):
        kind = fields[0].upper()
        if kind in _OTHER_TYPES:
            continue
        if kind != "SPEAKER":
            raise FormatError(
                f"{where}: a line must begin with SPEAKER or another RTTM type, got {fields[0][:40]!r}; "
                "is this an RTTM file?"
            )
        if not 8 <= len(fields) <= 10:
            raise FormatError(
                f"{where}: a SPEAKER line must have 8 to 10 fields, got {len(fields)}; "
                "names cannot hold spaces"
            )
        uri, speaker = fields[1], fields[7]
        start = parse_seconds(fields[3], "start", where)
        duration = parse_seconds(fields[4], "duration", where)
        if start < 0:
            raise FormatError(f"{where}: start must be >= 0, got {fields[3]}")
        if duration <= 0:
            raise FormatError(f"{where}: duration must be > 0, got {fields[4]}")
        annotation = recordings.setdefault(uri, Annotation(uri=uri))
        annotation[Segment(start, start + duration), track] = speaker
    return recordings


def format_rttm(turns: Iterable[SpeakerTurn], uri: str) -> str:
    """The turns of one recording as RTTM text, sorted by start, end and speaker.

    Start and end are rounded to milliseconds and the duration is their difference, so turns that
    abut still abut and rounding never makes turns overlap. A turn that rounds to 0 ms is left out:
    one written as 1 ms could overlap the next. White space and control characters in names become
    ``_``, an empty name ``<NA>``, and different speakers keep different names. The same turns give
    the same text, in whatever order they come. A confidence is written with three decimals.

    Raises
    ------
    FormatError
        when a time is not finite, a start is negative, or an end lies before its start.
    """
    rows = rows_of(Recording(uri, list(turns)))
    speakers = clean_names(row.speaker for row in rows)
    name = clean_name(uri)
    return "".join(
        f"SPEAKER {name} 1 {format_ms(start)} {format_ms(end - start)} <NA> <NA> {speakers[speaker]} "
        f"{NO_NAME if sure is None else format(sure, '.3f')} <NA>\n"
        for start, end, speaker, sure in rows
    )


def write_rttm(file: str | os.PathLike[str] | TextIO, turns: Iterable[SpeakerTurn], uri: str) -> None:
    """Write the turns of one recording, as `format_rttm` gives them, to a path or an open text file.

    A path gets the whole file or keeps what it had.
    """
    text = format_rttm(turns, uri)
    if isinstance(file, str | os.PathLike):
        atomic_write(file, text)
    else:
        file.write(text)
