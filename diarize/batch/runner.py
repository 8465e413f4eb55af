"""Workers on this machine: processes that are started with 'spawn', and replaced when they die.

A pool of our own, about as long as wrapping one would be: `concurrent.futures.ProcessPoolExecutor` breaks
as a whole when one worker dies; pebble replaces it, but tells neither which recording ran nor how far it is,
and lets threads start processes and write results, where one loop can be read and interrupted.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from diarize.batch.serving import OUT_OF_MEMORY, TOO_MUCH_MEMORY, grown, serve
from diarize.batch.worker import Job
from diarize.errors import DiarizeError

Load = Callable[[], Callable[[Any, Any], Any]]
"""Loads a worker's function of a job, in the worker; it must survive pickling."""

DEATHS = 3
"""So many workers may die one after the other before they are ready."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    result : what the worker made of it; None: it failed
    reason : why it failed
    died : with its worker, so that another attempt may do
    """

    job: Any
    result: Any = None
    reason: str = ""
    died: bool = False


class Runner(Protocol):
    """What spreads the recordings of a batch: processes here, or Ray.

    A job is submitted when a worker is free, and comes back once, as an outcome, whatever happens to its
    worker. `close` stops all of them at once.

    workers : how many there are
    """

    workers: int

    def free(self) -> int:
        """How many workers wait for a job."""
        ...

    def submit(self, job: Job, timeout_s: Callable[[float | None], float]) -> int:
        """Give a job to a free worker; returns its pid, 0 where it has none.

        timeout_s : seconds until it is stopped, by the seconds of audio that it declares, None if it does not
        """
        ...

    def collect(self, wait_s: float) -> list[Outcome]:
        """What came back, after at most so many seconds; DiarizeError if no worker can be had."""
        ...

    def under_way(self) -> dict[str, float]:
        """Seconds of audio done of each job that runs, by its uri."""
        ...

    def close(self) -> None:
        """Stop the workers, whatever they do."""
        ...


class Worker:
    """One process and what it was given."""

    def __init__(self, load: Load, max_memory: int | None, threads: int) -> None:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        self.connection: Connection[Any, Any] = ours
        self.process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, load, os.getpid(), max_memory), name="diarize-batch", daemon=True
        )
        with quiet_start(threads):
            self.process.start()
        theirs.close()
        self.ready = False
        self.loaded = self.memory = 0
        self.job: Any = None
        self.timeout_s: Callable[[float | None], float] = lambda _: float("inf")
        self.begun = 0.0
        self.done_s = 0.0
        self.total_s: float | None = None

    def give(self, job: Any, timeout_s: Callable[[float | None], float]) -> None:
        """Start on a job."""
        self.job, self.timeout_s, self.begun, self.done_s, self.total_s = (
            job, timeout_s, time.monotonic(), 0.0, None,
        )  # fmt: skip
        with suppress(OSError):  # it died while it waited: `collect` finds that, and whose job it had
            self.connection.send(job)

    @property
    def late_s(self) -> float | None:
        """The seconds that it may take, if it has taken more."""
        limit = self.timeout_s(self.total_s)
        return limit if self.job is not None and time.monotonic() - self.begun > limit else None

    def stop(self) -> int | None:
        """End it and what it started, at once; returns its exit code."""
        if self.process.pid is not None and hasattr(os, "killpg"):
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()
        return self.process.exitcode


class LocalRunner:
    """See `Runner`.

    load : what each worker loads
    workers : processes
    threads : of the numerical libraries in each
    max_memory : bytes that a worker may hold before it is ended; None: any number
    """

    def __init__(self, load: Load, workers: int, *, threads: int = 1, max_memory: int | None = None) -> None:
        self.load, self.threads, self.max_memory = load, threads, max_memory
        self.deaths = 0
        self.workers = workers
        self.team: list[Worker] = []
        try:
            for _ in range(workers):
                self.team.append(self._new())
        except BaseException:
            self.close()
            raise

    def _new(self) -> Worker:
        return Worker(self.load, self.max_memory, self.threads)

    def free(self) -> int:
        """How many workers wait for a job."""
        return sum(worker.ready and worker.job is None for worker in self.team)

    def submit(self, job: Any, timeout_s: Callable[[float | None], float]) -> int:
        """Give a job to a free worker; returns its pid."""
        worker = next(worker for worker in self.team if worker.ready and worker.job is None)
        worker.give(job, timeout_s)
        return worker.process.pid or 0

    def under_way(self) -> dict[str, float]:
        """Seconds of audio done of each job that runs."""
        return {worker.job.uri: worker.done_s for worker in self.team if worker.job is not None}

    def collect(self, wait_s: float) -> list[Outcome]:
        """What came back, after at most so many seconds."""
        wait([worker.connection for worker in self.team], wait_s)
        outcomes = []
        for number, worker in enumerate(self.team):
            outcome, alive = self._heard(worker)
            if alive and outcome is None and (limit := worker.late_s) is not None:
                worker.stop()
                outcome, alive = Outcome(worker.job, reason=f"took longer than {limit:.0f} s"), False
            if outcome is not None:
                outcomes.append(outcome)
                if alive and grown(worker.loaded, worker.memory):  # libraries keep something of each length
                    worker.stop()
                    alive = False
            if not alive:
                self.team[number] = self._new()
        return outcomes

    def _heard(self, worker: Worker) -> tuple[Outcome | None, bool]:
        """What a worker has said, and whether it lives."""
        try:
            while worker.connection.poll():
                kind, value = worker.connection.recv()
                if kind == "progress":
                    worker.done_s, worker.total_s = value
                elif kind == "ready":
                    worker.ready, worker.loaded, self.deaths = True, value, 0
                elif kind == "memory":
                    worker.memory = value
                elif kind == "broken":
                    raise value.error()
                else:
                    job, worker.job = worker.job, None
                    return Outcome(job, value) if kind == "done" else Outcome(job, reason=value), True
            return None, True
        except (EOFError, OSError):
            return self._died(worker), False

    def _died(self, worker: Worker) -> Outcome | None:
        """The outcome of a dead worker's job, if it had one."""
        worker.process.join(5)  # its end of the pipe is closed a moment before it is gone
        why = cause(worker.stop())
        if worker.job is not None:
            return Outcome(worker.job, reason=f"its worker died: {why}", died=True)
        if not worker.ready:
            self.deaths += 1
        if self.deaths >= DEATHS:
            raise DiarizeError(
                f"{DEATHS} workers in a row died while they were starting ({why}); with more memory or fewer "
                "workers they may not. A script that calls run_batch must do so below "
                "if __name__ == '__main__':"
            )
        return None

    def close(self) -> None:
        """Stop the workers, whatever they do."""
        for worker in self.team:
            worker.stop()
        self.team = []


def cause(code: int | None) -> str:
    """What an exit code says."""
    if code == TOO_MUCH_MEMORY:
        return "it held more memory than it may (--max-memory)"
    if code == OUT_OF_MEMORY:
        return "there was no more memory"
    if code is None or code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = {"SIGKILL": " (the system does that when memory runs out)", "SIGSEGV": " (a crash in a library)"}
    return name + hint.get(name, "")


@contextmanager
def quiet_start(threads: int) -> Iterator[None]:
    """A process that is started in the block ignores Ctrl-C, and its libraries use so many threads.

    Both must hold from its first moment, so it inherits them.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
