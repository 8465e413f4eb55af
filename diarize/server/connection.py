"""One client of a live stream: what it says is checked and handed on, what it lacks is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from diarize._pcm import Layout
from diarize.errors import AudioError
from diarize.samples import as_samples
from diarize.server import messages
from diarize.server.container import Container
from diarize.server.guard import bearer, same_token
from diarize.server.hub import Hub
from diarize.server.messages import Resume, Start
from diarize.server.refusals import Refusal, fault
from diarize.server.session import Session, as_json

logger = logging.getLogger("diarize.server")

ACK_S = 1.0
"""Seconds between two acknowledgements."""

SAY_S = 5.0
"""A last word waits so long at most to be sent."""

FINAL = ("bad_request", "unsupported")
"""Refusals after which a stream cannot be resumed: what does not keep to the protocol holds no place."""


class Sound(Protocol):
    """What becomes of binary messages."""

    async def push(self, data: bytes) -> None:
        """The next bytes."""
        ...

    async def close(self) -> None:
        """There will be no more."""
        ...


class Raw:
    """Samples in bytes, cut anywhere."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layout = Layout(session.rate, session.start.format)
        self._rest = b""

    async def push(self, data: bytes) -> None:
        """The next bytes; Refusal for what is no sound."""
        data = self._rest + data
        whole = len(data) // self._layout.frame * self._layout.frame
        self._rest = data[whole:]
        try:
            samples = as_samples(self._layout.decode(data[:whole]))
        except AudioError as error:
            raise Refusal("bad_request", f"{error} after {self._session.received_s:.3f} s") from None
        await self._session.take(samples)

    async def close(self) -> None:
        """There will be no more."""


