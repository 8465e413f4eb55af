"""A day in one file: time, memory against an hour's, kills on the way, a live stream's turns: see --help."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer
from peers.hardware import hardware
from peers.recordings import composed
from peers.systems import Run, measure

from diarize.audio import stream_audio

MOST = 1.3
"""The peak of the day by that of the hour, at most."""

ODD = (1, 7, 160, 511, 4001, 16_000, 48_611)
"""Samples of a push, in no order."""

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder with composed/.", show_default=False)],
    hours: Annotated[float, typer.Option(help="Of the long recording.")] = 24.0,
    kills: Annotated[int, typer.Option(help="Times that a run over the hour is killed with SIGKILL.")] = 3,
    every: Annotated[float, typer.Option(help="Seconds of the hour's run until a kill, on average.")] = 60.0,
    latency: Annotated[float, typer.Option(help="Of the live stream over the hour, seconds.")] = 2.0,
    work: Annotated[
        Path | None, typer.Option(help="For recordings (2.8 GB a day) and turns.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a run may take.")] = 6 * 3600,
    seed: int = 1,
) -> None:
    """`diarize run` over an hour and over a day, each a process of its own; exit status 1 if a claim fails.

    The recordings are composed/ repeated in a random order, each copy at another level and without its first
    moments. Then the hour again, killed on the way and gone on with; the hour as a live stream and the day
    as a stream without a latency, pushed in odd pieces: all must give the very bytes of the turns.
    """
    work = (work or platformdirs.user_cache_path("diarize-benchmarks")).absolute()
    hour, day = composed(data, 60, work), composed(data, hours * 60, work)
    out = work / "turns" / "day"
    typer.echo(f"{hardware()['processor']}, {hardware()['cores']} cores")
    runs = {path: measure(command(path, out), out / f"{path.stem}.log", timeout) for path in (hour, day)}
    for path, length in ((hour, 1.0), (day, hours)):
        say(f"{length:g} h", runs[path])
    wrong = [run.failure for run in runs.values() if run.failure]
    ratio = runs[day].peak_bytes / max(1, runs[hour].peak_bytes)
    typer.echo(f"peak of {hours:g} h by that of 1 h: {ratio:.2f}")
    if ratio > MOST:
        wrong.append(f"the peak is more than {MOST} times the hour's")
    again = work / "turns" / "killed"
    killed = interrupted(hour, again, kills, every, random.Random(seed))
    same = bytes_of(again, hour) == bytes_of(out, hour)
    typer.echo(f"the hour killed {killed} times: {'the same turns' if same else 'OTHER TURNS'}")
    wrong += [] if same else ["a run that was killed gives other turns"]
    streamed = work / "turns" / "streamed"
    streamed.mkdir(parents=True, exist_ok=True)
    for path, what, latency_s in ((hour, "the hour live", latency), (day, "the day as a stream", 0.0)):
        script = [sys.executable, str(Path(__file__)), "stream", str(path), str(streamed), str(latency_s)]
        run = measure(script, streamed / f"{path.stem}.log", timeout)
        say(what, run)
        same = not run.failure and bytes_of(streamed, path) == bytes_of(out, path)
        typer.echo(f"its result: {'the same turns' if same else 'OTHER TURNS'}")
        wrong += [] if same else [f"{what} gives other turns"]
    for line in wrong:
        typer.echo(f"wrong: {line}")
    raise SystemExit(bool(wrong))


def command(path: Path, folder: Path) -> list[str]:
    """What a user would type."""
    return [sys.executable, "-I", "-m", "diarize", "run", str(path), "-o", str(folder), "--overwrite"]


def say(what: str, run: Run) -> None:
    """One line."""
    figures = f"{run.wall_s:.0f} s, {run.cpu_s:.0f} s of processors, peak {run.peak_bytes / 1e6:.0f} MB"
    typer.echo(f"{what}: {run.failure or figures}")


def bytes_of(folder: Path, path: Path) -> bytes:
    """The turns of a recording in a folder."""
    return (folder / f"{path.stem}.rttm").read_bytes()


def interrupted(path: Path, folder: Path, kills: int, every: float, rng: random.Random) -> int:
    """Run the command and kill it, again and again, and then let it end; returns how often it was killed."""
    for killed in range(kills + 1):
        process = subprocess.Popen(command(path, folder), stderr=subprocess.PIPE, text=True)
        try:
            wait = None if killed == kills else rng.uniform(0.5, 1.5) * every
            _, said = process.communicate(timeout=wait)
            typer.echo(said.strip())
            return killed
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    return kills


@app.command()
def stream(path: Path, folder: Path, latency_s: float) -> None:
    """The recording as a stream, live unless the latency is 0, pushed in odd pieces; its result as RTTM."""
    from diarize import Diarizer

    rng, diarizer, begun = np.random.default_rng(1), Diarizer(), time.monotonic()
    longest = 0.0
    with diarizer.stream(latency_s=latency_s or None, uri=path.stem) as live:
        for samples in stream_audio(path):
            while len(samples):
                count = int(rng.choice(ODD))
                at = time.monotonic()
                live.push(samples[:count])
                longest = max(longest, time.monotonic() - at)
                samples = samples[count:]
        live.finish()
        (folder / f"{path.stem}.rttm").write_text(live.result().to("rttm"), encoding="utf-8")
    typer.echo(f"{time.monotonic() - begun:.0f} s, the longest push {longest:.2f} s", err=True)


if __name__ == "__main__":
    app()
