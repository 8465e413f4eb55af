"""Reading and writing the files that say who spoke when: one module a format.

Here is what they share: how text, lines, seconds and names are read and written.
Seconds are checked on the way in and rounded to whole milliseconds on the way out.
"""

from __future__ import annotations

import io
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from diarize.errors import FormatError

NO_NAME = "<NA>"

MAX_BYTES = 100_000_000
"""The largest file that is read; a day of talk is a hundredth of it."""

LATEST_S = 1e9
"""The latest time that is read or written, 31 years in: what lies beyond is no recording's."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A file of at most `MAX_BYTES`; FormatError for a larger one, OSError if it cannot be read."""
    with Path(path).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise FormatError(
            f"{path}: must be at most {MAX_BYTES // 1_000_000} MB; is it the right file? Else split it"
        )
    return content


def read_text(path: str | os.PathLike[str]) -> str:
    """A UTF-8 file of at most `MAX_BYTES`, with or without a byte order mark, its line ends as they are.

    Raises
    ------
    FormatError
        ``meeting.csv:3: must be UTF-8 text, got the byte 0xe9; ...``, or the file is too large.
    OSError
        when the file cannot be read.
    """
    return decoded(read_bytes(path), path)


def decoded(content: bytes, path: str | os.PathLike[str]) -> str:
    """Bytes of UTF-8 as text; FormatError names the line of those that are something else."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{path}:{number}: must be UTF-8 text, got the byte 0x{content[error.start]:02x}; "
            "convert it first: iconv -f CHARSET -t UTF-8"
        ) from error


def newlines(text: str) -> str:
    r"""The text with all line ends made ``\n``."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_fields(path: str | os.PathLike[str]) -> Iterator[tuple[str, list[str]]]:
    """The lines of a text file as (``"file:line"`` for messages, fields split at white space).

    Blank lines and comments (lines that begin with ``;`` or ``#``, as NIST's tools have it) are left
    out. Line ends are any; errors are those of `read_text`.
    """
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), start=1):
        fields = line.split()
        if fields and not fields[0].startswith((";", "#")):
            yield f"{path}:{number}", fields


def parse_seconds(text: str, what: str, where: str) -> float:
    """A finite number of seconds, or a `FormatError` that names the place and the field."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise FormatError(f"{where}: {what} must be a number of seconds, got {text!r}")
    if abs(value) > LATEST_S:
        raise FormatError(f"{where}: {what} must be at most {LATEST_S:.0f} s, got {text[:40]}")
    return value


def to_ms(seconds: float) -> int:
    """The nearest millisecond; equal times stay equal and the order of times is kept."""
    return round(seconds * 1000)


def format_ms(milliseconds: int) -> str:
    """Seconds with three decimals, from whole milliseconds: 1500 gives ``"1.500"``."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def clean_name(name: str) -> str:
    """A name that is one field of one line: white space and control characters become ``_``.

    An empty name becomes ``<NA>``.
    """
    return "".join(
        "_" if ch.isspace() or unicodedata.category(ch) in {"Cc", "Cs"} else ch for ch in name
    ) or (NO_NAME)


def clean_names(names: Iterable[str]) -> dict[str, str]:
    """Each name with its cleaned form; two names that would become one are told apart by a number.

    ``"A 1"`` beside ``"A_1"`` is written ``A_1_2``: cleaning never makes one speaker of two. The
    outcome depends on the set of names, not on their order.
    """
    return distinct(names, clean_name)


def distinct(
    names: Iterable[str], clean: Callable[[str], str], key: Callable[[str], str] = str
) -> dict[str, str]:
    """As `clean_names`, for any way of cleaning; `key` says which forms count as one."""
    unique = sorted(set(names), key=lambda name: (clean(name) != name, name))
    cleaned: dict[str, str] = {}
    taken: set[str] = set()
    for name in unique:
        candidate, number = clean(name), 2
        while key(candidate) in taken:
            candidate, number = f"{clean(name)}_{number}", number + 1
        cleaned[name] = candidate
        taken.add(key(candidate))
    return cleaned
