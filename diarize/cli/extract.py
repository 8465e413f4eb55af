"""`diarize extract`: what each speaker said, as sound, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize.cli.convert import FromOption, read_file
from diarize.cli.terminal import ChannelOption, OverwriteOption, note, percent, progress_bar, table
from diarize.errors import ConfigError, DiarizeError
from diarize.formats import clean_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diarize.extract import TalkTime
    from diarize.formats.registry import Recording


def extract(
    audio: Annotated[
        Path, typer.Argument(help="A recording: any file with sound in it.", show_default=False)
    ],
    turns: Annotated[
        Path,
        typer.Argument(help="Who spoke when: RTTM, JSON, TextGrid, ...; - reads it.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for NAME_SPEAKER.wav files.", show_default=False)
    ],
    pieces: Annotated[
        bool, typer.Option("--pieces", help="One file a turn: NAME_0001_SPEAKER.wav, in order of time.")
    ] = False,
    keep_times: Annotated[
        bool,
        typer.Option("--keep-times", help="Files as long as the recording, silent where others speak."),
    ] = False,
    uri: Annotated[
        str | None,
        typer.Option(
            "--uri", help="Which recording, where the file of turns holds several.", show_default=False
        ),
    ] = None,
    source: FromOption = None,
    channel: ChannelOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write what each speaker said, one WAV file a speaker, and print who spoke for how long.

    The files are mono, 16 bits, at the recording's own sample rate. Where two speak at once, both files have
    the sound of both; seconds count once however many turns of one speaker cover them.

    Examples:

    - `diarize extract meeting.m4a meeting.rttm -o voices` writes voices/meeting_SPEAKER_00.wav, ...

    - `diarize extract meeting.m4a meeting.rttm -o turns --pieces` writes a file a turn, to be transcribed

    - `diarize run call.wav -o - | diarize extract call.wav - --from rttm -o voices`
    """
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from diarize.extract import extract as extract_audio
    from diarize.extract import talk_time

    recording = recording_of(read_file(turns, source), audio, turns, uri)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as bar:
        task = bar.add_task(audio.name, total=None)
        try:
            paths = extract_audio(
                audio,
                recording.turns,
                output,
                name=audio.stem,
                pieces=pieces,
                keep_times=keep_times,
                channel=channel,
                overwrite=overwrite,
                progress=lambda done_s, total_s: bar.update(task, completed=done_s, total=total_s),
            )
        except OSError as error:
            raise DiarizeError(f"{error.filename or output}: cannot be written: {error.strerror}") from None
    if not recording.turns:
        typer.echo(f"{turns}: nobody speaks in it")
        return
    talk_table(recording.uri, talk_time(recording.turns))
    note(f"wrote {len(paths)} file{'s' if len(paths) != 1 else ''} to {output}")


def recording_of(recordings: Sequence[Recording], audio: Path, turns: Path, uri: str | None) -> Recording:
    """The recording that is meant: the one of this uri, the only one, or the one named as the audio file."""
    from diarize.formats.registry import Recording

    if uri is None and len(recordings) == 1:
        return recordings[0]
    if uri is None and not recordings:
        return Recording(audio.stem, ())
    wanted = {audio.stem, clean_name(audio.stem)} if uri is None else {uri}
    for recording in recordings:
        if recording.uri in wanted:
            return recording
    held = ", ".join(recording.uri for recording in recordings[:5]) + (", ..." if len(recordings) > 5 else "")
    raise ConfigError(
        f"{turns}: no recording {audio.stem if uri is None else uri}; it holds {held or 'none'}; "
        "say which: --uri NAME"
    )


def talk_table(title: str, found: Sequence[TalkTime]) -> None:
    """Who spoke for how long, as a table."""
    header = ["speaker", "seconds", "share", "turns", "longest", "overlapped"]
    body = [
        [
            " ".join(one.speaker.split()),
            f"{one.seconds:.1f}",
            f"{percent(one.share)} %",
            str(one.turns),
            f"{one.longest:.1f}",
            f"{one.overlapped:.1f}",
        ]
        for one in found
    ]
    table(f"talk time, {title}", header, body)
