"""JSON, one recording with all that is known of it, and JSON lines, one turn a line.

    {"schema": "diarize/1", "uri": "meeting", "duration": 30.0,
     "turns": [{"start": 0.512, "end": 3.7126875, "speaker": "Anna", "confidence": 0.98}],
     "speakers": [{"name": "Anna", "speaking_time": 3.2006875,
                   "match": {"name": "Anna", "score": 0.71, "threshold": 0.55, "recognised": true}}]}

    {"uri": "meeting", "start": 0.512, "end": 3.7126875, "speaker": "Anna", "confidence": 0.98}

The first is defined by ``docs/schema/diarize-1.json`` (JSON Schema 2020-12). The version grows when a reader
of the old one would misunderstand; fields may be added without. Speakers have a ``match`` where voices were
enrolled. JSON lines are for pipes (``grep``, ``jq``,
``pandas.read_json(lines=True)``): every line stands alone, those of many recordings can be joined, and as in
RTTM a recording without turns leaves none.

Times here lose nothing: seconds with at most 7 decimals, which hold whole samples at 16 kHz exactly. All
other formats round to milliseconds, so JSON turned into RTTM is the RTTM that would have been written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize.errors import FormatError

from . import read_text
from .json_values import lines_of, loaded, number_of, text_of
from .rows import Recording, checked_turn, checked_turns, confidence_of, encodable, gathered
from .seglst import recordings_of

if TYPE_CHECKING:
    from diarize.result import Match, Turn

SCHEMA = "diarize/1"
DECIMALS = 7


def format_json(recording: Recording) -> str:
    """One recording as JSON, a turn a line; the duration is null where it is not known.

    Speakers are in the order in which they first speak; ``speaking_time`` is the sum of their turns.

    Raises
    ------
    FormatError
        for impossible times.
    """
    turns = _lasting(recording)
    times: dict[str, float] = {}
    for turn in turns:
        times[turn.speaker] = times.get(turn.speaker, 0.0) + turn.end - turn.start
    speakers = [
        {"name": encodable(name), "speaking_time": _seconds(time)} | _match(recording.matches.get(name))
        for name, time in times.items()
    ]
    duration = None if recording.duration is None else _seconds(recording.duration)
    parts = {
        "schema": _dumped(SCHEMA),
        "uri": _dumped(encodable(recording.uri)),
        "duration": _dumped(duration),
        "turns": _listed([_fields(turn) for turn in turns]),
        "speakers": _listed(speakers),
    }
    return "{\n" + ",\n".join(f'  "{name}": {value}' for name, value in parts.items()) + "\n}\n"


def format_jsonl(recordings: Sequence[Recording]) -> str:
    """The turns of recordings as JSON lines; errors as in `format_json`."""
    return "".join(
        _dumped({"uri": encodable(recording.uri)} | _fields(turn)) + "\n"
        for recording in recordings
        for turn in _lasting(recording)
    )


def read_json(path: str | os.PathLike[str]) -> list[Recording]:
    """The recording of a JSON file; a file that holds a list is read as SegLST.

    Raises
    ------
    FormatError
        ``meeting.json:17: end must be > start, got 2 to 1``; the first turn that is wrong is named.
    OSError
        when the file cannot be read.
    """
    text = read_text(path)
    document = loaded(text, f"{path}")
    if isinstance(document, list):
        return recordings_of(document, text, path)
    where = f"{path}:1"
    if not isinstance(document, dict) or not isinstance(document.get("turns"), list):
        raise FormatError(f'{where}: must be an object with a list "turns"; is this JSON of diarize?')
    schema = document.get("schema")
    if schema != SCHEMA:
        raise FormatError(f'{where}: "schema" must be "{SCHEMA}", got {str(schema)[:40]!r}')
    uri = text_of(document, "uri", where)
    duration = None if document.get("duration") is None else number_of(document, "duration", where)
    if duration is not None and duration < 0:
        raise FormatError(f"{where}: duration must be >= 0, got {duration:g}")
    lines = lines_of(text, "turns")
    turns = [_turn(entry, f"{path}:{line}") for entry, line in zip(document["turns"], lines, strict=False)]
    matches = _matches(document.get("speakers"), text, f"{path}")
    return [Recording(uri, tuple(sorted(turns)), duration, matches)]


def read_jsonl(path: str | os.PathLike[str]) -> list[Recording]:
    """The recordings of a file of JSON lines, in its order; errors as in `read_json`.

    A line without a ``uri`` is of the recording named as the file. Lines that are not final, of a running
    stream, are skipped.
    """
    return gathered(_lines(path))


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[str, Turn]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        entry = loaded(line, f"{path}", number)
        if isinstance(entry, dict) and entry.get("final") is False:
            continue
        turn = _turn(entry, where)
        yield (text_of(entry, "uri", where) if "uri" in entry else Path(path).stem), turn


def _turn(entry: Any, where: str) -> Turn:
    if not isinstance(entry, dict):
        raise FormatError(f"{where}: a turn must be an object, got {str(entry)[:40]!r}")
    start, end = number_of(entry, "start", where), number_of(entry, "end", where)
    sure = None if entry.get("confidence") is None else number_of(entry, "confidence", where)
    return checked_turn(start, end, text_of(entry, "speaker", where), where, sure)


def _match(match: Match | None) -> dict[str, Any]:
    """The field that says which known voice a speaker is, or sounds most like; without one, no field."""
    if match is None:
        return {}
    figures = {"score": round(match.score, 6), "threshold": round(match.threshold, 6)}
    return {"match": {"name": encodable(match.name), **figures, "recognised": match.recognised}}


def _matches(speakers: Any, text: str, path: str) -> dict[str, Match]:
    """What `_match` wrote of each speaker."""
    from diarize.result import Match

    found: dict[str, Match] = {}
    if not isinstance(speakers, list):
        return found
    for entry, line in zip(speakers, lines_of(text, "speakers"), strict=False):
        match, where = entry.get("match") if isinstance(entry, dict) else None, f"{path}:{line}"
        if match is None:
            continue
        if not isinstance(match, dict) or not isinstance(match.get("recognised"), bool):
            raise FormatError(f'{where}: match must be an object with "recognised", true or false')
        score, threshold = number_of(match, "score", where), number_of(match, "threshold", where)
        name = text_of(match, "name", where)
        found[text_of(entry, "name", where)] = Match(name, score, threshold, match["recognised"])
    return found


def _lasting(recording: Recording) -> list[Any]:
    """The turns that last, in the decimals that are written: one that did not could not be read back."""
    return [turn for turn in checked_turns(recording) if _seconds(turn.end) > _seconds(turn.start)]


def _fields(turn: Any) -> dict[str, Any]:
    sure = confidence_of(turn)
    return {
        "start": _seconds(turn.start),
        "end": _seconds(turn.end),
        "speaker": encodable(turn.speaker),
        "confidence": None if sure is None else round(float(sure), 3),
    }


def _listed(entries: list[dict[str, Any]]) -> str:
    return "[" + ",".join(f"\n    {_dumped(entry)}" for entry in entries) + ("\n  ]" if entries else "]")


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _seconds(value: float) -> float:
    return round(float(value), DECIMALS)
