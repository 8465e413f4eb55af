"""`diarize link`: the same people across recordings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diarize._files import KEPT
from diarize.cli import completion
from diarize.cli.names import EnrolOption, known_voices, named
from diarize.cli.run import diarize_file
from diarize.cli.terminal import (
    ChannelOption,
    ConfigOption,
    DeviceOption,
    EngineOption,
    MaxSpeakersOption,
    MinSpeakersOption,
    ModelOption,
    NumSpeakersOption,
    OverlapOption,
    OverwriteOption,
    PrecisionOption,
    ThreadsOption,
    finish,
    load_diarizer,
    make_folder,
    note,
    refuse_existing,
    table,
    write_or_say,
)
from diarize.config import Bounds
from diarize.errors import ConfigError, DiarizeError
from diarize.formats.registry import FORMATS, by_name

if TYPE_CHECKING:
    from diarize.batch import Recording
    from diarize.linking import Linked
    from diarize.pipeline import Diarizer
    from diarize.result import Diarization

HEADER = ("person", "recording", "speaker", "seconds", "score")
SHOWN = 30
"""Rows of the table on the terminal; people.csv has all."""


def link(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING...",
            help=f"Recordings, folders, 'globs', lists as for `diarize batch`; {KEPT} files of earlier runs.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for a result each, and people.csv and people.json; default: print the table.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help=f"Of the results: {', '.join(FORMATS)}.",
            autocompletion=completion.formats,
        ),
    ] = "rttm",
    enrol: EnrolOption = None,
    num_speakers: NumSpeakersOption = None,
    min_speakers: MinSpeakersOption = None,
    max_speakers: MaxSpeakersOption = None,
    overwrite: OverwriteOption = False,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    overlap: OverlapOption = None,
) -> None:
    """Find the same people across recordings: each has one name in all of them.

    People are PERSON_00, PERSON_01, ...; those whose voices are enrolled have their names. Two speakers of
    one recording are never one person. "score" is the cosine with the rest of the person's speech.

    Examples:

    - `diarize link interviews -o linked` writes linked/NAME.rttm for each recording, and linked/people.csv

    - `diarize link monday.wav tuesday.wav --enrol Alice=alice.wav` prints who speaks where

    - `diarize link kept/*.diarize -o linked` of what `diarize run --keep` left: no recording is read again

    One file that fails does not stop the others; it is named at the end, and the exit status is 1.
    """
    Bounds.of(num_speakers, min_speakers, max_speakers)
    counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    chosen = by_name(form)
    people = named(enrol)
    recordings = listed(sources)
    paths = {one.uri: output / (one.uri + chosen.ending) for one in recordings} if output else {}
    tables = [output / "people.csv", output / "people.json"] if output else []
    check_outputs([*paths.values(), *tables], overwrite)
    diarizer = load_diarizer(
        config,
        model=model,
        device=device,
        engine=engine,
        precision=precision,
        threads=threads,
        overlap=overlap,
    )
    known = known_voices(diarizer, people)
    found, failed = [], []
    for i, one in enumerate(recordings):
        try:
            title = f"{one.uri} ({i + 1}/{len(recordings)})"
            options = {**counts, "channel": channel} | dict(one.options)
            found.append(diarization_of(diarizer, one, title, options))
        except DiarizeError as error:
            failed.append(str(error))
    from diarize.linking import link as linked_by

    linked = linked_by(found, diarizer.threshold, known or ())
    if output:
        for recording in linked.recordings:
            path = paths[recording.uri]
            make_folder(path.parent)
            write_or_say(path, recording.to(chosen.name))
        make_folder(output)
        for path, text in zip(tables, (as_csv(linked), as_json(linked)), strict=True):
            write_or_say(path, text)
            typer.echo(str(path))
    else:
        show(linked)
    note(summary(linked))
    finish(failed, len(recordings))


def listed(sources: Sequence[str]) -> list[Recording]:
    """The recordings and kept results that are meant, with unique names."""
    from diarize.batch import Recording, read_manifest

    kept: list[Recording] = []
    others: list[str] = []
    for source in sources:
        path = Path(source)
        inside = sorted(path.rglob(f"*{KEPT}")) if path.is_dir() else []
        kept += [Recording(f.relative_to(path).with_suffix("").as_posix(), str(f)) for f in inside]
        if path.suffix == KEPT and not path.is_dir():
            kept.append(Recording(path.stem, str(path)))
        elif not inside or has_sound(path):
            others.append(source)
    there = {one.uri for one in kept}
    read = read_manifest(others, note=note) if others else []
    recordings = [*kept, *(one for one in read if one.uri not in there)]  # what is kept is not read again
    names: dict[str, Recording] = {}
    for one in recordings:
        other = names.setdefault(one.uri.casefold(), one)
        if other is not one:
            raise ConfigError(f"{other.audio} and {one.audio} are both called {one.uri!r}; rename one")
    return recordings


def has_sound(folder: Path) -> bool:
    """Whether there is a recording in a folder or below."""
    from diarize._files import SOUNDS

    return any(path.suffix.lower() in SOUNDS for path in folder.rglob("*"))


def diarization_of(diarizer: Diarizer, one: Recording, title: str, options: dict[str, Any]) -> Diarization:
    """Who speaks in a recording, found out now or kept from an earlier run; its many rows are let go."""
    from dataclasses import replace

    path = Path(one.audio)
    if path.suffix != KEPT:
        return replace(diarize_file(diarizer, path, title, uri=one.uri, **options), kept=None)
    from diarize.kept import Kept

    kept = Kept.load(path)
    if kept.model != diarizer.config.model:
        raise ConfigError(
            f"{path}: must be of the model {diarizer.config.model}, got {kept.model}; use --model "
            f"{kept.model} for all, or diarize the recording again"
        )
    return replace(kept.result(), uri=one.uri, kept=None)


def check_outputs(paths: Sequence[Path], overwrite: bool) -> None:
    """Refuse, before any work, to write two results to one place, or over what is there."""
    taken = {str(path).casefold() for path in paths}
    if len(taken) < len(paths):
        raise ConfigError(
            "a recording may not be called people: its result would be the table's file; rename it"
        )
    refuse_existing(paths, overwrite)


def rows_of(linked: Linked) -> list[dict[str, Any]]:
    """A row for each person in each recording."""
    return [
        {
            "person": person.name,
            "recording": place.uri,
            "speaker": place.speaker,
            "seconds": round(place.seconds, 3),
            "score": None if place.score is None else round(place.score, 4),
        }
        for person in linked.people
        for place in person.places
    ]


def as_csv(linked: Linked) -> str:
    """The table, for spreadsheets."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows_of(linked))
    return text.getvalue()


