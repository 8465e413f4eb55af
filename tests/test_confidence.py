"""How sure turns are: the evidence by hand, the numbers through streams, states and RTTM."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeEmbedder, FakeVad, conversation, cuts

from diarize import Config, Diarizer, Turn
from diarize.confidence import confidence, evidence, margins
from diarize.formats.rttm import format_rttm
from diarize.result import joined
from diarize.stages.items import Span, Window

RATE = 16_000


def test_a_margin_is_the_score_with_the_own_mean_less_the_next_one():
    scores = np.array([[0.8, 0.6, 0.36], [0, 0, 0.8], [0, 1, 0.6]])
    assert margins(scores, np.array([0, 1, 1])) == pytest.approx([0.2, -0.8, 0.4])


def test_a_lone_speaker_has_no_next_one():
    assert margins(np.array([[0.6]]), np.array([0])) == pytest.approx([0.6])


def test_the_evidence_of_a_turn_is_that_of_its_own_windows():
    windows = [Window(k * RATE, (k + 2) * RATE, 0) for k in range(5)]  # middles at 1, 2, 3, 4, 5 s
    labels = np.array([0, 0, 1, 0, 0])
    near, speech = np.array([0.1, 0.3, 0.5, 0.7, 0.9]), np.array([1, 0.8, 0.6, 0.4, 0.2])
    spans = [Span(0, 4 * RATE, 0), Span(4 * RATE, 6 * RATE, 0), Span(7 * RATE, 8 * RATE, 1)]
    found = evidence(spans, windows, labels, near, speech)
    assert found[:, 0] == pytest.approx([0.2, 0.8, 0.9])  # the third has no window: the nearest one
    assert found[:, 1] == pytest.approx(np.log([4, 2, 1]))
    assert found[:, 2] == pytest.approx([0.9, 0.3, 0.2])


def test_each_kind_of_evidence_makes_a_turn_surer():
    base = np.array([0.2, 0.0, 0.7])
    (low,) = confidence("campplus-zh-en", base[None])
    for more in np.diag([0.1, 0.5, 0.1]):
        assert 0 < low < confidence("campplus-zh-en", (base + more)[None])[0] < 1


def test_a_model_that_was_not_measured_has_none():
    assert confidence("campplus-zh-cn", np.zeros((2, 3))) == [None, None]
    assert confidence("campplus-zh-en", np.zeros((0, 3))) == []


@pytest.fixture(scope="module")
def diarizer():
    return Diarizer(Config(), embedder=FakeEmbedder(), vad=FakeVad())


def sure(turns):
    return [(turn, turn.confidence) for turn in turns]


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_ends_as_sure_as_the_file(diarizer, seed):
    rng = np.random.default_rng(seed)
    samples = conversation(seed)
    whole = diarizer(samples, sample_rate=RATE)
    assert len({turn.confidence for turn in whole}) > 1
    assert all(0 < turn.confidence < 1 for turn in whole)
    live = diarizer.stream(latency_s=1.0)
    finals = []
    for number, piece in enumerate(cuts(samples, rng, RATE)):
        finals += live.push(piece)
        if number == 3:  # saved in the middle
            live = diarizer.stream(state=live.state())
    finals += live.finish()
    assert sure(live.result()) == sure(whole)
    assert all(turn.confidence is None for turn in finals)


def test_it_is_not_part_of_what_a_turn_is():
    assert Turn(0, 1, "A", 0.9) == Turn(0, 1, "A", 0.1) == Turn(0, 1, "A")
    assert hash(Turn(0, 1, "A", 0.9)) == hash(Turn(0, 1, "A"))
    assert joined([Turn(0, 1, "A", 0.9), Turn(1, 2, "A", 0.8)])[0].confidence is None
    assert joined([Turn(0, 1, "A", 0.9)])[0].confidence == 0.9


def test_rttm_has_a_field_for_it():
    turns = [Turn(0, 1, "A", 0.98765), Turn(1, 2, "B"), SimpleNamespace(start=2, end=3, speaker="C")]
    fields = [line.split()[7:] for line in format_rttm(turns, "m").splitlines()]
    assert fields == [["A", "0.988", "<NA>"], ["B", "<NA>", "<NA>"], ["C", "<NA>", "<NA>"]]
