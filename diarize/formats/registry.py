"""Every format of turns in one table: what it is called, how its files end, how it is written and read.

format_turns(meeting.turns, "meeting", "textgrid", duration=meeting.duration)
read_turns("meeting.eaf")["meeting"]     # a pyannote.core.Annotation
by_ending("meeting.TextGrid").name       # textgrid
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import FormatError

from . import LATEST_S, clean_name, csv_, elan, json_, seglst, stm
from . import audacity as labels
from . import line_formats as lines
from . import textgrid as tg
from .rows import Recording, SpeakerTurn

if TYPE_CHECKING:
    from pyannote.core import Annotation

    from diarize.result import Match

__all__ = [
    "ENDINGS", "FORMATS", "Format", "Output", "Recording", "by_ending", "by_name", "chosen",
    "format_recordings", "format_turns", "read_recordings", "read_turns", "stem_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    name : as `--format` takes it
    endings : of its files, with the dot; the first is the one that is written
    description : a few words
    write : recordings to text
    read : path to recordings; None: it can only be written
    many : whether one file can hold several recordings
    header : the lines that begin a file; what follows them can be joined. None: files cannot be joined
    """

    name: str
    endings: tuple[str, ...]
    description: str
    write: Callable[[Sequence[Recording]], str]
    read: Callable[[str | os.PathLike[str]], list[Recording]] | None
    many: bool = True
    header: str | None = None

    @property
    def ending(self) -> str:
        """What a file's name ends in, ``.rttm``."""
        return self.endings[0]


def _one(write: Callable[[Recording], str]) -> Callable[[Sequence[Recording]], str]:
    """The writer of a format that holds one recording, for a sequence of exactly one."""
    return lambda recordings: write(*recordings)


_TABLE = (
    Format("rttm", (".rttm",), "NIST's, for scoring", lines.format_rttm, lines.read_rttm, header=""),
    Format("json", (".json",), "all that is known", _one(json_.format_json), json_.read_json, many=False),
    Format(
        "jsonl", (".jsonl", ".ndjson"), "one turn a line", json_.format_jsonl, json_.read_jsonl, header=""
    ),
    Format("csv", (".csv",), "a table", csv_.format_csv, csv_.read_csv, header=csv_.HEADER),
    Format("srt", (".srt",), "subtitles", _one(lines.format_srt), lines.read_srt, many=False),
    Format("vtt", (".vtt",), "web subtitles", _one(lines.format_vtt), lines.read_vtt, many=False),
    Format("textgrid", (".TextGrid",), "Praat's", _one(tg.format_textgrid), tg.read_textgrid, many=False),
    Format("elan", (".eaf",), "ELAN's", _one(elan.format_elan), elan.read_elan, many=False),
    Format(
        "audacity", (".txt",), "Audacity's labels", _one(labels.format_audacity), labels.read_audacity, False
    ),
    Format("stm", (".stm",), "NIST's, for words", stm.format_stm, stm.read_stm, header=""),
    Format(
        "seglst", (".seglst.json", ".seglst"), "CHiME's, MeetEval's", seglst.format_seglst, seglst.read_seglst
    ),
    Format("uem", (".uem",), "NIST's: what part to score, all of it", lines.format_uem, None, header=""),
)

FORMATS: Mapping[str, Format] = {form.name: form for form in _TABLE}
"""By name, in the order in which help lists them."""

ENDINGS: Mapping[str, Format] = {end.lower(): form for form in FORMATS.values() for end in form.endings}


