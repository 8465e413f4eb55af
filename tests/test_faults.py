"""What goes wrong around the program: no room, no right, killed, stalled, bombs, odd names, many at once.

`benchmarks/faults` does the same with the real networks; `docs/robustness.md` says what came of it.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import ExactEmbedder, FakeVad, conversation
from sound_files import encode
from test_cli_convert import run as convert

from diarize import AudioError, Config, DiarizeError, Diarizer
from diarize.audio import open_audio, read_audio
from diarize.engine import conversion
from diarize.sources import open_pipe

EXACT = Config.from_dict({"windows": {"embedding": "exact"}})


@pytest.fixture(scope="module")
def diarizer() -> Diarizer:
    return Diarizer(EXACT, embedder=ExactEmbedder(), vad=FakeVad())


# Bombs: a few bytes that say they are days


def test_gaps_that_add_up_to_days_are_bounded(tmp_path, monkeypatch):
    """Each gap can be believed, all together cannot."""
    path = tmp_path / "a.mkv"
    starts = {1024 * k: 59 * 60 * 8000 for k in range(1, 10)}
    encode(str(path), np.zeros(10_240, np.int16), 8000, "matroska", "pcm_s16le", starts=starts)
    assert path.stat().st_size < 30_000
    with open_audio(path) as file:
        assert sum(map(len, file)) == pytest.approx(9 * 59 * 60 * 8000, rel=0.01)
    monkeypatch.setattr("diarize.decoding.LONGEST_S", 2 * 3600.0)
    with open_audio(path) as file, pytest.raises(AudioError, match=r"a\.mkv: holds more than 2 h of sound"):
        for _ in file:
            pass


def test_sound_that_unpacks_to_more_than_memory_is_bounded(tmp_path, monkeypatch):
    """Ten minutes of silence are 0.1 MB of FLAC, and 38 MB in memory."""
    path = tmp_path / "a.flac"
    encode(str(path), np.zeros(600 * 8000, np.int16), 8000, "flac", "flac")
    assert path.stat().st_size < 200_000
    monkeypatch.setattr("diarize.audio.AT_ONCE_S", 300)
    with pytest.raises(AudioError, match=r"a\.flac: holds more than the .* h that are read at once"):
        read_audio(path)
    assert (
        len(read_audio(np.zeros(600 * 8000, np.int8), sample_rate=8000)) == 600 * 16_000
    )  # it is here already


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n{}\n", "ffconcat version 1.0\nfile {}\n", "[playlist]\nFile1={}\n"]
)
def test_an_uploaded_playlist_opens_nothing(tmp_path, write_wav, text):
    """It fails by what it is, though what it names is here and could be read."""
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")
    from server_running import serving, until

    other = write_wav(tmp_path / "other.wav", np.zeros(48_000, np.int16), 16_000)
    with serving(tmp_path / "server") as running, httpx.Client(base_url=running.http, timeout=20) as client:
        content = text.format(other).encode()
        url = client.post("/v1/recordings", params={"name": "list.wav"}, content=content).json()["url"]
        until(lambda: client.get(url).json()["state"] in ("done", "failed"))
        state = client.get(url).json()
    assert state["state"] == "failed"
    assert "list.wav: " in state["error"]["message"]
    assert "playlist" in state["error"]["message"] or "not a recording" in state["error"]["message"]


# Names


@pytest.mark.parametrize(
    "name",
    [
        "two words",
        "new\nline",
        "-",
        "-o",
        "--overwrite",
        "..",
        "会议 1",
        "اجتماع",
        "a\tb",
        "a;b",
        "#a",
        "%s{}",
        "'\"`$(x)",
    ],
)
def test_any_name_of_a_file_goes_in_and_out(tmp_path, monkeypatch, name):
    """Named from the folder that it is in, as a shell would; what comes out is a file in the folder named."""
    if sys.platform == "win32":
        pytest.skip("names that Windows does not allow")
    source = tmp_path / f"{name}.rttm"
    source.write_text(
        "SPEAKER x 1 0.000 1.500 <NA> <NA> A <NA> <NA>\nSPEAKER x 1 1.000 1.500 <NA> <NA> B <NA> <NA>\n"
    )
    monkeypatch.chdir(tmp_path)
    convert("-o", "out", "--to", "textgrid", "--", source.name)
    assert [path.parent for path in tmp_path.rglob("*.TextGrid")] == [tmp_path / "out"]


# Disks


def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path):
    (tmp_path / ".window-1.bin").write_bytes(b"of a process that was killed")
    (tmp_path / ".dense-1.bin").write_bytes(b"of another program, which may be at work")

    def full(work: Path) -> None:
        work.with_suffix(".xml").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        conversion.keep(tmp_path, "window", full, "xml", "bin")
    assert os.listdir(tmp_path) == [".dense-1.bin"]


def test_a_disk_that_is_full_while_a_network_is_kept_costs_time_only(tmp_path, monkeypatch, caplog):
    openvino = pytest.importorskip("openvino")

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setenv("DIARIZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(conversion, "key", lambda *_: "key")
    monkeypatch.setattr(conversion, "convert", lambda *_: "a graph")
    monkeypatch.setattr(openvino, "save_model", full)
    with caplog.at_level(logging.WARNING):
        assert conversion.converted(tmp_path / "a.bin", "window") == "a graph"
    assert "the disk is full?" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on file sizes there")
def test_a_result_that_does_not_fit_is_an_error_and_no_half_file(tmp_path):
    source = tmp_path / "a.rttm"
    source.write_text("".join(f"SPEAKER a 1 {k}.0 0.5 <NA> <NA> A <NA> <NA>\n" for k in range(1000)))
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from diarize.cli import main; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"sys.argv = ['diarize', 'convert', {str(source)!r}, '-o', {str(tmp_path / 'b.csv')!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["a.rttm"]


# Many times, many at once


def held() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_nothing_stays_open(diarizer, tmp_path, write_wav):
    good = write_wav(tmp_path / "good.wav", (conversation(1, turns=2) * 30_000).astype(np.int16), 16_000)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(good.read_bytes()[:5000])

    def once() -> None:
        with open_audio(good) as file:
            next(iter(file))
        with pytest.raises(AudioError):
            read_audio(bad)
        with pytest.raises(AudioError):
            open_audio(tmp_path)
        diarizer.stream(latency_s=1.0).push(np.zeros(1600, np.float32))

    once()
    gc.collect()
    before = held()
    for _ in range(100):
        once()
    gc.collect()
    assert held() == before


def test_two_hundred_threads_on_one_diarizer(diarizer):
    recordings = [conversation(seed, turns=3) for seed in range(4)]
    alone = [diarizer(samples, sample_rate=16_000) for samples in recordings]
    found: dict[int, bool] = {}

    def ask(number: int) -> None:
        samples, expected = recordings[number % 4], alone[number % 4]
        with diarizer.stream(latency_s=1.0 if number % 2 else None) as stream:
            for piece in np.array_split(samples, number % 5 + 1):
                stream.push(piece)
            stream.finish()
            result = stream.result()
        same = [np.array_equal(row, expected.embeddings[name]) for name, row in result.embeddings.items()]
        found[number] = result == expected and all(same)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number in range(200) if not found.get(number)] == []


# Time


def test_a_source_that_stalls_is_decided_up_to_the_latency(diarizer):
    """What was heard before the stall is final before it ends; what follows is heard as if nothing was."""
    samples = (conversation(5, turns=6) * 30_000).astype("<i2")
    reading, writing = os.pipe()
    go = threading.Event()

    def write() -> None:
        with os.fdopen(writing, "wb") as out:
            out.write(samples[: len(samples) // 2].tobytes())
            out.flush()
            assert go.wait(30)
            out.write(samples[len(samples) // 2 :].tobytes())

    writer = threading.Thread(target=write)
    writer.start()
    heard, stream = 0, diarizer.stream(latency_s=1.0)
    with os.fdopen(reading, "rb", buffering=0) as file, open_pipe(file, sample_rate=16_000) as source:
        for piece, _ in source:
            stream.push(piece)
            heard += len(piece)
            if heard == len(samples) // 2:
                assert stream.decided >= heard / 16_000 - 1.0
                go.set()
    writer.join()
    stream.finish()
    assert stream.result() == diarizer(samples, sample_rate=16_000)


def test_a_clock_that_jumps_changes_nothing(diarizer, monkeypatch):
    """Nothing but the time of day, where it is asked for, is taken from it."""
    samples = (conversation(6, turns=4) * 30_000).astype("<i2")
    expected = diarizer(samples, sample_rate=16_000)
    jumps = np.random.default_rng(0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + float(jumps.choice([-1e9, -3600.0, 3600.0, 1e9])))
    stream = diarizer.stream(latency_s=1.0)
    with open_pipe(io.BytesIO(samples.tobytes()), sample_rate=16_000) as source:
        for piece, at in source:
            stream.push(piece, at=at)
    stream.finish()
    assert stream.result() == expected


def test_nothing_is_told_to_anybody(tmp_path):
    """With everything at hand no name is looked up and nothing connected to; OpenVINO would."""
    pytest.importorskip("openvino")
    program = (
        "import socket, sys, time\n"
        "def told(*where, **_): print('told', where[:2], flush=True); raise OSError('no network here')\n"
        "socket.getaddrinfo = socket.socket.connect = told\n"
        "from diarize.engine import machine; machine.has_bf16()\n"
        "from openvino.tools.ovc import convert_impl; convert_impl.tm.Telemetry().send_event('a', 'b', 'c')\n"
        "time.sleep(1)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"HOME": str(tmp_path), "DIARIZE_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert os.listdir(tmp_path) == []  # no number for this user, either


def test_errors_of_ours_cross_processes():
    """What a worker refuses is the same error in the process that asked."""
    import pickle

    from diarize import errors

    for kind in (
        errors.AudioError,
        errors.ConfigError,
        errors.FormatError,
        errors.ModelError,
        errors.StreamFinished,
    ):
        again = pickle.loads(pickle.dumps(kind("a.wav: why")))
        assert (type(again), isinstance(again, DiarizeError), "a.wav: why" in str(again)) == (
            kind,
            True,
            True,
        )
