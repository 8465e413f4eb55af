"""A corpus overnight, nothing lost: recordings spread over workers, with a ledger of what became of each.

    summary = run_batch(["corpus"], "turns")      # turns/NAME.rttm, turns/batch.sqlite, turns/summary.json

Run again it goes on where it was, whatever ended it. In the order data flows: `manifest` (and `lists`) ·
`preparing` (`ledger`) · `driver` (`pace`, `probing`) · `runner` or `ray_runner` · `serving` · `worker`;
`places` has the results.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize.batch.driver import Driver, interruptible
from diarize.batch.ledger import Ledger
from diarize.batch.lists import checked_name
from diarize.batch.manifest import Note, Recording, read_manifest
from diarize.batch.pace import Progress
from diarize.batch.places import Folder, Store, home_of, place_of
from diarize.batch.preparing import LOCK, check_names, naming_of, peek, prepare, settings_of
from diarize.batch.runner import LocalRunner, Outcome, Runner
from diarize.batch.sizing import sized
from diarize.batch.summary import SUMMARY, Failure, Summary, keep, summarise
from diarize.batch.worker import Job, Loader, MakeDiarizer, configured, make_diarizer
from diarize.config import Bounds, Config
from diarize.errors import ConfigError, DiarizeError
from diarize.formats import clean_name

if TYPE_CHECKING:
    from diarize.enrolment import KnownVoice

STATES = "batch.partial"
"""The folder, beside the ledger, for the states of recordings that take long."""

__all__ = [
    "Failure", "Job", "Outcome", "Progress", "Recording", "Runner", "Summary", "configured", "read_manifest",
    "run_batch",
]  # fmt: skip


def run_batch(
    sources: Iterable[str | os.PathLike[str] | Recording],
    folder: str | os.PathLike[str],
    *,
    config: Config | str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    format: str = "rttm",
    workers: int | None = None,
    threads: int | None = None,
    timeout_s: float | None = None,
    max_memory: int | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    allow_pipes: bool = False,
    dry_run: bool = False,
    runner: str = "local",
    address: str | None = None,
    ledger: str | os.PathLike[str] | None = None,
    enrolled: Sequence[KnownVoice] = (),
    one_to_one: bool = True,
    make: MakeDiarizer | None = None,
    progress: Callable[[Progress], object] | None = None,
    note: Callable[[str], object] = lambda said: None,
) -> Summary:
    """Diarize recordings into a folder, one file each, on all cores; run again, it goes on where it was.

    folder : for the results; a path, or a URL that fsspec knows (s3://bucket/turns)
    sources : what `read_manifest` takes, or recordings
    config : as for `Diarizer`
    options : of `Diarizer.__call__` for all recordings (num_speakers, channel, ...); those of a list go first
    format : of the results, a name in `diarize.formats.registry`
    workers, threads : processes, and threads of each; by default one thread each, as many as cores
    timeout_s : seconds a recording may take; by default ten minutes and twice its length
    max_memory : bytes a worker may hold before it is ended; by default any number
    overwrite : replace results of other options, and files that are not from this batch
    retry_failed : those that failed before, too
    allow_pipes : whether commands in Kaldi's wav.scp may be run
    dry_run : do and write nothing; the summary says what there is to do
    runner, address : "local", or "ray" with the address of a cluster
    ledger : folder of this machine for the ledger and the summary; by default that of the results, for a URL
        one in the user's folder for states, which is noted
    enrolled, one_to_one : known voices, from `Diarizer.enrol`, for all recordings; see `Diarizer.__call__`
    make : makes the diarizer of a worker from the configuration; it must survive pickling
    progress, note : called with a `Progress` several times a second; with a line on what was met

    A recording that fails does not stop the others: `Summary.failures` has its reason. One whose worker died
    is tried once more, alone. Ctrl-C puts back what runs and raises KeyboardInterrupt. Workers are started
    with 'spawn': call this below ``if __name__ == "__main__":`` in a script.

    Raises ConfigError and FormatError for what cannot be meant, ModelError for weights that cannot be had,
    DiarizeError where results cannot be written or another batch is at work in the folder.
    """
    from diarize.formats.registry import by_name

    form = by_name(format)
    config = config if isinstance(config, Config) else Config.load(config) if config else Config()
    options = {key: value for key, value in (options or {}).items() if value is not None}
    Bounds.of(*(options.get(key) for key in ("num_speakers", "min_speakers", "max_speakers")))
    if runner not in ("local", "ray") or (address is not None and runner != "ray"):
        raise ConfigError(f"runner must be 'local', or 'ray' with or without an address, got {runner!r}")
    if timeout_s is not None and not timeout_s > 0:
        raise ConfigError(f"timeout_s must be seconds > 0, got {timeout_s}")
    if max_memory is not None and os.name == "nt":
        raise ConfigError("max_memory cannot be watched on Windows; leave it out")
    recordings = gathered(sources, allow_pipes, note)
    check_names(recordings, form.ending)
    place = place_of(folder)
    home = home_of(place, ledger)
    if dry_run:
        return planned(recordings, home, place, form.name, retry_failed)
    if ledger is None and isinstance(place, Store):
        note(f"the ledger is kept in {home}")
    settings = settings_of(config, options, form.name, make) | naming_of(enrolled, one_to_one)
    with locked(home) as rows:
        prepare(
            rows, place, recordings, settings, form.ending,
            overwrite=overwrite, retry_failed=retry_failed, note=note,
        )  # fmt: skip
        states = home / STATES
        with suppress(OSError):  # then nothing can be kept there, which workers note
            states.mkdir(exist_ok=True)
        driver = Driver(
            place, rows, {one.uri: one for one in recordings},
            ending=form.ending, options=options, timeout_s=timeout_s, told=progress,
            states=None if address else states,
        )  # fmt: skip
        waiting = driver.pace.total
        asked = workers
        workers, threads = sized(config, waiting, workers, threads)
        loader = Loader(
            configured(config, threads=threads), form.name, make or make_diarizer, tuple(enrolled), one_to_one
        )
        begun = time.monotonic()
        if waiting and isinstance(place, Store):
            place.check(SUMMARY, summarise(rows, str(place), form.name).to_json().encode())
        try:
            with interruptible(driver):
                if waiting:
                    size = asked if address else workers
                    team = runner_of(runner, address, loader, size, threads, max_memory)
                    workers = team.workers
                    driver.run(team)
        finally:
            with suppress(DiarizeError):  # where the ledger cannot be read, that is said already
                pace = driver.pace
                summary = summarise(
                    rows, str(place), form.name,
                    done_now=pace.done, failed_now=pace.failed, audio_now_s=pace.done_s,
                    taken_s=time.monotonic() - begun, workers=workers, threads=threads,
                )  # fmt: skip
                keep(summary, Folder(home), place)
            place.close()
            with suppress(OSError):  # where something is unfinished, it stays
                states.rmdir()
    return summary


def runner_of(
    name: str, address: str | None, loader: Loader, workers: int | None, threads: int, max_memory: int | None
) -> Runner:
    """What spreads the recordings; without a number of workers a cluster has its own."""
    if name == "ray":
        from diarize.batch.ray_runner import RayRunner

        return RayRunner(loader, workers, threads=threads, max_memory=max_memory, address=address)
    return LocalRunner(loader, workers or 1, threads=threads, max_memory=max_memory)


def gathered(
    sources: Iterable[str | os.PathLike[str] | Recording], allow_pipes: bool, note: Note
) -> list[Recording]:
    """Recordings as they are, and those of manifests; ConfigError for two of one name, or none at all."""
    sources = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    given = [checked(one) for one in sources if isinstance(one, Recording)]
    paths = [one for one in sources if not isinstance(one, Recording)]
    recordings = given + (read_manifest(paths, allow_pipes=allow_pipes, note=note) if paths else [])
    if not recordings:
        raise ConfigError("no recording was named")
    names: dict[str, Recording] = {}
    for one in recordings:
        other = names.setdefault(clean_name(one.uri).casefold(), one)
        if other is not one:
            raise ConfigError(f"{other.audio} and {one.audio} are both called {one.uri!r}; names must differ")
    return recordings


def checked(one: Recording) -> Recording:
    """A recording with an absolute path; FormatError for a name that is none."""
    checked_name(one.uri, one.audio)
    return one if one.pipe else replace(one, audio=os.path.abspath(one.audio))


@contextmanager
def locked(folder: Path) -> Iterator[Ledger]:
    """The ledger of a folder, for this process alone.

    Raises DiarizeError if another holds it, ConfigError if the folder cannot be made.
    """
    import filelock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DiarizeError(
            f"another batch is at work in {folder}; wait for it, or take another folder"
        ) from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be the folder for the output: {error.strerror}") from None
    try:
        ledger = Ledger(folder)
        try:
            yield ledger
        finally:
            ledger.close()
    finally:
        lock.release()


def planned(
    recordings: list[Recording], home: Path, place: Folder | Store, format: str, retry_failed: bool
) -> Summary:
    """What there is to do, without doing or writing anything."""
    known = peek(home, place)
    status = {one.uri: known.get(one.uri, "waiting") for one in recordings}
    through = ("done",) if retry_failed else ("done", "failed")
    left = tuple(uri for uri, state in status.items() if state not in through)
    done = sum(state == "done" for state in status.values())
    return Summary(str(place), format, done, len(status) - done - len(left), len(left), 0.0, left=left)
