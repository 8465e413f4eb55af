"""How many workers a machine carries."""

from __future__ import annotations

from pathlib import Path

from diarize.config import Config
from diarize.errors import ConfigError

WORKER_BYTES = 1_000_000_000
"""Memory to count on for a worker."""


def sized(config: Config, recordings: int, workers: int | None, threads: int | None) -> tuple[int, int]:
    """Workers and the threads of each, as asked or as the machine has cores and memory.

    One thread each is the best use of cores (docs/batch.md), so there are as many workers as cores; fewer
    where there are fewer recordings, with more threads each, where memory is short, and one on a GPU.

    Raises ConfigError for numbers below 1.
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be a whole number >= 1, got {value}")
    cores = cores_here()
    if workers is None:
        workers = max(1, min(cores // (threads or 1), max(recordings, 1)))
        if on_cuda(config):
            workers = 1
        elif (free := free_memory()) is not None:
            workers = max(1, min(workers, free // WORKER_BYTES))
    return workers, threads or max(1, cores // workers)


def cores_here() -> int:
    """Cores this process may use."""
    from diarize.engine.machine import available_cores  # the package takes NumPy

    return available_cores()


def on_cuda(config: Config) -> bool:
    """Whether the networks would run on a GPU."""
    from diarize.engine import choose

    return choose(config.engine, config.device, config.precision)[1].startswith("cuda")


def free_memory() -> int | None:
    """Bytes that can be had without swapping, and within a container's limit; None where it is not told."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
        if limit.isdigit():
            found.append(max(int(limit) - int(used), 0))
    except (OSError, ValueError, IndexError):
        pass
    return min(found, default=None)
