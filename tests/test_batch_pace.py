"""Batches: how much there is to do, how fast it goes, and on how many cores."""

from __future__ import annotations

import os
import signal

import pytest
from batch_corpus import posix, until

from diarize.batch.pace import Pace
from diarize.batch.probing import Prober
from diarize.batch.sizing import sized
from diarize.config import Config

pytest_plugins = "batch_corpus_fixtures"


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
