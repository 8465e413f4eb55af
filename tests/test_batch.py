"""Batches: nothing lost, nothing twice, whatever dies. Real processes, a fake diarizer."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from batch_fakes import Fake, Recordings, calls, spans

import diarize.batch.driver as driver
import diarize.batch.places as places
from diarize import ConfigError, DiarizeError, FormatError, ModelError
from diarize.batch import Recording, run_batch
from diarize.batch.ledger import Ledger
from diarize.batch.pace import Pace
from diarize.batch.probing import Prober
from diarize.batch.runner import cause
from diarize.batch.sizing import sized
from diarize.config import Config

TESTS = Path(__file__).resolve().parent
posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


class Corpus(Recordings):
    """A folder of fake recordings and the batch over it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.out = root / "out"

    def run(self, **options):
        return self.batch(self.out, **{"workers": 2, "threads": 1} | options)

    def rows(self, columns: str = "uri, status") -> list[tuple]:
        with sqlite3.connect(self.out / "batch.sqlite") as db:
            return db.execute(f"SELECT {columns} FROM recordings ORDER BY uri").fetchall()

    def results(self) -> list[str]:
        own = ("batch.sqlite", "batch.lock", "summary.json")
        return sorted(
            path.name for path in self.out.iterdir() if not path.name.startswith(own) and path.is_file()
        )


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


def test_each_recording_has_one_result_and_one_row(corpus):
    corpus.add("a", "b", "c")
    corpus.add("deep/d", text="silent\nwarn a little odd")
    seen = []
    summary = corpus.run(progress=seen.append)
    assert (summary.done, summary.failed, summary.waiting, summary.total) == (4, 0, 0, 4)
    assert (summary.done_now, summary.audio_now_s, summary.audio_s) == (4, 40.0, 40.0)
    assert corpus.results() == ["a.rttm", "b.rttm", "c.rttm"]
    assert (corpus.out / "deep" / "d.rttm").read_text() == ""
    assert (corpus.out / "a.rttm").read_text().startswith("SPEAKER a 1 0.000 1.000 <NA> <NA> S0")
    rows = corpus.rows("uri, status, duration, output, speakers, attempts, begun, remarks, reason, pid")
    assert rows[0] == ("a", "done", 10.0, "a.rttm", 2, 0, 1, "[]", None, None)
    assert rows[3] == ("deep/d", "done", 10.0, "deep/d.rttm", 0, 0, 1, '["a little odd"]', None, None)
    assert all(seconds >= 0 for (seconds,) in corpus.rows("seconds"))
    assert json.loads((corpus.out / "summary.json").read_text())["done"] == 4
    assert seen[-1].done == 4
    assert seen[-1].total == 4


def test_again_does_nothing_twice(corpus):
    corpus.add("a", "b")
    corpus.run()
    corpus.add("c")
    summary = corpus.run()
    assert (summary.done, summary.done_now) == (3, 1)
    assert sorted(calls(corpus.log)) == ["a", "b", "c"]
    assert corpus.run().done_now == 0
    assert len(calls(corpus.log)) == 3
    (corpus.audio / "a.wav").unlink()
    assert corpus.run().done == 2
    assert corpus.notes == ["1 recording of earlier runs not in this list, left alone"]


def test_done_counts_only_with_its_result(corpus):
    corpus.add("a", "b", "c", "d")
    corpus.run()
    (corpus.out / "a.rttm").unlink()
    (corpus.out / "b.rttm").write_text("")  # a power cut
    (corpus.out / "c.rttm").write_text("corrected by hand\n")
    assert corpus.run().done_now == 2
    assert "2 results of earlier runs gone, to be made again: a; b" in corpus.notes
    assert sorted(calls(corpus.log)) == ["a", "a", "b", "b", "c", "d"]
    assert (corpus.out / "c.rttm").read_text() == "corrected by hand\n"
    assert (corpus.out / "b.rttm").read_text() != ""


