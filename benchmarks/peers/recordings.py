"""The recordings that all systems read: 16 kHz, 16 bit, mono WAV, made from the labelled ones."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE, stream_audio
from diarize.config import Config
from diarize.stages.regions import Regions
from diarize.stages.vad import SileroVad, Vad

SEED = 0


def composed(data: Path, minutes: float, work: Path) -> Path:
    """The recording of this length, written unless it is there."""
    parts = sounds(data / "composed")
    made_of = sum(part.stat().st_size for part in parts)
    path = work / "recordings" / f"composed_{minutes:g}min_{made_of:x}.wav"
    if not path.exists():
        write_wav(path, endless(parts), round(minutes * 60 * SAMPLE_RATE))
    return path


def sounds(folder: Path) -> list[Path]:
    """The recordings of a folder that have a reference."""
    found = [p for p in sorted(folder.glob("*")) if p.suffix in (".flac", ".wav", ".mp3")]
    found = [path for path in found if path.with_suffix(".rttm").exists()]
    if not found:
        raise typer.BadParameter(f"{folder} holds no recording with an .rttm beside it", param_hint="DATA")
    return found


def endless(parts: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    """All recordings, again and again, in pieces: each time in another order and each a little different."""
    rng = np.random.default_rng(SEED)
    while True:
        for index in rng.permutation(len(parts)):
            level = np.float32(10 ** rng.uniform(-0.5, 0.0))
            left_out = int(rng.integers(SAMPLE_RATE))
            for piece in stream_audio(parts[index]):
                yield piece[left_out:] * level
                left_out = max(0, left_out - len(piece))


def write_wav(path: Path, pieces: Iterable[NDArray[np.float32]], most: int | None = None) -> None:
    """16 bit, 16 kHz, mono, at most so many samples; the file is there when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with wave.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for piece in pieces:
            left = None if most is None else most - file.getnframes()
            file.writeframes((piece[:left].clip(-1, 1) * 32767).round().astype("<i2").tobytes())
            if left is not None and len(piece) >= left:
                break
    part.replace(path)


def seconds_of(path: Path) -> float:
    """The length of a WAV file."""
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


def speech_of(path: Path) -> list[list[float]]:
    """Our speech regions, start and end in seconds, kept beside the recording."""
    kept = path.with_suffix(".speech.json")
    if not kept.exists():
        vad, stage, count = Vad(SileroVad()), Regions(Config().vad), 0
        found = []
        for piece in stream_audio(path):
            count += len(piece)
            found += stage.push(vad.push(piece))
        found += stage.finish(count, vad.finish())
        regions = [[r.start / SAMPLE_RATE, r.end / SAMPLE_RATE] for r in found if r.closed]
        kept.write_text(json.dumps(regions), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))
