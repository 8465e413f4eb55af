"""How far a batch is, and when it will be through: by seconds of audio, not by recordings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is.

    done, failed : recordings of this run
    total : recordings that this run has to do
    done_s, total_s : seconds of audio, of this run; the total is None while not all lengths are known
    left_s : seconds until the end at the pace so far; None before it can be told
    """

    done: int
    failed: int
    total: int
    done_s: float
    total_s: float | None
    left_s: float | None


class Pace:
    """Seconds of audio that were done and are to do, and so the time left.

    total : recordings
    probed : whether no more lengths will become known beforehand
    """

    def __init__(self, total: int, lengths: Mapping[str, float]) -> None:
        self.total = total
        self.probed = False
        self.done = self.failed = 0
        self.done_s = 0.0
        self.begun: float | None = None
        self.lengths: dict[str, float] = {}  # seconds of those that are not through
        self.met, self.met_s = 0, 0.0  # all whose length was ever known
        self.ahead_s = 0.0  # the sum of the lengths
        for uri, seconds in lengths.items():
            self.know(uri, seconds)

    def know(self, uri: str, seconds: float) -> None:
        """The length of a recording that is not through."""
        self.ahead_s += seconds - self.lengths.get(uri, 0.0)
        self.lengths[uri] = seconds
        self.met, self.met_s = self.met + 1, self.met_s + seconds

    def ended(self, uri: str, duration: float | None) -> None:
        """A recording is through; its seconds if it succeeded."""
        self.ahead_s -= self.lengths.pop(uri, 0.0)
        if duration is None:
            self.failed += 1
            return
        self.done += 1
        self.done_s += duration
        self.met, self.met_s = self.met + 1, self.met_s + duration

    def progress(self, under_way: Mapping[str, float]) -> Progress:
        """How far it is; the pace is that of what succeeded or is under way, since the first sign of work.

        under_way : seconds of audio done of each recording that runs
        """
        now = time.monotonic()
        if self.begun is None and (under_way or self.done or self.failed):
            self.begun = now
        partly = sum(min(seconds, self.lengths.get(uri, seconds)) for uri, seconds in under_way.items())
        done_s = self.done_s + partly
        unknown = self.total - self.done - self.failed - len(self.lengths)
        if not (self.probed or unknown <= 0) or not (self.met or unknown <= 0):
            return Progress(self.done, self.failed, self.total, done_s, None, None)
        guessed_s = unknown * self.met_s / self.met if unknown > 0 else 0.0
        ahead_s = max(self.ahead_s + guessed_s - partly, 0.0)
        elapsed = now - self.begun if self.begun is not None else 0.0
        left_s = ahead_s * elapsed / done_s if self.done and done_s > 0 and elapsed > 0 else None
        return Progress(self.done, self.failed, self.total, done_s, done_s + ahead_s, left_s)
