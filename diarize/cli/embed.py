"""`diarize embed`: voices as vectors, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diarize.cli.terminal import (
    ChannelOption,
    ConfigOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OverwriteOption,
    PrecisionOption,
    ThreadsOption,
    VadOption,
    finish,
    load_diarizer,
    output_paths,
    progress_bar,
    save_embedding,
)
from diarize.errors import ConfigError, DiarizeError


def embed(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Recordings, one voice each.", show_default=False)
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for one NAME.npy a recording.")
    ] = Path("embeddings"),
    listed: Annotated[
        Path | None,
        typer.Option("--list", help="A text file that names recordings, one a line.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
    vad: VadOption = False,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Write the voice of each recording as a vector of unit norm.

    One NAME.npy a recording, (E,) float32; E is 192 for the default model. The path of each is printed.

    Examples:

    - `diarize embed alice.wav bob.wav -o voices`

    - `diarize embed --list recordings.txt -o voices --vad`
    """
    files = [*(files or []), *read_list(listed)]
    if not files:
        raise typer.BadParameter("name the recordings, or a list of them with --list")
    paths = output_paths(files, output, ".npy", overwrite)
    diarizer = load_diarizer(
        config, model=model, device=device, engine=engine, precision=precision, threads=threads, overlap="off"
    )
    failed = []
    with progress_bar() as bar:
        for file, path in zip(bar.track(files, description="embedding"), paths, strict=True):
            try:
                save_embedding(path, diarizer.embed(file, channel=channel, vad=vad))
                typer.echo(path)
            except DiarizeError as error:
                failed.append(str(error))
    finish(failed, len(files))


def read_list(path: Path | None) -> list[Path]:
    """The recordings that a text file names; relative ones are relative to it."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a list of files: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read as a list of files: it is not UTF-8 text") from None
    return [path.parent / line.strip() for line in lines if line.strip()]
