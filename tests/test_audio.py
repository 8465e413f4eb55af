"""Files that decode: every format gives its samples, each at its time, in little memory."""

from __future__ import annotations

import io
import os
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sound_files import clicks, decoded, encode, write_wav

from diarize.audio import SAMPLE_RATE, as_samples, open_audio, read_audio, stream_audio
from diarize.decoding import Clock
from diarize.errors import AudioError, StreamFinished


def shift_ms(found: np.ndarray, expected: np.ndarray, rate: int) -> float:
    """By how much ``found`` is later than ``expected``."""
    size = 1 << int(np.ceil(np.log2(2 * max(len(found), len(expected)))))
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected.astype(float), size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return 1000 * (lag - size if lag > size // 2 else lag) / rate


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
