"""`diarize score`, as the tests of its three kinds run it."""

from __future__ import annotations

import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

import typer
from typer.testing import CliRunner, Result

from diarize.cli.score import score

app = typer.Typer()
app.command()(score)


def run(*arguments: object) -> Result:
    """What it printed; its own errors are raised, and every other status than 0 fails."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result
