"""The command, as a person types it, on real audio with the real networks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command import typed

from diarize import __version__
from diarize.cli import app


@pytest.fixture
def here(tmp_path, monkeypatch, sample_wav, write_wav, weights):
    """A folder of one's own with a call, two cuts of one voice, and another voice."""
    from diarize.audio import read_audio

    weights("campplus-zh-en")
    monkeypatch.chdir(tmp_path)
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)
    for name, start, end in (
        ("call 10:30", 0, 30),
        ("one", 10.8, 14.4),
        ("again", 18.7, 21.4),
        ("other", 22.0, 27.8),
    ):
        write_wav(tmp_path / f"{name}.wav", samples[int(start * 16000) : int(end * 16000)], 16000)
    return tmp_path


def diarize(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that must leave with this status."""
    return typed(app, *arguments, status=status)


def process(*arguments: str, **options) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-m", "diarize", *arguments], **pipes)


def test_the_turns_are_printed(here):
    said, notes = diarize("run", "call 10:30.wav")
    lines = said.splitlines()
    assert len(lines) > 4
    assert all(line.split()[-1] in ("SPEAKER_00", "SPEAKER_01") for line in lines)
    assert "2 speakers" in notes
    assert diarize("-q", "run", "call 10:30.wav") == (said, "")


def test_rttm_to_a_folder_and_to_a_pipe(here):
    assert diarize("run", "call 10:30.wav", "-o", "out")[0] == f"{'out/call 10:30.rttm'}\n"
    written = (here / "out" / "call 10:30.rttm").read_text()
    assert written.startswith("SPEAKER call_10:30 1 ")
    assert diarize("run", "call 10:30.wav", "-o", "-")[0] == written
    assert "SPEAKER_01" in diarize("run", "call 10:30.wav", "-o", "out", "--show", "--overwrite")[0]


def test_one_bad_file_does_not_stop_the_others(here):
    (here / "empty.wav").touch()
    said, notes = diarize("run", "one.wav", "empty.wav", "nope.wav", "other.wav", ".", "-o", "out", status=1)
    assert said.split() == ["out/one.rttm", "out/other.rttm"]
    assert "3 of 5 failed:" in notes
    for reason in ("empty.wav: empty file (0 bytes)", "nope.wav: no such file", ".: is a directory"):
        assert notes.count(reason) == 1


def test_a_pattern_that_nothing_fits_is_no_file(here):
    said, notes = diarize("run", "one.wav", "*.mp3", "*.m4a", "-o", "out", status=1)
    assert said.split() == ["out/one.rttm"]
    assert "*.mp3: no such file" in notes


def test_outputs_that_would_collide_are_refused_before_work(here):
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "x.wav").write_bytes((here / "one.wav").read_bytes())
    for others in (["b/x.wav"], ["a/x.mp3"], ["a/X.wav"]):
        assert "would both be written to" in diarize("run", "a/x.wav", *others, "-o", "out", status=1)[1]
    assert not (here / "out").exists()
    assert "one name" in diarize("run", "a/x.wav", "b/x.wav", "-o", "-", status=1)[1]


def test_what_exists_is_only_replaced_when_asked(here):
    (here / "one.rttm").write_text("mine")
    assert "add --overwrite" in diarize("run", "one.wav", "-o", ".", status=1)[1]
    assert (here / "one.rttm").read_text() == "mine"
    diarize("run", "one.wav", "-o", ".", "--overwrite")
    assert (here / "one.rttm").read_text() != "mine"
    assert "one.wav is a file" in diarize("run", "one.wav", "-o", "one.wav", status=1)[1]
    assert "cannot be made a folder" in diarize("run", "one.wav", "-o", "one.rttm/deeper", status=1)[1]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["-n", "0"], 2, "--num-speakers"),
        (["-n", "2", "--max-speakers", "3"], 1, "num_speakers says it all"),
        (["--min-speakers", "3", "--max-speakers", "2"], 1, "min_speakers must be <= max_speakers"),
        (["-c", "nope"], 1, "no configuration 'nope'"),
        (["-c", "bad.toml"], 1, "did you mean 'windows.length_s'?"),
        (["--model", "campplus-zh"], 1, "did you mean 'campplus-zh-"),
        (["--device", "tpu"], 1, "device must be"),
        (["--channel", "1"], 1, "no channel 1"),
        (["--wrong"], 2, "No such option"),
    ],
)
def test_wrong_options_say_what_is_right(here, arguments, status, reason):
    (here / "bad.toml").write_text("[windows]\nlenght_s = 2\n")
    assert reason in diarize("run", "one.wav", *arguments, status=status)[1]


def test_more_speakers_than_windows_is_one_line(here):
    done = process("run", "again.wav", "-n", "40")
    said, notes = done.communicate(timeout=120)
    assert done.returncode == 0
    assert len({line.split()[-1] for line in said.splitlines()}) >= 3
    assert (
        len([line for line in notes.splitlines() if line.startswith("WARNING: 40 speakers were asked for")])
        == 1
    )
    assert ".py" not in notes


def test_verify_two_and_more(here):
    assert diarize("verify", "one.wav", "again.wav")[0].startswith("same speaker: score 0.")
    assert diarize("verify", "one.wav", "other.wav")[0].startswith("different speakers: score 0.")
    assert diarize("verify", "one.wav", "other.wav", "--threshold", "0.1")[0].startswith("same speaker")
    assert diarize("verify", "one.wav", "other.wav")[0].startswith("different speakers")  # once is once
    diarize("verify", "one.wav", "other.wav", "--exit-code", status=3)
    diarize("verify", "one.wav", "again.wav", "--exit-code")
    matrix = [
        line.split("\t") for line in diarize("verify", "one.wav", "again.wav", "other.wav")[0].splitlines()
    ]
    assert [row[0] for row in matrix] == ["one.wav", "again.wav", "other.wav"]
    assert matrix[0][2] == matrix[1][1]
    assert matrix[0][2].endswith("*")
    pairs = json.loads(diarize("verify", "one.wav", "again.wav", "other.wav", "--json")[0])["pairs"]
    assert [(p["a"], p["b"], p["same"]) for p in pairs] == [
        ("one.wav", "again.wav", True),
        ("one.wav", "other.wav", False),
        ("again.wav", "other.wav", False),
    ]


def test_verify_says_how_sure_it_is_and_when_it_cannot_tell(here, write_wav):
    from diarize.audio import read_audio

    short = (read_audio(here / "one.wav")[:8000] * 32767).astype(np.int16)
    write_wav(here / "short.wav", short, 16000)
    assert "probability 0.9" in diarize("verify", "one.wav", "again.wav")[0]
    said = diarize("verify", "one.wav", "short.wav")[0]
    assert said.startswith("only 0.")
    assert "s of speech: not enough to tell" in said
    diarize("verify", "one.wav", "short.wav", "--threshold", "-1", "--exit-code", status=3)
    matrix, notes = diarize("verify", "one.wav", "again.wav", "short.wav")
    assert matrix.splitlines()[0].endswith("?")
    assert "? too little speech to tell: under 1 s in one of the two" in notes
    pairs = json.loads(diarize("verify", "one.wav", "again.wav", "short.wav", "--json")[0])["pairs"]
    assert [p["enough"] for p in pairs] == [True, False, False]
    assert pairs[0]["probability"] > 0.9
    assert pairs[0]["prior"] == 0.5
    assert pairs[1]["probability"] is None
    assert pairs[1]["speech_s"] <= 0.5


def test_verify_refuses(here):
    assert "two recordings" in diarize("verify", "one.wav", status=1)[1]
    assert "between -1 and 1" in diarize("verify", "one.wav", "other.wav", "--threshold", "7", status=1)[1]
    assert "nope.wav: no such file" in diarize("verify", "one.wav", "nope.wav", status=1)[1]


def test_embeddings_are_written(here):
    diarize("verify", "one.wav", "again.wav", "--save-embeddings", "voices")
    (here / "list.txt").write_text("one.wav\n\nagain.wav\n")
    assert diarize("embed", "--list", "list.txt", "-o", "more")[0].split() == [
        "more/one.npy",
        "more/again.npy",
    ]
    for name in ("one", "again"):
        row = np.load(here / "voices" / f"{name}.npy")
        assert (row.shape, row.dtype) == ((192,), np.float32)
        assert np.array_equal(row, np.load(here / "more" / f"{name}.npy"))
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-6)
    diarize("embed", status=2)
    assert "nope.wav" in diarize("embed", "nope.wav", "other.wav", "-o", "third", status=1)[1]
    assert (here / "third" / "other.npy").exists()


def test_config_doctor_and_version(here):
    said, _ = diarize("config")
    (here / "mine.toml").write_text(said)
    assert diarize("config", "mine.toml")[0] == said
    assert [line.split("\t")[0] for line in diarize("config", "--list")[0].splitlines()] == [
        "3dspeaker", "default", "meeting", "telephone",
    ]  # fmt: skip
    doctor = diarize("doctor")[0]
    for name in ("torch", "silero-vad", "cache", "campplus-zh-en", "all that is needed is here"):
        assert name in doctor
    assert diarize("--version")[0] == f"diarize {__version__}\n"


@pytest.mark.parametrize(
    "verb",
    [
        "run",
        "words",
        "convert",
        "batch",
        "extract",
        "report",
        "verify",
        "calibrate",
        "embed",
        "score",
        "models",
        "config",
        "doctor",
    ],
)
def test_help_teaches_and_is_light(verb):
    command = (
        "import sys; sys.argv = ['diarize', sys.argv[1], '--help']\n"
        "from diarize.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    heavy = {'torch', 'numpy', 'av', 'sklearn'} & set(sys.modules)\n"
        "    print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", command, verb], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert "HEAVY []" in done.stdout


def test_standard_input(here):
    expected = diarize("run", "call 10:30.wav", "-o", "-")[0].replace("call_10:30", "stdin")
    with open("call 10:30.wav", "rb") as file, process("run", "-", "-o", "-", stdin=file) as done:
        assert done.stdout.read() == expected


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(here):
    with open("/dev/full", "w") as full, process("run", "one.wav", "-o", "-", stdout=full) as done:
        notes = done.stderr.read()
    assert done.returncode == 1
    assert notes.splitlines()[-1] == "error: standard output: No space left on device"
    assert "Traceback" not in notes


def test_a_reader_that_leaves_is_no_error(here):
    with process("run", "call 10:30.wav", "one.wav", "-o", "-") as done:
        done.stdout.readline()
        done.stdout.close()
        notes = done.stderr.read()
    assert "Traceback" not in notes
    assert "error" not in notes.lower()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_leaves_finished_files_and_no_half_ones(here):
    samples = np.tile(np.fromfile(here / "call 10:30.wav", "<i2")[22:], 40)
    import wave

    with wave.open(str(here / "long.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    with process("run", "one.wav", "long.wav", "-o", "out") as done:
        assert done.stdout.readline() == "out/one.rttm\n"
        time.sleep(1)
        done.send_signal(signal.SIGINT)
        notes = done.stderr.read()
    assert done.returncode == 130
    assert notes.rstrip().endswith("interrupted")
    assert "Traceback" not in notes
    assert sorted(path.name for path in (here / "out").iterdir()) == [".long.partial", "one.rttm"]
    assert "long.wav: goes on from 0:0" in notes
