"""`diarize convert`: who spoke when, from one format to another."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from diarize.cli import completion
from diarize.cli.terminal import OverwriteOption, finish, output_paths, refuse_existing, write_or_say
from diarize.errors import ConfigError, DiarizeError, FormatError
from diarize.extract import file_part
from diarize.formats.registry import (
    FORMATS,
    Format,
    by_name,
    chosen,
    format_recordings,
    read_recordings,
    stem_of,
)

if TYPE_CHECKING:
    from diarize.formats.registry import Recording

Held: TypeAlias = "tuple[Path, list[Recording]]"
"""A file, and the recordings that are in it, or shall be."""

STDIN = Path("stdin")
"""What standard input is called."""

FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help=f"Format of the files, where their endings do not say it: "
        f"{', '.join(form.name for form in FORMATS.values() if form.read)}.",
        show_default=False,
        autocompletion=completion.readable_formats,
    ),
]


def convert(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files that say who spoke when; - reads standard input.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A file, whose ending names its format; a folder, for a file each; - for standard output.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help=f"Format to write: {', '.join(FORMATS)}.",
            show_default=False,
            autocompletion=completion.formats,
        ),
    ] = None,
    source: FromOption = None,
    uri: Annotated[
        str | None,
        typer.Option("--uri", help="Name the recording anew; for a single one.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Convert files that say who spoke when from one format to another.

    Examples:

    - `diarize convert meeting.rttm -o meeting.TextGrid` for Praat; .eaf for ELAN, .txt for Audacity's labels

    - `diarize convert corrected.TextGrid -o meeting.rttm --uri meeting` brings corrections back

    - `diarize convert turns/*.rttm -o all.csv` puts many recordings into one table

    - `diarize convert all.rttm -o praat --to textgrid` writes praat/NAME.TextGrid for each recording

    - `diarize run call.wav -o - | diarize convert - --from rttm -o - --to jsonl | jq .speaker`

    Times are kept to the millisecond, by json and jsonl exactly. Confidences are kept by rttm, json, jsonl
    and csv, the duration by json and textgrid; textgrid and elan join turns of one speaker that overlap. Into
    a folder, one file that fails does not stop the others; into one file all go, or none.
    """
    to_pipe, single = str(output) == "-", bool(output.suffix) and not output.is_dir()
    if to_pipe or not single:
        if to is None:
            raise ConfigError(f"say which format to write: --to {', '.join(FORMATS)}")
        form = by_name(to)
    else:
        form = chosen(output, to)
    read, failed = read_all(files, source)
    count = sum(len(recordings) for _, recordings in read)
    if uri is not None and not failed:
        if count != 1:
            raise ConfigError(f"--uri names one recording, the files hold {count}; convert them one by one")
        read = [(file, [replace(one, uri=uri) for one in recordings]) for file, recordings in read]
    if to_pipe or single:
        if not failed:
            text = format_recordings([one for _, recordings in read for one in recordings], form.name)
            if to_pipe:
                typer.echo(text, nl=False)
            else:
                refuse_existing([output], overwrite)
                write_or_say(output, text)
                typer.echo(str(output))
        finish(failed, len(files))
        return
    parts, empty = parts_of(read, form)
    failed += empty
    paths = output_paths([part for part, _ in parts], output, form.ending, overwrite)
    for path, (_, recordings) in zip(paths, parts, strict=True):
        try:
            write_or_say(path, format_recordings(recordings, form.name))
            typer.echo(str(path))
        except DiarizeError as error:
            failed.append(str(error))
    finish(failed, len(files))


def read_all(
    files: Iterable[Path], source: str | None
) -> tuple[list[tuple[Path, list[Recording]]], list[str]]:
    """What each file holds, in their order, and what is wrong with those that cannot be read."""
    if source is not None:
        by_name(source)  # a wrong name is wrong for all of them
    read: list[Held] = []
    failed = []
    for file in files:
        try:
            read.append((STDIN if str(file) == "-" else file, read_file(file, source)))
        except DiarizeError as error:
            failed.append(str(error))
    return read, failed


def read_file(file: Path, source: str | None) -> list[Recording]:
    """What one file holds; `-` is standard input. A file that cannot be opened is one line."""
    piped = str(file) == "-"
    if piped and source is None:
        raise ConfigError("standard input has no ending that names its format; say --from rttm, json, ...")
    with stdin_copy() if piped else nullcontext(file) as path:
        try:
            return read_recordings(path, source)
        except FormatError as error:
            if not piped:
                raise
            raise FormatError(str(error).replace(str(path), "standard input")) from None
        except FileNotFoundError:
            raise DiarizeError(f"{file}: no such file") from None
        except OSError as error:
            raise DiarizeError(f"{file}: cannot be read: {error.strerror}") from None


@contextmanager
def stdin_copy() -> Iterator[Path]:
    """Standard input as a file, for readers that look twice."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / STDIN
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield path


def parts_of(read: Iterable[Held], form: Format) -> tuple[list[Held], list[str]]:
    """What goes into a file each, with a path whose stem names it, and what is wrong with files without any.

    Files that hold several recordings become one file a recording where the format holds no more than one.
    """
    parts: list[Held] = []
    empty = []
    for file, recordings in read:
        if form.many or len(recordings) == 1:
            parts.append((file.with_name(stem_of(file) + ".x"), recordings))
        elif not recordings:
            empty.append(f"{file}: holds no turn, so {form.name} has no recording to hold")
        else:
            parts += [(Path(file_part(one.uri) + ".x"), [one]) for one in recordings]
    return parts, empty
