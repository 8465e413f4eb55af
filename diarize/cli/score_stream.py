"""`diarize score --stream`: how good and how late the streaming itself is, at every latency."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from diarize._files import SOUNDS
from diarize.cli.score_files import ScoredParts, must_exist, note_overlaps
from diarize.cli.terminal import load_diarizer, percent, progress_bar, table
from diarize.config import Bounds
from diarize.errors import ConfigError, DiarizeError
from diarize.formats.rttm import read_rttm
from diarize.scoring import MIN_SPEECH_S, Overall, Score

if TYPE_CHECKING:
    from pyannote.core import Annotation

    from diarize.pipeline import Diarizer
    from diarize.streaming_score import Recording, Streamed, StreamedOverall


@dataclass(frozen=True)
class Asked:
    """The options that need --stream or --diagnose; `latency` in seconds, with commas between."""

    latency: str | None
    quick: bool
    num_speakers: int | None
    config: str | None
    model: str | None
    device: str | None
    engine: str | None
    precision: str | None
    threads: int | None
    overlap: str | None

    def refuse(self) -> None:
        """ConfigError if one of them was given."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value is not False:
                also = "" if field.name in ("latency", "quick", "num_speakers") else " or --diagnose"
                raise ConfigError(
                    f"--{field.name.replace('_', '-')} is for recordings; add --stream{also} and give "
                    "recordings in the place of hypotheses"
                )

    def latencies_s(self) -> list[float | None]:
        """Seconds, None for unlimited; ConfigError for what is neither."""
        from diarize.streaming_score import LATENCIES_S

        if self.latency is None:
            return list(LATENCIES_S)
        found: list[float | None] = []
        for word in self.latency.split(","):
            try:
                seconds = None if word.strip().lower() == "none" else float(word)
            except ValueError:
                seconds = 0.0
            if seconds is not None and not 0 < seconds < float("inf"):
                raise ConfigError(
                    f"--latency must be seconds > 0 or none, with commas between, got {word.strip()!r} in "
                    f"{self.latency!r}; for example 0.5,2,none"
                )
            found.append(seconds)
        return list(dict.fromkeys(found))


def score_stream(references: Path, recordings: Path, uem: Path | None, asked: Asked, as_json: bool) -> None:
    """Stream the recordings, score what comes out, print it."""
    from diarize.streaming_score import measure

    latencies = asked.latencies_s()
    Bounds.of(asked.num_speakers, None, None)
    notes: list[str] = []
    found = found_in(references, recordings, uem, notes)
    diarizer = load(asked)
    with audio_bar(found, len(latencies)) as progress:
        rows = measure(
            diarizer,
            found,
            latencies,
            quick=asked.quick,
            num_speakers=asked.num_speakers,
            progress=progress,
        )
    legend = legend_of(diarizer, asked.quick)
    if as_json:
        said: dict[str, Any] = {"references": str(references), "recordings": str(recordings)}
        said |= {"quick": asked.quick, "conventions": legend}
        said |= {"latencies": [as_dict(row) for row in rows], "notes": notes}
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        show(f"{references} (reference) against {recordings}, streamed", rows, found)
        typer.echo("\n".join(legend))
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def found_in(references: Path, recordings: Path, uem: Path | None, notes: list[str]) -> list[Recording]:
    """The recordings that have a reference; DiarizeError for none."""
    try:
        found = list(matched(references, recordings, ScoredParts(uem, references.is_dir()), notes))
    except OSError as error:
        raise DiarizeError(f"{error.filename} cannot be read: {error.strerror}") from error
    if not found:
        raise DiarizeError(
            f"nothing to score: no recording of {recordings} has the name of a reference of {references}; "
            "NAME.rttm needs NAME.wav, or .flac, .mp3, ..."
        )
    return found


def load(asked: Asked) -> Diarizer:
    """The diarizer that was asked for."""
    return load_diarizer(
        asked.config,
        model=asked.model,
        device=asked.device,
        engine=asked.engine,
        precision=asked.precision,
        threads=asked.threads,
        overlap=asked.overlap,
    )


def matched(references: Path, recordings: Path, parts: ScoredParts, notes: list[str]) -> Iterator[Recording]:
    """The recordings that have a reference; what lacks the other is noted.

    Two files belong together whatever they are called; else NAME.wav belongs to NAME.rttm, or to what an
    RTTM file calls NAME inside.
    """
    from diarize.streaming_score import Recording

    must_exist(references, recordings, parts.asked)
    files = by_name(recordings) if recordings.is_dir() else {recordings.stem: recordings}
    said = list(said_in(sorted(references.glob("*.rttm")) if references.is_dir() else [references]))
    left = dict(files)
    for rttm, uri, alone, reference in said:
        names = [rttm.stem, uri] if alone else [uri]
        if alone and not references.is_dir() and not recordings.is_dir():
            names = [recordings.stem]
        name = next((name for name in names if name in files), None)
        if name is None:
            notes.append(f"{rttm}: no recording {names[0]} in {recordings}; not scored")
        elif left.pop(name, None) is None:
            notes.append(f"{rttm}: another reference of {files[name]}; not scored")
        else:
            note_overlaps(name, "reference", reference, notes)
            uem, _ = parts.of(rttm, uri, alone, notes)
            yield Recording(name, files[name], reference, uem)
    for path in left.values():
        notes.append(f"{path}: no reference of that name in {references}; not scored")


def said_in(files: Sequence[Path]) -> Iterator[tuple[Path, str, bool, Annotation]]:
    """Every recording that RTTM files speak of: file, its name, whether it is the only one there, turns."""
    from pyannote.core import Annotation

    for file in files:
        found = read_rttm(file) or {file.stem: Annotation(uri=file.stem)}
        for uri, annotation in found.items():
            yield file, uri, len(found) == 1, annotation


