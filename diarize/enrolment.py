"""Known voices: recordings of people with names, to be recognised inside other recordings.

A voice is heard as diarization hears it: its speech in windows, whose mean row a window's row is
compared with while a stream runs; the mean direction of a speaker is compared with the mean direction
of a known voice once all is clustered. The set is open: whoever is nobody known stays a number.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE
from diarize.engine import unit
from diarize.errors import AudioError, ConfigError, ModelError
from diarize.result import Match
from diarize.stages.embedding import Embedder, repeat

logger = logging.getLogger(__name__)

FEW_S = 5.0
"""Seconds of speech below which a voice is known badly: it is said (`docs/decisions/0010-names.md`)."""


@dataclass(frozen=True, eq=False)
class KnownVoice:
    """A person's name, the sum of the rows of their windows (E,), how many, and seconds of speech."""

    name: str
    total: NDArray[np.float64]
    windows: float
    seconds: float


def enrol(
    name: str,
    recordings: Sequence[NDArray[np.float32]],
    embedder: Embedder,
    length: int,
    step: int,
    voiceprints: Sequence[KnownVoice] = (),
) -> KnownVoice:
    """A known voice from the speech (n,) of recordings of it, and from what was made of others before.

    length, step : of the windows, samples
    voiceprints : of the same person, whatever they are called there

    Raises AudioError where there is no speech; of little speech a warning is logged.
    """
    pieces = [
        repeat(samples[start : start + length], length)
        for samples in recordings
        for start in range(0, max(1, len(samples) - length + 1), step)
        if len(samples)
    ]
    if not pieces and not voiceprints:
        raise AudioError(f"{name}: no speech was found in the recording of this voice")
    total = np.zeros(embedder.embedding_size)
    if pieces:
        total = total + embedder(pieces).sum(0, dtype=np.float64)
    for voice in voiceprints:
        total = total + voice.total
    windows = len(pieces) + sum(voice.windows for voice in voiceprints)
    seconds = sum(len(samples) for samples in recordings) / SAMPLE_RATE
    seconds += sum(voice.seconds for voice in voiceprints)
    if seconds < FEW_S:
        logger.warning(
            "%s: known by %.1f s of speech only; with %g s or more this voice is recognised more surely",
            name,
            seconds,
            FEW_S,
        )
    return KnownVoice(name, total, windows, seconds)


def check_voices(known: Sequence[KnownVoice], size: int) -> None:
    """ModelError for a voice that another network heard, ConfigError for two of one name."""
    names = set()
    for voice in known:
        if voice.total.shape != (size,):
            raise ModelError(
                f"{voice.name}: a known voice must be of the model in use, with {size} numbers, got "
                f"{len(voice.total)}; enrol it anew"
            )
        if voice.name in names:
            raise ConfigError(f"two known voices are called {voice.name!r}; enrol their recordings together")
        names.add(voice.name)


def recognise(
    embeddings: Mapping[int, NDArray[np.float32]],
    seconds: Mapping[int, float],
    known: Sequence[KnownVoice],
    threshold: Callable[[float, float], float],
    *,
    one_to_one: bool = True,
    least: int = 1,
) -> dict[int, Match]:
    """Which speakers are which known voices: for each label the voice that it is, else the nearest one.

    embeddings, seconds : of each speaker, the mean direction (E,) and the seconds of speech
    threshold : the score from which two pieces of speech, of so many seconds, are one speaker
    one_to_one : a voice is one speaker at most, and as many are recognised as can be. Else all speakers
        that are like enough have its name, the likest first, while `least` different speakers are left
    """
    speakers = list(embeddings)
    if not speakers or not known:
        return {}
    voices = unit(np.stack([voice.total for voice in known]))
    scores = np.stack([embeddings[speaker] for speaker in speakers]).astype(np.float64) @ voices.T
    needed = np.array(
        [[threshold(seconds[speaker], voice.seconds) for voice in known] for speaker in speakers]
    )
    chosen = (_one_to_one if one_to_one else _many_to_one)(scores, scores >= needed, least)
    nearest = (scores - needed).argmax(1).tolist()
    found = {}
    for i, speaker in enumerate(speakers):
        j = chosen.get(i, nearest[i])
        found[speaker] = Match(known[j].name, float(scores[i, j]), float(needed[i, j]), i in chosen)
    return found


def _one_to_one(scores: NDArray[np.float64], enough: NDArray[np.bool_], least: int) -> dict[int, int]:
    """The voice of each recognised speaker: above all as many as can be, then the likest."""
    from scipy.optimize import linear_sum_assignment

    worth = np.where(enough, 2.0 + scores, 0.0)
    pairs = zip(*linear_sum_assignment(worth, maximize=True), strict=True)
    return {int(i): int(j) for i, j in pairs if worth[i, j]}


def _many_to_one(scores: NDArray[np.float64], enough: NDArray[np.bool_], least: int) -> dict[int, int]:
    """Each speaker's likest voice; of those that share one, as many as leave `least` speakers."""
    best = np.where(enough, scores, -np.inf).argmax(1)
    able = [i for i in range(len(scores)) if enough[i, best[i]]]
    able.sort(key=lambda i: (-scores[i, best[i]], i))
    spare = len(scores) - least
    chosen: dict[int, int] = {}
    for i in able:
        shared = int(best[i]) in chosen.values()
        if shared and spare <= 0:
            continue
        spare -= shared
        chosen[i] = int(best[i])
    return chosen
