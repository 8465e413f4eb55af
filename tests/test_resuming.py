"""Long recordings that are interrupted: what comes out is what would have come out, to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fakes import RATE, FakeEmbedder, FakeVad, conversation

from diarize import AudioError, Config, Diarizer, resuming
from diarize.audio import AudioFile
from diarize.batch import run_batch
from diarize.resuming import resumably


class Killed(BaseException):
    """What ends a run in the middle of a push, as a crash would."""


@pytest.fixture(autouse=True)
def at_every_piece(monkeypatch):
    """With ``every_s=0`` a state is kept at every piece, however long that takes."""
    monkeypatch.setattr(resuming, "SHARE", float("inf"))


def made(**settings) -> Diarizer:
    return Diarizer(Config.from_dict(settings), embedder=FakeEmbedder(0.1), vad=FakeVad())


@pytest.fixture
def recording(tmp_path, write_wav):
    samples = np.concatenate([conversation(seed, turns=8) for seed in range(3)])
    return write_wav(tmp_path / "long.wav", samples * 32767, RATE)


def after(count: int, done: BaseException | int = 0):
    """Progress that ends the run at its count-th call: raises, or sends itself a signal."""
    left = [count]

    def progress(done_s, total_s):
        left[0] -= 1
        if not left[0] and isinstance(done, int):
            signal.raise_signal(done)
        elif not left[0]:
            raise done

    return progress


def exactly(found):
    """All of a result that is said, to the bit."""
    return found.turns, found.duration, found.uri, {k: v.tobytes() for k, v in found.embeddings.items()}


@pytest.mark.parametrize("rate", [RATE, 11025])
def test_a_run_that_dies_again_and_again_ends_as_if_it_had_not(tmp_path, write_wav, rate):
    """Killed after three states, four, ...: each time another one goes on, in steps that are no grid."""
    samples = np.concatenate([conversation(seed, turns=8) for seed in range(3)])
    path = write_wav(tmp_path / "long.wav", samples * 32767, rate)
    kept, notes, lives = tmp_path / ".long.partial", [], 0
    asked = {"channel": 0, "max_speakers": 3, "every_s": 0.0}
    expected = made()(path, channel=0, max_speakers=3)
    assert len(expected.turns) > 5
    while True:
        try:
            progress = after(3 + lives, Killed())
            found = resumably(made(), path, kept, progress=progress, note=notes.append, **asked)
            break
        except Killed:
            lives += 1
    assert lives > 5
    assert len(notes) == lives
    assert all("an earlier run was interrupted" in said for said in notes)
    assert exactly(found) == exactly(expected)


def test_a_run_goes_on_and_does_not_begin_anew(recording, tmp_path):
    kept, seen = tmp_path / "kept", []
    with pytest.raises(Killed):
        resumably(made(), recording, kept, every_s=0.0, progress=after(40, Killed()))
    resumably(made(), recording, kept, progress=lambda done_s, total_s: seen.append((done_s, total_s)))
    assert seen[0][0] > 9
    assert seen[-1][0] == pytest.approx(seen[-1][1], abs=0.1)
    seen.clear()
    resumably(made(), recording, kept, resume=False, progress=lambda done_s, _: seen.append(done_s))
    assert seen[0] < 1


def test_the_place_is_found_however_the_sound_is_cut(recording, tmp_path, monkeypatch):
    """Another decoder may give other pieces; the same samples go on where they were."""
    kept = tmp_path / "kept"
    with pytest.raises(Killed):
        resumably(made(), recording, kept, every_s=0.0, progress=after(40, Killed()))
    expected = made()(recording)
    with AudioFile(recording) as audio:
        samples = np.concatenate(list(audio))
    monkeypatch.setattr(AudioFile, "__iter__", lambda self: iter(np.split(samples, [3001, 99_991, 170_003])))
    assert exactly(resumably(made(), recording, kept)) == exactly(expected)


def test_a_quick_recording_leaves_nothing(recording, tmp_path):
    found = resumably(made(), recording, tmp_path / "kept")
    assert exactly(found) == exactly(made()(recording))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.wav"]


def unfinished(recording, kept, **asked):
    with pytest.raises(Killed):
        resumably(made(), recording, kept, every_s=0.0, progress=after(20, Killed()), **asked)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("counts", "it is of other options"),
        ("channel", "it is of other options"),
        ("uri", "it is of other options"),
        ("configuration", "it is of other options"),
        ("recording", "it is of another recording, or this one has changed"),
        ("later", "it is of another recording, or this one has changed"),
        ("header", "is damaged"),
        ("state", "not a saved stream, or a damaged one"),
        ("half", "not a saved stream, or a damaged one"),
        ("version", "by another version of diarize"),
        ("nothing", "is damaged"),
    ],
)
def test_what_does_not_fit_is_not_used(recording, tmp_path, change, why):
    kept, notes = tmp_path / "kept", []
    unfinished(recording, kept)
    content, diarizer, asked = kept.read_bytes(), made(), {}
    if change == "recording":  # its middle, so that only the times tell
        with recording.open("r+b") as file:
            file.seek(recording.stat().st_size // 2)
            file.write(b"\1\2" * 100)
    elif change == "later":
        os.utime(recording, (1, 1))
    elif change == "configuration":
        diarizer = made(vad={"onset": 0.4})
    elif change == "state":
        middle = len(content) // 2
        kept.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        asked = {"counts": {"num_speakers": 2}, "channel": {"channel": 0}, "uri": {"uri": "other"}}.get(
            change, {}
        )
        head, _, rest = content.partition(b"\n")
        new = {"header": b"{}\n" + rest, "half": content[: len(content) // 2], "nothing": b""}
        new["version"] = head.replace(b'unfinished": 1', b'unfinished": 99') + b"\n" + rest
        kept.write_bytes(new.get(change, content))
    expected = diarizer(recording, **asked)
    found = resumably(diarizer, recording, kept, note=notes.append, **asked)
    assert exactly(found) == exactly(expected)
    assert len(notes) == 1
    assert why in notes[0]
    assert "the work begins anew" in notes[0]


def test_known_voices_are_options(recording, tmp_path, write_wav):
    kept, notes = tmp_path / "kept", []
    voice = write_wav(tmp_path / "voice.wav", conversation(7, turns=1) * 32767, RATE)
    other = write_wav(tmp_path / "other.wav", conversation(8, turns=1) * 32767, RATE)
    unfinished(recording, kept, enrolled={"A": voice})
    resumably(made(), recording, kept, enrolled={"A": other}, note=notes.append)
    assert "it is of other options" in notes[0]
    resumably(made(), recording, kept, enrolled={"A": voice}, note=notes.append)
    assert "it goes on from there" in notes[1]


def test_threads_are_no_option(recording, tmp_path):
    kept, notes = tmp_path / "kept", []
    unfinished(recording, kept)
    resumably(made(threads=3), recording, kept, note=notes.append)
    assert "it goes on from there" in notes[0]


SIGNALLED = """
import json, signal, sys
sys.path.insert(0, sys.argv[1])
from test_resuming import after, made, resumably, resuming
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
resuming.SHARE, notes, ended = float("inf"), [], None
try:
    resumably(made(), sys.argv[2], sys.argv[3], progress=after(30, int(sys.argv[4])), note=notes.append)