def by_name(folder: Path) -> dict[str, Path]:
    """The recordings of a folder by their names without the ending; DiarizeError for two of one name."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SOUNDS:
            continue
        if other := found.get(path.stem):
            raise DiarizeError(f"{other} and {path} have one name; leave one of them in the folder")
        found[path.stem] = path
    return found


@contextmanager
def audio_bar(
    recordings: Sequence[Recording], passes: int, doing: str = "streaming"
) -> Iterator[Callable[[float], None]]:
    """A bar over the seconds of audio of all recordings, each so many times."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    durations = [duration_of(recording) for recording in recordings]
    known = [seconds for seconds in durations if seconds is not None]
    total = sum(known) * passes if len(known) == len(durations) else None
    columns = (TextColumn(doing), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=total)
        yield lambda done_s: bar.update(task, completed=done_s)


def duration_of(recording: Recording) -> float | None:
    """Seconds that its file declares, if it does."""
    with recording.opened() as (_, file):
        return getattr(file, "duration_s", None)


def legend_of(diarizer: Diarizer, quick: bool) -> list[str]:
    """What the numbers mean, and what they were made with."""
    from diarize.engine.machine import available_cores
    from diarize.streaming_score import EVERY_S, PUSH_S

    hardware = f"{available_cores()} cores ({platform.machine()})"
    if (engine := getattr(diarizer.embedder, "engine", None)) is not None:
        hardware += f", {engine.name} on {engine.device} in {engine.precision}"
    time = (
        "RTF, push ms: not measured, the latencies ran side by side (--quick).",
        f"RTF: seconds in push and finish for a second of audio, on {hardware}; push ms: the longest push.",
    )
    return [
        "DER, miss, fa, conf: of the final turns, % of reference speech; collar 0, overlap scored.",
        "Exact: recordings with as many speakers in final turns as in the reference, of those with at least "
        f"{MIN_SPEECH_S:g} s of it.",
        f"Shown: DER of what was seen first, looking at turns and hypothesis every {EVERY_S:g} s of audio.",
        "Churn: % of the speech of two successive looks, not final at the first, that changed its speaker.",
        "Offline: DER of the result after the end.",
        "Latency: every sample is decided at most so long after it arrived, on the audio clock.",
        f"Age: seconds of audio from speech to the return of its final turn, {1000 * PUSH_S:g} ms a push; "
        "computing comes on top.",
        time[0] if quick else time[1],
        made_with(diarizer),
    ]


def made_with(diarizer: Diarizer) -> str:
    """Which networks."""
    return f"Speech from Silero VAD, voices from {diarizer.config.model}."


def show(title: str, rows: Sequence[StreamedOverall], recordings: Sequence[Recording]) -> None:
    """A line for each latency."""
    header = ["latency s", "DER", "miss", "fa", "conf", "exact", "shown", "churn", "offline"]
    header += ["age 50 %", "95 %", "worst", "RTF", "push ms"]
    body = []
    for row in rows:
        final = row.final
        ages = [row.age_s(p) for p in (50, 95, 100)]
        push_ms = None if row.longest_push_s is None else 1000 * row.longest_push_s
        body.append(
            [
                "none" if row.latency_s is None else f"{row.latency_s:g}",
                *map(percent, (final.der, final.miss, final.false_alarm, final.confusion)),
                f"{final.num_exact}/{final.num_counted}",
                "-" if row.shown is None else percent(row.shown.der),
                "-" if row.churn is None else percent(row.churn),
                percent(row.offline.der),
                *("-" if age is None else f"{age:.2f}" for age in ages),
                "-" if row.real_time_factor is None else f"{row.real_time_factor:.3f}",
                "-" if push_ms is None else f"{push_ms:.0f}",
            ]
        )
    n, with_uem = len(recordings), sum(recording.uem is not None for recording in recordings)
    minutes = rows[0].duration_s / 60
    table(
        f"{title}\n{n} recording{'s'[: n != 1]} ({with_uem} with a UEM), {minutes:.1f} min of audio",
        header,
        body,
    )


def as_dict(row: StreamedOverall) -> dict[str, Any]:
    """One latency, rates as 0.1 for 10 %."""
    recordings = [
        {
            "name": one.name,
            **measured(one),
            **{key: errors(getattr(one, key)) for key in ("final", "shown", "offline")},
        }
        for one in row.recordings
    ]
    overall = {key: errors(getattr(row, key)) for key in ("final", "shown", "offline")}
    return {"latency_s": row.latency_s, **measured(row), **overall, "recordings": recordings}


def measured(one: Streamed | StreamedOverall) -> dict[str, Any]:
    """Times and churn."""
    ages = {"median": one.age_s(50), "p95": one.age_s(95), "worst": one.age_s(100)}
    return {
        "duration_s": one.duration_s,
        "churn": one.churn,
        "age_s": ages,
        "real_time_factor": one.real_time_factor,
        "longest_push_s": one.longest_push_s,
    }


def errors(one: Score | Overall | None) -> dict[str, Any] | None:
    """Rates, seconds and counts; None where nothing was measured."""
    if one is None:
        return None
    exact: dict[str, Any] = {"exact_count": one.exact_count}
    if isinstance(one, Overall):
        exact |= {"exact": one.num_exact, "counted": one.num_counted}
    names = ("der", "miss", "false_alarm", "confusion", "total_s", "miss_s", "false_alarm_s", "confusion_s")
    speakers = {"reference": one.num_reference_speakers, "hypothesis": one.num_hypothesis_speakers}
    return {**{name: getattr(one, name) for name in names}, **exact, "speakers": speakers}
