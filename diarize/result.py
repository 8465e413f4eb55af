"""What comes out: turns, a diarization, a verdict on a pair of voices."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize.calibration import ENOUGH_S

if TYPE_CHECKING:
    from pyannote.core import Annotation

    from diarize.kept import Kept


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """One speaker from `start` to `end`, in seconds.

    confidence : the probability that this speaker speaks for at least half of it, calibrated; None where it
        is not known: in final turns of a running stream, and for models that it was never measured for.
        Two turns that differ in it alone are equal.
    """

    start: float
    end: float
    speaker: str
    confidence: float | None = field(default=None, compare=False)

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"{clock(self.start)} - {clock(self.end)}  {self.speaker}"


@dataclass(frozen=True, slots=True)
class Match:
    """The known voice that a speaker sounds most like, and whether it is theirs.

    name : of the known voice
    score : cosine of the speaker's mean embedding and the voice's, in [-1, 1]
    threshold : the score from which speech of so many seconds on both sides is one speaker
    recognised : whether the speaker has that name. The score may be enough and the name another
        speaker's, where a voice is one speaker at most
    """

    name: str
    score: float
    threshold: float
    recognised: bool

    def __str__(self) -> str:
        sign = ">=" if self.score >= self.threshold else "<"
        return f"{self.name}, score {self.score:.3f} {sign} threshold {self.threshold:.3f}"


@dataclass(frozen=True, eq=False)
class Diarization:
    """Who spoke when in one recording.

    turns : by start; those of different speakers may overlap, those of one never touch
    duration : seconds of audio
    uri : the recording's name, as RTTM carries it
    embeddings : mean embedding of each speaker, (E,) float32, unit norm
    overlaps : where two voices are heard at once, (start, end) in seconds; none where it was not looked for
    alone : the turns with one speaker a moment, where they are others; see `exclusive`
    matches : the known voice that each speaker sounds most like; empty unless voices were enrolled
    kept : what it was made from, to be saved or corrected (`diarize.corrections`); None: not known
    """

    turns: tuple[Turn, ...]
    duration: float
    uri: str = "recording"
    embeddings: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    overlaps: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    alone: tuple[Turn, ...] | None = field(default=None, repr=False)
    matches: Mapping[str, Match] = field(default_factory=dict, repr=False)
    kept: Kept | None = field(default=None, repr=False)

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """Names in order of first appearance."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))

    @cached_property
    def speaking_time(self) -> dict[str, float]:
        """Seconds each speaker spoke."""
        times = dict.fromkeys(self.speakers, 0.0)
        for turn in self.turns:
            times[turn.speaker] += turn.duration
        return times

    @cached_property
    def recognised(self) -> dict[str, Match]:
        """The known voices that were heard, with score and threshold, in order of first appearance."""
        return {name: match for name, match in self.matches.items() if match.recognised}

    @cached_property
    def exclusive(self) -> Diarization:
        """The same with one speaker a moment, the one who is heard best: for giving words their speakers."""
        if self.alone is None:
            return self
        return replace(self, turns=self.alone, alone=None)

    @cached_property
    def annotation(self) -> Annotation:
        """The turns as a `pyannote.core.Annotation`."""
        from pyannote.core import Annotation, Segment

        annotation = Annotation(uri=self.uri)
        for track, turn in enumerate(self.turns):
            annotation[Segment(turn.start, turn.end), track] = turn.speaker
        return annotation

    def to_rttm(self) -> str:
        """The turns as RTTM lines, times in milliseconds."""
        from diarize.formats.rttm import format_rttm

        return format_rttm(self.turns, self.uri)

    def to(self, form: str) -> str:
        """The turns as the text of a format, by its name: rttm, json, csv, srt, vtt, textgrid, elan, ..."""
        from diarize.formats.registry import format_turns

        return format_turns(self.turns, self.uri, form, duration=self.duration, matches=self.matches)

    def write(self, path: str | Path) -> Path:
        """Write to a file, whole or not at all; its ending names the format, as `diarize convert` lists them.

        Returns its path. Raises FormatError for an ending that names none.
        """
        from diarize._files import atomic_write
        from diarize.formats.registry import by_ending

        path = Path(path)
        atomic_write(path, self.to(by_ending(path).name))
        return path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Diarization):
            return NotImplemented
        return (self.turns, self.duration) == (other.turns, other.duration)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return len(self.turns)

    def __str__(self) -> str:
        if not self.turns:
            return f"no speech in {clock(self.duration)}"
        return "\n".join(str(turn) for turn in self.turns)

    def _repr_svg_(self) -> str | None:
        """The timeline, in a notebook; None (plain text) without matplotlib."""
        if find_spec("matplotlib") is None:
            return None
        from diarize.plotting import timeline_svg

        return timeline_svg(self)


