"""How good, how steady and how late a stream is: the streaming code itself, run over scored recordings.

    pieces of audio -> Stream.push -> final turns; at every tick Stream.hypothesis -> errors, churn, ages

What the numbers mean, for one latency (errors as in `diarize.scoring`, collar 0, overlap scored):

Final
    errors of the turns that `push` and `finish` returned.
Shown
    errors of what stood on the screen: at every tick of audio the final turns and the hypothesis are
    looked at, and each stretch of time keeps the speaker that it had when it was first looked at. A tick
    shows the audio up to `Stream.duration`; what comes after the last tick is shown by `finish`. Not
    measured for unlimited latency, where every look is a clustering of everything so far.
Offline
    errors of `Stream.result()`; they do not depend on the latency.
Churn
    of the speech that two successive ticks both show and that was not final at the earlier one, the share
    whose speaker's name changed, by another guess or on becoming final. `finish` is the last tick.
Age
    how old speech was, on the audio clock, when its final turn was returned: the audio pushed until then
    minus the place of the speech, for the first sample of every 10 ms. Time to compute is not in it. It is
    at most the latency asked for, plus less than a push where pushes do not end with the frames of the VAD
    (at rates other than 16 kHz, or with another `push_s`).
Real-time factor
    seconds spent in `push` and `finish` for a second of audio; decoding, looking, scoring and `result()`
    are not in it. One stream at a time, after both networks have run once.
Quick
    all latencies side by side on the same pieces, what the networks say computed once for all of them.
    The turns are the same; seconds of computing would mean nothing, and are None.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarize import scoring
from diarize._watch import Watch, annotated, cut, drive
from diarize.audio import SAMPLE_RATE, Samples, Source, as_samples, open_audio
from diarize.errors import AudioError, ConfigError
from diarize.pipeline import Diarizer, is_file
from diarize.stages.embedding import Embedder
from diarize.stages.items import FRAME
from diarize.stream import Stream

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline

LATENCIES_S = (0.5, 1.0, 2.0, 5.0, 10.0, None)
"""Seconds; None is unlimited."""

PUSH_S = FRAME / SAMPLE_RATE
"""Seconds pushed at once: a frame of the VAD, 32 ms."""

EVERY_S = 0.5
"""Seconds of audio between two looks at the hypothesis."""

KEPT_ROWS = 8192
"""Rows that streams side by side share; what is computed again after that is the same."""

Progress = Callable[[float], None]
"""Called with the seconds of audio done, those of every latency added."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What is streamed, and the truth about it.

    source : a file's path, a binary file object, or samples (n,), these with their `sample_rate` in Hz
    uem : the parts to score; without it, from 0 to the last end in reference or hypothesis
    """

    name: str
    source: Source
    reference: Annotation
    uem: Timeline | None = None
    sample_rate: int | None = None

    @contextmanager
    def opened(self) -> Iterator[tuple[int, Iterable[Samples]]]:
        """Its sample rate in Hz, and its pieces (n,) as they are decoded."""
        source: Any = self.source
        if is_file(source):
            with open_audio(source) as file:
                yield file.sample_rate, file
        elif self.sample_rate is None:
            raise AudioError(f"{self.name}: samples carry no rate; pass sample_rate=, for example 16000")
        else:
            yield self.sample_rate, [as_samples(source)]


@dataclass(frozen=True, eq=False)
class _Measured:
    latency_s: float | None
    duration_s: float
    twice_shown_s: float
    changed_s: float
    ages_s: NDArray[np.float64] = field(repr=False)
    compute_s: float | None
    longest_push_s: float | None

    @property
    def churn(self) -> float | None:
        """Share of the speech shown twice that changed its speaker; None where none was shown twice."""
        return self.changed_s / self.twice_shown_s if self.twice_shown_s else None

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of computing for a second of audio; None where it was not measured."""
        return None if self.compute_s is None or not self.duration_s else self.compute_s / self.duration_s

    def age_s(self, percent: float) -> float | None:
        """Seconds of age that so many percent of the speech did not exceed; 50 is the median, 100 the worst.

        None where there is no speech.
        """
        return float(np.percentile(self.ages_s, percent)) if len(self.ages_s) else None


@dataclass(frozen=True, eq=False)
class Streamed(_Measured):
    """One recording at one latency; the module's docstring says what everything means.

    latency_s, duration_s : seconds of latency asked for (None: unlimited) and of audio
    twice_shown_s, changed_s : seconds of speech that two successive ticks showed; that changed its speaker
    ages_s : (n,) float64, seconds, of every 10 ms of the final turns
    compute_s, longest_push_s : seconds in all pushes and `finish`, in the longest push; None in quick mode
    final, shown, offline : errors; `shown` is None for unlimited latency
    """

    name: str
    final: scoring.Score
    shown: scoring.Score | None
    offline: scoring.Score


@dataclass(frozen=True, eq=False)
class StreamedOverall(_Measured):
    """Many recordings at one latency: seconds are added first, ages put together, the longest push taken.

    Fields as in `Streamed`, and `recordings`, each by itself.
    """

    final: scoring.Overall
    shown: scoring.Overall | None
    offline: scoring.Overall
    recordings: tuple[Streamed, ...]


