"""Sound files as tests write them, and what is read of them."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from diarize.audio import open_audio
from diarize.errors import AudioError


def clicks(rate: int = 44100, seconds: float = 3.0) -> np.ndarray:
    """Silence with two short bursts of noise, (n,) int16: a correlation shows an offset of one sample."""
    samples = np.zeros(round(rate * seconds), np.int16)
    rng = np.random.default_rng(0)
    for start in (rate, 2 * rate):
        samples[start : start + rate // 50] = rng.normal(0, 8000, rate // 50).clip(-32768, 32767)
    return samples


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    """(n,) or (n, channels) of uint8, int16 or int32."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(samples).tobytes())
    return path


def encode(
    target: object,
    samples: np.ndarray,
    rate: int,
    format: str,
    codec: str,
    *,
    layout: str = "mono",
    bit_rate: int | None = None,
    starts: dict[int, int] | None = None,
    video_s: float = 0.0,
    audio_from_s: float = 0.0,
    audio_format: str = "s16",
    container: dict[str, str] | None = None,
) -> None:
    """Write with PyAV; ``starts`` jumps: from that sample on, timestamps are that many samples later."""
    import av

    with av.open(target, "w", format=format, container_options=container or {}) as out:
        picture = None
        if video_s:
            picture = out.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        rows = samples[None] if samples.ndim == 1 else samples.reshape(1, -1)
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        for index in range(round(video_s * 25)):
            frame = av.VideoFrame(32, 32, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(picture.encode(frame))
        if picture:
            out.mux(picture.encode(None))
        for first in range(0, len(samples), 1024):
            part = np.ascontiguousarray(rows[:, first * channels : (first + 1024) * channels])
            frame = av.AudioFrame.from_ndarray(part, format=audio_format, layout=layout)
            frame.rate = rate
            later = sum(by for start, by in (starts or {}).items() if start <= first)
            frame.pts, frame.time_base = first + later + round(audio_from_s * rate), Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def decoded(source: object, **options: object) -> np.ndarray:
    with open_audio(source, **options) as file:
        pieces = list(file)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def refused(source: object, **options: object) -> str:
    with pytest.raises(AudioError) as caught:
        decoded(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message
