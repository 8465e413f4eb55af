"""`diarize run`: who spoke when, in files."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from diarize._files import KEPT
from diarize.cli import completion
from diarize.cli.names import EnrolOption, SharedNamesOption, known_voices, named, who_is_who
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
        str,
        typer.Option(
            "--format",
            "-f",
            help=f"With -o: {', '.join(FORMATS)}.",
            show_default=True,
            autocompletion=completion.formats,
        ),
    ] = "rttm",
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="With -o FOLDER, write NAME.diarize too: the voices, for `diarize correct` and `link`.",
        ),
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="With -o, print the turns as well.")] = False,
    num_speakers: NumSpeakersOption = None,
    min_speakers: MinSpeakersOption = None,
    max_speakers: MaxSpeakersOption = None,
    overwrite: OverwriteOption = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="With -o FOLDER, go on where an interrupted run of a long recording was, or begin anew.",
        ),
    ] = True,
    channel: ChannelOption = None,
    channels: Annotated[
        str,
        typer.Option(
            "--channels",
            help="mix (all channels are averaged) or split (one person a channel, as in calls recorded in "
            "stereo; what is heard of the others in a channel is left out).",
        ),
    ] = "mix",
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
    """Say who spoke when.

    Without -o the turns are printed, one a line: start, end, speaker.

    Examples:

    - `diarize run meeting.m4a` prints the turns

    - `diarize run *.wav -o turns` writes turns/NAME.rttm for each

    - `diarize run call.mp3 -n 2 -o - | grep SPEAKER_01` writes RTTM to the pipe

    - `diarize run interview.mp4 -o turns -f textgrid` writes turns/interview.TextGrid, for Praat

    - `diarize run meeting.wav -o turns --keep` leaves what `diarize correct` needs, turns/meeting.diarize

    - `diarize run call.wav --channels split` one person a channel, in a call recorded in stereo

    - `diarize run meeting.m4a --enrol Alice=alice.wav --enrol voices/` calls known voices by their names

    One file that fails does not stop the others; it is named at the end, and the exit status is 1.

    With -o FOLDER a run that takes long can be interrupted, by Ctrl-C or by a crash: the same command goes on
    where it was, by FOLDER/.NAME.partial, which is removed at the end.
    """
    Bounds.of(num_speakers, min_speakers, max_speakers)  # refuse contradictions before any work
    counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    people = named(enrol)
    if channels not in ("mix", "split"):
        raise ConfigError(f"--channels must be mix or split, got {channels!r}")
    if channels == "split":
        given = {"channel": channel, **counts, "keep": keep or None, "shared-names": shared_names or None}
        for name, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"--channels split takes each channel for one person, without --{name.replace('_', '-')}"
                )
    to_pipe = output is not None and str(output) == "-"
    paths: list[Path] = []
    chosen = by_name(form)
    if to_pipe and len(files) > 1 and not chosen.many:
        raise ConfigError(f"{chosen.name} holds one recording; write to a folder, or run them one by one")
    if to_pipe and len({file.stem for file in files}) < len(files):
        raise ConfigError(
            f"two of the files have one name, which {chosen.name} could not tell apart; run them one by one"
        )
    kept: list[Path] = []
    if output is not None and not to_pipe:
        names = [Path("stdin") if is_stdin(file) else file for file in files]
        paths = output_paths(names, output, chosen.ending, overwrite)
        kept = output_paths(names, output, KEPT, overwrite) if keep else []
    elif keep:
        raise ConfigError("--keep writes beside the turns; say which folder: -o FOLDER")
    from diarize.channels import by_channel
    from diarize.resuming import resumably

    diarizer = load_diarizer(
        config,
        model=model,
        device=device,
        engine=engine,
        precision=precision,
        threads=threads,
        overlap=overlap,
    )
    known = known_voices(diarizer, people)
    naming = {"enrolled": known, "one_to_one": not shared_names}
    failed = []
    pipe = Output(chosen.name, lambda text: typer.echo(text, nl=False))
    for i, file in enumerate(files):
        title = f"{file.name} ({i + 1}/{len(files)})" if len(files) > 1 else file.name
        try:
            begun = time.monotonic()
            if channels == "split":
                found = diarize_file(partial(by_channel, diarizer), file, title, enrolled=known)
            else:
                work: Callable[..., Diarization] = diarizer
                if paths and file.is_file():
                    work = partial(
                        resumably, diarizer, unfinished=unfinished(paths[i]), resume=resume, note=note
                    )
                found = diarize_file(work, file, title, channel=channel, **counts, **naming)
            taken = time.monotonic() - begun
            if to_pipe:
                pipe.push(Recording(found.uri, found.turns, found.duration, found.matches))
            if not output or (show and not to_pipe):
                if len(files) > 1:
                    typer.echo(f"== {file}")
                typer.echo(str(found))
            if paths:
                write_or_say(paths[i], found.to(chosen.name))
                typer.echo(f"wrote {paths[i]}" if show else str(paths[i]))
            if kept and found.kept is not None:
                write_or_say(kept[i], found.kept.to_bytes())
            if paths:
                unfinished(paths[i]).unlink(missing_ok=True)
            note(summary(found, file, taken))
            for line in who_is_who(found, known, file):
                note(line)
        except DiarizeError as error:
            failed.append(str(error))
    pipe.close()
    finish(failed, len(files))


def diarize_file(diarizer: Callable[..., Diarization], file: Path, title: str, **options: Any) -> Diarization:
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

        uri = "stdin" if is_stdin(file) else options.pop("uri", None)
        return diarizer(source, uri=uri, progress=progress, **options)


def unfinished(path: Path) -> Path:
    """Where the state of a recording is kept until its turns are written to a path."""
    return path.with_name(f".{path.stem}.partial")


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
