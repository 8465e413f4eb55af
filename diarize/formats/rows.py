"""What every format of turns shares: a recording, turns checked on the way in, milliseconds on the way out.

All formats but JSON give times in whole milliseconds, by the rules of RTTM here: equal times stay equal,
rounding never makes turns overlap, and a turn that rounds to 0 ms is left out.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from diarize.errors import FormatError

from . import LATEST_S, NO_NAME, clean_name, parse_seconds, to_ms

if TYPE_CHECKING:
    from pyannote.core import Annotation

    from diarize.result import Diarization, Match, Turn


class SpeakerTurn(Protocol):
    """What is written: ``start`` and ``end`` in seconds, and the name of the speaker.

    A turn may have a ``confidence`` between 0 and 1; None, or no such attribute: not known.
    """

    @property
    def start(self) -> float:
        """Start in seconds."""

    @property
    def end(self) -> float:
        """End in seconds."""

    @property
    def speaker(self) -> str:
        """Name of the speaker."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Who spoke when in one recording, as a file says it.

    uri : the recording's name
    turns : in order of time; they may overlap, those of one speaker too
    duration : seconds of audio; None where the format does not say
    matches : the known voice that a speaker sounds most like; of JSON, where voices were enrolled
    """

    uri: str
    turns: Sequence[SpeakerTurn]
    duration: float | None = None
    matches: Mapping[str, Match] = field(default_factory=dict, hash=False)

    @property
    def annotation(self) -> Annotation:
        """The turns as a `pyannote.core.Annotation`, each with a track of its own."""
        from pyannote.core import Annotation, Segment

        annotation = Annotation(uri=self.uri)
        for track, turn in enumerate(self.turns):
            annotation[Segment(turn.start, turn.end), track] = turn.speaker
        return annotation

    @property
    def diarization(self) -> Diarization:
        """The same as a result, with what is known of how sure the turns are."""
        from diarize.result import Diarization, Turn

        said = tuple(Turn(t.start, t.end, t.speaker, confidence_of(t)) for t in self.turns)
        return Diarization(said, self.end, self.uri)

    @property
    def end(self) -> float:
        """Seconds to the end of the recording, or of its last turn where that is later."""
        return max([self.duration or 0.0, *(turn.end for turn in self.turns)])


class Row(NamedTuple):
    """A turn in whole milliseconds, end > start."""

    start: int
    end: int
    speaker: str
    confidence: float | None


def checked_turns(recording: Recording) -> list[SpeakerTurn]:
    """The turns sorted by start, end and speaker, whatever order they came in.

    Raises
    ------
    FormatError
        when a time is not finite, a start is negative, or an end lies before its start.
    """
    turns = list(recording.turns)
    for number, turn in enumerate(turns, start=1):
        if not (0 <= turn.start <= turn.end and math.isfinite(turn.end)):
            raise FormatError(
                f"turn {number} of {recording.uri}: times must be finite with 0 <= start <= end, "
                f"got {turn.start} to {turn.end}"
            )
        if turn.end > LATEST_S:
            raise FormatError(
                f"turn {number} of {recording.uri}: end must be at most {LATEST_S:.0f} s, got {turn.end:g}"
            )
    return sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker, confidence_of(turn) or 0.0))


def rows_of(recording: Recording) -> list[Row]:
    """The turns in whole milliseconds, sorted by start, end and speaker; errors as in `checked_turns`."""
    rows = [
        Row(to_ms(turn.start), to_ms(turn.end), turn.speaker, confidence_of(turn))
        for turn in checked_turns(recording)
    ]
    return sorted((row for row in rows if row.end > row.start), key=lambda row: row[:3])


def confidence_of(turn: SpeakerTurn) -> float | None:
    """The confidence of a turn, None where it is not known."""
    confidence: float | None = getattr(turn, "confidence", None)
    return confidence


def tiers_of(rows: Iterable[Row]) -> dict[str, list[tuple[int, int]]]:
    """The (start, end) of each speaker, speakers in order of first appearance.

    For formats in which nothing overlaps within a tier: overlapping turns of one speaker become one;
    those that touch stay two.
    """
    tiers: dict[str, list[tuple[int, int]]] = {}
    for row in sorted(rows, key=lambda row: row[:3]):
        spans = tiers.setdefault(row.speaker, [])
        if spans and row.start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], row.end))
        else:
            spans.append((row.start, row.end))
    return tiers


def encodable(name: str) -> str:
    """A name that UTF-8 can hold: halves of surrogate pairs become ``_``."""
    return "".join("_" if unicodedata.category(ch) == "Cs" else ch for ch in name)


def no_comment(name: str) -> str:
    """A name that can begin a line of fields: as `clean_name`, and not as a comment begins."""
    name = clean_name(name)
    return "_" + name[1:] if name.startswith((";", "#")) else name


def one_line(name: str) -> str:
    """A name that is one line without tabs: control characters become ``_``; an empty one ``<NA>``."""
    return "".join("_" if unicodedata.category(ch) in {"Cc", "Cs"} else ch for ch in name) or NO_NAME


def checked_turn(start: float, end: float, speaker: str, where: str, confidence: float | None = None) -> Turn:
    """A turn that a file gives, its times to 7 decimals; `where` begins the message if it cannot be one.

    What was added up from a start and a duration is then what the file means: turns that abut in it abut.

    Raises
    ------
    FormatError
        ``meeting.csv:17: end must be > start, got 2 to 1``
    """
    from diarize.result import Turn

    if not (math.isfinite(start) and math.isfinite(end)):
        raise FormatError(f"{where}: times must be finite, got {start} to {end}")
    if end > LATEST_S:
        raise FormatError(f"{where}: end must be at most {LATEST_S:.0f} s, got {end:g}")
    start, end = round(start, 7), round(end, 7)
    if start < 0:
        raise FormatError(f"{where}: start must be >= 0, got {start:g}")
    if end <= start:
        raise FormatError(f"{where}: end must be > start, got {start:.10g} to {end:.10g}")
    if confidence is not None and not 0 <= confidence <= 1:
        raise FormatError(f"{where}: confidence must be from 0 to 1, got {confidence:g}")
    return Turn(start, end, speaker, confidence)


def parse_number(text: str, what: str, where: str) -> float:
    """A finite number, or a `FormatError` that names the place and the field."""
    try:
        return parse_seconds(text, what, where)
    except FormatError:
        raise FormatError(f"{where}: {what} must be a number, got {text[:40]!r}") from None


def gathered(turns: Iterable[tuple[str, Turn]]) -> list[Recording]:
    """Recordings from (uri, turn), in the order of their first turn, each sorted by time."""
    found: dict[str, list[Turn]] = {}
    for uri, turn in turns:
        found.setdefault(uri, []).append(turn)
    return [Recording(uri, tuple(sorted(turns))) for uri, turns in found.items()]
