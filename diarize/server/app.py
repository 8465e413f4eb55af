"""The server as an ASGI application: routes, and what lives as long as it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from diarize import __version__
from diarize.errors import DiarizeError
from diarize.pipeline import Diarizer
from diarize.server import recordings, verifying
from diarize.server.connection import Connection
from diarize.server.guard import POLICY, Guard, answer_of
from diarize.server.hub import Hub
from diarize.server.jobs import Jobs
from diarize.server.metrics import Metrics
from diarize.server.options import ServerOptions
from diarize.server.refusals import Refusal, fault

logger = logging.getLogger("diarize.server")

ASSETS = Path(__file__).parent / "assets"
API = Path(__file__).parent / "api"
REPORT = Path(__file__).parent.parent / "report"

SHARED = ("page.css", "turns.js", "exports.js")
"""Files of the report page, whose look and whose turns the live page shares."""

API_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI sets styles of its own."""

EXPIRE_S = 60.0
"""Seconds between two looks for recordings that may go."""


@dataclass
class Server:
    """What requests share."""

    diarizer: Diarizer
    options: ServerOptions
    metrics: Metrics
    hub: Hub
    jobs: Jobs
    keys: recordings.Keys
    connections: dict[str, Connection] = field(default_factory=dict)
    sockets: int = 0


def create_app(diarizer: Diarizer, options: ServerOptions) -> Starlette:
    """The application for a loaded diarizer; `diarize.server.wire` serves it within the limits."""
    metrics = Metrics()
    hub = Hub(diarizer, options, metrics)
    jobs = Jobs(diarizer, options, metrics, lambda: hub.behind)
    keys = recordings.Keys()
    server = Server(diarizer, options, metrics, hub, jobs, keys)
    metrics.watch("diarize_streams", "Live streams, those included that may be resumed.", lambda: hub.running)
    metrics.watch("diarize_streams_connected", "Live streams with a client.", lambda: len(server.connections))
    metrics.watch("diarize_lag_seconds", "What computing adds to the latency.", lambda: hub.lag_s)
    metrics.watch("diarize_recordings_waiting", "Files to be done.", jobs.ledger.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        jobs.start()
        expiring = asyncio.create_task(expire(jobs))
        try:
            yield
        finally:
            expiring.cancel()
            hub.close()
            await asyncio.to_thread(jobs.close)

    middleware = [Middleware(Guard, options=options, metrics=metrics, keys=keys)]
    if options.origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=options.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
        middleware.insert(0, cors)
    app = Starlette(
        routes=routes(server),
        middleware=middleware,
        lifespan=lifespan,
        exception_handlers={Refusal: refused, HTTPException: not_found, Exception: failed},
    )
    app.state.server = server
    return app


def routes(server: Server) -> list[BaseRoute]:
    """What there is to ask for."""
    from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

    async def page(request: Request) -> Response:
        return FileResponse(ASSETS / "index.html")

    async def shared(request: Request) -> Response:
        return FileResponse(REPORT / request.url.path.rpartition("/")[2])

    async def health(request: Request) -> Response:
        hub = server.hub
        return JSONResponse(
            {
                "status": "busy" if hub.full else "ok",
                "version": __version__,
                "streams": hub.running,
                "max_streams": server.options.max_streams,
                "lag_s": round(hub.lag_s, 3),
                "waiting": await asyncio.to_thread(server.jobs.ledger.waiting),
            }
        )

    async def metrics(request: Request) -> Response:
        text = await asyncio.to_thread(server.metrics.text)
        return Response(text, headers={"content-type": server.metrics.content_type})

    async def openapi(request: Request) -> Response:
        return FileResponse(API / "openapi.json", media_type="application/json")

    async def docs(request: Request) -> Response:
        return FileResponse(API / "docs.html", headers={"content-security-policy": API_POLICY})

    async def start(request: Request) -> Response:
        return FileResponse(API / "start.js")

    async def stream(socket: WebSocket) -> None:
        if server.sockets >= server.options.max_connections:
            refusal = Refusal("busy", "there are too many connections; try again later")
            await socket.send_denial_response(answer_of(refusal))
            return
        server.sockets += 1
        try:
            await Connection(socket, server.hub, server.connections).run()
        finally:
            server.sockets -= 1

    return [
        Route("/", page),
        *(Route(f"/assets/{name}", shared) for name in SHARED),
        Mount("/assets", StaticFiles(directory=ASSETS, check_dir=False)),
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/docs", docs),
        Route("/docs/start.js", start),
        Mount("/docs", StaticFiles(directory=swagger_ui_path)),
        WebSocketRoute("/v1/stream", stream),
        *recordings.routes(server.jobs, server.keys),
        *verifying.routes(server.jobs),
    ]


async def expire(jobs: Jobs) -> None:
    """Forget old recordings, now and then."""
    while True:
        try:
            await asyncio.to_thread(jobs.expire)
        except DiarizeError:
            logger.exception("old recordings")
        await asyncio.sleep(EXPIRE_S)


async def refused(request: Request, error: Exception) -> Response:
    """A refusal as an answer."""
    return answer_of(error if isinstance(error, Refusal) else fault())


async def not_found(request: Request, error: Exception) -> Response:
    """An address or a method that does not exist."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    message = f"{request.method} {request.url.path[:80]} is nothing here; see /docs"
    if isinstance(error, HTTPException) and status not in (404, 405):
        message = error.detail
    return JSONResponse({"error": {"code": "bad_request", "message": message}}, status)


async def failed(request: Request, error: Exception) -> Response:
    """A fault: starlette logs it after this."""
    return answer_of(fault())
