"""`diarize stream`, as a person or a program uses it, with the real networks on the sample conversation.

Where time, signals or pipes matter it runs as a process of its own.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from command import typed
from typer.testing import CliRunner

from diarize._pcm import companded
from diarize.audio import read_audio
from diarize.cli import app
from diarize.formats.rttm import read_rttm
from diarize.result import Turn, joined

RATE = 16000
posix = pytest.mark.skipif(os.name == "nt", reason="signals, pipes and terminals of POSIX")


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


def stream(*arguments: str, status: int = 0, data: bytes | None = None) -> tuple[str, str]:
    """Standard output and error of `diarize stream` that must leave with this status."""
    return typed(app, "stream", *arguments, status=status, given=data)


@contextmanager
def process(*arguments: str, **options):
    """`diarize stream` as a process with pipes; killed, if it is still there at the end."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
    running = subprocess.Popen([sys.executable, "-m", "diarize", "stream", *arguments], **pipes)
    try:
        with running:
            yield running
            assert running.wait(60) is not None
    finally:
        running.kill()


def line_of(running: subprocess.Popen, seconds: float = 60) -> bytes:
    """The next line, which must come in time."""
    assert select.select([running.stdout], [], [], seconds)[0], "nothing was printed in time"
    return running.stdout.readline()


def turns_of(said: str | bytes, final: bool = True) -> list[Turn]:
    """The turns of JSON lines, their pieces joined."""
    lines = [json.loads(line) for line in said.splitlines()]
    found = [Turn(line["start"], line["end"], line["speaker"]) for line in lines if line["final"] is final]
    return joined(found)


def rounded(turns) -> list[Turn]:
    return [Turn(round(turn.start, 3), round(turn.end, 3), turn.speaker) for turn in turns]


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


# How it ends


@posix
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_decides_what_was_heard(here, samples, number, status):
    with process("-", "--rate", "16000", "-o", "out.rttm") as running:
        running.stdin.write(samples[: 10 * RATE].tobytes())
        running.stdin.flush()
        first = line_of(running)
        time.sleep(0.5)
        running.send_signal(number)
        rest, notes = running.stdout.read(), running.stderr.read().decode()
    assert running.returncode == status
    found = turns_of(first + rest)
    assert found[-1].end == pytest.approx(10, abs=0.01)  # all of it, not only what was final
    written = read_rttm("out.rttm")["stdin"]
    assert max(segment.end for segment in written.itersegments()) == pytest.approx(10, abs=0.01)
    assert "s of speech in 10.0 s" in notes
    assert "Traceback" not in notes
    assert notes.endswith("interrupted\n") == (status == 130)


@posix
def test_ctrl_c_before_any_sound(here):
    with process("-", "--rate", "16000") as running:
        time.sleep(3)
        running.send_signal(signal.SIGINT)
        notes = running.stderr.read().decode()
    assert running.returncode == 130
    assert notes.splitlines()[-1] == "interrupted"
    assert "Traceback" not in notes


@posix
def test_a_reader_that_leaves_still_gets_the_file(here, expected):
    """`| head -1`: a file is read to its end for -o; half a result could be taken for a whole one."""
    with process("call.wav", "--hypothesis", "-o", "out.rttm") as running:
        line_of(running)
        running.stdout.close()
        notes = running.stderr.read().decode()
    assert Path("out.rttm").read_text() == expected[1].to_rttm()
    assert "Traceback" not in notes
    assert "error" not in notes.lower()


@posix
def test_a_reader_that_leaves_ends_live_sound(here, samples):
    with process("-", "--rate", "16000", "-o", "out.rttm") as running:
        running.stdin.write(samples[: 12 * RATE].tobytes())
        running.stdin.flush()
        line_of(running)
        running.stdout.close()
        running.stdin.write(samples[12 * RATE : 16 * RATE].tobytes())
        running.stdin.flush()  # it is not closed
        notes = running.stderr.read().decode()
    assert "SPEAKER stdin 1 6.684" in Path("out.rttm").read_text()
    assert "Traceback" not in notes
    assert "error" not in notes.lower()


