"""What the verbs share: the terminal, progress bars, loading the diarizer, names of output files."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diarize import models
from diarize.cli import completion
from diarize.errors import ConfigError, DiarizeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress

    from diarize.pipeline import Diarizer


logger = logging.getLogger(__name__)

GLOB = {*"*?["}
"""Characters of a pattern that a shell leaves as it is where no file fits it."""


@dataclass
class Settings:
    """What was said before the verb."""

    quiet: bool = False


settings = Settings()

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="A TOML file, or a shipped one by name: default, meeting, telephone, 3dspeaker.",
        autocompletion=completion.configurations,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A name from `diarize models`, or the path of a CAM++ checkpoint.",
        autocompletion=completion.networks,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...", autocompletion=completion.devices),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="What computes the network: auto, openvino (CPUs) or torch (CPUs, CUDA).",
        autocompletion=completion.engines,
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="f32, bf16 (faster; scores move in the third digit), int8 (faster still; dense windows "
        "of campplus-zh-en, scores move in the second) or auto: bf16 if possible.",
        autocompletion=completion.precisions,
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=0, help="Threads on the CPU; 0: one a core.")
]
NumSpeakersOption = Annotated[
    int | None, typer.Option("--num-speakers", "-n", min=1, help="Exactly this many speakers.")
]
MinSpeakersOption = Annotated[int | None, typer.Option(min=1, help="At least this many speakers.")]
MaxSpeakersOption = Annotated[int | None, typer.Option(min=1, help="At most this many speakers.")]
OverlapOption = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        help="Where two people speak at once: assign (both have a turn), detect (one has), off (not "
        "looked for; a fifth faster). Default: as configured, assign.",
        show_default=False,
        autocompletion=completion.overlaps,
    ),
]
ChannelOption = Annotated[
    int | None, typer.Option("--channel", min=0, help="Use one channel, 0 the first; default: their average.")
]

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace output files that exist.")]
VadOption = Annotated[bool, typer.Option("--vad", help="Use speech only, leave out silence and noise.")]


def note(text: str) -> None:
    """A line for people, on standard error, unless --quiet."""
    if not settings.quiet:
        typer.echo(text, err=True)


@contextmanager
def progress_bar(*columns: Any) -> Iterator[Progress]:
    """A rich progress bar on standard error; invisible in a pipe or under --quiet."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal or settings.quiet
    )
    if bar.disable:
        yield bar  # not entered: some versions of rich end even an invisible bar with an empty line
        return
    with bar:
        yield bar


@contextmanager
def fetch_progress() -> Iterator[models.Progress]:
    """A bar for `diarize.models.resolve`, shown from the first byte on."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None, visible=False)

        def show(what: str, done: int, total: int | None) -> None:
            bar.update(task, description=what, completed=done, total=total, visible=True)

        yield show


def load_diarizer(config: str | None, **options: Any) -> Diarizer:
    """The diarizer that the options describe, with a bar while its weights arrive.

    options : model, device, engine, precision, threads, overlap; None: as configured
    """
    from diarize.pipeline import Diarizer

    with fetch_progress() as progress:
        diarizer = Diarizer(config, **options, on_fetch=progress)
    logger.info("configuration: %s", diarizer.config)
    return diarizer


def percent(rate: float) -> str:
    """0.123 as 12.3."""
    return f"{100 * rate:.1f}"


def table(title: str, header: list[str], body: list[list[str]]) -> None:
    """A rich table on a terminal that is wide enough; else aligned columns two spaces apart."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = [max(len(row[i]) for row in (header, *body)) for i in range(len(header))]
    if console.is_terminal and sum(width + 3 for width in widths[1:]) < console.width - len(header[0]):
        shown = Table(title=Text(title), title_justify="left")
        for i, name in enumerate(header):
            shown.add_column(name, justify="right" if i else "left", overflow="fold", no_wrap=bool(i))
        for row in body:
            shown.add_row(*map(Text, row))
        console.print(shown)
        return
    typer.echo(title)
    for row in (header, *body):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        typer.echo("  ".join(cells))
    typer.echo("")


def output_paths(sources: Sequence[Path], folder: Path, suffix: str, overwrite: bool) -> list[Path]:
    """Where the output of each source goes; refused, before any work, where two would collide.

    Raises ConfigError for collisions, for existing files without --overwrite, for an unusable folder.
    """
    paths = [folder / (source.stem + suffix) for source in sources]
    taken: dict[str, Path] = {}
    for source, path in zip(sources, paths, strict=True):
        if GLOB & {*source.name} and not source.exists():  # nothing fits it, as will be said
            continue
        other = taken.setdefault(path.name.casefold(), source)
        if other is not source:
            raise ConfigError(
                f"{other} and {source} would both be written to {path}; "
                "rename one, or write them to different folders"
            )
    refuse_existing(paths, overwrite)
    make_folder(folder)
    return paths


def refuse_existing(paths: Sequence[Path], overwrite: bool) -> None:
    """ConfigError for files that are there already, unless they are to be replaced; devices never are."""
    there = [str(path) for path in paths if path.is_file() or path.is_dir()]
    if there and not overwrite:
        said = f"{there[0]} exists" if len(there) == 1 else f"{there[0]} and {len(there) - 1} more exist"
        raise ConfigError(f"{said} already; add --overwrite to replace")


def check_output(path: Path, overwrite: bool, example: str | None = None) -> None:
    """ConfigError, before any work, for a file that cannot be meant or could not be written at its end."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file{f': {path / example}' if example else ''}")
    refuse_existing([path], overwrite)
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")


def make_folder(folder: Path) -> None:
    """A folder for results; ConfigError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{folder} is a file; name a folder for the output") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder for the output: {error.strerror}") from None


def save_embedding(path: Path, embedding: NDArray[np.float32]) -> None:
    """Write one .npy, whole or not at all."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, embedding)
    write_or_say(path, buffer.getvalue())


def write_or_say(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all; a full disk or a missing permission is one line, not a traceback."""
    from diarize._files import atomic_write

    try:
        atomic_write(path, data)
    except OSError as error:
        raise DiarizeError(f"{path}: cannot be written: {error.strerror}") from None


def finish(failed: Sequence[str], total: int) -> None:
    """Name what failed and leave with status 1, if anything did."""
    if not failed:
        return
    if total > 1:
        typer.echo(f"{len(failed)} of {total} failed:", err=True)
    for line in failed:
        typer.echo(f"error: {line}", err=True)
    sys.stdout.flush()
    raise typer.Exit(1)
