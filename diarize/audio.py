"""Any source of sound -> mono float32 samples: arrays, tensors, and whatever file PyAV can decode.

    as_samples     an array or a tensor, checked and scaled to [-1, 1]
    open_audio     a file, decoded piece by piece at its own rate
    stream_audio   either of them as pieces at 16 kHz
    read_audio     either of them as one array at 16 kHz

ffmpeg gets bytes and nothing else: the file is opened here, so a name is never taken for a protocol,
and only containers that hold their own sound are accepted, so a playlist never opens another file.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diarize.errors import AudioError, StreamFinished
from diarize.resampling import MAX_RATE, MIN_RATE, SAMPLE_RATE, Resampler, Samples, checked_rate

__all__ = [
    "SAMPLE_RATE",
    "AudioFile",
    "File",
    "Resampler",
    "Samples",
    "Source",
    "as_samples",
    "open_audio",
    "read_audio",
    "stream_audio",
]

logger = logging.getLogger("diarize")


@runtime_checkable
class Readable(Protocol):
    """A binary file object."""

    def read(self, size: int, /) -> bytes: ...


File = str | os.PathLike[str] | Readable
Source = File | ArrayLike

MAX_CHANNELS = 64
_LOUDEST = 256.0  # beyond that a float sample was never meant to lie in [-1, 1]
_GAP_S = 0.05  # timestamps ahead of the samples by more than this mean that sound is missing
_LONGEST_GAP_S = 3600.0  # a longer one is a broken timestamp

# ffmpeg's names of the containers that hold their own sound. Not here, on purpose: playlists and
# manifests (hls, dash, concat, ...), images, subtitles, network descriptions, raw formats.
_FORMATS = (
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,ast,au,avi,avr,caf,dsf,dss,dts,dtshd,dv,eac3,flac,flv,"
    "gsm,gxf,iff,ircam,loas,matroska,webm,mlp,mmf,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,"
    "nistsphere,nut,ogg,oma,osq,paf,pvf,qcp,qoa,rka,rm,rso,sds,shn,sox,tak,truehd,tta,voc,vqf,w64,wav,"
    "wtv,wv,xwma"
)

# Where the declared duration is exact: seconds that may be missing (encoder padding, sloppy writers)
# before a file counts as truncated. Elsewhere it is an estimate from the bit rate, or may be stale.
# WAV is measured by `_Reader`: ffmpeg believes the smaller of header and file, and says nothing.
_EXACT = {
    **dict.fromkeys(("aiff", "ape", "au", "flac", "nistsphere", "tta", "wv"), 0.05),
    **dict.fromkeys(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"), 0.5),
}
_WAV_SLACK_S = 0.05


# Arrays


def as_samples(samples: ArrayLike) -> Samples:
    """Check an array, list or tensor of sound and scale it to [-1, 1].

    Parameters
    ----------
    samples : (n,) array, list or tensor
        Of any float type, nominally in [-1, 1], or of an integer type of up to 32 bits, which is divided
        by its full scale (int16 by 32768; unsigned types lie around their middle: 128 for uint8).
        A torch tensor may live on any device.

    Returns
    -------
    samples : (n,) float32, C-contiguous; it may share memory with the input.

    Raises
    ------
    AudioError
        Not one-dimensional, not numbers, not finite, or floats beyond 256 in magnitude. Every check looks
        at single samples, so the answer does not depend on how a stream was cut.
    """
    array = _as_array(samples)
    if array.ndim != 1:
        raise AudioError(f"audio must be one-dimensional, got shape {array.shape}{_mono_hint(array)}")
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiu":
        raise AudioError(
            f"audio must be numbers of a float or integer type, got dtype {array.dtype}; "
            "raw 16-bit sound in bytes is numpy.frombuffer(data, 'int16')"
        )
    if kind in "iu" and size > 4:
        raise AudioError(
            f"audio must be of a type with a known full scale, got dtype {array.dtype}; "
            "16-bit values: audio.astype('int16'), otherwise divide to floats in [-1, 1]"
        )
    scaled = _scaled(array)
    bad = _first_bad(scaled)
    if bad is not None:
        raise AudioError(f"{_complaint(float(array[bad]))} at sample {bad}")
    return scaled


def _as_array(samples: ArrayLike) -> NDArray[Any]:
    if isinstance(samples, bytes | bytearray | memoryview):
        raise AudioError(
            f"audio must be an array of numbers, got {type(samples).__name__}; "
            "a whole file: io.BytesIO(data), raw 16-bit sound: numpy.frombuffer(data, 'int16')"
        )
    try:
        if hasattr(samples, "detach"):  # a torch tensor, without importing torch
            tensor = samples.detach().cpu()
            if str(tensor.dtype) == "torch.bfloat16":  # numpy has no such type
                tensor = tensor.float()
            samples = tensor.numpy()
        return np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"audio must be a one-dimensional array of numbers: {_one_line(error)}") from error


def _mono_hint(array: NDArray[Any]) -> str:
    if array.ndim != 2:
        return ""
    axis = 0 if array.shape[0] <= array.shape[1] else 1
    scale = "" if array.dtype.kind == "f" else f" / {2 ** (8 * array.dtype.itemsize - 1)}"
    return f"; average the channels first: audio.mean(axis={axis}){scale}"


def _scaled(values: NDArray[Any]) -> Samples:
    """Scale to float32 in [-1, 1] by the full scale of the type, one rounding at most; (n,) -> (n,)."""
    kind, bits = values.dtype.kind, 8 * values.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # inf and nan are refused later
            return np.ascontiguousarray(values, np.float32)
    full_scale = 2.0 ** (bits - 1)
    if kind == "u":
        centred: NDArray[np.float64] = values.astype(np.float64) - full_scale
        return (centred / full_scale).astype(np.float32)
    scaled: Samples = values.astype(np.float32)
    scaled *= np.float32(1 / full_scale)  # a power of two: exact
    return scaled


def _first_bad(samples: Samples) -> int | None:
    """Index of the first sample that is not finite or absurdly large, else None."""
    with np.errstate(invalid="ignore"):
        if not len(samples) or np.abs(samples).max() <= _LOUDEST:  # false for nan too
            return None
        return int(np.argmin(np.abs(samples) <= _LOUDEST))


def _complaint(value: float) -> str:
    if not np.isfinite(value):
        return f"audio must be finite, got {value}"
    return f"float audio must lie in [-1, 1], got {value:g} (int16 values as floats? divide by 32768 then)"


# Files


def open_audio(source: File, *, channel: int | None = None) -> AudioFile:
    """Open a recording for decoding piece by piece; see `AudioFile`.

    Parameters
    ----------
    source : path or binary file object
        A file object is read from its start and left open.
    channel : int, optional
        Which channel to take, counted from 0; None averages them.

    Returns
    -------
    file : AudioFile
        To be used in a ``with`` block.

    Raises
    ------
    AudioError
        The file cannot be opened, is empty, is no audio that can be decoded, holds no audio stream, or
        has no such channel. The message starts with the file's name.
    """
    return AudioFile(source, channel=channel)


class AudioFile:
    """A recording being decoded: a context manager, and an iterator over pieces at its own rate.

    Iterating gives (n,) float32 mono pieces of about a quarter of a second. Sample 0 is the start of the
    container, so in a video the times are those of the picture: sound that starts later, or that misses
    a stretch by its timestamps, has silence there. Damaged packets are skipped with a warning.

    Attributes
    ----------
    name : the file's name as it was given, printable, for messages.
    sample_rate : of the pieces, Hz.
    channels : in the file; the pieces are mono.
    duration_s : what the file declares, seconds from sample 0, or None. It may be an estimate.

    Raises
    ------
    AudioError
        While iterating: truncated file, nan, absurdly large floats, a change of sample rate, a failing disk.
    """

    def __init__(self, source: File, *, channel: int | None = None) -> None:
        self.name = _display_name(source)
        whole = isinstance(channel, int | np.integer) and not isinstance(channel, bool)
        if channel is not None and (not whole or channel < 0):
            raise AudioError(f"channel must be a whole number from 0, or None for the mean, got {channel!r}")
        self._channel = channel
        self._owned: BinaryIO | None = None
        self._container: Any = None
        self._begun = False
        self._damaged = 0  # packets
        self._skipped = False  # something was lost since the last frame
        self._delay = 0.0  # by which the decoder labels frames too late, seconds
        self._clock: _Clock | None = None
        try:
            self._open(source if isinstance(source, Readable) else self._open_path(source))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Samples]:
        if self._container is None or self._begun:
            raise StreamFinished(f"reading {self.name}")
        self._begun = True
        return self._pieces()

    def close(self) -> None:
        """Release the file; what was read stays valid. Closing twice is harmless."""
        if self._container is not None:
            self._container.close()
            self._container = None
        if self._owned is not None:
            self._owned.close()
            self._owned = None

    def _error(self, message: str) -> AudioError:
        return AudioError(f"{self.name}: {message}")

    def _open_path(self, path: str | os.PathLike[str]) -> BinaryIO:
        try:
            self._owned = open(path, "rb")  # noqa: SIM115 - closed by close()
        except FileNotFoundError as error:
            raise self._error("no such file") from error
        except (OSError, ValueError) as error:
            if os.path.isdir(path):
                raise self._error("is a directory; name a file") from error
            if isinstance(error, PermissionError):
                raise self._error("no permission to read it") from error
            raise self._error(f"cannot be opened: {_one_line(error)}") from error
        return self._owned

    def _open(self, file: Readable) -> None:
        import av

        try:
            self._reader = _Reader(file)
            self._container = av.open(
                self._reader,
                mode="r",
                metadata_errors="replace",
                container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "none"},
            )
        except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:
            raise self._error(_Reader.explain(getattr(self, "_reader", None), error)) from error
        self._format = str(self._container.format.name)
        self._stream = self._choose_stream()
        codec = self._stream.codec_context
        if not 0 <= codec.channels <= MAX_CHANNELS:
            raise self._error(f"declares {codec.channels} channels; at most {MAX_CHANNELS} are read")
        codec.thread_count = 1
        self._frames = self._decode(av.FFmpegError)
        self._first = first = next(self._frames, None)
        self.sample_rate = int(first.sample_rate if first else codec.sample_rate or 0)
        self.channels = len(first.layout.channels) if first else 0
        self.channels = self.channels or int(codec.channels)  # older PyAV: a layout may be unknown
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise self._error(f"its rate is {self.sample_rate} Hz; {MIN_RATE} to {MAX_RATE} Hz can be used")
        if self._channel is not None and self._channel >= self.channels:
            raise self._error(self._no_channel(self.channels))
        self._measure(codec.name)

    def _choose_stream(self) -> Any:
        streams = self._container.streams
        audio = streams.audio
        if not audio:  # asking the type of a stream of unknown type crashes PyAV before 17
            held = [f"video {_codec_name(stream)}".strip() for stream in streams.video]
            held += ["subtitles"] * len(streams.subtitles) + ["data"] * len(streams.data)
            raise self._error(f"no audio stream (it holds: {', '.join(held) or 'nothing'})")
        known = [stream for stream in audio if stream.codec_context is not None]
        if not known:
            raise self._error("no decoder for its audio; convert it to wav or flac with other software")
        chosen = next((stream for stream in known if _is_default(stream)), known[0])
        for stream in streams:
            if stream is not chosen and hasattr(stream, "discard"):  # not in older PyAV
                stream.discard = type(stream.discard).all
        return chosen

    def _measure(self, codec: str) -> None:
        """Set the clock, what is promised and declared; refuse what already breaks the promise."""
        first, stream, container = self._first, self._stream, self._container
        in_stream = float(stream.duration * stream.time_base) if (stream.duration or 0) > 0 else None
        in_container = container.duration / 1e6 if (container.duration or 0) > 0 else None
        self._promised_s = in_stream if self._format in _EXACT else None
        if self._format == "matroska,webm":  # it declares only the duration of its longest stream
            self._promised_s = in_container if len(container.streams) == 1 else None
        if self._reader.wav is not None:
            promised_s, held_s = self._reader.wav
            if promised_s - held_s > _WAV_SLACK_S:
                raise self._truncated(promised_s, held_s)
        if first is None and self._damaged:
            raise self._error(f"nothing in it could be decoded ({codec}, damaged packets: {self._damaged})")
        if first is None and self._promised_s:
            raise self._truncated(self._promised_s, 0.0)

        start = container.start_time
        origin = None if start is None else start / 1e6
        if origin is not None and -0.1 < origin < 0:
            origin = 0.0  # an encoder's lead-in, which the decoder has dropped
        self._clock = _Clock(self.sample_rate, origin, in_container, self._format)
        self._lead = self._silence_before(first) if first else 0
        ends = [in_container, self._lead / self.sample_rate + in_stream if in_stream else None]
        self.duration_s = min((end for end in ends if end is not None), default=None)

    def _truncated(self, promised_s: float, decoded_s: float) -> AudioError:
        return self._error(
            f"truncated: the header promises {promised_s:.1f} s, {decoded_s:.1f} s could be decoded; "
            "copy or record it again, or save the part that is there: ffmpeg -i IN OUT.wav"
        )

    def _silence_before(self, frame: Any) -> int:
        exactly, self._skipped = self._skipped, False
        if self._clock is None or frame.time is None:
            return 0
        return self._clock.silence_before(frame.time - self._delay, exactly=exactly)

    def _seconds(self) -> float:
        return self._clock.written / self._clock.rate if self._clock else 0.0

    def _decode(self, ffmpeg_error: type[Exception]) -> Iterator[Any]:
        """Frames of the chosen stream; damaged packets are counted, a failing file ends in `AudioError`."""
        packets = self._container.demux(self._stream)
        delays = self._stream.codec_context.name.startswith("wma")
        fed: float | None = None  # time of the first packet
        while True:
            if self._container is None:
                raise StreamFinished(f"reading {self.name}")
            try:
                packet = next(packets, None)
            except IndexError:  # PyAV trips at the very end over a stream that began on the way
                break
            except ffmpeg_error as error:  # the container is damaged here: what follows is lost
                self._reader.check(self.name)
                self._note_damage("cannot be read on after", None, error)
                break
            self._reader.check(self.name)
            if packet is None:
                break
            if packet.size == 0 and packet.dts is not None:
                continue  # empty; only the last one, without a time, flushes the decoder
            try:
                frames = [frame for frame in packet.decode() if frame.samples]
            except ffmpeg_error as error:
                self._note_damage("damaged packet skipped near", _packet_time(packet), error)
                continue
            if delays:  # the decoder drops its own start, yet moves the time of the first frame
                fed = _packet_time(packet) if fed is None else fed
                if frames and frames[0].time is not None and fed is not None:
                    self._delay, delays = frames[0].time - fed, False
            yield from frames
        if self._damaged > 1:
            logger.warning("%s: damaged packets in all: %d", self.name, self._damaged)

    def _note_damage(self, what: str, time_s: float | None, error: object) -> None:
        self._damaged += 1
        self._skipped = True
        if self._damaged == 1:
            time_s = self._seconds() if time_s is None else time_s
            logger.warning("%s: %s %.2f s (%s)", self.name, what, time_s, _one_line(error))

    def _pieces(self) -> Iterator[Samples]:
        clock = self._clock
        if clock is None or self._first is None:
            return
        yield from _silence(self._lead, self.sample_rate)
        pending: list[Samples] = []
        held, silence, frame = 0, 0, self._first
        while frame is not None:
            if frame.sample_rate != self.sample_rate:
                raise self._error(
                    f"the sample rate changes from {self.sample_rate} to {frame.sample_rate} Hz "
                    f"at {self._seconds():.1f} s; convert it first: ffmpeg -i IN OUT.wav"
                )
            if frame is not self._first:
                silence = self._silence_before(frame)
            if silence or held >= self.sample_rate // 4:
                yield from pending and [np.concatenate(pending)]
                yield from _silence(silence, self.sample_rate)
                pending, held = [], 0
            mono = self._mono(frame, clock.written)
            clock.written += len(mono)
            pending.append(mono)
            held += len(mono)
            frame = next(self._frames, None)
        yield np.concatenate(pending)
        decoded_s = (clock.written - self._lead) / self.sample_rate
        if self._promised_s is not None and self._promised_s - decoded_s > _EXACT[self._format]:
            raise self._truncated(self._promised_s, decoded_s)
        if self.duration_s is not None and self._seconds() < 0.9 * self.duration_s - 1:
            logger.warning(
                "%s: declares %.1f s, %.1f s could be decoded", self.name, self.duration_s, self._seconds()
            )

    def _mono(self, frame: Any, position: int) -> Samples:
        """One frame -> (n,) float32: the mean of the channels, or the one that was asked for."""
        name = frame.format.name
        dtype = np.dtype(_DTYPES[name.removesuffix("p")])
        count = len(frame.layout.channels) or self.channels
        if self._channel is not None and self._channel >= count:
            raise self._error(self._no_channel(count))
        planes = frame.planes
        if name.endswith("p"):
            channels = [np.frombuffer(planes[k], dtype, frame.samples) for k in range(count)]
        else:
            packed = np.frombuffer(planes[0], dtype, frame.samples * count)
            channels = [packed[k::count] for k in range(count)]
        if self._channel is not None:
            channels = [channels[self._channel]]
        mono = np.array(_scaled(channels[0]))
        with np.errstate(invalid="ignore", over="ignore"):
            for other in channels[1:]:
                mono += _scaled(other)
            mono *= np.float32(1 / len(channels))
        bad = _first_bad(mono)
        if bad is not None:
            time_s = (position + bad) / self.sample_rate
            complaint = _complaint(float(mono[bad]))
            if self._stream.codec_context.name.startswith("pcm_"):
                raise self._error(f"{complaint} at {time_s:.3f} s")
            self._note_damage("damaged sound silenced near", time_s, complaint)
            mono[~(np.abs(mono) <= _LOUDEST)] = 0
        return mono

    def _no_channel(self, count: int) -> str:
        return f"no channel {self._channel}: it has {count}, counted from 0"


_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


@dataclass
class _Clock:
    """Turns the timestamps of frames into the silence that belongs before them.

    Attributes
    ----------
    rate : Hz.
    origin : time of sample 0 in the file's own time, seconds; None until the first frame.
    declared_s : duration of the container, or None.
    written : samples so far, silence included.
    shift : samples by which timestamps are known to be off: after jumps that cannot be believed.
    """

    rate: int
    origin: float | None
    declared_s: float | None
    format: str
    written: int = 0
    shift: int = 0
    started: bool = False

    def silence_before(self, time: float, *, exactly: bool = False) -> int:
        """Samples of silence before the frame at ``time``, seconds; with ``exactly`` small gaps count too."""
        if self.origin is None:
            self.origin = time
        position = round((time - self.origin) * self.rate) - self.shift
        gap = position - self.written
        first, self.started = not self.started, True
        tolerated = 0 if first else round(self.rate * (0.002 if exactly else _GAP_S))
        if gap > tolerated:
            if self._believable(gap, position, first):
                self.written += gap
                return gap
            self.shift += gap
        elif (first and gap < 0) or gap < -self.rate:
            self.shift += gap
        return 0

    def _believable(self, gap: int, position: int, first: bool) -> bool:
        if not first and self.format in ("mpeg", "mpegts") and gap > 10 * self.rate:
            return False  # joined broadcasts restart their clocks; ffmpeg draws the same line
        inside = self.declared_s is None or position <= (self.declared_s + 1) * self.rate
        return inside and gap <= _LONGEST_GAP_S * self.rate


def _is_default(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)  # not in older PyAV
    return disposition is not None and bool(disposition & type(disposition).default)


def _packet_time(packet: Any) -> float | None:
    return None if packet.pts is None or not packet.time_base else float(packet.pts * packet.time_base)


def _silence(count: int, longest: int) -> Iterator[Samples]:
    for start in range(0, count, longest):
        yield np.zeros(min(longest, count - start), np.float32)


def _codec_name(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context is not None else ""


class _Reader:
    """What ffmpeg reads through: bytes without a name, and errors kept for a clear message.

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
                self.wav = _measure_wav(file)
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
            raise AudioError(f"{name}: reading failed: {_one_line(self._error)}") from self._error

    def explain(self: _Reader | None, error: Exception) -> str:
        """Why this could not be opened."""
        if self is None or self._error is not None:
            return f"reading failed: {_one_line(error if self is None else self._error)}"
        if not self._count:
            return "empty file (0 bytes)"
        if self._head[4:8] == b"ftyp":
            return "an MP4 file whose index (moov) is missing or damaged: it was cut off, or never finished"
        if self._head.startswith((b"#EXTM3U", b"ffconcat", b"[playlist]")):
            return "a playlist, not a recording; give the files that it names"
        if getattr(error, "errno", None) == errno.EINVAL:  # what the allow-list refuses
            return "not a recording, but an image, a list, text or another format that is not read here"
        return f"not audio that can be decoded ({_one_line(error)})"


