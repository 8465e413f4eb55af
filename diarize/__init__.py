"""Streaming speaker diarization: who spoke when, and is this the same voice.

    from diarize import Diarizer

    diarizer = Diarizer()
    print(diarizer("meeting.m4a"))
    print(diarizer.verify("a.wav", "b.wav"))

Importing this loads nothing heavy; the names arrive when they are used.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diarize.config import Config
    from diarize.errors import (
        AudioError,
        ConfigError,
        CorrectionError,
        DiarizeError,
        FormatError,
        ModelError,
        SpeakerCountWarning,
        StreamFinished,
    )
    from diarize.kept import Kept
    from diarize.pipeline import Diarizer
    from diarize.result import Diarization, Turn, Verdict, Voice
    from diarize.stream import Stream

__version__ = "0.1.0.dev0"

__all__ = [
    "AudioError",
    "Config",
    "ConfigError",
    "CorrectionError",
    "Diarization",
    "DiarizeError",
    "Diarizer",
    "FormatError",
    "Kept",
    "ModelError",
    "SpeakerCountWarning",
    "Stream",
    "StreamFinished",
    "Turn",
    "Verdict",
    "Voice",
]

_HOMES = {
    "Config": "config",
    "Diarization": "result",
    "Diarizer": "pipeline",
    "Kept": "kept",
    "Stream": "stream",
    "Turn": "result",
    "Verdict": "result",
    "Voice": "result",
}

logging.getLogger("diarize").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'diarize' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"diarize.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
