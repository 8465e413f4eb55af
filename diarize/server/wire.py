"""What uvicorn leaves unlimited: how long a head may take, and how long an answer may stay unread.

Its protocols are extended, not replaced: a timer runs while a head is incomplete, another one while what was
written waits for its reader, and a connection over the limit of all is dropped before a byte of it is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from diarize.errors import ConfigError
from diarize.server.options import ServerOptions

LARGEST_HEAD = 32 * 1024
UNREAD_BYTES = 256 * 1024
"""That the system holds for a client that does not read."""

CLOSING_S = 5.0
"""What is left to write when a WebSocket is closed has so long."""

BACKLOG = 128


class Patience:
    """A timer that ends a connection, unless it is told in time."""

    def __init__(self, seconds: float, end: Callable[[], object]) -> None:
        self._seconds, self._end = seconds, end
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on; nothing new if it runs."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    def stop(self) -> None:
        """It came in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ReadInTime:
    """Of a protocol: what is written is read in time, or `reading` ends the connection."""

    reading: Patience

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self.reading.stop()
        super().connection_lost(exc)  # type: ignore[misc]

    def pause_writing(self) -> None:
        """More is written than the system holds."""
        self.reading.begin()
        super().pause_writing()  # type: ignore[misc]

    def resume_writing(self) -> None:
        """The client has read."""
        self.reading.stop()
        super().resume_writing()  # type: ignore[misc]


def config_of(app: ASGIApp, options: ServerOptions, on_unread: Callable[[], object]) -> uvicorn.Config:
    """How uvicorn serves an app within the limits; `on_unread` is called when a connection ends unread."""

    class Http(ReadInTime, H11Protocol):
        """Heads come in time, answers are read in time."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.head = Patience(options.header_s, transport.abort)
            self.reading = Patience(options.unread_s, lambda: self._unread(transport))
            if len(self.connections) > options.max_connections:
                transport.abort()
            else:
                self.head.begin()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
                self.head.begin()
            else:
                self.head.stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self.head.stop()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self.head.stop()
            super().handle_websocket_upgrade(event)

        def _unread(self, transport: asyncio.Transport) -> None:
            on_unread()
            transport.abort()

    class WebSocket(ReadInTime, WebSocketsSansIOProtocol):
        """What is sent is read in time."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.reading = Patience(options.unread_s, self._unread)

        def handle_ping(self) -> None:
            if self.writable.is_set():
                super().handle_ping()
            else:  # who does not read is not answered, or the answers would pile up
                self.conn.data_to_send()

        async def run_asgi(self) -> None:
            await super().run_asgi()
            self.loop.call_later(CLOSING_S, self.transport.abort)  # closing waits for the reader for ever

        def _unread(self) -> None:
            on_unread()
            self.transport.abort()

    return uvicorn.Config(
        app,
        http=Http,
        ws=WebSocket,
        # One that is longer still gets an answer that says so.
        ws_max_size=2 * options.max_message,
        ws_per_message_deflate=False,  # a small message must not become a large one
        ws_ping_interval=None,  # its answer would wait behind the sound of a client that is slowed down
        h11_max_incomplete_event_size=LARGEST_HEAD,
        limit_concurrency=options.max_connections,
        timeout_graceful_shutdown=5,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        lifespan="on",
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket for `uvicorn.Server.serve`; 0 takes any free port. ConfigError where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    heard = socket.socket(family, socket.SOCK_STREAM)
    try:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)  # connections inherit it
        heard.bind((host, port))
        heard.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        heard.close()
        raise ConfigError(f"cannot listen on {host}, port {port}: {error}; choose another --port") from None
    heard.setblocking(False)
    return heard


def address_of(heard: socket.socket) -> str:
    """What a browser on this machine opens."""
    name: Any = heard.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name[0], name[0])
    return f"http://[{host}]:{name[1]}" if ":" in host else f"http://{host}:{name[1]}"
