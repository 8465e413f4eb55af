"""What the words of `diarize stream` mean: SOURCE, --latency, -o."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize.cli.terminal import check_output
from diarize.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from diarize.sources import SoundSource

OFTEN_S = 0.5
"""Seconds of a file that are pushed at once where guesses are wanted in between."""

PIPE_BYTES = 1 << 20
"""Room in a pipe while the networks load: a program that records drops sound when it cannot write."""


def open_source(
    stack: ExitStack, source: str, *, real_time: bool, often: bool, raw: Mapping[str, Any]
) -> SoundSource:
    """The sound that SOURCE means; it is closed with the stack.

    raw : sample_rate, format, channels, channel, each None where it was not said
    Raises ConfigError for options that do not go together, AudioError for sound that cannot be had.
    """
    from diarize.sources import LARGEST_PIECE_S, FileSource, Paced, open_pipe

    if is_microphone(source):
        return stack.enter_context(microphone(source, real_time, raw))
    if "://" in source:
        raise ConfigError(
            f"{source}: addresses are not read; let ffmpeg do it: "
            f"ffmpeg -v error -i {source} -f s16le -ac 1 -ar 16000 - | diarize stream - --rate 16000"
        )
    if source.lower().endswith((".raw", ".pcm")) and raw["sample_rate"] is None:
        raise AudioError(f"{source}: raw sound needs its sample rate, for example --rate 16000")
    headless = any(raw[name] is not None for name in ("sample_rate", "format", "channels"))
    file = standard_input() if source == "-" else None
    if file is None and (not plain(source) or (headless and os.path.isfile(source))):
        file = stack.enter_context(opened(source))
    sound: SoundSource
    if file is None or (not headless and file.seekable()):
        piece_s = 0.0 if real_time else OFTEN_S if often else LARGEST_PIECE_S
        sound = FileSource(file or source, channel=raw["channel"], piece_s=piece_s)
    else:
        widen(file)
        sound = open_pipe(file, name="standard input" if source == "-" else source, **raw)
    return stack.enter_context(Paced(sound) if real_time else sound)


def microphone(source: str, real_time: bool, raw: Mapping[str, Any]) -> SoundSource:
    """The microphone that SOURCE names."""
    from diarize.microphone import Microphone

    if real_time or raw["format"] is not None:
        raise ConfigError("a microphone is live and has no raw format; leave out --real-time and --format")
    name = source.removeprefix("mic").removeprefix(":")
    device = int(name) if name.isdecimal() else name or None
    return Microphone(
        device, sample_rate=raw["sample_rate"], channels=raw["channels"], channel=raw["channel"]
    )


def is_microphone(source: str) -> bool:
    """Whether SOURCE is mic or mic:DEVICE; a file of that name is ./mic."""
    return source == "mic" or source.startswith("mic:")


def plain(source: str) -> bool:
    """Whether SOURCE is read as a file is: it is one, or it is none and the reader will say so."""
    return (
        source != "-"
        and not is_microphone(source)
        and (os.path.isfile(source) or os.path.isdir(source) or not os.path.exists(source))
    )


def name_of(source: str) -> str:
    """What RTTM calls the recording."""
    return "stdin" if source == "-" else "microphone" if is_microphone(source) else Path(source).stem


def standard_input() -> Any:
    """The bytes of standard input; AudioError where nothing can come."""
    if sys.stdin is None or sys.stdin.closed:
        raise AudioError("standard input is closed; pipe sound into it, or name a file")
    if sys.stdin.isatty():
        raise AudioError(
            "standard input is the keyboard; pipe sound into it: "
            "arecord -q -f S16_LE -r 16000 | diarize stream -"
        )
    return sys.stdin.buffer


def opened(path: str) -> Any:
    """A file or named pipe, its bytes handed on as they come."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened: {error.strerror}") from None


def widen(file: Any) -> None:
    """Give a pipe more room, where the system lets us (Linux)."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl

        fcntl(file.fileno(), F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, OSError):  # another system, no pipe, or more than a user may have
        return


def seconds_of(latency: str) -> float | None:
    """What --latency says: seconds, or None for no limit; ConfigError for anything else."""
    try:
        seconds = math.inf if latency.lower() == "none" else float(latency)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise ConfigError(f"--latency must be seconds, or none for no limit, got {latency!r}")
    return None if seconds == math.inf else seconds


def check_result(path: Path | None, overwrite: bool) -> None:
    """Refuse, before hours of listening, a file that could not be written at their end."""
    if path is None:
        return
    if str(path) == "-":
        raise ConfigError("-o - would mix the result with the turns; name a file, or use --to rttm")
    check_output(path, overwrite, "NAME.rttm")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path}: no permission to write there")
