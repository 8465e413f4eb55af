"""Subtitles: SubRip (.srt) and WebVTT (.vtt), out and in.

    1                                    WEBVTT
    00:00:06,684 --> 00:00:09,600
    [Ann]: Shall we begin?               00:00:06.684 --> 00:00:09.600
                                         <v Ann>Shall we begin?</v>

SubRip has no definition and no way to say who speaks; ``[name]:`` before the text is WhisperX's way,
understood here on the way in as well. WebVTT has voice tags: W3C, *WebVTT: The Web Video Text Tracks Format*
(https://www.w3.org/TR/webvtt1/), section 4.
"""

from __future__ import annotations

import html
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from diarize.errors import FormatError

from . import LATEST_S, newlines, read_text, to_ms

_TIME = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?", re.ASCII)
_SPEAKER = re.compile(r"\[([^\[\]\n]+)\](?::[ \t]*|\s*\Z)")
_MARKS = re.compile(r"</?(?:[ibus]|font)(?:\s[^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?(?:[ \t\n]+([^<>]*))?>")
_TAG = re.compile(r"<[^<>]*>")
_ARROW = re.compile(r"--+>")  # what is left of a longer one must be none


@dataclass(frozen=True, slots=True)
class Cue:
    """A text shown from `start` to `end`, in seconds; `speaker` says it, None: not known.

    Written without a text, a cue shows its speaker's name: turns as subtitles.
    """

    start: float
    end: float
    text: str = ""
    speaker: str | None = None


