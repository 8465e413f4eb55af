"""`diarize stream`, as a person or a program uses it, with the real networks on the sample conversation.

Where time, signals or pipes matter it runs as a process of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from stream_command import RATE, line_of, posix, process, rounded, stream, turns_of
from typer.testing import CliRunner

from diarize._pcm import companded
from diarize.cli import app
from diarize.formats.rttm import read_rttm

pytest_plugins = "stream_command_fixtures"


def speech(turns) -> np.ndarray:
    """Which hundredths of the 30 s are anybody's: (3000,) bool."""
    frames = np.zeros(3000, bool)
    for turn in turns:
        frames[round(turn.start * 100) : round(turn.end * 100)] = True
    return frames


# What is printed


def test_the_lines_are_the_final_turns_of_the_library(quick, expected):
    finals, result = expected
    said, notes = stream("call.wav")
    assert turns_of(said) == rounded(finals)
    assert set(json.loads(said.splitlines()[0])) == {"start", "end", "speaker", "final", "at"}
    assert f"{len(result.speakers)} speakers" in notes
    assert "s of speech in 30.0 s, latency 2 s, took" in notes
    text = stream("call.wav", "--to", "text")[0].splitlines()  # each when its speaker stops
    assert sorted(text) == [str(turn) for turn in finals]
    Path("x.rttm").write_text(stream("call.wav", "--to", "rttm")[0])
    rttm = read_rttm("x.rttm")["call"]
    assert sum(segment.duration for segment in rttm.itersegments()) == pytest.approx(
        sum(turn.duration for turn in finals), abs=0.01
    )


def test_quiet_says_nothing_else(quick):
    result = CliRunner().invoke(app, ["-q", "stream", "call.wav"])
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) > 4


def test_who_is_somebody_else_in_the_result_is_said(quick, real_diarizer, short):
    with real_diarizer.stream(latency_s=0.3) as live:
        live.push(short)
        live.finish()
        moved = [f"{name} is {other}" for name, other in live.final_names().items() if name != other]
    notes = stream("short.wav", "--latency", "0.3")[1]
    assert ("the printed " + ", ".join(moved) in notes) if moved else ("the printed" not in notes)


def test_without_a_latency_the_end_decides(quick, real_diarizer):
    said, notes = stream("call.wav", "--latency", "none")
    assert turns_of(said) == rounded(real_diarizer("call.wav").turns)
    assert "decided at the end" in notes
    assert stream("call.wav", "--latency", "inf")[0] == said


def test_pieces_come_within_the_latency(quick, short):
    for latency in (0.5, 2.0):
        said, _ = stream("short.wav", "--latency", str(latency), "--hypothesis")  # pushed by 0.5 s
        lines = [json.loads(line) for line in said.splitlines()]
        finals = [line for line in lines if line["final"]]
        assert len(finals) > 4
        for line in finals:
            assert line["at"] - line["start"] <= latency + 0.8 + line["end"] - line["start"]


def test_guesses_are_replaced_and_change_nothing(quick, short):
    said, _ = stream("short.wav", "--hypothesis")
    assert turns_of(said) == turns_of(stream("short.wav")[0])
    groups: dict[float, list] = {}
    decided = 0.0
    for line in map(json.loads, said.splitlines()):
        if line["final"]:
            decided = line["end"]
        else:
            groups.setdefault(line["at"], []).append(line)
            assert line["start"] >= decided - 1e-6 or line["speaker"] is None
    times = list(groups)
    assert len(times) > 10
    assert np.diff(times).min() >= 0.45
    guesses = [[(line["end"], line["speaker"]) for line in group] for group in groups.values()]
    assert all(a != b for a, b in itertools.pairwise(guesses))
    speaking = [group for group in groups.values() if group[0]["speaker"]]
    assert all(line["end"] <= at + 1e-6 for at, group in groups.items() for line in group)
    assert len(speaking) > 10


def test_the_result_of_the_whole_is_that_of_run(quick, expected):
    stream("call.wav", "-o", "live.rttm")
    assert CliRunner().invoke(app, ["run", "call.wav", "-o", "-"]).stdout == Path("live.rttm").read_text()


