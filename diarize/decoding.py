"""A recording -> mono float32 pieces at its own rate, whatever container and codec PyAV can read.

ffmpeg gets bytes and nothing else (`diarize._reader`), and only containers that hold their own sound
are accepted, so a playlist never opens another file. Sound keeps its place: `Clock` turns timestamps
into the silence that belongs before a frame.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from diarize._reader import File, Readable, Reader, display_name
from diarize.errors import AudioError, StreamFinished
from diarize.resampling import MAX_RATE, MIN_RATE, Samples
from diarize.samples import LOUDEST, complaint, first_bad, one_line, to_unit_range

logger = logging.getLogger("diarize")

MAX_CHANNELS = 64
LONGEST_S = 100 * 3600.0
"""Sound that one file may hold: a few bytes can say that they are weeks of silence."""
_MOST_AT_ONCE = 1 << 22  # samples of one frame
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
# WAV is measured by `Reader`: ffmpeg believes the smaller of header and file, and says nothing.
_EXACT = {
    **dict.fromkeys(("aiff", "ape", "au", "flac", "nistsphere", "tta", "wv"), 0.05),
    **dict.fromkeys(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"), 0.5),
}
_WAV_SLACK_S = 0.05


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
        While iterating: truncated file, nan, absurdly large floats, a change of sample rate, a failing disk,
        more than `LONGEST_S`.
    """

    def __init__(self, source: File, *, channel: int | None = None) -> None:
        self.name = display_name(source)
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
        self._clock: Clock | None = None
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
            raise self._error(f"cannot be opened: {one_line(error)}") from error
        return self._owned

    def _open(self, file: Readable) -> None:
        import av

        try:
            self._reader = Reader(file)
            self._container = av.open(
                self._reader,
                mode="r",
                metadata_errors="replace",
                container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "none"},
            )
        except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:
            raise self._error(Reader.explain(getattr(self, "_reader", None), error)) from error
        self._format = str(self._container.format.name)
        self._stream = self._choose_stream()
        codec = self._stream.codec_context
        if not 0 <= codec.channels <= MAX_CHANNELS:
            raise self._error(f"declares {codec.channels} channels; at most {MAX_CHANNELS} are read")
        codec.thread_count = 1
        codec.options = {"max_samples": str(_MOST_AT_ONCE)}
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
        self._clock = Clock(self.sample_rate, origin, in_container, self._format)
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
            logger.warning("%s: %s %.2f s (%s)", self.name, what, time_s, one_line(error))

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
            if clock.written > LONGEST_S * self.sample_rate:
                raise self._error(f"holds more than {LONGEST_S / 3600:g} h of sound; cut it into files")
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
        mono = np.array(to_unit_range(channels[0]))
        if len(channels) > 1:
            with np.errstate(invalid="ignore", over="ignore"):
                for other in channels[1:]:
                    mono += to_unit_range(other)
                mono *= np.float32(1 / len(channels))
        bad = first_bad(mono) if dtype.kind == "f" else None
        if bad is not None:
            time_s = (position + bad) / self.sample_rate
            wrong = complaint(float(mono[bad]))
            if self._stream.codec_context.name.startswith("pcm_"):
                raise self._error(f"{wrong} at {time_s:.3f} s")
            self._note_damage("damaged sound silenced near", time_s, wrong)
            mono[~(np.abs(mono) <= LOUDEST)] = 0
        return mono

    def _no_channel(self, count: int) -> str:
        return f"no channel {self._channel}: it has {count}, counted from 0"


_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


@dataclass
class Clock:
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
