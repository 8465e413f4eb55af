"""Fixtures of the tests of `diarize stream`, which name this module in `pytest_plugins`."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from stream_command import RATE

from diarize.audio import read_audio


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample_wav, write_wav, weights):
    """The sample as call.wav, and its first voice alone as ann.wav."""
    weights("campplus-zh-en")
    path = tmp_path_factory.mktemp("calls")
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)
    write_wav(path / "call.wav", samples, RATE)
    write_wav(path / "ann.wav", samples[int(10.9 * RATE) : int(13.8 * RATE)], RATE)
    return path


@pytest.fixture(scope="module")
def samples(folder):
    """The sample, (n,) int16."""
    return np.fromfile(folder / "call.wav", "<i2")[22:]


@pytest.fixture(scope="module")
def expected(real_diarizer, samples):
    """What the library makes of it at the default latency: final turns, result."""
    with real_diarizer.stream(latency_s=2.0, uri="call") as live:
        live.push(samples)
        live.finish()
        return live.finals, live.result()


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """A folder of one's own with the recordings in it."""
    for name in ("call.wav", "ann.wav"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(here, real_diarizer, monkeypatch):
    """The same, and the networks, loaded once for all tests."""
    monkeypatch.setattr("diarize.cli.stream.load_diarizer", lambda *_, **__: real_diarizer)
    return here


@pytest.fixture
def short(here, samples, write_wav):
    """Nine seconds of it, (n,) int16, as short.wav."""
    write_wav(here / "short.wav", samples[6 * RATE : 15 * RATE], RATE)
    return samples[6 * RATE : 15 * RATE]