def test_the_counts_that_were_asked_for(quick):
    said, _ = stream("call.wav", "-n", "1", "-o", "one.rttm")
    assert {turn.speaker for turn in turns_of(said)} == {"SPEAKER_00"}
    assert len(read_rttm("one.rttm")["call"].labels()) == 1


def test_known_voices_are_called_by_their_name(quick):
    assert "Lee=no.wav: no such file" in stream("call.wav", "--enrol", "Ann=Lee=no.wav", status=1)[1]
    said, _ = stream("call.wav", "--enrol", "Ann=ann.wav", "--enrol", "Ann=ann.wav")
    found = turns_of(said)
    assert "Ann" in {turn.speaker for turn in found}
    assert any(turn.speaker == "Ann" and turn.start < 12.5 < turn.end for turn in found)


# What is heard


@pytest.mark.parametrize(
    ("format", "channels", "encode"),
    [
        ("s16be", 1, lambda x: x.astype(">i2")),
        ("s24le", 1, lambda x: (x.astype("<i4") << 16).view("u1").reshape(-1, 4)[:, 1:]),
        ("s32le", 1, lambda x: x.astype("<i4") << 16),
        ("f32le", 1, lambda x: (x / 32768).astype("<f4")),
        ("f64le", 1, lambda x: x / 32768),
        ("s16le", 2, lambda x: np.stack([x, x], 1)),
    ],
)
def test_raw_formats_are_one_sound(quick, samples, expected, format, channels, encode):
    data = np.ascontiguousarray(encode(samples)).tobytes()
    said, _ = stream("-", "--rate", "16000", "--format", format, "--channels", str(channels), data=data)
    assert turns_of(said) == rounded(expected[0])


def test_coarse_raw_formats_are_nearly_that_sound(quick, samples, expected):
    nearest = np.abs(companded("mulaw").astype(int)[:, None] - np.arange(-32768, 32768)).argmin(0)
    for format, data in (
        ("u8", ((samples.astype(int) + 128 >> 8) + 128).clip(0, 255).astype("u1")),
        ("mulaw", nearest[samples.astype(int) + 32768].astype("u1")),
    ):
        said, _ = stream("-", "--rate", "16000", "--format", format, data=data.tobytes())
        assert (speech(turns_of(said)) == speech(expected[0])).mean() > 0.95


def test_one_channel_of_two(quick, samples, expected):
    data = np.stack([np.zeros_like(samples), samples], 1).tobytes()
    said, _ = stream("-", "--rate", "16000", "--channels", "2", "--channel", "1", data=data)
    assert turns_of(said) == rounded(expected[0])


def test_a_raw_file_and_a_container_on_standard_input(quick, samples, expected):
    Path("call.raw").write_bytes(samples.tobytes())
    assert turns_of(stream("call.raw", "--rate", "16000")[0]) == rounded(expected[0])
    assert turns_of(stream("-", data=Path("call.wav").read_bytes())[0]) == rounded(expected[0])


@posix
@pytest.mark.parametrize("kind", ["raw", "wav"])
def test_the_first_line_comes_before_the_sound_ends(here, samples, expected, kind):
    """A pipe that is held open: nothing may wait for more than the latency asks."""
    head = Path("call.wav").read_bytes()[:44]
    unknown = head[:4] + b"\xff" * 4 + head[8:40] + b"\xff" * 4
    options = ["--rate", "16000"] if kind == "raw" else []
    with process("-", "-o", "out.rttm", *options) as running:
        heard = 10 * RATE
        running.stdin.write((b"" if kind == "raw" else unknown) + samples[:heard].tobytes())
        running.stdin.flush()
        first = json.loads(line_of(running))
        assert first["final"]
        assert first["start"] == round(expected[0][0].start, 3)
        assert first["at"] <= 10
        rest, notes = running.communicate(samples[heard:].tobytes(), timeout=60)
    assert running.returncode == 0
    assert turns_of(json.dumps(first).encode() + b"\n" + rest) == rounded(expected[0])
    assert Path("out.rttm").read_text().startswith("SPEAKER stdin 1 ")
    assert b"standard input: " in notes


