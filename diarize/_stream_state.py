"""What one stream is: its options, where it is, and how both are saved."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize._table import Table
from diarize.config import Bounds, Config
from diarize.enrolment import KnownVoice
from diarize.live import LiveState
from diarize.resampling import SAMPLE_RATE, ResamplerState
from diarize.settled import SettledState
from diarize.stages.embedding import Embedder, EmbeddingState
from diarize.stages.held import Held
from diarize.stages.overlap import OverlapState, Segmenter
from diarize.stages.vad import VadState

NO_MATTER = ("engine", "device", "precision", "threads")
"""Options that a saved stream need not find again: the turns depend on them by rounding at most."""


@dataclass(frozen=True)
class Models:
    """What every stream of a diarizer shares: options, networks, thresholds."""

    config: Config
    vad: Any
    embedder: Embedder
    segmenter: Segmenter | None
    threshold: Callable[[float, float], float]


@dataclass(frozen=True)
class StreamOptions:
    """What one stream was asked for."""

    latency_s: float | None = None
    sample_rate: int = SAMPLE_RATE
    bounds: Bounds = field(default_factory=Bounds)
    uri: str = "recording"
    known: tuple[KnownVoice, ...] = ()
    started: str | None = None
    one_to_one: bool = True


@dataclass
class StreamState:
    """Where one stream is, all of it.

    num_samples : that passed the stages (16 kHz)
    finals : start, end, label
    """

    settled: SettledState
    resampler: ResamplerState
    pending: list[NDArray[np.float32]] = field(default_factory=list)
    num_samples: int = 0
    finished: bool = False
    vad: VadState = field(default_factory=VadState)
    held: Held = field(default_factory=Held)
    embedding: EmbeddingState = field(default_factory=EmbeddingState)
    overlap: OverlapState = field(default_factory=OverlapState)
    live: LiveState | None = None
    finals: Table = field(default_factory=lambda: Table(3))


@dataclass
class SavedStream:
    """A stream with what it needs to go on elsewhere."""

    config: str
    options: StreamOptions
    state: StreamState


def fingerprint(config: Config) -> str:
    """What a saved stream must find again: every option that the turns depend on."""
    values = dataclasses.asdict(config)
    return json.dumps({name: value for name, value in values.items() if name not in NO_MATTER})
