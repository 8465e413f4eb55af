"""Known voices: recordings of people with names, to be recognised inside other recordings.

A voice is heard as diarization hears it: its speech in windows, whose mean row a window's row is
compared with while a stream runs; the mean direction of a speaker is compared with the mean direction
of a known voice once all is clustered. The set is open: whoever is nobody known stays a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE
from diarize.engine import unit
from diarize.errors import AudioError
from diarize.stages.embedding import Embedder, repeat


@dataclass(frozen=True, eq=False)
class KnownVoice:
    """A person's name, the sum of the rows of their windows (E,), how many, and seconds of speech."""

    name: str
    total: NDArray[np.float64]
    windows: float
    seconds: float


def enrol(
    name: str, recordings: Sequence[NDArray[np.float32]], embedder: Embedder, length: int, step: int
) -> KnownVoice:
    """A known voice from the speech (n,) of one or more recordings of it.

    length, step : of the windows, samples
    Raises AudioError where there is no speech.
    """
    pieces = [
        repeat(samples[start : start + length], length)
        for samples in recordings
        for start in range(0, max(1, len(samples) - length + 1), step)
        if len(samples)
    ]
    if not pieces:
        raise AudioError(f"{name}: no speech was found in the recording of this voice")
    rows = embedder(pieces)
    seconds = sum(len(samples) for samples in recordings) / SAMPLE_RATE
    return KnownVoice(name, rows.sum(0, dtype=np.float64), len(rows), seconds)


def recognise(
    embeddings: Mapping[int, NDArray[np.float32]],
    seconds: Mapping[int, float],
    known: Sequence[KnownVoice],
    threshold: Callable[[float, float], float],
) -> dict[int, str]:
    """Which speakers are which known voices, one-to-one: label to name; unknown ones are left out.

    embeddings, seconds : of each speaker, the mean direction (E,) and the seconds of speech
    threshold : the score from which two pieces of speech, of so many seconds, are one speaker
    """
    speakers = list(embeddings)
    if not speakers or not known:
        return {}
    from scipy.optimize import linear_sum_assignment

    voices = unit(np.stack([voice.total for voice in known]))
    scores = np.stack([embeddings[speaker] for speaker in speakers]).astype(np.float64) @ voices.T
    needed = np.array(
        [[threshold(seconds[speaker], voice.seconds) for voice in known] for speaker in speakers]
    )
    worth = np.where(scores >= needed, 2.0 + scores, 0.0)  # above all as many as are recognised at all
    return {
        speakers[i]: known[j].name
        for i, j in zip(*linear_sum_assignment(worth, maximize=True), strict=True)
        if worth[i, j]
    }
