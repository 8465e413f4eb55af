"""All live streams: who is let in, who may come back, and how far behind the machine is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from diarize.errors import DiarizeError
from diarize.pipeline import Diarizer
from diarize.server.messages import Start
from diarize.server.metrics import Metrics
from diarize.server.options import ServerOptions
from diarize.server.refusals import Refusal
from diarize.server.session import Session

logger = logging.getLogger("diarize.server")

RECENT_S = 5.0
"""Pushes of so many last seconds tell how far behind the machine is."""

ENDED_FACTOR = 4
"""Ended streams that still wait for a client to come back, at most so many times those that run."""


class Hub:
    """The live streams of a server."""

    def __init__(self, diarizer: Diarizer, options: ServerOptions, metrics: Metrics) -> None:
        self.diarizer, self.options, self.metrics = diarizer, options, metrics
        # A thread a stream: windows that wait at the same moment share a call on the network.
        self.pool = ThreadPoolExecutor(options.max_streams, thread_name_prefix="diarize-live")
        self.sessions: dict[str, Session] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._recent: deque[tuple[float, float]] = deque(maxlen=1000)

    @property
    def running(self) -> int:
        """Streams that take sound or may take it again."""
        return sum(not session.over for session in list(self.sessions.values()))

    @property
    def lag_s(self) -> float:
        """How long pushes took of late, seconds, the middle one: what is added to the latency."""
        since = time.monotonic() - RECENT_S
        taken = sorted(seconds for moment, seconds in list(self._recent) if moment > since)
        return taken[len(taken) // 2] if taken else 0.0

    @property
    def behind(self) -> bool:
        """Whether live streams need all there is."""
        return self.lag_s > self.options.max_lag_s / 4

    @property
    def full(self) -> bool:
        """Whether a new stream would be refused."""
        return self.running >= self.options.max_streams or self.lag_s > self.options.max_lag_s

    @property
    def guess_share(self) -> int:
        """Streams that guess at the same time."""
        return len(self.sessions)

    def pushed(self, seconds: float, audio_s: float) -> None:
        """A push took so long; called in its thread."""
        self._recent.append((time.monotonic(), seconds))
        self.metrics.pushed(seconds, audio_s)

    def begin(self, start: Start) -> Session:
        """A new stream; Refusal where there is no room, or for options that cannot be."""
        if self.running >= self.options.max_streams:
            self.metrics.refused.labels("busy").inc()
            raise Refusal(
                "busy",
                f"at most {self.options.max_streams} streams are taken at once, and so many there are; "
                "try again later",
            )
        if self.lag_s > self.options.max_lag_s:
            self.metrics.refused.labels("behind").inc()
            raise Refusal(
                "busy",
                f"the machine is behind: a push takes {self.lag_s:.1f} s, and must take at most "
                f"{self.options.max_lag_s:g} s before another stream is let in; try again later",
            )
        try:
            stream = self.diarizer.stream(
                latency_s=start.latency_s,
                sample_rate=start.sample_rate,
                num_speakers=start.num_speakers,
                min_speakers=start.min_speakers,
                max_speakers=start.max_speakers,
                uri=start.name,
            )
        except DiarizeError as error:
            raise Refusal("bad_request", str(error)) from None
        session = Session(stream, start, self.options, self.pool, self)
        self.sessions[session.id] = session
        self.metrics.started.inc()
        return session

    def find(self, id: str) -> Session:
        """The stream of this id; Refusal where there is none."""
        if id not in self.sessions:
            raise Refusal(
                "gone",
                f"there is no such stream, any more: one without a connection stays for "
                f"{self.options.resume_s:g} s; start a new one",
            )
        return self.sessions[id]

    def resume(self, session: Session) -> None:
        """Its client is back."""
        self.find(session.id)
        self._stay(session.id)
        self.metrics.resumed.inc()

    def leave(self, session: Session, *, keep: bool = True) -> None:
        """The client of a stream is not there; it may come back for a while, if anything is to be kept."""
        self._stay(session.id)
        if session.id not in self.sessions:
            return
        if not keep or (session.received == 0 and session.ended is None):
            self.forget(session.id)
            return
        loop = asyncio.get_running_loop()
        self._leaving[session.id] = loop.call_later(self.options.resume_s, self.forget, session.id)
        ended = [id for id in self._leaving if self.sessions[id].over]
        for id in ended[: -ENDED_FACTOR * self.options.max_streams]:  # the oldest first
            self.forget(id)

    def forget(self, id: str) -> None:
        """Nobody will ask for this stream any more."""
        self._stay(id)
        session = self.sessions.pop(id, None)
        if session is not None:
            session.abandon()

    def close(self) -> None:
        """Forget everything."""
        for id in list(self.sessions):
            self.forget(id)
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _stay(self, id: str) -> None:
        leaving = self._leaving.pop(id, None)
        if leaving is not None:
            leaving.cancel()
