"""Sources of sound for streams: files, pipes, microphones; each an iterator over pieces as they arrive.

    FileSource    a recording, or a container that arrives on a pipe
    RawSource     bytes without a header: rate, format and channels must be said
    open_pipe     one of the two, by the first bytes
    Paced         a source played at its own pace, as if it were live

and `diarize.microphone.Microphone`, what a microphone hears.

A piece is ``(samples, at)``: (n,) float32 at `sample_rate`, and the second of its first sample on the
source's clock, or None where it follows the last one. Both go to `Stream.push` as they are:

    with Microphone() as source, diarizer.stream(latency_s=2.0, sample_rate=source.sample_rate) as live:
        for samples, at in source:
            for turn in live.push(samples, at=at): ...
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from diarize._pcm import Layout, Pipe, Uninterrupted, looks_like_a_file, wav_layout
from diarize.audio import File, Samples, open_audio
from diarize.errors import AudioError

logger = logging.getLogger("diarize")

LARGEST_PIECE_S = 16.0
"""Seconds of sound that are taken at once where so much is there."""

Piece = tuple[Samples, float | None]


class SoundSource(ABC):
    """What every source is: a context manager, and once an iterator over pieces.

    Attributes
    ----------
    name : for messages.
    sample_rate : of the pieces, Hz.
    begun : the time of day (seconds, as `time.time`) of sample 0, or None where there is none.
    waiting_s : seconds of sound that arrived and were not taken yet, as far as is known.
    lost_s : seconds of sound that never came through.
    waits : whether the next piece may be long in coming, so that Ctrl-C has to interrupt the wait.
    """

    name: str
    sample_rate: int
    begun: float | None = None
    waiting_s: float = 0.0
    lost_s: float = 0.0
    waits: bool = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Release what is held; closing twice is harmless."""

    @abstractmethod
    def __iter__(self) -> Iterator[Piece]: ...


class FileSource(SoundSource):
    """A recording in any container, as fast as it can be read.

    channel : 0-based; None averages them
    piece_s : seconds in a piece, about; 0 gives pieces as they are decoded
    Raises AudioError as `diarize.audio.open_audio` does.
    """

    waits = False

    def __init__(self, file: File, *, channel: int | None = None, piece_s: float = LARGEST_PIECE_S) -> None:
        self._audio = open_audio(file, channel=channel)
        self._piece_s = piece_s
        self.name = self._audio.name
        self.sample_rate = self._audio.sample_rate

    def close(self) -> None:
        """Close the file, if it was opened here."""
        self._audio.close()

    def __iter__(self) -> Iterator[Piece]:
        held: list[Samples] = []
        enough = self._piece_s * self.sample_rate
        try:
            for samples in self._audio:
                held.append(samples)
                if sum(map(len, held)) >= enough:
                    full, held = held, []
                    yield np.concatenate(full), None
        except AudioError:  # a file that breaks off: what was there counts
            if held:
                yield np.concatenate(held), None
            raise
        if held:
            yield np.concatenate(held), None


class PipedFile(FileSource):
    """A container that arrives on a pipe, in pieces as they are decoded; errors of `FileSource`."""

    waits = True

    def __init__(self, pipe: Pipe, *, channel: int | None = None) -> None:
        self._bytes = Uninterrupted(pipe)
        try:
            super().__init__(self._bytes, channel=channel, piece_s=0)
        except AudioError:
            self._bytes.check()
            raise
        self.begun = pipe.begun

    def __iter__(self) -> Iterator[Piece]:
        try:
            yield from super().__iter__()
        finally:  # it only looked like the end, or like a file that breaks off
            self._bytes.check()


