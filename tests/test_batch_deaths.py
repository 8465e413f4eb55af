"""Batches: nothing lost, nothing twice, whatever dies. Real processes, a fake diarizer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from batch_corpus import TESTS, gone, posix, started, until
from batch_fakes import Fake, calls, spans

import diarize.batch.driver as driver
import diarize.batch.places as places
from diarize import DiarizeError, ModelError
from diarize.batch.ledger import Ledger
from diarize.batch.runner import cause

pytest_plugins = "batch_corpus_fixtures"


# Workers ------------------------------------------------------------------------------------------


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


@posix
def test_workers_that_cannot_start(corpus):
    corpus.add("a")
    with pytest.raises(ModelError, match="these weights cannot be had"):
        corpus.run(make=Fake(str(corpus.log), "model"))
    with pytest.raises(DiarizeError, match=r"3 workers in a row died while they were starting .SIGKILL"):
        corpus.run(make=Fake(str(corpus.log), "dies"))
    assert corpus.rows() == [("a", "waiting")]


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


# The batch itself ---------------------------------------------------------------------------------


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
