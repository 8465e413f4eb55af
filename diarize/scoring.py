"""How far a hypothesis is from a reference: DER with its parts, JER and the number of speakers.

The computation is pyannote.metrics' (``pip install 'diarize-campplus[score]'``). What the numbers mean:

DER
    (miss + false alarm + confusion) / total, with hypothesis speakers mapped one-to-one to reference
    speakers so that their common time is greatest. ``total`` is reference speech in seconds, counted
    once for every speaker who is talking, within the scored part.
Collar
    ``collar_s`` seconds on *each side* of every reference boundary are not scored (as in NIST's
    md-eval; pyannote's own ``collar`` is twice that). The mapping is made on what remains, as
    pyannote does; md-eval maps before it takes the collar away.
Overlap
    is scored, unless ``skip_overlap``: then where two reference turns overlap, nothing is scored.
    A speaker's own turns that overlap each other count once each, as in pyannote (md-eval counts them once
    together).
Scored part
    the UEM; without one, from 0 to the last end in reference or hypothesis.
JER
    1 minus the Jaccard index of a reference speaker and its mapped speaker, averaged over reference
    speakers (DIHARD II); always with collar 0 and overlap scored.
Exact count
    whether the scored part holds as many speakers in both, collar or not; over many recordings, the
    share of those with at least 2 s of reference speech.
Nothing to divide by
    A recording without reference speech has DER 0 if the hypothesis has none either, else 1 (all of
    it false alarm); its JER is 0, there being no reference speaker to average over. Its false alarm
    still counts, in seconds, in the DER over many recordings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, DiarizeError

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline

MIN_SPEECH_S = 2.0
"""Recordings with less reference speech, in seconds, are left out of the exact count."""


@dataclass(frozen=True)
class Convention:
    """What of a recording is scored.

    collar_s : seconds left out on each side of a reference boundary.
    skip_overlap : whether parts where reference turns overlap are left out.
    """

    collar_s: float = 0.0
    skip_overlap: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.collar_s) and self.collar_s >= 0):
            raise ConfigError(
                f"collar_s must be >= 0 (seconds on each side of a reference boundary), got {self.collar_s}"
            )

    def __str__(self) -> str:
        collar = f"collar {self.collar_s:g} s a side" if self.collar_s else "collar 0"
        return f"{collar}, overlap {'not ' if self.skip_overlap else ''}scored"


CONVENTIONS = (
    Convention(0.0, skip_overlap=False),
    Convention(0.25, skip_overlap=False),
    Convention(0.0, skip_overlap=True),
    Convention(0.25, skip_overlap=True),
)
"""The four conventions that papers use; the first is the strictest, and ours."""


@dataclass(frozen=True)
class _Parts:
    """Seconds of error and the rates made of them; see the module's docstring for their meaning."""

    convention: Convention
    total_s: float
    miss_s: float
    false_alarm_s: float
    confusion_s: float
    speech_s: float
    jaccard_error: float
    num_reference_speakers: int
    num_hypothesis_speakers: int

    def _rate(self, seconds: float) -> float:
        if self.total_s > 0:
            return seconds / self.total_s
        return 1.0 if seconds > 0 else 0.0

    @property
    def der(self) -> float:
        """Diarization error rate, 0.1 for 10 %; it can be greater than 1."""
        return self._rate(self.miss_s + self.false_alarm_s + self.confusion_s)

    @property
    def miss(self) -> float:
        """Missed speech as a share of the total."""
        return self._rate(self.miss_s)

    @property
    def false_alarm(self) -> float:
        """False alarm as a share of the total."""
        return self._rate(self.false_alarm_s)

    @property
    def confusion(self) -> float:
        """Speech given to the wrong speaker, as a share of the total."""
        return self._rate(self.confusion_s)

    @property
    def jer(self) -> float:
        """Jaccard error rate, in [0, 1], averaged over reference speakers; collar 0, overlap scored."""
        return self.jaccard_error / self.num_reference_speakers if self.num_reference_speakers else 0.0


@dataclass(frozen=True)
class Score(_Parts):
    """One recording under one convention.

    total_s, miss_s, false_alarm_s, confusion_s : seconds, under the convention; `der`, `miss`,
    `false_alarm` and `confusion` are their rates.
    speech_s : reference speech in the scored part with collar 0 and overlap scored (``total_s`` there).
    jaccard_error : sum over reference speakers of 1 - Jaccard index; `jer` is its mean.
    num_reference_speakers, num_hypothesis_speakers : speakers in the scored part.
    """

    uri: str | None = None

    @property
    def exact_count(self) -> bool:
        """Whether the hypothesis has as many speakers as the reference."""
        return self.num_reference_speakers == self.num_hypothesis_speakers


