"""Arrays as audio: every type gives samples or one clear error."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from diarize.audio import as_samples, read_audio, stream_audio
from diarize.errors import AudioError


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