def test_sound_that_breaks_off_is_decided_written_and_said(quick, samples):
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as out:
        track = out.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.rate = RATE
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    Path("cut.flac").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    said, notes = stream("cut.flac", "-o", "out.rttm", status=1)
    assert turns_of(said)[0].start == pytest.approx(6.684)
    assert "error: cut.flac: truncated" in notes
    assert Path("out.rttm").read_text().startswith("SPEAKER cut 1 6.684")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(here):
    with process("call.wav", "-o", "/dev/full") as running:
        said, notes = running.communicate(timeout=60)
    assert running.returncode == 1
    assert len(turns_of(said)) > 4
    assert notes.decode().splitlines()[-1] == "error: /dev/full: cannot be written: No space left on device"
    with open("/dev/full", "w") as full, process("call.wav", "-o", "out.rttm", stdout=full) as running:
        notes = running.stderr.read().decode()
    assert running.returncode == 1
    assert notes.splitlines()[-1] == "error: standard output: No space left on device"
    assert Path("out.rttm").exists()


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


# People


@posix
def test_a_terminal_has_whole_turns_and_a_line_that_lives(here, expected):
    import pty

    main, side = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "20"}
    with process("call.wav", stdout=side, stderr=side, env=environment) as running:
        os.close(side)
        shown = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:  # how Linux says that the other side is closed
                break
            if not data:
                break
            shown += data
    os.close(main)
    assert running.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "\n")
    lines = [line for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line in map(str, expected[0])]
    assert sorted(said) == list(map(str, expected[0]))  # each when its speaker stops
    assert any(re.fullmatch(r"0:00:\d\d  .*\(\d+\.\d s behind\)", line) for line in lines)
    assert "call.wav: " in lines[-1] or "the printed" in lines[-1]


@contextmanager
def room(folder: Path):
    """A PulseAudio server of one's own, whose microphone hears what is played on it; its environment."""
    address = folder / "pulse"
    modules = f"""
        load-module module-null-sink sink_name=room rate=48000
        load-module module-native-protocol-unix auth-anonymous=1 socket={address}
        set-default-source room.monitor
    """
    (folder / "room.pa").write_text("\n".join(map(str.strip, modules.strip().splitlines())) + "\n")
    environment = os.environ | {"PULSE_SERVER": f"unix:{address}", "PULSE_RUNTIME_PATH": str(folder)}
    environment |= {"HOME": str(folder), "XDG_CACHE_HOME": os.path.expanduser("~/.cache")}
    command = ["pulseaudio", "-n", "-F", str(folder / "room.pa"), "--daemonize=no", "--use-pid-file=no"]
    with subprocess.Popen(
        [*command, "--exit-idle-time=-1"], env=environment, stderr=subprocess.PIPE
    ) as server:
        try:
            until = time.monotonic() + 20
            while subprocess.run(["pactl", "info"], env=environment, capture_output=True).returncode:
                assert time.monotonic() < until, server.stderr.read1()
                time.sleep(0.1)
            yield environment
        finally:
            server.terminate()


def recorder() -> str:
    """Why there can be no microphone here, or nothing."""
    needed = [name for name in ("pulseaudio", "pactl", "paplay") if not shutil.which(name)]
    if needed:
        return f"a room needs {', '.join(needed)}: apt install pulseaudio libasound2-plugins"
    try:
        import sounddevice  # noqa: F401
    except ImportError:
        return "no sounddevice: pip install 'diarize-campplus[mic]'"
    except OSError:
        return "no PortAudio: apt install libportaudio2"
    return ""


@pytest.mark.skipif(bool(recorder()), reason=recorder() or "it is here")
def test_a_real_microphone(here, short):
    """A part of the sample is played into a room; what is printed is who spoke, and when."""
    with room(here) as environment, process("mic:pulse", "-o", "out.rttm", env=environment) as running:
        notes = running.stderr.readline().decode()
        assert notes.startswith("listening to microphone pulse, ")
        time.sleep(2.5)  # a null sink asleep takes up to two seconds to notice that somebody listens
        subprocess.run(["paplay", "short.wav"], env=environment, check=True)
        time.sleep(3)
        running.send_signal(signal.SIGINT)
        said, notes = running.stdout.read(), running.stderr.read().decode()
    assert running.returncode == 130
    assert "lost" not in notes
    found = turns_of(said)
    started = found[0].start - 0.684
    assert 0.5 < started < 4
    assert sum(turn.duration for turn in found) == pytest.approx(8.3, abs=0.5)
    assert found[-1].end - started == pytest.approx(9, abs=0.5)
    assert Path("out.rttm").read_text().startswith("SPEAKER microphone 1 ")
