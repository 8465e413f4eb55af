"""What a client of a live stream may say: JSON texts, checked key by key (docs/server.md)."""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import dataclass
from typing import Any

from diarize.config import Bounds
from diarize.errors import AudioError, ConfigError
from diarize.resampling import checked_rate
from diarize.server.refusals import Refusal

CONTAINERS = ("webm", "ogg")
RAW = ("s16le", "f32le")
CONTAINER_RATE = 48000
"""What Opus is decoded at."""

LONGEST_TEXT = 64 * 1024
MAX_LATENCY_S = 60.0
MAX_SPEAKERS = 100
MAX_NAME = 200


@dataclass(frozen=True)
class Start:
    """The first message of a new stream."""

    format: str
    sample_rate: int = 16000
    latency_s: float = 2.0
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    guesses: bool = True
    name: str = "live"
    token: str | None = None

    @property
    def counts(self) -> dict[str, int | None]:
        """How many speakers, as `Diarizer.stream` takes it."""
        return {
            "num_speakers": self.num_speakers,
            "min_speakers": self.min_speakers,
            "max_speakers": self.max_speakers,
        }


@dataclass(frozen=True)
class Resume:
    """The first message of a client who comes back: the stream, and the last final turn that it has."""

    stream: str
    have: int = 0
    token: str | None = None


def parse(text: str) -> dict[str, Any]:
    """A message as a dictionary with a `type`; Refusal for anything else."""
    if len(text) > LONGEST_TEXT:
        raise Refusal(
            "too_long", f"a text message must have at most {LONGEST_TEXT} characters, got {len(text)}"
        )
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise bad(f'a text message must be a JSON object with a "type", got {text[:80]!r}')
    return said


def parse_start(said: dict[str, Any]) -> Start | Resume:
    """The first message; Refusal for an unknown key, a wrong value, or another type."""
    if said["type"] != "start":
        raise bad(f'the first message must be of type "start", got {said["type"][:40]!r}')
    said = {name: value for name, value in said.items() if name != "type"}
    if said.get("resume") is not None:
        have = said.get("have", 0)
        if not isinstance(said["resume"], str) or not is_whole(have) or have < 0:
            raise bad("resume must be the id of a stream, and have the number of the last turn, or 0")
        return Resume(said["resume"], have, text_or_none(said, "token"))
    said = {name: value for name, value in said.items() if name not in ("resume", "have")}
    for name in said:
        if name not in Start.__dataclass_fields__:
            near = difflib.get_close_matches(name, Start.__dataclass_fields__, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise bad(f"start has no key {name[:40]!r}{meant}")
    return checked_start({name: value for name, value in said.items() if value is not None})


def checked_start(said: dict[str, Any]) -> Start:
    """Every value of its kind and within its limits."""
    format = said.get("format")
    if format not in (*RAW, *CONTAINERS):
        known = ", ".join((*RAW, *CONTAINERS))
        raise Refusal("unsupported", f"format must be one of {known}, got {format!r:.40}")
    if format in CONTAINERS:
        said["sample_rate"] = CONTAINER_RATE
    for name in ("sample_rate", "num_speakers", "min_speakers", "max_speakers"):
        if name in said and not is_whole(said[name]):
            raise bad(f"{name} must be a whole number, got {said[name]!r:.40}")
    for name in ("num_speakers", "min_speakers", "max_speakers"):
        if not 1 <= said.get(name, 1) <= MAX_SPEAKERS:
            raise bad(f"{name} must be from 1 to {MAX_SPEAKERS}, got {said[name]}")
    said["latency_s"] = number(said, "latency_s", 2.0)
    if not 0 < said["latency_s"] <= MAX_LATENCY_S:
        raise bad(f"latency_s must be > 0 and at most {MAX_LATENCY_S:g}, got {said['latency_s']:g}")
    if not isinstance(said.get("guesses", True), bool):
        raise bad(f"guesses must be true or false, got {said['guesses']!r:.40}")
    name = text_or_none(said, "name") or "live"
    if len(name) > MAX_NAME or not name.isprintable():
        raise bad(f"name must be at most {MAX_NAME} characters of one line, got {len(name)}: {name[:40]!r}")
    text_or_none(said, "token")
    try:
        start = Start(**(said | {"name": name}))
        checked_rate(start.sample_rate)
        Bounds.of(*start.counts.values())
    except AudioError as error:
        raise Refusal("unsupported", str(error)) from None
    except ConfigError as error:
        raise bad(str(error)) from None
    return start


def number(said: dict[str, Any], name: str, default: float | None = None) -> float:
    """A finite number; Refusal for anything else."""
    value = said.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise bad(f"{name} must be a number, got {value!r:.40}")
    return float(value)


def text_or_none(said: dict[str, Any], name: str) -> str | None:
    """A text, or nothing."""
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise bad(f"{name} must be a text, got {type(value).__name__}")
    return value


def is_whole(value: Any) -> bool:
    """Whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def bad(message: str) -> Refusal:
    """A message that is not of this protocol."""
    return Refusal("bad_request", f"{message} (docs/server.md)")
