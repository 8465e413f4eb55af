"""`diarize stream`: who speaks, as it is heard."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from diarize.cli.names import EnrolOption, SharedNamesOption, known_voices, named, who_is_who
from diarize.cli.sound import check_result, is_microphone, name_of, open_source, plain, seconds_of
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
    settings,
    write_or_say,
)
from diarize.config import Bounds
from diarize.errors import AudioError, ConfigError, DiarizeError

if TYPE_CHECKING:
    from diarize.cli.lines import Lines
    from diarize.sources import Piece, SoundSource
    from diarize.stream import Stream

Failure = DiarizeError | OSError


class Form(StrEnum):
    """What is printed."""

    text = "text"
    jsonl = "jsonl"
    rttm = "rttm"


def stream(
    source: Annotated[
        str,
        typer.Argument(
            help="A file, - for standard input, mic, or mic:DEVICE (a number or part of a name).",
            show_default=False,
        ),
    ],
    latency: Annotated[
        str, typer.Option("--latency", help="Seconds after which every moment is decided; none: at the end.")
    ] = "2.0",
    to: Annotated[
        Form | None,
        typer.Option("--to", help="What is printed; default: text on a terminal, jsonl in a pipe."),
    ] = None,
    hypothesis: Annotated[
        bool, typer.Option("--hypothesis", help='jsonl: print guesses too, with "final": false.')
    ] = False,
    clock: Annotated[bool, typer.Option("--clock", help="Add the time of day of each turn.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="RTTM file for the result of the whole, written at the end, also after Ctrl-C.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    real_time: Annotated[bool, typer.Option("--real-time", help="Play a file at its own pace.")] = False,
    rate: Annotated[
        int | None, typer.Option("--rate", min=1, help="Raw sound: samples a second; mic: to record at.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="Raw sound: s16le (default), u8, f32le, mulaw, ..., as ffmpeg says."),
    ] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", min=1, help="Raw sound, mic: how many channels.")
    ] = None,
    channel: ChannelOption = None,
    enrol: EnrolOption = None,
    shared_names: SharedNamesOption = False,
    num_speakers: NumSpeakersOption = None,
    min_speakers: MinSpeakersOption = None,
    max_speakers: MaxSpeakersOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    overlap: OverlapOption = None,
) -> None:
    """Say who speaks while it is heard: one line a turn, as soon as it is final.

    What is printed never changes later. Text has whole turns; jsonl and rttm have their pieces as they
    are decided, and "at" is how many seconds had been heard by then.

    Examples:

    - `diarize stream mic` listens to the microphone; Ctrl-C ends it

    - `diarize stream call.wav --real-time` shows a recording as if it were live

    - `ffmpeg -v error -i URL -f s16le -ac 1 -ar 16000 - | diarize stream - --rate 16000`

    - `arecord -q -f S16_LE -r 16000 | diarize stream - -o meeting.rttm`

    - `diarize stream mic --enrol Ann=ann.wav --enrol Bob=bob.wav | jq .speaker`
    """
    Bounds.of(num_speakers, min_speakers, max_speakers)  # refuse what cannot be before any work
    people = named(enrol)
    form = to or (Form.text if sys.stdout.isatty() else Form.jsonl)
    if hypothesis and form != Form.jsonl:
        raise ConfigError("--hypothesis is for --to jsonl; a terminal shows the guess in its last line")
    if clock and form == Form.rttm:
        raise ConfigError("RTTM has no place for the time of day; --clock goes with --to text or jsonl")
    check_result(output, overwrite)
    latency_s = seconds_of(latency)
    with ExitStack() as stack:
        sound = open_source(
            stack,
            source,
            real_time=real_time,
            often=hypothesis,
            raw={"sample_rate": rate, "format": format, "channels": channels, "channel": channel},
        )
        finite = plain(source) and not real_time
        if clock and finite:
            raise ConfigError("--clock is for sound that is live: mic, a pipe, or a file with --real-time")
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
        live = stack.enter_context(
            diarizer.stream(
                latency_s=latency_s,
                sample_rate=sound.sample_rate,
                num_speakers=num_speakers,
                min_speakers=min_speakers,
                max_speakers=max_speakers,
                enrolled=known,
                one_to_one=not shared_names,
                uri=name_of(source),
            )
        )
        if is_microphone(source):
            note(f"listening to {sound.name}, {sound.sample_rate} Hz; Ctrl-C ends it")
        stop = stack.enter_context(Stop())
        read_on = finite and output is not None  # half a result could be taken for a whole one
        with lines_for(form, live, sound, hypothesis, clock) as lines:
            failure, taken = follow(live, sound, lines, stop, read_on=read_on)
        failed = [] if failure is None or isinstance(failure, OSError) else [str(failure)]
        if live.duration == 0 and not failed and not stop.signal:
            raise AudioError(f"{sound.name}: no sound came from it")
        if output is not None:
            try:
                write_or_say(output, live.result().to_rttm())
            except DiarizeError as error:
                failed.append(str(error))
        if not settings.quiet:
            for line in (
                *summary(live, sound, latency_s, taken),
                *who_is_who(live.result(), known, sound.name),
            ):
                note(line)
    finish(failed, 1)
    if isinstance(failure, OSError) and not stop.signal:
        raise failure  # of standard output: main() knows what to say, if anything
    if stop.signal:
        raise typer.Exit(128 + stop.signal)


def follow(
    live: Stream, sound: SoundSource, lines: Lines, stop: Stop, *, read_on: bool
) -> tuple[Failure | None, float]:
    """Push what comes until it ends, fails or is stopped, and finish; what failed, and seconds of work.

    However it ends, what was heard is decided, so that the result can be written.
    read_on : where nobody reads the lines any more, go on without them
    """
    failure: Failure | None = None
    taken = 0.0
    try:
        for samples, at in stop.pieces(sound):
            begun = time.monotonic()
            turns = live.push(samples, at=at)
            try:
                if failure is None:
                    lines.push(turns)
            except OSError as error:  # standard output: its reader left, its disk is full
                failure = error
                if not read_on:
                    break
            taken += time.monotonic() - begun
    except DiarizeError as error:
        failure = error
    begun = time.monotonic()
    turns = live.finish()
    taken += time.monotonic() - begun
    if not isinstance(failure, OSError):
        try:
            lines.finish(turns)
        except OSError as error:
            failure = failure or error
    return failure, taken


class Stop:
    """Ctrl-C and other signals to end: they interrupt waiting for sound, but not the work on it.

    So the stream is whole and can be finished. A second signal interrupts whatever is done.
    signal : the number of the one that came, 0 before
    """

    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not on Windows

    def __init__(self) -> None:
        self.signal = 0
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in self.NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal, number
        if again or self._waiting:
            raise KeyboardInterrupt

    def pieces(self, source: SoundSource) -> Iterator[Piece]:
        """The pieces of a source, until a signal comes."""
        pieces = iter(source)
        while not self.signal:
            try:
                self._waiting = source.waits
                piece = next(pieces, None)
                self._waiting = False
            except KeyboardInterrupt:
                self._waiting = False
                return
            except BaseException:
                self._waiting = False
                raise
            if piece is None:
                return
            yield piece


def lines_for(form: Form, live: Stream, sound: SoundSource, guesses: bool, time_of_day: bool) -> Lines:
    """What prints in this form."""
    from diarize.cli.lines import JsonLines, Lines, Screen, TextLines

    if form == Form.jsonl:
        return JsonLines(live, sound, guesses=guesses, time_of_day=time_of_day)
    if form == Form.rttm:
        return Lines(live, sound)
    screen = sys.stdout.isatty() and not settings.quiet and os.environ.get("TERM") != "dumb"
    return (Screen if screen else TextLines)(live, sound, time_of_day=time_of_day)


def summary(live: Stream, sound: SoundSource, latency_s: float | None, taken: float) -> Iterator[str]:
    """What was found and how fast; who of the printed speakers is somebody else in the result."""
    found = live.result()
    count, speech = len(found.speakers), sum(found.speaking_time.values())
    lost = f", {sound.lost_s:.1f} s lost" if sound.lost_s else ""
    latency = "decided at the end" if latency_s is None else f"latency {latency_s:g} s"
    yield (
        f"{sound.name}: {count} speaker{'s' if count != 1 else ''}, {speech:.1f} s of speech in "
        f"{found.duration:.1f} s{lost}, {latency}, took {taken:.1f} s "
        f"({taken / max(found.duration, 1e-3):.2f} of real time)"
    )
    moved = [f"{name} is {other}" for name, other in live.final_names().items() if name != other]
    if moved:
        yield f"in the result of the whole, the printed {', '.join(moved)}"
