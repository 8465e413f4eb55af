"""Who may ask: hosts, origins, tokens; and what browsers are told about every answer.

A page of another origin cannot use the server, not even by a name that it makes point here (DNS rebinding):
a host must be an address, localhost, or a name that was allowed. With a token any name will do, since only
who knows the token is served and browsers do not add it by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
from typing import Any, Protocol
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diarize.server.metrics import Metrics
from diarize.server.options import MEBIBYTE, ServerOptions
from diarize.server.refusals import Refusal

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

OPEN_PATHS = ("/", "/health", "/docs", "/openapi.json")
"""Without a token, as are assets: nothing in them is secret."""
OPEN_FOLDERS = ("/assets/", "/docs/")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}


LINGER_S = 5.0
LINGER_BYTES = 64 * MEBIBYTE
"""A body that is not wanted is read on for so long, and thrown away, so that its sender hears the answer."""


class Exchange:
    """A request and its answer: headers for browsers, and an end for a body that nobody wants."""

    def __init__(self, receive: Receive, send: Send, headers: Headers) -> None:
        self._receive, self._send = receive, send
        self._whole = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"

    async def receive(self) -> Message:
        """As ASGI says."""
        message = await self._receive()
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """As ASGI says."""
        if message["type"] == "http.response.start":
            told = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                told.setdefault(name, value)
            if not self._whole:
                told["connection"] = "close"
        elif not self._whole and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        left = LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._whole and left > 0:
                    left -= len((await self.receive()).get("body", b""))


class Keys(Protocol):
    """Addresses that are good without a token."""

    def fits(self, path: str, shown: str) -> bool:
        """Whether a key fits a path."""
        ...


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, options: ServerOptions, metrics: Metrics, keys: Keys) -> None:
        self.app, self.options, self.metrics, self.keys = app, options, metrics, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["type"] == "http":
            exchange = Exchange(receive, send, headers)
            receive, send = exchange.receive, exchange.send
        try:
            self._check(scope, headers)
        except Refusal as refusal:
            self.metrics.refused.labels(refusal.code).inc()
            await answer_of(refusal)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Refusal(
                "forbidden",
                f"this server is called by an address, localhost or an allowed name, got {host[:80]!r}; "
                f"its operator can allow it: --allow-host {name_of(host)[:80]}",
            )
        unsafe = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        origin = headers.get("origin")
        if unsafe and origin is not None and not self._is_known(origin, host):
            raise Refusal(
                "forbidden",
                f"pages of {origin[:80]} may not use this server; its operator can allow them: "
                f"--allow-origin {origin[:80]}",
            )
        if scope["type"] == "http" and self.options.token is not None and not self._is_open(scope):
            shown = bearer(headers.get("authorization"))
            if not same_token(shown, self.options.token):
                raise Refusal(
                    "unauthorised",
                    f"this server asks for a token, got {'a wrong one' if shown else 'none'}; send it in a "
                    "header: Authorization: Bearer ...",
                )

    def _is_ours(self, host: str) -> bool:
        name = name_of(host)
        if name in self.options.hosts or (self.options.token is not None and not self.options.hosts):
            return True
        return name == "localhost" or is_address(name)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            return True
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100)
        return scope["method"] in SAFE_METHODS and self.keys.fits(path, query.get("key", [""])[0])

    def _is_known(self, origin: str, host: str) -> bool:
        scheme, _, rest = origin.partition("://")
        return origin in self.options.origins or (scheme in ("http", "https") and rest == host)


def name_of(host: str) -> str:
    """A Host header without its port, in lower case; brackets of IPv6 addresses are gone."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def is_address(name: str) -> bool:
    """Whether it is an IP address, which no name server can make point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def bearer(header: str | None) -> str | None:
    """The token of an Authorization header."""
    kind, _, token = (header or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


def same_token(shown: Any, token: str) -> bool:
    """Whether it is the token, in a time that does not tell how much of it is right."""
    return isinstance(shown, str) and hmac.compare_digest(
        shown.encode("utf-8", "surrogatepass"), token.encode()
    )


def answer_of(refusal: Refusal) -> JSONResponse:
    """A refusal as HTTP says it."""
    headers = {"www-authenticate": "Bearer"} if refusal.code == "unauthorised" else None
    if refusal.code == "busy":
        headers = {"retry-after": "30"}
    return JSONResponse(
        {"error": {"code": refusal.code, "message": str(refusal)}}, refusal.status, headers=headers
    )
