"""Live speakers seen again: who is set aside, who never is, and who comes back."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import RATE, FakeEmbedder, FakeSegmenter, FakeVad, conversation
from numpy.typing import NDArray

from diarize import Diarizer, Stream
from diarize.clustering import cluster, hindsight
from diarize.clustering.hindsight import FIRST, LEAST, MAX_ROWS, Hindsight, one_to_one
from diarize.config import Bounds, ClusteringConfig, LiveConfig
from diarize.engine import unit
from diarize.enrolment import KnownVoice
from diarize.stages.items import Decision, Span, Voices, Window
from diarize.stages.labelling import Labeller, LabellerState, Speaker

THRESHOLD = 0.35
LENGTH = 19_200
AXES = np.eye(16)


def rows_near(voice: NDArray[np.float64], count: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit rows that score about .8 with one another."""
    noise = np.random.default_rng(seed).normal(0, 0.13, (count, len(voice)))
    return unit((voice + noise).astype(np.float32))


def speakers(*names: str, **options: bool) -> list[Speaker]:
    return [Speaker(name, AXES[k] * 9, 9.0, spoke=True, **options) for k, name in enumerate(names)]


def looked_back(
    *windows: tuple[int, NDArray[np.float32]], enrolled: tuple[int, ...] = (), bounds: Bounds | None = None
) -> tuple[dict[int, int], dict[int, int]]:
    """What a look back finds on the rows of each label, and the windows of each label after it."""
    past, after = Hindsight(), {}
    for label, rows in windows:
        for row in rows:
            past.add(row, label)
    taken_for = past.look_back(enrolled, ClusteringConfig(), THRESHOLD, bounds or Bounds())
    for votes in past.votes:
        for label, count in votes.items():
            after[label] = after.get(label, 0) + count
    return taken_for, after


def test_a_voice_that_got_two_names_keeps_the_one_it_has_most_of():
    one, other = rows_near(AXES[0], 60), rows_near(AXES[1], 40, 1)
    assert looked_back((0, one[:15]), (1, other), (2, one[15:])) == ({0: 2}, {1: 40, 2: 60})


def test_two_voices_stay_two():
    one, other = rows_near(AXES[0], 40), rows_near(AXES[1], 30, 1)
    assert looked_back((0, one), (1, other)) == ({}, {0: 40, 1: 30})
    assert looked_back((0, one), (3, other)) == ({}, {0: 40, 3: 30})


def test_who_was_enrolled_is_never_set_aside():
    rows = rows_near(AXES[0], 60)
    assert looked_back((0, rows[:10]), (1, rows[10:]), enrolled=(0,))[0] == {}
    assert looked_back((0, rows[:10]), (1, rows[10:]), enrolled=(1,))[0] == {0: 1}


def test_the_count_that_was_asked_for_holds_afterwards_too():
    three = [(k, rows_near(AXES[k], 30, k)) for k in range(3)]
    assert looked_back(*three)[0] == {}
    assert len(looked_back(*three, bounds=Bounds(1, 2))[0]) >= 1
    alike = (0, rows_near(AXES[0], 30)), (1, rows_near(AXES[0] + 0.5 * AXES[1], 30))
    assert len(looked_back(*alike)[0]) == 1
    assert looked_back(*alike, bounds=Bounds(2, 2))[0] == {}


def test_what_is_held_is_bounded_and_no_window_is_lost():
    past, counts = Hindsight(), [0, 0, 0]
    rows = rows_near(AXES[0], 5 * MAX_ROWS) + rows_near(AXES[1], 5 * MAX_ROWS, 1)
    for k, row in enumerate(unit(rows)):
        past.add(row, k % 3)
        counts[k % 3] += 1
        assert len(past.rows) == len(past.votes) <= MAX_ROWS
    assert [sum(votes.get(label, 0) for votes in past.votes) for label in range(3)] == counts
    assert past.heard == sum(counts)
    assert np.allclose(np.linalg.norm(past.rows, axis=1), 1, atol=1e-6)


def test_summaries_keep_who_is_who():
    """The same as without a summary: the voice with two names keeps one, the others theirs."""
    voices = [rows_near(AXES[k], 2 * MAX_ROWS, k) for k in range(3)]
    windows = [(k, row) for rows in zip(*voices, strict=True) for k, row in enumerate(rows)]
    past = Hindsight()
    for n, (k, row) in enumerate(windows):
        past.add(row, 3 if k == 0 and n % 2 else k)
    taken_for = past.look_back((), ClusteringConfig(), THRESHOLD, Bounds())
    assert taken_for in ({0: 3}, {3: 0})


