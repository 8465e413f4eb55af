"""What a worker does: load the networks once, then recordings one after the other.

The same on a process of this machine (`diarize.batch.runner`) and on an actor of Ray. A worker touches no
result and no ledger: it sends the text of the result to the one process that writes.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from diarize.batch.lists import COUNTS
from diarize.config import Config
from diarize.errors import AudioError, DiarizeError

if TYPE_CHECKING:
    from diarize.enrolment import KnownVoice
    from diarize.pipeline import Diarizer
    from diarize.result import Diarization

MakeDiarizer = Callable[[Config], "Diarizer"]
"""Makes a worker's diarizer; it must survive pickling."""

Told = Callable[[float, float | None], None]
"""Told the seconds of audio done, and those that the recording declares, if it does."""


@dataclass(frozen=True, slots=True)
class Job:
    """A recording for a worker.

    audio : a path, or a command that writes the audio to its standard output
    options : of `Diarizer.__call__`
    unfinished : the file for its state, if it shall be gone on with after an interruption
    """

    uri: str
    audio: str
    options: Mapping[str, Any] = field(default_factory=dict)
    pipe: bool = False
    unfinished: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a worker found.

    text : the result in the batch's format
    duration, seconds : of audio; that it took
    remarks : warnings
    """

    text: str
    duration: float
    speakers: int
    seconds: float
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loader:
    """Loads what a worker needs, in the worker: ``work = loader()``, then ``work(job, told)`` for each.

    format : a name in `diarize.formats.registry`
    enrolled, one_to_one : known voices, as `Diarizer.__call__` takes them
    """

    config: Config
    format: str
    make: MakeDiarizer
    enrolled: tuple[KnownVoice, ...] = ()
    one_to_one: bool = True

    @property
    def naming(self) -> dict[str, Any]:
        """What the diarizer is told of known voices, if there are any."""
        return {"enrolled": self.enrolled, "one_to_one": self.one_to_one} if self.enrolled else {}

    def __call__(self) -> Callable[[Job, Told], Result]:
        """The loaded diarizer as a function of a job."""
        diarizer = self.make(self.config)

        def work(job: Job, told: Told) -> Result:
            return diarized(diarizer, job, self.format, told, self.naming)

        return work


def make_diarizer(config: Config) -> Diarizer:
    """The diarizer that a configuration describes."""
    from diarize.pipeline import Diarizer

    return Diarizer(config)


def configured(config: Config, **given: Any) -> Config:
    """A configuration with some of its values replaced; None leaves what is there."""
    return Config.from_dict(asdict(config) | {key: v for key, v in given.items() if v is not None})


def diarized(
    diarizer: Diarizer, job: Job, format: str, told: Told, naming: Mapping[str, Any] | None = None
) -> Result:
    """One recording.

    naming : what the diarizer is told of known voices
    Raises AudioError for audio that cannot be used, and what the diarizer raises.
    """
    import time

    begun = time.monotonic()
    with remarks() as said, source_of(job) as source:
        work = resumed(diarizer, job.unfinished) if not job.pipe else diarizer
        found = work(source, uri=job.uri, progress=told, **job.options, **(naming or {}))
        text = found.to(format)
    taken = time.monotonic() - begun
    return Result(text, found.duration, len(found.speakers), taken, tuple(dict.fromkeys(said)))


def resumed(diarizer: Diarizer, unfinished: str | None) -> Callable[..., Diarization]:
    """The diarizer, going on where it was; one of somebody's own as it is, it may have no streams."""
    from diarize.pipeline import Diarizer
    from diarize.resuming import resumably

    if unfinished is None or not isinstance(diarizer, Diarizer):
        return diarizer
    return partial(resumably, diarizer, unfinished=unfinished)


def merged(everywhere: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recording over those of the batch; a count of its own replaces every count."""
    counted = any(key in own for key in COUNTS)
    return {k: v for k, v in everywhere.items() if not (counted and k in COUNTS)} | dict(own)


@contextmanager
def source_of(job: Job) -> Iterator[Any]:
    """The recording's path, or what its command writes as a file."""
    if not job.pipe:
        yield job.audio
        return
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as errors:
        done = subprocess.run(
            job.audio, shell=True, stdin=subprocess.DEVNULL, stdout=file, stderr=errors, check=False
        )
        if done.returncode:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip().splitlines()
            raise AudioError(
                f"the command ended with status {done.returncode}{f': {said[-1][:200]}' if said else ''}: "
                f"{job.audio}"
            )
        file.seek(0)
        try:
            yield file
        except AudioError as error:
            raise AudioError(f"what the command wrote: {error}; the command: {job.audio}") from error


@contextmanager
def remarks() -> Iterator[list[str]]:
    """Warnings, of Python and of diarize's log, that come up in the block."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler, logger = Handler(logging.WARNING), logging.getLogger("diarize")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            yield said
            said += [str(one.message) for one in caught if not issubclass(one.category, DeprecationWarning)]
    finally:
        logger.removeHandler(handler)


def reason_of(error: Exception, uri: str) -> str:
    """Why a recording failed, in one line."""
    if isinstance(error, DiarizeError):
        return " ".join(str(error).split())
    logging.getLogger(__name__).warning("%s: unexpected", uri, exc_info=error)
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
