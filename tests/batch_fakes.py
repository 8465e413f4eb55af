"""A diarizer for workers that does what the recording's text says, and notes each call. Nothing heavy."""

from __future__ import annotations

import os
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from diarize.batch import run_batch
from diarize.config import Bounds
from diarize.errors import AudioError, ModelError
from diarize.formats.registry import format_turns


@dataclass(frozen=True)
class FakeTurn:
    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class FakeFound:
    turns: tuple[FakeTurn, ...]
    duration: float
    uri: str

    @property
    def speakers(self):
        return {turn.speaker for turn in self.turns}

    def to(self, form):
        return format_turns(self.turns, self.uri, form, duration=self.duration)


@dataclass(frozen=True)
class Fake:
    """Makes the diarizer; `log` gets a line when a call begins and one when it ends."""

    log: str
    broken: str = ""

    def __call__(self, config):
        if self.broken == "model":
            raise ModelError("these weights cannot be had")
        if self.broken == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return FakeDiarizer(self, config)


class FakeDiarizer:
    def __init__(self, fake, config):
        self.log, self.config = Path(fake.log), config

    def note(self, *words):
        with self.log.open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def __call__(self, source, *, uri, progress, **options):
        said = source.read().decode() if hasattr(source, "read") else Path(source).read_text()
        Bounds.of(*(options.get(f"{name}_speakers") for name in ("num", "min", "max")))
        self.note("begin", uri, os.getpid(), time.monotonic())
        progress(0.1, 10.0)
        for command, _, value in (line.partition(" ") for line in said.splitlines()):
            self.obey(command, value, Path(source) if isinstance(source, str) else None)
        turns = tuple(FakeTurn(k, k + 1, f"S{k}") for k in range(options.get("num_speakers") or 2))
        self.note("end", uri, os.getpid(), time.monotonic())
        return FakeFound(() if "silent" in said else turns, 10.0, uri)

    def obey(self, command, value, path):
        if command == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif command == "die-once":
            path.write_text("good\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        elif command == "sleep":
            time.sleep(float(value))
        elif command == "refuse":
            raise AudioError(value)
        elif command == "bug":
            raise KeyError(value)
        elif command == "out-of-memory":
            raise MemoryError
        elif command == "hold":
            held = bytearray(int(value))
            held[::4096] = bytes(len(range(0, len(held), 4096))).replace(b"\0", b"\1")
            time.sleep(30)
        elif command == "keep":
            self.kept = [*getattr(self, "kept", []), b"\1" * int(value)]
        elif command == "warn":
            warnings.warn(value, stacklevel=1)


class Recordings:
    """A folder of fake recordings, a log of what was done to them, and what a batch notes of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.audio, self.log = root, root / "audio", root / "log"
        self.audio.mkdir()
        self.notes: list[str] = []

    def add(self, *names: str, text: str = "good") -> None:
        for name in names:
            path = self.audio / f"{name}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n")

    def batch(self, output, **options):
        """A batch over all of them."""
        self.notes = []
        settings = {"workers": 1, "make": Fake(str(self.log)), "note": self.notes.append}
        return run_batch([self.audio], output, **settings | options)


def calls(log, what="begin"):
    """The names of the calls that began, or ended, in order."""
    lines = Path(log).read_text().splitlines() if Path(log).exists() else []
    return [line.split()[1] for line in lines if line.startswith(what)]


def spans(log):
    """(begin, end) of each call that ended, and (begin, None) of the others, by name."""
    found: dict[str, list[tuple[float, float | None]]] = {}
    for line in Path(log).read_text().splitlines():
        what, uri, _, at = line.split()
        if what == "begin":
            found.setdefault(uri, []).append((float(at), None))
        else:
            found[uri][-1] = (found[uri][-1][0], float(at))
    return found