def test_a_failure_has_its_reason_and_is_tried_again_when_asked(corpus):
    corpus.add("a", "b")
    corpus.add("bad", text="refuse bad.wav: no audio\nin it")
    corpus.add("bug", text="bug nobody thought of this")
    summary = corpus.run()
    assert (summary.done, summary.failed) == (2, 2)
    assert {f.uri: (f.reason, f.attempts) for f in summary.failures} == {
        "bad": ("bad.wav: no audio", 1),
        "bug": ("KeyError: 'nobody thought of this'", 1),
    }
    assert corpus.results() == ["a.rttm", "b.rttm"]
    assert corpus.run().failed_now == 0
    corpus.add("bad")
    summary = corpus.run(retry_failed=True)
    assert (summary.done, summary.failed, summary.done_now, summary.failed_now) == (3, 1, 1, 1)
    assert corpus.rows("uri, attempts, reason")[2:] == [
        ("bad", 0, None),
        ("bug", 1, "KeyError: 'nobody thought of this'"),
    ]
    assert sorted(calls(corpus.log)) == ["a", "b", "bad", "bad", "bug", "bug"]


@posix
def test_who_kills_its_worker_is_tried_once_more_alone_and_the_rest_goes_on(corpus):
    corpus.add("killer", text="sleep .1\ndie" + " " * 100)  # the largest goes first
    corpus.add(*"abcdef", text="sleep .15")
    summary = corpus.run()
    assert (summary.done, summary.failed) == (6, 1)
    (failure,) = summary.failures
    assert (failure.uri, failure.attempts) == ("killer", 2)
    assert failure.reason.startswith("its worker died: SIGKILL")
    found = spans(corpus.log)
    assert {uri: len(times) for uri, times in found.items()} == {"killer": 2, **dict.fromkeys("abcdef", 1)}
    ends = [times[0][1] for uri, times in found.items() if uri != "killer"]
    assert found["killer"][1][0] > max(ends), "the second attempt has the machine for itself"
    assert "killer.rttm" not in corpus.results()


@posix
def test_who_kills_its_worker_only_once_is_done(corpus):
    corpus.add("once", text="die-once")
    corpus.add("a")
    summary = corpus.run()
    assert (summary.done, summary.failed) == (2, 0)
    assert corpus.rows("uri, status, attempts, begun, reason")[1] == ("once", "done", 1, 2, None)


@posix
def test_memory(corpus):
    corpus.add("a", "b")
    corpus.add("refused", text="out-of-memory")
    corpus.add("greedy", text="hold 400000000")
    summary = corpus.run(max_memory=250_000_000)
    assert summary.done == 2
    assert {f.uri: f.reason for f in summary.failures} == {
        "refused": "its worker died: there was no more memory",
        "greedy": "its worker died: it held more memory than it may (--max-memory)",
    }


def test_a_recording_that_takes_too_long_is_ended_and_not_repeated(corpus):
    corpus.add("long", text="sleep 300")
    corpus.add("a")
    begun = time.monotonic()
    summary = corpus.run(timeout_s=2)
    assert time.monotonic() - begun < 60
    assert [(f.uri, f.reason, f.attempts) for f in summary.failures] == [("long", "took longer than 2 s", 1)]
    assert summary.done == 1


def test_patience_grows_with_the_recording(corpus):
    corpus.add("a")
    corpus.out.mkdir()
    ledger = Ledger(corpus.out)
    one = driver.Driver(corpus.out, ledger, {}, ending=".rttm", options={})
    assert (one.patience(10.0), one.patience(36_000.0), one.patience(None)) == (620, 72_600, 3600)
    ledger.close()


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from batch_fakes import Fake
from diarize.batch import run_batch
if __name__ == "__main__":
    print("begun", flush=True)
    run_batch([{audio!r}], {out!r}, workers=2, threads=1, make=Fake({log!r}))
