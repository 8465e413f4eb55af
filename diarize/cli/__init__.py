"""The command `diarize`: one file a verb; this one puts them together.

Exit status: 0 all done; 1 something could not be done (it is named on standard error);
2 the command line is wrong; 130 interrupted. A reader that leaves (`| head`) ends it without a word.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Annotated

import typer

from diarize import __version__
from diarize.cli import (
    batch,
    calibrate,
    config,
    convert,
    correct,
    doctor,
    embed,
    enrol,
    extract,
    link,
    models,
    plot,
    report,
    run,
    score,
    serve,
    stream,
    tune,
    verify,
    words,
)
from diarize.cli.panels import Verbs
from diarize.cli.terminal import settings
from diarize.errors import DiarizeError

HELP = """Who spoke when, and is this the same voice.

Examples:

- `diarize run meeting.m4a` prints who spoke when; `-o turns` writes turns/meeting.rttm instead

- `diarize run meeting.m4a -o - -f srt > meeting.srt` writes subtitles, or any of a dozen formats

- `diarize stream mic` says who speaks while it is heard

- `diarize verify monday.wav friday.wav` says whether it is the same voice

Each verb says more, with examples: `diarize run --help`.
"""

EPILOG = """
**Exit status:** 0 all done; 1 something could not be done, and is named on standard error; 2 the command line
is wrong; 3 `verify --exit-code`: not all are the same voice; 130 interrupted.

**Environment:** `DIARIZE_CACHE` is the folder for weights, `DIARIZE_OFFLINE=1` fetches nothing.
"""

app = typer.Typer(
    name="diarize",
    cls=Verbs,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("batch")(batch.batch)
app.command("stream")(stream.stream)
app.command("serve")(serve.serve)
app.command("words")(words.words)
app.command("convert")(convert.convert)
app.command("correct")(correct.correct)
app.command("extract")(extract.extract)
app.command("report")(report.report)
app.command("plot")(plot.plot)
app.command("verify")(verify.verify)
app.command("calibrate")(calibrate.calibrate)
app.command("embed")(embed.embed)
app.command("enrol")(enrol.enrol)
app.command("link")(link.link)
app.command("score")(score.score)
app.command("tune")(tune.tune)
app.add_typer(models.app, name="models")
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)

INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"diarize {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no notes; errors only.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Who spoke when, and is this the same voice."""
    settings.quiet = quiet
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
    warnings.showwarning = lambda message, *_, **__: logging.getLogger("diarize").warning("%s", message)


def main() -> None:
    """Run the command; errors raised on purpose become one line and exit status 1."""
    try:
        app()
    except DiarizeError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:  # standard output on a full disk; files are checked where they are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the flush at exit would complain again
        typer.echo(f"error: {error.filename or 'standard output'}: {error.strerror}", err=True)
        sys.exit(1)
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            typer.echo("interrupted", err=True)
        raise