except (KeyboardInterrupt, SystemExit) as ending:
    ended = type(ending).__name__
restored = signal.getsignal(signal.SIGINT) is signal.default_int_handler
print(json.dumps([ended, restored, notes]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_state(recording, tmp_path, number):
    """The state holds what was pushed last, not what was kept half a minute ago. In a process of its own."""
    kept, notes = tmp_path / "kept", []
    asked = [str(Path(__file__).parent), str(recording), str(kept), str(int(number))]
    run = subprocess.run([sys.executable, "-c", SIGNALLED, *asked], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    ending = "KeyboardInterrupt" if number == signal.SIGINT else "SystemExit"
    assert json.loads(run.stdout) == [
        ending,
        True,
        [f"{recording}: goes on from 0:00:07 when it is run again"],
    ]
    found = resumably(made(), recording, kept, note=notes.append)
    assert notes == [f"{recording}: at 0:00:07 an earlier run was interrupted, it goes on from there"]
    assert exactly(found) == exactly(made()(recording))


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_who_ignores_signals_goes_on_ignoring_them(recording, tmp_path):
    """As the workers of a batch do."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        found = resumably(made(), recording, tmp_path / "kept", progress=after(5, signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert exactly(found) == exactly(made()(recording))


def test_a_full_disk_is_said_once_and_the_work_goes_on(recording, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resuming, "atomic_write", full)
    notes = []
    found = resumably(made(), recording, tmp_path / "kept", every_s=0.0, note=notes.append)
    assert exactly(found) == exactly(made()(recording))
    assert notes == [
        f"{tmp_path / 'kept'}: cannot be written: No space left on device; what interrupts the run loses it"
    ]


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_what_cannot_be_read_again_is_refused(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        resumably(made(), tmp_path / "gone.wav", tmp_path / "kept")
    with pytest.raises(AudioError, match="is a directory"):
        resumably(made(), tmp_path, tmp_path / "kept")


# The command -----------------------------------------------------------------------------------------

SLOW = """
import sys, time
from diarize import resuming
from diarize.cli import main
from diarize.stream import Stream

push, pause_s, resuming.SHARE = Stream.push, float(sys.argv[1]), float("inf")
resuming.resumably.__kwdefaults__["every_s"] = 0.0

def slowly(*arguments, **options):
    time.sleep(pause_s)
    return push(*arguments, **options)

Stream.push = slowly
sys.argv = ["diarize", *sys.argv[2:]]
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_command_goes_on(tmp_path, sample_wav, weights, real_diarizer, number):
    """Real networks; killed once there is a state, or interrupted; run again it writes the very turns."""
    out, call = tmp_path / "turns", [sys.executable, "-c", SLOW]
    arguments = ["run", str(sample_wav), "-o", str(out), "--device", "cpu"]
    run = subprocess.Popen([*call, "0.05", *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(out.glob(".sample.partial")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert [path.name for path in out.iterdir() if path.suffix != ".tmp"] == [".sample.partial"]
    if number == signal.SIGINT:
        assert run.returncode == 130
        assert f"{sample_wav}: goes on from 0:00:" in said
    again = subprocess.run([*call, "0", *arguments], capture_output=True, text=True, check=True, timeout=120)
    assert "an earlier run was interrupted, it goes on from there" in again.stderr
    assert (out / "sample.rttm").read_text() == real_diarizer(sample_wav).to("rttm")
    assert not list(out.glob("*.partial"))


# A batch ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiesOnce:
    """Makes a real diarizer, with fake networks, whose worker dies while its recording is under way, once."""

    mark: str

    def __call__(self, config):
        mark, diarizer = Path(self.mark), made()
        resuming.SHARE, resuming.resumably.__kwdefaults__["every_s"] = float("inf"), 0.0
        stream, pushes = diarizer.stream, []

        def counted(**options):
            with mark.open("a") as file:
                file.write("state\n" if "state" in options else "new\n")
            begun = stream(**options)
            push = begun.push

            def dying(samples):
                pushes.append(len(samples))
                if len(pushes) == 40 and mark.read_text() == "new\n":
                    os.kill(os.getpid(), signal.SIGKILL)
                return push(samples)

            begun.push = dying
            return begun

        diarizer.stream = counted
        return diarizer


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_recording_whose_worker_died_goes_on_in_the_next_one(recording, tmp_path):
    mark, out = tmp_path / "mark", tmp_path / "out"
    summary = run_batch([recording], out, workers=1, make=DiesOnce(str(mark)))
    assert (summary.done, summary.failed) == (1, 0)
    assert mark.read_text() == "new\nnew\nstate\n"
    assert (out / "long.rttm").read_text() == made()(recording).to("rttm")
    assert sorted(path.name for path in out.iterdir() if "sqlite" not in path.name) == [
        "batch.lock",
        "long.rttm",
        "summary.json",
    ]
