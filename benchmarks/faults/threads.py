"""Two hundred threads on one Diarizer with the real networks: each gets the bits that it would get alone."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from common import held, row, sample

from diarize import Diarizer
from diarize.audio import read_audio

THREADS, PIECES = int(sys.argv[1]) if sys.argv[1:] else 200, 5


def main() -> int:
    diarizer = Diarizer(device="cpu")
    samples = read_audio(sample())
    pieces = [
        samples[first : first + 6 * 16_000]
        for first in np.linspace(0, len(samples) - 96_000, PIECES, dtype=int)
    ]
    alone = [diarizer(piece, sample_rate=16_000) for piece in pieces]
    wrong: list[str] = []

    def ask(number: int) -> None:
        try:
            expected = alone[number % PIECES]
            if number % 2:
                found = diarizer(pieces[number % PIECES], sample_rate=16_000)
            else:  # a live stream, pushed in pieces of its own; its result is the file's
                stream = diarizer.stream(latency_s=1.0)
                for piece in np.array_split(pieces[number % PIECES], number % 7 + 1):
                    stream.push(piece)
                stream.finish()
                found = stream.result()
            same = found.turns == expected.turns and all(
                np.array_equal(found.embeddings[name], vector) for name, vector in expected.embeddings.items()
            )
            if not same:
                wrong.append(f"thread {number} got other bits")
        except Exception as error:
            wrong.append(f"thread {number}: {error!r}")

    def at_once(count: int) -> None:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    at_once(20)  # what is made when there is more to do than one thread asks for
    before, begun = held(), time.monotonic()
    at_once(THREADS)
    after = held()
    print("| what | found | as alone |\n|---|---|---|")
    found = f"{time.monotonic() - begun:.0f} s; MB {before[2]:.0f}, {after[2]:.0f}; "
    found += f"threads {before[1]}, {after[1]}; {wrong[:2] or 'all bits equal'}"
    good = not wrong and after[1] < before[1] + 10  # pools grow up to their sizes, not with who asks
    return int(not row(f"{THREADS} threads, half of them live streams", found, good))


if __name__ == "__main__":
    sys.exit(main())
