"""`diarize config`: every option with its meaning, as TOML."""

from __future__ import annotations

from typing import Annotated

import typer

from diarize.cli import completion
from diarize.config import Config, shipped


def config(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A TOML file, or a shipped configuration; default: the defaults.",
            show_default=False,
            autocompletion=completion.configurations,
        ),
    ] = None,
    names: Annotated[bool, typer.Option("--list", help="List the shipped configurations.")] = False,
) -> None:
    """Print every option with its value and meaning, as TOML.

    Examples:

    - `diarize config > mine.toml`, then edit it, then `diarize run meeting.m4a --config mine.toml`

    - `diarize config telephone` shows what a shipped configuration comes to
    """
    if names:
        for known, path in shipped().items():
            typer.echo(f"{known}\t{path}")
        return
    typer.echo((Config.load(name) if name else Config()).to_toml())
