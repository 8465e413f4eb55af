"""Bodies of requests -> whole files on disk, their size and pace limited, their content hashed."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from diarize.server.options import MEBIBYTE, ServerOptions
from diarize.server.refusals import Refusal

AT_ONCE = MEBIBYTE
"""Bytes that are gathered before a thread writes them."""

SLOWEST = 4096
"""Bytes a second that must come on average, after a minute."""

PATIENCE_S = 60.0
MULTIPART_EXTRA = MEBIBYTE
"""What a form may have around its files."""


@dataclass(frozen=True)
class Upload:
    """A file that came: where it lies, its sha256, its bytes, and what the client calls it."""

    path: Path
    sha256: str
    size: int
    name: str | None = None

    def discard(self) -> None:
        """It is not needed."""
        self.path.unlink(missing_ok=True)


def limited(request: Request, options: ServerOptions, most: int) -> Request:
    """The same request, whose body is refused where it is too long, or too slow in coming."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise too_long(most, declared)
    begun, got = time.monotonic(), 0

    async def receive() -> Message:
        nonlocal got
        try:
            message = await asyncio.wait_for(request.receive(), options.stalled_s)
        except TimeoutError:
            raise Refusal(
                "too_slow",
                f"the body must go on within {options.stalled_s:g} s, nothing came after {got} bytes",
            ) from None
        got += len(message.get("body", b""))
        if got > most:
            raise too_long(most, f"more than {got}")
        allowed = PATIENCE_S + got / SLOWEST
        if message.get("more_body") and time.monotonic() - begun > allowed:
            raise Refusal(
                "too_slow",
                f"a body must come at {SLOWEST} bytes a second or faster, got {got} in {allowed:.0f} s",
            )
        return message

    return Request(request.scope, receive)


def too_long(most: int, got: object) -> Refusal:
    """A body over the limit."""
    return Refusal(
        "too_long",
        f"a file must have at most {most} bytes, got {got}; send a part of it, or let the operator raise "
        "--max-upload-mb",
    )


async def uploads(
    request: Request, folder: Path, options: ServerOptions, names: tuple[str, ...]
) -> list[Upload]:
    """The files of a request, one for each name of a form; of one name the body may be the file itself.

    Refusal for anything that is too long, too slow, incomplete or empty; nothing stays on disk then.
    """
    form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    if not form and len(names) > 1:
        raise Refusal("bad_request", f"must be multipart/form-data with the files {' and '.join(names)}")
    most = options.max_upload * len(names) + (MULTIPART_EXTRA if form else 0)
    request = limited(request, options, most)
    kept: list[Upload] = []
    try:
        if not form:
            kept.append(await save(request.stream(), folder))
        else:
            async with request.form(max_files=len(names), max_fields=20, max_part_size=4096) as fields:
                given = [value for _, value in fields.multi_items() if isinstance(value, UploadFile)]
                found = [fields.get(name) for name in names] if len(names) > 1 else given
                for name, file in zip(names, found, strict=False):
                    if not isinstance(file, UploadFile):
                        raise Refusal("bad_request", f"the form must have a file {name}, got none")
                    kept.append(await save(pieces_of(file), folder, file.filename))
                if not found:
                    raise Refusal("bad_request", "the form must have a file, got none")
    except BaseException as error:
        for upload in kept:
            upload.discard()
        if isinstance(error, HTTPException):  # what starlette makes of a form that it cannot read
            raise Refusal("bad_request", f"not a form that can be read: {error.detail}") from None
        if isinstance(error, ClientDisconnect):
            raise Refusal("bad_request", "the connection broke before the body was whole") from None
        if isinstance(error, OSError):
            raise no_room(error) from error
        raise
    return kept


async def pieces_of(file: UploadFile) -> AsyncIterator[bytes]:
    """The bytes of a file of a form."""
    while piece := await file.read(AT_ONCE):
        yield piece


async def save(pieces: AsyncIterator[bytes], folder: Path, name: str | None = None) -> Upload:
    """Write what comes to a new file; it is whole on disk, and synced, when this returns."""
    path = folder / f"{secrets.token_hex(16)}.part"
    sha, size, held, length = hashlib.sha256(), 0, [b""], 0
    file = await asyncio.to_thread(open, path, "xb")
    try:
        async for piece in pieces:
            size, length = size + len(piece), length + len(piece)
            held.append(piece)
            if length >= AT_ONCE:
                await asyncio.to_thread(write, file, sha, held)
                held, length = [], 0
        await asyncio.to_thread(write, file, sha, held, sync=True)
        if not size:
            raise Refusal("bad_request", "the body must be a recording, got nothing (0 bytes)")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        file.close()
    return Upload(path, sha.hexdigest(), size, name)


def write(file: BinaryIO, sha: hashlib._Hash, pieces: list[bytes], *, sync: bool = False) -> None:
    """In a thread."""
    data = b"".join(pieces)
    sha.update(data)
    file.write(data)
    if sync:
        file.flush()
        os.fsync(file.fileno())


def no_room(error: OSError) -> Refusal:
    """A file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal("no_room", "the server's disk is full; try again later, or tell its operator")
    return Refusal("internal", f"the server cannot write its files: {error.strerror}; tell its operator")
