"""What is asked of a batch against what its folder holds: what waits, what changed, what is refused."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize import __version__
from diarize.batch.ledger import NAME, Ledger
from diarize.batch.manifest import Note, Recording
from diarize.batch.places import Place
from diarize.batch.rows import row_of
from diarize.batch.summary import SUMMARY
from diarize.config import Config
from diarize.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from diarize.enrolment import KnownVoice

LOCK = "batch.lock"


def settings_of(config: Config, options: Mapping[str, Any], format: str, make: Any) -> dict[str, Any]:
    """All that results depend on, flat, as the ledger keeps it; threads and workers change nothing.

    Options that are not given are left out, so that one that is new changes no old ledger.
    """
    values = {**flat(asdict(config)), "format": format}
    values |= {f"option {key}": value for key, value in options.items() if value is not None}
    values.pop("threads", None)
    if make is not None:
        maker = make if hasattr(make, "__qualname__") else type(make)
        values["make_diarizer"] = f"{maker.__module__}.{maker.__qualname__}"
    kept: dict[str, Any] = json.loads(json.dumps(values, default=repr, sort_keys=True))
    return kept


def naming_of(enrolled: Sequence[KnownVoice], one_to_one: bool) -> dict[str, Any]:
    """What results depend on where voices are known: whose, and a digest of each."""
    if not enrolled:
        return {}
    voices = {f"voice of {one.name}": sha256(one.total.tobytes()).hexdigest()[:16] for one in enrolled}
    return voices if one_to_one else voices | {"option one_to_one": False}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed, each in a few words."""
    keys = [*now, *(key for key in before if key not in now)]
    return [
        f"{key} was {shown(before, key)}, is {shown(now, key)}"
        for key in keys
        if before.get(key) != now.get(key)
    ]


def shown(values: Mapping[str, Any], key: str) -> str:
    """A value, or that there is none."""
    value = values.get(key)
    return "unset" if value is None else str(value)


def check_names(recordings: Sequence[Recording], ending: str) -> None:
    """ConfigError for names whose results would lie on the batch's own files."""
    own = {name.casefold() for name in (SUMMARY, LOCK, NAME, NAME + "-wal", NAME + "-shm")}
    for one in recordings:
        if (one.uri + ending).casefold() in own:
            raise ConfigError(
                f"{one.audio}: the result would be written to {one.uri + ending}, which the batch itself "
                "writes; give it another uri"
            )


def prepare(
    ledger: Ledger,
    place: Place,
    recordings: Sequence[Recording],
    settings: Mapping[str, Any],
    ending: str,
    *,
    overwrite: bool,
    retry_failed: bool,
    note: Note,
) -> None:
    """Bring the ledger to where the work can begin, and say what was met.

    Raises ConfigError for results of other options, and for files that are no results of this batch, unless
    they may be replaced.
    """
    if interrupted := ledger.put_back():
        note(f"{several(interrupted, 'recording')} that an earlier run left unfinished will be done again")
    other = differences(json.loads(ledger.get("settings") or json.dumps(settings)), settings)
    results = ledger.any_done()
    if other and results and not overwrite:
        raise ConfigError(
            f"{place} holds results of other options: {some(other)}; add --overwrite to do all anew, or "
            "take another folder"
        )
    rows = [row_of(one) for one in recordings]
    changed = [] if other else ledger.changed(rows)
    if changed and not overwrite:
        raise ConfigError(
            f"{some(changed)} was done with another file or other options than the list has now; add "
            "--overwrite to do it anew"
        )
    if other:  # what was found with the old ones waits before the new ones are noted
        ledger.again()
        if results:
            note(f"all is done anew: {some(other)}")
    if changed:
        ledger.again(changed)
        note(f"{several(len(changed), 'recording')} with other options than before will be done anew")
    ledger.take_in(rows)
    new, done = [uri + ending for uri in ledger.never_begun()], ledger.done()
    there = place.sizes([*new, *(output for _, output, _ in done)])
    foreign = [name for name in new if name in there]
    if foreign and not overwrite:
        raise ConfigError(
            f"{some([f'{place}/{name}' for name in foreign])} exists already, and not from this "
            "batch; add --overwrite to replace"
        )
    ledger.set("settings", json.dumps(settings))
    gone = [uri for uri, name, size in done if name not in there or (size and not there[name])]
    if gone:
        ledger.again(gone)
        note(f"{several(len(gone), 'result')} of earlier runs gone, to be made again: {some(gone)}")
    if retry_failed:
        ledger.again([uri for uri, *_ in ledger.failed()])
    if left := ledger.unlisted():
        note(f"{several(left, 'recording')} of earlier runs not in this list, left alone")
    if (version := ledger.get("made by")) not in (None, __version__) and ledger.any_done():
        note(f"earlier results are of diarize {version}, this is {__version__}")
    ledger.set("made by", __version__)


def peek(home: str | os.PathLike[str], place: Place) -> dict[str, str]:
    """The state of each recording of a folder's ledger, by name, read only; without its result it waits."""
    path = Path(home) / NAME
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            rows = db.execute("SELECT uri, status, output FROM recordings").fetchall()
    except sqlite3.DatabaseError as error:
        raise FormatError(f"{path}: cannot be read as a ledger of a batch: {error}") from None
    there = place.sizes([output for _, status, output in rows if status == "done"])
    return {
        uri: "waiting" if status == "done" and output not in there else status for uri, status, output in rows
    }


def several(count: int, what: str) -> str:
    """1 result, 2 results."""
    return f"{count} {what}{'s' * (count != 1)}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    rest = len(names) - most
    return "; ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
