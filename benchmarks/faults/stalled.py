"""A source that stalls, and a clock that jumps: final turns come in time, and the result is the file's."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import numpy as np
from common import ROOT, row, sample

from diarize import Diarizer
from diarize.audio import read_audio

STALL_S, AFTER_S = 8.0, 15.0
LATENCY_S = 2.0

JUMPING = """
import random, sys, time
real = time.time
random.seed(0)
time.time = lambda: real() + random.choice([-1e9, -3600, 0, 3600, 1e9])  # every look at it is another day
from diarize.cli import main
sys.argv = ["diarize", *sys.argv[1:]]
main()
"""


def pushed(samples: np.ndarray, stall_s: float, *start: str) -> tuple[list[tuple[float, dict]], float]:
    """Lines of `diarize stream`, with when they came, of samples that stall in the middle; when that was."""
    command = [
        sys.executable,
        *start,
        "stream",
        "-",
        "--rate",
        "16000",
        "--latency",
        str(LATENCY_S),
        "--to",
        "jsonl",
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    lines: list[tuple[float, dict]] = []

    def read() -> None:
        for line in process.stdout:
            lines.append((time.monotonic(), json.loads(line)))

    reader = threading.Thread(target=read)
    reader.start()
    data, cut = (samples * 32767).astype("<i2").tobytes(), round(AFTER_S * 32_000)
    process.stdin.write(data[:cut])
    process.stdin.flush()
    end = time.monotonic() + 120  # for loading the networks, on a machine that is busy
    while not lines and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(stall_s)
    resumed = time.monotonic()
    process.stdin.write(data[cut:])
    process.stdin.close()
    reader.join()
    if process.wait():
        raise RuntimeError(process.stderr.read().decode())
    return lines, resumed


def main() -> int:
    print("| what | found | right |\n|---|---|---|")
    samples = read_audio(sample())
    samples = (samples * 32767).astype("<i2").astype(np.float32) / 32768
    stream = Diarizer(device="cpu").stream(latency_s=LATENCY_S)
    stream.push(samples)
    stream.finish()
    expected = [(round(t.start, 3), round(t.end, 3), t.speaker) for t in stream.finals]
    good = True
    for what, start in (
        ("a pipe that stalls for 8 s", ("-m", "diarize")),
        ("the same with a clock that jumps", ("-c", JUMPING)),
    ):
        lines, resumed = pushed(samples, STALL_S, *start)
        turns = [line for line in lines if "speaker" in line[1] and line[1].get("final", True)]
        reached = max((line["end"] for at, line in turns if at < resumed), default=0.0)
        found = {(line["speaker"]) for _, line in turns}
        spoken = sum(line["end"] - line["start"] for _, line in turns)
        wanted = sum(end - begin for begin, end, _ in expected)
        good &= row(
            what, f"before it went on, final up to {reached:.2f} of {AFTER_S:g} s; then {spoken:.2f} of "
            f"{wanted:.2f} s of turns", reached >= AFTER_S - LATENCY_S - 2 and abs(spoken - wanted) < 0.05
            and found == {speaker for _, _, speaker in expected},
        )  # fmt: skip
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
