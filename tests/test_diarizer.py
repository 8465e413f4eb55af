"""How a diarizer is called, rightly and wrongly."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fakes import RATE, FakeEmbedder, FakeVad, conversation

from diarize import (
    AudioError,
    Diarization,
    DiarizeError,
    Diarizer,
    FormatError,
    StreamFinished,
    Turn,
)


@pytest.fixture(scope="module")
def diarizer() -> Diarizer:
    return Diarizer(embedder=FakeEmbedder(), vad=FakeVad())


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return conversation(0)


def test_samples_of_any_type_and_shape_that_is_clear(diarizer, samples):
    whole = diarizer((samples * 32767).astype(np.int16), sample_rate=RATE)
    assert whole == diarizer(
        ((samples * 32767).astype(np.int16) / 32768).astype(np.float64), sample_rate=RATE
    )
    assert diarizer(samples.tolist(), sample_rate=RATE) == diarizer(samples, sample_rate=RATE)


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        (np.zeros(100), {}, "samples with sample_rate=; got ndarray without a rate"),
        (("a.wav", "a.rttm"), {}, "got tuple without a rate"),
        (np.zeros((2, 48000)), {"sample_rate": RATE}, r"got shape \(2, 48000\); average the channels first"),
        (np.array([0.0, np.nan]), {"sample_rate": RATE}, "audio must be finite, got nan"),
        (np.zeros(9), {"sample_rate": 7}, "7"),
        (np.zeros(9), {"sample_rate": RATE, "channel": 0}, "channel= is for files"),
        ("a.wav", {"sample_rate": RATE}, "a file knows its own rate"),
        ("nope.wav", {}, "nope.wav: no such file"),
        (io.BytesIO(b""), {}, "empty file"),
    ],
)
def test_what_cannot_be_used_is_said(diarizer, source, options, reason):
    with pytest.raises(AudioError, match=reason):
        diarizer(source, **options)


def test_a_file_object_will_do(diarizer, samples, tmp_path, write_wav):
    path = write_wav(tmp_path / "meeting.wav", (samples * 32767).astype(np.int16), RATE)
    with path.open("rb") as file:
        found = diarizer(file)
    assert found == diarizer(path) == diarizer(str(path))
    assert found.uri == diarizer(path).uri == "meeting"
    assert diarizer(io.BytesIO(path.read_bytes()), uri="mine").uri == "mine"


def test_a_stream_that_ended_says_so(diarizer, samples):
    with diarizer.stream() as stream:
        stream.push(samples)
        with pytest.raises(DiarizeError, match=r"call stream\.finish\(\) first"):
            stream.result()
        turns = stream.finish()
    assert turns == list(stream.result())
    for late in (lambda: stream.push(samples), stream.finish):
        with pytest.raises(StreamFinished, match="this stream is finished; make a new one"):
            late()
    with diarizer.stream() as stream:
        stream.push(samples)  # leaving decides nothing
    with pytest.raises(DiarizeError, match="no result before finish"):
        stream.result()


def test_what_a_diarization_holds(diarizer, samples, tmp_path):
    found = diarizer(samples, sample_rate=RATE, uri="my call")
    assert list(found) == list(found.turns)
    assert sum(found.speaking_time.values()) == pytest.approx(sum(turn.duration for turn in found))
    assert set(found.embeddings) == set(found.speakers) == set(found.annotation.labels())
    assert all(np.linalg.norm(row) == pytest.approx(1, abs=1e-6) for row in found.embeddings.values())
    assert found.annotation.get_timeline().duration() == pytest.approx(sum(t.duration for t in found))
    assert found.write(tmp_path / "call.rttm").read_text() == found.to_rttm()
    assert found.to_rttm().startswith("SPEAKER my_call 1 ")
    with pytest.raises(FormatError, match=r"must name a format: \.rttm, "):
        found.write(tmp_path / "call.docx")


def test_how_results_read():
    turns = (Turn(0.0, 1.5, "A"), Turn(3600.0004, 3661.25, "B"))
    assert str(Diarization(turns, 4000.0)) == "0:00:00.000 - 0:00:01.500  A\n1:00:00.000 - 1:01:01.250  B"
    assert str(Diarization((), 12.0)) == "no speech in 0:00:12.000"


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_too_little_to_embed_is_said(diarizer, seconds):
    with pytest.raises(AudioError, match=r"at least 0\.1 s of audio"):
        diarizer.embed(np.full(round(seconds * RATE), 0.1), sample_rate=RATE)


def test_silence_has_no_voice(diarizer):
    with pytest.raises(AudioError, match="digital silence"):
        diarizer.embed(np.zeros(RATE), sample_rate=RATE)
    with pytest.raises(AudioError, match="no speech was found"):
        diarizer.embed(np.full(RATE, 1e-4), sample_rate=RATE, vad=True)


def test_long_recordings_are_the_weighted_mean_of_equal_pieces(diarizer):
    rng = np.random.default_rng(0)
    samples = (0.05 * rng.standard_normal(130 * RATE)).astype(np.float32)
    pieces = np.array_split(samples, 3)
    rows = diarizer.embedder(pieces)
    mean = sum(row * len(piece) for row, piece in zip(rows, pieces, strict=True))
    assert diarizer.embed(samples, sample_rate=RATE) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
