"""What became of each recording of a batch, in one SQLite file that survives whatever happens to the process.

    waiting -> running -> done      its result is on disk
                       -> failed    with the reason
                       -> waiting   interrupted, or its worker died and it is tried once more

A result is written before its row says done, so a row that says done is right, and what a crash leaves behind
is rows that say running: they wait again. Only the holder of the batch's lock writes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize._sqlite import in_a_line
from diarize.batch.rows import Row, encodable
from diarize.errors import FormatError

NAME = "batch.sqlite"
VERSION = 1

SCHEMA = """
CREATE TABLE batch (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE recordings (
    uri TEXT PRIMARY KEY,
    audio TEXT NOT NULL,                -- path, or a command that ends in |
    options TEXT NOT NULL,              -- JSON: channel, num_speakers, ...
    listed INTEGER NOT NULL DEFAULT 1,  -- whether the manifest of the last run names it
    bytes INTEGER NOT NULL DEFAULT 0,   -- of the audio file
    status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed')),
    begun INTEGER NOT NULL DEFAULT 0,   -- times that a worker was given it
    attempts INTEGER NOT NULL DEFAULT 0,  -- times that it came to nothing, interruptions not counted
    pid INTEGER, since REAL,            -- of the worker; seconds since 1970
    duration REAL,                      -- seconds of audio
    output TEXT, written INTEGER,       -- file beside this one, and its bytes
    speakers INTEGER, seconds REAL,     -- found; taken
    remarks TEXT,                       -- JSON: warnings
    reason TEXT
) WITHOUT ROWID;
CREATE INDEX by_status ON recordings (status);
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many recordings of the manifest are in each state."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.waiting + self.running + self.done + self.failed


class Ledger:
    """The ledger of a folder, made if it is not there.

    Raises
    ------
    FormatError
        the file is no ledger, or one of another version.
    DiarizeError
        it cannot be written; what was there is right all the same.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / NAME
        with self.speaking():
            self.db = sqlite3.connect(self.path, isolation_level=None, timeout=30)
            self.db.execute("PRAGMA journal_mode = WAL")  # of what is killed nothing is lost
            self.db.execute("PRAGMA synchronous = NORMAL")  # after a power cut the last rows may wait again
            if not self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                with self.transaction():
                    for statement in SCHEMA.split(";\n"):
                        self.db.execute(statement)
                    self.db.execute("INSERT INTO batch VALUES ('version', ?)", [str(VERSION)])
            version = self.get("version")
        if version != str(VERSION):
            raise FormatError(f"{self.path}: must be a ledger of version {VERSION}, got {version}")

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def speaking(self) -> AbstractContextManager[None]:
        """What SQLite says as one line."""
        return in_a_line(self.path, "ledger of a batch", "cannot be written", "; run the same command again")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        with self.speaking():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self.db.in_transaction:  # a full disk has ended it
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    def write(self, statement: str, *values: Any) -> int:
        """One statement; returns how many rows it changed."""
        with self.speaking():
            return self.db.execute(statement, values).rowcount

    def get(self, key: str) -> str | None:
        """What is noted of the whole batch."""
        with self.speaking():
            row = self.db.execute("SELECT value FROM batch WHERE key = ?", [key]).fetchone()
        return row[0] if row else None

    def set(self, key: str, value: str) -> None:
        """Note something of the whole batch."""
        self.write("INSERT OR REPLACE INTO batch VALUES (?, ?)", key, value)

    # Before the work

    def changed(self, rows: Iterable[Row]) -> list[str]:
        """Names of those that are done with other options, or with another command or file (by its size)."""
        with self.speaking():
            done = self.db.execute("SELECT uri, audio, options, bytes FROM recordings WHERE status = 'done'")
            known = {row[0]: Row(*row) for row in done}
        return [row.uri for row in rows if row.uri in known and row.differs(known[row.uri])]

    def take_in(self, rows: Iterable[Row]) -> None:
        """The recordings of a manifest; those that are not in it are left alone from now on.

        One that failed as it was listed before, and is listed otherwise now, waits again.
        """
        moved = (
            "status = 'failed' AND (audio, options, bytes) != "
            "(excluded.audio, excluded.options, excluded.bytes)"
        )
        with self.transaction():
            self.db.execute("UPDATE recordings SET listed = 0 WHERE listed")
            self.db.executemany(
                "INSERT INTO recordings (uri, audio, options, bytes) VALUES (?, ?, ?, ?) "
                f"ON CONFLICT (uri) DO UPDATE SET listed = 1, status = iif({moved}, 'waiting', status), "
                f"attempts = iif({moved}, 0, attempts), audio = excluded.audio, options = excluded.options, "
                "bytes = iif(excluded.bytes, excluded.bytes, bytes)",
                rows,
            )

    def again(self, uris: Iterable[str] | None = None) -> None:
        """Let recordings wait as if for the first time: those of these names, or all that there are."""
        fresh = "UPDATE recordings SET status = 'waiting', attempts = 0, reason = NULL, pid = NULL"
        with self.transaction():
            if uris is None:
                self.db.execute(fresh)
            else:
                self.db.executemany(f"{fresh} WHERE uri = ?", [(uri,) for uri in uris])

    def put_back(self) -> int:
        """Let what runs wait again: nobody works on it any more. Returns how many."""
        return self.write("UPDATE recordings SET status = 'waiting', pid = NULL WHERE status = 'running'")

    def failed(self) -> list[tuple[str, str, str, int]]:
        """(uri, audio, reason, attempts) of those of the manifest that failed."""
        with self.speaking():
            return self.db.execute(
                "SELECT uri, audio, reason, attempts FROM recordings WHERE listed AND status = 'failed'"
            ).fetchall()

    def done(self) -> list[tuple[str, str, int]]:
        """(uri, output, bytes written) of those of the manifest that are done."""
        with self.speaking():
            return self.db.execute(
                "SELECT uri, output, written FROM recordings WHERE listed AND status = 'done'"
            ).fetchall()

    def never_begun(self) -> list[str]:
        """Names of those of the manifest that no worker was ever given."""
        with self.speaking():
            rows = self.db.execute("SELECT uri FROM recordings WHERE listed AND NOT begun")
            return [uri for (uri,) in rows]

    def any_done(self) -> bool:
        """Whether there is any result, of whatever manifest."""
        with self.speaking():
            return (
                self.db.execute("SELECT 1 FROM recordings WHERE status = 'done' LIMIT 1").fetchone()
                is not None
            )

    def unlisted(self) -> int:
        """How many the manifest of the last run does not name."""
        with self.speaking():
            found: int = self.db.execute("SELECT count(*) FROM recordings WHERE NOT listed").fetchone()[0]
        return found

    def waiting(self) -> list[tuple[str, int, float | None]]:
        """(uri, attempts, seconds of audio if known) of those to do, the largest files first."""
        with self.speaking():
            return self.db.execute(
                "SELECT uri, attempts, duration FROM recordings WHERE listed AND status = 'waiting' "
                "ORDER BY bytes DESC, uri"
            ).fetchall()

    def counts(self) -> Counts:
        """Of the manifest."""
        with self.speaking():
            rows = self.db.execute("SELECT status, count(*) FROM recordings WHERE listed GROUP BY status")
            return Counts(**dict(rows.fetchall()))

    def audio_s(self) -> float:
        """Seconds of audio of those of the manifest that are done."""
        with self.speaking():
            row = self.db.execute("SELECT total(duration) FROM recordings WHERE listed AND status = 'done'")
            return float(row.fetchone()[0])

    # During the work

    def set_durations(self, durations: Iterable[tuple[str, float]]) -> None:
        """Seconds of audio by name, as the files declare them."""
        with self.transaction():
            self.db.executemany(
                "UPDATE recordings SET duration = ? WHERE uri = ? AND status != 'done'",
                [(seconds, uri) for uri, seconds in durations],
            )

    def begin(self, uri: str, pid: int) -> None:
        """A worker was given it."""
        self.write(
            "UPDATE recordings SET status = 'running', begun = begun + 1, pid = ?, since = ? WHERE uri = ?",
            pid, time.time(), uri,
        )  # fmt: skip

    def finish(
        self, uri: str, *, output: str, written: int, duration: float, speakers: int, seconds: float,
        remarks: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Its result is on disk."""
        self.write(
            "UPDATE recordings SET status = 'done', reason = NULL, pid = NULL, output = ?, written = ?, "
            "duration = ?, speakers = ?, seconds = ?, remarks = ? WHERE uri = ?",
            output, written, duration, speakers, seconds, json.dumps([*remarks]), uri,
        )  # fmt: skip

    def fail(self, uri: str, reason: str, *, again: bool = False) -> None:
        """It came to nothing; with `again` it waits for another attempt."""
        self.write(
            "UPDATE recordings SET status = ?, attempts = attempts + 1, pid = NULL, reason = ? WHERE uri = ?",
            "waiting" if again else "failed", encodable(reason), uri,
        )  # fmt: skip

    def forget_output(self, uri: str) -> str | None:
        """A recording has no result any more; returns the file that an earlier one was written to, if any."""
        with self.speaking():
            row = self.db.execute("SELECT output FROM recordings WHERE uri = ?", [uri]).fetchone()
        if row and row[0] is not None:
            self.write("UPDATE recordings SET output = NULL, written = NULL WHERE uri = ?", uri)
        return row[0] if row else None
