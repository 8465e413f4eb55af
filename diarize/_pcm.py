"""Sound as bytes on a pipe: what the first ones say, the header of a WAV, and samples out of raw bytes."""

from __future__ import annotations

import difflib
import struct
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize._reader import display_name
from diarize.errors import AudioError
from diarize.resampling import Samples, checked_rate
from diarize.samples import one_line, to_unit_range

MAX_CHANNELS = 64
_LONGEST_HEADER = 1 << 20

_DTYPES = {
    "u8": "u1", "s16le": "<i2", "s16be": ">i2", "s32le": "<i4", "s32be": ">i4",
    "f32le": "<f4", "f32be": ">f4", "f64le": "<f8", "f64be": ">f8",
}  # fmt: skip
FORMATS = (*_DTYPES, "s24le", "s24be", "mulaw", "alaw")
"""Raw formats, by their ffmpeg names."""

# (format tag, bits) of WAV files that are raw sound behind a header
_WAV_FORMATS = {
    (1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le",
    (3, 32): "f32le", (3, 64): "f64le", (6, 8): "alaw", (7, 8): "mulaw",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How samples lie in raw bytes.

    sample_rate : Hz
    format : one of `FORMATS`
    channels : interleaved
    channel : 0-based, which to take; None averages them
    Raises AudioError for what cannot be.
    """

    sample_rate: int
    format: str = "s16le"
    channels: int = 1
    channel: int | None = None

    def __post_init__(self) -> None:
        checked_rate(self.sample_rate)
        if self.format not in FORMATS:
            near = difflib.get_close_matches(self.format.lower().replace("_", ""), FORMATS, 1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise AudioError(f"format must be one of {', '.join(FORMATS)}, got {self.format!r}{meant}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(f"channels must be from 1 to {MAX_CHANNELS}, got {self.channels}")
        if self.channel is not None and not 0 <= self.channel < self.channels:
            raise AudioError(f"no channel {self.channel}: there are {self.channels}, counted from 0")

    @property
    def frame(self) -> int:
        """Bytes of one sample of every channel."""
        if self.format in _DTYPES:
            return np.dtype(_DTYPES[self.format]).itemsize * self.channels
        return (3 if self.format.startswith("s24") else 1) * self.channels

    def decode(self, data: bytes) -> Samples:
        """Whole frames of bytes -> (n,) float32."""
        values: NDArray[Any]
        if self.format in _DTYPES:
            values = np.frombuffer(data, _DTYPES[self.format])
        elif self.format in ("mulaw", "alaw"):
            values = companded(self.format)[np.frombuffer(data, "u1")]
        else:  # the upper three bytes of four: scaled by their place, exactly
            order = "<" if self.format == "s24le" else ">"
            padded = np.zeros((len(data) // 3, 4), "u1")
            padded[:, slice(1, 4) if order == "<" else slice(0, 3)] = np.frombuffer(data, "u1").reshape(-1, 3)
            values = padded.view(f"{order}i4").reshape(-1)
        return self.mono(values.reshape(-1, self.channels))

    def mono(self, values: NDArray[Any]) -> Samples:
        """Samples (n, channels) of any type -> (n,) float32: the mean, or the channel that was asked for."""
        if self.channel is not None:
            values = values[:, self.channel : self.channel + 1]
        channels = to_unit_range(values)
        if channels.shape[1] == 1:
            return channels[:, 0]
        with np.errstate(invalid="ignore", over="ignore"):  # inf and nan are refused later
            mono: Samples = channels.sum(axis=1, dtype=np.float32) * np.float32(1 / channels.shape[1])
        return mono


@lru_cache
def companded(format: str) -> NDArray[np.int16]:
    """What the 256 bytes of G.711 mean, as 16-bit samples: (256,)."""
    code = np.arange(256)
    if format == "mulaw":
        code = ~code & 0xFF
        size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
        return np.where(code & 0x80, -size, size).astype(np.int16)
    code = code ^ 0x55
    step, size = code >> 4 & 7, ((code & 0x0F) << 4) + 8
    size = np.where(step > 0, size + 0x100 << np.maximum(step - 1, 0), size)
    return np.where(code & 0x80, size, -size).astype(np.int16)


class Pipe:
    """A binary file object whose bytes can be looked at before they are read, each as soon as it is there.

    begun : the time of day when the first bytes came, None before
    """

    def __init__(self, file: Any, name: str | None = None) -> None:
        self.name = name or display_name(file)
        self.begun: float | None = None
        self._take = getattr(file, "read1", None) or file.read
        self._head = b""

    def read(self, size: int) -> bytes:
        """What is there, up to `size` bytes; waits for the first one, b"" is the end."""
        if not self._head:
            return self._more(size)
        data, self._head = self._head[:size], self._head[size:]
        return data

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end; they stay to be read."""
        while len(self._head) < count:
            more = self._more(count - len(self._head))
            if not more:
                break
            self._head += more
        return self._head[:count]

    def _more(self, size: int) -> bytes:
        try:
            data: bytes = self._take(size) or b""
        except (OSError, ValueError) as error:  # ValueError: closed
            raise AudioError(f"{self.name}: reading failed: {one_line(error)}") from error
        if data and self.begun is None:
            self.begun = time.time()
        return data


class Uninterrupted:
    """A pipe for ffmpeg, whose C code Ctrl-C must not cross: there it is the end, and `check` raises it."""

    def __init__(self, pipe: Pipe) -> None:
        self.name = pipe.name
        self._pipe = pipe
        self._stopped: KeyboardInterrupt | None = None

    def read(self, size: int) -> bytes:
        """As `Pipe.read`."""
        if self._stopped:
            return b""
        try:
            return self._pipe.read(size)
        except KeyboardInterrupt as stopped:
            self._stopped = stopped
            return b""

    def check(self) -> None:
        """Raise the Ctrl-C that came, if one did."""
        if self._stopped:
            raise self._stopped


def looks_like_a_file(head: bytes) -> tuple[bool, bool]:
    """Whether first bytes are those of an audio file, and whether raw sound cannot begin so by chance."""
    magics = (
        b"RIFF", b"RF64", b"BW64", b"fLaC", b"OggS", b"ID3", b"\x1a\x45\xdf\xa3", b"FORM", b"caff", b".snd",
        b"#!AMR", b"FLV\x01", b"\x30\x26\xb2\x75", b"wvpk", b"MAC ", b"TTA1", b"NIST_1A", b"riff",
    )  # fmt: skip
    surely = head.startswith(magics) or head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"styp")
    mpeg = head[:4] in (b"\0\0\1\xba", b"\0\0\1\xb3") or (head[:1] == b"G" and head[188:189] == b"G")
    sync = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0 and head[1] != 0xFF
    return surely or mpeg or sync, surely


def wav_layout(pipe: Pipe) -> tuple[Layout, int | None] | None:
    """The layout of a WAV file of raw samples, and the bytes it promises, if it knows; its header is read.

    None, and nothing is read, for anything else.
    """
    if pipe.peek(12)[:4] != b"RIFF" or pipe.peek(12)[8:] != b"WAVE":
        return None
    place, found = 12, None
    while place < _LONGEST_HEADER:
        head = pipe.peek(place + 8)[place:]
        if len(head) < 8:
            return None
        kind, size = struct.unpack("<4sI", head)
        place += 8
        if kind == b"data":
            break
        if kind == b"fmt " and size >= 16:
            body = pipe.peek(place + min(size, 40))[place:]
            if len(body) < 16:
                return None
            tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            tag = struct.unpack("<H", body[24:26])[0] if tag == 0xFFFE and len(body) >= 26 else tag
            found = (_WAV_FORMATS.get((tag, bits)), channels, rate)
        place += size + size % 2
    else:
        return None
    if found is None or found[0] is None:
        return None
    pipe.peek(place)
    while place:
        place -= len(pipe.read(place))
    # 0, -1 and what lies around 2 GiB: written to a pipe, by a program that could not know the size
    unknown = size == 0 or 0x7FFFF000 <= size <= 0x80001000 or size >= 0xFFFFF000
    return Layout(found[2], found[0], found[1]), None if unknown else size
