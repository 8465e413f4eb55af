"""What `diarize.streaming_score` measures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from fakes import RATE, FakeEmbedder, FakeVad, conversation, silence, speech
from pyannote.core import Annotation, Segment, Timeline

from diarize import AudioError, ConfigError, Diarization, Diarizer, Turn, _watch
from diarize._watch import Watch, compared, cut, drive
from diarize.scoring import score
from diarize.streaming_score import Recording, SharedRows, measure, overall, scored, sharing

LATENCIES_S = (0.5, 1.0, 2.0, 5.0, None)


def annotation(*turns: tuple[float, float, str]) -> Annotation:
    made = Annotation()
    for track, (start, end, speaker) in enumerate(turns):
        made[Segment(start, end), track] = speaker
    return made


def alternating(seconds: float) -> Annotation:
    """Two speakers who take turns of 3 s: a truth to be wrong about."""
    return annotation(*((s, s + 3, "AB"[i % 2]) for i, s in enumerate(range(0, int(seconds), 3))))


def fake_diarizer() -> Diarizer:
    return Diarizer(embedder=FakeEmbedder(), vad=FakeVad())


@pytest.fixture(scope="module")
def talks() -> list[Recording]:
    """Two conversations, the second scored in part."""
    first, second = conversation(1), conversation(2)
    return [
        Recording("one", first, alternating(len(first) / RATE), sample_rate=RATE),
        Recording("two", second, alternating(30), Timeline([Segment(2, 20)]), sample_rate=RATE),
    ]


@pytest.fixture(scope="module")
def rows(talks):
    return measure(fake_diarizer(), talks, LATENCIES_S)


# A stream whose every word is known -----------------------------------------------------------------


FINALS = {4: (0, 2, "A"), 6: (2, 4, "B"), 8: (4, 6, "B")}
GUESSES = {2: (0, 2, "A"), 4: (2, 4, "A"), 6: (4, 6, "B"), 8: (6, 8, "B")}


class Scripted:
    """Second by second: what becomes final, and what is guessed then."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock = clock
        self.duration = 0.0

    def push(self, samples):
        self.duration += len(samples)
        self.clock.now += 0.25 if self.duration == 3 else 0.125
        return [Turn(*FINALS[n])] if (n := int(self.duration)) in FINALS else []

    def finish(self):
        self.clock.now += 1
        return [Turn(6, 8, "A")]

    @property
    def hypothesis(self):
        self.clock.now += 100
        return (Turn(*GUESSES[int(self.duration)]),)

    def result(self):
        self.clock.now += 100
        return Diarization((Turn(0, 8, "A"),), 8.0)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(_watch.time, "perf_counter", lambda: clock.now)
    return clock


def watched(clock: SimpleNamespace) -> Watch:
    watch = Watch(Scripted(clock))
    assert list(drive([watch], [np.zeros(1)] * 8, 1, every_s=2)) == [2, 4, 6, 8, 8]
    return watch


def test_a_scripted_stream(clock):
    reference = annotation((0, 2, "x"), (2, 6, "y"), (6, 8, "x"))
    one = scored(watched(clock), Recording("scripted", "", reference), 4.0)
    assert one.final.der == 0
    assert one.shown.confusion_s == one.shown.total_s - 4 == 4  # 2 to 4 was A at first, 6 to 8 was B
    assert one.offline.confusion_s == 4
    assert (one.twice_shown_s, one.changed_s, one.churn) == (8, 4, 0.5)
    assert one.duration_s == 8
    assert (one.compute_s, one.longest_push_s) == (7 * 0.125 + 0.25 + 1, 0.25)  # no hypothesis, no result
    assert one.real_time_factor == one.compute_s / 8
    assert len(one.ages_s) == 800
    assert one.age_s(100) == 4  # the first sample of every turn but the last
    assert one.ages_s[-1] == pytest.approx(0.01)  # the last 10 ms, at the end
    assert one.age_s(50) == pytest.approx(2 + 2 / 3, abs=0.01)  # 2 s of (0, 2] and 6 s of (2, 4]


def test_what_was_shown_first(clock):
    assert watched(clock).shown == [Turn(0, 2, "A"), Turn(2, 4, "A"), Turn(4, 6, "B"), Turn(6, 8, "B")]


