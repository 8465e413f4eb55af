"""SQLite files whose complaints are one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diarize.errors import DiarizeError, FormatError


@contextmanager
def in_a_line(path: Path, what: str, trouble: str, advice: str = "") -> Iterator[None]:
    """What SQLite says of a file, as FormatError if it is no such thing, else as DiarizeError.

    what : the file should be, "a ledger of the server"
    trouble, advice : what the error says before and after SQLite's words
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error) or "no such" in str(error):
            raise FormatError(f"{path}: is no {what}: {error}") from None
        raise DiarizeError(f"{path}: {trouble}: {error}{advice}") from error
