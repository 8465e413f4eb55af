"""The microphone, also when blocks are lost, with a PortAudio that a test plays."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from diarize import AudioError, DiarizeError
from diarize.microphone import Microphone


class FakeStream:
    def __init__(self, **options):
        self.options, self.active = options, False

    def start(self):
        self.active = True

    def close(self):
        self.active = False


@pytest.fixture
def portaudio(monkeypatch):
    class PortAudioError(Exception):
        pass

    def query_devices(device=None, kind=None):
        found = {"name": "Mic", "index": 3, "max_input_channels": 2, "default_samplerate": 8000.0}
        if kind is None:
            return [found]
        if device not in (None, 3, "Mic"):
            raise ValueError(f"No input device matching {device!r}")
        return found

    fake = types.SimpleNamespace(
        PortAudioError=PortAudioError, query_devices=query_devices, InputStream=FakeStream
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def hear(microphone, start: int, count: int = 400, *, channels: int = 1, overflow: bool = False, adc=None):
    """What PortAudio's thread does: a block whose samples tell their place."""
    block = (np.arange(start, start + count, dtype=np.float32) / 2**20)[:, None].repeat(channels, 1)
    times = types.SimpleNamespace(
        inputBufferAdcTime=100 + start / 8000 if adc is None else adc, currentTime=7.0
    )
    microphone._heard(block, count, times, types.SimpleNamespace(input_overflow=overflow))


def take(pieces, count):
    return [
        (round(float(samples[0]) * 2**20), len(samples), at)
        for samples, at in (next(pieces) for _ in range(count))
    ]


def test_blocks_follow_one_another(portaudio):
    with Microphone() as microphone:
        assert (microphone.sample_rate, microphone.name) == (8000, "microphone Mic")
        assert microphone._stream.options["blocksize"] == 400
        pieces = iter(microphone)
        hear(microphone, 0)
        hear(microphone, 400)
        assert take(pieces, 2) == [(0, 400, None), (400, 400, None)]
        assert microphone.lost_s == 0
        assert microphone.begun is not None


def test_lost_blocks_are_a_jump_counted_and_said(portaudio, caplog):
    with Microphone(queue_s=0.1) as microphone:
        pieces = iter(microphone)
        for start in range(0, 2000, 400):  # two fit, three are lost
            hear(microphone, start)
        assert take(pieces, 2) == [(0, 400, None), (400, 400, None)]
        hear(microphone, 2000)
        assert take(pieces, 1) == [(2000, 400, 0.25)]
        assert microphone.lost_s == pytest.approx(0.15)
        hear(microphone, 3200, overflow=True)  # 800 were lost inside PortAudio, by the converter's clock
        hear(microphone, 3600)
        assert take(pieces, 2) == [(3200, 400, 0.4), (3600, 400, None)]
        assert microphone.lost_s == pytest.approx(0.25)
    assert "microphone Mic: 0.15 s of sound lost by 0.2 s, silence in its place" in caplog.text


def test_a_slow_machine_is_not_told_at_every_block(portaudio, caplog):
    with Microphone(queue_s=0.05) as microphone:
        pieces = iter(microphone)
        for i in range(100):
            hear(microphone, 800 * i)
            hear(microphone, 800 * i + 400)
            take(pieces, 1)
        assert microphone.lost_s == pytest.approx(99 * 0.05)
    assert 4 <= len(caplog.records) <= 8


def test_a_channel_of_the_microphone(portaudio):
    with Microphone(3, channel=1) as microphone:
        assert microphone._stream.options["channels"] == 2
        pieces = iter(microphone)
        hear(microphone, 0, channels=2)
        assert take(pieces, 1) == [(0, 400, None)]


def test_a_microphone_that_is_unplugged(portaudio):
    with Microphone() as microphone:
        pieces = iter(microphone)
        hear(microphone, 0)
        next(pieces)
        microphone._stream.active = False
        with pytest.raises(AudioError, match="stopped; was it unplugged"):
            next(pieces)


def test_a_microphone_that_is_not_there(portaudio, monkeypatch):
    with pytest.raises(AudioError, match=r"microphone 'x': No input device .*devices that record: 3 'Mic'"):
        Microphone("x")

    def refuse(**options):
        raise portaudio.PortAudioError("Invalid sample rate")

    monkeypatch.setattr(portaudio, "InputStream", refuse)
    with pytest.raises(AudioError, match="the default microphone: Invalid sample rate"):
        Microphone()


def test_without_the_package_or_its_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DiarizeError, match=r"pip install 'diarize-campplus\[mic\]'"):
        Microphone()
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DiarizeError, match="apt install libportaudio2"):
        Microphone()