def _measure_wav(file: Any) -> tuple[float, float] | None:
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


def _display_name(source: object) -> str:
    if isinstance(source, Readable):
        source = getattr(source, "name", None)
        if not isinstance(source, str | os.PathLike):
            return "audio stream"
    elif not isinstance(source, str | os.PathLike):
        raise AudioError(f"a recording must be a path or a binary file object, got {type(source).__name__}")
    name = os.fsdecode(source)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name) or "''"


def _one_line(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


# Either


def stream_audio(
    source: Source, *, sample_rate: int | None = None, channel: int | None = None
) -> Iterator[Samples]:
    """Iterate over a recording or an array as (n,) float32 pieces at 16 kHz.

    Parameters
    ----------
    source : file or array
        As for `open_audio`, or (n,) samples as for `as_samples`.
    sample_rate : int, optional
        Of an array, Hz; needed there, refused for files, which carry their own.
    channel : int, optional
        As for `open_audio`; refused for arrays, which have one channel.

    Returns
    -------
    pieces : iterator of (n,) float32, n > 0

    Raises
    ------
    AudioError
        As `open_audio`, `AudioFile` and `as_samples`; for files when the iteration starts.
    """
    if isinstance(source, str | os.PathLike | Readable):
        if sample_rate is not None:
            raise AudioError(
                f"{_display_name(source)}: sample_rate= is for arrays; a file carries its own rate"
            )
        return _stream_file(source, channel)
    samples = as_samples(source)
    if sample_rate is None:
        raise AudioError("an array carries no sample rate; pass sample_rate=, for example sample_rate=16000")
    if channel is not None:
        raise AudioError("channel= is for files; of an array (channels, n) pass one row: audio[k]")
    return _stream_array(samples, checked_rate(sample_rate))


def _stream_file(source: File, channel: int | None) -> Iterator[Samples]:
    with open_audio(source, channel=channel) as file:
        yield from _resampled(file, file.sample_rate)


def _stream_array(samples: Samples, rate: int) -> Iterator[Samples]:
    return _resampled((samples[start : start + rate] for start in range(0, len(samples), rate)), rate)


def _resampled(pieces: Iterable[Samples], rate: int) -> Iterator[Samples]:
    resampler = Resampler(rate)
    for piece in pieces:
        ready = resampler.push(piece)
        if len(ready):
            yield ready
    tail = resampler.finish()
    if len(tail):
        yield tail


def read_audio(source: Source, *, sample_rate: int | None = None, channel: int | None = None) -> Samples:
    """Read a whole recording or array as (n,) float32 at 16 kHz; arguments and errors of `stream_audio`."""
    pieces = list(stream_audio(source, sample_rate=sample_rate, channel=channel))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
