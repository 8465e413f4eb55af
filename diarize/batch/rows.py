"""A recording as the ledger keeps it."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from diarize.batch.manifest import Recording


class Row(NamedTuple):
    """What the manifest says of a recording, and the bytes of its file, 0 where they cannot be known."""

    uri: str
    audio: str
    options: str
    bytes: int

    def differs(self, other: Row) -> bool:
        """Whether it would come out otherwise; a file may have moved, or be gone."""
        pipes = self.audio != other.audio and (self.audio.endswith(" |") or other.audio.endswith(" |"))
        sizes = self.bytes != other.bytes and self.bytes > 0 and other.bytes > 0
        return self.options != other.options or pipes or sizes


def row_of(one: Recording) -> Row:
    """A recording as it is kept."""
    audio = encodable(one.audio) + (" |" if one.pipe else "")
    return Row(one.uri, audio, json.dumps(dict(one.options), sort_keys=True), size_of(one))


def encodable(text: str) -> str:
    """A path as UTF-8 can hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def size_of(one: Recording) -> int:
    """Bytes of its file; 0 where it cannot be known."""
    try:
        return 0 if one.pipe else os.stat(one.audio).st_size
    except (OSError, ValueError):
        return 0
