"""One person a channel: what is whose, with crosstalk, unlike microphones and people who say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from fakes import RATE, ExactEmbedder, SharpVad, speech
from typer.testing import CliRunner

from diarize import AudioError, Diarizer
from diarize.channels import by_channel as split
from diarize.channels import gain, own
from diarize.cli import run as module
from diarize.formats.registry import read_recordings

TURNS = ((0, 1.0, 3.0), (1, 3.0, 5.0), (0, 5.5, 7.5), (1, 7.0, 9.0), (0, 10.0, 12.0))
"""Channel, start and end in seconds; two of them overlap."""

SECONDS = 13.0


def diarizer(**options) -> Diarizer:
    return Diarizer(embedder=ExactEmbedder(0.05), vad=SharpVad(), **options)


def call(
    turns=TURNS, bleed_db: float = -200.0, gains_db: tuple[float, ...] = (0, 0), seed: int = 0
) -> np.ndarray:
    """Samples (channels, n): noise where somebody speaks, and what is heard of it in the other channels."""
    rng = np.random.default_rng(seed)
    voices = np.zeros((len(gains_db), round(SECONDS * RATE)), np.float32)
    for channel, start, end in turns:
        piece = speech(0.3 * channel, end - start, rng)
        voices[channel, round(start * RATE) : round(start * RATE) + len(piece)] += piece
    heard = voices + 10 ** (bleed_db / 20) * (voices.sum(0) - voices)
    heard += 10 ** (-50 / 20) * 0.05 * rng.standard_normal(heard.shape)
    return (heard * 10 ** (np.array(gains_db)[:, None] / 20)).astype(np.float32)


def near(found, turns=TURNS, tolerance: float = 0.2) -> bool:
    """Whether the turns are these, to a few frames."""
    wanted = sorted((start, end, f"CHANNEL_{channel}") for channel, start, end in turns)
    got = sorted((turn.start, turn.end, turn.speaker) for turn in found)
    return len(got) == len(wanted) and all(
        a[2] == b[2] and abs(a[0] - b[0]) <= tolerance and abs(a[1] - b[1]) <= tolerance
        for a, b in zip(got, wanted, strict=True)
    )


@pytest.mark.parametrize("bleed_db", [-200, -20, -12])
@pytest.mark.parametrize("gains_db", [(0, 0), (0, 10), (-10, 0)])
def test_each_channel_has_the_turns_of_its_person(bleed_db, gains_db):
    if max(gains_db) - min(gains_db) > -bleed_db:
        pytest.skip("louder in the other channel than in its own")
    samples = call(bleed_db=bleed_db, gains_db=gains_db)
    assert near(split(diarizer(), list(samples), sample_rate=RATE))


def test_without_it_crosstalk_is_taken_for_speech(monkeypatch):
    """The test above has teeth."""
    monkeypatch.setattr("diarize.channels.own", lambda power: np.ones(power.shape, bool))
    assert not near(split(diarizer(), list(call(bleed_db=-12)), sample_rate=RATE))


def test_two_who_speak_at_once_both_have_a_turn():
    found = split(diarizer(), list(call(bleed_db=-20)), sample_rate=RATE)
    here = {turn.speaker for turn in found if turn.start < 7.25 < turn.end}
    assert here == {"CHANNEL_0", "CHANNEL_1"}


def test_who_never_speaks_has_no_turn():
    turns = tuple(turn for turn in TURNS if turn[0] == 0)
    found = split(diarizer(), list(call(turns, bleed_db=-12)), sample_rate=RATE)
    assert found.speakers == ("CHANNEL_0",)
    assert near(found, turns)


def test_nobody_speaks():
    found = split(diarizer(), [np.zeros(RATE, np.float32)] * 2, sample_rate=RATE)
    assert (len(found), found.duration) == (0, 1.0)


def test_three_channels():
    turns = ((0, 1.0, 3.0), (1, 4.0, 6.0), (2, 7.0, 9.0))
    assert near(split(diarizer(), list(call(turns, -15, (0, 0, 0))), sample_rate=RATE), turns)


def test_two_voices_in_a_channel_are_its_person():
    samples = call(((0, 1.0, 3.0), (1, 4.0, 6.0)))
    samples[0] += call(((1, 8.0, 10.0),))[1]
    found = split(diarizer(), list(samples), sample_rate=RATE)
    assert near(found, ((0, 1.0, 3.0), (1, 4.0, 6.0), (0, 8.0, 10.0)))


def test_the_gain_between_two_microphones():
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(30, 3, 500), rng.normal(-10, 3, 500)])
    assert gain(two) == pytest.approx(10, abs=1)
    assert gain(rng.normal(18, 3, 500)) == 0, "one person says nothing of it"
    assert gain(np.concatenate([rng.normal(30, 1, 500), rng.normal(-10, 1, 5)])) == 0
    assert gain(np.zeros(5)) == 0


def test_own_frames_of_nothing():
    assert own(np.zeros((2, 0))).shape == (2, 0)
    assert own(np.zeros((2, 5))).all()


def test_files_are_as_arrays_whatever_their_length(tmp_path, write_wav):
    samples = call(bleed_db=-20)[:, : 11 * RATE + 77]
    path = write_wav(tmp_path / "call.wav", (samples * 32767).T, RATE)
    exact = np.round(samples * 32767).astype("<i2") / np.float32(32768)
    calls = []
    found = split(diarizer(), path, progress=lambda done, total: calls.append((done, total)))
    assert found.turns == split(diarizer(), list(exact), sample_rate=RATE).turns
    assert found.uri == "call"
    assert found.duration == pytest.approx(11 + 77 / RATE)
    assert calls[-1][1] == pytest.approx(found.duration, abs=0.01)


def test_a_file_of_another_rate(tmp_path, write_wav):
    samples = call(bleed_db=-20)[:, ::2]
    assert near(split(diarizer(), write_wav(tmp_path / "a.wav", (samples * 32767).T, 8000)))


def test_known_people_have_their_names_one_to_one():
    rng = np.random.default_rng(9)
    alice = speech(0.0, 5.0, rng)
    named = diarizer()
    known = named.enrol({"Alice": _wav(alice)})
    found = split(named, list(call(bleed_db=-20)), sample_rate=RATE, enrolled=known)
    assert found.speakers == ("Alice", "CHANNEL_1")
    assert found.matches["Alice"].recognised
    assert not found.matches["CHANNEL_1"].recognised
    same = [call(((0, 1.0, 3.0),))[0], call(((0, 5.0, 8.0),))[0]]
    found = split(named, same, sample_rate=RATE, enrolled=known)
    assert sorted(found.speakers) in (["Alice", "CHANNEL_0"], ["Alice", "CHANNEL_1"])


def _wav(samples: np.ndarray):
    import io
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    file.seek(0)
    return file


def test_what_cannot_be_split(tmp_path, write_wav):
    mono = write_wav(tmp_path / "mono.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="one channel, which cannot be split"):
        split(diarizer(), mono)
    with pytest.raises(AudioError, match="equally long"):
        split(diarizer(), [np.zeros(5), np.zeros(6)], sample_rate=RATE)
    with pytest.raises(AudioError, match="sample_rate"):
        split(diarizer(), [np.zeros(5), np.zeros(5)])
    path = write_wav(tmp_path / "two.wav", np.zeros((RATE, 2)), RATE)
    with open(path, "rb") as file, pytest.raises(AudioError, match="must be a path"):
        split(diarizer(), file)


def test_the_command(tmp_path, write_wav, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "call.wav", (call(bleed_db=-12) * 32767).T, RATE)
    monkeypatch.setattr(module, "load_diarizer", lambda *_, **__: diarizer())
    app = typer.Typer()
    app.command("run")(module.run)
    app.callback()(lambda: None)
    done = CliRunner().invoke(app, ["run", "call.wav", "--channels", "split", "-o", "."])
    assert done.exit_code == 0, done.output
    assert near(read_recordings("call.rttm")[0].turns)
    for wrong in (["-n", "2"], ["--channel", "1"], ["--keep"], ["--shared-names"]):
        done = CliRunner().invoke(app, ["run", "call.wav", "--channels", "split", *wrong])
        assert "one person" in str(done.exception)
    assert "mix or split" in str(CliRunner().invoke(app, ["run", "call.wav", "--channels", "x"]).exception)
