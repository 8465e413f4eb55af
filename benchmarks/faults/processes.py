"""Fork and spawn after use, and many processes with one fresh cache: a result, or an error that says why."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path

from common import RUN, finished, row, sample, start, stocked

from diarize import DiarizeError, Diarizer

PROCESSES = 8


def ask(pipe, diarizer=None) -> None:
    try:
        pipe.send(str((diarizer or Diarizer(device="cpu"))(sample()).turns))
    except DiarizeError as error:
        pipe.send(f"refused: {error}")


def in_process(kind: str, diarizer: Diarizer | None) -> str:
    context = multiprocessing.get_context(kind)
    ours, theirs = context.Pipe()
    process = context.Process(target=ask, args=(theirs, diarizer))
    process.start()
    try:
        return ours.recv() if ours.poll(120) else "nothing in 120 s"
    finally:
        process.join(5)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)


def main() -> int:
    print("| what | found | right |\n|---|---|---|")
    diarizer = Diarizer(device="cpu")
    expected = str(diarizer(sample()).turns)
    used = in_process("fork", diarizer)
    good = row(
        "forked after use, the parent's Diarizer", used[:90], used == expected or used.startswith("refused")
    )
    torch = Diarizer(device="cpu", engine="torch", overlap="off")
    torch(sample())
    forked = in_process("fork", torch)
    good &= row("the same with engine='torch'", forked[:40] + "...", forked == str(torch(sample()).turns))
    spawned = in_process("spawn", None)
    good &= row(
        "spawned after use, one of its own",
        "the same turns" if spawned == expected else spawned[:90],
        spawned == expected,
    )
    with tempfile.TemporaryDirectory() as folder:
        cache = stocked(Path(folder))
        both = [start("-c", RUN, sample(), cache=cache) for _ in range(PROCESSES)]
        ends = [finished(process, 600) for process in both]
        same = sum(status == 0 and said.strip() == expected for status, said in ends)
        left = [path.name for path in (cache / "converted").rglob(".*") if path.name != ".lock"]
        good &= row(
            f"{PROCESSES} processes begin at once with a cache of weights only",
            f"{same} have the same turns; left over: {left or 'nothing'}", same == PROCESSES and not left,
        )  # fmt: skip
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
