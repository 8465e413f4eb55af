"""The command as a person types it, in this process."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from diarize.errors import DiarizeError


def typed(
    app: typer.Typer, *arguments: object, status: int = 0, given: str | bytes | None = None
) -> tuple[str, str]:
    """Standard output and error of a command line, which must leave with this status.

    given : standard input
    """
    result = CliRunner().invoke(app, [*map(str, arguments)], input=given)
    said = result.stderr
    if isinstance(result.exception, DiarizeError):  # what main() makes of it
        code, said = 1, said + f"error: {result.exception}"
    else:
        code = result.exit_code
    assert code == status, (arguments, result.output, result.exception)
    return result.stdout, said
