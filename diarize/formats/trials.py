"""Lists of trials: which recordings are known to be one voice, and which are not.

target    alice/1.wav alice/2.wav      (or 1, or with the label at the end)
nontarget alice/1.wav bob/1.wav        (or 0)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from diarize.errors import FormatError

from . import read_fields

LABELS = {"target": True, "1": True, "nontarget": False, "0": False}


class Trial(NamedTuple):
    """Two recordings, and whether they are one voice."""

    target: bool
    a: Path
    b: Path


def read_trials(path: str | os.PathLike[str]) -> list[Trial]:
    """The trials of a file, a line each; the paths in it are relative to it, and hold no spaces.

    Raises
    ------
    FormatError
        ``trials.txt:3: ...``; the first line that is wrong, or names a file that is not there, is named.
    OSError
        when the file cannot be read.
    """
    folder = Path(path).parent
    trials = []
    for where, fields in read_fields(path):
        if len(fields) != 3:
            raise FormatError(
                f"{where}: a trial must have 3 fields (target or nontarget, and two recordings without "
                f"spaces in their names), got {len(fields)}"
            )
        if fields[0] not in LABELS:
            fields = [fields[2], *fields[:2]]
        if fields[0] not in LABELS:
            raise FormatError(
                f"{where}: a trial must begin or end with target or nontarget (or 1 or 0), "
                f"got {' '.join(fields[1:])} {fields[0]}"
            )
        a, b = folder / fields[1], folder / fields[2]
        for file in (a, b):
            if not os.path.isfile(file):  # not Path.is_file, which raises where a name is too long
                raise FormatError(f"{where}: no such file: {file}")
        if a == b:
            raise FormatError(f"{where}: a recording says nothing compared with itself: {a}")
        trials.append(Trial(LABELS[fields[0]], a, b))
    return trials
