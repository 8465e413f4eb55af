"""A stream as its user sees it: pushed to piece by piece, looked at now and then, with a watch in hand.

It measures times only; `diarize.streaming_score` says what the numbers mean and scores the turns.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diarize.audio import Samples
from diarize.result import Diarization, Turn, joined

AGE_STEP_S = 0.01
"""Seconds of speech that have one age."""


class Watched(Protocol):
    """What is used of a `diarize.stream.Stream`."""

    def push(self, samples: Any) -> list[Turn]:
        """Final turns that the samples brought."""
        ...

    def finish(self) -> list[Turn]:
        """The last final turns."""
        ...

    def result(self) -> Diarization:
        """The offline result."""
        ...

    @property
    def hypothesis(self) -> tuple[Turn, ...]:
        """The guess for what is not final."""
        ...

    @property
    def duration(self) -> float:
        """Seconds that final turns and hypothesis speak of."""
        ...


class Watch:
    """One stream and what was seen of it; its turns are in order of their starts.

    guesses : whether to look at the hypothesis

    now : seconds of audio pushed
    compute_s, longest_push_s : seconds in `push` and `finish`, and in the longest push
    finals : as `push` and `finish` returned them
    shown : each stretch of time as it was first looked at
    twice_shown_s, changed_s : seconds that were guessed at one look and speech at the next; those of them
        when none of the speakers guessed spoke then
    """

    def __init__(self, stream: Watched, *, guesses: bool = True) -> None:
        self.stream = stream
        self.guesses = guesses
        self.now = self.compute_s = self.longest_push_s = self.twice_shown_s = self.changed_s = 0.0
        self.finals: list[Turn] = []
        self.shown: list[Turn] = []
        self._ages: list[NDArray[np.float64]] = []
        self._shown_to = 0.0
        self._recent: list[Turn] = []  # final since the last look
        self._guess: tuple[Turn, ...] = ()  # at the last look

    def push(self, samples: Samples, now: float) -> None:
        """Push; `now` is the seconds of audio pushed, these samples included."""
        self.now = now
        begun = time.perf_counter()
        turns = self.stream.push(samples)
        taken = time.perf_counter() - begun
        self.longest_push_s = max(self.longest_push_s, taken)
        self._take(turns, taken)

    def look(self) -> None:
        """See what is final by now, and what is guessed."""
        if self.guesses:
            self._see(self.stream.hypothesis)

    def finish(self) -> None:
        """Finish, and look a last time."""
        begun = time.perf_counter()
        turns = self.stream.finish()
        self._take(turns, time.perf_counter() - begun)
        if self.guesses:
            self._see(())

    @property
    def ages_s(self) -> NDArray[np.float64]:
        """(n,) ages of the final turns when they came, of the first sample of every 10 ms."""
        return np.concatenate([np.zeros(0), *self._ages])

    def _take(self, turns: list[Turn], taken: float) -> None:
        self.compute_s += taken
        self.finals += turns
        self._recent += turns
        for turn in turns:
            steps = np.arange(math.ceil(turn.duration / AGE_STEP_S - 1e-6), dtype=np.float64)
            self._ages.append(self.now - turn.start - AGE_STEP_S * steps)

    def _see(self, guess: tuple[Turn, ...]) -> None:
        seen = [*self._recent, *guess]
        both, changed = compared(self._guess, seen)
        self.twice_shown_s += both
        self.changed_s += changed
        new = [turn for turn in seen if turn.end > self._shown_to]
        self.shown += [dataclasses.replace(turn, start=max(turn.start, self._shown_to)) for turn in new]
        self._shown_to = self.stream.duration
        self._recent, self._guess = [], guess


def compared(before: Sequence[Turn], after: Sequence[Turn]) -> tuple[float, float]:
    """Seconds in which both have a speaker, and those of them in which they have none in common."""
    both = changed = 0.0
    edges = sorted({moment for turn in [*before, *after] for moment in (turn.start, turn.end)})
    for start, end in pairwise(edges):
        one, other = ({t.speaker for t in turns if t.start <= start < t.end} for turns in (before, after))
        if one and other:
            both += end - start
            changed += (end - start) * one.isdisjoint(other)
    return both, changed


def drive(watches: Sequence[Watch], pieces: Iterable[Samples], rate: int, every_s: float) -> Iterator[float]:
    """Push the pieces to all streams, look at every tick, finish; yields the seconds of audio so far."""
    every = max(1, round(every_s * rate))
    heard, due = 0, every
    for piece in pieces:
        heard += len(piece)
        for watch in watches:
            watch.push(piece, heard / rate)
        if heard >= due:
            due = (heard // every + 1) * every
            for watch in watches:
                watch.look()
            yield heard / rate
    for watch in watches:
        watch.finish()
    yield heard / rate


def cut(pieces: Iterable[Samples], rate: int, push_s: float) -> Iterator[Samples]:
    """The same samples in pieces of `push_s` seconds, to the nearest sample; the last may be shorter."""
    held = np.zeros(0, np.float32)
    given, number = 0, 1
    for piece in pieces:
        held = np.concatenate([held, piece])
        while len(held) >= (count := round(number * push_s * rate) - given):
            yield held[:count]
            held = held[count:]
            given, number = given + count, number + 1
    if len(held):
        yield held


def annotated(turns: Iterable[Turn], duration_s: float, name: str) -> Any:
    """Turns as a `pyannote.core.Annotation`, pieces of one turn joined."""
    return Diarization(tuple(joined(turns)), duration_s, name).annotation
