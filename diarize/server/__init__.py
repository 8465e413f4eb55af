"""The server of `diarize serve`: live streams over a WebSocket, files over HTTP, a page for people.

    options      every limit there is
    refusals     what is refused, with a code and what to do
    messages     what clients may say, checked
    session      one live stream, whether a client is there or not
    hub          all of them: who is let in, who may come back
    container    WebM and Ogg, decoded as they arrive
    connection   one client of a live stream
    spool        uploads -> whole files on disk
    ledger       what became of each file, in SQLite
    jobs         files, one after another, when live streams leave time
    recordings   files over HTTP
    verifying    two files over HTTP: is this the same voice
    guard        hosts, origins, tokens, headers
    wire         what uvicorn does not limit: slow requests, answers that nobody reads
    metrics      counters for Prometheus
    app          all of it together

One process, one event loop; whatever computes does so in threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diarize.server.app import create_app as create_app
    from diarize.server.options import ServerOptions as ServerOptions

__all__ = ["ServerOptions", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from diarize.server.app import create_app

        return create_app
    if name == "ServerOptions":
        from diarize.server.options import ServerOptions

        return ServerOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
