"""No room and no right to write, for the cache and results. The work is done, or an error says what is wrong.

As root on Linux with file systems in memory that are too small or read-only; else with a limit on file sizes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import RUN, finished, row, sample, start, stocked, weights
from killed import PULL

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"


@contextlib.contextmanager
def mounted(size: str) -> Iterator[Path | None]:
    """A small file system; None where that may not be."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        if subprocess.run(command, capture_output=True).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def main() -> int:
    print("| what | found | right |\n|---|---|---|")
    expected = finished(start("-c", RUN, sample()))[1].strip()
    good = True
    with weights() as server, mounted("1M") as small:
        cache = small or Path(tempfile.mkdtemp())
        status, said = finished(
            start("-c", ("" if small else LIMITED) + PULL, "campplus-zh-en", cache=cache, **server)
        )
        last = said.strip().splitlines()[-1]
        good &= row(
            "weights, the disk full (1 MB)" if small else "weights, files limited",
            last[:140],
            "free some space" in last,
        )
    with mounted("60M") as small:  # the weights fit, what is made of them does not
        if small:
            status, said = finished(start("-c", RUN, stocked(small) and sample(), cache=small), 600)
            lines = [line for line in said.splitlines() if line.startswith("(")]
            good &= row(
                "converting, the disk full (60 MB)",
                f"exit {status}; " + ("the same turns" if lines == [expected] else said[-100:]),
                lines == [expected],
            )
    with mounted("400M") as small:
        if small:
            stocked(small)
            subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
            status, said = finished(start("-c", RUN, sample(), cache=small), 600)
            lines = [line for line in said.splitlines() if line.startswith("(")]
            good &= row(
                "a read-only cache of weights only",
                f"exit {status}; "
                + ("the same turns, converted in memory" if lines == [expected] else said[-100:]),
                lines == [expected],
            )
            subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
            stocked(small, converted=True)
            subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
            status, said = finished(start("-c", RUN, sample(), cache=small))
            good &= row(
                "a read-only cache of everything",
                f"exit {status}; " + ("the same turns" if said.strip() == expected else said[-100:]),
                said.strip() == expected,
            )
    with mounted("8K") as small:
        if small:
            (small / "filler").write_bytes(bytes(4096))
            result = small / "turns.rttm"
            with contextlib.suppress(OSError):
                (small / "filler2").write_bytes(bytes(8192))
            status, said = finished(start("-m", "diarize", "run", sample(), "-o", str(result)))
            last = said.strip().splitlines()[-1]
            whole = not result.exists() or result.stat().st_size > 0
            left = [name for name in os.listdir(small) if name.endswith(".tmp")]
            good &= row(
                "a result, the disk full",
                f"exit {status}: {last[:110]}",
                status == 1 and whole and not left and "Traceback" not in said,
            )
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
