"""A server in the place of ModelScope, that serves one file as each request's plan says."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable
from pathlib import Path

from diarize import models

BODY = bytes(range(256)) * 2000  # 512 kB: more than any socket buffers in one go
HALF = len(BODY) // 2
SHA = hashlib.sha256(BODY).hexdigest()

Plan = Callable[["Handler"], None]


class Server(http.server.ThreadingHTTPServer):
    """Serves `BODY` as the plans say, one a request; the last plan stays. Remembers the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plans: list[Plan] = [whole]
        self.requests: list[tuple[str, str | None]] = []
        self.stop = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        plans = self.server.plans
        (plans.pop(0) if len(plans) > 1 else plans[0])(self)

    def start(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def offset(self) -> int:
        asked = self.headers["Range"]
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0

    def begin(self, body: bytes = BODY) -> int:
        offset = self.offset()
        if offset:
            last = f"bytes {offset}-{len(body) - 1}/{len(body)}"
            self.start(206, len(body) - offset, Content_Range=last)
        else:
            self.start(200, len(body))
        return offset

    def log_message(self, *args: object) -> None:
        pass


def whole(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(BODY[offset:])


def whole_without_ranges(handler: Handler) -> None:
    handler.start(200, len(BODY))
    handler.wfile.write(BODY)


def truncated(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(BODY[offset : offset + HALF // 2])


def stalled(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(BODY[offset : offset + HALF // 2])
    handler.wfile.flush()
    handler.server.stop.wait(20)


def mute(handler: Handler) -> None:
    handler.server.stop.wait(20)


def wrong(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(bytes(len(BODY) - offset))


def wrong_place(handler: Handler) -> None:
    handler.start(206, len(BODY), Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}")
    handler.wfile.write(BODY)


def unsatisfiable(handler: Handler) -> None:
    if handler.offset():
        handler.start(416, 0, Content_Range=f"bytes */{len(BODY)}")
    else:
        whole(handler)


def missing(handler: Handler) -> None:
    handler.start(404, 0)


def fake_asset(*sources: models.ModelScope | models.Wheel, name: str = "fake") -> models.Asset:
    sources = sources or (models.ModelScope("org/fake", "v1"),)
    return models.Asset(name, (models.File("fake.bin", SHA),), sources, "MIT", "made up", embedding_size=192)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}
