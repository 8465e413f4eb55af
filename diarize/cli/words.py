"""`diarize words`: who said which word of a transcript."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize.cli import completion
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
    write_or_say,
)
from diarize.config import Bounds
from diarize.errors import ConfigError, DiarizeError
from diarize.formats.registry import ENDINGS, read_recordings
from diarize.formats.transcripts import FORMS, read_transcript
from diarize.formats.words import WRITERS
from diarize.words import Transcript, assign

if TYPE_CHECKING:
    from diarize.words import Spoken


def words(
    transcript: Annotated[
        Path, typer.Argument(help="What was said, with times: JSON, CTM, SRT or VTT.", show_default=False)
    ],
    source: Annotated[
        Path,
        typer.Argument(
            help="Who spoke when: .rttm, .json, .TextGrid, ...; or the recording, any file with sound in it.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, its ending names the format; - is standard output.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help=f"{', '.join(WRITERS)}; default: the ending of -o, else txt, a readable transcript.",
            show_default=False,
            autocompletion=completion.word_formats,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--from",
            help=f"The transcript's format, where its content does not tell: {', '.join(FORMS)}.",
            show_default=False,
            autocompletion=completion.one_of(FORMS),
        ),
    ] = None,
    uri: Annotated[
        str | None,
        typer.Option("--uri", help="Which recording, in files that hold several.", show_default=False),
    ] = None,
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
    """Say who said which word.

    The transcript is the JSON of Whisper (openai-whisper, faster-whisper, WhisperX, whisper.cpp) or FunASR, a
    CTM, or subtitles. Words without times of their own are spread over their segment. A recording is diarized
    as by `diarize run`, with the same options.

    Examples:

    - `diarize words meeting.json meeting.m4a` prints who said what

    - `diarize words meeting.json meeting.rttm -o meeting.srt` writes subtitles with speakers

    - `diarize words meeting.ctm all.rttm --uri meeting -f json > meeting.words.json`
    """
    Bounds.of(num_speakers, min_speakers, max_speakers)  # refuse contradictions before any work
    counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    loading = {
        "model": model,
        "device": device,
        "engine": engine,
        "precision": precision,
        "threads": threads,
        "overlap": overlap,
    }
    people = named(enrol)
    to_pipe = output is None or str(output) == "-"
    write = WRITERS[_chosen(to, None if to_pipe else output)]
    if output is not None and not to_pipe:
        check_output(output, overwrite)
    said = _read(transcript, form, uri)
    turns: list[Spoken]
    if not is_stdin(source) and any(source.name.lower().endswith(ending) for ending in ENDINGS):
        only = counts | loading | {"channel": channel, "enrol": enrol, "shared_names": shared_names or None}
        useless = [name for name, given in only.items() if given is not None]
        if useless or config is not None:
            given = (["config"] if config is not None else []) + useless
            raise ConfigError(
                f"--{given[0].replace('_', '-')} is for recordings: {source} says already who spoke when"
            )
        recording, turns = _of_turns(source, uri, transcript)
    else:
        diarizer = load_diarizer(config, **loading)
        known = known_voices(diarizer, people)
        naming = {"enrolled": known, "one_to_one": not shared_names}
        found = diarize_file(diarizer, source, source.name, channel=channel, **counts, **naming)
        for line in who_is_who(found, known, source):
            note(line)
        recording, turns = found.uri, list(found.exclusive.turns)
    given_words = assign(said.words, turns)
    text = write(given_words, recording)
    if output is None or to_pipe:
        typer.echo(text, nl=False)
    else:
        write_or_say(output, text)
        typer.echo(str(output))
    if said.words and not turns:
        note(f"{source}: nobody speaks; the words have no speakers")
    speakers = len({word.speaker for word in given_words} - {None})
    note(
        f"{transcript}: {len(said.words)} words ({said.form}"
        + (f"; times of {said.spread} spread over their segments" if said.spread else "")
        + f"), {speakers} speaker{'s' if speakers != 1 else ''}"
    )


def _chosen(to: str | None, output: Path | None) -> str:
    """The name of the format to write."""
    if to is None and output is None:
        return "txt"
    name = (to or (output.suffix[1:] if output else "")).lower()
    if name not in WRITERS:
        where = "--format" if to is not None else f"the ending of {output}"
        raise ConfigError(f"{where} must be one of {', '.join(WRITERS)}, got {name!r}")
    return name


def _read(transcript: Path, form: str | None, uri: str | None) -> Transcript:
    try:
        return read_transcript(transcript, form, uri=uri)
    except OSError as error:
        raise DiarizeError(f"{transcript} cannot be read: {error.strerror}") from None


def _of_turns(source: Path, uri: str | None, transcript: Path) -> tuple[str, list[Spoken]]:
    """The name and the turns of the recording that is meant; of one: whatever it is called inside."""
    try:
        recordings = {recording.uri: list(recording.turns) for recording in read_recordings(source)}
    except OSError as error:
        raise DiarizeError(f"{source} cannot be read: {error.strerror}") from None
    if not recordings:
        return source.stem, []
    name = uri if uri is not None else transcript.stem
    if len(recordings) == 1 and (uri is None or uri in recordings):
        name = next(iter(recordings))
    if name not in recordings:
        several = ", ".join(list(recordings)[:5]) + (", ..." if len(recordings) > 5 else "")
        asked = f"no recording {uri!r}" if uri is not None else "several recordings, say which with --uri"
        raise DiarizeError(f"{source}: {asked}; there are: {several}")
    return name, [*recordings[name]]
