"""A folder of fake recordings with the batch over it, here or in a process of its own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_fakes import Recordings

TESTS = Path(__file__).resolve().parent
posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


class Corpus(Recordings):
    """A folder of fake recordings and the batch over it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.out = root / "out"

    def run(self, **options):
        return self.batch(self.out, **{"workers": 2, "threads": 1} | options)

    def rows(self, columns: str = "uri, status") -> list[tuple]:
        with sqlite3.connect(self.out / "batch.sqlite") as db:
            return db.execute(f"SELECT {columns} FROM recordings ORDER BY uri").fetchall()

    def results(self) -> list[str]:
        own = ("batch.sqlite", "batch.lock", "summary.json")
        return sorted(
            path.name for path in self.out.iterdir() if not path.name.startswith(own) and path.is_file()
        )


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from batch_fakes import Fake
from diarize.batch import run_batch
if __name__ == "__main__":
    print("begun", flush=True)
    run_batch([{audio!r}], {out!r}, workers=2, threads=1, make=Fake({log!r}))
"""


def started(corpus: Corpus) -> subprocess.Popen:
    """The batch in a process of its own."""
    script = corpus.root / "script.py"
    paths = {"tests": TESTS, "audio": corpus.audio, "out": corpus.out, "log": corpus.log}
    script.write_text(SCRIPT.format(**{name: str(path) for name, path in paths.items()}))
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
    )


def until(true, seconds: float = 60.0) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process is no more, or is a zombie that nobody has buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
