"""`diarize report`: who spoke when, as a page to listen to and to correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize.cli.convert import read_file
from diarize.cli.extract import recording_of
from diarize.cli.names import EnrolOption, SharedNamesOption, known_voices, named, who_is_who
from diarize.cli.run import diarize_file, is_stdin
from diarize.cli.terminal import (
    ChannelOption,
    ConfigOption,
    DeviceOption,
    EngineOption,
    MaxSpeakersOption,
    MinSpeakersOption,
    ModelOption,
    NumSpeakersOption,
    OverlapOption,
    OverwriteOption,
    PrecisionOption,
    ThreadsOption,
    check_output,
    load_diarizer,
    note,
    progress_bar,
)
from diarize.config import Bounds
from diarize.errors import ConfigError, DiarizeError
from diarize.formats.registry import ENDINGS

if TYPE_CHECKING:
    from diarize.result import Diarization


def report(
    audio: Annotated[
        Path, typer.Argument(help="A recording: any file with sound in it.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="HTML file to write; default: NAME.html, here.", show_default=False
        ),
    ] = None,
    turns: Annotated[
        Path | None,
        typer.Option(
            "--turns",
            help=f"Who spoke when is in this file ({', '.join(ENDINGS)}); default: find it out.",
            show_default=False,
        ),
    ] = None,
    uri: Annotated[
        str | None,
        typer.Option("--uri", help="Which recording, where --turns holds several.", show_default=False),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option("--title", help="What the page is called; default: NAME.", show_default=False),
    ] = None,
    sound: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Embed the recording, about 19 MB an hour, or do not.")
    ] = True,
    num_speakers: NumSpeakersOption = None,
    min_speakers: MinSpeakersOption = None,
    max_speakers: MaxSpeakersOption = None,
    overwrite: OverwriteOption = False,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    overlap: OverlapOption = None,
    enrol: EnrolOption = None,
    shared_names: SharedNamesOption = False,
) -> None:
    """Write one HTML file that shows who spoke when, plays it, and lets you correct it.

    The file holds everything, the sound as MP3 included, and opens in any browser without a network. In it
    speakers are renamed and merged, turns moved, split, given to others, deleted and added; what comes of it
    is exported as RTTM, JSON, CSV or SRT.

    Examples:

    - `diarize report meeting.m4a` writes meeting.html

    - `diarize report call.wav --turns call.rttm -o call.html` of turns that are known, from any program

    - `diarize report meeting.m4a -n 4 --no-audio --title "Board, May"` without the sound, for a report
    """
    Bounds.of(num_speakers, min_speakers, max_speakers)  # refuse contradictions before any work
    counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    loading = {"model": model, "device": device, "engine": engine, "precision": precision, "threads": threads}
    loading |= {"overlap": overlap}
    if is_stdin(audio):
        raise ConfigError("a page is made of a file, which is read twice; save standard input to one first")
    people = named(enrol)
    path = Path(f"{audio.stem}.html") if output is None else output
    check_output(path, overwrite, f"{audio.stem}.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{path}: a page must end in .html, or browsers will not show it as one")
    if turns is None:
        if uri is not None:
            raise ConfigError("--uri says which recording of --turns is meant; name that file as well")
        diarizer = load_diarizer(config, **loading)
        voices = known_voices(diarizer, people)
        naming = {"enrolled": voices, "one_to_one": not shared_names}
        found = diarize_file(diarizer, audio, audio.name, channel=channel, **counts, **naming)
        for line in who_is_who(found, voices, audio):
            note(line)
    else:
        only = {"config": config} | counts | loading | {"enrol": enrol, "shared_names": shared_names or None}
        given = [name for name, value in only.items() if value is not None]
        if given:
            raise ConfigError(
                f"--{given[0].replace('_', '-')} is for finding out who speaks: {turns} says it already"
            )
        found = known(turns, audio, uri)
    write(path, found, audio, title=audio.stem if title is None else title, sound=sound, channel=channel)
    typer.echo(str(path))
    counted = ((len(found.speakers), "speaker"), (len(found), "turn"))
    many = ", ".join(f"{count} {what}{'s' if count != 1 else ''}" for count, what in counted)
    note(f"{audio}: {many}, {path.stat().st_size / 1e6:.1f} MB")


def known(turns: Path, audio: Path, uri: str | None) -> Diarization:
    """What a file says of the recording; its duration is that of the sound, where that is longer."""
    return recording_of(read_file(turns, None), audio, turns, uri).diarization


def write(
    path: Path, found: Diarization, audio: Path, *, title: str, sound: bool, channel: int | None
) -> None:
    """The page, with a bar over the seconds of the recording."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from diarize.report import write_report

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as bar:
        task = bar.add_task(path.name, total=None)

        def progress(done_s: float, total_s: float | None) -> None:
            bar.update(task, completed=done_s, total=total_s)

        try:
            write_report(path, found, audio, title=title, sound=sound, channel=channel, progress=progress)
        except OSError as error:
            raise DiarizeError(f"{path}: cannot be written: {error.strerror}") from None
