"""``diarize models``: which weights there are, fetching them, and where they lie."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from diarize import models
from diarize.cli import completion
from diarize.cli.terminal import fetch_progress
from diarize.errors import ModelError

app = typer.Typer()


@app.callback(invoke_without_command=True)
def models_command(context: typer.Context) -> None:
    """List the models, fetch them, show where they are.

    Examples:

    - `diarize models` lists them

    - `diarize models pull campplus-zh-en` fetches one
    """
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models() -> None:
    """List every model by name: embedding size, whether it is on disk and where, licence, description.

    In a pipe the columns are separated by tabs, have no heading, and the path is one of them.

    Example:

    - `diarize models list | cut -f 1,4` lists names and paths
    """
    rows = [
        (
            asset.name,
            str(asset.embedding_size or "-"),
            asset.state(),
            str(asset.path),
            asset.licence,
            asset.description + (" [default]" if asset.name == models.DEFAULT else ""),
        )
        for asset in models.ASSETS.values()
    ]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "E", "state", "licence", "description", box=None, pad_edge=False)
    for name, size, state, _, licence, description in rows:
        table.add_row(name, size, state, licence, Text(description))
    console = Console()
    console.print(table)
    console.print(
        f"\ncache: {models.cache_dir()} (another: DIARIZE_CACHE)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command("pull")
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(help="What to fetch.", autocompletion=completion.assets)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch all that there is.")] = False,
) -> None:
    """Fetch models that are not on disk yet, and print where each one is.

    One that cannot be fetched does not stop the others; all that failed are named at the end.

    Examples:

    - `diarize models pull campplus-zh-cn sample`

    - `diarize models pull --all`, before a machine loses its network
    """
    if everything:
        names = list(models.ASSETS)
    if not names:
        raise typer.BadParameter("give the names to fetch, or --all; diarize models lists them")
    for name in names:
        models.find(name)
    failures = []
    for name in names:
        try:
            with fetch_progress() as progress:
                path = models.resolve(name, progress=progress)
        except ModelError as error:
            failures.append(str(error))
        else:
            typer.echo(f"{name}\t{path}")
    if failures:
        raise ModelError("\n".join(failures))


@app.command("where")
def where(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model's name.", autocompletion=completion.assets)
    ],
) -> None:
    """Print the path of a model that is on disk; fetch nothing.

    Example:

    - `sha256sum $(diarize models where campplus-zh-en)`
    """
    asset = models.find(name)
    state = asset.state()
    if state != "cached":
        found = "is damaged" if state == "damaged" else "is not on disk"
        raise ModelError(f"{name} {found}; fetch it: diarize models pull {name}")
    typer.echo(str(asset.path))
