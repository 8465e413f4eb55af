"""Reading JSON that others wrote: values of the right kind, and the line on which an entry stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from diarize.errors import FormatError

from .rows import parse_number

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[\[\]{},]', re.DOTALL)
_SPACE = re.compile(r"\s*")


def loaded(text: str, name: str, line: int = 1) -> Any:
    """What JSON text holds; `line` is the number of its first line.

    Raises
    ------
    FormatError
        ``meeting.json:3: must be JSON: ...``
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        said = f"{error.msg}, column {error.colno}"
        raise FormatError(f"{name}:{line + error.lineno - 1}: must be JSON: {said}") from error
    except RecursionError:
        raise FormatError(f"{name}:{line}: must be JSON of a few levels, got hundreds") from None
    except ValueError:  # Python's own limit
        raise FormatError(f"{name}:{line}: must be JSON, got a number of thousands of digits") from None


def number_of(entry: Mapping[str, Any], key: str, where: str, *, quoted: bool = False) -> float:
    """The finite number of a key; with `quoted` it may be written as a text.

    Raises
    ------
    FormatError
        when it is missing or something else.
    """
    value = entry.get(key)
    if quoted and isinstance(value, str):
        return parse_number(value.strip(), key, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        got = "nothing" if key not in entry else json.dumps(value)[:40]
        raise FormatError(f"{where}: {key} must be a number, got {got}")
    return float(value)


def text_of(entry: Mapping[str, Any], key: str, where: str) -> str:
    """The text of a key; FormatError when it is missing or something else."""
    value = entry.get(key)
    if not isinstance(value, str):
        got = "nothing" if key not in entry else json.dumps(value)[:40]
        raise FormatError(f"{where}: {key} must be a text, got {got}")
    return value


def lines_of(text: str, key: str | None = None) -> list[int]:
    """The line on which each entry of a list begins, counted from 1.

    The list is the outermost value of the JSON text, or stands under `key` of an outermost object.
    """
    level = 1 if key is None else 2
    lines: list[int] = []
    depth, line, place = 0, 1, 0
    named = key is None  # whether the list that opens next, or is open, is the one
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token[0] == '"':
            if depth == 1 and key is not None and match[1] is not None:
                named = json.loads(token[: token.rindex('"') + 1]) == key
                lines = [] if named else lines
            continue
        depth += {"[": 1, "{": 1, "]": -1, "}": -1, ",": 0}[token]
        if named and depth == level and token in "[,":
            begins = match.end() + len(_SPACE.match(text, match.end())[0])  # type: ignore[index]
            line, place = line + text.count("\n", place, begins), begins
            lines.append(line)
    return lines