def test_a_mean_of_many_windows_outweighs_one(monkeypatch):
    monkeypatch.setattr(hindsight, "MAX_ROWS", 2)
    past, rows = Hindsight(), rows_near(AXES[0], 4)
    for row in rows:
        past.add(row, 0)
    two = unit((rows[0] + rows[1])[None])[0]
    assert np.allclose(past.rows[0], unit((2 * two + rows[2])[None])[0], atol=1e-6)
    assert np.allclose(past.rows[1], rows[3])


def test_a_row_counts_for_all_the_windows_behind_it(monkeypatch):
    past, seen = Hindsight(), []
    for row in rows_near(AXES[0], 3 * MAX_ROWS):
        past.add(row, 0)

    def watched(rows, weights, *rest):
        seen.append(weights)
        return cluster(rows, weights, *rest)

    monkeypatch.setattr(hindsight, "cluster", watched)
    past.look_back((), ClusteringConfig(), THRESHOLD, Bounds())
    assert len(seen[0]) == len(past.rows)
    assert seen[0].sum() == 3 * MAX_ROWS


def test_looks_back_are_further_and_further_apart():
    past, looks = Hindsight(), []
    for n in range(1, 2001):
        if past.add(AXES[0].astype(np.float32), 0):
            looks.append(n)
    apart = np.diff(looks)
    assert looks[0] == FIRST
    assert apart.min() == LEAST
    assert all(apart[1:] >= apart[:-1])
    assert len(looks) < 30


@pytest.mark.parametrize(
    ("common", "owner"),
    [
        ([[9, 0], [0, 4]], {0: 0, 1: 1}),
        ([[9, 8], [7, 0]], {0: 0}),
        ([[5, 8], [7, 0]], {1: 0, 0: 1}),
        ([[3], [3]], {0: 0}),
        ([[0, 2], [0, 0]], {1: 0}),
        ([[0]], {}),
    ],
)
def test_each_cluster_is_one_speakers_and_each_speaker_has_one(common, owner):
    assert one_to_one(np.array(common)) == owner


# The labeller ------------------------------------------------------------------------------------


class Talk:
    """A labeller that hears one voice after another."""

    def __init__(self, people: list[Speaker] | None = None, most: int | None = None) -> None:
        self.state = LabellerState(people or [])
        self.labeller = Labeller(
            LiveConfig(), ClusteringConfig(), LENGTH, THRESHOLD, Bounds(1, most), self.state
        )
        self.windows = 0

    def hear(self, rows: NDArray[np.float32]) -> list[int | None]:
        """The labels of one decision a row; windows that follow are known ahead."""
        labels = []
        for k in range(len(rows)):
            ahead = tuple(
                Window(LENGTH * n, LENGTH * (n + 1), 0)
                for n in range(self.windows, self.windows + min(3, len(rows) - k))
            )
            decision = Decision(ahead[0].start, ahead[0].end, ahead[0], ahead)
            labels.append(self.labeller.push(decision, list(rows[k : k + len(ahead)])))
            self.windows += 1
        return labels

    @property
    def aside(self) -> list[str]:
        return [speaker.name for speaker in self.state.speakers if speaker.aside]


def test_nothing_joins_who_was_set_aside_and_their_name_comes_back_with_their_voice():
    people = speakers("SPEAKER_00", "SPEAKER_01")
    people[1].aside = True
    talk = Talk(people)
    assert set(talk.hear(rows_near(AXES[0], 5))) == {0}
    assert talk.hear(rows_near(AXES[1], 8, 1))[-1] == 1  # as somebody new, who sounds like them
    assert talk.aside == []
    assert [speaker.name for speaker in talk.state.speakers] == ["SPEAKER_00", "SPEAKER_01"]
    assert talk.state.speakers[1].weight < 9
    assert talk.hear(rows_near(AXES[2], 8, 2))[-1] == 2


def test_somebody_else_does_not_take_the_name_of_who_was_set_aside():
    people = speakers("SPEAKER_00", "SPEAKER_01")
    people[1].aside = True
    talk = Talk(people)
    assert talk.hear(rows_near(AXES[5], 8))[-1] == 2
    assert talk.aside == ["SPEAKER_01"]