class Connection:
    """A WebSocket and the session that it belongs to."""

    def __init__(self, socket: WebSocket, hub: Hub, connections: dict[str, Connection]) -> None:
        self.socket, self.hub, self.options = socket, hub, hub.options
        self.connections = connections
        self.taken_over = asyncio.Event()
        self.left = asyncio.Event()
        self._news = asyncio.Event()
        self._sent = 0

    async def run(self) -> None:
        """From the first message to the last."""
        await self.socket.accept()
        try:
            await self._serve()
        except WebSocketDisconnect:
            return
        except Refusal as refusal:
            await self._refuse(refusal)
        except Exception:
            logger.exception("a connection")
            await self._refuse(fault())

    async def _serve(self) -> None:
        said = await self._first()
        if isinstance(said, Resume):
            session = await self._resumed(said)
        else:
            session = self.hub.begin(said)
        self.connections[session.id] = self
        session.listener = self._news.set
        keep = True
        try:
            await self._follow(session)
        except Refusal as refusal:
            keep = refusal.code not in FINAL
            raise
        finally:
            session.listener = None
            del self.connections[session.id]
            self.hub.leave(session, keep=keep)
            self.left.set()

    async def _first(self) -> Start | Resume:
        """The first message, with a right token."""
        try:
            text = await asyncio.wait_for(self._receive(), self.options.start_s)
        except TimeoutError:
            raise Refusal(
                "too_slow", f"start must come within {self.options.start_s:g} s, nothing did"
            ) from None
        if isinstance(text, bytes):
            raise messages.bad("the first message must be a text, start; got sound")
        said = messages.parse(text)
        if self.options.token is not None:
            shown = bearer(self.socket.headers.get("authorization")) or said.get("token")
            if not same_token(shown, self.options.token):
                self.hub.metrics.refused.labels("unauthorised").inc()
                raise Refusal(
                    "unauthorised",
                    f"this server asks for a token, got {'a wrong one' if shown else 'none'}; "
                    'say it in start, "token": "...", or in a header, Authorization: Bearer ...',
                )
        return messages.parse_start(said)

    async def _resumed(self, said: Resume) -> Session:
        """The stream of a client that comes back, taken over from whoever has it."""
        session = self.hub.find(said.stream)
        if said.have > len(session.finals):
            raise messages.bad(f"have must be at most {len(session.finals)}, the last turn, got {said.have}")
        while (other := self.connections.get(session.id)) is not None:
            other.taken_over.set()
            await other.left.wait()
        self.hub.resume(session)
        self._sent = said.have
        return session

    async def _follow(self, session: Session) -> None:
        """Read and write until the stream is done, or the client is gone."""
        started = {
            "type": "started",
            "stream": session.id,
            "sample_rate": session.rate,
            "latency_s": session.start.latency_s,
            "received_s": session.received_s,
            "seq": self._sent,
            "resume_s": self.options.resume_s,
        }
        await self._send(started)
        container = None
        if session.start.format in messages.CONTAINERS:
            container = Container(session.start.format, session.start.name, session.take)
        reader = asyncio.create_task(self._read(session, container or Raw(session), container))
        writer = asyncio.create_task(self._write(session))
        other = asyncio.create_task(self.taken_over.wait())
        ours: set[asyncio.Future[Any]] = {reader, writer, other}
        waits = ours | ({container.failed} if container else set())
        try:
            while not writer.done():
                ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if other.done():
                    raise Refusal("gone", "another connection has taken this stream over")
                for one in ended:
                    one.result()
                waits -= ended  # the reader: all sound is here
            await self.socket.close(1000)
        finally:
            for one in ours:
                one.cancel()
            await asyncio.gather(*ours, return_exceptions=True)
            if container:
                await container.close()

    async def _read(self, session: Session, sound: Sound, container: Container | None) -> None:
        """What the client says, until it has said all."""
        begun = False
        while session.ended is None:
            try:
                message = await asyncio.wait_for(self._receive(), self.options.idle_s)
            except TimeoutError:
                raise Refusal(
                    "too_slow",
                    f"sound or a ping must come every {self.options.idle_s:g} s, nothing did; "
                    "resume the stream",
                ) from None
            if isinstance(message, bytes):
                begun = True
                await sound.push(message)
                continue
            said = messages.parse(message)
            if said["type"] == "at":
                if container and begun:
                    raise messages.bad("at must come before the first bytes of a container")
                await session.lose(messages.number(said, "seconds"))
            elif said["type"] == "finish":
                await sound.close()
                if container and container.failed.done() and not session.received:
                    container.failed.result()
                session.finish()
            elif said["type"] != "ping":
                raise messages.bad(f"type must be at, ping or finish, got {said['type'][:40]!r}")

    async def _write(self, session: Session) -> None:
        """What the client lacks, until it has all."""
        guesses, acknowledged = session.guesses, 0.0
        while True:
            self._news.clear()
            for turn in session.finals[self._sent :]:
                self._sent += 1
                await self._send({"type": "turn", "seq": self._sent} | as_json(turn))
                self.hub.metrics.turns.inc()
            if session.failure is not None:
                raise session.failure
            if session.result is not None and self._sent == len(session.finals):
                head = json.dumps({"type": "done", "seq": self._sent, "ended": session.ended})
                await self.socket.send_text(f'{head[:-1]}, "result": {session.result.strip()}}}')
                return
            if session.guess is not None and session.guesses > guesses:
                guesses = session.guesses
                at, turns = session.guess
                await self._send({"type": "guess", "at": round(at, 7), "turns": [*map(as_json, turns)]})
            now = time.monotonic()
            if now - acknowledged >= ACK_S:  # with nothing new it still says that the server is there
                acknowledged = now
                await self._send({"type": "ack", "received_s": session.received_s})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), ACK_S)

    async def _receive(self) -> str | bytes:
        """The next message; WebSocketDisconnect at the end, Refusal for one that is too long."""
        message = await self.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        data: str | bytes | None = message.get("bytes")
        data = message["text"] if data is None else data
        if len(data) > self.options.max_message:
            raise Refusal(
                "too_long",
                f"a message must have at most {self.options.max_message} bytes, got {len(data)}; "
                "send smaller ones",
            )
        return data

    async def _send(self, message: dict[str, Any]) -> None:
        await self.socket.send_text(json.dumps(message))

    async def _refuse(self, refusal: Refusal) -> None:
        """The last word, if it can be said."""
        with contextlib.suppress(WebSocketDisconnect, TimeoutError, RuntimeError):
            async with asyncio.timeout(SAY_S):
                await self._send({"type": "error", "code": refusal.code, "message": str(refusal)})
                await self.socket.close(refusal.close_code)