@posix
def test_a_named_pipe_is_read_as_it_comes(here, samples):
    os.mkfifo("pipe")
    with process("pipe", "--rate", "16000") as running, open("pipe", "wb") as feed:
        feed.write(samples[: 10 * RATE].tobytes())
        feed.flush()
        assert json.loads(line_of(running))["final"]
        feed.close()
        running.communicate(timeout=60)


@posix
def test_real_time_takes_its_time(here, write_wav, samples):
    write_wav(here / "cut.wav", samples[int(6.5 * RATE) : int(12.5 * RATE)], RATE)
    began = datetime.now().astimezone()
    with process("cut.wav", "--real-time", "--clock", "--latency", "1", "--hypothesis") as running:
        arrived, lines = [], []
        while line := line_of(running):
            arrived.append(time.monotonic())
            lines.append(json.loads(line))
    audio = lines[-1]["at"] - lines[0]["at"]
    assert audio > 4
    assert arrived[-1] - arrived[0] == pytest.approx(audio, abs=3.0)  # others compute too
    assert len([line for line in lines if not line["final"]]) > 5
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    for line, moment in zip(lines, times, strict=True):
        assert (moment - times[0]).total_seconds() == pytest.approx(
            line["start"] - lines[0]["start"], abs=0.01
        )
    assert 0 < (times[0] - began).total_seconds() < 40


# What cannot be


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["nope.wav"], 1, "nope.wav: no such file"),
        (["."], 1, "is a directory"),
        (["https://radio/live.m3u8"], 1, "let ffmpeg do it: ffmpeg -v error -i https://radio/live.m3u8"),
        (["-"], 1, "empty"),
        (["-", "--rate", "16000"], 1, "empty (0 bytes)"),
        (["call.raw"], 1, "raw sound needs its sample rate"),
        (["call.wav", "--rate", "16000"], 1, "leave out the rate"),
        (["empty.wav"], 1, "no sound came from it"),
        (["call.wav", "--latency", "0.01"], 1, "latency_s must be at least"),
        (["call.wav", "--latency", "soon"], 1, "--latency must be seconds, or none"),
        (["call.wav", "--to", "text", "--hypothesis"], 1, "--hypothesis is for --to jsonl"),
        (["call.wav", "--to", "rttm", "--clock"], 1, "RTTM has no place"),
        (["call.wav", "--clock"], 1, "--clock is for sound that is live"),
        (["call.wav", "--to", "xml"], 2, "--to"),
        (["call.wav", "--enrol", "ann.wav"], 1, "--enrol must be NAME=FILE, got 'ann.wav'"),
        (["call.wav", "--enrol", "=ann.wav"], 1, "--enrol must be NAME=FILE"),
        (["call.wav", "--enrol", "Ann=nope.wav"], 1, "nope.wav: no such file"),
        (["call.wav", "-o", "call.wav"], 1, "add --overwrite"),
        (["call.wav", "-o", "."], 1, "is a folder; name a file"),
        (["call.wav", "-o", "no/where.rttm"], 1, "there is no folder no; make it first"),
        (["call.wav", "-o", "-"], 1, "name a file"),
        (["call.wav", "-n", "2", "--max-speakers", "3"], 1, "num_speakers says it all"),
        (["call.wav", "--channel", "1"], 1, "no channel 1"),
        (["mic", "--real-time"], 1, "a microphone is live"),
    ],
)
def test_wrong_options_say_what_is_right(quick, write_wav, arguments, status, reason):
    write_wav(quick / "empty.wav", np.zeros(0), RATE)
    (quick / "call.raw").write_bytes(bytes(100))
    said, notes = stream(*arguments, status=status, data=b"")
    assert reason in re.sub(r"[│\s]+", " ", notes)
    assert said == ""


def test_without_the_package_the_microphone_says_how(quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'diarize-campplus[mic]'" in stream("mic", status=1)[1]


def test_help_teaches_and_is_light():
    command = (
        "import sys; sys.argv = ['diarize', 'stream', '--help']\n"
        "from diarize.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    heavy = {'torch', 'numpy', 'av', 'sklearn', 'sounddevice'} & set(sys.modules)\n"
        "    print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert "ffmpeg" in done.stdout
    assert "diarize stream mic" in done.stdout
    assert "HEAVY []" in done.stdout
