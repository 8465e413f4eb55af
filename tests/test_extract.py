"""What each speaker said, and how long: `extract`, `talk_time`, and the verb."""

from __future__ import annotations

import os
import random
import sys
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
import typer
from command import typed

from diarize.cli.extract import extract as verb
from diarize.errors import AudioError, ConfigError, FormatError
from diarize.extract import extract, file_part, talk_time
from diarize.formats.registry import format_turns
from diarize.result import Turn

app = typer.Typer(rich_markup_mode="markdown")
app.callback()(lambda: None)
app.command("extract")(verb)


def run(*arguments: object, status: int = 0, stdin: str | None = None) -> tuple[str, str]:
    """Standard output and error of `extract` with these arguments, which must leave with this status."""
    return typed(app, "extract", *arguments, status=status, given=stdin)


def samples_of(path: Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.fixture
def meeting(tmp_path, write_wav):
    """Ten seconds of noise at 22.05 kHz, extremes included, and its samples."""
    samples = np.random.default_rng(0).integers(-32768, 32768, 220_500).astype(np.int16)
    samples[:4] = (-32768, 32767, 0, -1)
    return write_wav(tmp_path / "meeting.wav", samples, 22_050), samples


TURNS = [
    Turn(0, 2.5, "Anna"),
    Turn(2.5, 4, "Anna"),
    Turn(3.1234, 5, "Bo"),
    Turn(4.5, 9.99, "Anna"),
    Turn(9.5, 10, "Bo"),
]


def cut(samples: np.ndarray, *spans: tuple[float, float], rate: int = 22_050) -> np.ndarray:
    return np.concatenate([samples[round(a * rate) : round(b * rate)] for a, b in spans])


def test_each_voice_bit_for_bit(meeting, tmp_path):
    path, samples = meeting
    done = extract(path, TURNS, tmp_path / "new" / "out", name="meeting")
    assert [p.name for p in done] == ["meeting_Anna.wav", "meeting_Bo.wav"]
    rate, anna = samples_of(done[0])
    assert rate == 22_050
    assert np.array_equal(anna, cut(samples, (0, 4), (4.5, 9.99)))
    assert np.array_equal(samples_of(done[1])[1], cut(samples, (3.1234, 5), (9.5, 10)))
    assert sorted(os.listdir(tmp_path / "new" / "out")) == ["meeting_Anna.wav", "meeting_Bo.wav"]


def test_a_piece_a_turn(meeting, tmp_path):
    path, samples = meeting
    done = extract(path, reversed(TURNS), tmp_path / "out", name="meeting", pieces=True)
    assert [p.name for p in done] == [
        "meeting_0001_Anna.wav", "meeting_0002_Anna.wav", "meeting_0003_Bo.wav", "meeting_0004_Anna.wav",
        "meeting_0005_Bo.wav",
    ]  # fmt: skip
    for turn, piece in zip(TURNS, done, strict=True):
        assert np.array_equal(samples_of(piece)[1], cut(samples, (turn.start, turn.end)))


def test_files_that_keep_the_times(meeting, tmp_path):
    path, samples = meeting
    done = extract(path, TURNS[1:4], tmp_path / "out", keep_times=True)
    for file, spans in zip(done, ([(2.5, 4), (4.5, 9.99)], [(3.1234, 5)]), strict=True):
        expected = np.zeros_like(samples)
        for a, b in spans:
            expected[round(a * 22_050) : round(b * 22_050)] = cut(samples, (a, b))
        assert np.array_equal(samples_of(file)[1], expected)
    with pytest.raises(ConfigError, match="pieces begin with their turns"):
        extract(path, TURNS, tmp_path / "o", pieces=True, keep_times=True)


@pytest.mark.parametrize("seed", range(20))
def test_random_turns_overlapping_and_tiny(meeting, tmp_path, seed):
    path, samples = meeting
    rng = random.Random(seed)
    turns = []
    for _ in range(rng.randrange(1, 30)):
        start = rng.uniform(0, 10)
        end = start + rng.choice([0, 1e-5, 0.01, 0.25, 2, 20])
        turns.append(Turn(start, end, rng.choice("abc")))
    done = {p.name: samples_of(p)[1] for p in extract(path, turns, tmp_path / "out", name="x")}
    for name in "abc":
        mask = np.zeros(len(samples), bool)
        for turn in turns:
            if turn.speaker == name:
                mask[round(turn.start * 22_050) : round(turn.end * 22_050)] = True
        assert np.array_equal(done.get(f"x_{name}.wav", np.zeros(0)), samples[mask])
        assert (f"x_{name}.wav" in done) == mask.any()


def test_channels(tmp_path, write_wav):
    samples = np.random.default_rng(1).integers(-3000, 3000, (8000, 2)).astype(np.int16)
    path = write_wav(tmp_path / "two.wav", samples, 8000)
    done = extract(path, [Turn(0.25, 0.5, "a")], tmp_path / "out", channel=1)
    assert np.array_equal(samples_of(done[0])[1], samples[2000:4000, 1])
    done = extract(path, [Turn(0.25, 0.5, "a")], tmp_path / "out", overwrite=True)
    assert np.abs(samples_of(done[0])[1] - samples[2000:4000].mean(axis=1)).max() <= 0.5


def test_memory_does_not_grow_with_the_recording(tmp_path, write_wav):
    path = write_wav(tmp_path / "long.wav", np.ones(8000 * 900, np.int16), 8000)  # 14 MB
    turns = [Turn(i, i + 1.5, f"s{i % 3}") for i in range(0, 900, 1)]
    extract(path, turns[:3], tmp_path / "warm")
    tracemalloc.start()
    try:
        done = extract(path, turns, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(p.stat().st_size for p in done) > 14_000_000
    assert peak < 2_000_000


def test_what_exists_is_only_replaced_when_asked(meeting, tmp_path):
    (tmp_path / "recording_Bo.wav").write_text("mine")
    with pytest.raises(ConfigError, match=r"recording_Bo\.wav exists already; add --overwrite"):
        extract(meeting[0], TURNS, tmp_path)
    assert not (tmp_path / "recording_Anna.wav").exists()
    assert (tmp_path / "recording_Bo.wav").read_text() == "mine"
    extract(meeting[0], TURNS, tmp_path, overwrite=True)
    assert (tmp_path / "recording_Bo.wav").read_bytes()[:4] == b"RIFF"


def test_nothing_is_left_of_a_recording_that_breaks(meeting, tmp_path):
    path, _ = meeting
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recording_Bo.wav").write_text("mine")
    calls = []

    def stop(done_s: float, total_s: float | None) -> None:
        calls.append((done_s, total_s))
        if done_s > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(path, TURNS, tmp_path / "out", overwrite=True, progress=stop)
    assert os.listdir(tmp_path / "out") == ["recording_Bo.wav"]
    assert (tmp_path / "out" / "recording_Bo.wav").read_text() == "mine"
    assert calls[-1][1] == pytest.approx(10)
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(AudioError, match="truncated"):
        extract(path, TURNS, tmp_path / "out", overwrite=True)
    assert os.listdir(tmp_path / "out") == ["recording_Bo.wav"]


def test_turns_of_another_recording_are_noticed(meeting, tmp_path, caplog):
    turns = [Turn(1, 2, "a"), Turn(9, 12, "b"), Turn(11, 12, "c")]
    done = extract(meeting[0], turns, tmp_path, name="m")
    assert [p.name for p in done] == ["m_a.wav", "m_b.wav"]
    assert len(samples_of(done[1])[1]) == 22_050
    assert "m: the turns go on until 12.0 s, the sound ends at 10.0 s" in caplog.text
    caplog.clear()
    extract(meeting[0], [Turn(9, 10.05, "a")], tmp_path, name="n")
    assert not caplog.text


def test_impossible_turns_and_too_much_sound(meeting, tmp_path):
    with pytest.raises(FormatError, match="turn 1 of recording: times must be finite"):
        extract(meeting[0], [Turn(2, 1, "a")], tmp_path / "out")
    with pytest.raises(AudioError, match="are more than a WAV file holds; write one file a turn"):
        extract(meeting[0], [Turn(0, 1e6, "a")], tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Anna Lee", "Anna Lee"), ("../a", "_._a"), ("a/b\\c:d", "a_b_c_d"), ("", "_"), ("..", "_"),
        (".a", "_a"), ("李", "李"), ("a\nb\x00", "a_b_"), (" a. ", "a"), ("x" * 300, "x" * 100),
        ("李" * 50, "李" * 33),
    ],
)  # fmt: skip
def test_names_are_parts_of_file_names(name, expected):
    assert file_part(name) == expected


def test_speakers_whose_files_would_collide_are_told_apart(meeting, tmp_path):
    turns = [Turn(i, i + 1, name) for i, name in enumerate(["a/b", "a:b", "A_B", "a_b", ""])]
    done = extract(meeting[0], turns, tmp_path, name="m")
    assert len({p.name.casefold() for p in done}) == len(done) == 5
    assert "m_a_b.wav" in {p.name.lower() for p in done}


# Talk time


def test_talk_time_of_a_conversation():
    anna, bo = talk_time(TURNS)
    assert (anna.speaker, anna.turns, bo.speaker, bo.turns) == ("Anna", 3, "Bo", 2)
    assert anna.seconds == pytest.approx(9.49)
    assert bo.seconds == pytest.approx(2.3766)
    assert anna.longest == pytest.approx(5.49)
    assert anna.overlapped == bo.overlapped == pytest.approx(0.8766 + 0.5 + 0.49)
    assert anna.share + bo.share == pytest.approx(1)
    assert anna.share == pytest.approx(9.49 / 11.8666)


@pytest.mark.parametrize("seed", range(20))
def test_talk_time_counted_in_milliseconds(seed):
    rng = random.Random(seed)
    turns, masks = [], {name: np.zeros(6000, int) for name in "abc"}
    for _ in range(rng.randrange(30)):
        start = rng.randrange(5000)
        end, name = start + rng.choice([0, 1, 10, 500, 1000]), rng.choice("abc")
        turns.append(Turn(start / 1000, end / 1000, name))
        masks[name][start:end] = 1
    together = sum(masks.values())
    found = {one.speaker: one for one in talk_time(turns)}
    assert set(found) == {turn.speaker for turn in turns}
    for name, one in found.items():
        assert one.seconds == pytest.approx(masks[name].sum() / 1000)
        assert one.overlapped == pytest.approx((masks[name] * (together > 1)).sum() / 1000)
        assert one.turns == sum(turn.speaker == name for turn in turns)
    assert sum(one.share for one in found.values()) == pytest.approx(1 if together.any() else 0)
    assert [one.seconds for one in talk_time(turns)] == sorted(
        (o.seconds for o in found.values()), reverse=True
    )


def test_talk_time_of_nobody():
    assert talk_time([]) == []
    assert [(one.share, one.seconds) for one in talk_time([Turn(1, 1, "a")])] == [(0, 0)]


# The verb


@pytest.fixture
def here(meeting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rttm", "json", "csv"):
        (tmp_path / f"meeting.{name}").write_text(format_turns(TURNS, "meeting", name))
    (tmp_path / "both.rttm").write_text(
        format_turns(TURNS, "other", "rttm") + format_turns(TURNS[:1], "meeting", "rttm")
    )
    return tmp_path


@pytest.mark.parametrize("name", ["rttm", "json", "csv"])
def test_files_and_the_table(here, name):
    said, notes = run("meeting.wav", f"meeting.{name}", "-o", "out")
    assert sorted(os.listdir("out")) == ["meeting_Anna.wav", "meeting_Bo.wav"]
    lines = [line.split() for line in said.splitlines() if line]
    assert lines[0] == ["talk", "time,", "meeting"]
    assert lines[1] == ["speaker", "seconds", "share", "turns", "longest", "overlapped"]
    assert lines[2] == ["Anna", "9.5", "80.0", "%", "3", "5.5", "1.9"]
    assert lines[3] == ["Bo", "2.4", "20.0", "%", "2", "1.9", "1.9"]
    assert "wrote 2 files to out" in notes
    assert "add --overwrite" in run("meeting.wav", f"meeting.{name}", "-o", "out", status=1)[1]
    run("meeting.wav", f"meeting.{name}", "-o", "out", "--overwrite", "--keep-times")
    assert len(samples_of(here / "out" / "meeting_Bo.wav")[1]) == 220_500


def test_which_recording(here):
    run("meeting.wav", "both.rttm", "-o", "out")
    assert os.listdir("out") == ["meeting_Anna.wav"]
    said, _ = run("meeting.wav", "both.rttm", "-o", "more", "--uri", "other", "--pieces")
    assert len(os.listdir("more")) == 5
    assert said.startswith("talk time, other")
    problem = run("meeting.wav", "both.rttm", "-o", "x", "--uri", "nope", status=1)[1]
    assert "both.rttm: no recording nope; it holds other, meeting; say which: --uri NAME" in problem
    assert not (here / "x").exists()


def test_a_pipe_and_nobody(here):
    said, _ = run(
        "meeting.wav", "-", "--from", "rttm", "-o", "out", stdin=(here / "meeting.rttm").read_text()
    )
    assert "Anna" in said
    (here / "empty.rttm").write_text("")
    assert run("meeting.wav", "empty.rttm", "-o", "none")[0] == "empty.rttm: nobody speaks in it\n"


def test_what_cannot_be_done_is_one_line(here):
    assert "nope.wav: no such file" in run("nope.wav", "meeting.rttm", "-o", "out", status=1)[1]
    assert "nope.rttm: no such file" in run("meeting.wav", "nope.rttm", "-o", "out", status=1)[1]
    assert "cannot be written" in run("meeting.wav", "meeting.rttm", "-o", "meeting.rttm", status=1)[1]
    assert "no channel 5" in run("meeting.wav", "meeting.rttm", "-o", "out", "--channel", 5, status=1)[1]
    assert "pieces begin" in run(
        "meeting.wav", "meeting.rttm", "-o", "out", "--pieces", "--keep-times", status=1
    )[1]  # fmt: skip


def test_help_has_examples():
    said, _ = run("--help")
    for words in ("Usage", "--pieces", "--keep-times", "voices"):
        assert words in said


@pytest.mark.skipif(sys.platform == "win32", reason="files of its own user")
def test_files_have_ordinary_permissions(meeting, tmp_path):
    umask = os.umask(0o022)
    try:
        done = extract(meeting[0], TURNS, tmp_path / "out")
    finally:
        os.umask(umask)
    assert done[0].stat().st_mode & 0o777 == 0o644
