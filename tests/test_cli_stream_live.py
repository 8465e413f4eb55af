"""`diarize stream`: how it ends, what a person sees on a terminal, and a real microphone."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from stream_command import RATE, line_of, posix, process, stream, turns_of

from diarize.formats.rttm import read_rttm

pytest_plugins = "stream_command_fixtures"


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
