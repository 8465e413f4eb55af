"""What became of each recording that was posted, in one SQLite file that survives the server.

    queued -> running -> done      its result is on disk
                      -> failed    with the reason
                      -> queued    the server ended meanwhile

A file is whole on disk before its row is there, a result before its row says done. So a row is always right,
and what a crash leaves behind is rows that say running: they wait again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize._sqlite import in_a_line
from diarize.errors import FormatError

NAME = "recordings.sqlite"
VERSION = 1

SCHEMA = f"""
CREATE TABLE recordings (
    id TEXT PRIMARY KEY,
    audio TEXT NOT NULL,                -- sha256 of the file, and its name under audio/
    name TEXT NOT NULL,
    options TEXT NOT NULL,              -- JSON: num_speakers, channel, ...
    bytes INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    accepted REAL NOT NULL,             -- seconds since 1970
    ended REAL,
    begun INTEGER NOT NULL DEFAULT 0,   -- times that it was begun and not given back
    duration REAL, speakers INTEGER,    -- seconds of audio; found
    code TEXT, reason TEXT              -- why it failed
) WITHOUT ROWID;
CREATE INDEX by_state ON recordings (state, accepted);
PRAGMA user_version = {VERSION};
"""

MAX_BEGUN = 5
"""A recording that the server dies of so many times fails."""

FIELDS = "id, audio, name, options, bytes, state, ended, duration, speakers, code, reason"


@dataclass(frozen=True)
class Row:
    """One recording; see the schema."""

    id: str
    audio: str
    name: str
    options: str = "{}"
    bytes: int = 0
    state: str = "queued"
    ended: float | None = None
    duration: float | None = None
    speakers: int | None = None
    code: str | None = None
    reason: str | None = None


class Ledger:
    """The ledger of a folder, made if it is not there; threads may share it.

    Raises
    ------
    FormatError
        the file is no ledger, or one of another version.
    DiarizeError
        it cannot be written; what was there is right all the same.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.RLock()
        with self._speaking():
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # what was answered outlives a power cut
            if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            raise FormatError(f"{self.path}: must be a ledger of version {VERSION}, got {version}")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """One thread at a time; what SQLite says as one line."""
        with self._lock, in_a_line(self.path, "ledger of the server", "cannot be used"):
            yield

    def _write(self, statement: str, *values: Any) -> int:
        with self._speaking():
            return self._db.execute(statement, values).rowcount

    def _rows(self, where: str, *values: Any) -> list[Row]:
        with self._speaking():
            found = self._db.execute(f"SELECT {FIELDS} FROM recordings {where}", values).fetchall()
        return [Row(*row) for row in found]

    def _number(self, what: str, *values: Any) -> int:
        with self._speaking():
            return int(self._db.execute(f"SELECT {what} FROM recordings", values).fetchone()[0] or 0)

    # What there is

    def get(self, id: str) -> Row | None:
        """The recording of this id."""
        return next(iter(self._rows("WHERE id = ?", id)), None)

    def waiting(self) -> int:
        """How many are to be done."""
        return self._number("sum(state IN ('queued', 'running'))")

    def bytes(self) -> int:
        """Of all files."""
        with self._speaking():
            files = "SELECT DISTINCT audio, bytes FROM recordings"
            return int(self._db.execute(f"SELECT total(bytes) FROM ({files})").fetchone()[0])

    def uses(self, audio: str) -> bool:
        """Whether some recording is of this file."""
        return self._number("sum(audio = ?)", audio) > 0

    def old(self, before: float) -> list[Row]:
        """What ended before that moment, seconds since 1970."""
        return self._rows("WHERE state IN ('done', 'failed') AND ended < ?", before)

    # What becomes of it

    def accept(self, row: Row) -> Row:
        """Its file is on disk. One that is there already stays as it is, one that failed waits again."""
        again = "state = 'failed'"
        self._write(
            "INSERT INTO recordings (id, audio, name, options, bytes, accepted) VALUES (?, ?, ?, ?, ?, ?) "
            f"ON CONFLICT (id) DO UPDATE SET begun = iif({again}, 0, begun), code = NULL, reason = NULL, "
            f"ended = iif({again}, NULL, ended), state = iif({again}, 'queued', state)",
            row.id, row.audio, row.name, row.options, row.bytes, time.time(),
        )  # fmt: skip
        return self.get(row.id) or row

    def next(self) -> Row | None:
        """The one that waits longest, which is running from now on; what the server died of comes last."""
        with self._speaking():
            found = self._rows("WHERE state = 'queued' ORDER BY begun, accepted, id LIMIT 1")
            for row in found:
                self._write("UPDATE recordings SET state = 'running', begun = begun + 1 WHERE id = ?", row.id)
        return next(iter(found), None)

    def put_back(self) -> None:
        """Nobody works on what runs any more: it waits again, unless the server died of it too often."""
        reason = f"the server ended {MAX_BEGUN} times while it was at it; is the file damaged, or too large?"
        self._write(
            "UPDATE recordings SET state = 'failed', code = 'internal', reason = ?, ended = ? "
            "WHERE state = 'running' AND begun >= ?",
            reason, time.time(), MAX_BEGUN,
        )  # fmt: skip
        self._write("UPDATE recordings SET state = 'queued' WHERE state = 'running'")

    def give_back(self, id: str) -> None:
        """The server ends in good order: it waits again, and this was no attempt."""
        self._write("UPDATE recordings SET state = 'queued', begun = begun - 1 WHERE id = ?", id)

    def finish(self, id: str, duration: float, speakers: int) -> bool:
        """Its result is on disk; False where it was removed meanwhile."""
        return bool(
            self._write(
                "UPDATE recordings SET state = 'done', ended = ?, duration = ?, speakers = ? WHERE id = ?",
                time.time(), duration, speakers, id,
            )
        )  # fmt: skip

    def fail(self, id: str, code: str, reason: str) -> None:
        """It came to nothing."""
        self._write(
            "UPDATE recordings SET state = 'failed', ended = ?, code = ?, reason = ? WHERE id = ?",
            time.time(), code, reason.encode("utf-8", "replace").decode(), id,
        )  # fmt: skip

    def remove(self, id: str) -> None:
        """Forget it."""
        self._write("DELETE FROM recordings WHERE id = ?", id)
