"""Reading and writing the files that say who spoke when: one module a format.

Here is what the line formats (RTTM, UEM) share: how lines, seconds and names are read and written.
Seconds are checked on the way in and rounded to whole milliseconds on the way out.
"""

from __future__ import annotations

import io
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from diarize.errors import FormatError

NO_NAME = "<NA>"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def read_fields(path: str | os.PathLike[str]) -> Iterator[tuple[str, list[str]]]:
    """The lines of a text file as (``"file:line"`` for messages, fields split at white space).

    Blank lines and comments (lines that begin with ``;`` or ``#``, as NIST's tools have it) are left
    out. The file is UTF-8, with or without a byte order mark, with any line ends.

    Raises
    ------
    FormatError
        when the file is not UTF-8.
    """
    content = Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{path}:{number}: must be UTF-8 text, got the byte 0x{content[error.start]:02x}"
        ) from error
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        fields = line.split()
        if fields and not fields[0].startswith((";", "#")):
            yield f"{path}:{number}", fields


def parse_seconds(text: str, what: str, where: str) -> float:
    """A finite number of seconds, or a `FormatError` that names the place and the field."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise FormatError(f"{where}: {what} must be a number of seconds, got {text!r}")
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
    unique = sorted(set(names))
    cleaned = {name: name for name in unique if clean_name(name) == name}
    taken = set(cleaned)
    for name in unique:
        if name not in cleaned:
            candidate, number = clean_name(name), 2
            while candidate in taken:
                candidate, number = f"{clean_name(name)}_{number}", number + 1
            cleaned[name] = candidate
            taken.add(candidate)
    return cleaned
