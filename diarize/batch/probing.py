"""How long recordings are, as their headers say, found out by a process of its own while the others work.

A header that kills the decoder takes that process along, which is replaced and goes on behind it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from diarize.batch.runner import Worker
from diarize.errors import DiarizeError

AHEAD = 128
"""Files that it is sent before it has answered."""


def load_probe() -> Callable[[str, Any], float | None]:
    """A function from a path to the seconds of audio it declares, None where it does not or cannot."""
    from diarize.audio import open_audio

    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(10)

    def probe(path: str, told: Any) -> float | None:
        try:
            with open_audio(path) as audio:
                return audio.duration_s
        except DiarizeError:
            return None

    return probe


class Prober:
    """Probes files one after the other; `collect` never waits.

    files : (name, path)
    """

    def __init__(self, files: Iterable[tuple[str, str]]) -> None:
        self.left = deque(files)
        self.sent: deque[tuple[str, str]] = deque()
        self.worker: Worker | None = None

    def collect(self) -> list[tuple[str, float]]:
        """(name, seconds of audio) of those that were probed since the last call."""
        found: list[tuple[str, float]] = []
        if not self.left and not self.sent:
            self.close()
            return found
        self.worker = worker = self.worker or Worker(load_probe, None, 1)
        try:
            while worker.connection.poll():
                kind, value = worker.connection.recv()
                if kind == "broken":  # the workers will say it
                    self.left.clear()
                    self.sent.clear()
                elif kind == "ready":
                    worker.ready = True
                elif kind in ("done", "failed"):
                    name, _ = self.sent.popleft()
                    if kind == "done" and value:
                        found.append((name, float(value)))
            while worker.ready and self.left and len(self.sent) < AHEAD:
                self.sent.append(self.left.popleft())
                worker.connection.send(self.sent[-1][1])
        except (EOFError, OSError):
            if self.sent:
                self.sent.popleft()  # what it died of
            else:
                self.left.clear()
            self.left.extendleft(reversed(self.sent))
            self.sent.clear()
            worker.stop()
            self.worker = None
        return found

    @property
    def finished(self) -> bool:
        """Whether nothing is left to probe."""
        return not self.left and not self.sent

    def close(self) -> None:
        """Stop."""
        self.left.clear()
        self.sent.clear()
        if self.worker is not None:
            self.worker.stop()
            self.worker = None
