"""Batches: each recording has one result and one row, whatever is in the way. A fake diarizer."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest
from batch_corpus import posix
from batch_fakes import Fake, calls

import diarize.batch.places as places
from diarize import ConfigError, DiarizeError, FormatError
from diarize.batch import Recording, run_batch
from diarize.batch.ledger import Ledger
from diarize.config import Config

pytest_plugins = "batch_corpus_fixtures"


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


def test_a_file_that_is_no_ledger(corpus):
    corpus.add("a")
    corpus.out.mkdir()
    (corpus.out / "batch.sqlite").write_text("something else, and long enough to be looked at" * 40)
    with pytest.raises(FormatError, match=r"batch.sqlite: is no ledger of a batch"):
        corpus.run()


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