def format_srt(cues: Iterable[Cue]) -> str:
    """The cues as SubRip text, numbered from 1, sorted by start and end.

    Times are rounded to whole milliseconds, which keeps their order; a cue lasts at least 1 ms, so that no
    text is lost. Blank lines, which would end a cue, and control characters are taken out of texts, ``-->``
    becomes ``->``. What is like markup stays as it is: SubRip has no escapes.

    Raises
    ------
    FormatError
        when a time is not finite, a start is negative, or an end lies before its start.
    """
    blocks = []
    for number, (start, end, cue) in enumerate(_in_order(cues), start=1):
        text, name = _ARROW.sub("->", _lines(cue.text)), _name(cue)
        if name is not None:
            name = _ARROW.sub("->", name).replace("[", "(").replace("]", ")")
            text = f"[{name}]: {text}" if text else f"[{name}]"
        blocks.append(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n\n")
    return "".join(blocks)


def format_vtt(cues: Iterable[Cue]) -> str:
    """The cues as WebVTT text, speakers in voice tags, sorted by start and end.

    Times and texts as in `format_srt`, with ``&``, ``<`` and ``>`` escaped: no text can become markup.

    Raises
    ------
    FormatError
        when a time is not finite, a start is negative, or an end lies before its start.
    """
    blocks = ["WEBVTT\n\n"]
    for start, end, cue in _in_order(cues):
        text, name = html.escape(_lines(cue.text), quote=False), _name(cue)
        if name is not None:
            name = html.escape(name, quote=False)
            text = f"<v {name}>{text or name}</v>"
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n\n")
    return "".join(blocks)


def read_srt(path: str | os.PathLike[str]) -> list[Cue]:
    """The cues of a SubRip file, as `parse_srt` gives them.

    Raises
    ------
    FormatError
        ``talk.srt:3: ...``; the first line that is wrong is named.
    OSError
        when the file cannot be read.
    """
    return parse_srt(newlines(read_text(path)), str(path))


def read_vtt(path: str | os.PathLike[str]) -> list[Cue]:
    """The cues of a WebVTT file, as `parse_vtt` gives them; errors as in `read_srt`."""
    return parse_vtt(newlines(read_text(path)), str(path))


def parse_srt(text: str, name: str = "<srt>") -> list[Cue]:
    r"""The cues of SubRip text, in its order; `name` is what messages call it.

    Read as players do: numbers may be missing or wrong, the decimal mark may be a point, a text may hold
    blank lines. Markup (``<i>``, ``<font ...>``, ``{\an8}``) is taken out. ``[name]:`` before a text is
    its speaker.

    Raises
    ------
    FormatError
        ``talk.srt:3: ...``; the first line that is wrong is named.
    """
    lines = text.split("\n")
    timed = [i for i, line in enumerate(lines) if re.match(r"\s*\d[\d:.,]*\s*-->", line)]
    for i in range(timed[0] if timed else len(lines)):
        if lines[i].strip() and not lines[i].strip().isdigit():
            raise _not_a_cue(name, i, lines[i], "HH:MM:SS,mmm --> HH:MM:SS,mmm")
    cues = []
    for i, following in pairwise([*timed, len(lines)]):
        start, end = _times(lines[i], f"{name}:{i + 1}", "HH:MM:SS,mmm --> HH:MM:SS,mmm")
        said = lines[i + 1 : following]
        if following < len(lines) and said and said[-1].strip().isdigit():
            del said[-1]  # the number of the next cue
        content = _lines(_MARKS.sub("", "\n".join(said)))
        speaker = None
        if found := _SPEAKER.match(content):
            speaker, content = found[1].strip() or None, content[found.end() :]
        cues.append(Cue(start, end, content, speaker))
    return cues


def parse_vtt(text: str, name: str = "<vtt>") -> list[Cue]:
    """The cues of WebVTT text, in its order; `name` is what messages call it.

    Notes, styles and regions are skipped, settings, times inside a text and tags taken out, escapes
    resolved. The speaker is the voice of a cue that has one; None for a cue with several.

    Raises
    ------
    FormatError
        ``talk.vtt:3: ...``; the first line that is wrong is named.
    """
    lines = text.split("\n")
    if not re.match(r"WEBVTT(?:[ \t]|\Z)", lines[0]):
        raise FormatError(f"{name}:1: a WebVTT file must begin with WEBVTT, got {lines[0][:40]!r}")
    cues = []
    for first, block in _blocks(lines):
        if re.match(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|\Z)", block[0]) and "-->" not in block[0]:
            continue
        at = next((i for i, line in enumerate(block[:2]) if "-->" in line), None)
        if at is None:
            raise _not_a_cue(name, first, block[0], "HH:MM:SS.mmm --> HH:MM:SS.mmm")
        start, end = _times(block[at], f"{name}:{first + at + 1}", "HH:MM:SS.mmm --> HH:MM:SS.mmm")
        said = "\n".join(block[at + 1 :])
        voices = {" ".join(html.unescape(voice or "").split()) for voice in _VOICE.findall(said)}
        content = _lines(html.unescape(_TAG.sub("", said)))
        cues.append(Cue(start, end, content, (voices.pop() or None) if len(voices) == 1 else None))
    return cues


def _in_order(cues: Iterable[Cue]) -> list[tuple[int, int, Cue]]:
    rows = []
    for number, cue in enumerate(cues, start=1):
        if not 0 <= cue.start <= cue.end <= LATEST_S:  # NaN is not, either
            raise FormatError(
                f"cue {number}: times must be finite with 0 <= start <= end <= {LATEST_S:.0f} s, "
                f"got {cue.start} to {cue.end}"
            )
        start = to_ms(cue.start)
        rows.append((start, max(to_ms(cue.end), start + 1), cue))
    return sorted(rows, key=lambda row: row[:2])


def _clock(ms: int, mark: str) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def _lines(text: str) -> str:
    """The lines of a text that say something, without control characters."""
    lines = ("".join(" " if _control(ch) else ch for ch in line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _name(cue: Cue) -> str | None:
    """The speaker on one line; None where there is none."""
    return None if cue.speaker is None else " ".join(_lines(cue.speaker).split()) or None


def _control(ch: str) -> bool:
    return unicodedata.category(ch) in {"Cc", "Cs"}


def _times(line: str, where: str, form: str) -> tuple[float, float]:
    found = _TIMES.fullmatch(line)
    if not found:
        raise FormatError(f"{where}: times must be {form}, got {line.strip()[:60]!r}")
    start, end = (_seconds(found.group(*range(first, first + 4))) for first in (1, 5))
    if end < start:
        raise FormatError(f"{where}: a cue must not end before its start, got {line.strip()[:60]!r}")
    return start, end


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    ms = int((fraction or "").ljust(3, "0"))
    return ((int(hours or 0) * 60 + int(minutes or 0)) * 60_000 + int(seconds or 0) * 1000 + ms) / 1000


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """What stands between blank lines, with the index of its first line."""
    first = 0
    for i, line in enumerate([*lines, ""]):
        if not line.strip():
            if i > first:
                yield first, lines[first:i]
            first = i + 1


def _not_a_cue(name: str, index: int, line: str, form: str) -> FormatError:
    return FormatError(f"{name}:{index + 1}: a cue must begin with its times, {form}, got {line[:40]!r}")
