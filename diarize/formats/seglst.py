"""SegLST (segment-wise long-form speech transcription): the JSON of CHiME and MeetEval.

    [
      {"session_id": "meeting", "speaker": "Anna", "start_time": 0.512, "end_time": 3.712, "words": ""}
    ]

Definition: MeetEval's README, *SegLST* (https://github.com/fgnt/meeteval). Here without words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from diarize.errors import FormatError

from . import read_text
from .json_values import lines_of, loaded, number_of, text_of
from .rows import Recording, checked_turn, encodable, gathered, rows_of


def format_seglst(recordings: Sequence[Recording]) -> str:
    """The turns of recordings as one JSON list, a turn a line, in milliseconds; names are kept exactly.

    Raises
    ------
    FormatError
        for impossible times.
    """
    lines = [
        json.dumps(
            {
                "session_id": encodable(recording.uri),
                "speaker": encodable(speaker),
                "start_time": start / 1000,
                "end_time": end / 1000,
                "words": "",
            },
            ensure_ascii=False,
        )
        for recording in recordings
        for start, end, speaker, _ in rows_of(recording)
    ]
    return "[" + ",".join(f"\n  {line}" for line in lines) + "\n]\n"


def read_seglst(path: str | os.PathLike[str]) -> list[Recording]:
    """The recordings of a SegLST file, in its order; words are not looked at.

    Times may be numbers or, as in CHiME's files, texts that hold one.

    Raises
    ------
    FormatError
        ``meeting.seglst.json:17: end_time must be a number, got nothing``; the first entry that is wrong.
    OSError
        when the file cannot be read.
    """
    text = read_text(path)
    return recordings_of(loaded(text, f"{path}"), text, path)


def recordings_of(entries: Any, text: str, path: str | os.PathLike[str]) -> list[Recording]:
    """The recordings of a SegLST list that was loaded from this text; errors as in `read_seglst`."""
    if not isinstance(entries, list):
        raise FormatError(f"{path}:1: must be a list of segments; is this SegLST?")
    turns = []
    for entry, line in zip(entries, lines_of(text), strict=False):
        where = f"{path}:{line}"
        if not isinstance(entry, dict):
            raise FormatError(f"{where}: a segment must be an object, got {str(entry)[:40]!r}")
        uri, speaker = _name(entry, "session_id", where), _name(entry, "speaker", where)
        start = number_of(entry, "start_time", where, quoted=True)
        end = number_of(entry, "end_time", where, quoted=True)
        turns.append((uri, checked_turn(start, end, speaker, where)))
    return gathered(turns)


def _name(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    number = isinstance(value, int) and not isinstance(value, bool)  # MeetEval numbers speakers
    return str(value) if number else text_of(entry, key, where)
