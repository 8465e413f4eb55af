"""A recording -> MP3 whose seconds are those of the recording, and the outline of its waveform.

MP3 because every browser plays it, Safari and builds of Chromium without licensed codecs included; Opus is
better at the same size, but Safari plays it in few containers. MP3 delays sound by 1105 samples. The header
that LAME invented says so, browsers then leave them out, and a second of the file is a second of the
recording. Frames are all of one size (constant bit rate), so seeking is exact as well.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE, open_audio
from diarize.errors import AudioError
from diarize.resampling import Resampler

if TYPE_CHECKING:
    from diarize._reader import File
    from diarize.resampling import Samples

BIT_RATE = 32_000
MP3_BYTES_A_SECOND = BIT_RATE // 8
"""14.4 MB an hour, 19.2 MB in base64."""

FRAME = 576
"""Samples in a frame of MP3 below 32 kHz."""

PROBE_S = 0.25
"""Second of the click in `probe`."""

PEAK = 160
"""Samples under one point of the outline: 10 ms."""

MOST_PEAKS = 360_000
"""Points of the outline, an hour of 10 ms; those of longer recordings are wider."""

LOUD = 0.998
"""Share of the points that the outline shows in full; a knock on the table is cut off rather than the voices
made small."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What a page holds of a recording.

    duration : seconds
    peaks : (n,) uint8, the largest magnitude of each stretch of `peak_s` seconds; 255 is loud
    mp3 : the sound itself, b"" where the page has none
    """

    duration: float
    peaks: NDArray[np.uint8]
    peak_s: float
    mp3: bytes = b""


def hear(
    audio: File,
    *,
    sound: bool = True,
    channel: int | None = None,
    progress: Callable[[float, float | None], object] | None = None,
) -> Sound:
    """Read a recording once, piece by piece, at 16 kHz.

    sound : False makes the outline alone
    Raises AudioError as `diarize.audio.open_audio` does.
    """
    encoder = Mp3() if sound else None
    outline = Outline()
    done = 0
    with open_audio(audio, channel=channel) as file:
        resampler = Resampler(file.sample_rate)

        def take(samples: Samples) -> None:
            nonlocal done
            done += len(samples)
            outline.push(samples)
            if encoder is not None:
                encoder.push(samples)
            if progress is not None:
                progress(done / SAMPLE_RATE, file.duration_s)

        for piece in file:
            take(resampler.push(piece))
        take(resampler.finish())
    peaks, width = outline.finish()
    return Sound(done / SAMPLE_RATE, peaks, width / SAMPLE_RATE, encoder.finish() if encoder else b"")


class Mp3:
    """16 kHz mono samples that are pushed -> one MP3 file at a constant bit rate."""

    def __init__(self) -> None:
        import av

        self._frame: Callable[..., Any] = av.AudioFrame.from_ndarray
        self._bytes = io.BytesIO()
        self._rest = np.zeros(0, np.float32)
        self._done = 0
        try:
            self._file: Any = av.open(
                self._bytes, "w", format="mp3", options={"id3v2_version": "0", "write_xing": "1"}
            )
            self._stream: Any = self._file.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(
                f"this build of PyAV cannot write MP3 ({error}); install PyAV from its wheels, "
                "or make a page without sound: --no-audio, sound=False"
            ) from error
        self._stream.bit_rate = BIT_RATE
        self._stream.metadata["encoder"] = "LAME3.100"  # Firefox reads the delay of these and of Lavc's alone

    def push(self, samples: Samples) -> None:
        """Samples (n,) float32 in [-1, 1], after those before."""
        held = np.concatenate([self._rest, np.clip(samples, -1, 1)])
        whole = len(held) // FRAME * FRAME
        for start in range(0, whole, FRAME):
            self._encode(held[start : start + FRAME])
        self._rest = held[whole:]

    def finish(self) -> bytes:
        """The file; b"" where nothing was pushed."""
        if len(self._rest):
            self._encode(self._rest)
        if not self._done:
            return b""
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._bytes.getvalue()

    def _encode(self, samples: Samples) -> None:
        frame = self._frame(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = self._done
        self._done += len(samples)
        self._file.mux(self._stream.encode(frame))


def probe() -> bytes:
    """Half a second of silence and a click at `PROBE_S`, as MP3; where a browser hears it says how late."""
    samples = np.zeros(SAMPLE_RATE // 2, np.float32)
    samples[round(PROBE_S * SAMPLE_RATE)] = 0.9
    encoder = Mp3()
    encoder.push(samples)
    return encoder.finish()


class Outline:
    """16 kHz samples that are pushed -> the points of the waveform."""

    def __init__(self) -> None:
        self._points: list[NDArray[np.float32]] = []
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: Samples) -> None:
        """Samples (n,) float32, after those before."""
        held = np.concatenate([self._rest, np.abs(samples)])
        whole = len(held) // PEAK * PEAK
        self._points.append(held[:whole].reshape(-1, PEAK).max(axis=1))
        self._rest = held[whole:]

    def finish(self) -> tuple[NDArray[np.uint8], int]:
        """The points, (n,) with n <= `MOST_PEAKS`, and the samples under one of them."""
        if len(self._rest):
            self._points.append(self._rest.max(keepdims=True))
        points = np.concatenate(self._points) if self._points else np.zeros(0, np.float32)
        several = max(1, -(-len(points) // MOST_PEAKS))
        if several > 1:
            points = np.pad(points, (0, -len(points) % several)).reshape(-1, several).max(axis=1)
        loud = float(np.quantile(points, LOUD)) if len(points) else 0.0
        scaled = points / loud if loud > 0 else points
        return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8), PEAK * several
