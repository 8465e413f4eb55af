"""The same people across recordings: speakers of many diarizations, each with one name wherever they speak.

    found = [diarizer(path) for path in paths]
    linked = link(found, diarizer.threshold)
    linked.recordings[0].speakers       # ("PERSON_00", "PERSON_03")
    linked.people[0].places             # where PERSON_00 speaks, for how long, how sure

Average linkage of the speakers' mean embeddings, as clustering has it (`diarize.clustering.linkage`), but two
speakers of one recording are two people, what is averaged is how far a score lies above the threshold for the
seconds of speech of the two, and a speaker weighs as much as their seconds, up to `FULL_S`. Known voices are
people from the start, who never become one another.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from diarize.clustering.affinity import scores
from diarize.clustering.linkage import average_linkage
from diarize.engine import unit
from diarize.enrolment import KnownVoice
from diarize.errors import ConfigError
from diarize.result import Diarization, Turn

FULL_S = 10.0
"""Seconds of speech beyond which a speaker weighs no more: what is left is the recording, not chance."""

NUMBERED = re.compile(r"(SPEAKER|PERSON)_\d+")
"""Names that nobody gave."""

LARGEST = 10_000
"""Speakers that are linked at most: a matrix of their scores is held, 8 bytes a pair."""


@dataclass(frozen=True, slots=True)
class Place:
    """A person in one recording.

    uri, speaker : the recording, and what the person is called in it
    seconds : of speech there
    score : cosine with the rest of the person's speech, elsewhere and enrolled; None: there is no rest
    """

    uri: str
    speaker: str
    seconds: float
    score: float | None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with one name in all recordings.

    known : whether the name is that of a known voice
    places : one a recording in which they speak, in the order of the recordings; a known voice may have none
    """

    name: str
    known: bool
    places: tuple[Place, ...]

    @property
    def seconds(self) -> float:
        """Seconds of speech in all recordings."""
        return sum(place.seconds for place in self.places)


@dataclass(frozen=True, eq=False)
class Linked:
    """People, by first appearance, and the recordings with their names, in the order given."""

    people: tuple[Person, ...]
    recordings: tuple[Diarization, ...]


def link(
    recordings: Sequence[Diarization],
    threshold: Callable[[float, float], float],
    known: Sequence[KnownVoice] = (),
) -> Linked:
    """Who is who in recordings that were diarized one by one.

    recordings : with embeddings; their names (uri) must differ
    threshold : the score from which two pieces of speech, of so many seconds, are one person:
        `Diarizer.threshold`
    known : voices whose names people get, instead of PERSON_00, PERSON_01, ...; so do they names that they
        have in a recording already, unless these are numbers. Only voices decide who is one person

    A speaker without an embedding is a person of their own. What comes out does not depend on what speakers
    are called, and on the order of recordings only where scores are equal, and in numbering.

    Raises ConfigError for two recordings of one name, embeddings of two models, and too many speakers.
    """
    twice = [uri for uri, times in Counter(recording.uri for recording in recordings).items() if times > 1]
    if twice:
        raise ConfigError(f"two recordings are called {twice[0]!r}; give each a name of its own (uri=)")
    heard = [(n, name) for n, recording in enumerate(recordings) for name in recording.speakers]
    if len(heard) > LARGEST:
        raise ConfigError(
            f"at most {LARGEST} speakers can be linked, got {len(heard)}; link fewer recordings"
        )
    seconds = [recordings[n].speaking_time[name] for n, name in heard]
    rows = _rows([recordings[n].embeddings.get(name) for n, name in heard], known)
    labels = _labels(rows, [voice.seconds for voice in known], seconds, [n for n, _ in heard], threshold)
    claims: defaultdict[tuple[str, int], float] = defaultdict(float)
    for label, (_, name), spoken_s in zip(labels[len(known) :].tolist(), heard, seconds, strict=True):
        claims[name, label] += spoken_s
    names = _names(labels.tolist(), [voice.name for voice in known], claims)
    scored = _scores(rows, labels, [voice.seconds for voice in known] + seconds)
    places: dict[str, list[Place]] = {voice.name: [] for voice in known}
    given: list[dict[str, str]] = [{} for _ in recordings]
    for i, (n, name) in enumerate(heard):
        person = names[int(labels[len(known) + i])]
        place = Place(recordings[n].uri, name, seconds[i], scored[len(known) + i])
        places.setdefault(person, []).append(place)
        given[n][name] = person
    people = [Person(name, name in {v.name for v in known}, tuple(found)) for name, found in places.items()]
    people.sort(key=lambda person: not person.places)  # who was not heard comes last
    return Linked(tuple(people), tuple(renamed(r, names) for r, names in zip(recordings, given, strict=True)))


