"""The threads of an engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from diarize.engine.machine import available_cores


class Workers:
    """A pool of threads that is made when it is first needed, and anew in a forked child.

    Threads do not survive a fork, and neither do those of the libraries underneath: `begin` is where an
    engine lets go of what a child cannot use.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads or available_cores()
        self.lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Forget what belongs to another process."""
        self.process = os.getpid()
        self.pool: ThreadPoolExecutor | None = None
        self.lock = threading.Lock()

    def here(self) -> None:
        """Begin anew if this process was forked since."""
        if self.process != os.getpid():
            self.begin()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a function beside the caller."""
        self.here()
        with self.lock:
            self.pool = self.pool or ThreadPoolExecutor(self.threads, thread_name_prefix="diarize-engine")
            return self.pool.submit(function, *arguments)
