"""What became of a batch, for people and for machines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from diarize.batch.ledger import Ledger
from diarize.batch.places import Place

SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Failure:
    """A recording that failed, and why; attempts: times that it was tried."""

    uri: str
    audio: str
    reason: str
    attempts: int


@dataclass(frozen=True)
class Summary:
    """What became of a batch; `summary.json` holds the same.

    done, failed, waiting : recordings of the manifest
    audio_s : seconds of audio of those that are done
    done_now, failed_now, audio_now_s, taken_s : of them in this run; the seconds it took
    workers, threads : of each worker
    failures : those that failed
    left : names of those that wait
    """

    folder: str
    format: str
    done: int
    failed: int
    waiting: int
    audio_s: float
    done_now: int = 0
    failed_now: int = 0
    audio_now_s: float = 0.0
    taken_s: float = 0.0
    workers: int = 0
    threads: int = 0
    failures: tuple[Failure, ...] = ()
    left: tuple[str, ...] = field(default=(), repr=False)

    @property
    def total(self) -> int:
        """Recordings of the manifest."""
        return self.done + self.failed + self.waiting

    def to_json(self) -> str:
        """As JSON, indented."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def summarise(ledger: Ledger, place: str, format: str, **now: float) -> Summary:
    """The summary of a ledger; place: where the results are; now: what this run did."""
    counts = ledger.counts()
    return Summary(
        place, format, counts.done, counts.failed, counts.waiting + counts.running, ledger.audio_s(),
        failures=tuple(Failure(*row) for row in ledger.failed()),
        left=tuple(uri for uri, *_ in ledger.waiting()),
        **now,  # type: ignore[arg-type]
    )  # fmt: skip


def keep(summary: Summary, *places: Place) -> None:
    """Write it, if it can be, into each of the places: on a full disk the ledger has all of it."""
    for place in {str(place): place for place in places}.values():
        place.put(SUMMARY, summary.to_json().encode()).exception()
