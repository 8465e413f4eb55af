"""RTTM, UEM and subtitles as formats of whole recordings, for the registry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import FormatError

from . import NO_NAME, clean_names, distinct, format_ms, read_fields, rttm, subtitles, to_ms
from .rows import Recording, checked_turn, gathered, no_comment, one_line, rows_of

if TYPE_CHECKING:
    from diarize.result import Turn


def format_rttm(recordings: Sequence[Recording]) -> str:
    """The turns of recordings as RTTM; different recordings keep different names."""
    uris = clean_names(recording.uri for recording in recordings)
    return "".join(rttm.format_rttm(recording.turns, uris[recording.uri]) for recording in recordings)


def read_rttm(path: str | os.PathLike[str]) -> list[Recording]:
    """The recordings of an RTTM file as `diarize.formats.rttm.read_rttm`, with the confidences of turns.

    A ninth field that is no number from 0 to 1 is no confidence: other programs keep other things there.
    """
    found = rttm.read_rttm(path)
    fields = [fields for _, fields in read_fields(path)]  # a track is the number of its line among them
    return gathered(
        (uri, checked_turn(span.start, span.end, speaker, f"{path}", _confidence(fields[track])))
        for uri, annotation in found.items()
        for span, track, speaker in annotation.itertracks(yield_label=True)
    )


def _confidence(fields: list[str]) -> float | None:
    try:
        value = float(fields[8])
    except (IndexError, ValueError):
        return None
    return value if 0 <= value <= 1 else None


def format_uem(recordings: Sequence[Recording]) -> str:
    """All of each recording, from 0 to its end, as UEM: what part of it to score.

    Raises
    ------
    FormatError
        where the duration is not known.
    """
    uris = distinct((recording.uri for recording in recordings), no_comment)
    lines = []
    for recording in recordings:
        if recording.duration is None:
            raise FormatError(
                f"{recording.uri}: UEM needs the duration of the recording, which the source does not say"
            )
        lines.append(f"{uris[recording.uri]} 1 0.000 {format_ms(to_ms(recording.duration))}\n")
    return "".join(lines)


def format_srt(recording: Recording) -> str:
    """The turns as subtitles that show who speaks, in milliseconds."""
    return subtitles.format_srt(_cues(recording))


def format_vtt(recording: Recording) -> str:
    """The turns as web subtitles that show who speaks, in milliseconds."""
    return subtitles.format_vtt(_cues(recording))


def _cues(recording: Recording) -> Iterator[subtitles.Cue]:
    rows = rows_of(recording)
    names = distinct((row.speaker for row in rows), lambda name: " ".join(one_line(name).split()) or NO_NAME)
    for start, end, speaker, _ in rows:
        yield subtitles.Cue(start / 1000, end / 1000, speaker=names[speaker])


def read_srt(path: str | os.PathLike[str]) -> list[Recording]:
    """The one recording of subtitles whose cues say who speaks, ``[name]: ...``; others are skipped.

    Raises
    ------
    FormatError
        as `diarize.formats.subtitles.read_srt`, and where no cue says who speaks.
    """
    return _turns(subtitles.read_srt(path), path, "[name]: text")


def read_vtt(path: str | os.PathLike[str]) -> list[Recording]:
    """The one recording of web subtitles whose cues have a voice; else as `read_srt`."""
    return _turns(subtitles.read_vtt(path), path, "<v name>text</v>")


def _turns(cues: list[subtitles.Cue], path: str | os.PathLike[str], way: str) -> list[Recording]:
    said = [cue for cue in cues if cue.speaker is not None and cue.end > cue.start]
    if cues and not said:
        raise FormatError(f"{path}: no cue says who speaks, as {way} would")
    turns: list[tuple[str, Turn]] = [
        (Path(path).stem, checked_turn(cue.start, cue.end, cue.speaker or "", f"{path}")) for cue in said
    ]
    return gathered(turns)