@dataclass(frozen=True)
class Overall(_Parts):
    """Many recordings under one convention: sums of the fields of their scores, rates of the sums.

    num_recordings : recordings in the sums.
    num_counted : those with at least 2 s of reference speech.
    num_exact : those of them whose number of speakers is exact.
    """

    num_recordings: int = 0
    num_counted: int = 0
    num_exact: int = 0

    @property
    def exact_count(self) -> float:
        """Share of the counted recordings whose number of speakers is exact; 0 where none is counted."""
        return self.num_exact / self.num_counted if self.num_counted else 0.0


def score(
    reference: Annotation,
    hypothesis: Annotation,
    *,
    uem: Timeline | None = None,
    collar_s: float = 0.0,
    skip_overlap: bool = False,
) -> Score:
    """Score one recording; the module's docstring says what every number means.

    Parameters
    ----------
    reference, hypothesis :
        who spoke when, in truth and by the machine; their uris are not compared.
    uem :
        the parts to score; without it, from 0 to the last end in reference or hypothesis.
    collar_s :
        seconds left out on each side of every reference boundary.
    skip_overlap :
        leave out the parts where reference turns overlap.

    Raises
    ------
    DiarizeError
        when pyannote.metrics is not installed.
    """
    return score_under((Convention(collar_s, skip_overlap),), reference, hypothesis, uem=uem)[0]


def score_under(
    conventions: Sequence[Convention],
    reference: Annotation,
    hypothesis: Annotation,
    *,
    uem: Timeline | None = None,
) -> tuple[Score, ...]:
    """Score one recording under several conventions; what they share is computed once."""
    error_rate, jaccard = _metrics()
    scored = scored_part(reference, hypothesis) if uem is None else uem.support()

    def parts(convention: Convention) -> Any:
        metric = error_rate(collar=2 * convention.collar_s, skip_overlap=convention.skip_overlap)
        return metric(reference, hypothesis, uem=scored, detailed=True)

    strict = parts(CONVENTIONS[0])
    num_speakers = [len(annotation.crop(scored).labels()) for annotation in (reference, hypothesis)]
    jaccard_error = 0.0  # older pyannote.metrics divide by the number of reference speakers unasked
    if num_speakers[0]:
        jaccard_error = float(jaccard()(reference, hypothesis, uem=scored, detailed=True)["speaker error"])
    scores = []
    for convention in conventions:
        values = strict if convention == CONVENTIONS[0] else parts(convention)
        scores.append(
            Score(
                uri=reference.uri,
                convention=convention,
                total_s=float(values["total"]),
                miss_s=float(values["missed detection"]),
                false_alarm_s=float(values["false alarm"]),
                confusion_s=float(values["confusion"]),
                speech_s=float(strict["total"]),
                jaccard_error=jaccard_error,
                num_reference_speakers=num_speakers[0],
                num_hypothesis_speakers=num_speakers[1],
            )
        )
    return tuple(scores)


def scored_part(reference: Annotation, hypothesis: Annotation) -> Timeline:
    """What is scored without a UEM: from 0 to the last end in reference or hypothesis."""
    from pyannote.core import Segment, Timeline

    end = max((a.get_timeline().extent().end for a in (reference, hypothesis) if a), default=0.0)
    return Timeline([Segment(0.0, end)])


def mapping(reference: Annotation, hypothesis: Annotation, *, uem: Timeline) -> dict[Any, Any]:
    """The reference speaker of each hypothesis speaker that has one, as DER maps them within the UEM."""
    error_rate, _ = _metrics()
    found: dict[Any, Any] = error_rate().optimal_mapping(reference.crop(uem), hypothesis.crop(uem))
    return found


def aggregate(scores: Iterable[Score]) -> Overall:
    """The scores of many recordings as one: seconds are added first, rates are made of the sums.

    Raises
    ------
    ConfigError
        when there is no score, or they do not share one convention.
    """
    scores = tuple(scores)
    conventions = {s.convention for s in scores}
    if len(conventions) != 1:
        got = "; ".join(sorted(str(c) for c in conventions)) or "no score at all"
        raise ConfigError(f"scores must be at least one and share one convention, got {got}")
    counted = [s for s in scores if s.speech_s >= MIN_SPEECH_S]
    return Overall(
        convention=scores[0].convention,
        total_s=sum(s.total_s for s in scores),
        miss_s=sum(s.miss_s for s in scores),
        false_alarm_s=sum(s.false_alarm_s for s in scores),
        confusion_s=sum(s.confusion_s for s in scores),
        speech_s=sum(s.speech_s for s in scores),
        jaccard_error=sum(s.jaccard_error for s in scores),
        num_reference_speakers=sum(s.num_reference_speakers for s in scores),
        num_hypothesis_speakers=sum(s.num_hypothesis_speakers for s in scores),
        num_recordings=len(scores),
        num_counted=len(counted),
        num_exact=sum(s.exact_count for s in counted),
    )


def _metrics() -> tuple[Any, Any]:
    try:
        from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate
    except ImportError as error:
        raise DiarizeError(
            f"scoring needs pyannote.metrics ({error}); pip install 'diarize-campplus[score]'"
        ) from error
    return DiarizationErrorRate, JaccardErrorRate
