"""Conversations that the fake networks hear exactly, with what is true of them."""

from __future__ import annotations

import numpy as np
from fakes import RATE, FakeEmbedder, SharpVad, silence, speech
from pyannote.core import Annotation, Segment, Timeline

from diarize import Diarizer
from diarize.streaming_score import Recording


def annotation(*turns: tuple[float, float, str]) -> Annotation:
    made = Annotation()
    for track, (start, end, speaker) in enumerate(turns):
        made[Segment(start, end), track] = speaker
    return made


def talk(seed: int, uem: Timeline | None = None, names: str = "ABC") -> Recording:
    """Turns of three voices, of more speakers if there are more names; when is known to the sample."""
    rng = np.random.default_rng(seed)
    pieces, turns, now = [], [], 0.0
    for i in range(14):
        pause, length = float(rng.choice([0.0, 0.4, 2.0])), round(float(rng.uniform(0.5, 5.0)), 3)
        pieces += [silence(pause), speech((0.0, 0.18, 0.4)[i % 3], length, rng)]
        turns.append((now + pause, now + pause + length, names[i % len(names)]))
        now += pause + length
    return Recording(f"talk{seed}", np.concatenate(pieces), annotation(*turns), uem, RATE)


def fake_diarizer(embedder: FakeEmbedder | None = None) -> Diarizer:
    return Diarizer(embedder=embedder or FakeEmbedder(), vad=SharpVad())


TALKS = [talk(1), talk(2, Timeline([Segment(4, 24)]), names="ABCDE")]
