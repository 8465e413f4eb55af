"""Turns with difficult names, written in a format and read back."""

from __future__ import annotations

import random
from pathlib import Path

from diarize.formats import to_ms
from diarize.formats.registry import FORMATS, by_name, format_turns, read_recordings
from diarize.result import Turn

TIMES = {"json": 7, "jsonl": 7}
"""Decimals that times keep, where they are not the 3 of milliseconds."""

NAMES = [
    "Anna", 'the "boss"', "tab\there", "two\nlines", "李 明", "مريم", "🎉 ぁ", "a,b;c", " padded ",
    "<b>&amp;</b>", "]]>", "it's", "=1+1", "\\", "#x", ";x", "!x", "0", "\u2028", "[x]: y", "x --> y", "{}",
    "two lines", "two_lines", "Anna Lee", '"quoted"', '"', "'",
]  # fmt: skip

READABLE = [name for name, form in FORMATS.items() if form.read]


def written(folder: Path, turns, name: str, uri: str = "meeting", duration: float | None = None) -> Path:
    path = folder / f"{uri}{by_name(name).ending}"
    path.write_text(format_turns(turns, uri, name, duration=duration), encoding="utf-8", newline="")
    return path


def back(path: Path, name: str | None = None) -> list[Turn]:
    found = read_recordings(path, name)
    assert len(found) <= 1
    return list(found[0].turns) if found else []


def rounded(turns, decimals: int = 3) -> list[Turn]:
    def at(time: float) -> float:  # in milliseconds by RTTM's rule
        return to_ms(time) / 1000 if decimals == 3 else round(time, decimals)

    found = [Turn(at(t.start), at(t.end), t.speaker) for t in turns]
    return sorted(turn for turn in found if turn.end > turn.start)


def some_turns(seed: int, names=NAMES, overlaps: bool = True) -> list[Turn]:
    """Turns on the 16 kHz grid: adjacent, of 1 sample, overlapping those of others, never of one speaker."""
    rng = random.Random(seed)
    free = dict.fromkeys(rng.sample(names, min(len(names), rng.randrange(1, 6))), 0)
    turns, now = [], 0
    for _ in range(rng.randrange(1, 40)):
        speaker = rng.choice(sorted(free))
        start = max(free[speaker], now + rng.choice([0, 0, 1, 7, 16_000, 33_333]))
        end = start + rng.choice([1, 7, 8, 16, 999, 16_000, 48_001, rng.randrange(1, 10**6)])
        turns.append(Turn(start / 16_000, end / 16_000, speaker))
        free[speaker] = end
        now = rng.choice([start, end]) if overlaps else end
    return turns
