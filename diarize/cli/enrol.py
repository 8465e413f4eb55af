"""`diarize enrol`: voices with names, as small files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diarize.cli.names import named
from diarize.cli.terminal import (
    ChannelOption,
    ConfigOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OverwriteOption,
    PrecisionOption,
    ThreadsOption,
    finish,
    load_diarizer,
    note,
    output_paths,
)
from diarize.errors import DiarizeError


def enrol(
    voices: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=FILE...",
            help="Alice=alice.wav; Alice=FOLDER of recordings; a FOLDER with a file or subfolder a person; "
            "several of one person add up.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for a file NAME.voice each.", show_default=False)
    ],
    overwrite: OverwriteOption = False,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Make voiceprints of people: one small file each, without their sound, for --enrol everywhere.

    A recording should hold the one voice only; 5 s of speech or more, and several recordings, make it surer.
    A file is for the model that made it. It is personal data, as the recording is.

    Examples:

    - `diarize enrol Alice=alice.wav Bob=bob1.wav Bob=bob2.wav -o voices` writes voices/Alice.voice, Bob.voice

    - `diarize enrol people -o voices` of people/Alice.wav, people/Bob/*.wav, ...

    - `diarize run meeting.m4a --enrol voices` then calls them by their names
    """
    from diarize.extract import file_part
    from diarize.formats import distinct
    from diarize.voiceprints import ENDING

    people = named(voices, "a voice")
    parts = distinct(people, file_part, str.casefold)
    paths = output_paths([Path(parts[name] + ENDING) for name in people], output, ENDING, overwrite)
    diarizer = load_diarizer(
        config, model=model, device=device, engine=engine, precision=precision, threads=threads, overlap="off"
    )
    failed = []
    for (name, recordings), path in zip(people.items(), paths, strict=True):
        try:
            voice = diarizer.enrol({name: recordings}, channel=channel)[0]
            try:
                diarizer.voiceprint(voice).save(path)
            except OSError as error:
                raise DiarizeError(f"{path}: cannot be written: {error.strerror}") from None
            typer.echo(str(path))
            many = f"{len(recordings)} file{'s' * (len(recordings) != 1)}"
            note(f"{name}: {voice.seconds:.1f} s of speech in {many}")
        except DiarizeError as error:
            said = str(error)
            failed.append(said if said.startswith(f"{name}:") else f"{name}: {said}")
    finish(failed, len(people))