def as_json(linked: Linked) -> str:
    """The table, by person."""
    places: dict[str, list[dict[str, Any]]] = {person.name: [] for person in linked.people}
    for row in rows_of(linked):
        places[row.pop("person")].append(row)
    people = [
        {"person": one.name, "known": one.known, "seconds": round(one.seconds, 3), "places": places[one.name]}
        for one in linked.people
    ]
    return json.dumps({"people": people}, ensure_ascii=False, indent=1) + "\n"


def show(linked: Linked) -> None:
    """The table, for people."""
    rows = [
        [f"{row['person']}", f"{row['recording']}", f"{row['speaker']}", f"{row['seconds']:.1f}",
         "" if row["score"] is None else f"{row['score']:.3f}"]
        for row in rows_of(linked)
    ]  # fmt: skip
    table("The same people", list(HEADER), rows[:SHOWN])
    if len(rows) > SHOWN:
        typer.echo(f"and {len(rows) - SHOWN} more rows; -o DIR writes all of them")


def summary(linked: Linked) -> str:
    """One line on what was found; who of the known voices was not heard."""
    heard = [person for person in linked.people if person.places]
    several = sum(len(person.places) > 1 for person in heard)
    absent = [person.name for person in linked.people if not person.places]
    said = (
        f"{len(linked.recordings)} recordings, {sum(len(person.places) for person in heard)} speakers, "
        f"{len(heard)} people, {several} of them in more than one recording"
    )
    return said + (f"; not heard: {', '.join(absent)}" if absent else "")
