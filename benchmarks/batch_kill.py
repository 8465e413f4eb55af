"""A batch that is killed with SIGKILL again and again: what is lost, done twice, half written? See --help."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import wave
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from peers.recordings import sounds

from diarize.audio import read_audio
from diarize.formats.rttm import read_rttm

SCRIPT = """
import sys
from diarize.batch import run_batch
from diarize.config import Config
if __name__ == "__main__":
    run_batch([sys.argv[1]], sys.argv[2], config=Config(device="cpu"), note=print, **eval(sys.argv[3]))
"""


def main(
    data: Annotated[Path, typer.Argument(help="Recordings; those in composed/ are cut, corrupt/ is copied.")],
    recordings: Annotated[int, typer.Option(help="In all.")] = 1000,
    broken: Annotated[float, typer.Option(help="Share of them that is broken.")] = 0.05,
    kills: Annotated[int, typer.Option(help="Times that the whole batch is killed.")] = 10,
    longest: Annotated[float, typer.Option(help="Seconds of the longest recording; the shortest: 1.")] = 60.0,
    every: Annotated[float, typer.Option(help="Seconds between kills, on average.")] = 20.0,
    runner: Annotated[str, typer.Option(help="local, or ray: actors on this machine.")] = "local",
    seed: int = 1,
) -> None:
    """Run a batch in a process of its own, kill it at random moments, start it again, audit what is there.

    A worker is killed as well, half as often. What is counted: results of each recording, whole or not;
    reasons of those that are broken; how often each was begun; what is left over.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        good, bad = compose(data, work / "audio", recordings, broken, longest, rng)
        (work / "run.py").write_text(SCRIPT)
        begun = time.monotonic()
        options = {"runner": runner} | ({"workers": 2, "threads": 1} if runner == "ray" else {})
        command = [sys.executable, "run.py", "audio", "out", repr(options)]
        killed, workers_killed, finished_before = 0, 0, set()
        while True:
            process = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True)
            if killed == kills:
                said, _ = process.communicate()
                if process.returncode:
                    raise SystemExit(f"the last run ended with {process.returncode}: {said}")
                break
            wait = rng.uniform(0.2, 2 * every)
            if killed % 2 and wait > 6:
                time.sleep(wait / 2)
                workers_killed += kill_a_worker(process.pid, rng)
                wait /= 2
            try:
                process.communicate(timeout=wait)
                typer.echo(f"through after {killed} kills; make it longer or --every smaller")
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            finished_before |= done_now(work / "out", finished_before, work)
            typer.echo(f"kill {killed} after {wait:.1f} s: {len(finished_before)} done")
        audit(work, good, bad, killed, workers_killed, time.monotonic() - begun)


def compose(
    data: Path, folder: Path, count: int, broken: float, longest: float, rng: random.Random
) -> tuple[dict[str, float], set[str]]:
    """Recordings of 1 to `longest` s cut out of the conversations, and broken ones among them."""
    folder.mkdir()
    samples = np.concatenate([read_audio(path) for path in sounds(data / "composed")])
    damaged = [path for path in (data / "corrupt").rglob("*") if path.is_file() and fails(path)]
    good, bad = {}, set()
    wrong = set(rng.sample(range(count), round(broken * count)))
    for k in range(count):
        name = f"r{k:04d}"
        if k in wrong:
            source = damaged[k % len(damaged)] if damaged else None
            content = source.read_bytes() if source else b"RIFF no sound at all"
            (folder / f"{name}{source.suffix if source else '.wav'}").write_bytes(content)
            bad.add(name)
            continue
        seconds = rng.uniform(1, longest)
        start = rng.randrange(len(samples) - int(seconds * 16000))
        piece = samples[start : start + int(seconds * 16000)]
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes((piece * 32767).astype("<i2").tobytes())
        good[name] = len(piece) / 16000
    return good, bad


def fails(path: Path) -> bool:
    """Whether a file of an audio ending cannot be read as a recording."""
    from diarize.batch.manifest import SOUNDS
    from diarize.errors import AudioError

    if path.suffix.lower() not in SOUNDS:
        return False
    try:
        read_audio(path)
    except AudioError:
        return True
    return False


def kill_a_worker(parent: int, rng: random.Random) -> int:
    """Kill one of the workers that a process has started; returns how many, 0 or 1."""
    import psutil

    with suppress(psutil.Error):
        below = psutil.Process(parent).children(recursive=True)
        busy = [one.pid for one in below if is_worker(" ".join(one.cmdline()))]
        if busy:
            os.kill(rng.choice(sorted(busy)), signal.SIGKILL)
            return 1
    return 0


def is_worker(command: str) -> bool:
    """Whether a process is a worker: one that was spawned, or an actor of Ray that has work."""
    return "spawn_main" in command or command.startswith("ray::Actor.do")


def done_now(out: Path, before: set[str], work: Path) -> set[str]:
    """Names of what is done, and the time of each result, so that one that is written again is found out."""
    if not (out / "batch.sqlite").exists():
        return set()
    with sqlite3.connect(out / "batch.sqlite") as db:
        names = {uri for (uri,) in db.execute("SELECT uri FROM recordings WHERE status = 'done'")}
    times = work / "times.json"
    noted = json.loads(times.read_text()) if times.exists() else {}
    noted |= {name: (out / f"{name}.rttm").stat().st_mtime_ns for name in names - before}
    times.write_text(json.dumps(noted))
    return names


def audit(
    work: Path, good: dict[str, float], bad: set[str], kills: int, workers_killed: int, taken: float
) -> None:
    """Count what must hold, and say it; exit status 1 if anything does not."""
    out = work / "out"
    with sqlite3.connect(out / "batch.sqlite") as db:
        rows = {
            row[0]: row[1:]
            for row in db.execute("SELECT uri, status, reason, begun, duration FROM recordings")
        }
    noted = json.loads((work / "times.json").read_text()) if (work / "times.json").exists() else {}
    wrong = []
    for name, seconds in good.items():
        status, _, _, duration = rows[name]
        if status != "done" or not (out / f"{name}.rttm").is_file():
            wrong.append(f"{name}: {rows[name]}")
        elif abs(duration - seconds) > 0.01:
            wrong.append(f"{name}: {duration} s of {seconds} s")
        else:
            read_rttm(out / f"{name}.rttm")
    wrong += [f"{name}: {rows[name]}" for name in bad if rows[name][0] != "failed" or not rows[name][1]]
    wrong += [
        f"{name}: was written again"
        for name, at in noted.items()
        if (out / f"{name}.rttm").stat().st_mtime_ns != at
    ]
    expected = {f"{name}.rttm" for name in good} | {"batch.sqlite", "batch.lock", "summary.json"}
    left = {path.name for path in out.iterdir()} - expected
    wrong += [f"left over: {name}" for name in left if not name.startswith("batch.sqlite-")]
    again = {name: rows[name][2] - 1 for name in good if rows[name][2] > 1}
    again_s = sum(count * good[name] for name, count in again.items())
    total_s = sum(good.values())
    typer.echo(
        f"{len(good)} good recordings, {total_s / 3600:.2f} h, {len(bad)} broken; the batch killed {kills} "
        f"times, {workers_killed} workers; {taken:.0f} s in all\n"
        f"begun again: {sum(again.values())} recordings, {again_s:.0f} s of audio, "
        f"{100 * again_s / total_s:.2f} % of all\nwrong: {len(wrong)}"
    )
    for line in wrong[:20]:
        typer.echo(line)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    typer.run(main)
