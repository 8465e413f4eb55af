"""Lists of recordings, line by line: paths, Kaldi's wav.scp, CSV and JSON lines.

Whatever is wrong is a FormatError that names the line.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from diarize.config import Bounds
from diarize.errors import ConfigError, FormatError
from diarize.formats import decoded

COUNTS = ("num_speakers", "min_speakers", "max_speakers")
OPTIONS = ("channel", *COUNTS)
"""What a list may say of a recording, beside `audio` and `uri`."""


@dataclass(frozen=True, slots=True)
class Found:
    """A recording as it was found: with the names it may have, from the shortest on, and where it stands."""

    names: tuple[str, ...]
    audio: str
    where: str
    options: Mapping[str, int]
    pipe: bool = False
    named: bool = False


def from_path(path: Path, root: Path, where: str = "", **more: Any) -> Found:
    """A recording that is named by its path below a root; where a list stands is no part of its name."""
    try:
        below = PurePosixPath(path.relative_to(root).as_posix())
    except ValueError:
        below = PurePosixPath(path.name)
    if ".." in below.parts:
        below = PurePosixPath(path.name)
    if below.name in ("", "..") or not encodes(str(path)):
        raise FormatError(f"{where or path}: must be the path of a recording, got {str(path)!r}")
    parent = printable(Path(os.path.abspath(root)).name)
    names = [printable(str(name)) for name in (below.with_suffix(""), below)]
    names += [f"{parent}/{name}" for name in names if parent]
    names.append(f"{names[0]}-{hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:8]}")
    return Found(tuple(names), os.path.abspath(path), where or str(path), more.pop("options", {}), **more)


def from_text(path: Path) -> Iterator[Found]:
    """A path a line; blank lines and those that begin with # are left out."""
    for where, line in lines_of(path):
        if not line.startswith("#"):
            yield from_path(path.parent / line, path.parent, where)


def from_scp(path: Path, allow_pipes: bool) -> Iterator[Found]:
    """Kaldi's wav.scp."""
    for where, line in lines_of(path):
        name, _, audio = line.partition(" ") if " " in line else line.partition("\t")
        audio = audio.strip()
        if not audio:
            raise FormatError(f"{where}: a line must have a name and a path, got {line[:60]!r}")
        uri = checked_name(name, where)
        if audio.endswith("|"):
            if not allow_pipes:
                raise FormatError(
                    f"{where}: is a command, which is run only with --allow-pipes (allow_pipes=True): {audio}"
                )
            yield Found((uri,), audio[:-1].strip(), where, {}, pipe=True, named=True)
        elif audio == "-" or (audio.rpartition(":")[2].isdigit() and not (path.parent / audio).exists()):
            raise FormatError(f"{where}: must be the path of an audio file, got {audio!r}")
        else:
            yield Found((uri,), os.path.abspath(path.parent / audio), where, {}, named=True)


def from_csv(path: Path) -> Iterator[Found]:
    """A table with a header; an empty cell says nothing."""
    text = text_of(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if header is None:
                header = checked_keys(cells, where)
                continue
            if len(cells) != len(header):
                raise FormatError(f"{where}: must have {len(header)} cells, as the header, got {len(cells)}")
            yield from_values({k: v for k, v in zip(header, cells, strict=True) if v}, path, where)
    except csv.Error as error:
        raise FormatError(f"{path}:{reader.line_num}: not CSV: {error}") from None


def from_jsonl(path: Path) -> Iterator[Found]:
    """An object a line; null says nothing."""
    for where, line in lines_of(path):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:  # Python's own: long numbers
            raise FormatError(f"{where}: not JSON: {error}") from None
        if not isinstance(values, dict):
            raise FormatError(f"{where}: must be an object, got {line[:60]}")
        checked_keys(list(values), where)
        yield from_values({k: v for k, v in values.items() if v is not None}, path, where)


def checked_keys(keys: list[str], where: str) -> list[str]:
    """Keys of a list, each one that is known; FormatError with the nearest right one."""
    known = ("audio", "uri", *OPTIONS)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise FormatError(f"{where}: unknown column {key!r}; {meant}")
    if "audio" not in keys or len(set(keys)) < len(keys):
        raise FormatError(f"{where}: must name the column 'audio', and each column once, got {keys}")
    return keys


def from_values(values: Mapping[str, Any], path: Path, where: str) -> Found:
    """A recording from the cells of a table or the values of an object."""
    audio = values.get("audio")
    if not isinstance(audio, str) or not audio:
        raise FormatError(f"{where}: audio must be a path, got {audio!r}")
    if not encodes(audio):
        raise FormatError(f"{where}: must be the path of a recording, got {audio!r}")
    options = {key: whole(values[key], key, where) for key in OPTIONS if key in values}
    try:
        Bounds.of(*(options.get(key) for key in COUNTS))
    except ConfigError as error:
        raise FormatError(f"{where}: {error}") from None
    if "uri" not in values:
        return from_path(path.parent / audio, path.parent, where, options=options)
    uri = checked_name(values["uri"], where)
    return Found((uri,), os.path.abspath(path.parent / audio), where, options, named=True)


def whole(value: Any, key: str, where: str) -> int:
    """A whole number from 0 (channel) or 1 on."""
    least = 0 if key == "channel" else 1
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < least:
        raise FormatError(f"{where}: {key} must be a whole number >= {least}, got {value!r}")
    return int(text)


def checked_name(name: Any, where: str) -> str:
    """A name that can be a file's below a folder, as given; FormatError otherwise."""
    parts = name.split("/") if isinstance(name, str) else [""]
    if printable("".join(parts)) != "".join(parts) or any(p.strip() in ("", ".", "..") for p in parts):
        raise FormatError(f"{where}: uri must be a name, or names joined by /, got {name!r}")
    return "/".join(parts)


def encodes(path: str) -> bool:
    """Whether a path can be one: halves of surrogate pairs, which JSON can hold, are in none."""
    try:
        return bool(os.fsencode(path))
    except UnicodeEncodeError:
        return False


def printable(name: str) -> str:
    r"""A name with ``_`` for control characters, for bytes that are no UTF-8 and for ``\``."""
    return "".join("_" if ch == "\\" or unicodedata.category(ch) in {"Cc", "Cs"} else ch for ch in name)


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """("file:line" for messages, the line without white space around it), blank lines left out."""
    for number, line in enumerate(io.StringIO(text_of(path), newline=None), start=1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def text_of(path: Path) -> str:
    """A UTF-8 file; a list may be of any size. Errors are FormatError and name the line."""
    try:
        return decoded(path.read_bytes(), path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
