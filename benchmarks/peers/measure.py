"""Run a command to its end: wall time, CPU time and peak memory of its process, into a JSON file.

    python -I measure.py TIMEOUT_S MEASURED.json LOG COMMAND...

A small process of its own, because on Linux a new process starts with the peak memory of the one that
started it. The command finds the time when it was started, in seconds of the epoch, in BENCHMARK_STARTED.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def main(timeout_s: float, measured: Path, log: Path, command: list[str]) -> None:
    """Memory is in bytes, times are in seconds; a process that takes longer than allowed is killed."""
    with log.open("wb") as output:
        begun = time.perf_counter()
        environment = os.environ | {"BENCHMARK_STARTED": repr(time.time())}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        timer = threading.Timer(timeout_s, os.kill, (process.pid, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    found = {
        "exit": process.returncode,
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    measured.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