def renamed(recording: Diarization, names: Mapping[str, str]) -> Diarization:
    """The same with other names of speakers, each a different one."""

    def turns(found: Sequence[Turn]) -> tuple[Turn, ...]:
        return tuple(sorted(replace(turn, speaker=names[turn.speaker]) for turn in found))

    return replace(
        recording,
        turns=turns(recording.turns),
        alone=None if recording.alone is None else turns(recording.alone),
        embeddings={names[name]: row for name, row in recording.embeddings.items() if name in names},
        matches={},
        kept=None,
    )


def _rows(
    embeddings: Sequence[NDArray[np.float32] | None], known: Sequence[KnownVoice]
) -> NDArray[np.float64]:
    """Unit rows of known voices, then of speakers, (n, E); 0 for a speaker without an embedding."""
    found = [voice.total for voice in known] + [row for row in embeddings if row is not None]
    sizes = sorted({len(row) for row in found})
    if len(sizes) > 1:
        raise ConfigError(f"embeddings must be of one model, got some of {sizes[0]} and some of {sizes[1]}")
    nothing = np.zeros(sizes[0] if sizes else 1)
    every = [voice.total for voice in known] + [nothing if row is None else row for row in embeddings]
    rows = np.asarray(every, np.float64).reshape(len(every), len(nothing))
    rows[rows.any(1)] = unit(rows[rows.any(1)])
    return rows


def _labels(
    rows: NDArray[np.float64],
    known_s: Sequence[float],
    seconds: Sequence[float],
    recording: Sequence[int],
    threshold: Callable[[float, float], float],
) -> NDArray[np.int64]:
    """Who is whom: a label for each row, that of a known voice its place."""
    times = np.array([*known_s, *seconds])
    margin = scores(rows)
    short, place = np.unique(np.maximum(np.round(times, 1), 0.1), return_inverse=True)
    needed = np.zeros((len(short), len(short)))
    for i, a in enumerate(short.tolist()):
        needed[i, : i + 1] = needed[: i + 1, i] = [threshold(a, b) for b in short[: i + 1].tolist()]
    margin -= needed[np.ix_(place, place)]
    where = np.array([*range(-len(known_s), 0), *recording])
    margin[where[:, None] == where[None, :]] = -np.inf  # one recording: different people
    nobody = ~rows.any(1)
    margin[nobody] = margin[:, nobody] = -np.inf
    weights = np.clip(times, 0.1, FULL_S)
    return average_linkage(margin, weights, 0.0, seeds=len(known_s))


def _names(
    labels: Sequence[int], known: Sequence[str], claims: Mapping[tuple[str, int], float]
) -> dict[int, str]:
    """The name of each label: a known voice's, else one that somebody gave, else a number that nobody has.

    claims : the seconds that each label has under each name; who has most of them gets the name
    """
    names = dict(enumerate(known))
    given = (claim for claim in claims if not NUMBERED.fullmatch(claim[0]))
    for name, label in sorted(given, key=lambda claim: (-claims[claim], claim)):
        if label not in names and name not in names.values():
            names[label] = name
    taken = set(names.values())
    numbers = (name for n in count() if (name := f"PERSON_{n:02d}") not in taken)
    for label in labels:
        if label not in names:
            names[label] = next(numbers)
    return names


def _scores(
    rows: NDArray[np.float64], labels: NDArray[np.int64], seconds: Sequence[float]
) -> list[float | None]:
    """The score of each row with the others of its label, weighted."""
    weighted = rows * np.clip(np.asarray(seconds), 0.1, FULL_S)[:, None]
    sums = np.zeros((int(labels.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(sums, labels, weighted)
    rest = sums[labels] - weighted
    alone = np.bincount(labels)[labels] == 1 if len(labels) else np.zeros(0, bool)
    found: list[float | None] = []
    for row, other, one in zip(rows, rest, alone.tolist(), strict=True):
        norm = float(np.linalg.norm(other))
        found.append(None if one or not norm else float(np.clip(row @ other / norm, -1.0, 1.0)))
    return found