def measure(
    diarizer: Diarizer,
    recordings: Iterable[Recording],
    latencies_s: Iterable[float | None] = LATENCIES_S,
    *,
    every_s: float = EVERY_S,
    push_s: float = PUSH_S,
    quick: bool = False,
    num_speakers: int | None = None,
    progress: Progress | None = None,
) -> tuple[StreamedOverall, ...]:
    """Stream recordings and score what comes out; one row a latency, in their order.

    latencies_s : seconds, or None for unlimited
    every_s : seconds of audio between two looks at the hypothesis, in whole pushes
    push_s : seconds of audio pushed at once, at the recording's own rate
    quick : all latencies side by side, which leaves computing time unmeasured
    num_speakers : as for `Diarizer.stream`

    Raises ConfigError, before any work, for nothing to measure and for latencies that cannot be; AudioError
    for a recording that cannot be read, DiarizeError where pyannote.metrics is not installed.
    """
    recordings, latencies = tuple(recordings), tuple(dict.fromkeys(latencies_s))
    if not recordings or not latencies:
        raise ConfigError(
            f"at least one recording and one latency are needed, got {len(recordings)} and {len(latencies)}"
        )
    for name, value in (("every_s", every_s), ("push_s", push_s)):
        if not 0.001 <= value < math.inf:
            raise ConfigError(f"{name} must be at least 0.001 (seconds), got {value}")
    if quick:
        diarizer = sharing(diarizer)

    def begin(latency_s: float | None, rate: int) -> Stream:
        return diarizer.stream(latency_s=latency_s, sample_rate=rate, num_speakers=num_speakers)

    scoring.score(recordings[0].reference, recordings[0].reference)  # is the extra installed?
    for recording in recordings:
        with recording.opened() as (rate, _):
            begin(min((s for s in latencies if s is not None), default=None), rate)
    if not quick:
        warm_up(diarizer)
    done_s = 0.0
    found: dict[float | None, list[Streamed]] = {latency: [] for latency in latencies}
    for group in [latencies] if quick else [(latency,) for latency in latencies]:
        for recording in recordings:
            with recording.opened() as (rate, pieces):
                watches = [Watch(begin(s, rate), guesses=s is not None) for s in group]
                for now in drive(watches, cut(pieces, rate, push_s), rate, every_s):
                    if progress:
                        progress(done_s + now * len(group))
            for latency, watch in zip(group, watches, strict=True):
                done_s += watch.now
                found[latency].append(scored(watch, recording, latency, timed=not quick))
    return tuple(overall(streamed) for streamed in found.values())


def scored(watch: Watch, recording: Recording, latency_s: float | None, *, timed: bool = True) -> Streamed:
    """What was seen of a finished stream, against the truth."""

    def score(turns: Iterable[Any]) -> scoring.Score:
        hypothesis = annotated(turns, watch.now, recording.name)
        return scoring.score(recording.reference, hypothesis, uem=recording.uem)

    return Streamed(
        latency_s=latency_s,
        duration_s=watch.now,
        twice_shown_s=watch.twice_shown_s,
        changed_s=watch.changed_s,
        ages_s=watch.ages_s,
        compute_s=watch.compute_s if timed else None,
        longest_push_s=watch.longest_push_s if timed else None,
        name=recording.name,
        final=score(watch.finals),
        shown=score(watch.shown) if watch.guesses else None,
        offline=score(watch.stream.result().turns),
    )


def overall(recordings: Sequence[Streamed]) -> StreamedOverall:
    """Recordings at one latency as one."""
    shown = [one.shown for one in recordings if one.shown is not None]
    compute = [one.compute_s for one in recordings if one.compute_s is not None]
    pushes = [one.longest_push_s for one in recordings if one.longest_push_s is not None]
    return StreamedOverall(
        latency_s=recordings[0].latency_s,
        duration_s=sum(one.duration_s for one in recordings),
        twice_shown_s=sum(one.twice_shown_s for one in recordings),
        changed_s=sum(one.changed_s for one in recordings),
        ages_s=np.concatenate([one.ages_s for one in recordings]),
        compute_s=sum(compute) if compute else None,
        longest_push_s=max(pushes, default=None),
        final=scoring.aggregate(one.final for one in recordings),
        shown=scoring.aggregate(shown) if shown else None,
        offline=scoring.aggregate(one.offline for one in recordings),
        recordings=tuple(recordings),
    )


def warm_up(diarizer: Diarizer) -> None:
    """Have both networks run once: their first call allocates, which is not what a push costs."""
    with diarizer.stream() as stream:
        stream.push(np.zeros(FRAME, np.float32))
    diarizer.embedder([np.zeros(diarizer.config.windows.length, np.float32)])


def sharing(diarizer: Diarizer) -> Diarizer:
    """The same diarizer, for streams side by side in one thread: they share the rows of their windows."""
    shared = copy.copy(diarizer)
    shared.embedder = SharedRows(diarizer.embedder)
    return shared


class SharedRows:
    """An embedder that computes the row of each piece of samples once, whoever asks.

    Rows depend on their own samples only (law 6), so it changes nothing that comes out.
    """

    def __init__(self, embedder: Embedder, most: int = KEPT_ROWS) -> None:
        self.embedder = embedder
        self.embedding_size = embedder.embedding_size
        self.most = most
        self.rows: dict[bytes, NDArray[np.float32]] = {}
        for name in ("tile", "alone"):  # or everything would be embedded exactly
            if (method := getattr(embedder, name, None)) is not None:
                setattr(self, name, method)

    def __call__(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed n pieces of samples; returns (n, E) float32."""
        keys = [hashlib.blake2b(piece.tobytes(), digest_size=16).digest() for piece in pieces]
        new = {key: piece for key, piece in zip(keys, pieces, strict=True) if key not in self.rows}
        if new:
            self.rows |= zip(new, self.embedder(list(new.values())), strict=True)
        found = np.zeros((len(keys), self.embedding_size), np.float32)
        for row, key in zip(found, keys, strict=True):
            row[:] = self.rows[key]
        for key in list(self.rows)[: max(0, len(self.rows) - self.most)]:
            del self.rows[key]
        return found
