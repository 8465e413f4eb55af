"""Audio in, on the real recordings: every format, and what is corrupt."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from sound_files import decoded, refused

from diarize.audio import SAMPLE_RATE, as_samples, open_audio, read_audio
from diarize.errors import AudioError


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
