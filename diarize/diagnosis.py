"""Where a diarization loses its points: the same recordings under five variants, each second with an owner.

    audio -> the VAD's speech        -> rows -> clustered as configured, and with the true count
          -> the reference's speech  -> rows -> the same two
                                  perfect labels: the reference, within the VAD's speech

Each recording is embedded twice, once for each speech; the counts share the rows. Everything is offline,
collar 0, overlap scored, within the UEM; seconds are as in `diarize.scoring`.

The variants:

As configured
    what `Diarizer` gives.
Perfect speech
    the reference's speech instead of the VAD's: in frames of 32 ms, each speech where the reference has it
    for at least half of it, nothing padded or filled. A region under ``windows.min_length_s`` still has no
    speaker.
True count
    as configured, but `num_speakers` is the number that the whole reference has within the recording, not
    just within the UEM. Without reference speech it is as configured.
Both
    perfect speech and the true count.
Perfect labels
    the floor with one speaker a moment: the VAD's speech in pieces of 10 ms, each with the reference
    speaker who speaks most in it. What it misses and hears too much costs VAD and overlap, whoever
    clusters.

The parts of the errors of a variant, which add up to them:

Missed speech
    somebody speaks and nobody was found; one voice of them.
False alarm
    nobody speaks and somebody was found; one voice of them.
Missed overlap
    voices beyond one that were not found beside another, or beside silence.
False overlap
    voices beyond one that were found where there are fewer.
Second speaker
    confusion where two at least speak and two at least were found.
Short turns
    other confusion while all who speak are in turns under 1 s. A turn is what a speaker says without a gap.
Boundaries
    other confusion, less than 0.5 s from where a turn begins or ends.
Rest
    other confusion.

The owners of the points of "as configured", which add up to its DER: the parts of "true count", and

Wrong count
    DER as configured minus DER with the true count; below 0 where another number serves better.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarize import scoring
from diarize.audio import SAMPLE_RATE
from diarize.config import Bounds, VadConfig
from diarize.errors import ConfigError
from diarize.pipeline import Diarizer
from diarize.result import Diarization
from diarize.stages.items import FRAME
from diarize.stream import Stream
from diarize.streaming_score import Recording

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline

VARIANTS = ("as_configured", "perfect_speech", "true_count", "both", "perfect_labels")

OWNERS = (
    "missed_speech",
    "false_alarm",
    "missed_overlap",
    "false_overlap",
    "second_speaker",
    "wrong_count",
    "short_turns",
    "boundaries",
    "rest",
)

PASSES = 2
"""Times that the audio of each recording passes."""

PIECE_S = 0.01
"""Seconds of speech that have one perfect label."""

NEAR_S = 0.5
"""Seconds from the edge of a turn that count as its boundary."""

SHORT_S = 1.0
"""Turns under so many seconds are short."""

EXACT = VadConfig(onset=0.5, offset=0.5, min_speech_s=0, min_silence_s=0, pad_s=0)
"""Regions that are the frames of speech, as they are."""

Progress = Callable[[float], None]
"""Called with the seconds of audio done, those of both passes added."""


@dataclass(frozen=True)
class Parts:
    """Seconds of error by their kind; the module's docstring says what they mean."""

    missed_speech_s: float = 0.0
    false_alarm_s: float = 0.0
    missed_overlap_s: float = 0.0
    false_overlap_s: float = 0.0
    second_speaker_s: float = 0.0
    short_turns_s: float = 0.0
    boundaries_s: float = 0.0
    rest_s: float = 0.0

    def __add__(self, other: Parts) -> Parts:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Parts(*(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def errors_s(self) -> float:
        """All of it: miss, false alarm and confusion."""
        return float(sum(dataclasses.astuple(self)))


@dataclass(frozen=True)
class Variant:
    """What one variant gave, against the reference."""

    score: scoring.Score | scoring.Overall
    parts: Parts


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """One recording, or with `recordings` all of them: seconds added first, rates made of the sums.

    variants : by the names in `VARIANTS`
    """

    name: str
    variants: dict[str, Variant]
    recordings: tuple[Diagnosis, ...] = ()

    @property
    def der(self) -> float:
        """As configured, 0.1 for 10 %."""
        return self.variants["as_configured"].score.der

    @property
    def owners_s(self) -> dict[str, float]:
        """Seconds of error as configured by the names in `OWNERS`; they add up to all of it."""
        counted = self.variants["true_count"].parts
        seconds = {
            field.name.removesuffix("_s"): getattr(counted, field.name) for field in dataclasses.fields(Parts)
        }
        seconds["wrong_count"] = self.variants["as_configured"].parts.errors_s - counted.errors_s
        return {owner: seconds[owner] for owner in OWNERS}

    @property
    def owners(self) -> dict[str, float]:
        """Shares of the reference speech, 0.1 for 10 %; they add up to the DER."""
        return {owner: self.rate("as_configured", seconds) for owner, seconds in self.owners_s.items()}

    def rate(self, variant: str, seconds: float) -> float:
        """Seconds of error as a share of the reference speech; of all errors (DER 1) where there is none."""
        one = self.variants[variant]
        whole = one.score.total_s or one.parts.errors_s
        return seconds / whole if whole else 0.0


def diagnose(
    diarizer: Diarizer, recordings: Iterable[Recording], *, progress: Progress | None = None
) -> Diagnosis:
    """Diarize recordings under all variants and find the owners of the points lost.

    Raises ConfigError without recordings, AudioError for one that cannot be read, DiarizeError where
    pyannote.metrics is not installed.
    """
    recordings = tuple(recordings)
    if not recordings:
        raise ConfigError("at least one recording is needed, got none")
    scoring.score(recordings[0].reference, recordings[0].reference)  # is the extra installed?
    done_s = 0.0

    def passed(seconds: float) -> None:
        if progress:
            progress(done_s + seconds)

    found = []
    for recording in recordings:
        hypotheses: dict[str, Annotation] = {}
        for one, names in (
            (diarizer, ("as_configured", "true_count")),
            (hearing(diarizer, recording.reference), ("perfect_speech", "both")),
        ):
            stream = streamed(one, recording, passed)
            done_s += stream.duration
            num_speakers = count_within(recording.reference, stream.duration)
            results = (stream.result(), recounted(stream, num_speakers))
            hypotheses |= zip(names, (result.annotation for result in results), strict=True)
        hypotheses["perfect_labels"] = relabelled(recording.reference, hypotheses["as_configured"])
        found.append(compared(recording.name, recording.reference, hypotheses, recording.uem))
    return together(found)


def compared(
    name: str, reference: Annotation, hypotheses: dict[str, Annotation], uem: Timeline | None = None
) -> Diagnosis:
    """One recording from its hypotheses, by the names in `VARIANTS`."""
    return Diagnosis(
        name,
        {
            variant: Variant(
                scoring.score(reference, hypotheses[variant], uem=uem),
                parts(reference, hypotheses[variant], uem),
            )
            for variant in VARIANTS
        },
    )


def together(recordings: Iterable[Diagnosis]) -> Diagnosis:
    """Many recordings as one."""
    recordings = tuple(recordings)
    variants = {}
    for name in VARIANTS:
        several = [one.variants[name] for one in recordings]
        scores: list[Any] = [variant.score for variant in several]
        total = sum((variant.parts for variant in several), Parts())
        variants[name] = Variant(scoring.aggregate(scores), total)
    return Diagnosis("overall", variants, recordings)


# The variants -----------------------------------------------------------------------------------------


def streamed(diarizer: Diarizer, recording: Recording, progress: Progress) -> Stream:
    """A finished stream of the recording, without a latency."""
    with recording.opened() as (rate, pieces):
        stream = diarizer.stream(sample_rate=rate, uri=recording.name)
        for piece in pieces:
            stream.push(piece)
            progress(stream.duration)
        stream.finish()
    return stream


def recounted(stream: Stream, num_speakers: int) -> Diarization:
    """What a finished stream's file gives with so many speakers, of the same rows; as configured for none."""
    if not num_speakers:
        return stream.result()
    settled = copy.copy(stream.settled)
    settled.bounds = Bounds.of(num_speakers, None, None)
    return settled.result(stream.duration, stream.uri)


def count_within(reference: Annotation, duration_s: float) -> int:
    """How many speakers the reference has until then."""
    from pyannote.core import Segment

    return len(reference.crop(Segment(0.0, duration_s)).labels())


def hearing(diarizer: Diarizer, reference: Annotation) -> Diarizer:
    """The same diarizer, with the speech of a reference for a VAD."""
    other = copy.copy(diarizer)
    other.config = dataclasses.replace(diarizer.config, vad=EXACT)
    other.vad = ReferenceSpeech(reference)
    return other


class ReferenceSpeech:
    """A VAD network that knows the truth: 1 where a frame of 32 ms is speech for at least half of it, else 0.

    It has no state of its own, as the real one: the number of frames heard travels in `h`.
    """

    def __init__(self, reference: Annotation) -> None:
        self.speech = reference.get_timeline()

    def __call__(
        self, frames: NDArray[np.float32], h: NDArray[np.float32], c: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """(n, 576) frames; returns (n,) probabilities and the new state."""
        first = round(float(h[0, 0, 0]))
        edges = np.arange(first, first + len(frames) + 1, dtype=np.float64) * (FRAME / SAMPLE_RATE)
        share = np.diff(seconds_before(self.speech, edges)) * SAMPLE_RATE / FRAME
        h = h.copy()
        h[0, 0, 0] = first + len(frames)  # whole up to 2 ** 24 frames, six days
        return (share >= 0.5 - 1e-6).astype(np.float32), h, c


def relabelled(reference: Annotation, hypothesis: Annotation) -> Annotation:
    """The speech of the hypothesis with perfect labels: for each 10 ms who speaks most in the reference.

    Where nobody does, the speaker before goes on; "nobody" is the speaker of a reference without turns.
    """
    from pyannote.core import Annotation, Segment

    labels = reference.labels() or ["nobody"]
    speech = hypothesis.get_timeline().support()
    found = Annotation(uri=hypothesis.uri)
    if not speech:
        return found
    edges = np.arange(int(speech.extent().end / PIECE_S) + 2, dtype=np.float64) * PIECE_S
    said = np.stack([np.diff(seconds_before(reference.label_timeline(label), edges)) for label in labels])
    heard = said.max(0) > 1e-9
    last = np.maximum.accumulate(np.where(heard, np.arange(len(heard)), -1))
    speakers = said.argmax(0)[np.where(last < 0, heard.argmax(), last)]
    cuts = np.flatnonzero(np.diff(speakers)) + 1
    for track, region in enumerate(speech):
        inside = edges[cuts[(edges[cuts] > region.start) & (edges[cuts] < region.end)]]
        times = [region.start, *inside.tolist(), region.end]
        for start, end in pairwise(times):
            found[Segment(start, end), track] = labels[speakers[int((start + end) / 2 / PIECE_S)]]
    return found


def seconds_before(turns: Timeline, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds that the turns, taken together, cover before each of the times (n,)."""
    merged = np.array([[turn.start, turn.end] for turn in turns.support()], np.float64).reshape(-1, 2)
    if not len(merged):
        return np.zeros(len(times))
    after = np.cumsum(merged[:, 1] - merged[:, 0])
    covered = np.stack([np.concatenate([[0.0], after[:-1]]), after], 1)
    before: NDArray[np.float64] = np.interp(times, merged.ravel(), covered.ravel())
    return before


# The parts --------------------------------------------------------------------------------------------


def parts(reference: Annotation, hypothesis: Annotation, uem: Timeline | None = None) -> Parts:
    """The errors of one recording by their kind; without a UEM from 0 to the last end in either."""
    from pyannote.core import Segment

    scored = scoring.scored_part(reference, hypothesis) if uem is None else uem.support()
    mapped = scoring.mapping(reference, hypothesis, uem=scored)
    turns = [turn for label in reference.labels() for turn in reference.label_timeline(label).support()]
    near = [Segment(edge - NEAR_S, edge + NEAR_S) for turn in turns for edge in (turn.start, turn.end)]
    long = [turn for turn in turns if turn.duration >= SHORT_S - 1e-6]
    everything = [*scored, *reference.get_timeline(), *hypothesis.get_timeline(), *turns, *near]
    times = np.unique([edge for segment in everything for edge in (segment.start, segment.end)])

    def number(segments: Iterable[Any]) -> NDArray[np.int64]:
        """How many of the segments each stretch of time lies in."""
        steps = np.zeros(len(times), np.int64)
        for segment in segments:
            steps[np.searchsorted(times, segment.start)] += 1
            steps[np.searchsorted(times, segment.end)] -= 1
        return np.cumsum(steps)[:-1]

    def by_speaker(annotation: Annotation) -> dict[Any, NDArray[np.int64]]:
        found: dict[Any, list[Any]] = {label: [] for label in annotation.labels()}
        for segment, _, label in annotation.itertracks(yield_label=True):
            found[label].append(segment)
        return {label: number(segments) for label, segments in found.items()}

    if len(times) < 2:
        return Parts()
    seconds = np.diff(times) * (number(scored) > 0)
    said, found = by_speaker(reference), by_speaker(hypothesis)
    truth, guess = (sum(each.values(), np.zeros(len(seconds), np.int64)) for each in (said, found))
    right = sum(np.minimum(found[mine], said[theirs]) for mine, theirs in mapped.items())
    confused = np.minimum(truth, guess) - right
    missed, false = (truth > 0) & (guess == 0), (truth == 0) & (guess > 0)
    short = number(long) == 0
    boundary = ~short & (number(near) > 0)
    second = confused * (np.minimum(truth, guess) > 1)
    confused = confused - second
    kinds = [
        missed,
        false,
        np.maximum(truth - guess, 0) - missed,
        np.maximum(guess - truth, 0) - false,
        second,
    ]
    kinds += [confused * short, confused * boundary, confused * ~(short | boundary)]
    return Parts(*(float((seconds * kind).sum()) for kind in kinds))
