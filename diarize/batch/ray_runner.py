"""Workers on a cluster, over Ray: actors that hold a diarizer each; the ledger stays with the driver.

Every node must see the audio under the same paths and have this package. Results come back to the driver,
which writes them. Needs the extra `ray`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from diarize.batch.runner import DEATHS, Outcome
from diarize.batch.serving import Broken, grown, memory, watch_memory
from diarize.batch.worker import reason_of
from diarize.errors import ConfigError, DiarizeError


class Actor:
    """What lives in a worker of Ray."""

    def __init__(self, load: Callable[[], Callable[[Any, Any], Any]], max_memory: int | None) -> None:
        watch_memory(max_memory)
        self.work: Callable[[Any, Any], Any] | None = None
        self.broken: Broken | None = None
        try:
            self.work = load()
        except Exception as error:
            self.broken = Broken(type(error).__name__, str(error))

    def ready(self) -> tuple[Broken | None, int]:
        """Why it cannot work, if it cannot, and the bytes of memory that it holds."""
        return self.broken, memory()

    def do(self, job: Any) -> tuple[str, Any, int]:
        """One job, as `diarize.batch.serving.answer`, and the bytes held; MemoryError counts as a death."""
        if self.work is None:
            raise RuntimeError("this actor is broken; its ready() says why")
        try:
            return "done", self.work(job, lambda done_s, total_s: None), memory()
        except MemoryError:
            raise
        except Exception as error:
            return "failed", reason_of(error, job.uri), memory()


@dataclass
class Seat:
    """One actor, the answer that is waited for, and what it was given."""

    actor: Any
    answer: Any
    ready: bool = False
    loaded: int = 0
    job: Any = None
    begun: float = 0.0
    timeout_s: Callable[[float | None], float] = lambda _: float("inf")


class RayRunner:
    """See `diarize.batch.runner.Runner`.

    load : what each worker loads
    workers : actors; None: as many as the cluster has CPUs for
    threads : of each, which Ray reserves as CPUs
    max_memory : bytes that an actor may hold before it is ended; None: any number
    address : of a cluster, as `ray.init` takes it; None: one on this machine, for as long as the batch runs

    Raises ConfigError without the package ray, DiarizeError if there is no cluster at the address.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        workers: int | None,
        *,
        threads: int = 1,
        max_memory: int | None = None,
        address: str | None = None,
    ) -> None:
        try:
            import ray
        except ImportError:
            raise ConfigError("runner 'ray' needs the package ray; run: pip install 'ray>=2.40'") from None
        self.ray, self.load, self.max_memory = ray, load, max_memory
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
        if address is None:
            quiet |= {"address": "local", "num_cpus": (workers or 1) * threads, "include_dashboard": False}
        else:
            quiet |= {"address": address}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        try:
            ray.init(**quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise DiarizeError(f"Ray at {address or 'this machine'}: {str(error)[:300]}") from error
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        self.make = ray.remote(
            num_cpus=threads, runtime_env={"env_vars": dict.fromkeys(names, str(threads))}
        )(Actor)
        self.deaths = 0
        cpus = int(ray.cluster_resources().get("CPU", 1))
        self.workers = workers or max(1, cpus // threads)
        self.seats = [self._new() for _ in range(self.workers)]

    def _new(self) -> Seat:
        actor = self.make.remote(self.load, self.max_memory)
        return Seat(actor, actor.ready.remote())

    def free(self) -> int:
        """How many actors wait for a job."""
        return sum(seat.ready and seat.job is None for seat in self.seats)

    def submit(self, job: Any, timeout_s: Callable[[float | None], float]) -> int:
        """Give a job to a free actor; it tells no length, so the header alone says the limit."""
        seat = next(seat for seat in self.seats if seat.ready and seat.job is None)
        seat.job, seat.timeout_s, seat.begun = job, timeout_s, time.monotonic()
        seat.answer = seat.actor.do.remote(job)
        return 0

    def under_way(self) -> dict[str, float]:
        """Jobs that run; how far they are is not known here."""
        return {seat.job.uri: 0.0 for seat in self.seats if seat.job is not None}

    def collect(self, wait_s: float) -> list[Outcome]:
        """What came back, after at most so many seconds."""
        pending = [seat.answer for seat in self.seats if seat.answer is not None]
        if pending:
            self.ray.wait(pending, timeout=wait_s)
        else:
            time.sleep(wait_s)
        outcomes = []
        for number, seat in enumerate(self.seats):
            if seat.answer is None:
                continue
            arrived, _ = self.ray.wait([seat.answer], timeout=0)
            if arrived:
                outcome = self._heard(number, seat)
            elif seat.job is not None and time.monotonic() - seat.begun > (limit := seat.timeout_s(None)):
                outcome = Outcome(seat.job, reason=f"took longer than {limit:.0f} s")
                self._replace(number)
            else:
                continue
            if outcome is not None:
                outcomes.append(outcome)
        return outcomes

    def _heard(self, number: int, seat: Seat) -> Outcome | None:
        """What an actor has answered; one that died is replaced."""
        job, seat.job = seat.job, None
        try:
            answer = self.ray.get(seat.answer)
        except self.ray.exceptions.RayError as error:
            self._replace(number)
            if job is not None:
                return Outcome(job, reason=f"its worker died: {first_line(error)}", died=True)
            self.deaths += 1
            if self.deaths >= DEATHS:
                raise DiarizeError(
                    f"{DEATHS} actors in a row died while they were starting: {first_line(error)}"
                ) from None
            return None
        seat.answer = None
        if job is None:
            broken, seat.loaded = answer
            if broken is not None:
                raise broken.error()
            seat.ready, self.deaths = True, 0
            return None
        kind, value, held = answer
        if grown(seat.loaded, held):
            self._replace(number)
        return Outcome(job, value) if kind == "done" else Outcome(job, reason=value)

    def _replace(self, number: int) -> None:
        with suppress(Exception):  # it may be gone with its node
            self.ray.kill(self.seats[number].actor)
        self.seats[number] = self._new()

    def close(self) -> None:
        """Stop the actors; a cluster of this machine's own ends, another one stays."""
        for seat in self.seats:
            with suppress(Exception):  # as above
                self.ray.kill(seat.actor)
        self.seats = []
        self.ray.shutdown()


def first_line(error: Exception) -> str:
    """What Ray says of a death, without the actor's biography."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
