"""The one loop that gives recordings to workers, writes what they find, and keeps the ledger."""

from __future__ import annotations

import errno
import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from diarize.batch.ledger import Ledger
from diarize.batch.manifest import Recording
from diarize.batch.pace import Pace, Progress
from diarize.batch.places import Place
from diarize.batch.probing import Prober
from diarize.batch.runner import Outcome, Runner
from diarize.batch.worker import Job, Result, merged
from diarize.errors import DiarizeError

logger = logging.getLogger(__name__)

ATTEMPTS = 2
"""A recording whose worker died is tried so often in all, the last time alone."""

TICK_S = 0.2

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, None)
"""What no other result could be written after, either; a store that fails has no number."""

UNWRITTEN = 64
"""Results that may be on their way to a store; until fewer are, no recording is begun."""


class Driver:
    """One run over what waits in a ledger.

    place : where results go
    ending : of the files of results
    options : of `Diarizer.__call__` for every recording
    states : folder for the states of recordings that take long; None: they begin anew after an interruption
    timeout_s : seconds that a recording may take; None: see `patience`
    told : called with a `Progress` several times a second
    """

    def __init__(
        self,
        place: Place,
        ledger: Ledger,
        recordings: Mapping[str, Recording],
        *,
        ending: str,
        options: Mapping[str, Any],
        states: Path | None = None,
        timeout_s: float | None = None,
        told: Callable[[Progress], object] | None = None,
    ) -> None:
        self.place, self.ledger, self.recordings = place, ledger, recordings
        self.ending, self.options, self.timeout_s, self.told = ending, options, timeout_s, told
        self.states = states
        waiting = ledger.waiting()
        self.queue = deque(uri for uri, attempts, _ in waiting if not attempts)
        self.alone = deque(uri for uri, attempts, _ in waiting if attempts)
        self.attempts = {uri: attempts for uri, attempts, _ in waiting if attempts}
        self.pace = Pace(len(waiting), {uri: s for uri, _, s in waiting if s is not None})
        self.pending = {uri for uri, _, _ in waiting}
        self.running: set[str] = set()
        self.written: deque[tuple[Future[None], str, int, Result]] = deque()
        self.stopped = False

    def run(self, runner: Runner) -> None:
        """Until nothing waits, or `stopped` is set; what runs then waits again.

        Raises DiarizeError where results or the ledger cannot be written, or no worker can be had.
        """
        unknown = [uri for uri in (*self.queue, *self.alone) if uri not in self.pace.lengths]
        prober = Prober((uri, self.recordings[uri].audio) for uri in unknown if self._has_header(uri))
        try:
            while not self.stopped and (self.queue or self.alone or self.running or self.written):
                self._submit(runner)
                for outcome in runner.collect(TICK_S):
                    self._take(outcome)
                self._note_written()
                if lengths := prober.collect():
                    self.ledger.set_durations(lengths)
                    for uri, seconds in lengths:
                        if uri in self.pending:
                            self.pace.know(uri, seconds)
                self.pace.probed = prober.finished
                if self.told:
                    self.told(self.pace.progress(runner.under_way()))
        finally:
            prober.close()
            runner.close()
            wait([future for future, *_ in self.written])
            with suppress(DiarizeError):  # which has been said, or is that of the next run
                self._note_written()
            with suppress(DiarizeError):  # on a full disk; the next run does it, too
                self.ledger.put_back()

    def _has_header(self, uri: str) -> bool:
        return not self.recordings[uri].pipe

    def _submit(self, runner: Runner) -> None:
        """Give out what can be: one at a time, when all others are through, of those whose worker died."""
        free = runner.free() if len(self.written) < UNWRITTEN else 0
        while free and self.queue:
            self._start(self.queue.popleft(), runner)
            free -= 1
        if free and self.alone and not self.queue and not self.running:
            self._start(self.alone.popleft(), runner)

    def _start(self, uri: str, runner: Runner) -> None:
        one = self.recordings[uri]
        options = merged(self.options, one.options)
        job = Job(uri, one.audio, options, one.pipe, self._unfinished(uri))
        self.running.add(uri)
        pid = runner.submit(job, lambda said: self.patience(self.pace.lengths.get(uri, said)))
        self.ledger.begin(uri, pid)

    def _unfinished(self, uri: str) -> str | None:
        """The file for the state of a recording."""
        if self.states is None:
            return None
        return str(self.states / f"{sha256(uri.encode()).hexdigest()[:16]}.partial")

    def patience(self, duration: float | None) -> float:
        """Seconds that a recording of so many may take: 10 minutes and twice its length, unknown: an hour."""
        if self.timeout_s is not None:
            return self.timeout_s
        return 3600.0 if duration is None else 600 + 2 * duration

    def _take(self, outcome: Outcome) -> None:
        """The result to disk, then the row: what a row says has happened."""
        uri = outcome.job.uri
        self.running.discard(uri)
        if outcome.result is not None:
            self._keep(uri, outcome.result)
            return
        tried = self.attempts[uri] = self.attempts.get(uri, 0) + 1
        again = outcome.died and tried < ATTEMPTS
        self.ledger.fail(uri, outcome.reason, again=again)
        logger.info("%s: %s%s", uri, outcome.reason, "; once more, alone, at the end" if again else "")
        if again:
            self.alone.append(uri)
        else:
            self._failed(uri)

    def _failed(self, uri: str) -> None:
        """What an earlier run with other options found is no result of this one."""
        if (stale := self.ledger.forget_output(uri)) is not None:
            self.place.remove(stale)
        self._ended(uri, None)

    def _ended(self, uri: str, duration: float | None) -> None:
        if (unfinished := self._unfinished(uri)) is not None:
            with suppress(OSError):
                Path(unfinished).unlink(missing_ok=True)
        self.pending.discard(uri)
        self.pace.ended(uri, duration)

    def _keep(self, uri: str, result: Result) -> None:
        content = result.text.encode()
        self.written.append((self.place.put(uri + self.ending, content), uri, len(content), result))
        self._note_written()

    def _note_written(self) -> None:
        """Rows of the results that are in their place, in the order in which they were sent there."""
        while self.written and self.written[0][0].done():
            future, uri, size, result = self.written.popleft()
            name = uri + self.ending
            error = future.exception()
            if isinstance(error, OSError):
                said = f"{self.place}/{name}: cannot be written: {error.strerror}"
                if error.errno in FULL:
                    raise DiarizeError(
                        f"{said}; what is done stays done, run the same command again for the rest"
                    ) from None
                self.ledger.fail(uri, said)
                self._failed(uri)
                continue
            future.result()
            self.ledger.finish(
                uri, output=name, written=size, duration=result.duration, speakers=result.speakers,
                seconds=result.seconds, remarks=result.remarks,
            )  # fmt: skip
            for remark in result.remarks:
                logger.info("%s: %s", uri, remark)
            self._ended(uri, result.duration)


@contextmanager
def interruptible(driver: Driver) -> Iterator[None]:
    """Ctrl-C in the block lets the driver stop between two steps; a second one stops it where it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        if driver.stopped:
            raise KeyboardInterrupt
        driver.stopped = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if driver.stopped:
        raise KeyboardInterrupt
