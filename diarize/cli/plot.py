"""`diarize plot`: who spoke when, and why, as a picture."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diarize._files import KEPT
from diarize.cli.convert import FromOption, read_file
from diarize.cli.extract import recording_of
from diarize.cli.run import diarize_file, is_stdin
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
    check_output,
    load_diarizer,
    note,
    write_or_say,
)
from diarize.config import Bounds, Config
from diarize.errors import ConfigError
from diarize.formats.registry import ENDINGS, stem_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pyannote.core import Annotation

    from diarize.config import ClusteringConfig
    from diarize.result import Diarization


class Kind(Enum):
    """What is drawn."""

    timeline = "timeline"
    similarity = "similarity"
    count = "count"


def plot(
    source: Annotated[
        Path,
        typer.Argument(
            help="Who spoke when: .rttm, .json, .TextGrid, ...; what `diarize run --keep` kept, .diarize; or "
            "the recording, any file with sound in it. - reads standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, .png or .svg; default: NAME.png, here; of other kinds NAME.KIND.png.",
            show_default=False,
            rich_help_panel="Output",
        ),
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind",
            help="timeline: a bar a turn; similarity: all windows against all; count: why so many speakers.",
            rich_help_panel="Output",
        ),
    ] = Kind.timeline,
    overwrite: OverwriteOption = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            "-r",
            help="The truth, in any of the formats: drawn above, and where the two differ below.",
            show_default=False,
            rich_help_panel="Timeline",
        ),
    ] = None,
    line: Annotated[
        float | None,
        typer.Option(
            "--line",
            help="Seconds in a line; default: all up to ten minutes, 600 in longer recordings, more in those "
            "of hours.",
            show_default=False,
            rich_help_panel="Timeline",
        ),
    ] = None,
    form: FromOption = None,
    uri: Annotated[
        str | None,
        typer.Option("--uri", help="Which recording, in files that hold several.", show_default=False),
    ] = None,
    num_speakers: NumSpeakersOption = None,
    min_speakers: MinSpeakersOption = None,
    max_speakers: MaxSpeakersOption = None,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    overlap: OverlapOption = None,
) -> None:
    """Draw who spoke when, and why, as PNG or SVG.

    A timeline has a row a speaker and a bar a turn; the surer a turn, the more opaque its bar. With a
    reference its speakers have the same colours, and what is missed, false or confused stands below, in
    seconds. The other kinds say why: they need the recording, or what was kept of it.

    Examples:

    - `diarize plot meeting.rttm` writes meeting.png

    - `diarize plot meeting.rttm --reference truth.rttm -o timeline.svg` shows what is wrong

    - `diarize plot meeting.wav --kind similarity` writes meeting.similarity.png

    - `diarize plot meeting.wav --kind count -n 4` says what four are made of, and what three or five would be

    - `diarize run call.wav -o - | diarize plot - --from rttm -o call.png`
    """
    from diarize.plotting.style import matplotlib

    Bounds.of(num_speakers, min_speakers, max_speakers)  # refuse contradictions before any work
    matplotlib()
    if kind != Kind.timeline and (reference is not None or line is not None):
        raise ConfigError(f"--reference and --line are for timelines, not for --kind {kind.value}")
    if line is not None and not line > 0:
        raise ConfigError(f"--line must be seconds > 0, got {line:g}")
    path = checked(output, source, kind, overwrite)
    counts = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    loading = {"model": model, "device": device, "engine": engine, "precision": precision, "threads": threads}
    loading |= {"overlap": overlap}
    finding = counts | {"channel": channel} | loading
    clustering = None
    if source.suffix.lower() == KEPT and form is None:
        from diarize.kept import Kept

        refuse(finding, source)
        clustering = Config.load(config).clustering if config else None
        found = Kept.load(source).result()
    elif form is not None or any(source.name.lower().endswith(ending) for ending in ENDINGS):
        refuse({"config": config} | finding, source)
        if kind != Kind.timeline:
            raise ConfigError(f"--kind {kind.value} needs the recording, or a file that ends in {KEPT}")
        found = recording_of(read_file(source, form), Path(stem_of(source)), source, uri).diarization
    else:
        if uri is not None:
            raise ConfigError("--uri says which recording of a file of turns is meant; this is a recording")
        diarizer = load_diarizer(config, **loading)
        clustering = diarizer.config.clustering
        found = diarize_file(diarizer, source, source.name, channel=channel, **counts)
    truth = None
    if reference is not None:
        truth = recording_of(read_file(reference, None), Path(found.uri), reference, uri).annotation
    write(path, draw(found, kind, truth, line, clustering))
    typer.echo(str(path))
    if kind == Kind.count:
        from diarize.plotting.counts import sentences

        for said in sentences(found, clustering):
            note(said)


def draw(
    found: Diarization,
    kind: Kind,
    reference: Annotation | None,
    line: float | None,
    clustering: ClusteringConfig | None,
) -> Figure:
    """The picture of this kind."""
    from diarize.plotting import count_diagnosis, similarity, timeline

    if kind == Kind.similarity:
        return similarity(found)
    if kind == Kind.count:
        return count_diagnosis(found, config=clustering)
    return timeline(found, reference, line_s=line)


def write(path: Path, figure: Figure) -> None:
    """A picture as its file's ending says; what cannot be written is one line."""
    from diarize.plotting.style import as_png, as_svg

    write_or_say(path, as_svg(figure) if path.suffix.lower() == ".svg" else as_png(figure))


def refuse(options: dict[str, Any], source: Path) -> None:
    """ConfigError for options that are for finding out who speaks, where a file says it."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        name = given[0].replace("_", "-")
        raise ConfigError(f"--{name} is for recordings: {source} says already who spoke when")


def checked(output: Path | None, source: Path, kind: Kind, overwrite: bool) -> Path:
    """Where the picture goes; refused, before any work, where that cannot be meant or written."""
    from diarize.plotting.style import check_ending

    if output is None:
        name = "stdin" if is_stdin(source) else stem_of(source)
        output = Path(f"{name}.png" if kind == Kind.timeline else f"{name}.{kind.value}.png")
    check_output(output, overwrite)
    check_ending(output)
    return output
