"""`diarize verify`: is this the same voice."""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize.calibration import ENOUGH_S
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
    load_diarizer,
    note,
    output_paths,
    progress_bar,
    save_embedding,
)
from diarize.errors import ConfigError

if TYPE_CHECKING:
    from diarize.result import Verdict


def verify(
    files: Annotated[
        list[Path], typer.Argument(help="Two or more recordings, one voice each.", show_default=False)
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Same speaker from this score on; by default measured for the model and the durations. "
            "The model card of campplus-zh-cn says 0.31, which lets some different voices pass."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    save_embeddings: Annotated[
        Path | None, typer.Option(help="Folder for one NAME.npy a recording.", show_default=False)
    ] = None,
    overwrite: OverwriteOption = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 3 unless all are the same speaker.")
    ] = False,
    vad: VadOption = False,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Say whether recordings are the same voice.

    The score is the cosine of two voices, between -1 and 1; from the threshold on they are one speaker. The
    probability is for even odds beforehand (`verification.prior` in a configuration). With under 1 s of
    speech in a recording it is said that nobody can tell. Two recordings give a verdict, more give the
    matrix of all scores.

    Examples:

    - `diarize verify monday.wav friday.wav`

    - `diarize verify a.wav b.wav c.wav --json`

    - `diarize verify a.wav b.wav --model campplus-zh-cn --threshold 0.31`
    """
    if len(files) < 2:
        raise ConfigError("two recordings or more are needed to compare voices")
    if threshold is not None and not -1 <= threshold <= 1:
        raise ConfigError(f"--threshold is a cosine, between -1 and 1, got {threshold}")
    paths = output_paths(files, save_embeddings, ".npy", overwrite) if save_embeddings else []
    diarizer = load_diarizer(
        config, model=model, device=device, engine=engine, precision=precision, threads=threads, overlap="off"
    )
    with progress_bar() as bar:
        tracked = bar.track(files, description="embedding")
        voices = [diarizer.voice(file, channel=channel, vad=vad) for file in tracked]
    for path, voice in zip(paths, voices, strict=False):
        save_embedding(path, voice.embedding)
    pairs = {
        (i, j): diarizer.compare(a, b, threshold=threshold)
        for (i, a), (j, b) in combinations(enumerate(voices), 2)
    }
    if as_json:
        rows = [
            {
                "a": str(files[i]),
                "b": str(files[j]),
                "score": round(v.score, 6),
                "threshold": round(v.threshold, 6),
                "same": v.same,
                "probability": None if v.probability is None else round(v.probability, 6),
                "prior": v.prior,
                "speech_s": None if v.speech_s is None else round(v.speech_s, 3),
                "enough": v.enough,
            }
            for (i, j), v in pairs.items()
        ]
        typer.echo(json.dumps({"model": diarizer.config.model, "pairs": rows}, ensure_ascii=False, indent=2))
    elif len(files) == 2:
        typer.echo(str(pairs[0, 1]))
    else:
        print_matrix(files, {pair: (v.score, mark(v)) for pair, v in pairs.items()})
        note("* same speaker")
        if not all(v.enough for v in pairs.values()):
            note(f"? too little speech to tell: under {ENOUGH_S:g} s in one of the two")
    if exit_code and not all(v.same and v.enough for v in pairs.values()):
        sys.stdout.flush()
        raise typer.Exit(3)


def mark(verdict: Verdict) -> str:
    """What stands behind a score: an asterisk for one speaker, a question mark where none can tell."""
    return "?" if not verdict.enough else "*" if verdict.same else " "


def print_matrix(files: list[Path], pairs: dict[tuple[int, int], tuple[float, str]]) -> None:
    """All scores with their marks, a row and a column a recording."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = {**pairs, **{(j, i): v for (i, j), v in pairs.items()}}
    rows = [
        [
            str(file),
            *(f"{cells[i, j][0]:.3f}{cells[i, j][1]}" if i != j else "-" for j in range(len(files))),
        ]
        for i, file in enumerate(files)
    ]
    header = ["", *(str(k + 1) for k in range(len(files)))]
    console = Console()
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = Table(*header, box=None, pad_edge=False)
    for k, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in [f"{k + 1}  {row[0]}", *row[1:]]))
    console.print(table)
