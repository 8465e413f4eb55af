"""TextGrid (Praat): a tier a speaker, whose intervals say their name where they speak.

Definition: Praat's manual, *TextGrid file formats*
(https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html). Praat looks at free-standing numbers,
texts in double quotes and flags in angle brackets only, everything else is commentary; so does the reader,
which therefore reads the long and the short form.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import FormatError

from . import NO_NAME, distinct, format_ms, newlines, parse_seconds, read_bytes, read_text, to_ms
from .rows import Recording, checked_turn, rows_of, tiers_of

if TYPE_CHECKING:
    from diarize.result import Turn

_TOKEN = re.compile(
    r"""(?P<text>"[^"]*+(?:""[^"]*+)*+")
      | (?<!\S)(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?!\S)
      | (?<!\S)(?P<flag><[^>\s]+>)(?!\S)
      | (?<!\S)![^\n]*
      | (?P<open>")
      | [^\s"]+""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def format_textgrid(recording: Recording) -> str:
    """The turns as a TextGrid in the long form, UTF-8, in milliseconds.

    Overlapping turns of one speaker become one interval; those that touch stay two. The grid ends where the
    recording does, or with the last turn where its duration is not known or shorter. Without any turn there
    is one tier, without a name and empty. Confidences have no place in it.

    Raises
    ------
    FormatError
        for impossible times.
    """
    tiers = tiers_of(rows_of(recording))
    names = distinct(tiers, _kept)
    end = max([to_ms(recording.end), 1])  # Praat wants a grid that lasts
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0.000",
        f"xmax = {format_ms(end)}",
        "tiers? <exists>",
        f"size = {max(len(tiers), 1)}",
        "item []:",
    ]
    for number, name in enumerate(tiers or [""], start=1):
        text = names.get(name, "")
        intervals = list(_tiled(tiers.get(name, []), end, text if text.strip() else NO_NAME))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(text)}",
            "        xmin = 0.000",
            f"        xmax = {format_ms(end)}",
            f"        intervals: size = {len(intervals)}",
        ]
        for i, (left, right, label) in enumerate(intervals, start=1):
            lines += [
                f"        intervals [{i}]:",
                f"            xmin = {format_ms(left)}",
                f"            xmax = {format_ms(right)}",
                f"            text = {_quoted(label)}",
            ]
    return "\n".join(lines) + "\n"


def read_textgrid(path: str | os.PathLike[str]) -> list[Recording]:
    """The one recording of a TextGrid, named as the file; the grid's end is its duration.

    A tier of intervals is a speaker, an interval with any text in it but white space a turn. Tiers of
    points are skipped. The file is in the long or the short form, UTF-8 or UTF-16.

    Raises
    ------
    FormatError
        ``meeting.TextGrid:17: end must be > start, got 2 to 1``; the first line that is wrong is named.
    OSError
        when the file cannot be read.
    """
    tokens = _Tokens(_decoded(path), path)
    kind, subject = tokens.take("text"), tokens.take("text")
    if not kind.startswith("ooTextFile") or subject != "TextGrid":
        raise FormatError(f"{tokens.where}: must be a TextGrid, got {kind[:40]!r}, {subject[:40]!r}")
    tokens.take("number")
    end = tokens.number("xmax")
    turns: list[Turn] = []
    if tokens.take("flag") == "<exists>":
        for _ in range(tokens.count()):
            turns += _tier(tokens)
    return [Recording(Path(path).stem, tuple(sorted(turns)), end)]


def _tier(tokens: _Tokens) -> Iterator[Turn]:
    kind, name = tokens.take("text"), tokens.take("text")
    if kind not in ("IntervalTier", "TextTier"):
        raise FormatError(f"{tokens.where}: a tier must be an IntervalTier or a TextTier, got {kind[:40]!r}")
    tokens.number("xmin")
    tokens.number("xmax")
    for _ in range(tokens.count()):
        start = tokens.number("xmin")
        where = tokens.where
        if kind == "TextTier":
            tokens.take("text")
            continue
        end = tokens.number("xmax")
        if tokens.take("text").strip():
            yield checked_turn(start, end, name, where)


class _Tokens:
    """What Praat sees in a text, one after the other; `where` is the place of the last one."""

    def __init__(self, text: str, path: str | os.PathLike[str]) -> None:
        self.path, self.line, self._place = path, 1, 0
        self._text = text
        self._found = _TOKEN.finditer(text)

    @property
    def where(self) -> str:
        """The place, ``file:line``."""
        return f"{self.path}:{self.line}"

    def take(self, kind: str) -> str:
        """The next token, which must be of this kind: text (without its quotes), number or flag."""
        for match in self._found:
            self.line += self._text.count("\n", self._place, match.start())
            self._place = match.start()
            if match.lastgroup is None:
                continue
            if match.lastgroup == "open":
                raise FormatError(f"{self.where}: a text must end with a double quote")
            value = match.group()
            if match.lastgroup != kind:
                break
            return value[1:-1].replace('""', '"') if kind == "text" else value
        else:
            self.line += self._text.count("\n", self._place)
            value = "the end of the file"
        named = {"text": 'a text in "quotes"', "number": "a number", "flag": "<exists> or <absent>"}[kind]
        raise FormatError(f"{self.where}: must be {named}, got {value[:40]}; is this a TextGrid?")

    def number(self, what: str) -> float:
        """The next number, in seconds."""
        return parse_seconds(self.take("number"), what, self.where)

    def count(self) -> int:
        """The next number, which says how many of something follow."""
        text = self.take("number")
        if not text.isdecimal() or len(text) > 9:
            raise FormatError(f"{self.where}: must be how many follow, got {text[:40]}")
        return int(text)


def _tiled(spans: list[tuple[int, int]], end: int, label: str) -> Iterator[tuple[int, int, str]]:
    """The intervals of a tier from 0 to its end: Praat has no gaps, only empty intervals."""
    place = 0
    for left, right in spans:
        if left > place:
            yield place, left, ""
        yield left, right, label
        place = right
    if place < end:
        yield place, end, ""


def _kept(name: str) -> str:
    return "".join(
        "_" if unicodedata.category(ch) in {"Cc", "Cs"} and ch not in "\n\t" else ch for ch in name
    )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _decoded(path: str | os.PathLike[str]) -> str:
    content = read_bytes(path)
    if content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return newlines(read_text(path))
    try:
        return content.decode("utf-16").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}:1: must be UTF-16, as its first bytes say: {error.reason}") from error
