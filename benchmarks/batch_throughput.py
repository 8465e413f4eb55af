"""How much audio a core gets through in a batch, by workers and threads, against single runs: see --help."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from peers.hardware import hardware
from peers.recordings import sounds

from diarize.audio import read_audio
from diarize.batch import run_batch
from diarize.config import Config
from diarize.engine.machine import available_cores


@dataclass(frozen=True)
class Taken:
    """Seconds on the clock, and of processors: these say what it costs while others use the machine, too."""

    wall_s: float
    cpu_s: float


def timed(work: Callable[[], object]) -> Taken:
    """What something takes, the processes that it started and ended included."""
    begun, before = time.monotonic(), cpu_s()
    work()
    return Taken(time.monotonic() - begun, cpu_s() - before)


def cpu_s() -> float:
    """Seconds of processors so far, of this process and of those it has seen end."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


KINDS = {"calls of 5 min": 300.0, "clips of 10 s": 10.0}


def main(
    data: Annotated[Path, typer.Argument(help="Recordings; those in composed/ are taken.")],
    minutes: Annotated[float, typer.Option(help="Of audio in all, for each kind.")] = 30.0,
    rounds: Annotated[int, typer.Option()] = 3,
    output: Annotated[Path | None, typer.Option("-o", help="Folder for batch_throughput.json.")] = None,
) -> None:
    """Cut the composed conversations into equal recordings and run them every way in turn."""
    cores = available_cores()
    ways = [(cores, 1), (1, cores), (cores, cores), (max(1, cores // 2), 1)]
    found: dict[str, Any] = {"hardware": hardware(), "cores": cores, "kinds": {}}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for kind, length_s in KINDS.items():
            corpus = cut(data / "composed", work / kind, length_s, minutes * 60)
            audio_s = len(list(corpus.iterdir())) * length_s
            tries: dict[str, Callable[[int], Taken]] = {
                f"{workers} x {threads}": lambda k, w=workers, t=threads, c=corpus: batch(c, work, w, t, k)
                for workers, threads in dict.fromkeys(ways)
            }
            tries |= {
                f"one process, {threads} thread{'s' * (threads > 1)}": lambda k, t=threads, c=corpus: single(
                    c, t
                )
                for threads in sorted({1, cores})
            }
            taken: dict[str, list[Taken]] = {way: [] for way in tries}
            for number in range(rounds):
                for way in tries if number % 2 == 0 else reversed(tries):
                    taken[way].append(tries[way](number))
            found["kinds"][kind] = {
                "audio_s": audio_s,
                "taken": {way: [asdict(one) for one in several] for way, several in taken.items()},
            }
            show(kind, audio_s, taken, cores)
    if output:
        (output / "batch_throughput.json").write_text(json.dumps(found, indent=2) + "\n")


def cut(source: Path, folder: Path, length_s: float, total_s: float) -> Path:
    """Recordings of one length, one after the other out of the sources, again and again."""
    import wave

    folder.mkdir()
    samples = np.concatenate([read_audio(path) for path in sounds(source)])
    n, count = round(length_s * 16000), round(total_s / length_s)
    for k in range(count):
        start = (k * n) % (len(samples) - n)
        with wave.open(str(folder / f"{k:05d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes((samples[start : start + n] * 32767).astype("<i2").tobytes())
    return folder


def batch(corpus: Path, work: Path, workers: int, threads: int, number: int) -> Taken:
    """Seconds of a whole batch, its start included."""
    out = work / f"out-{corpus.name}-{workers}-{threads}-{number}"

    def whole() -> None:
        summary = run_batch([corpus], out, config=Config(device="cpu"), workers=workers, threads=threads)
        if summary.done != summary.total:
            raise SystemExit(f"{summary.failed} failed: {summary.failures[:1]}")

    return timed(whole)


def single(corpus: Path, threads: int) -> Taken:
    """Seconds of the same recordings one after the other in this process, its models loaded."""
    from diarize import Diarizer

    diarizer = Diarizer(Config(device="cpu"), threads=threads)
    diarizer(next(corpus.iterdir()))

    def all_of_them() -> None:
        for path in sorted(corpus.iterdir()):
            diarizer(path).to_rttm()

    return timed(all_of_them)


def show(kind: str, audio_s: float, taken: dict[str, list[Taken]], cores: int) -> None:
    """A table: the least of the rounds, since others only ever add to it."""
    typer.echo(f"\n{kind}, {audio_s / 60:.0f} min in all, {cores} cores, least (most) of the rounds\n")
    typer.echo("| workers x threads | s | times real time | core-s | h of audio per core-hour |")
    typer.echo("|---|---|---|---|---|")
    for way, several in taken.items():
        wall, cpu = sorted(one.wall_s for one in several), sorted(one.cpu_s for one in several)
        cells = [f"{wall[0]:.1f} ({wall[-1]:.1f})", f"{audio_s / wall[0]:.0f}"]
        cells += [f"{cpu[0]:.1f} ({cpu[-1]:.1f})", f"{audio_s / cpu[0]:.0f}"]
        typer.echo(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
