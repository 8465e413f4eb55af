"""`diarize batch`: a corpus overnight, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diarize.cli import completion
from diarize.cli.names import EnrolOption, SharedNamesOption, named
from diarize.cli.terminal import (
    ChannelOption,
    ConfigOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OverlapOption,
    PrecisionOption,
    fetch_progress,
    note,
    progress_bar,
)
from diarize.config import Bounds, Config
from diarize.formats.registry import FORMATS, by_name

if TYPE_CHECKING:
    from diarize.batch import Progress, Summary
    from diarize.enrolment import KnownVoice

SHOWN = 10
"""Failures that are named on the terminal; summary.json has all."""


def batch(
    manifests: Annotated[
        list[str],
        typer.Argument(
            metavar="MANIFEST...",
            help="Folders, 'globs', recordings; lists of them: .txt, .csv, .jsonl, Kaldi's wav.scp.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the results and the ledger, or a URL for the results: s3://bucket/turns.",
            show_default=False,
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help=f"Of the results: {', '.join(FORMATS)}.",
            autocompletion=completion.formats,
        ),
    ] = "rttm",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes; default: one a core, fewer where memory is short.", show_default=False
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each; default: cores / workers.", show_default=False)
    ] = None,
    num_speakers: Annotated[
        int | None, typer.Option("--num-speakers", "-n", min=1, help="Exactly this many speakers in each.")
    ] = None,
    min_speakers: Annotated[int | None, typer.Option(min=1, help="At least this many speakers.")] = None,
    max_speakers: Annotated[int | None, typer.Option(min=1, help="At most this many speakers.")] = None,
    channel: ChannelOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Seconds a recording may take; default: 10 min and twice its length.",
            show_default=False,
        ),
    ] = None,
    max_memory: Annotated[
        int | None,
        typer.Option(
            min=1, help="MB a worker may hold before it is ended; default: any number.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Do anew what was done with other options; replace files not from this batch."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    allow_pipes: Annotated[
        bool, typer.Option("--allow-pipes", help="Run the commands of a wav.scp; trust whoever wrote it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the names of what there is to do; write nothing.")
    ] = False,
    runner: Annotated[
        str, typer.Option(help="local (processes) or ray.", autocompletion=completion.runners)
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; default: one on this machine.", show_default=False)
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="Folder of this machine for the ledger; default: that of the results, for a URL one in your "
            "folder for states, which is said.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    overlap: OverlapOption = None,
    enrol: EnrolOption = None,
    shared_names: SharedNamesOption = False,
) -> None:
    """Diarize a corpus into a folder, on all cores; whatever ends it, run again it goes on where it was.

    Examples:

    - `diarize batch corpus -o turns` writes turns/NAME.rttm for each recording in the folder and below

    - `diarize batch calls.csv -o turns --format json` with columns audio, uri, num_speakers, channel, ...

    - `diarize batch corpus -o turns --retry-failed` once more with what failed

    - `diarize batch corpus -o s3://bucket/turns --ledger mine` writes to a store, by the credentials it finds

    DIR/batch.sqlite holds what became of each, DIR/summary.json the sum. One recording that fails does not
    stop the others, nor does one that takes its worker along: it is tried once more, alone. The exit status
    is 1 if any failed.
    """
    from diarize.batch import configured, run_batch
    from diarize.batch.worker import make_diarizer

    by_name(form)
    counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    Bounds.of(*counts.values())
    given = {"model": model, "device": device, "engine": engine, "precision": precision, "overlap": overlap}
    asked = configured(Config.load(config) if config else Config(), **given)
    people = named(enrol)
    known: list[KnownVoice] = []
    if not dry_run:
        fetch_weights(asked)
        if people:
            known = make_diarizer(configured(asked, overlap="off")).enrol(people)
    with bar() as show:
        summary = run_batch(
            manifests, output, config=asked, options=counts | {"channel": channel}, format=form,
            workers=workers, threads=threads, timeout_s=timeout,
            max_memory=None if max_memory is None else max_memory * 1_000_000,
            overwrite=overwrite, retry_failed=retry_failed, allow_pipes=allow_pipes, dry_run=dry_run,
            runner=runner, address=address, ledger=ledger, enrolled=known, one_to_one=not shared_names,
            progress=show, note=note,
        )  # fmt: skip
    if dry_run:
        for uri in summary.left:
            typer.echo(uri)
        note(f"{summary.waiting} to do, {summary.done} done, {summary.failed} failed")
        return
    report(summary)
    if summary.failed:
        raise typer.Exit(1)


def fetch_weights(config: Config) -> None:
    """Bring the weights once, before many workers want them."""
    from diarize import models
    from diarize.pipeline import segmentation

    with fetch_progress() as progress:
        models.resolve(config.model, progress=progress)
        if config.overlap != "off":
            segmentation(progress)


@contextmanager
def bar() -> Iterator[Callable[[Progress], None]]:
    """A bar over seconds of audio, with recordings in numbers and the time left at the pace so far."""
    from rich.progress import BarColumn, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    )
    with progress_bar(*columns) as shown:
        task = shown.add_task("starting", total=None, left="")

        def show(now: Progress) -> None:
            words = f"{now.done + now.failed}/{now.total}" + f", {now.failed} failed" * bool(now.failed)
            left = "" if now.left_s is None else f"{span(now.left_s)} left"
            shown.update(task, description=words, completed=now.done_s, total=now.total_s, left=left)

        yield show


def span(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def report(summary: Summary) -> None:
    """The end, for people; what failed is named even under --quiet."""
    failures = summary.failures
    if failures:
        typer.echo(f"{len(failures)} of {summary.total} failed:", err=True)
    for failure in failures[:SHOWN]:
        typer.echo(f"error: {failure.uri}: {failure.reason}", err=True)
    if len(failures) > SHOWN:
        typer.echo(f"and {len(failures) - SHOWN} more, in {summary.folder}/summary.json", err=True)
    note(words_of(summary))


def words_of(summary: Summary) -> str:
    """One line on what there is now and what this run did."""
    said = (
        f"{summary.folder}: {summary.done} of {summary.total} done, {summary.audio_s / 3600:.2f} h of audio"
    )
    now: dict[str, Any] = {"done": summary.done_now, "failed": summary.failed_now}
    if not any(now.values()):
        return f"{said}; nothing was left to do"
    said += f"; this run {' and '.join(f'{count} {what}' for what, count in now.items() if count)}"
    said += f" in {span(summary.taken_s)}"
    if summary.done_now and summary.taken_s:
        said += f", {summary.audio_now_s / summary.taken_s:.0f} times as fast as they last"
    return f"{said}, {summary.workers} worker{'s'[: summary.workers != 1]}"
