"""WebM and Ogg, decoded while their bytes arrive: ffmpeg reads in a thread from what a connection feeds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError

from diarize._pcm import Pipe
from diarize.audio import Samples
from diarize.errors import AudioError
from diarize.server.messages import CONTAINER_RATE
from diarize.server.refusals import Refusal
from diarize.sources import PipedFile

MAGIC = {"webm": b"\x1a\x45\xdf\xa3", "ogg": b"OggS"}

ROOM = 1 << 16
"""Bytes that wait to be decoded, besides one message."""


class Feed:
    """A binary file whose bytes another thread brings."""

    def __init__(self, name: str, on_read: Callable[[], object]) -> None:
        self.name = name
        self._on_read = on_read
        self._held = bytearray()
        self._ended = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._held)

    def write(self, data: bytes) -> None:
        """More bytes."""
        with self._changed:
            self._held += data
            self._changed.notify()

    def end(self) -> None:
        """There will be no more."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def read1(self, size: int) -> bytes:
        """What is there, up to `size` bytes; waits for the first one, b"" is the end."""
        with self._changed:
            while not self._held and not self._ended:
                self._changed.wait()
            data = bytes(self._held[:size])
            del self._held[:size]
        self._on_read()
        return data


class Container:
    """One WebM or Ogg on its way in.

    take : gets its samples, in order, and may make them wait
    failed : done when it cannot be decoded any further; its exception is the Refusal
    """

    def __init__(self, format: str, name: str, take: Callable[[Samples], Awaitable[None]]) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._format, self._take = format, take
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._ended = asyncio.Event()
        self._head = b""
        self._feed = Feed(name, lambda: self._call(self._room.set))
        self._thread: threading.Thread | None = None

    async def push(self, data: bytes) -> None:
        """More bytes; waits while many are to be decoded. Refusal if they are not of this format."""
        if self._thread is None:
            self._head += data
            magic = MAGIC[self._format]
            if self._head[: len(magic)] != magic[: len(self._head)]:
                raise Refusal(
                    "unsupported",
                    f"{self._format} must begin with the bytes {magic.hex(' ')}, "
                    f"got {self._head[:4].hex(' ')}; begin each connection with a new container",
                )
            if len(self._head) < len(magic):
                return
            data, self._head = self._head, b""
            self._thread = threading.Thread(target=self._decode, name="diarize-container", daemon=True)
            self._thread.start()
        self._feed.write(data)
        while len(self._feed) > ROOM and not self._ended.is_set():
            self._room.clear()
            await self._room.wait()

    async def close(self) -> None:
        """The end of the bytes; waits until the last sample is taken."""
        self._feed.end()
        if self._thread is not None:
            await self._ended.wait()

    def _decode(self) -> None:
        failure: Refusal | None = None
        try:
            with PipedFile(Pipe(self._feed, self._feed.name)) as sound:
                if sound.sample_rate != CONTAINER_RATE:
                    raise AudioError(
                        f"{sound.name}: must hold Opus, which has {CONTAINER_RATE} Hz, "
                        f"got sound at {sound.sample_rate} Hz"
                    )
                for samples, _ in sound:
                    asyncio.run_coroutine_threadsafe(self._taken(samples), self._loop).result()
        except AudioError as error:
            failure = Refusal("unsupported", str(error))
        except (RuntimeError, CancelledError):  # the server ends
            pass
        finally:
            self._call(self._end, failure)

    async def _taken(self, samples: Samples) -> None:
        await self._take(samples)

    def _end(self, failure: Refusal | None) -> None:
        self._ended.set()
        self._room.set()
        if failure is not None and not self.failed.done():
            self.failed.set_exception(failure)
            self.failed.exception()  # whoever asks gets it; if nobody does, nothing is missing

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the server has ended
            return