"""


def started(corpus: Corpus) -> subprocess.Popen:
    """The batch in a process of its own."""
    script = corpus.root / "script.py"
    paths = {"tests": TESTS, "audio": corpus.audio, "out": corpus.out, "log": corpus.log}
    script.write_text(SCRIPT.format(**{name: str(path) for name, path in paths.items()}))
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
    )


def until(true, seconds: float = 60.0) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process is no more, or is a zombie that nobody has buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes in /proc")
def test_kill_9_in_the_middle_loses_nothing_and_repeats_nothing_that_was_done(corpus):
    names = [f"r{k:02d}" for k in range(16)]
    corpus.add(*names, text="sleep .1")
    corpus.add("bad", text="refuse it is broken")
    for ends in (3, 7):
        process = started(corpus)
        until(lambda ends=ends: len(calls(corpus.log, "end")) >= ends)
        workers = {int(line.split()[2]) for line in corpus.log.read_text().splitlines()}
        process.kill()
        process.communicate()
        until(lambda workers=workers: all(map(gone, workers)), 30)
        assert not [path for path in corpus.results() if not path.endswith(".rttm")]
    running = sum(status == "running" for _, status in corpus.rows())
    finished = {uri for uri, status in corpus.rows() if status == "done"}
    before = calls(corpus.log)
    summary = corpus.run()
    assert (summary.done, summary.failed) == (16, 1)
    assert corpus.results() == sorted(f"{name}.rttm" for name in names)
    assert not finished & set(calls(corpus.log)[len(before) :])
    assert len(calls(corpus.log)) <= 17 + 4  # two kills, two workers
    assert (f"{running} recording" in corpus.notes[0]) if running else not corpus.notes
    assert all((corpus.out / f"{name}.rttm").read_text().count("\n") == 2 for name in names)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes in /proc")
def test_workers_do_not_outlive_a_batch_that_was_killed(corpus):
    corpus.add("a", "b", text="sleep 300")
    process = started(corpus)
    until(lambda: len(calls(corpus.log)) == 2)
    workers = {int(line.split()[2]) for line in corpus.log.read_text().splitlines()}
    process.kill()
    process.communicate()
    until(lambda: all(map(gone, workers)), 30)


@posix
def test_ctrl_c_puts_back_what_runs(corpus):
    corpus.add(*(f"r{k}" for k in range(8)), text="sleep .3")
    process = started(corpus)
    until(lambda: len(calls(corpus.log, "end")) >= 1 and any(s == "done" for _, s in corpus.rows()))
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=90)
    assert "KeyboardInterrupt" in said
    states = [status for _, status in corpus.rows()]
    assert set(states) == {"done", "waiting"}
    assert json.loads((corpus.out / "summary.json").read_text())["waiting"] == states.count("waiting")
    assert [row for row in corpus.rows("attempts") if row != (0,)] == []
    assert corpus.run().done == 8
    assert corpus.notes == []


@posix
def test_ctrl_c_between_a_result_and_its_row_loses_neither(corpus, monkeypatch):
    corpus.add("a", "b", text="sleep .1")
    write = places.atomic_write

    def interrupted(path, data):
        write(path, data)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    monkeypatch.setattr(places, "atomic_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corpus.run(workers=1)
    assert [status for _, status in corpus.rows()] == ["done", "waiting"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix
def test_two_batches_in_one_folder(corpus):
    corpus.add("a", text="sleep 1")
    process = started(corpus)
    until(lambda: calls(corpus.log))
    with pytest.raises(DiarizeError, match=r"another batch is at work in .*out"):
        corpus.run()
    process.communicate(timeout=90)
    assert process.returncode == 0
    assert calls(corpus.log) == ["a"]
    assert corpus.run().done == 1


def test_changed_options_are_noticed(corpus):
    corpus.add("a", "b")
    corpus.run()
    with pytest.raises(ConfigError, match="option num_speakers was unset, is 3; add --overwrite"):
        corpus.run(options={"num_speakers": 3})
    with pytest.raises(ConfigError, match=r"windows.step_s was 0.4, is 0.2;"):
        corpus.run(config=Config.from_dict({"windows": {"step_s": 0.2}}))
    assert corpus.run(config=Config(threads=7), workers=1).done_now == 0
    summary = corpus.run(options={"num_speakers": 3}, overwrite=True)
    assert summary.done_now == 2
    assert (corpus.out / "a.rttm").read_text().count("\n") == 3
    assert corpus.run(options={"num_speakers": 3}, overwrite=True).done_now == 0


def test_with_other_options_nothing_old_stays(corpus):
    corpus.add("a", "b")
    corpus.run()
    corpus.add("a", text="refuse not with these")
    (corpus.audio / "b.wav").unlink()
    summary = corpus.run(options={"num_speakers": 3}, overwrite=True)
    assert summary.failed == 1
    assert not (corpus.out / "a.rttm").exists(), "found with other options"
    corpus.add("b")
    assert corpus.run(options={"num_speakers": 3}).done_now == 1
    assert (corpus.out / "b.rttm").read_text().count("\n") == 3


def test_interrupted_while_options_change_never_mixes_results(corpus, monkeypatch):
    corpus.add("a", "b")
    corpus.run()

    def cut(self, key, value):
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "set", cut)
    with pytest.raises(KeyboardInterrupt):
        corpus.run(options={"num_speakers": 3}, overwrite=True)
    monkeypatch.undo()
    assert {status for _, status in corpus.rows()} == {"waiting"}
    assert corpus.run(options={"num_speakers": 3}).done_now == 2


def test_options_of_one_recording(corpus):
    corpus.add("a", "b")
    path = str(corpus.audio / "a.wav")
    listed = corpus.root / "list.csv"

    def run(speakers, **options):
        listed.write_text(f"audio,num_speakers\naudio/a.wav,{speakers}\naudio/b.wav,\n")
        settings = {"workers": 1, "make": Fake(str(corpus.log)), "options": {"max_speakers": 4}}
        return run_batch([listed], corpus.out, **settings | options)

    run(3)
    assert [(corpus.out / f"audio/{n}.rttm").read_text().count("\n") for n in "ab"] == [3, 2]
    with pytest.raises(ConfigError, match="audio/a was done with another file or other options"):
        run(4)
    assert run(4, overwrite=True).done_now == 1
    assert (corpus.out / "audio/a.rttm").read_text().count("\n") == 4
    with pytest.raises(ConfigError, match="are both called 'X'"):
        run_batch([Recording("x", path), Recording("X", path + "2")], corpus.out)


def test_a_corpus_may_move_but_not_change(corpus):
    corpus.add("a", "b", "c")
    corpus.run()
    corpus.audio = corpus.audio.rename(corpus.root / "moved")
    assert corpus.run().done_now == 0
    corpus.add("b", text="another recording")
    with pytest.raises(ConfigError, match="b was done with another file"):
        corpus.run()
    assert corpus.run(overwrite=True).done_now == 1
    assert corpus.run().done_now == 0
    with pytest.raises(FormatError, match="uri must be a name"):
        run_batch([Recording("../x", "x.wav")], corpus.out)


def test_a_failed_recording_that_is_listed_otherwise_waits_again(corpus):
    corpus.add("bad", text="refuse no channel 3")
    corpus.add("good")
    make = Fake(str(corpus.log))
    run_batch([Recording("x", str(corpus.audio / "bad.wav"))], corpus.out, make=make, workers=1)
    summary = run_batch([Recording("x", str(corpus.audio / "good.wav"))], corpus.out, make=make, workers=1)
    assert (summary.done, summary.failed) == (1, 0)


def test_files_of_others_are_not_replaced_unasked(corpus):
    corpus.add("a")
    corpus.out.mkdir()
    (corpus.out / "a.rttm").write_text("mine")
    with pytest.raises(ConfigError, match=r"out/a.rttm exists already, and not from this batch"):
        corpus.run()
    assert (corpus.out / "a.rttm").read_text() == "mine"
    assert corpus.run(overwrite=True).done == 1
    assert (corpus.out / "a.rttm").read_text() != "mine"
    with pytest.raises(ConfigError, match=r"the result would be written to summary.json"):
        run_batch([Recording("summary", "x.wav")], corpus.out, format="json")


def test_a_full_disk_stops_the_batch_and_the_ledger_is_right(corpus, monkeypatch):
    corpus.add("a", "b", "c", text="sleep .1")
    write, full = places.atomic_write, []

    def fill(path, data):
        full.append(path)
        if len(full) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(places, "atomic_write", fill)
    with pytest.raises(DiarizeError, match=r"cannot be written: No space left on device; what is done stays"):
        corpus.run()
    monkeypatch.undo()
    assert sorted(status for _, status in corpus.rows()) == ["done", "waiting", "waiting"]
    assert len(corpus.results()) == 1
    assert corpus.run().done_now == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_device_that_is_full(corpus):
    corpus.add("a")
    corpus.out.mkdir()
    (corpus.out / "a.rttm").symlink_to("/dev/full")
    with pytest.raises(DiarizeError, match="No space left on device"):
        corpus.run(overwrite=True)
    assert corpus.rows() == [("a", "waiting")]


def test_what_cannot_be_written_for_its_name_fails_alone(corpus):
    corpus.add("a")
    long = Recording("n" * 300, str(corpus.audio / "a.wav"))
    summary = run_batch(
        [long, corpus.audio], corpus.out, workers=1, make=Fake(str(corpus.log)), format="rttm"
    )
    assert (summary.done, summary.failed) == (1, 1)
    assert "File name too long" in summary.failures[0].reason


def test_the_result_is_on_disk_before_the_ledger_says_so(corpus, monkeypatch):
    corpus.add("a")
    finish, there = Ledger.finish, []

    def cut(self, uri, **found):
        there.append((corpus.out / found["output"]).stat().st_size == found["written"] > 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "finish", cut)
    with pytest.raises(KeyboardInterrupt):
        corpus.run()
    monkeypatch.setattr(Ledger, "finish", finish)
    assert there == [True]
    assert corpus.rows() == [("a", "waiting")]
    assert corpus.run().done == 1, "its own result does not count as somebody else's file"


@posix
def test_workers_that_cannot_start(corpus):
    corpus.add("a")
    with pytest.raises(ModelError, match="these weights cannot be had"):
        corpus.run(make=Fake(str(corpus.log), "model"))
    with pytest.raises(DiarizeError, match=r"3 workers in a row died while they were starting .SIGKILL"):
        corpus.run(make=Fake(str(corpus.log), "dies"))
    assert corpus.rows() == [("a", "waiting")]


@posix
def test_commands(corpus):
    scp = corpus.root / "wav.scp"
    scp.write_text("one echo good |\ntwo echo no such tape >&2; exit 3 |\n")
    settings = {"workers": 1, "make": Fake(str(corpus.log))}
    with pytest.raises(FormatError, match=r"wav.scp:1: is a command, which is run only with --allow-pipes"):
        run_batch([scp], corpus.out, **settings)
    summary = run_batch([scp], corpus.out, allow_pipes=True, **settings)
    assert (corpus.out / "one.rttm").exists()
    assert [f.reason for f in summary.failures] == [
        "the command ended with status 3: no such tape: echo no such tape >&2; exit 3"
    ]


def test_a_dry_run_writes_nothing(corpus):
    corpus.add("a", "b")
    summary = corpus.run(dry_run=True)
    assert (summary.waiting, summary.left) == (2, ("a", "b"))
    assert not corpus.out.exists()
    corpus.add("bad", text="refuse me")
    corpus.run()
    (corpus.out / "b.rttm").unlink()
    corpus.add("c")
    before = {path.name: path.stat().st_mtime_ns for path in corpus.out.iterdir()}
    summary = corpus.run(dry_run=True)
    assert (summary.left, summary.done, summary.failed) == (("b", "c"), 1, 1)
    assert corpus.run(dry_run=True, retry_failed=True).left == ("b", "bad", "c")
    assert {n: t for n, t in before.items() if (corpus.out / n).stat().st_mtime_ns != t} == {}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "rtm"}, "did you mean 'rttm'"),
        ({"workers": 0}, "workers must be a whole number >= 1, got 0"),
        ({"timeout_s": 0}, "timeout_s must be seconds > 0"),
        ({"runner": "slurm"}, "runner must be 'local', or 'ray'"),
        ({"options": {"num_speakers": 2, "max_speakers": 3}}, "num_speakers says it all"),
    ],
)
def test_wrong_options_are_refused(corpus, options, reason):
    corpus.add("a")
    with pytest.raises((ConfigError, FormatError), match=reason):
        corpus.run(**options)


def test_a_file_that_is_no_ledger(corpus):
    corpus.add("a")
    corpus.out.mkdir()
    (corpus.out / "batch.sqlite").write_text("something else, and long enough to be looked at" * 40)
    with pytest.raises(FormatError, match=r"batch.sqlite: is no ledger of a batch"):
        corpus.run()


def test_the_pace_is_that_of_audio_not_of_recordings(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("diarize.batch.pace.time.monotonic", lambda: now[0])
    pace = Pace(4, {"a": 60.0, "b": 60.0, "c": 1080.0})
    assert pace.progress({}).total_s is None, "one length is not known yet"
    pace.know("d", 1200.0)
    assert pace.progress({"a": 0.0}).total_s == 2400
    now[0] += 10
    pace.ended("a", 60.0)
    pace.ended("b", None)
    shown = pace.progress({"c": 60.0})
    assert (shown.done, shown.failed, shown.done_s) == (1, 1, 120)
    assert shown.left_s == pytest.approx((1020 + 1200) / (120 / 10))
    unknown = Pace(3, {"a": 100.0})
    unknown.probed = True
    assert unknown.progress({}).total_s == 300, "guessed by the mean where headers do not say"


def test_workers_and_threads_share_the_cores(monkeypatch):
    monkeypatch.setattr("diarize.batch.sizing.cores_here", lambda: 8)
    monkeypatch.setattr("diarize.batch.sizing.free_memory", lambda: 64 * 10**9)
    monkeypatch.setattr("diarize.batch.sizing.on_cuda", lambda config: False)
    found = [
        sized(Config(), n, w, t)
        for n, w, t in [(99, None, None), (2, None, None), (99, None, 4), (99, 3, None)]
    ]
    assert found == [(8, 1), (2, 4), (2, 4), (3, 2)]
    monkeypatch.setattr("diarize.batch.sizing.free_memory", lambda: 10**9)
    assert sized(Config(), 99, None, None) == (1, 8)


@posix
def test_a_worker_that_grows_is_replaced_between_two_recordings(corpus, monkeypatch):
    monkeypatch.setattr("diarize.batch.serving.GROWN", 0)
    corpus.add(*"abcd", text="keep 150000000")
    summary = corpus.run(workers=1)
    assert (summary.done, summary.failed) == (4, 0)
    workers = {line.split()[2] for line in corpus.log.read_text().splitlines()}
    assert 1 < len(workers) <= 4


def test_exit_codes_in_words():
    assert cause(-signal.SIGSEGV) == "SIGSEGV (a crash in a library)"
    assert (cause(3), cause(-99)) == ("exit status 3", "signal 99")


def test_headers_are_probed_apart(corpus, write_wav):
    import numpy as np

    path = write_wav(corpus.root / "two.wav", np.zeros(32000, np.int16), 16000)
    corpus.add("broken")
    files = [("broken", str(corpus.audio / "broken.wav")), ("two", str(path)), ("none", "nowhere.wav")]
    prober, found = Prober(files), []
    until(lambda: found.extend(prober.collect()) or prober.finished)
    assert found == [("two", 2.0)]
    prober.close()


@posix
def test_a_header_that_kills_the_prober_is_left_out(corpus, monkeypatch):
    import diarize.batch.probing as probing

    monkeypatch.setattr(probing, "load_probe", load_deadly)
    prober, found = Prober([("a", "1.5"), ("b", "die"), ("c", "2.5")]), []
    until(lambda: found.extend(prober.collect()) or prober.finished)
    assert found == [("a", 1.5), ("c", 2.5)]
    prober.close()


def load_deadly():
    def probe(path, told):
        if path == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return float(path)

    return probe


def test_the_real_diarizer_gives_the_same_bits_in_a_worker(tmp_path, real_diarizer, sample_wav):
    (tmp_path / "audio").mkdir()
    shutil.copy(sample_wav, tmp_path / "audio" / "sample.wav")
    (tmp_path / "audio" / "empty.wav").touch()
    summary = run_batch([tmp_path / "audio"], tmp_path / "out", config=Config(device="cpu"), workers=1)
    assert (tmp_path / "out" / "sample.rttm").read_text() == real_diarizer(
        tmp_path / "audio" / "sample.wav"
    ).to_rttm()
    assert summary.audio_s == pytest.approx(30.0, abs=0.1)
    assert [f.uri for f in summary.failures] == ["empty"]
    assert "empty file" in summary.failures[0].reason


def test_on_ray_with_an_actor_that_dies_in_the_middle(corpus):
    pytest.importorskip("ray")
    corpus.add("killer", text="sleep .2\ndie" + " " * 100)
    corpus.add("bad", text="refuse broken")
    corpus.add(*"abcd", text="sleep .2")
    code = textwrap.dedent(
        """
        import json, sys
        from batch_fakes import Fake
        from diarize.batch import run_batch
        s = run_batch([sys.argv[1]], sys.argv[2], workers=2, make=Fake(sys.argv[3]), runner="ray")
        print(s.done, s.failed, *sorted(f"{f.uri}:{f.attempts}:{f.reason[:15]}" for f in s.failures), sep="|")
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, corpus.audio, corpus.out, corpus.log],
        capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent), *sys.path[1:]])},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["4|2|bad:1:broken|killer:2:its worker died"], done.stderr
    assert corpus.results() == ["a.rttm", "b.rttm", "c.rttm", "d.rttm"]
    assert len({line.split()[2] for line in corpus.log.read_text().splitlines()}) >= 2
    assert corpus.run().done_now == 0, "the ledger is the same whoever ran it"
