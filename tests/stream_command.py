"""`diarize stream`, in this process or one of its own, and the turns that it prints."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from contextlib import contextmanager

import pytest
from command import typed

from diarize.cli import app
from diarize.result import Turn, joined

RATE = 16000
posix = pytest.mark.skipif(os.name == "nt", reason="signals, pipes and terminals of POSIX")


def stream(*arguments: str, status: int = 0, data: bytes | None = None) -> tuple[str, str]:
    """Standard output and error of `diarize stream` that must leave with this status."""
    return typed(app, "stream", *arguments, status=status, given=data)


@contextmanager
def process(*arguments: str, **options):
    """`diarize stream` as a process with pipes; killed, if it is still there at the end."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
    running = subprocess.Popen([sys.executable, "-m", "diarize", "stream", *arguments], **pipes)
    try:
        with running:
            yield running
            assert running.wait(60) is not None
    finally:
        running.kill()


def line_of(running: subprocess.Popen, seconds: float = 60) -> bytes:
    """The next line, which must come in time."""
    assert select.select([running.stdout], [], [], seconds)[0], "nothing was printed in time"
    return running.stdout.readline()


def turns_of(said: str | bytes, final: bool = True) -> list[Turn]:
    """The turns of JSON lines, their pieces joined."""
    lines = [json.loads(line) for line in said.splitlines()]
    found = [Turn(line["start"], line["end"], line["speaker"]) for line in lines if line["final"] is final]
    return joined(found)


def rounded(turns) -> list[Turn]:
    return [Turn(round(turn.start, 3), round(turn.end, 3), turn.speaker) for turn in turns]
