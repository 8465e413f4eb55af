"""Files, one after another: accepted once they are on disk, done when live streams leave time, then kept.

A folder belongs to one server. In it lie `uploads/` (on their way), `audio/` (by sha256), `results/`, and
the ledger. What was accepted survives the server.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from diarize._files import atomic_write
from diarize.errors import ConfigError, DiarizeError
from diarize.formats.json_ import read_json
from diarize.formats.rows import Recording
from diarize.pipeline import Diarizer
from diarize.server.ledger import Ledger, Row
from diarize.server.metrics import Metrics
from diarize.server.options import ServerOptions
from diarize.server.refusals import Refusal, fault
from diarize.server.spool import Upload, no_room

logger = logging.getLogger("diarize.server")

YIELD_S = 2.0
"""While live streams are behind, a file waits so long at most before each second of its sound."""

DECIDING = 0.02
"""The share of the progress that is left for clustering, after all sound has passed."""


class Stopped(Exception):
    """The work on a file ends: the server does, or nobody wants it any more."""


@dataclass
class Running:
    """A file that is being done."""

    id: str
    progress: float = 0.0
    removed: bool = False


class Jobs:
    """The files of a server, and the thread that does them.

    behind : whether live streams need the machine now

    Raises ConfigError where the folder cannot be used, or another server uses it.
    """

    def __init__(
        self, diarizer: Diarizer, options: ServerOptions, metrics: Metrics, behind: Callable[[], bool]
    ) -> None:
        self.diarizer, self.options, self.metrics, self._behind = diarizer, options, metrics, behind
        self.uploads, self.audio, self.results = (
            options.data / name for name in ("uploads", "audio", "results")
        )
        try:
            for folder in (self.uploads, self.audio, self.results):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._own = FileLock(options.data / "server.lock", thread_local=False)
            self._own.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"{options.data} is used by another server; name another folder: --data"
            ) from None
        except OSError as error:
            raise ConfigError(f"{options.data}: cannot be used for recordings: {error.strerror}") from None
        for left in self.uploads.iterdir():  # of a server that was killed
            left.unlink(missing_ok=True)
        self.ledger = Ledger(options.data)
        self.ledger.put_back()
        self._accepting = threading.Lock()
        self._more = threading.Event()
        self._stopping = threading.Event()
        self._running: Running | None = None
        self._thread = threading.Thread(target=self._work, name="diarize-files", daemon=True)

    def start(self) -> None:
        """Begin with what waits."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not done waits for the next start."""
        self._stopping.set()
        self._more.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self.ledger.close()
        self._own.release()

    # What clients ask for

    def room(self) -> None:
        """Refusal where no file is taken at the moment."""
        if self.ledger.waiting() >= self.options.max_waiting:
            raise Refusal("busy", f"at most {self.options.max_waiting} files wait; try again later")
        if self.ledger.bytes() >= self.options.max_data:
            raise Refusal("no_room", "there are too many recordings here; delete some, or try again later")

    def accept(self, upload: Upload, name: str, options: dict[str, int]) -> Row:
        """Take a file in; the same one with the same name and options is the same recording."""
        said = json.dumps(options, sort_keys=True)
        id = hashlib.sha256("\n".join((upload.sha256, said, name)).encode()).hexdigest()[:40]
        try:
            with self._accepting:
                self.room()
                os.replace(upload.path, self.audio / upload.sha256)
                sync_folder(self.audio)
                row = self.ledger.accept(Row(id, upload.sha256, name, said, upload.size))
        except OSError as error:
            raise no_room(error) from error
        finally:
            upload.discard()
        self._more.set()
        return row

    def get(self, id: str) -> Row:
        """A recording; Refusal where there is none."""
        row = self.ledger.get(id)
        if row is None:
            raise Refusal("gone", "there is no such recording, any more; post it again")
        return row

    def done(self, id: str) -> Row:
        """A recording that is done; Refusal where it is not."""
        row = self.get(id)
        if row.state == "failed":
            raise Refusal(row.code if row.code == "too_long" else "not_ready", f"it failed: {row.reason}")
        if row.state != "done":
            raise Refusal("not_ready", f"it must be done first, and is {row.state}; ask again later")
        return row

    def progress(self, row: Row) -> float:
        """How far it is, 0 to 1."""
        running = self._running
        if row.state == "running" and running is not None and running.id == row.id:
            return running.progress
        return float(row.state == "done")

    def result(self, row: Row) -> Recording:
        """The turns of a recording that is done."""
        return read_json(self.result_path(row.id))[0]

    def result_path(self, id: str) -> Path:
        """Where its JSON is."""
        return self.results / f"{id}.json"

    def remove(self, row: Row) -> None:
        """Forget a recording, its result and its file; stop the work on it."""
        with self._accepting:
            running = self._running
            if running is not None and running.id == row.id:
                running.removed = True
            self.ledger.remove(row.id)
            if not self.ledger.uses(row.audio):
                (self.audio / row.audio).unlink(missing_ok=True)
            for ending in ("json", "html"):
                (self.results / f"{row.id}.{ending}").unlink(missing_ok=True)

    def expire(self) -> int:
        """Forget what ended long enough ago; returns how many."""
        old = self.ledger.old(time.time() - self.options.keep_s)
        for row in old:
            self.remove(row)
        return len(old)

    # The work

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._more.clear()
            try:
                row = self.ledger.next()
                if row is None:
                    self._more.wait()
                else:
                    self._do(row)
            except DiarizeError:
                logger.exception("the ledger")
                self._stopping.wait(5)

    def _do(self, row: Row) -> None:
        self._running = running = Running(row.id)
        try:
            with named(self.audio / row.audio, row.name) as file:
                size = max(1, row.bytes)

                def passed(done_s: float, total_s: float | None) -> None:
                    self._passed(running, file.tell() / size, done_s, total_s)

                options: dict[str, Any] = json.loads(row.options)
                found = self.diarizer(file, uri=row.name, progress=passed, **options)
            if running.removed:
                raise Stopped
            atomic_write(self.result_path(row.id), found.to("json"))
            if not self.ledger.finish(row.id, found.duration, len(found.speakers)):
                self.result_path(row.id).unlink(missing_ok=True)
            self.metrics.files.labels("done").inc()
            self.metrics.files_audio.inc(found.duration)
        except Stopped:
            if not running.removed:
                self.ledger.give_back(row.id)
        except Refusal as refusal:
            self._fail(row, refusal)
        except OSError as error:
            self._fail(row, no_room(error))
        except DiarizeError as error:
            self._fail(row, Refusal("unsupported", str(error)))
        except Exception:
            logger.exception("recording %s", row.id)
            self._fail(row, fault())
        finally:
            self._running = None

    def _fail(self, row: Row, refusal: Refusal) -> None:
        self.ledger.fail(row.id, refusal.code, str(refusal))
        self.metrics.files.labels("failed").inc()

    def _passed(self, running: Running, where: float, done_s: float, total_s: float | None) -> None:
        """So much sound has passed; `where` is the share of the file that was read."""
        if done_s > self.options.max_file_s:
            raise Refusal(
                "too_long",
                f"a recording must have at most {self.options.max_file_s / 3600:g} h of sound, this one has "
                "more; send it in parts",
            )
        share = done_s / total_s if total_s else where
        running.progress = round(min(share, 1.0) * (1 - DECIDING), 4)
        waited = time.monotonic() + YIELD_S
        while True:
            if self._stopping.is_set() or running.removed:
                raise Stopped
            if not self._behind() or time.monotonic() > waited:
                return
            self._stopping.wait(0.05)


def named(path: Path, name: str) -> Any:
    """A file open for reading that messages call by the client's name for it."""
    raw = io.FileIO(path)
    raw.name = name
    return io.BufferedReader(raw, 1 << 16)


def sync_folder(folder: Path) -> None:
    """See to it that a new name in a folder outlives a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
