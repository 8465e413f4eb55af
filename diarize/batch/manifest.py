"""What is to be diarized: folders, globs, audio files and lists of them, as recordings with unique names.

    a folder               every audio file in it and below; the names are the paths in it
    meetings/*.wav         a glob, ** is any depth
    meeting.wav            a file
    list.txt, .lst         a path a line
    wav.scp                Kaldi's: a name, then a path, or with `allow_pipes` a command that ends in |
    list.csv, list.jsonl   columns or keys: audio, uri, channel, num_speakers, min_speakers, max_speakers

Paths in a list are relative to the list.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diarize._files import SOUNDS
from diarize.batch.lists import Found, from_csv, from_jsonl, from_path, from_scp, from_text
from diarize.errors import ConfigError, FormatError
from diarize.formats import clean_name

Note = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of a batch.

    uri : its name, unique in the batch; with / for folders. The result is DIR/uri.rttm
    audio : absolute path of the file, or a command that writes one to its standard output
    options : of `Diarizer.__call__`, for this recording: channel, num_speakers, ...
    pipe : whether `audio` is a command
    """

    uri: str
    audio: str
    options: Mapping[str, int] = field(default_factory=dict)
    pipe: bool = False


def read_manifest(
    sources: Iterable[str | os.PathLike[str]], *, allow_pipes: bool = False, note: Note = lambda said: None
) -> list[Recording]:
    """The recordings of folders, globs, files and lists, in their order, with unique names.

    A file that is met twice without a name of its own is one recording. Names that come from paths and clash
    are made distinct by the ending, then by the folder, at last by a number that the path gives; names that a
    list gives must be unique.

    allow_pipes : whether commands in Kaldi's wav.scp may be run
    note : told what was made of files met twice and of names that clashed

    Raises
    ------
    FormatError
        ``list.csv:3: num_speakers must be a whole number >= 1, got 'two'``; the first line that is wrong.
    ConfigError
        for a source that is not there, or holds nothing.
    """
    found: list[Found] = []
    for source in sources:
        several = list(read_source(os.fspath(source), allow_pipes))
        if not several:
            raise ConfigError(f"{source}: holds no recording")
        found += several
    return distinct(without_repeats(found, note), note)


def read_source(source: str, allow_pipes: bool) -> Iterator[Found]:
    """The recordings of one source."""
    path = Path(source)
    if path.is_dir():
        return from_folder(path)
    if not path.exists():
        if not glob.has_magic(source):
            raise ConfigError(f"{source}: no such file or folder")
        matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]
        fixed = Path(*path.parts[: first_magic(path)])
        return (from_path(match, fixed) for match in matches if match.is_file())
    readers: dict[str, Callable[[Path], Iterator[Found]]] = {
        ".txt": from_text, ".lst": from_text, ".list": from_text,
        ".scp": lambda path: from_scp(path, allow_pipes),
        ".csv": from_csv, ".jsonl": from_jsonl, ".ndjson": from_jsonl,
    }  # fmt: skip
    read = readers.get(path.suffix.lower())
    return read(path) if read else iter([from_path(path, path.parent)])


def first_magic(path: Path) -> int:
    """How many parts of a glob come before the first with a * or the like in it."""
    return next(number for number, part in enumerate(path.parts) if glob.has_magic(part))


def from_folder(folder: Path) -> Iterator[Found]:
    """Every audio file of a folder and of those below, in the order of their paths; hidden ones left out."""
    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:  # links in a circle
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in SOUNDS and not name.startswith("."):
                yield from_path(Path(root, name), folder)


def without_repeats(found: list[Found], note: Note) -> list[Found]:
    """One recording of each file that was met several times, unless a list names it."""
    met: dict[str, Found] = {}
    kept, repeats = [], 0
    for one in found:
        first = met.setdefault(one.audio, one)
        if first is not one and not one.named and not first.named:
            if first.options != one.options:
                raise FormatError(f"{one.where}: was in {first.where} with other options; give each a uri")
            repeats += 1
            continue
        kept.append(one)
    if repeats:
        note(f"{repeats} file{'s' * (repeats > 1)} met more than once, taken once")
    return kept


def distinct(found: list[Found], note: Note) -> list[Recording]:
    """Recordings with unique names, each the first of its possible ones that no other would have."""
    level = [0] * len(found)
    while True:
        groups: dict[str, list[int]] = {}
        for number, one in enumerate(found):
            groups.setdefault(clean_name(one.names[level[number]]).casefold(), []).append(number)
        clashing = [group for group in groups.values() if len(group) > 1]
        if not clashing:
            break
        for group in clashing:
            free = [number for number in group if level[number] + 1 < len(found[number].names)]
            if not free:
                first, second = (found[number] for number in group[:2])
                raise FormatError(
                    f"{second.where}: the name {second.names[-1]!r} is that of {first.where} too; "
                    "give each recording a uri of its own"
                )
            for number in free:
                level[number] += 1
    moved = [number for number, step in enumerate(level) if step]
    if moved:
        name = found[moved[0]].names[level[moved[0]]]
        note(f"{len(moved)} names that clashed were made distinct, such as {name!r}")
    return [
        Recording(one.names[step], one.audio, one.options, one.pipe)
        for one, step in zip(found, level, strict=True)
    ]
