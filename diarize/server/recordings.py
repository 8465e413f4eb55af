"""Files over HTTP: post one, ask how far it is, fetch what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from diarize._files import atomic_write
from diarize.config import Bounds
from diarize.errors import ConfigError, DiarizeError, FormatError
from diarize.formats.registry import by_name, format_recordings
from diarize.formats.rows import confidence_of
from diarize.report import format_page, hear
from diarize.result import Diarization, Turn
from diarize.server.jobs import Jobs
from diarize.server.ledger import Row
from diarize.server.messages import MAX_NAME, MAX_SPEAKERS
from diarize.server.refusals import Refusal
from diarize.server.spool import uploads

COUNTS = ("num_speakers", "min_speakers", "max_speakers")
MAX_CHANNEL = 63

REPORT_POLICY = "sandbox allow-scripts allow-downloads allow-modals; frame-ancestors 'self'"
"""A report has a policy of its own inside. Sandboxed, it is of no origin: it cannot use the server."""


class Keys:
    """Addresses of reports that are good by themselves, for frames and tabs, which send no token."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def of(self, id: str) -> str:
        """The key of one report."""
        return hmac.new(self._secret, id.encode(), hashlib.sha256).hexdigest()[:40]

    def fits(self, path: str, shown: str) -> bool:
        """Whether a path is of a report, and the key is its own."""
        parts = path.split("/")
        if parts[:3] != ["", "v1", "recordings"] or parts[4:] != ["report"]:
            return False
        return hmac.compare_digest(self.of(parts[3]).encode(), shown.encode("utf-8", "surrogatepass"))


def routes(jobs: Jobs, keys: Keys) -> list[BaseRoute]:
    """What there is to ask for."""
    reporting = asyncio.Semaphore(1)

    async def post(request: Request) -> Response:
        name, options = asked(request)
        await asyncio.to_thread(jobs.room)
        [upload] = await uploads(request, jobs.uploads, jobs.options, ("file",))
        name = name or clean(Path(upload.name or "").name) or "recording"
        row = await asyncio.to_thread(jobs.accept, upload, name, options)
        return JSONResponse(state_of(row), 202, {"location": url_of(row.id)})

    async def get(request: Request) -> Response:
        return JSONResponse(state_of(await row_of(request)))

    async def result(request: Request) -> Response:
        row = await asyncio.to_thread(jobs.done, request.path_params["id"])
        try:
            form = by_name(request.query_params.get("format", "json"))
        except FormatError as error:
            raise Refusal("bad_request", str(error)) from None
        if form.name == "json":
            text = await asyncio.to_thread(jobs.result_path(row.id).read_text, "utf-8")
            return Response(text, media_type="application/json")
        recording = await asyncio.to_thread(jobs.result, row)
        return Response(
            await asyncio.to_thread(format_recordings, [recording], form.name),
            media_type="text/plain",
            headers={"content-disposition": f'attachment; filename="{row.id[:8]}{form.ending}"'},
        )

    async def report(request: Request) -> Response:
        row = await asyncio.to_thread(jobs.done, request.path_params["id"])
        path = jobs.results / f"{row.id}.html"
        async with reporting:
            if not path.exists():
                await asyncio.to_thread(write_report, jobs, row, path)
        return FileResponse(path, headers={"content-security-policy": REPORT_POLICY}, media_type="text/html")

    async def delete(request: Request) -> Response:
        await asyncio.to_thread(jobs.remove, await row_of(request))
        return Response(status_code=204)

    async def row_of(request: Request) -> Row:
        return await asyncio.to_thread(jobs.get, request.path_params["id"])

    def url_of(id: str) -> str:
        return f"/v1/recordings/{id}"

    def state_of(row: Row) -> dict[str, Any]:
        done = row.state == "done"
        return {
            "id": row.id,
            "name": row.name,
            "state": row.state,
            "progress": jobs.progress(row),
            "error": {"code": row.code, "message": row.reason} if row.state == "failed" else None,
            "duration": row.duration,
            "speakers": row.speakers,
            "url": url_of(row.id),
            "result_url": f"{url_of(row.id)}/result" if done else None,
            "report_url": f"{url_of(row.id)}/report?key={keys.of(row.id)}" if done else None,
        }

    return [
        Route("/v1/recordings", post, methods=["POST"]),
        Route("/v1/recordings/{id}", get, methods=["GET"]),
        Route("/v1/recordings/{id}", delete, methods=["DELETE"]),
        Route("/v1/recordings/{id}/result", result, methods=["GET"]),
        Route("/v1/recordings/{id}/report", report, methods=["GET"]),
    ]


def asked(request: Request) -> tuple[str | None, dict[str, int]]:
    """The name and the options of an address; Refusal for an unknown one, or a wrong value."""
    options: dict[str, int] = {}
    for key, value in request.query_params.multi_items():
        if key not in ("name", "channel", *COUNTS):
            known = ", ".join(("name", "channel", *COUNTS))
            raise Refusal("bad_request", f"there is no parameter {key[:40]!r}; there are {known}")
        if key == "name" or not value:
            continue
        least, most = (0, MAX_CHANNEL) if key == "channel" else (1, MAX_SPEAKERS)
        if not (value.isascii() and value.isdecimal() and len(value) < 6 and least <= int(value) <= most):
            raise Refusal("bad_request", f"{key} must be from {least} to {most}, got {value[:20]!r}")
        options[key] = int(value)
    try:
        Bounds.of(*(options.get(key) for key in COUNTS))
    except ConfigError as error:
        raise Refusal("bad_request", str(error)) from None
    name = request.query_params.get("name", "")
    if len(name) > MAX_NAME:
        raise Refusal("bad_request", f"name must have at most {MAX_NAME} characters, got {len(name)}")
    return clean(name) or None, options


def clean(name: str) -> str:
    """A name of one line."""
    return "".join(c if c.isprintable() else " " for c in name).strip()[:MAX_NAME]


def write_report(jobs: Jobs, row: Row, path: Path) -> None:
    """The page of a recording that is done."""
    recording = jobs.result(row)
    turns = tuple(Turn(t.start, t.end, t.speaker, confidence_of(t)) for t in recording.turns)
    found = Diarization(turns, recording.duration or 0.0, recording.uri)
    sound = jobs.audio / row.audio
    try:
        heard = hear(sound, channel=json.loads(row.options).get("channel"))
        atomic_write(path, format_page(found, heard, title=row.name))
    except FileNotFoundError:
        raise Refusal("gone", "there is no such recording, any more; post it again") from None
    except DiarizeError as error:
        raise Refusal("unsupported", str(error)) from None
