"""Every limit of the server, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from diarize.engine.machine import available_cores
from diarize.errors import ConfigError

STREAMS_A_CORE = 5
"""Live streams that a core carries in real time, with time to spare (measured: docs/server.md)."""

HOUR_S = 3600.0
MEBIBYTE = 1 << 20


def default_streams() -> int:
    """Live streams that this machine takes unless told otherwise."""
    return STREAMS_A_CORE * available_cores()


@dataclass(frozen=True)
class ServerOptions:
    """What a server takes from its clients.

    data : folder of uploads, results and their ledger
    token : what clients must show; None: nothing
    hosts : names by which the server may be called, besides addresses and localhost
    origins : other origins whose pages may use it, ``https://example.org``
    keep_s : how long recordings and results stay after they are done

    max_streams : live streams at once, those waiting to be resumed included
    max_stream_s : of sound in one stream; it is finished then
    resume_s : a stream without a connection stays for so long
    start_s, idle_s : until the first message, and between two
    unread_s : an answer that is not read for so long ends the connection
    max_message : bytes of one message
    max_pending_s : of sound that waits for its turn, a stream; more is not read from the socket
    speed, burst_s : so many times real time is read from a stream, after a head start
    max_lag_s : pushes that take longer than this mean that the machine is behind: nobody else is let in

    max_connections : at once, of all kinds
    header_s : for the head of a request
    stalled_s : without a byte of a body
    max_upload : bytes of one file
    max_file_s : of sound in one file
    max_waiting : files that wait
    max_data : bytes of all files and results
    """

    data: Path
    token: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    keep_s: float = 24 * HOUR_S

    max_streams: int = field(default_factory=default_streams)
    max_stream_s: float = 4 * HOUR_S
    resume_s: float = 60.0
    start_s: float = 10.0
    idle_s: float = 60.0
    unread_s: float = 20.0
    max_message: int = MEBIBYTE
    max_pending_s: float = 10.0
    speed: float = 2.0
    burst_s: float = 30.0
    max_lag_s: float = 1.0

    max_connections: int = 256
    header_s: float = 10.0
    stalled_s: float = 20.0
    max_upload: int = 2048 * MEBIBYTE
    max_file_s: float = 12 * HOUR_S
    max_waiting: int = 100
    max_data: int = 20 * 1024 * MEBIBYTE

    def __post_init__(self) -> None:
        for name in ("hosts", "origins"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} must be a sequence of names, got one: {getattr(self, name)!r}")
        for name, value in vars(self).items():
            if isinstance(value, (int, float)) and not value > 0:
                raise ConfigError(f"{name} must be > 0, got {value}")
        if self.token is not None and len(self.token) < 8:
            raise ConfigError(
                "a token must have 8 characters or more, or it is guessed; for example: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        for origin in self.origins:
            scheme, _, host = origin.partition("://")
            if scheme not in ("http", "https") or not host or "/" in host:
                raise ConfigError(
                    f"an origin must be as https://example.org, with a port if need be, got {origin!r}"
                )
