"""The same people across recordings: who is linked, who never is, and what they are called."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest

from diarize import ConfigError, Diarization, Turn, calibration
from diarize.enrolment import KnownVoice
from diarize.linking import LARGEST, link

MODEL = "campplus-zh-en"
SIZE = 192


def threshold(seconds_a: float, seconds_b: float) -> float:
    return calibration.threshold(MODEL, seconds_a, seconds_b)


def flat(seconds_a: float, seconds_b: float) -> float:
    return 0.5


def unit(row: np.ndarray) -> np.ndarray:
    return (row / np.linalg.norm(row)).astype(np.float32)


def at(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return unit(np.array([np.cos(angle), np.sin(angle), 0, 0]))


def recording(uri: str, voices: dict[str, np.ndarray], seconds: float = 8.0) -> Diarization:
    """Its speakers one after the other, for so many seconds each."""
    turns = tuple(Turn(i * seconds, (i + 1) * seconds, name) for i, name in enumerate(voices))
    return Diarization(turns, len(voices) * seconds, uri, voices)


def where(linked) -> dict[str, list[tuple[str, str]]]:
    return {person.name: [(place.uri, place.speaker) for place in person.places] for person in linked.people}


def crowd(
    recordings: int, size: int, people: int, spread: float, seed: int = 0
) -> tuple[list[Diarization], dict[tuple[str, str], int]]:
    """Recordings of some of many people; who is who in truth."""
    rng = np.random.default_rng(seed)
    voices = rng.normal(size=(people, SIZE))
    voices /= np.linalg.norm(voices, axis=1)[:, None]
    made, truth = [], {}
    for n in range(recordings):
        there = rng.choice(people, size, replace=False)
        names = {f"SPEAKER_{i:02d}": int(who) for i, who in enumerate(there)}
        rows = {name: unit(voices[who] + spread * rng.normal(size=SIZE)) for name, who in names.items()}
        made.append(recording(f"r{n:03d}", rows))
        truth |= {(f"r{n:03d}", name): who for name, who in names.items()}
    return made, truth


# Who is one person ------------------------------------------------------------------------------------


def test_one_person_has_one_name_in_all_recordings():
    monday = recording("monday", {"SPEAKER_00": at(0), "SPEAKER_01": at(90)})
    tuesday = recording("tuesday", {"SPEAKER_00": at(95), "SPEAKER_01": at(180)})
    linked = link([monday, tuesday], flat)
    assert where(linked) == {
        "PERSON_00": [("monday", "SPEAKER_00")],
        "PERSON_01": [("monday", "SPEAKER_01"), ("tuesday", "SPEAKER_00")],
        "PERSON_02": [("tuesday", "SPEAKER_01")],
    }
    assert [r.speakers for r in linked.recordings] == [("PERSON_00", "PERSON_01"), ("PERSON_01", "PERSON_02")]
    assert [set(r.embeddings) == set(r.speakers) for r in linked.recordings] == [True, True]
    assert [(r.uri, r.duration) for r in linked.recordings] == [("monday", 16.0), ("tuesday", 16.0)]
    assert [turn.start for turn in linked.recordings[1]] == [0.0, 8.0]
    person = linked.people[1]
    assert person.seconds == 16.0
    assert not person.known
    assert person.places[0].score == pytest.approx(np.cos(np.deg2rad(5)), abs=1e-6)
    assert linked.people[0].places[0].score is None


def test_exactly_the_threshold_is_one_person():
    score = float(at(0).astype(float) @ at(60).astype(float))
    both = [recording("a", {"SPEAKER_00": at(0)}), recording("b", {"SPEAKER_01": at(60)})]
    assert len(link(both, lambda a, b: score).people) == 1
    assert len(link(both, lambda a, b: np.nextafter(score, 1)).people) == 2


def test_two_speakers_of_a_recording_are_never_one_person():
    """However alike, and whoever is between them."""
    twins = recording("twins", {"SPEAKER_00": at(0), "SPEAKER_01": at(1)})
    other = recording("other", {"SPEAKER_02": at(0.5)})
    linked = link([twins, other], flat)
    assert len(linked.people) == 2
    assert len({name for name, places in where(linked).items() for uri, _ in places if uri == "twins"}) == 2
    crowded, _ = crowd(40, 6, 12, spread=0.3)  # so noisy that much looks alike
    for one in link(crowded, lambda a, b: 0.0).recordings:
        assert len(one.speakers) == 6


def test_the_threshold_is_that_of_the_seconds_of_both():
    """What 5 s on both sides would tell apart, 1 s does not."""
    angle = float(np.rad2deg(np.arccos(0.45)))
    long = [recording("a", {"SPEAKER_00": at(0)}), recording("b", {"SPEAKER_01": at(angle)})]
    short = [recording("a", {"SPEAKER_00": at(0)}, 1.5), recording("b", {"SPEAKER_01": at(angle)}, 1.5)]
    assert len(link(long, threshold).people) == 2
    assert len(link(short, threshold).people) == 1


def test_much_speech_weighs_more_than_little():
    """A third recording goes with the mean of the two, which lies nearer to who spoke for long."""
    a, b, c = at(0), at(40), at(95)
    alone = [
        recording("a", {"SPEAKER_00": a}, 9.0),
        recording("b", {"SPEAKER_01": b}, 0.5),
        recording("c", {"SPEAKER_02": c}, 9.0),
    ]
    even = [
        recording("a", {"SPEAKER_00": a}, 0.5),
        recording("b", {"SPEAKER_01": b}, 9.0),
        recording("c", {"SPEAKER_02": c}, 9.0),
    ]
    assert len(link(alone, lambda a, b: 0.3).people) == 2
    assert len(link(even, lambda a, b: 0.3).people) == 1


def test_people_are_found_again_in_a_crowd():
    made, truth = crowd(60, 4, 25, spread=0.035)
    linked = link(made, flat)
    said = {(p.uri, p.speaker): person.name for person in linked.people for p in person.places}
    assert len(linked.people) == len(set(truth.values()))
    assert all((said[a] == said[b]) == (truth[a] == truth[b]) for a, b in combinations(sorted(truth), 2))


def test_names_and_order_change_nothing_but_names():
    made, _ = crowd(20, 3, 8, spread=0.05)

    def groups(linked) -> set[frozenset[tuple[str, tuple]]]:
        rows = {(r.uri, name): tuple(row) for r in made for name, row in r.embeddings.items()}
        return {frozenset((p.uri, rows[p.uri, p.speaker]) for p in who.places) for who in linked.people}

    assert groups(link(made, flat)) == groups(link(made[::-1], flat))
    assert where(link(made, flat)) == where(link(made, flat))


def test_a_speaker_without_an_embedding_is_somebody_of_their_own():
    bare = Diarization(
        (Turn(0, 5, "SPEAKER_00"), Turn(5, 9, "SPEAKER_01")), 9.0, "bare", {"SPEAKER_00": at(0)}
    )
    linked = link([bare, recording("b", {"SPEAKER_02": at(0)})], flat)
    assert where(linked) == {
        "PERSON_00": [("bare", "SPEAKER_00"), ("b", "SPEAKER_02")],
        "PERSON_01": [("bare", "SPEAKER_01")],
    }
    silent = Diarization((Turn(0, 5, "SPEAKER_03"),), 5.0, "d")
    assert len(link([silent, recording("b", {"SPEAKER_02": at(0)})], lambda a, b: -0.5).people) == 2


def test_nothing_is_nothing():
    assert link([], flat).people == ()
    silent = Diarization((), 5.0, "silent")
    linked = link([silent, recording("a", {"SPEAKER_00": at(0)})], flat)
    assert linked.recordings[0] == silent
    assert len(linked.people) == 1
    assert link([silent], flat, [KnownVoice("Ann", at(0).astype(float), 1, 5.0)]).people[0].places == ()


def test_who_speaks_alone_is_renamed_too():
    turns = (Turn(0, 5, "SPEAKER_00"), Turn(4, 9, "SPEAKER_01"))
    both = Diarization(
        turns,
        9.0,
        "a",
        {"SPEAKER_00": at(0), "SPEAKER_01": at(90)},
        alone=(turns[0], Turn(5, 9, "SPEAKER_01")),
    )
    (found,) = link([both], flat).recordings
    assert [turn.speaker for turn in found.exclusive] == ["PERSON_00", "PERSON_01"]


# Known voices -------------------------------------------------------------------------------------------


def test_known_voices_give_their_names():
    ann, zoe = (KnownVoice(name, 7 * at(d).astype(float), 7, 6.0) for name, d in (("Ann", 0), ("Zoe", 200)))
    made = [
        recording("a", {"SPEAKER_00": at(20), "SPEAKER_01": at(100)}),
        recording("b", {"SPEAKER_00": at(105), "SPEAKER_01": at(-15)}),
    ]
    linked = link(made, flat, [ann, zoe])
    assert where(linked) == {
        "Ann": [("a", "SPEAKER_00"), ("b", "SPEAKER_01")],
        "PERSON_00": [("a", "SPEAKER_01"), ("b", "SPEAKER_00")],
        "Zoe": [],
    }
    assert [person.known for person in linked.people] == [True, False, True]


def test_known_voices_never_become_one_another():
    """Somebody between two of them, whom both would take."""
    known = [KnownVoice(name, at(d).astype(float), 1, 9.0) for name, d in (("Ann", -20), ("Ben", 20))]
    made = [recording(f"r{i}", {"SPEAKER_00": at(d)}) for i, d in enumerate((-5, 5, 0, -10, 10))]
    linked = link(made, flat, known)
    assert {person.name for person in linked.people} == {"Ann", "Ben"}
    assert where(linked)["Ann"][0] == ("r0", "SPEAKER_00")
    assert ("r1", "SPEAKER_00") in where(linked)["Ben"]


def test_a_known_voice_is_one_speaker_of_a_recording_at_most():
    ann = KnownVoice("Ann", at(0).astype(float), 1, 9.0)
    linked = link([recording("a", {"SPEAKER_00": at(10), "SPEAKER_01": at(2)})], flat, [ann])
    assert where(linked) == {"PERSON_00": [("a", "SPEAKER_00")], "Ann": [("a", "SPEAKER_01")]}


def test_numbers_pass_over_names_that_are_known():
    voice = KnownVoice("PERSON_00", at(180).astype(float), 1, 9.0)
    linked = link([recording("a", {"SPEAKER_00": at(0)})], flat, [voice])
    assert where(linked) == {"PERSON_01": [("a", "SPEAKER_00")], "PERSON_00": []}


def test_names_that_somebody_gave_are_kept_and_decide_nothing():
    """Alice is one person of the two who were called so, the one who speaks more."""
    made = [
        recording("a", {"Alice": at(0), "SPEAKER_01": at(90)}, 20.0),
        recording("b", {"Alice": at(180), "SPEAKER_07": at(3), "PERSON_09": at(93)}, 9.0),
        recording("c", {"Bob": at(92)}),
    ]
    assert where(link(made, flat)) == {
        "Alice": [("a", "Alice"), ("b", "SPEAKER_07")],
        "Bob": [("a", "SPEAKER_01"), ("b", "PERSON_09"), ("c", "Bob")],
        "PERSON_00": [("b", "Alice")],
    }
    bob = KnownVoice("Bob", at(0).astype(float), 1, 9.0)
    assert list(where(link(made, flat, [bob]))) == ["Bob", "PERSON_00", "Alice"]


# What cannot be linked ----------------------------------------------------------------------------------


def test_two_recordings_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="two recordings are called 'a'; give each a name of its own"):
        link(
            [
                recording("a", {"SPEAKER_00": at(0)}),
                recording("b", {"SPEAKER_00": at(0)}),
                recording("a", {"SPEAKER_00": at(0)}),
            ],
            flat,
        )


def test_embeddings_of_two_models_are_refused():
    with pytest.raises(ConfigError, match="of one model, got some of 4 and some of 7"):
        link([recording("a", {"SPEAKER_00": at(0)}), recording("b", {"SPEAKER_00": unit(np.ones(7))})], flat)


def test_too_many_speakers_are_refused():
    many = recording("a", {f"SPEAKER_{i}": at(i) for i in range(LARGEST // 2 + 1)}, 1.0)
    other = Diarization(many.turns, many.duration, "b", many.embeddings)
    with pytest.raises(ConfigError, match=f"at most {LARGEST} speakers can be linked, got {LARGEST + 2}"):
        link([many, other], flat)


def test_hundreds_of_recordings_take_seconds():
    made, truth = crowd(400, 5, 150, spread=0.035)
    begun = time.monotonic()
    linked = link(made, threshold)
    assert time.monotonic() - begun < 30  # 2 s on two free cores
    assert len(linked.people) == len(set(truth.values()))