class RawSource(SoundSource):
    """Sound in bytes without a header, as it arrives.

    file : binary file object; it is left open
    sample_rate, format, channels : of the bytes; formats by their ffmpeg names, see `Layout`
    channel : 0-based; None averages them
    Raises AudioError for a layout that cannot be, and, while iterating, for a file that breaks off.
    """

    def __init__(
        self,
        file: Any,
        sample_rate: int,
        format: str = "s16le",
        channels: int = 1,
        *,
        channel: int | None = None,
        promised: int | None = None,
        name: str | None = None,
    ) -> None:
        self._pipe = file if isinstance(file, Pipe) else Pipe(file, name)
        self.name = self._pipe.name
        try:
            self._layout = Layout(sample_rate, format, channels, channel)
        except AudioError as error:
            raise AudioError(f"{self.name}: {error}") from None
        self._promised = promised  # bytes, where a header told
        self.sample_rate = self._layout.sample_rate
        self.begun = self._pipe.begun

    def __iter__(self) -> Iterator[Piece]:
        layout, got, rest = self._layout, 0, b""
        largest = int(LARGEST_PIECE_S * layout.sample_rate) * layout.frame
        while self._promised is None or got < self._promised:
            data = self._pipe.read(largest if self._promised is None else min(largest, self._promised - got))
            self.begun = self._pipe.begun
            if not data:
                break
            got += len(data)
            data = rest + data
            whole = len(data) // layout.frame * layout.frame
            rest = data[whole:]
            if whole:
                yield layout.decode(data[:whole]), None
        if self._promised is not None and got < self._promised:
            rate = layout.frame * layout.sample_rate
            raise AudioError(
                f"{self.name}: truncated: the header promises {self._promised / rate:.1f} s, "
                f"{got / rate:.1f} s came"
            )
        if rest:
            logger.warning(
                "%s: ends inside a sample, %d bytes were left over; are the format and channels right?",
                self.name,
                len(rest),
            )


def open_pipe(
    file: Any,
    *,
    sample_rate: int | None = None,
    format: str | None = None,
    channels: int | None = None,
    channel: int | None = None,
    name: str | None = None,
) -> SoundSource:
    """Sound that arrives on a binary file object: raw where a rate is given, else a container.

    It waits for the first bytes, which say what it is. WAV then begins with its first sample; other
    containers a second or two later, which their decoders need to be sure of what they read.

    Raises AudioError for no bytes at all, for bytes that say nothing of what they are without a rate, and
    for a container where a rate is given: its header would be heard as sound.
    """
    pipe = Pipe(file, name)
    is_file, surely = looks_like_a_file(pipe.peek(189))
    if not pipe.peek(1):
        raise AudioError(f"{pipe.name}: empty (0 bytes); did the program that writes it fail?")
    raw = sample_rate is not None or format is not None or channels is not None
    if raw and surely:
        raise AudioError(
            f"{pipe.name}: begins like a WAV or another file that knows its own rate; leave out the rate, "
            "format and channels, they are for raw sound"
        )
    if sample_rate is not None:
        return RawSource(pipe, sample_rate, format or "s16le", channels or 1, channel=channel)
    if raw:
        raise AudioError(f"{pipe.name}: raw sound needs its sample rate too, for example --rate 16000")
    if not is_file:
        raise AudioError(
            f"{pipe.name}: its first bytes are of no known audio file; raw sound needs its sample rate "
            "(--rate 16000), and its format and channels where they are not s16le and 1"
        )
    wav = wav_layout(pipe)
    if wav is not None:
        layout, promised = wav
        return RawSource(
            pipe, layout.sample_rate, layout.format, layout.channels, channel=channel, promised=promised
        )
    return PipedFile(pipe, channel=channel)


class Paced(SoundSource):
    """A source played at its own pace: a piece, of 0.1 s at most, arrives when its last sample would.

    The pace is that of the clock, so nothing drifts; who takes a piece late gets the next ones at once.
    """

    def __init__(
        self,
        source: SoundSource,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._clock, self._sleep = source, clock, sleep
        self.name = source.name
        self.sample_rate = source.sample_rate
        self.waits = source.waits

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __iter__(self) -> Iterator[Piece]:
        step = max(1, self.sample_rate // 10)
        first, played = self._clock(), 0
        self.begun = time.time()
        for samples, at in self._source:
            if at is not None:
                played = round(at * self.sample_rate)
            for start in range(0, len(samples), step):
                piece = samples[start : start + step]
                played += len(piece)
                early = first + played / self.sample_rate - self._clock()
                if early > 0:
                    self._sleep(early)
                self.waiting_s = max(0.0, -early)
                yield piece, at if start == 0 else None
