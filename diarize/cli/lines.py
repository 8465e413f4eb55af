"""What `diarize stream` prints: turns as they become final, as text, JSON or RTTM, and a line that lives."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from diarize.result import Turn, clock, joined

if TYPE_CHECKING:
    from diarize.sources import SoundSource
    from diarize.stream import Stream

EVERY_S = 0.5
"""Seconds between two guesses: of audio in JSON, of the clock on a terminal."""

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")


class Lines:
    """Turns, one a line, each flushed as it is printed; here those of `Stream.push` as they come, as RTTM."""

    def __init__(self, live: Stream, source: SoundSource, *, time_of_day: bool = False) -> None:
        self.live, self.source, self.time_of_day = live, source, time_of_day

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def push(self, turns: Sequence[Turn]) -> None:
        """Final turns that a push brought, none perhaps."""
        for turn in turns:
            self.show(turn)

    def finish(self, turns: Sequence[Turn]) -> None:
        """The last final turns."""
        self.push(turns)

    def show(self, turn: Turn) -> None:
        """Print one."""
        from diarize.formats.rttm import format_rttm

        typer.echo(format_rttm([turn], self.live.uri), nl=False)

    def time(self, seconds: float) -> datetime:
        """The time of day of a moment of the stream."""
        return datetime.fromtimestamp((self.source.begun or 0.0) + seconds).astimezone()


class JsonLines(Lines):
    """One JSON object a line; with `guesses`, what is not final yet as well, whenever it changed.

    Lines that are not final stand in groups with one "at"; a group replaces the last one and all of its
    turns. A group of nobody is one line whose speaker is null.
    """

    def __init__(self, *arguments: Any, guesses: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.guesses = guesses
        self._next_s = 0.0
        self._last: tuple[Turn, ...] = ()

    def push(self, turns: Sequence[Turn]) -> None:
        """Final turns, then the guess if it is time for one."""
        super().push(turns)
        if self.guesses and self.live.duration >= self._next_s:
            self._next_s = self.live.duration + EVERY_S
            guess = self.live.hypothesis
            if guess != self._last:
                for turn in guess or [Turn(self.live.decided, self.live.duration, "")]:
                    self.show(turn, final=False)
            self._last = guess

    def finish(self, turns: Sequence[Turn]) -> None:
        """The last final turns."""
        super().push(turns)

    def show(self, turn: Turn, final: bool = True) -> None:
        """Print one."""
        line: dict[str, Any] = {"start": round(turn.start, 3), "end": round(turn.end, 3)}
        line |= {"speaker": turn.speaker or None, "final": final, "at": round(self.live.duration, 3)}
        if self.time_of_day:
            line["time"] = self.time(turn.start).isoformat(timespec="milliseconds")
        typer.echo(json.dumps(line))


class TextLines(Lines):
    """Whole turns for people: one is printed when its speaker stops."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.running: list[Turn] = []

    def push(self, turns: Sequence[Turn]) -> None:
        """Final turns, as pieces of whole ones."""
        whole = joined([*self.running, *turns])
        self.running = [turn for turn in whole if turn.end >= self.live.decided]
        for turn in whole:
            if turn.end < self.live.decided:
                self.show(turn)

    def finish(self, turns: Sequence[Turn]) -> None:
        """The last final turns, and those that were running."""
        self.push(turns)
        for turn in self.running:
            self.show(turn)
        self.running = []

    def show(self, turn: Turn) -> None:
        """Print one."""
        typer.echo(self._when(turn) + str(turn))

    def _when(self, turn: Turn) -> str:
        return f"{self.time(turn.start):%H:%M:%S}  " if self.time_of_day else ""


class Screen(TextLines):
    """A terminal: whole turns, and below them a line with who seems to speak now."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(*arguments, **options)
        self._console = Console(highlight=False)
        self._line = Live(
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
        )
        self._stderr = sys.stderr
        self._next = 0.0
        self._colours: dict[str, str] = {}
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []

    def __enter__(self) -> Self:
        self._line.start()
        for handler in logging.getLogger().handlers:  # so that warnings are printed above the line
            if isinstance(handler, logging.StreamHandler) and handler.stream is self._stderr:
                before = handler.setStream(sys.stderr)  # by now rich's, or still the same
                self._handlers += [(handler, before)] if before else []
        self._refresh()
        return self

    def __exit__(self, *_: object) -> None:
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._line.stop()

    def push(self, turns: Sequence[Turn]) -> None:
        """Final turns, then the line if it is time for it."""
        super().push(turns)
        if time.monotonic() >= self._next:
            self._refresh()
            self._next = time.monotonic() + EVERY_S

    def show(self, turn: Turn) -> None:
        """Print one, above the line."""
        from rich.text import Text

        times = f"{self._when(turn)}{clock(turn.start)} - {clock(turn.end)}  "
        self._console.print(Text(times).append(turn.speaker, self._colour(turn.speaker)), soft_wrap=True)

    def _colour(self, speaker: str) -> str:
        return self._colours.setdefault(speaker, COLOURS[len(self._colours) % len(COLOURS)])

    def _refresh(self) -> None:
        from rich.text import Text

        live = self.live
        line = Text(clock(live.duration)[:-4], "dim", no_wrap=True, overflow="ellipsis")
        if live.options.latency_s is None:  # a guess would cluster everything, each time
            line.append(" heard; the turns come at the end")
        else:
            behind = live.duration - live.decided + self.source.waiting_s
            self._say_who(line, joined([*self.running, *self._guess()]))
            line.append(f"  ({behind:.1f} s behind)", "dim")
        self._line.update(line, refresh=True)

    def _guess(self) -> Iterable[Turn]:
        late = self.source.waiting_s > 1  # what counts comes first then
        return () if late else self.live.hypothesis

    def _say_who(self, line: Any, turns: Sequence[Turn]) -> None:
        """Who speaks, and who may have taken over since; the mark means that it is not decided."""
        for i, turn in enumerate(turns):
            line.append("  " if i == 0 else ", then ")
            decided = (turn.start, turn.speaker) in {(one.start, one.speaker) for one in self.running}
            line.append(turn.speaker + ("" if decided else "?"), self._colour(turn.speaker))
            line.append(f" {turn.duration:.1f} s")
        if not turns:
            line.append("  nobody")