def test_a_guess_that_reaches_back_does_not_change_what_was_shown(clock, monkeypatch):
    monkeypatch.setitem(GUESSES, 4, (1, 4, "C"))
    monkeypatch.setitem(FINALS, 4, (0, 1, "A"))
    monkeypatch.setitem(FINALS, 6, (1, 4, "C"))
    watch = watched(clock)
    assert watch.shown[:2] == [Turn(0, 2, "A"), Turn(2, 4, "C")]
    assert (watch.twice_shown_s, watch.changed_s) == (9, 3)  # 1 to 2 is seen three times, and changed once


def test_compared():
    before = [Turn(0, 2, "A"), Turn(3, 5, "B"), Turn(5, 6, "A")]
    assert compared(before, before) == (5, 0)
    assert compared(before, []) == compared([], before) == (0, 0)
    assert compared(before, [Turn(1, 4, "A")]) == (2, 1)
    assert compared(before, [Turn(1.5, 3.5, "B"), Turn(3.5, 9, "A")]) == (3.5, 2)


def test_seconds_are_added_and_ages_put_together(clock):
    reference = annotation((0, 2, "x"), (2, 6, "y"), (6, 8, "x"))
    one = scored(watched(clock), Recording("a", "", reference), 4.0)
    clock.now = 0.0
    other = scored(watched(clock), Recording("b", "", annotation((0, 24, "x"))), 4.0)
    both = overall([one, other])
    assert both.final.total_s == 32
    assert both.final.miss_s == 16
    assert (both.final.num_exact, both.final.num_counted) == (1, 2)
    assert both.shown.confusion_s == one.shown.confusion_s + other.shown.confusion_s
    assert both.churn == 0.5
    assert both.real_time_factor == one.real_time_factor == other.real_time_factor
    assert both.longest_push_s == 0.25
    assert len(both.ages_s) == 1600
    assert both.recordings == (one, other)


# The streaming code itself, on networks that are exact ----------------------------------------------


def test_no_speech_is_older_than_the_latency(rows):
    for row in rows[:-1]:
        assert 0.7 * row.latency_s < row.age_s(100) <= row.latency_s + 1e-9
        assert 0 < row.age_s(50) <= row.age_s(95) <= row.age_s(100)
    assert rows[-1].age_s(100) > 20  # all of it waited for the end


