"""How a stream holds for a day, and how many streams a machine carries in real time.

    python benchmarks/streaming.py day RECORDINGS_DIR [--hours 24] [--latency 2]
    python benchmarks/streaming.py many RECORDINGS_DIR [--streams 5,10,20,30] [--latency 2] [--seconds 60]

`day` pushes one stream, faster than real time, the recordings of a folder again and again in a random
order, each at a random level, with pauses between them; every hour it prints the time that the hour took,
the memory of the process, and the size of the saved state. A second stream, without latency, takes the
same samples (the networks compute each window once for both), and at the end both results must be equal.

`many` pushes streams from a thread each, 100 ms at a time as the wall clock brings them, and prints how long
after its sound a final turn was there, computing included: the latency is kept where the worst is below
the latency and the seconds allowed for computing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from diarize import AudioError, Diarizer
from diarize.audio import SAMPLE_RATE, read_audio
from diarize.engine.machine import available_cores
from diarize.streaming_score import SharedRows

PUSH = 10 * SAMPLE_RATE  # of the day
PIECE = SAMPLE_RATE // 10  # of many streams
COMPUTING_S = 0.5  # allowed on top of the latency, and for the finals of a whole window


def recordings(folder: Path) -> list[NDArray[np.float32]]:
    """Every file of a folder that holds sound, at 16 kHz."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".rttm", ".uem", ".md", ".txt"):
            try:
                found.append(read_audio(path))
            except AudioError as error:
                print(f"left out: {error}", file=sys.stderr)
    if not found:
        sys.exit(f"{folder} holds no recording")
    return found


def long_audio(parts: list[NDArray[np.float32]], seed: int, pause_s: float) -> Iterator[NDArray[np.float32]]:
    """Recordings without end, in a random order, at random levels, with pauses around `pause_s`."""
    rng = np.random.default_rng(seed)
    while True:
        part = parts[rng.integers(len(parts))] * np.float32(10 ** rng.uniform(-0.5, 0.0))
        quiet = rng.standard_normal(int(rng.uniform(0.5, 1.5) * pause_s * SAMPLE_RATE)) * 1e-4
        yield np.concatenate([part, quiet.astype(np.float32)])


def pieces(sound: Iterator[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """The same in pieces of one size."""
    held = np.zeros(0, np.float32)
    for part in sound:
        held = np.concatenate([held, part])
        for start in range(0, len(held) - size + 1, size):
            yield held[start : start + size]
        held = held[len(held) // size * size :]


def day(folder: Path, hours: float, latency_s: float, pause_s: float) -> None:
    """One stream for a day."""
    parts = recordings(folder)
    diarizer = Diarizer()
    shared = Diarizer(diarizer.config, embedder=SharedRows(diarizer.embedder), vad=diarizer.vad)
    live, offline = shared.stream(latency_s=latency_s), shared.stream()
    process, spent, number, total = psutil.Process(), 0.0, 0, int(hours * 3600 * SAMPLE_RATE)
    print(
        f"{available_cores()} cores, latency {latency_s} s, pauses of about {pause_s:g} s between recordings"
    )
    print("hour  live s  push ms: worst  memory MB  saved state MB  final turns  speakers")
    pushed, worst = 0, 0.0
    sound = pieces(long_audio(parts, 0, pause_s), PUSH)
    while pushed < total:
        samples = next(sound)[: total - pushed]
        begun = time.perf_counter()
        number += len(live.push(samples))
        taken = time.perf_counter() - begun
        spent, worst = spent + taken, max(worst, taken)
        offline.push(samples)
        pushed += len(samples)
        if pushed % (3600 * SAMPLE_RATE) < PUSH or pushed == total:
            print(
                f"{pushed / SAMPLE_RATE / 3600:4.1f}  {spent:6.1f}  {1000 * worst:14.0f}  "
                f"{process.memory_info().rss / 1e6:9.0f}  {len(live.state()) / 1e6:14.2f}  {number:11d}  "
                f"{len({turn.speaker for turn in live.finals}):8d}",
                flush=True,
            )
            spent, worst, number = 0.0, 0.0, 0
    begun = time.perf_counter()
    live.finish()
    offline.finish()
    found = live.result()
    print(f"result: {len(found)} turns, {len(found.speakers)} speakers, {time.perf_counter() - begun:.1f} s")
    same = found == offline.result()
    print(f"equal to the offline result: {same}")
    sys.exit(not same)


@dataclass
class Watched:
    """What one live stream saw: seconds from a sound to its final turn, and behind the clock."""

    lags: list[float] = field(default_factory=list)
    behind: float = 0.0


def watch(diarizer: Diarizer, sound: NDArray[np.float32], latency_s: float, begin: float) -> Watched:
    """Push one recording as the wall clock brings it."""
    seen = Watched()
    with diarizer.stream(latency_s=latency_s) as stream:
        for start in range(0, len(sound) - PIECE + 1, PIECE):
            due = begin + (start + PIECE) / SAMPLE_RATE  # when the last of these samples is there
            time.sleep(max(0.0, due - time.monotonic()))
            turns = stream.push(sound[start : start + PIECE])
            now = time.monotonic() - begin
            seen.behind = max(seen.behind, now - (due - begin))
            seen.lags += [now - turn.start for turn in turns]
    return seen


def many(folder: Path, counts: list[int], latency_s: float, seconds: float) -> None:
    """Streams side by side in real time."""
    parts = recordings(folder)
    diarizer = Diarizer()
    diarizer(parts[0][: 10 * SAMPLE_RATE], sample_rate=SAMPLE_RATE)  # the networks run once
    print(f"{available_cores()} cores, latency {latency_s} s, {seconds:g} s of sound a stream, 100 ms a push")
    print("streams  final turn after s: median  95 %  worst  push late by s: worst  CPU %  kept")
    for count in counts:
        sounds = []
        for k in range(count):
            source = pieces(long_audio(parts, k + 1, 0.5), int(seconds * SAMPLE_RATE))
            sounds.append(next(source))
        begin = time.monotonic() + 0.5
        process = psutil.Process()
        before = sum(process.cpu_times()[:2])

        with ThreadPoolExecutor(count) as pool:  # begun a little apart: nobody's clocks are the same
            begins = [begin + 0.05 * k for k in range(count)]
            seen = list(pool.map(watch, repeat(diarizer), sounds, repeat(latency_s), begins))
        cpu = 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begin) / available_cores()
        lags = sorted(lag for one in seen for lag in one.lags)
        worst, late = lags[-1], max(one.behind for one in seen)
        kept = "yes" if worst <= latency_s + COMPUTING_S else "no"
        print(
            f"{count:7d}  {statistics.median(lags):26.2f}  {lags[int(0.95 * len(lags))]:4.2f}  {worst:5.2f}  "
            f"{late:22.2f}  {cpu:5.0f}  {kept}",
            flush=True,
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("day", "many"))
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--latency", type=float, default=2.0, help="seconds")
    parser.add_argument("--hours", type=float, default=24.0, help="day: how long")
    parser.add_argument("--pause", type=float, default=60.0, help="day: seconds between recordings, about")
    parser.add_argument("--streams", default="5,10,20,30", help="many: how many at once, one after another")
    parser.add_argument("--seconds", type=float, default=60.0, help="many: of sound a stream")
    given = parser.parse_args()
    if given.what == "day":
        day(given.recordings, given.hours, given.latency, given.pause)
    else:
        many(given.recordings, [int(n) for n in given.streams.split(",")], given.latency, given.seconds)


if __name__ == "__main__":
    main()
