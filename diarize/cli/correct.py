"""`diarize correct`: who is who, put right, without running again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize.cli.convert import read_file
from diarize.cli.extract import recording_of
from diarize.cli.terminal import OverwriteOption, check_output, note, write_or_say
from diarize.errors import ConfigError, CorrectionError

if TYPE_CHECKING:
    from diarize.kept import Kept
    from diarize.result import Turn


def correct(
    kept: Annotated[
        Path, typer.Argument(help="What `diarize run --keep` left, NAME.diarize.", show_default=False)
    ],
    turns: Annotated[
        Path | None,
        typer.Option(
            "--turns",
            metavar="FILE",
            help="The turns as you changed them, RTTM or any format that `diarize convert` reads: what is "
            "different in it is true, other turns of these speakers follow.",
        ),
    ] = None,
    same: Annotated[
        list[str] | None,
        typer.Option(
            "--same",
            metavar="TIME,TIME",
            help="Who speaks at these two moments is one speaker.",
            show_default=False,
        ),
    ] = None,
    different: Annotated[
        list[str] | None,
        typer.Option("--different", metavar="TIME,TIME", help="... is not one speaker.", show_default=False),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split", metavar="NAME", help="This speaker is two; NAME:3, three.", show_default=False
        ),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option(
            "--merge", metavar="NAME=NAME", help="These are one, called as the first.", show_default=False
        ),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="OLD=NEW", help="Another name.", show_default=False),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the last correction back, first of all.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Say what was corrected, and stop.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the turns to a file, its ending names the format; - is RTTM to standard "
            "output. Default: print them.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Merge, split, rename speakers, say who is not who; the rest follows, in under a second.

    The file of `diarize run --keep` is changed, so that the next correction builds on this one; every step
    can be undone. Corrections are made in the order of the options below, whatever their order on the line.
    TIME is in seconds, or as 1:02:03.5.

    Examples:

    - `diarize run meeting.wav -o turns --keep`, then

    - `diarize correct turns/meeting.diarize --merge SPEAKER_00=SPEAKER_02 --rename SPEAKER_01=Alice`

    - `diarize correct turns/meeting.diarize --different 62.5,1:10` two people were taken for one

    - `diarize correct turns/meeting.diarize --turns edited.rttm -o turns/meeting.rttm --overwrite`

    - `diarize correct turns/meeting.diarize --undo`
    """
    from diarize import corrections
    from diarize.kept import Kept

    to_pipe = output is not None and str(output) == "-"
    if output is not None and not to_pipe:
        from diarize.formats.registry import by_ending

        by_ending(output)
        check_output(output, overwrite)
    now = before = Kept.load(kept)
    if history:
        for one in (*now.before, now.now):
            typer.echo(one.made_by)
        return
    if undo:
        now = corrections.undo(now)
    if turns is not None:
        now = corrections.edited(now, turns_of(turns, now))
    for value in same or ():
        now = corrections.together(now, *moments(value))
    for value in different or ():
        now = corrections.apart(now, *moments(value))
    for value in split or ():
        name, into = parts_of(value, now)
        now = corrections.split(now, name, into)
    for value in merge or ():
        now = corrections.merge(now, *pair_of(value, now))
    for value in rename or ():
        now = corrections.rename(now, *pair_of(value, now))
    found = now.result()
    if now is not before:
        write_or_say(kept, now.to_bytes())
        note(f"{kept}: {now.now.made_by if not undo else 'undone'}; {len(found.speakers)} speakers")
    if output is None:
        typer.echo(str(found))
    elif to_pipe:
        typer.echo(found.to_rttm(), nl=False)
    else:
        write_or_say(output, found.to(by_ending(output).name))
        typer.echo(str(output))


def turns_of(path: Path, kept: Kept) -> list[Turn]:
    """The turns that a file has of the recording, with the names as they are here."""
    from diarize.formats import clean_names
    from diarize.result import Turn

    recording = recording_of(read_file(path, None), Path(kept.uri), path, None)
    here = {clean: name for name, clean in clean_names(kept.now.names).items()}
    return [Turn(turn.start, turn.end, here.get(turn.speaker, turn.speaker)) for turn in recording.turns]


def moments(value: str) -> tuple[float, float]:
    """62.5,130 or 1:02.5,1:02:03.5 in seconds."""
    times = [
        re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", part.strip()) for part in value.split(",")
    ]
    found = [match.groups(0) for match in times if match]
    if len(times) != 2 or len(found) != 2:
        raise ConfigError(f"two moments must be seconds or 1:02:03.5, as in 62.5,130, got {value!r}")
    one, other = (int(h) * 3600 + int(m) * 60 + float(s) for h, m, s in found)
    return one, other


def pair_of(value: str, kept: Kept) -> tuple[str, str]:
    """NAME=OTHER; the first is somebody's, and may have a = in it."""
    for i in (i for i, ch in enumerate(value) if ch == "="):
        if value[:i] in kept.now.names:
            return value[:i], value[i + 1 :]
    name, equals, other = value.partition("=")
    if not equals:
        raise CorrectionError(f"two names must be written NAME=OTHER, got {value!r}")
    return name, other


def parts_of(value: str, kept: Kept) -> tuple[str, int]:
    """NAME or NAME:3; a name may have a colon in it."""
    name, colon, number = value.rpartition(":")
    if value in kept.now.names or not colon:
        return value, 2
    if not number.isdigit():
        raise CorrectionError(f"--split takes NAME or NAME:3, got {value!r}")
    return name, int(number)
