"""Killed with SIGKILL while weights arrive and while networks are converted; the next process must work."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from common import NAMES, RUN, finished, row, sample, start, stocked, until, weights

from diarize import models

PULL = """
import sys
from diarize import models
for name in sys.argv[1:]:
    asset = models.ASSETS[name]
    object.__setattr__(asset, "sources", (models.ModelScope("org/mirror", "v1"),))
    print(models.resolve(name))
"""


def main() -> int:
    print("| what | found | right |\n|---|---|---|")
    expected = finished(start("-c", RUN, sample()))[1]
    good = True
    with tempfile.TemporaryDirectory() as folder, weights(bytes_per_s=20e6) as server:
        cache, sizes = Path(folder), []
        for wait_s in (0.0, 0.3, 0.6):
            part = cache / NAMES[0] / f"{models.ASSETS[NAMES[0]].files[0].name}.part"
            before = part.stat().st_size if part.exists() else 0
            process = start("-c", PULL, NAMES[0], cache=cache, **server)
            until(lambda: part.exists() and part.stat().st_size > before)  # noqa: B023
            time.sleep(wait_s)
            process.kill()
            process.wait()
            sizes.append(part.stat().st_size if part.exists() else -1)
        status, said = finished(start("-c", PULL, *NAMES, cache=cache, **server))
        brought = [Path(line).read_bytes() for line in said.split()] if status == 0 else []
        intact = brought == [models.ASSETS[name].path.read_bytes() for name in NAMES]
        left = [path.name for path in cache.rglob("*.part")]
        good &= row(
            "killed three times while downloading",
            f"{sizes} bytes were kept; then whole: {intact}; left: {left}", intact and not left,
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        cache, kills = stocked(Path(folder)), 0
        for wait_s in (2, 4, 6, 8, 10, 12, 15, 20):
            process = start("-c", RUN, sample(), cache=cache)
            try:
                process.wait(wait_s)
            except Exception:
                process.kill()
                process.wait()
                kills += 1
        status, said = finished(start("-c", RUN, sample(), cache=cache))
        left = [path.name for path in (cache / "converted").rglob(".*") if path.name != ".lock"]
        good &= row(
            f"killed {kills} times while converting and compiling",
            f"then {'the same turns' if said == expected else said[-90:]}; left over: {left or 'nothing'}",
            status == 0 and said == expected and not left,
        )  # fmt: skip
        for file in [*(cache / "converted").rglob("*.bin"), *(cache / "converted").rglob("*.blob")]:
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
        status, said = finished(start("-c", RUN, sample(), cache=cache))
        lines = [line for line in said.splitlines() if line.startswith("(")]
        good &= row(
            "one bit of every converted and compiled network flipped",
            "made anew, the same turns" if lines == [expected.strip()] else said[-90:],
            lines == [expected.strip()],
        )  # fmt: skip
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
