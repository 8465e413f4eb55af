"""ELAN (.eaf): a tier a speaker, whose annotations say their name where they speak.

Definition: Max Planck Institute for Psycholinguistics, *ELAN annotation format*, schema 3.0
(https://www.mpi.nl/tools/elan/EAFv3.0.xsd).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from diarize.errors import FormatError

from . import NO_NAME, distinct, read_bytes
from .rows import Recording, checked_turn, rows_of, tiers_of

if TYPE_CHECKING:
    from diarize.result import Turn

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="diarize" DATE="1970-01-01T00:00:00Z" FORMAT="3.0" VERSION="3.0" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"/>
"""
_TAIL = """    <LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="turns" GRAPHIC_REFERENCES="false" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MS = re.compile(r"\d{1,12}", re.ASCII)


def format_elan(recording: Recording) -> str:
    """The turns as an ELAN document, in milliseconds; the same turns give the same text (so no date).

    Overlapping turns of one speaker become one annotation; those that touch stay two. Characters that XML
    cannot hold become ``_``, an empty name ``<NA>``. ELAN asks for the recording when it opens the file.

    Raises
    ------
    FormatError
        for impossible times.
    """
    tiers = tiers_of(rows_of(recording))
    names = distinct(tiers, lambda name: _NOT_XML.sub("_", name) or NO_NAME)
    edges = sorted(
        (time, name, i, edge)
        for name, spans in tiers.items()
        for i, span in enumerate(spans)
        for edge, time in enumerate(span)
    )
    slots = {edge[1:]: number for number, edge in enumerate(edges, start=1)}
    parts = [_HEAD, "    <TIME_ORDER>\n"]
    for number, (time, *_) in enumerate(edges, start=1):
        parts.append(f'        <TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{time}"/>\n')
    parts.append("    </TIME_ORDER>\n")
    annotation = 0
    for name, spans in tiers.items():
        shown = quoteattr(names[name])
        parts.append(f'    <TIER LINGUISTIC_TYPE_REF="turns" PARTICIPANT={shown} TIER_ID={shown}>\n')
        for i in range(len(spans)):
            annotation += 1
            parts.append(
                f'        <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{annotation}" '
                f'TIME_SLOT_REF1="ts{slots[name, i, 0]}" TIME_SLOT_REF2="ts{slots[name, i, 1]}">'
                f"<ANNOTATION_VALUE>{escape(names[name])}</ANNOTATION_VALUE>"
                "</ALIGNABLE_ANNOTATION></ANNOTATION>\n"
            )
        parts.append("    </TIER>\n")
    return "".join([*parts, _TAIL])


def read_elan(path: str | os.PathLike[str]) -> list[Recording]:
    """The one recording of an ELAN document, named as the file.

    A speaker is the participant of a tier, or the tier where it names none; a turn is an annotation of it,
    whatever it says. Dependent tiers (of words, translations, ...) are skipped.

    Raises
    ------
    FormatError
        ``meeting.eaf:17: ...``; the first line that is wrong is named. Documents with a DOCTYPE are refused:
        ELAN writes none, and entities could make them huge.
    OSError
        when the file cannot be read.
    """
    found = _Document(path)
    found.parse(read_bytes(path))
    return [Recording(Path(path).stem, tuple(sorted(found.turns())))]


class _Document:
    """The slots and the annotations of an ELAN document, in its order."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.slots: dict[str, int | None] = {}
        self.annotations: list[tuple[str, str, str, str]] = []  # place, two slots, speaker
        self.speaker: str | None = None  # of the tier; None in tiers that are skipped
        self.begun = False
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.element
        self.parser.StartDoctypeDeclHandler = self.doctype

    @property
    def where(self) -> str:
        return f"{self.path}:{self.parser.CurrentLineNumber}"

    def parse(self, content: bytes) -> None:
        try:
            self.parser.Parse(content, True)
        except expat.ExpatError as error:
            raise FormatError(
                f"{self.path}:{error.lineno}: must be XML: {expat.ErrorString(error.code)}"
            ) from error
        except FormatError:
            raise
        except (LookupError, ValueError, TypeError) as error:  # of Python's codecs
            raise FormatError(f"{self.path}:1: must be XML in an encoding that it has: {error}") from error

    def doctype(self, *_: Any) -> None:
        raise FormatError(f"{self.where}: must not have a DOCTYPE; ELAN writes none")

    def element(self, name: str, fields: dict[str, str]) -> None:
        if not self.begun and name != "ANNOTATION_DOCUMENT":
            raise FormatError(f"{self.where}: must be an ANNOTATION_DOCUMENT of ELAN, got {name[:40]}")
        self.begun = True
        if name == "HEADER" and fields.get("TIME_UNITS", "milliseconds") != "milliseconds":
            raise FormatError(
                f"{self.where}: TIME_UNITS must be milliseconds, got {fields['TIME_UNITS'][:40]}"
            )
        if name == "TIME_SLOT":
            value = fields.get("TIME_VALUE")
            if value is not None and not _MS.fullmatch(value):
                raise FormatError(
                    f"{self.where}: TIME_VALUE must be whole milliseconds >= 0, got {value[:40]!r}"
                )
            self.slots[self.field(fields, "TIME_SLOT_ID")] = None if value is None else int(value)
        elif name == "TIER":
            speaker = fields.get("PARTICIPANT") or self.field(fields, "TIER_ID")
            self.speaker = None if "PARENT_REF" in fields else speaker
        elif name == "ALIGNABLE_ANNOTATION" and self.speaker is not None:
            first, last = (self.field(fields, f"TIME_SLOT_REF{i}") for i in (1, 2))
            self.annotations.append((self.where, first, last, self.speaker))

    def field(self, fields: dict[str, str], name: str) -> str:
        if name not in fields:
            raise FormatError(f"{self.where}: {name} is missing")
        return fields[name]

    def turns(self) -> Iterator[Turn]:
        for where, *ends, speaker in self.annotations:
            times = []
            for slot in ends:
                time = self.slots.get(slot)
                if time is None:
                    raise FormatError(f"{where}: its time slot {slot[:40]!r} must have a time")
                times.append(time / 1000)
            yield checked_turn(times[0], times[1], speaker, where)
