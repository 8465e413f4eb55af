"""The inside of a worker's process: a loop over jobs, and a watch that ends it when it must end.

Nothing heavy is imported here: a worker's libraries are loaded by what it is given to load.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from diarize import errors
from diarize.batch.worker import reason_of
from diarize.errors import DiarizeError

TOO_MUCH_MEMORY = 77
"""Exit status of a worker that held more than it may."""

OUT_OF_MEMORY = 78
"""Exit status of a worker that was refused memory."""

TELL_S = 0.5
"""Seconds between two words on how far a recording is."""

WATCH_S = 0.25

GROWN = 1_000_000_000
"""Bytes that a worker may gain on what it held twice over when it was loaded."""


def grown(loaded: int, now: int) -> bool:
    """Whether a worker has gained so much memory, by these bytes, that a new one shall follow it."""
    return now > 2 * loaded + GROWN


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a worker cannot work at all, in a form that survives pickling."""

    kind: str
    message: str

    def error(self) -> DiarizeError:
        """The error to raise where the worker was started."""
        kind: Any = getattr(errors, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, DiarizeError):
            return kind(self.message)
        return DiarizeError(f"a worker cannot start: {self.kind}: {self.message}")


def serve(connection: Connection[Any, Any], load: Any, parent: int, max_memory: int | None) -> None:
    """Load once, then do what comes through the pipe, until it is closed."""
    if hasattr(os, "setpgid"):
        with suppress(OSError):
            os.setpgid(0, 0)  # so that what it starts can be ended with it; and Ctrl-C is not for it
    threading.Thread(target=watch, args=(parent, max_memory), daemon=True).start()
    try:
        try:
            work = load()
        except Exception as error:
            connection.send(("broken", Broken(type(error).__name__, str(error))))
            return
        connection.send(("ready", memory()))
        while True:
            said = answer(work, connection.recv(), connection)
            connection.send(("memory", memory()))
            connection.send(said)
    except (EOFError, OSError):  # the other end is gone
        return


def answer(work: Callable[[Any, Any], Any], job: Any, connection: Connection[Any, Any]) -> tuple[str, Any]:
    """What to send back of one job; MemoryError ends the process, so that it is tried again alone."""
    told = [0.0]

    def tell(done_s: float, total_s: float | None) -> None:
        if time.monotonic() - told[0] >= TELL_S:
            told[0] = time.monotonic()
            connection.send(("progress", (done_s, total_s)))

    try:
        return "done", work(job, tell)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:
        return "failed", reason_of(error, getattr(job, "uri", "?"))


def watch_memory(max_memory: int | None) -> None:
    """As `watch`, for a process that somebody else looks after."""
    if max_memory is not None:
        threading.Thread(target=watch, args=(None, max_memory), daemon=True).start()


def watch(parent: int | None, max_memory: int | None) -> None:
    """End the process when its parent is gone, however that went, or when it holds too much memory."""
    while True:
        if parent is not None and os.getppid() != parent:
            end(1)
        if max_memory is not None and memory() > max_memory:
            end(TOO_MUCH_MEMORY)
        time.sleep(WATCH_S)


def end(status: int) -> None:
    """Leave now; if there is no parent any more, with all that this process has started."""
    if status != TOO_MUCH_MEMORY and hasattr(os, "getpgid") and os.getpgid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(status)


def memory() -> int:
    """Bytes of memory that this process holds, or the most it ever held if only that is told; 0: unknown."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) * (1 if sys.platform == "darwin" else 1024)
