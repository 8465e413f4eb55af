"""A thousand opens and closes of files, broken files, streams, Diarizers; no file, thread or memory stays."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import numpy as np
from common import held, row, sample

from diarize import AudioError, Diarizer
from diarize.audio import open_audio, read_audio


def main() -> int:
    path, diarizer = sample(), Diarizer(device="cpu")
    samples = read_audio(path)[: 3 * 16_000]
    broken = path.read_bytes()[:60_000]

    def opened() -> None:
        with open_audio(path) as file:
            next(iter(file))

    def refused() -> None:
        import io

        try:
            read_audio(io.BytesIO(broken))
        except AudioError:
            return
        raise AssertionError("a truncated file was read")

    def streamed() -> None:
        with diarizer.stream(latency_s=1.0) as stream:
            stream.push(samples[:8000])

    def finished() -> None:
        with diarizer.stream() as stream:
            stream.push(samples)
            stream.finish()
            stream.result()

    def dropped() -> None:
        """Never closed: the garbage is collected."""
        iter(open_audio(path))
        diarizer.stream(latency_s=1.0).push(np.zeros(1600, np.float32))

    def made() -> None:
        Diarizer(device="cpu")(samples, sample_rate=16_000)

    print("| what | open files, threads, MB: before, after | nothing stays |\n|---|---|---|")
    good = True
    for what, times in (
        (opened, 1000),
        (refused, 1000),
        (streamed, 1000),
        (finished, 1000),
        (dropped, 1000),
        (made, 30),
    ):
        good &= many(what, times)
    return int(not good)


def many(once: Callable[[], None], times: int) -> bool:
    for _ in range(max(5, times // 20)):  # what is made on first use
        once()
    gc.collect()
    before = held()
    for _ in range(times):
        once()
    gc.collect()
    after = held()
    found = "; ".join(f"{a:.0f}, {b:.0f}" for a, b in zip(before, after, strict=True))
    return row(
        f"{once.__name__}, {times:,} times", found,
        after[0] <= before[0] and after[1] <= before[1] and after[2] - before[2] < 30,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