@dataclass(frozen=True, eq=False, slots=True)
class Voice:
    """What one recording says of its speaker.

    embedding : (E,) float32, unit norm
    seconds : of audio that was embedded
    speech_s : of that, speech
    """

    embedding: NDArray[np.float32]
    seconds: float
    speech_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two recordings are the same voice.

    score : cosine of the two embeddings, in [-1, 1]
    threshold : the score from which two recordings count as one speaker
    probability : that they are one speaker, calibrated: one half at the threshold measured for the model
        and these durations. None where there is too little speech to tell
    prior : how likely one speaker was held before hearing them; the probability depends on it
    speech_s : seconds of speech on the side that has less; None: not known
    """

    score: float
    threshold: float
    probability: float | None = None
    prior: float = 0.5
    speech_s: float | None = None

    @property
    def enough(self) -> bool:
        """Whether there is speech enough to tell voices apart, 1 s on both sides."""
        return self.speech_s is None or self.speech_s >= ENOUGH_S

    @property
    def same(self) -> bool:
        """True exactly when the score reaches the threshold."""
        return self.score >= self.threshold

    def __bool__(self) -> bool:
        return self.same

    def __str__(self) -> str:
        said, sign = ("same speaker", ">=") if self.same else ("different speakers", "<")
        figures = f"score {self.score:.3f} {sign} threshold {self.threshold:.3f}"
        if self.speech_s is not None and not self.enough:
            tenths = math.floor(10 * self.speech_s) / 10
            found = f"only {tenths:.1f} s of speech" if self.speech_s > 0 else "no speech"
            return f"{found}: not enough to tell, {ENOUGH_S:g} s on both sides is; {figures}"
        if self.probability is None:
            return f"{said}: {figures}"
        chance = min(max(self.probability, 0.001), 0.999)  # no data backs more certainty than that
        prior = "" if self.prior == 0.5 else f" (prior {self.prior:g})"
        return f"{said}: {figures}, probability {chance:.3f}{prior}"


def clock(seconds: float) -> str:
    """Seconds as 0:00:00.000."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def next_name(taken: Container[str]) -> str:
    """What a speaker without a name is called: SPEAKER_00, or the first number that is not taken."""
    return next(name for n in count() if (name := f"SPEAKER_{n:02d}") not in taken)


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """Turns in order of time, with those of one speaker that touch made one, of no known confidence."""
    found: list[Turn] = []
    last: dict[str, int] = {}
    for turn in turns:
        i = last.get(turn.speaker)
        if i is not None and found[i].end == turn.start:
            found[i] = Turn(found[i].start, turn.end, turn.speaker)
        else:
            last[turn.speaker] = len(found)
            found.append(turn)
    return found


def overlapping(turns: Iterable[Turn]) -> list[Turn]:
    """Turns by start, with those of one speaker that touch or overlap made one.

    Its confidence is the mean of theirs, weighted by their durations, where it is known.
    """
    found: list[list[Turn]] = []
    last: dict[str, list[Turn]] = {}
    ends: dict[str, float] = {}
    for turn in sorted(turns):
        if turn.start <= ends.get(turn.speaker, -1.0):
            last[turn.speaker].append(turn)
        else:
            last[turn.speaker] = [turn]
            found.append(last[turn.speaker])
        ends[turn.speaker] = max(ends.get(turn.speaker, 0.0), turn.end)
    return sorted(map(_one, found))


def _one(turns: Sequence[Turn]) -> Turn:
    """Turns of one speaker as one."""
    if len(turns) == 1:
        return turns[0]
    known = [(turn.duration, turn.confidence) for turn in turns if turn.confidence is not None]
    sure = sum(s * p for s, p in known) / sum(s for s, _ in known) if known else None
    return Turn(turns[0].start, max(turn.end for turn in turns), turns[0].speaker, sure)
