"""Sources of sound: raw bytes, containers on pipes, the pace of a file."""

from __future__ import annotations

import io
import os
import struct

import av
import numpy as np
import pytest

from diarize import AudioError
from diarize._pcm import FORMATS, Layout, Pipe, companded, looks_like_a_file
from diarize.audio import open_audio
from diarize.sources import FileSource, Paced, RawSource, open_pipe

RATE = 16000
TAGS = {
    "u8": (1, 8), "s16le": (1, 16), "s24le": (1, 24), "s32le": (1, 32),
    "f32le": (3, 32), "f64le": (3, 64), "alaw": (6, 8), "mulaw": (7, 8),
}  # fmt: skip


def sound(seconds: float = 1.0, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise (n, channels) in [-1, 1), the loudest values among it."""
    values = np.random.default_rng(seed).uniform(-1, 1, (round(seconds * RATE), channels))
    values[0], values[1] = -1, 1 - 2**-23
    return values


def packed(values: np.ndarray, format: str) -> bytes:
    """The values as raw bytes, written another way than they are read."""
    order = {"le": "<", "be": ">"}.get(format[-2:], "")
    if format == "u8":
        return (np.clip(np.round(values * 128), -128, 127) + 128).astype("u1").tobytes()
    if format[0] == "f":
        return values.astype(f"{order}f{int(format[1:3]) // 8}").tobytes()
    if format in ("mulaw", "alaw"):
        table = companded(format).astype(int)
        nearest = np.abs(table[None, :] - np.round(values.reshape(-1, 1) * 32767)).argmin(1)
        return nearest.astype("u1").tobytes()
    bits = int(format[1:3])
    whole = np.clip(np.round(values * 2.0 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(int)
    raw = b"".join(int(v).to_bytes(4, "little", signed=True)[: bits // 8] for v in whole.reshape(-1))
    if order == ">":
        raw = np.frombuffer(raw, "u1").reshape(-1, bits // 8)[:, ::-1].tobytes()
    return raw


def wav(data: bytes, format: str, channels: int = 1, *, size: int | None = None, extensible=False) -> bytes:
    """A WAV file, the size in its header as given."""
    tag, bits = TAGS[format]
    frame = bits // 8 * channels
    fmt = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, RATE, RATE * frame, frame, bits)
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, 0, tag) + bytes.fromhex("000000001000800000aa00389b71")
    size = len(data) if size is None else size
    chunks = b"JUNK" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", len(fmt)) + fmt
    return (
        b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + chunks + b"data" + struct.pack("<I", size) + data
    )


class Dribble:
    """A pipe that hands out a few bytes at a time."""

    name = "dribble"

    def __init__(self, data: bytes, largest: int = 7, seed: int = 0) -> None:
        self.file, self.largest, self.rng = io.BytesIO(data), largest, np.random.default_rng(seed)

    def read(self, size: int) -> bytes:
        return self.file.read(min(size, int(self.rng.integers(1, self.largest + 1))))


def all_of(source) -> np.ndarray:
    with source:
        pieces = list(source)
    assert all(at is None for _, at in pieces)
    assert all(piece.dtype == np.float32 and piece.ndim == 1 and len(piece) for piece, _ in pieces)
    return np.concatenate([np.zeros(0, np.float32), *(piece for piece, _ in pieces)])


def until_it_fails(source) -> tuple[np.ndarray, str]:
    heard = []
    with source:
        try:
            heard.extend(samples for samples, _ in source)
        except AudioError as error:
            return np.concatenate(heard), str(error)
    raise AssertionError("it did not fail")


# Raw bytes


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_holds_the_same_sound(format, channels):
    values = sound(0.2, channels)
    heard = all_of(RawSource(io.BytesIO(packed(values, format)), RATE, format, channels))
    step = {"u8": 1 / 128, "mulaw": 1 / 16, "alaw": 1 / 16}.get(format, 2**-15)
    assert heard.shape == (len(values),)
    assert np.abs(heard - values.mean(1)).max() <= step
    for k in range(channels):
        one = all_of(RawSource(io.BytesIO(packed(values, format)), RATE, format, channels, channel=k))
        assert np.abs(one - values[:, k]).max() <= step


@pytest.mark.parametrize("format", list(TAGS))
def test_raw_sound_is_what_ffmpeg_makes_of_it(format, tmp_path):
    data = packed(sound(0.5, 2), format) if format not in ("mulaw", "alaw") else bytes(range(256)) * 40
    path = tmp_path / "x.wav"
    path.write_bytes(wav(data, format, 2))
    with open_audio(path) as file:
        expected = np.concatenate(list(file))
    assert np.array_equal(all_of(RawSource(io.BytesIO(data), RATE, format, 2)), expected)
    for extensible in (False, True):
        piped = open_pipe(Dribble(wav(data, format, 2, extensible=extensible), 900))
        assert isinstance(piped, RawSource)  # no decoder that wants to see seconds of it first
        assert np.array_equal(all_of(piped), expected)


@pytest.mark.parametrize("format", ["s16le", "s24le", "f64le"])
def test_samples_may_be_split_between_reads(format):
    data = packed(sound(0.05, 2), format)
    whole = Layout(RATE, format, 2).decode(data)
    for seed in range(5):
        assert np.array_equal(all_of(RawSource(Dribble(data, seed=seed), RATE, format, 2)), whole)


def test_what_is_there_is_not_waited_on():
    read, write = os.pipe()
    with os.fdopen(read, "rb") as file, os.fdopen(write, "wb", buffering=0) as feed:
        feed.write(b"\1\0" * 300)
        pieces = iter(open_pipe(file, sample_rate=RATE))
        heard = 0
        while heard < 300:  # hangs, if it waits for more
            heard += len(next(pieces)[0])
        feed.write(b"\1\0" * 5)
        assert len(next(pieces)[0]) == 5


def test_a_last_half_sample_is_said(caplog):
    assert len(all_of(RawSource(io.BytesIO(bytes(401)), RATE))) == 200
    assert "ends inside a sample, 1 bytes were left over" in caplog.text


def test_raw_floats_that_are_none_reach_the_stream_without_a_warning():
    data = np.array([[np.inf, -np.inf], [np.nan, 1], [1e38, 1e38]], "<f4").tobytes()
    assert not np.isfinite(all_of(RawSource(io.BytesIO(data), RATE, "f32le", 2))[:2]).any()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "S16_LE"}, "did you mean 's16le'"),
        ({"format": "float"}, "format must be one of u8, s16le"),
        ({"sample_rate": 10}, "sample_rate must be"),
        ({"channels": 0}, "channels must be from 1 to 64, got 0"),
        ({"channel": 1}, "no channel 1: there are 1"),
    ],
)
def test_a_layout_that_cannot_be(options, reason):
    with pytest.raises(AudioError, match=reason):
        RawSource(io.BytesIO(b"1234"), **{"sample_rate": RATE, **options})


# Containers on pipes


def encoded(values: np.ndarray, container: str, codec: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=48000 if "opus" in codec else RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((values.T * 20000).astype(np.int16), "s16", "mono")
        frame.rate = RATE
        resampler = av.AudioResampler(stream.codec_context.format, "mono", stream.rate)
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return buffer.getvalue()


CONTAINERS = [
    ("flac", "flac"), ("ogg", "libopus"), ("mp3", "libmp3lame"), ("matroska", "libopus"), ("webm", "libopus"),
    ("mpegts", "aac"), ("adts", "aac"), ("aiff", "pcm_s16be"), ("au", "pcm_s16be"), ("caf", "pcm_s16le"),
    ("w64", "pcm_s16le"), ("wav", "adpcm_ms"), ("wav", "pcm_s16le"), ("avi", "pcm_s16le"),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
def test_a_container_on_a_pipe_is_the_file(container, codec, tmp_path):
    data = encoded(sound(3, 1) * 0.1, container, codec)
    assert looks_like_a_file(data[:189])[0]
    path = tmp_path / "x"
    path.write_bytes(data)
    with open_audio(path) as file:
        expected = np.concatenate(list(file))
    assert len(expected) > 2.9 * RATE
    piped = all_of(open_pipe(Dribble(data, 3000)))
    if container == "mp3":  # where its padding begins stands in a header that is written last
        piped = piped[: len(expected)]
    assert np.array_equal(piped, expected)
    assert np.array_equal(all_of(FileSource(path)), expected)
    assert np.array_equal(all_of(FileSource(path, piece_s=0.5)), expected)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 44])
def test_a_wav_that_did_not_know_its_length(size):
    data = packed(sound(0.3), "s16le")
    assert len(all_of(open_pipe(Dribble(wav(data, "s16le", size=size), 500)))) == 0.3 * RATE


def test_what_follows_the_sound_is_not_heard():
    data = packed(sound(0.3), "s16le")
    assert len(all_of(open_pipe(Dribble(wav(data, "s16le") + b"LIST" + bytes(500))))) == 0.3 * RATE


def test_a_wav_that_breaks_off_gives_what_there_is_and_says_so():
    data = packed(sound(1), "s16le")
    heard, error = until_it_fails(open_pipe(Dribble(wav(data, "s16le", size=2 * len(data)), 500)))
    assert np.array_equal(heard, Layout(RATE).decode(data))
    assert error == "dribble: truncated: the header promises 2.0 s, 1.0 s came"


def test_a_file_that_breaks_off_gives_what_there_is_and_says_so(tmp_path):
    path = tmp_path / "x.flac"
    path.write_bytes(encoded(sound(4) * 0.1, "flac", "flac")[:-40000])
    heard, error = until_it_fails(FileSource(path))
    assert len(heard) > 2 * RATE
    assert "x.flac: truncated" in error


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (b"", {}, r"dribble: empty \(0 bytes\)"),
        (b"", {"sample_rate": RATE}, r"dribble: empty \(0 bytes\)"),
        (bytes(1000), {}, "of no known audio file; raw sound needs its sample rate"),
        (b"hello", {}, "of no known audio file"),
        (bytes(1000), {"format": "u8"}, "needs its sample rate too"),
        (bytes(1000), {"channels": 2}, "needs its sample rate too"),
        (wav(bytes(100), "s16le"), {"sample_rate": RATE}, "begins like a WAV .* leave out the rate"),
        (b"OggS" + bytes(1000), {"format": "u8"}, "leave out the rate"),
        (wav(bytes(100), "s16le", channels=0), {}, "channels must be from 1"),
        (wav(bytes(100), "s16le"), {"channel": 2}, "dribble: no channel 2"),
        (wav(b"", "s16le")[:20], {}, "dribble: not audio that can be decoded"),
    ],
)
def test_what_cannot_be_read_says_why(data, options, reason):
    with pytest.raises(AudioError, match=reason):
        all_of(open_pipe(Dribble(data), **options))


def test_a_pipe_that_fails_is_one_error():
    class Broken:
        name = "disk"

        def read(self, size):
            raise OSError(5, "Input/output error")

    with pytest.raises(AudioError, match="disk: reading failed: Input/output error"):
        Pipe(Broken()).read(10)


# Pace


class Clock:
    """Time that passes only when it is slept, or spent."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def test_the_pace_is_the_clocks_and_never_drifts():
    values = sound(60)
    clock = Clock()
    paced = Paced(RawSource(io.BytesIO(packed(values, "s16le")), RATE), clock=clock, sleep=clock.sleep)
    done = 0
    for i, (samples, at) in enumerate(paced):
        done += len(samples)
        assert at is None
        assert len(samples) <= 0.1 * RATE
        assert clock.now - 1000 >= done / RATE - 1e-9  # not before it was spoken
        late = clock.now - 1000 - done / RATE
        if i in (20, 300):
            clock.now += 3.3  # whoever takes them is busy
        elif late > 0:
            assert paced.waiting_s == pytest.approx(late)
    assert done == len(values)
    assert clock.now - 1000 == pytest.approx(60)


def test_the_pace_follows_a_jump():
    class Jumping(RawSource):
        def __iter__(self):
            yield np.zeros(RATE, np.float32), None
            yield np.zeros(RATE, np.float32), 5.0

    clock = Clock()
    paced = Paced(Jumping(io.BytesIO(b""), RATE), clock=clock, sleep=clock.sleep)
    times = [at for _, at in paced if at is not None]
    assert times == [5.0]
    assert clock.now - 1000 == pytest.approx(6.0)
