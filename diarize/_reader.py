"""What ffmpeg reads through: bytes without a name, and errors kept for a clear message.

The file is opened on this side, so a name is never taken for a protocol.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Any, Protocol, runtime_checkable

from diarize.errors import AudioError
from diarize.samples import one_line


@runtime_checkable
class Readable(Protocol):
    """A binary file object."""

    def read(self, size: int, /) -> bytes: ...


File = str | os.PathLike[str] | Readable
"""A path or a binary file object."""


class Reader:
    """A file object as ffmpeg wants it.

    Attributes
    ----------
    wav : seconds of sound that a WAV file's header promises and that the file holds, or None.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._error: Exception | None = None
        self._count = 0
        self._head = b""
        self._seekable = bool(file.seekable()) if hasattr(file, "seekable") else hasattr(file, "seek")
        self.wav: tuple[float, float] | None = None
        if self._seekable:
            try:
                self.wav = measure_wav(file)
            except (OSError, ValueError, TypeError, struct.error):
                self.wav = None  # not a WAV file that can be measured; ffmpeg will say what it is
            file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return int(self._file.seek(offset, whence))
        except (OSError, ValueError):  # ffmpeg tries positions that need not exist
            return -1

    def read(self, size: int) -> bytes:
        try:
            data = self._file.read(size) or b""
            if not isinstance(data, bytes) or len(data) > size:
                raise TypeError("read() must return bytes, as a file opened with mode 'rb' does")
        except Exception as error:  # must not cross ffmpeg's C frames; check() raises it
            self._error = self._error or error
            return b""
        if not self._count:
            self._head = data[:16]
        self._count += len(data)
        return data

    def check(self, name: str) -> None:
        """Raise what went wrong while reading, if anything did."""
        if self._error is not None:
            raise AudioError(f"{name}: reading failed: {one_line(self._error)}") from self._error

    def explain(self: Reader | None, error: Exception) -> str:
        """Why this could not be opened."""
        if self is None or self._error is not None:
            return f"reading failed: {one_line(error if self is None else self._error)}"
        if not self._count:
            return "empty file (0 bytes)"
        if self._head[4:8] == b"ftyp":
            return "an MP4 file whose index (moov) is missing or damaged: it was cut off, or never finished"
        if self._head.startswith((b"#EXTM3U", b"ffconcat", b"[playlist]")):
            return "a playlist, not a recording; give the files that it names"
        if getattr(error, "errno", None) == errno.EINVAL:  # what the allow-list refuses
            return "not a recording, but an image, a list, text or another format that is not read here"
        return f"not audio that can be decoded ({one_line(error)})"


def measure_wav(file: Any) -> tuple[float, float] | None:
    """Seconds that a WAV file's header promises and that follow it, or None where it makes no promise."""
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return None
    byte_rate, long_size = 0, 0
    for _ in range(1000):
        kind, size = struct.unpack("<4sI", file.read(8))
        start = file.tell()
        if kind == b"data":
            break
        if kind == b"fmt ":
            byte_rate = struct.unpack("<8xI", file.read(12))[0]
        elif kind == b"ds64":
            long_size = struct.unpack("<8xQ", file.read(16))[0]
        file.seek(start + size + size % 2)
    else:
        return None
    if size == 0xFFFFFFFF and long_size:
        size = long_size
    elif size == 0 or 0x7FFFF000 <= size <= 0x7FFFFFFF or size >= 0xFFFFF000:
        return None  # written to a pipe, by a program that could not know the size
    return (size / byte_rate, max(0, end - start) / byte_rate) if byte_rate else None


def display_name(source: object) -> str:
    """A recording's name for messages, printable; AudioError for what is neither path nor file object."""
    if isinstance(source, Readable):
        source = getattr(source, "name", None)
        if not isinstance(source, str | os.PathLike):
            return "audio stream"
    elif not isinstance(source, str | os.PathLike):
        raise AudioError(f"a recording must be a path or a binary file object, got {type(source).__name__}")
    name = os.fsdecode(source)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name) or "''"