def test_with_all_names_given_somebody_new_takes_one_that_was_set_aside():
    """No more names than asked for, and a place for who was not heard before."""
    people = speakers("SPEAKER_00", "SPEAKER_01")
    people[1].aside = True
    talk = Talk(people, most=2)
    assert talk.hear(rows_near(AXES[5], 8))[-1] == 1
    assert len(talk.state.speakers) == 2


def test_a_known_voice_gets_no_name_beyond_those_asked_for():
    people = speakers("SPEAKER_00", "SPEAKER_01")
    people[1].aside = True
    people.append(Speaker("Alice", AXES[5] * 9, 9.0, enrolled=True))
    talk = Talk(people, most=2)
    assert 2 not in talk.hear(rows_near(AXES[5], 8))
    assert sum(speaker.spoke for speaker in people) == 2


def test_a_voice_with_two_names_has_one_from_the_look_back_on():
    near = unit((AXES[0] + 0.9 * AXES[1]).astype(np.float32)[None])[0].astype(float)
    talk = Talk([speakers("SPEAKER_00")[0], Speaker("SPEAKER_01", near * 9, 9.0, spoke=True)])
    before = talk.hear(rows_near(AXES[0], FIRST - 12, 1)) + talk.hear(rows_near(near, 12))
    assert set(before) == {0, 1}
    assert before[-1] == 1
    assert talk.aside == ["SPEAKER_01"]
    window = Window(LENGTH * FIRST, LENGTH * FIRST + LENGTH // 4, 0)
    assert talk.labeller.push(Decision(window.start, window.end, window, ()), []) == 0  # goes on
    assert set(talk.hear(rows_near(near, 12, 2))) == {0}


def test_short_windows_say_nothing_afterwards():
    talk = Talk(speakers("SPEAKER_00"))
    for n in range(5):
        window = Window(LENGTH * n, LENGTH * n + LENGTH // 2, 0)
        talk.labeller.push(
            Decision(window.start, window.end, window, (window,)), [AXES[0].astype(np.float32)]
        )
    assert talk.state.hindsight.heard == 0


def test_a_window_with_many_decisions_counts_once():
    talk, row = Talk(speakers("SPEAKER_00")), AXES[0].astype(np.float32)
    window = Window(0, LENGTH, 0)
    for k in range(5):
        talk.labeller.push(Decision(512 * k, 512 * (k + 1), window, (window,)), [row])
    assert talk.state.hindsight.heard == 1


# The stream --------------------------------------------------------------------------------------


@pytest.fixture
def stream() -> Stream:
    diarizer = Diarizer(embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())
    return diarizer.stream(latency_s=2.0, enrolled=[KnownVoice("Ann", np.eye(8)[0] * 4, 4.0, 6.0)])


def test_known_voices_of_a_stream_are_never_set_aside(stream):
    assert [(speaker.name, speaker.enrolled) for speaker in stream.live.labeller.state.speakers] == [
        ("Ann", True)
    ]


def test_who_was_set_aside_does_not_speak_beside_the_one_they_were(stream):
    live = stream.live
    live.state.labeller.speakers = speakers("SPEAKER_00", "SPEAKER_01")
    live.state.now, live.state.before = 0, 1

    def look(end: int) -> list[Voices]:
        return [Voices(end - RATE, end, 2)]

    span = Span(10 * RATE, 11 * RATE, 0)
    assert {beside.label for beside in live._beside(span, 10 * RATE, look)} == {1}
    live.state.labeller.speakers[1].aside = True
    assert live._beside(span, 10 * RATE, look) == []


def test_a_hypothesis_costs_no_look_back_and_leaves_none_out(monkeypatch):
    """It is asked for again and again, and what comes after it is not decided yet."""
    diarizer = Diarizer(embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())
    looks, look_back = [], Hindsight.look_back

    def counted(past, *rest):
        looks.append(past.heard)
        return look_back(past, *rest)

    monkeypatch.setattr(Hindsight, "look_back", counted)
    samples = conversation(3, turns=30)
    for guessing in (False, True):
        stream = diarizer.stream(latency_s=2.0)
        for start in range(0, len(samples), RATE // 4):
            stream.push(samples[start : start + RATE // 4])
            assert not guessing or stream.hypothesis is not None
        stream.finish()
    half = len(looks) // 2
    assert half > 3
    assert looks[:half] == looks[half:]
