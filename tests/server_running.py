"""A real server on a free port, in a thread of the test, and a client that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvicorn
import websockets
from fakes import FakeEmbedder, FakeSegmenter, FakeVad

from diarize import Diarizer
from diarize.server import ServerOptions, create_app
from diarize.server.app import Server
from diarize.server.wire import config_of, listen

T = TypeVar("T")

QUICK: dict[str, Any] = {"speed": 1e6, "burst_s": 1e6}
"""Sound is taken as fast as it comes."""


def fake_diarizer() -> Diarizer:
    return Diarizer(embedder=FakeEmbedder(0.1), vad=FakeVad(), segmenter=FakeSegmenter())


@dataclass
class Running:
    """A server that runs: where, and its inside."""

    http: str
    server: Server

    @property
    def port(self) -> int:
        return int(self.http.rpartition(":")[2])

    @property
    def stream(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"


@contextmanager
def serving(data: Path, diarizer: Diarizer | None = None, **options: Any) -> Iterator[Running]:
    """Start, and stop at the end."""
    given = ServerOptions(data=data, **options)
    app = create_app(diarizer or fake_diarizer(), given)
    heard = listen("127.0.0.1", 0)
    inside = app.state.server
    server = uvicorn.Server(config_of(app, given, inside.metrics.unread.inc))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [heard]})
    thread.start()
    try:
        until(lambda: server.started)
        yield Running(f"http://127.0.0.1:{heard.getsockname()[1]}", inside)
    finally:
        server.should_exit = True
        thread.join(20)
        heard.close()
        assert not thread.is_alive(), "the server does not end"


def until(true: Any, seconds: float = 10.0) -> None:
    """Wait for something that is about to be."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def pcm(samples: np.ndarray) -> np.ndarray:
    """Float samples as the int16 that go over the wire."""
    return np.round(samples * 32767).astype("<i2")


SOCKETS: list[Any] = []
"""Of clients in the running test."""


def run(coroutine: Coroutine[Any, Any, T], seconds: float = 60.0) -> T:
    """Run a test's clients, and leave none of their sockets open."""

    async def closed() -> T:
        try:
            async with asyncio.timeout(seconds):
                return await coroutine
        finally:
            for socket in SOCKETS:
                socket.transport.abort()
            SOCKETS.clear()
            await asyncio.sleep(0.01)

    return asyncio.run(closed())


@dataclass
class Talk:
    """One live stream as its client sees it, over as many connections as it takes."""

    url: str
    start: dict[str, Any] = field(default_factory=lambda: {"format": "s16le"})
    headers: dict[str, str] = field(default_factory=dict)
    stream: str | None = None
    received_s: float = 0.0
    turns: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    done: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    code: int | None = None
    socket: Any = None
    listening: asyncio.Task[None] | None = None

    async def connect(self) -> Talk:
        """Begin, or go on."""
        self.socket = await websockets.connect(self.url, additional_headers=self.headers, max_size=None)
        SOCKETS.append(self.socket)
        resume = {"resume": self.stream, "have": len(self.turns)}
        again = {name: self.start[name] for name in ("token",) if name in self.start} | resume
        await self.tell({"type": "start"} | (again if self.stream else self.start))
        self.listening = asyncio.create_task(self.listen())
        return self

    async def tell(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def listen(self) -> None:
        """Take what comes until the connection ends."""
        try:
            async for text in self.socket:
                self.take(json.loads(text))
        except websockets.ConnectionClosed:
            pass
        self.code = self.socket.close_code

    def take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        kind = message["type"]
        if kind == "started":
            self.stream, self.received_s = message["stream"], message["received_s"]
        elif kind == "turn":
            assert message["seq"] == len(self.turns) + 1, "no turn is lost, none comes twice"
            self.turns.append(message)
        elif kind == "ack":
            self.received_s = message["received_s"]
        elif kind == "done":
            self.done = message
        elif kind == "error":
            self.error = message

    async def until(self, true: Any, seconds: float = 10.0) -> None:
        """Wait for something that is about to be."""
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.005)

    async def began(self) -> Talk:
        """Wait for the answer to start."""
        count = sum(m["type"] == "started" for m in self.messages)
        await self.until(lambda: sum(m["type"] == "started" for m in self.messages) > count or self.error)
        return self

    async def send(self, samples: np.ndarray, size: int = 1600) -> None:
        """Samples of any type, in pieces."""
        for first in range(0, len(samples), size):
            await self.socket.send(samples[first : first + size].tobytes())

    async def end(self, seconds: float = 20.0) -> dict[str, Any] | None:
        """Finish; returns `done`."""
        await self.tell({"type": "finish"})
        async with asyncio.timeout(seconds):
            await self.listening
        return self.done

    def drop(self) -> None:
        """The connection breaks without a word."""
        self.socket.transport.abort()
