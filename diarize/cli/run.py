"""`diarize run`: who spoke when, in files."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

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
    finish,
    load_diarizer,
    note,
    output_paths,
    progress_bar,
    write_or_say,
)
from diarize.config import Bounds
from diarize.errors import ConfigError, DiarizeError
from diarize.formats.registry import FORMATS, Output, Recording, by_name

if TYPE_CHECKING:
    from diarize.pipeline import Diarizer
    from diarize.result import Diarization


def run(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings: any file with sound in it; - reads standard input.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for a file NAME.rttm each; - writes to standard output.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", "-f", help=f"With -o: {', '.join(FORMATS)}.", show_default=True)
    ] = "rttm",
    show: Annotated[bool, typer.Option("--show", help="With -o, print the turns as well.")] = False,
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
) -> None:
    """Say who spoke when.

    Without -o the turns are printed, one a line: start, end, speaker.

    Examples:

    - `diarize run meeting.m4a` prints the turns

    - `diarize run *.wav -o turns` writes turns/NAME.rttm for each

    - `diarize run call.mp3 -n 2 -o - | grep SPEAKER_01` writes RTTM to the pipe

    - `diarize run interview.mp4 -o turns -f textgrid` writes turns/interview.TextGrid, for Praat

    One file that fails does not stop the others; it is named at the end, and the exit status is 1.
    """
    Bounds.of(num_speakers, min_speakers, max_speakers)  # refuse contradictions before any work
    counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    to_pipe = output is not None and str(output) == "-"
    paths: list[Path] = []
    chosen = by_name(form)
    if to_pipe and len(files) > 1 and not chosen.many:
        raise ConfigError(f"{chosen.name} holds one recording; write to a folder, or run them one by one")
    if to_pipe and len({file.stem for file in files}) < len(files):
        raise ConfigError(
            f"two of the files have one name, which {chosen.name} could not tell apart; run them one by one"
        )
    if output is not None and not to_pipe:
        paths = output_paths(
            [Path("stdin") if is_stdin(file) else file for file in files], output, chosen.ending, overwrite
        )
    diarizer = load_diarizer(
        config,
        model=model,
        device=device,
        engine=engine,
        precision=precision,
        threads=threads,
        overlap=overlap,
    )
    failed = []
    pipe = Output(chosen.name, lambda text: typer.echo(text, nl=False))
    for i, file in enumerate(files):
        title = f"{file.name} ({i + 1}/{len(files)})" if len(files) > 1 else file.name
        try:
            begun = time.monotonic()
            found = diarize_file(diarizer, file, title, channel=channel, **counts)
            taken = time.monotonic() - begun
            if to_pipe:
                pipe.push(Recording(found.uri, found.turns, found.duration))
            if not output or (show and not to_pipe):
                if len(files) > 1:
                    typer.echo(f"== {file}")
                typer.echo(str(found))
            if paths:
                write_or_say(paths[i], found.to(chosen.name))
                typer.echo(f"wrote {paths[i]}" if show else str(paths[i]))
            note(summary(found, file, taken))
        except DiarizeError as error:
            failed.append(str(error))
    pipe.close()
    finish(failed, len(files))


def diarize_file(diarizer: Diarizer, file: Path, title: str, **options: Any) -> Diarization:
    """One recording, with a bar over its seconds."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack:
        source: Path | IO[bytes] = stack.enter_context(stdin_copy()) if is_stdin(file) else file
        bar = stack.enter_context(progress_bar(*columns))
        task = bar.add_task(title, total=None)

        def progress(done_s: float, total_s: float | None) -> None:
            bar.update(task, completed=done_s, total=total_s)

        uri = "stdin" if is_stdin(file) else None
        return diarizer(source, uri=uri, progress=progress, **options)


def is_stdin(file: Path) -> bool:
    """Whether `-` was given."""
    return str(file) == "-"


def stdin_copy() -> IO[bytes]:
    """Standard input as a file that can be read from its start again."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(sys.stdin.buffer, copy)
    return copy


def summary(found: Diarization, file: Path, taken: float) -> str:
    """One line on what was found and how long it took."""
    count = len(found.speakers)
    speech = sum(found.speaking_time.values())
    return (
        f"{file}: {count} speaker{'s' if count != 1 else ''}, {speech:.1f} s of speech in "
        f"{found.duration:.1f} s, took {taken:.1f} s"
    )