def by_name(name: str) -> Format:
    """The format of a name; FormatError, with the nearest right one, for any other."""
    if name.lower() in FORMATS:
        return FORMATS[name.lower()]
    near = difflib.get_close_matches(name.lower(), FORMATS, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise FormatError(f"format must be one of {', '.join(FORMATS)}, got {name!r}{meant}")


def by_ending(path: str | os.PathLike[str]) -> Format:
    """The format that a file's ending names, in whatever case; FormatError if it names none."""
    name = Path(path).name.lower()
    fitting = [end for end in ENDINGS if name.endswith(end)]
    if not fitting:
        raise FormatError(f"{path}: the ending must name a format: {', '.join(ENDINGS)}")
    return ENDINGS[max(fitting, key=len)]


def stem_of(path: str | os.PathLike[str]) -> str:
    """A file's name without the ending of its format: ``meeting`` of ``turns/meeting.seglst.json``."""
    name = Path(path).name
    fitting = [len(end) for end in ENDINGS if name.lower().endswith(end) and len(end) < len(name)]
    return name[: -max(fitting)] if fitting else Path(path).stem


def chosen(path: str | os.PathLike[str], name: str | None = None) -> Format:
    """The format of that name, or without one the format that the ending of the path names."""
    return by_ending(path) if name is None else by_name(name)


def format_recordings(recordings: Sequence[Recording], name: str) -> str:
    """Recordings in the format of this name.

    Raises
    ------
    FormatError
        for an unknown name, for impossible times, for two recordings of one name, and for several in a
        format that holds one.
    """
    form = by_name(name)
    if not form.many and len(recordings) != 1:
        able = ", ".join(other.name for other in FORMATS.values() if other.many)
        raise FormatError(
            f"{form.name} holds exactly one recording, got {len(recordings)}; these hold many: {able}"
        )
    seen: set[str] = set()
    for recording in recordings:
        if recording.uri in seen:
            raise FormatError(
                f"two recordings are called {recording.uri!r}, which {form.name} cannot tell apart"
            )
        seen.add(recording.uri)
        if recording.duration is not None and not 0 <= recording.duration <= LATEST_S:
            raise FormatError(
                f"{recording.uri}: duration must be from 0 to {LATEST_S:.0f} s, got {recording.duration}"
            )
    return form.write(recordings)


def format_turns(
    turns: Iterable[SpeakerTurn],
    uri: str,
    name: str,
    *,
    duration: float | None = None,
    matches: Mapping[str, Match] | None = None,
) -> str:
    """The turns of one recording in the format of this name.

    duration : seconds of audio, which JSON, TextGrid and UEM state
    matches : which known voices the speakers are, which JSON states
    Raises FormatError for an unknown name and for impossible times.
    """
    return format_recordings([Recording(uri, tuple(turns), duration, matches or {})], name)


def read_recordings(path: str | os.PathLike[str], name: str | None = None) -> list[Recording]:
    """The recordings of a file, with all that its format says of them.

    name : of the format; None: the ending says it
    Raises FormatError (``file:line: ...``) for what cannot be read, OSError for no such file.
    """
    form = chosen(path, name)
    if form.read is None:
        able = ", ".join(other.name for other in FORMATS.values() if other.read)
        raise FormatError(f"{path}: {form.name} does not say who spoke when; these do: {able}")
    return form.read(path)


def read_turns(path: str | os.PathLike[str], format: str | None = None) -> dict[str, Annotation]:
    """Every recording of a file by its uri, as `diarize.formats.rttm.read_rttm` gives them.

    format : its name; None: the ending says it
    Raises FormatError (``file:line: ...``) for what cannot be read, OSError for no such file.
    """
    return {recording.uri: recording.annotation for recording in read_recordings(path, format)}


class Output:
    """Recordings that come one by one, written as text of one format.

    Formats whose files can be joined are written as they come, the others by `close`, all together.

    Raises
    ------
    FormatError
        for an unknown name; from `push` and `close` as `format_recordings`, and for two names that some
        format could not tell apart.
    """

    def __init__(self, name: str, write: Callable[[str], object]) -> None:
        self.form, self._write = by_name(name), write
        self._held: list[Recording] = []
        self._names: dict[str, str] = {}

    def push(self, recording: Recording) -> None:
        """One recording more."""
        name = clean_name(recording.uri)
        if name in self._names:
            raise FormatError(
                f"{self._names[name]!r} and {recording.uri!r} would be one recording in {self.form.name}"
            )
        begun = bool(self._names)
        self._names[name] = recording.uri
        if self.form.header is None:
            self._held.append(recording)
            return
        text = format_recordings([recording], self.form.name)
        self._write(text.removeprefix(self.form.header) if begun else text)

    def close(self) -> None:
        """The end: what was held back is written."""
        if self._held:
            self._write(format_recordings(self._held, self.form.name))
        self._held = []
