"""Recordings that take long: what interrupts one costs half a minute of work, not all of it.

    found = resumably(diarizer, "day.wav", "turns/.day.partial")
    found.write("turns/day.rttm")
    Path("turns/.day.partial").unlink(missing_ok=True)

Every half minute the state of the stream is written to a file, whole or not at all. Called again with the
same recording and options, after Ctrl-C, a crash or a power cut, it goes on from there, and what comes out
is, bit for bit, what it would have been. A quick recording leaves no file at all. The place is found by
decoding: a seek would land near it in most formats, not on it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from diarize import __version__, _saving
from diarize._files import atomic_write
from diarize._stream_state import StreamOptions, fingerprint
from diarize.audio import open_audio
from diarize.errors import AudioError, DiarizeError, FormatError
from diarize.pipeline import Diarizer, Progress, name_of
from diarize.result import Diarization
from diarize.stream import Stream

EVERY_S = 30.0
"""Seconds on the clock between two states that are kept."""

SHARE = 0.02
"""Of the time that keeping states may take: where it takes long it is done less often."""

END = 1 << 20
"""Bytes at either end of a recording by which it is known again."""

VERSION = 1

Note = Callable[[str], object]


@dataclass(frozen=True)
class Unfinished:
    """How far a recording is, and what it must be gone on with.

    recording, options : digests
    position : samples that the stream has heard, at the recording's rate
    stream : its `Stream.state`
    """

    recording: str
    options: str
    position: int
    stream: bytes

    def to_bytes(self) -> bytes:
        """A line of JSON, then the state."""
        head = {"diarize unfinished": VERSION, "recording": self.recording, "options": self.options}
        return json.dumps(head | {"position": self.position}).encode() + b"\n" + self.stream

    @classmethod
    def load(cls, path: Path) -> Unfinished | None:
        """What was kept; None: nothing was. FormatError for a damaged file, or one of another version."""
        try:
            line, _, stream = path.read_bytes().partition(b"\n")
            head = json.loads(line)
            if head["diarize unfinished"] != VERSION:
                raise FormatError(f"{path}: was kept by another version of diarize")
            return cls(str(head["recording"]), str(head["options"]), int(head["position"]), stream)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{path}: is damaged: {type(error).__name__}: {error}") from None


def resumably(
    diarizer: Diarizer,
    path: str | os.PathLike[str],
    unfinished: str | os.PathLike[str],
    *,
    resume: bool = True,
    channel: int | None = None,
    uri: str | None = None,
    progress: Progress | None = None,
    note: Note = lambda said: None,
    every_s: float = EVERY_S,
    **asked: Any,
) -> Diarization:
    """Diarize a recording as `Diarizer.__call__` does, from where an earlier call was interrupted.

    unfinished : the file for the state; remove it when the result is kept
    resume : False begins anew, whatever is in it
    note : called with a line on what was met
    every_s : seconds on the clock between two states
    asked : num_speakers, enrolled, ...

    A state of another recording, of other options, or a damaged one is not used, and that is said. Ctrl-C and
    SIGTERM are obeyed when the state is kept, a second one at once. Raises what `Diarizer.__call__` raises.
    """
    source = Path(path)
    with open_audio(source, channel=channel) as audio, deferred() as signals:
        stream = diarizer.stream(sample_rate=audio.sample_rate, uri=uri or name_of(source), **asked)
        options = partial(options_of, diarizer, stream.options, channel)
        keeper = Keeper(Path(unfinished), digest_of(source), options, every_s, note)
        heard = position = 0
        if resume and (found := keeper.found(diarizer)) is not None:
            stream, position = found
            note(
                f"{source}: at {clock(stream.duration)} an earlier run was interrupted, it goes on from there"
            )
        with stream:
            for piece in audio:
                heard += len(piece)
                if heard > position:
                    stream.push(piece[position - heard :])
                    position = heard
                    if progress:
                        progress(stream.duration, audio.duration_s)
                    if keeper.due or (signals and not keeper.failed):
                        keeper.keep(stream, position)
                if signals:
                    if not keeper.failed:
                        note(f"{source}: goes on from {clock(stream.duration)} when it is run again")
                    signals.pass_on()
            signals.pass_on()
            stream.finish()
            return stream.result()


class Keeper:
    """Keeps the states of one recording, and finds the last one.

    options : gives their digest; called when it is needed, since it reads the weights
    """

    def __init__(
        self, path: Path, recording: str, options: Callable[[], str], every_s: float, note: Note
    ) -> None:
        self.path, self.recording, self._options = path, recording, options
        self.every_s, self.note = every_s, note
        self.failed = False
        self.next = time.monotonic() + every_s

    @cached_property
    def options(self) -> str:
        """The digest of the options."""
        return self._options()

    @property
    def due(self) -> bool:
        """Whether it is time for another state."""
        return not self.failed and time.monotonic() >= self.next

    def keep(self, stream: Stream, position: int) -> None:
        """Write the state; where that cannot be, it is said once, and the work goes on without."""
        begun = time.monotonic()
        state = Unfinished(self.recording, self.options, position, stream.state())
        try:
            atomic_write(self.path, state.to_bytes(), durable=True)
        except OSError as error:
            self.failed = True
            self.note(f"{self.path}: cannot be written: {error.strerror}; what interrupts the run loses it")
        now = time.monotonic()
        self.next = now + max(self.every_s, (now - begun) / SHARE)

    def found(self, diarizer: Diarizer) -> tuple[Stream, int] | None:
        """The stream that was kept and the samples it has heard, if it is of this recording and options."""
        try:
            kept = Unfinished.load(self.path)
            if kept is None:
                return None
            if kept.recording != self.recording:
                why = "it is of another recording, or this one has changed"
            elif kept.options != self.options:
                why = "it is of other options, or of another version of diarize"
            else:
                return diarizer.stream(state=kept.stream), kept.position
        except DiarizeError as error:
            why = str(error)
        self.note(f"{self.path}: what an interrupted run has left is not used: {why}; the work begins anew")
        return None


def digest_of(path: Path) -> str:
    """What a recording is known by: its size, the time of its last change, both of its ends."""
    if not path.is_file():
        raise AudioError(f"{path}: must be a file that can be read again, to be gone on with; it is none")
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        digest = sha256(f"{about.st_size} {about.st_mtime_ns} ".encode())
        digest.update(file.read(END))
        file.seek(max(0, about.st_size - END))
        digest.update(file.read(END))
    return digest.hexdigest()


def options_of(diarizer: Diarizer, options: StreamOptions, channel: int | None) -> str:
    """A digest of all that the result depends on beside the recording; the number of threads is not in it."""
    engine = getattr(diarizer.embedder, "engine", None)
    computed = [str(getattr(engine, name, "")) for name in ("name", "device", "precision")]
    model = str(diarizer.weights or type(diarizer.embedder).__qualname__)
    words = [__version__, fingerprint(diarizer.config), model, *computed, str(channel)]
    return sha256(json.dumps(words).encode() + _saving.pack(options)).hexdigest()


class Signals(list[int]):
    """Signals that came, in order, and who deals with them where they are not deferred."""

    def __init__(self) -> None:
        self.before: dict[int, Any] = {}

    def pass_on(self) -> None:
        """Defer no more, and do what the first of them does then; KeyboardInterrupt if it does nothing."""
        self.put_back()
        if self:
            signal.raise_signal(self[0])
            raise KeyboardInterrupt

    def put_back(self) -> None:
        """Defer no more."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}


@contextmanager
def deferred() -> Iterator[Signals]:
    """Ctrl-C and SIGTERM in the block are noted, to be obeyed at the next good moment, a second one at once.

    In a thread, or where they are ignored, nothing changes.
    """
    signals = Signals()

    def came(number: int, frame: Any) -> None:
        again = bool(signals)
        signals.append(number)
        if again:
            signals.pass_on()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                signals.before[number] = handler
                signal.signal(number, came)
    try:
        yield signals
    finally:
        signals.put_back()


def clock(seconds: float) -> str:
    """Such as 3:12:45."""
    return str(timedelta(seconds=int(seconds)))
