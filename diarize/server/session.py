"""One live stream: sound comes in at one end, turns leave at the other, whether a client is there or not.

What comes in waits, a few seconds of it at most; what is computed runs in a thread, one push at a time; what
goes out is the list of final turns and the newest guess, from which each connection sends what its client
lacks. So no queue can grow, and a client that comes back misses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Protocol

import numpy as np

from diarize.audio import Samples
from diarize.errors import DiarizeError
from diarize.result import Turn
from diarize.server.messages import Start
from diarize.server.options import ServerOptions
from diarize.server.refusals import Refusal, fault
from diarize.stream import Stream

logger = logging.getLogger("diarize.server")

PIECE_S = 1.0
"""Seconds of sound that are pushed at once, so that streams take turns; of silence ten times as many."""

GUESS_S = 0.5
"""Seconds between two guesses, at least."""

LONGEST_WAIT_S = 60.0
"""Nobody may send sound so far ahead of the clock that it would wait longer."""

Entry = tuple[Samples | None, int]
"""Samples and how many they are; None: so many were lost."""


class Load(Protocol):
    """Who is told how long computing took, and says how many share the machine."""

    def pushed(self, seconds: float, audio_s: float) -> None:
        """A push took so long, for so much sound."""
        ...

    @property
    def guess_share(self) -> int:
        """Streams that guess at the same time."""
        ...


class Session:
    """A live stream.

    stream : pushed to by this object alone
    received : samples taken so far, those that were lost included
    finals : every final turn; the first has number 1
    guess : what is not final, and up to which second; None before the first
    guesses : how many there were
    ended : why no more sound is taken: "finish" or "too_long"; None: it is taken
    result : the JSON of the whole, at the end
    failure : why there will be none
    """

    def __init__(
        self, stream: Stream, start: Start, options: ServerOptions, pool: Executor, load: Load
    ) -> None:
        self.id = secrets.token_urlsafe(24)
        self.stream, self.start, self.options = stream, start, options
        self.rate = start.sample_rate
        self.received = 0
        self.finals: list[Turn] = []
        self.guess: tuple[float, list[Turn]] | None = None
        self.guesses = 0
        self.ended: str | None = None
        self.result: str | None = None
        self.failure: Refusal | None = None
        self.listener: Callable[[], object] | None = None
        self._pool, self._load = pool, load
        self._begun = time.monotonic()
        self._guessed = -GUESS_S
        self._guess_cost = 0.0
        self._pending: deque[Entry] = deque()
        self._waiting = 0  # samples pending
        self._input, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._task = asyncio.create_task(self._work(), name=f"stream {self.id[:6]}")

    @property
    def received_s(self) -> float:
        """Seconds of sound taken so far."""
        return self.received / self.rate

    @property
    def over(self) -> bool:
        """Whether nothing will be computed any more."""
        return self._task.done()

    # Sound comes in

    async def take(self, samples: Samples) -> None:
        """Take the next samples, as soon as there is room and it is their time.

        What exceeds the longest stream is left out, and the stream is finished.
        """
        left = round(self.options.max_stream_s * self.rate) - self.received
        if self.ended is None and len(samples):
            await self._enter(samples[:left], min(left, len(samples)))
        if len(samples) >= left:
            self.finish("too_long")

    async def lose(self, until_s: float) -> None:
        """What lies before that second and was not taken was lost; Refusal for a time that cannot be."""
        gap = round(until_s * self.rate) - self.received
        if gap < 0:
            raise Refusal(
                "bad_request",
                f"at must not lie before what was received, up to {self.received_s:.3f} s, got {until_s}; "
                "leave out the samples that came twice",
            )
        if self._early(gap) > LONGEST_WAIT_S:
            raise Refusal(
                "bad_request",
                f"at {until_s:.1f} s is in the future: the stream is {self._age:.0f} s old; a wrong clock?",
            )
        left = round(self.options.max_stream_s * self.rate) - self.received
        if self.ended is None and gap:
            await self._enter(None, min(left, gap))
        if gap >= left:
            self.finish("too_long")

    def finish(self, why: str = "finish") -> None:
        """No more sound is taken; what is there is decided."""
        self.ended = self.ended or why
        self._input.set()

    def abandon(self) -> None:
        """Stop; nobody will ask any more."""
        self._task.cancel()

    @property
    def _age(self) -> float:
        return time.monotonic() - self._begun

    def _early(self, count: int) -> float:
        """Seconds until so many samples more may come in."""
        ahead = (self.received + count) / self.rate - self.options.burst_s
        return ahead / self.options.speed - self._age

    async def _enter(self, samples: Samples | None, count: int) -> None:
        early = self._early(count)
        if early > 0:
            await asyncio.sleep(early)
        while samples is not None and self._waiting > self.options.max_pending_s * self.rate:
            self._room.clear()
            await self._room.wait()
        self._pending.append((samples, count))
        self._waiting += count
        self.received += count
        self._input.set()

    # It is computed

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._input.wait()
                while self._pending:
                    piece, at = self._next()
                    self._room.set()
                    self._tell(*await loop.run_in_executor(self._pool, self._push, piece, at))
                if self.ended is not None:
                    break
                self._input.clear()
            turns, self.result = await loop.run_in_executor(self._pool, self._finish)
            self._tell(turns, None)
        except DiarizeError as error:
            self._fail(Refusal("bad_request", str(error)))
        except Exception:
            logger.exception("stream %s", self.id[:6])
            self._fail(fault())
        finally:
            self._pending.clear()
            del self.stream  # its networks' memory; finals and result stay
            self._room.set()

    def _next(self) -> tuple[Samples, float | None]:
        """The next samples to push, and where they lie if some before them were lost."""
        samples, count = self._pending.popleft()
        done = self.received - self._waiting
        if samples is None:
            step = min(count, round(10 * PIECE_S * self.rate))
            if count > step:
                self._pending.appendleft((None, count - step))
            self._waiting -= step
            return np.zeros(0, np.float32), (done + step) / self.rate
        held, most = [samples], round(PIECE_S * self.rate)
        while count < most and self._pending and (more := self._pending[0][0]) is not None:
            held.append(more)
            count += len(more)
            self._pending.popleft()
        joined = np.concatenate(held)
        if count > most:
            self._pending.appendleft((joined[most:], count - most))
        self._waiting -= min(count, most)
        return joined[:most], None

    def _push(self, samples: Samples, at: float | None) -> tuple[list[Turn], tuple[float, list[Turn]] | None]:
        """In a thread: what became final, and a guess where one is due."""
        stream, begun = self.stream, time.monotonic()  # ours, also if the session is abandoned meanwhile
        turns = stream.push(samples, at=at)
        taken = time.monotonic() - begun
        self._load.pushed(taken, len(samples) / self.rate)
        wait = max(GUESS_S, self._guess_cost * self._load.guess_share)
        if self.listener is None or not self.start.guesses or self._pending or begun - self._guessed < wait:
            return turns, None
        guess = list(stream.hypothesis)
        self._guessed = time.monotonic()
        self._guess_cost = self._guessed - begun - taken
        return turns, (stream.duration, guess)

    def _finish(self) -> tuple[list[Turn], str]:
        stream = self.stream
        turns = stream.finish()
        return turns, stream.result().to("json")

    # It goes out

    def _tell(self, turns: list[Turn], guess: tuple[float, list[Turn]] | None) -> None:
        self.finals += turns
        if guess is not None:
            self.guess = guess
            self.guesses += 1
        self._ring()

    def _fail(self, failure: Refusal) -> None:
        self.failure = failure
        self._ring()

    def _ring(self) -> None:
        if self.listener is not None:
            self.listener()


def as_json(turn: Turn) -> dict[str, Any]:
    """A turn as clients get it; times in whole samples lose nothing."""
    return {"start": round(turn.start, 7), "end": round(turn.end, 7), "speaker": turn.speaker}
