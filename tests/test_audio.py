"""Audio in: every kind of array and file gives samples or one clear error."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from diarize.audio import SAMPLE_RATE, as_samples, open_audio, read_audio, stream_audio
from diarize.decoding import Clock
from diarize.errors import AudioError, StreamFinished

# Writing files


def clicks(rate: int = 44100, seconds: float = 3.0) -> np.ndarray:
    """Silence with two short bursts of noise, (n,) int16: a correlation shows an offset of one sample."""
    samples = np.zeros(round(rate * seconds), np.int16)
    rng = np.random.default_rng(0)
    for start in (rate, 2 * rate):
        samples[start : start + rate // 50] = rng.normal(0, 8000, rate // 50).clip(-32768, 32767)
    return samples


def hiss(rate: int, seconds: float) -> np.ndarray:
    """(n,) int16"""
    return np.random.default_rng(3).normal(0, 500, round(rate * seconds)).astype(np.int16)


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


def shift_ms(found: np.ndarray, expected: np.ndarray, rate: int) -> float:
    """By how much ``found`` is later than ``expected``."""
    size = 1 << int(np.ceil(np.log2(2 * max(len(found), len(expected)))))
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected.astype(float), size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return 1000 * (lag - size if lag > size // 2 else lag) / rate


def decoded(source: object, **options: object) -> np.ndarray:
    with open_audio(source, **options) as file:
        pieces = list(file)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


# Arrays


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("float16", [0, 0.5, -1], [0, 0.5, -1]),
        ("float32", [0, 0.25, 1.5], [0, 0.25, 1.5]),
        ("float64", [0, 0.25, -1], [0, 0.25, -1]),
        ("longdouble", [0, 0.25, -1], [0, 0.25, -1]),
        (">f4", [0, 0.25, -1], [0, 0.25, -1]),
        ("int8", [0, -128, 64], [0, -1, 0.5]),
        ("int16", [0, -32768, 16384], [0, -1, 0.5]),
        (">i2", [0, -32768, 16384], [0, -1, 0.5]),
        ("int32", [0, -(2**31), 2**30], [0, -1, 0.5]),
        ("uint8", [128, 0, 192], [0, -1, 0.5]),
        ("uint16", [32768, 0, 49152], [0, -1, 0.5]),
        ("uint32", [2**31, 0, 3 * 2**30], [0, -1, 0.5]),
    ],
)
def test_types(dtype, values, expected):
    result = as_samples(np.array(values, dtype))
    assert result.dtype == np.dtype("float32")
    assert result.dtype.isnative
    assert result.tolist() == expected


def test_lists_strides_and_nothing():
    assert as_samples([0.0, 0.5]).tolist() == [0, 0.5]
    assert as_samples(np.arange(10, dtype=np.int16)[::3]).tolist() == [0, 3 / 32768, 6 / 32768, 9 / 32768]
    assert as_samples(np.zeros((4, 2), np.float32)[:, 1]).flags.c_contiguous
    assert as_samples([]).shape == (0,)
    assert as_samples(np.zeros(0, np.int16)).dtype == np.float32


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32"]
)
def test_tensors(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([0, 1, 2], dtype=getattr(torch, dtype))
    if tensor.is_floating_point():
        tensor.requires_grad_()
    result = as_samples(tensor)
    name = "float32" if dtype == "bfloat16" else dtype
    assert np.array_equal(result, as_samples(np.array([0, 1, 2], name)))


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (
            np.zeros((2, 48000)),
            "audio must be one-dimensional, got shape (2, 48000); "
            "average the channels first: audio.mean(axis=0)",
        ),
        (
            np.zeros((48000, 2)),
            "audio must be one-dimensional, got shape (48000, 2); "
            "average the channels first: audio.mean(axis=1)",
        ),
        (np.zeros((1, 9), np.int16), "average the channels first: audio.mean(axis=0) / 32768"),
        (np.zeros((2, 3, 4)), "audio must be one-dimensional, got shape (2, 3, 4)"),
        (0.5, "audio must be one-dimensional, got shape ()"),
        (None, "audio must be one-dimensional, got shape ()"),
        ([0.0, float("nan"), 0.0], "audio must be finite, got nan at sample 1"),
        ([0.0, 0.0, float("-inf")], "audio must be finite, got -inf at sample 2"),
        (np.array([0, 1e300]), "float audio must lie in [-1, 1], got 1e+300"),
        ([0.0, 32767.0], "divide by 32768 then) at sample 1"),
        ([1, 2, 3], "audio must be of a type with a known full scale, got dtype int64"),
        (np.zeros(3, np.uint64), "got dtype uint64"),
        ([True, False], "audio must be numbers of a float or integer type, got dtype bool"),
        ([1j], "got dtype complex128"),
        (["a"], "got dtype <U1"),
        ([[1.0], [1.0, 2.0]], "audio must be a one-dimensional array of numbers"),
        ([None, 1.0], "got dtype object"),
        (b"RIFF", "audio must be an array of numbers, got bytes; a whole file: io.BytesIO(data)"),
    ],
)
def test_refused_arrays(audio, message):
    with pytest.raises(AudioError) as caught:
        as_samples(audio)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_checks_do_not_depend_on_the_cut():
    samples = np.zeros(1000, np.float32)
    samples[700] = 300
    with pytest.raises(AudioError, match="at sample 700"):
        as_samples(samples)
    as_samples(samples[:700])
    with pytest.raises(AudioError, match="at sample 0"):
        as_samples(samples[700:])


def test_arrays_need_their_rate():
    with pytest.raises(AudioError, match="pass sample_rate="):
        read_audio(np.zeros(10))
    with pytest.raises(AudioError, match="channel= is for files"):
        stream_audio(np.zeros(10), sample_rate=8000, channel=0)
    with pytest.raises(AudioError, match="got 8"):
        stream_audio(np.zeros(10), sample_rate=8)
    samples = np.zeros(20000, np.int16)
    assert len(read_audio(samples, sample_rate=8000)) == 40000
    assert [len(p) for p in stream_audio(samples, sample_rate=16000)] == [16000, 4000]
    assert len(read_audio([], sample_rate=44100)) == 0


def test_importing_is_light():
    code = "import sys, diarize.audio; print([m for m in ('av', 'scipy', 'torch') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# Files that decode


@pytest.mark.parametrize(("dtype", "zero"), [("u1", 128), ("<i2", 0), ("<i4", 0)])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_wav_is_exact(tmp_path, dtype, zero, channels):
    rng = np.random.default_rng(1)
    info = np.iinfo(dtype)
    samples = rng.integers(info.min, info.max, (30001, channels)).astype(dtype)
    path = write_wav(tmp_path / "a.wav", samples[:, 0] if channels == 1 else samples, 22050)
    scaled = (samples.astype(float) - zero) / 2.0 ** (8 * np.dtype(dtype).itemsize - 1)
    with open_audio(path) as file:
        assert (file.sample_rate, file.channels, file.name) == (22050, channels, str(path))
        assert file.duration_s == pytest.approx(30001 / 22050, abs=1e-4)
        pieces = list(file)
    assert all(p.dtype == np.float32 and p.ndim == 1 for p in pieces)
    assert len(pieces) > 3
    assert np.abs(np.concatenate(pieces) - scaled.mean(axis=1)).max() < 2e-7
    last = decoded(path, channel=channels - 1)
    assert np.array_equal(last, as_samples(np.ascontiguousarray(samples[:, -1])))


@pytest.mark.parametrize(
    ("codec", "audio_format", "dtype", "tolerance"),
    [
        ("pcm_s16be", "s16", "i2", 0),
        ("pcm_s24le", "s32", "i4", 2**-23),
        ("pcm_s64le", "s32", "i4", 0),
        ("pcm_f32le", "flt", "f4", 0),
        ("pcm_f64le", "dbl", "f8", 0),
        ("pcm_mulaw", "s16", "i2", 0.02),
        ("pcm_s16le_planar", "s16p", "i2", 0),
        ("flac", "s16", "i2", 0),
    ],
)
def test_sample_formats(tmp_path, codec, audio_format, dtype, tolerance):
    rng = np.random.default_rng(2)
    samples = rng.uniform(-0.9, 0.9, 12345)
    samples = (samples * np.iinfo(dtype).max).astype(dtype) if dtype[0] == "i" else samples.astype(dtype)
    path = tmp_path / "a.nut"
    encode(str(path), samples, 16000, "nut", codec, audio_format=audio_format)
    assert np.abs(decoded(path) - as_samples(samples)).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "format", "codec", "rate", "tolerance_ms"),
    [
        ("a.flac", "flac", "flac", 44100, 0),
        ("a.mp3", "mp3", "libmp3lame", 44100, 0.1),
        ("low.mp3", "mp3", "libmp3lame", 16000, 0.1),
        ("a.m4a", "ipod", "aac", 44100, 0.1),
        ("a.mp4", "mp4", "aac", 48000, 0.1),
        ("a.mkv", "matroska", "aac", 44100, 24),  # 0 since PyAV 18
        ("a.opus", "ogg", "libopus", 48000, 0.1),
        ("a.webm", "webm", "libopus", 48000, 0.1),
        ("alac.m4a", "ipod", "alac", 44100, 0),
        ("a.aiff", "aiff", "pcm_s16be", 44100, 0),
        ("a.au", "au", "pcm_s16be", 44100, 0),
        ("a.caf", "caf", "pcm_s16be", 44100, 0),
        ("a.w64", "w64", "pcm_s16le", 44100, 0),
        ("a.tta", "tta", "tta", 44100, 0),
        ("a.wv", "wv", "wavpack", 44100, 0),
        ("a.avi", "avi", "pcm_s16le", 44100, 0),
        ("a.ac3", "ac3", "ac3", 48000, 6),  # these say nothing of their encoder's delay
        ("a.aac", "adts", "aac", 44100, 24),
        ("a.ts", "mpegts", "mp2", 48000, 11),
        ("a.mpg", "mpeg", "mp2", 48000, 11),
        ("a.wma", "asf", "wmav2", 44100, 47),
    ],
)
def test_sound_keeps_its_place(tmp_path, name, format, codec, rate, tolerance_ms):
    samples = clicks(rate)
    path = tmp_path / name
    encode(str(path), samples, rate, format, codec, bit_rate=128000 if codec != "libopus" else 64000)
    found = decoded(path)
    assert abs(shift_ms(found, samples, rate)) <= tolerance_ms
    assert abs(len(found) / rate - 3) < 0.06
    at_16k = read_audio(path)
    assert abs(len(at_16k) - len(found) * SAMPLE_RATE / rate) <= 1


@pytest.mark.parametrize(("name", "format"), [("a.mkv", "matroska"), ("a.mp4", "mp4"), ("a.ts", "mpegts")])
@pytest.mark.parametrize("late_s", [0.0, 0.7, 12.0])
def test_times_are_those_of_the_picture(tmp_path, name, format, late_s):
    samples = clicks(48000)
    path = tmp_path / name
    codec = "mp2" if format == "mpegts" else "aac"
    encode(str(path), samples, 48000, format, codec, video_s=late_s + 4, audio_from_s=late_s)
    with open_audio(path) as file:
        found = np.concatenate(list(file))
        assert file.duration_s == pytest.approx(late_s + 3, abs=1.1)
    assert shift_ms(found, samples, 48000) == pytest.approx(1000 * late_s, abs=25)
    assert not found[: round(48000 * (late_s + 0.9))].any()


def test_a_gap_is_silence(tmp_path):
    samples = clicks(48000, 4)
    path = tmp_path / "paused.mkv"
    encode(str(path), samples, 48000, "matroska", "pcm_s16le", starts={1024 * 70: 48000 * 5})
    found = decoded(path)
    expected = np.concatenate([samples[: 1024 * 70], np.zeros(48000 * 5, np.int16), samples[1024 * 70 :]])
    assert abs(len(found) - len(expected)) <= 48
    assert shift_ms(found[: 48000 * 2], expected[: 48000 * 2], 48000) == 0
    assert abs(shift_ms(found[48000 * 6 :], expected[48000 * 6 :], 48000)) <= 1


@pytest.mark.parametrize("jump_s", [0.03, 40_000])
def test_jitter_and_broken_timestamps_change_nothing(tmp_path, jump_s):
    samples = clicks(48000, 4)
    path = tmp_path / "a.nut"
    encode(str(path), samples, 48000, "nut", "pcm_s16le", starts={1024 * 70: round(48000 * jump_s)})
    assert np.array_equal(decoded(path), as_samples(samples))


def test_the_clock():
    def silences(*times: float, **options: object) -> list[int]:
        """Frames of 0.1 s at 1 kHz that claim these times -> silence before each."""
        clock = Clock(**{"rate": 1000, "origin": 0.0, "declared_s": None, "format": "nut"} | options)
        found = []
        for time in times:
            found.append(clock.silence_before(time))
            clock.written += 100
        return found

    assert silences(0, 0.1, 0.2) == [0, 0, 0]
    assert silences(0.02, 0.12) == [20, 0]  # a late start counts to the sample
    assert silences(5, 5.1, origin=5.0) == [0, 0]
    assert silences(5, 5.1, origin=None) == [0, 0]
    assert silences(-0.02, 0.08, 0.18) == [0, 0, 0]  # encoder delay: nothing is dropped or added
    assert silences(0, 0.14, 0.24) == [0, 0, 0]  # jitter
    assert silences(0, 0.3, 0.4) == [0, 200, 0]
    assert silences(0, 0.103, 0.206, 0.41) == [0, 0, 0, 110]  # a slow drift is caught up with a gap
    assert silences(0, 5000, 5000.1, 5000.4) == [0, 0, 0, 200]  # unbelievable: the rest is relative to it
    assert silences(0, -9, -8.9, -8.6) == [0, 0, 0, 200]
    assert silences(0, 9, declared_s=3.0) == [0, 0]
    assert silences(0, 9, declared_s=9.1) == [0, 8900]
    assert silences(0, 60, format="mpegts") == [0, 0]
    assert silences(60, 60.1, format="mpegts") == [60000, 0]


@pytest.mark.parametrize(
    "name",
    [
        "call 10:30.wav",
        "meeting: part 1.wav",
        "-x.wav",
        "concat:a.wav",
        "http:x.wav",
        "two\nlines.wav",
        "besprechung ü 会议 🎙.wav",
        "%03d.wav",
        "a.m3u8",
        "a.txt",
        "a.jpg",
        "noextension",
        "a'b\"c.wav",
        os.fsdecode(b"latin-\xe9.wav"),
    ],
)
def test_names_mean_nothing(tmp_path, monkeypatch, name):
    if sys.platform == "win32":
        pytest.skip("names that Windows does not allow")
    samples = np.arange(1000, dtype=np.int16)
    try:
        write_wav(tmp_path / "plain.wav", samples).rename(tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("a name that this file system does not allow")
    monkeypatch.chdir(tmp_path)
    assert len(decoded(name)) == 1000
    assert len(decoded(Path(name))) == 1000
    with open_audio(name) as file:
        assert file.name.isprintable()


def test_m4a_with_a_colon(tmp_path):
    path = tmp_path / "call 10:30.m4a"
    with path.open("wb") as file:
        encode(file, clicks(16000), 16000, "ipod", "aac")
    assert len(read_audio(path)) == pytest.approx(48000, abs=1024)


def test_file_objects(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.arange(5000, dtype=np.int16))
    data = io.BytesIO(path.read_bytes())
    data.seek(0, 2)  # as it stands after being written
    assert len(decoded(data)) == 5000
    assert not data.closed
    with path.open("rb") as file, open_audio(file) as audio:
        assert audio.name == str(path)
    with open_audio(data) as audio:
        assert audio.name == "audio stream"

    class Pipe:
        def __init__(self, content: bytes) -> None:
            self.rest = io.BytesIO(content)

        def read(self, size: int = -1) -> bytes:
            return self.rest.read(min(size, 700))

    assert len(decoded(Pipe(path.read_bytes()))) == 5000


def test_a_file_is_read_once(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(50000, np.int16))
    with open_audio(path) as file:
        pieces = iter(file)
        next(pieces)
        with pytest.raises(StreamFinished):
            iter(file)
    with pytest.raises(StreamFinished):
        list(pieces)
    file.close()
    with pytest.raises(StreamFinished):
        iter(file)


def test_streaming_headers_promise_nothing(tmp_path):
    data = write_wav(tmp_path / "a.wav", np.zeros(16000, np.int16)).read_bytes()
    for size in (0, 0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFFFFF, 0x7FFFF000):
        header = data[:40] + struct.pack("<I", size)
        assert len(decoded(io.BytesIO(header + data[44:]))) == 16000


def test_a_header_alone_is_an_empty_recording(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(0, np.int16))
    with open_audio(path) as file:
        assert list(file) == []
    assert read_audio(path).shape == (0,)


def test_ten_milliseconds(tmp_path):
    assert len(read_audio(write_wav(tmp_path / "a.wav", np.zeros(441, np.int16), 44100))) == 160


def test_channels(tmp_path):
    samples = np.stack([np.full(4000, v, np.int16) for v in (1000, 2000, 6000)], axis=1)
    path = write_wav(tmp_path / "a.wav", samples)
    assert decoded(path)[0] == pytest.approx(3000 / 32768)
    assert decoded(path, channel=2)[0] == pytest.approx(6000 / 32768)
    assert read_audio(path, channel=0)[0] == pytest.approx(1000 / 32768)
    with pytest.raises(AudioError, match=r"a\.wav: no channel 3: it has 3, counted from 0"):
        open_audio(path, channel=3)
    for wrong in (-1, 1.0, True, "left"):
        with pytest.raises(AudioError, match="channel must be a whole number from 0"):
            open_audio(path, channel=wrong)


class Endless(io.RawIOBase):
    """An hour of silence as a WAV file that is nowhere."""

    def __init__(self, seconds: int) -> None:
        size = 2 * 16000 * seconds
        self.header = struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            *(b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", size),
        )
        self.size, self.position = size + 44, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def read(self, size: int = -1) -> bytes:
        size = max(0, min(size, self.size - self.position))
        head = self.header[self.position : self.position + size]
        self.position += size
        return head + bytes(size - len(head))


def test_an_hour_never_sits_in_memory():
    count = 0
    for piece in stream_audio(Endless(3600)):
        if count < 3300 * 16000 <= count + len(piece):  # tracing is slow: the last five minutes, 19 MB, do
            tracemalloc.start()
        count += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 3600 * 16000
    assert peak < 1_000_000


# Files that do not


def refused(source: object, **options: object) -> str:
    with pytest.raises(AudioError) as caught:
        decoded(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_what_cannot_be_opened(tmp_path):
    assert refused(tmp_path / "no.wav") == f"{tmp_path / 'no.wav'}: no such file"
    assert refused(tmp_path) == f"{tmp_path}: is a directory; name a file"
    assert refused("a\0b.wav").startswith("a\\x00b.wav: cannot be opened: ")
    assert refused("two\nlines.wav") == "two\\nlines.wav: no such file"
    assert refused("") == "'': no such file"
    with pytest.raises(AudioError, match="a recording must be a path or a binary file object, got int"):
        open_audio(3)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(10, np.int16))
    path.chmod(0)
    assert refused(path) == f"{path}: no permission to read it"


def test_permission_is_named(tmp_path, monkeypatch):
    def deny(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", deny)
    assert refused("a.wav") == "a.wav: no permission to read it"


@pytest.mark.parametrize("name", ["empty.wav", "empty.mp3", "empty"])
def test_empty(tmp_path, name):
    path = tmp_path / name
    path.touch()
    assert refused(path) == f"{path}: empty file (0 bytes)"
    assert refused(io.BytesIO()) == "audio stream: empty file (0 bytes)"


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n" * 1000,
        b"\0" * 5000,
        bytes(np.random.default_rng(0).integers(0, 256, 20000, np.uint8)),
        b"PK\3\4" + bytes(1000),
        b"{}",
        b"1\n00:00:01,000 --> 00:00:02,000\nsubtitle\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.txt", "a.mp3"])
def test_not_audio(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(path).startswith(f"{path}: not a")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nother.wav\n#EXT-X-ENDLIST\n"),
        ("list.m3u", "#EXTM3U\nother.wav\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile other.wav\n"),
        ("list.pls", "[playlist]\nFile1=other.wav\nNumberOfEntries=1\n"),
        (
            "list.mpd",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
            '<AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="1">'
            "<BaseURL>other.wav</BaseURL></Representation></AdaptationSet></Period></MPD>",
        ),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"),
        ("list.wpl", '<?wpl version="1.0"?><smil><body><seq><media src="other.wav"/></seq></body></smil>'),
    ],
)
def test_playlists_are_not_followed(tmp_path, monkeypatch, name, text):
    write_wav(tmp_path / "other.wav", np.zeros(48000, np.int16))
    (tmp_path / name).write_text(text)
    (tmp_path / "list.wav").write_text(text)
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(
        "builtins.open", lambda path, mode, _open=open: opened.append(path) or _open(path, mode)
    )
    for path in (name, "list.wav", str(tmp_path / name)):
        assert refused(path).startswith(f"{path}: ")
    assert "other.wav" not in opened


def test_no_audio_stream(tmp_path):
    import av

    path = tmp_path / "silent film.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        out.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        out.mux(stream.encode(None))
    assert refused(path) == f"{path}: no audio stream (it holds: video mpeg4)"


@pytest.mark.parametrize(
    ("format", "codec", "container"),
    [
        ("wav", "pcm_s16le", {}),
        ("wav", "pcm_mulaw", {}),
        ("wav", "pcm_s24le", {}),
        ("flac", "flac", {}),
        ("aiff", "pcm_s16be", {}),
        ("tta", "tta", {}),
        ("mp4", "aac", {"movflags": "faststart"}),
        ("matroska", "aac", {}),
    ],
)
def test_truncated(tmp_path, format, codec, container):
    path = tmp_path / "cut.bin"
    encode(str(path), hiss(16000, 6), 16000, format, codec, container=container)
    assert len(decoded(path)) == pytest.approx(96000, abs=2100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    message = refused(path)
    assert re.match(
        re.escape(f"{path}: truncated: the header promises 6.") + r"\d s, [23]\.\d s could ", message
    )
    assert "could be decoded; copy or record it again" in message


def test_truncated_to_the_header(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(160000, np.int16))
    path.write_bytes(path.read_bytes()[:44])
    assert "truncated: the header promises 10.0 s, 0.0 s" in refused(path)


def test_an_mp4_without_its_index(tmp_path):
    path = tmp_path / "cut.m4a"
    encode(str(path), hiss(16000, 3), 16000, "ipod", "aac")
    path.write_bytes(path.read_bytes()[:3000])
    assert "an MP4 file whose index (moov) is missing" in refused(path)


def test_an_mp3_is_not_held_to_its_estimate(tmp_path, caplog):
    path = tmp_path / "a.mp3"
    encode(str(path), clicks(16000, 10), 16000, "mp3", "libmp3lame")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING, "diarize"):
        assert 3 < len(decoded(path)) / 16000 < 7
    assert "a.mp3: declares 10" in caplog.text


@pytest.mark.parametrize(
    ("format", "codec", "noticed"),
    [("flac", "flac", False), ("ogg", "flac", False), ("matroska", "aac", True)],
)
def test_damage_in_the_middle_is_skipped(tmp_path, caplog, format, codec, noticed):
    path = tmp_path / "damaged"
    encode(str(path), hiss(16000, 6), 16000, format, codec)
    whole = decoded(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "diarize"):
        found = decoded(path)
    assert not noticed or "damaged: damaged packet skipped near " in caplog.text
    assert len(found) == len(whole)  # what follows keeps its place
    assert np.array_equal(found[:24000], whole[:24000])
    assert np.array_equal(found[-8000:], whole[-8000:])
    assert not np.array_equal(found, whole)


def test_nan_in_a_file(tmp_path):
    path = tmp_path / "a.wav"
    for value, message in [
        (float("nan"), "audio must be finite, got nan at 1.500 s"),
        (
            20000.0,
            "float audio must lie in [-1, 1], got 20000 (int16 values as floats? divide by 32768 then)",
        ),
    ]:
        samples = np.zeros(48000, np.float32)
        samples[24000] = value
        encode(str(path), samples, 16000, "wav", "pcm_f32le", audio_format="flt")
        assert refused(path).startswith(f"{path}: {message}")


def test_a_failing_disk(tmp_path):
    data = write_wav(tmp_path / "a.wav", np.zeros(160000, np.int16)).read_bytes()

    class Failing(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    assert refused(Failing(data)) == "audio stream: reading failed: Input/output error"


def test_wrong_file_objects():
    assert "must return bytes" in refused(io.StringIO("hello"))
    closed = io.BytesIO(b"x")
    closed.close()
    assert refused(closed).startswith("audio stream: reading failed: ")
    with pytest.raises(AudioError, match=r"a\.wav: sample_rate= is for arrays"):
        read_audio("a.wav", sample_rate=16000)


@pytest.mark.parametrize(
    ("rate", "channels", "message"), [(500, 1, "its rate is 500 Hz"), (16000, 100, "declares 100 channels")]
)
def test_absurd_headers(tmp_path, rate, channels, message):
    path = write_wav(tmp_path / "a.wav", np.zeros((100, channels), np.int16), rate)
    assert message in refused(path)


def test_the_rate_may_not_change(tmp_path):
    parts = []
    for rate in (16000, 24000):
        path = tmp_path / "a.aac"
        encode(str(path), clicks(rate), rate, "adts", "aac")
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))
    assert "the sample rate changes from 16000 to 24000 Hz at 3." in refused(path)


def test_nothing_is_printed(tmp_path, capfd):
    path = tmp_path / "a.mp3"
    encode(str(path), clicks(16000), 16000, "mp3", "libmp3lame")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    path.write_bytes(data)
    logging.getLogger("diarize").addHandler(handler := logging.NullHandler())
    try:
        decoded(path)
        path.write_bytes(b"not audio")
        refused(path)
    finally:
        logging.getLogger("diarize").removeHandler(handler)
    assert capfd.readouterr() == ("", "")


# Real files


def recordings(data: Path, folder: str) -> list[Path]:
    found = sorted((data / folder).rglob("*.*"))
    assert found
    return found


def test_every_format_decodes(data):
    without_sound = {"tc_bt709_full_range.mp4", "tc_h265_10bits.mp4"}
    for path in recordings(data, "formats"):
        if path.name in without_sound:
            assert "no audio stream (it holds: video h" in refused(path)
            continue
        with open_audio(path) as file:
            count = sum(len(piece) for piece in file)
            assert count / file.sample_rate == pytest.approx(file.duration_s, abs=0.2), path
        assert len(read_audio(path)) == -(-count * SAMPLE_RATE // file.sample_rate)


def test_negatives_decode(data):
    for path in recordings(data, "negatives"):
        assert np.isfinite(read_audio(path)).all()
        assert len(read_audio(path))


def test_corrupt_files_give_samples_or_one_line(data):
    for path in recordings(data, "corrupt"):
        try:
            samples = read_audio(path)
        except AudioError as error:
            message = str(error)
        else:
            assert np.isfinite(samples).all()
            continue
        assert message.startswith(f"{path}: ")
        assert message.isprintable()


def test_real_wav_files_are_exact(data):
    checked = 0
    for path in recordings(data, "formats"):
        try:
            with wave.open(str(path)) as file:
                width, channels = file.getsampwidth(), file.getnchannels()
                raw = file.readframes(file.getnframes())
        except (wave.Error, EOFError):
            continue
        if width == 3:
            continue
        samples = np.frombuffer(raw, {1: "u1", 2: "<i2", 4: "<i4"}[width]).reshape(-1, channels)
        expected = np.mean([as_samples(row) for row in samples.T], axis=0)
        assert np.abs(decoded(path) - expected).max() < 2e-7
        checked += 1
    assert checked >= 8