@pytest.mark.parametrize("rate", [8000, 44100])
def test_at_other_rates_a_push_may_come_on_top(rate):
    samples = np.repeat(conversation(3, turns=4)[::2], rate // 8000)  # what they say is not what counts here
    (row,) = measure(
        fake_diarizer(), [Recording("r", samples, alternating(9), sample_rate=rate)], [1.0], push_s=0.1
    )
    assert 0.7 < row.age_s(100) < 1.1


def test_offline_is_what_the_file_gives(rows, talks):
    for i, talk in enumerate(talks):
        found = fake_diarizer()(talk.source, sample_rate=RATE).annotation
        alone = score(talk.reference, found, uem=talk.uem)
        for row in rows:
            assert row.recordings[i].offline == alone
    assert all(row.offline == rows[0].offline for row in rows)
    assert rows[-1].final == rows[-1].offline  # unlimited latency


def test_final_errors_are_those_of_the_finals(rows, talks):
    for row in rows[:-1]:
        for one, talk in zip(row.recordings, talks, strict=True):
            stream = fake_diarizer().stream(latency_s=row.latency_s)
            for piece in np.array_split(talk.source, 7):
                stream.push(piece)
            stream.finish()
            found = Diarization(stream.finals, stream.duration).annotation
            assert one.final == score(talk.reference, found, uem=talk.uem)


def test_the_hypothesis_is_looked_at_only_with_a_latency(rows):
    assert all(row.shown is not None and 0 < row.churn < 1 for row in rows[:-1])
    assert rows[-1].shown is rows[-1].churn is None
    assert {row.shown for row in rows[:-1]} > {rows[0].shown}


def test_side_by_side_gives_the_same(rows, talks):
    slow, quick = FakeEmbedder(), FakeEmbedder()
    measure(Diarizer(embedder=slow, vad=FakeVad()), talks, LATENCIES_S)
    side = measure(Diarizer(embedder=quick, vad=FakeVad()), talks, LATENCIES_S, quick=True)
    assert sum(quick.calls) < sum(slow.calls) / 2
    for row, other in zip(rows, side, strict=True):
        assert (row.latency_s, row.duration_s, row.churn) == (other.latency_s, other.duration_s, other.churn)
        assert (row.final, row.shown, row.offline) == (other.final, other.shown, other.offline)
        assert (row.ages_s == other.ages_s).all()
        assert row.real_time_factor > 0
        assert row.longest_push_s > 0
        assert other.compute_s is other.real_time_factor is other.longest_push_s is None


def test_a_single_speaker_never_changes():
    samples = conversation(4)
    talk = Recording("r", samples, alternating(9), sample_rate=RATE)
    rows = measure(fake_diarizer(), [talk], [0.5, 2.0], num_speakers=1)
    assert [(row.churn, row.final.num_hypothesis_speakers) for row in rows] == [(0, 1), (0, 1)]
    assert all(row.twice_shown_s > 5 for row in rows)


def test_silence_has_no_ages_and_no_churn():
    (row,) = measure(fake_diarizer(), [Recording("s", silence(3), Annotation(), sample_rate=RATE)], [1.0])
    assert row.age_s(100) is row.churn is None
    assert (row.final.der, row.shown.der, row.offline.der) == (0, 0, 0)
    (row,) = measure(fake_diarizer(), [Recording("e", silence(0), Annotation(), sample_rate=RATE)], [1.0])
    assert row.real_time_factor is None


def test_progress_ends_with_every_second_of_every_latency(talks):
    for quick in (False, True):
        seen: list[float] = []
        measure(fake_diarizer(), talks, [1.0, None], quick=quick, progress=seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == pytest.approx(2 * sum(len(talk.source) for talk in talks) / RATE)


def test_what_cannot_be_measured_is_refused_before_any_work(talks):
    embedder = FakeEmbedder()
    diarizer = Diarizer(embedder=embedder, vad=FakeVad())
    with pytest.raises(ConfigError, match="at least one recording and one latency are needed, got 0 and 1"):
        measure(diarizer, [], [1.0])
    with pytest.raises(ConfigError, match="got 2 and 0"):
        measure(diarizer, talks, [])
    with pytest.raises(ConfigError, match=r"latency_s must be at least 0\.\d+"):
        measure(diarizer, talks, [5.0, 0.1, None])
    with pytest.raises(ConfigError, match=r"every_s must be at least 0\.001 \(seconds\), got 0"):
        measure(diarizer, talks, every_s=0)
    with pytest.raises(ConfigError, match="push_s must be"):
        measure(diarizer, talks, push_s=float("nan"))
    with pytest.raises(AudioError, match="r: samples carry no rate; pass sample_rate="):
        measure(diarizer, [Recording("r", silence(1), Annotation())])
    assert embedder.calls == []


def test_cut():
    samples = np.arange(1000, dtype=np.float32)
    pieces = list(cut(np.array_split(samples, 7), 441, 0.1))
    assert (np.concatenate(pieces) == samples).all()
    assert {len(piece) for piece in pieces[:-1]} == {44, 45}
    assert [len(piece) for piece in cut([samples], 1000, 0.4)] == [400, 400, 200]


def test_shared_rows_are_the_same_rows_computed_once():
    inner = FakeEmbedder()
    shared = SharedRows(inner, most=3)
    rng = np.random.default_rng(0)
    pieces = [speech(voice, 1.5, rng) for voice in (0.1, 0.4, 0.7)]
    rows = inner(pieces)
    inner.calls.clear()
    assert (shared([pieces[0], pieces[1], pieces[0]]) == rows[[0, 1, 0]]).all()
    assert (shared(pieces[1:]) == rows[1:]).all()
    assert inner.calls == [2, 1]
    shared([pieces[0][:-1], pieces[0][1:]])  # the oldest two go
    assert (shared(pieces) == rows).all()
    assert len(shared.rows) == 3
    assert shared([]).shape == (0, inner.embedding_size)


def test_sharing_leaves_the_diarizer_alone():
    diarizer = fake_diarizer()
    shared = sharing(diarizer)
    assert isinstance(shared.models.embedder, SharedRows)
    assert diarizer.models.embedder is diarizer.embedder is shared.embedder.embedder
