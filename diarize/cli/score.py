"""`diarize score`: how far a hypothesis is from its reference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diarize.errors import DiarizeError
from diarize.formats.rttm import read_rttm
from diarize.formats.uem import read_uem
from diarize.scoring import CONVENTIONS, MIN_SPEECH_S, Overall, Score, aggregate, score_under

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline

LEGEND = (
    "DER = (miss + false alarm + confusion) / reference speech, every speaker counted where several talk.",
    "A collar leaves out that many seconds on each side of every reference boundary.",
    "JER is the mean over reference speakers, collar 0, overlap scored.",
    "Exact count: as many speakers in the scored part, over recordings with at least "
    f"{MIN_SPEECH_S:g} s of reference speech.",
)


def score(
    reference: Annotated[
        Path, typer.Argument(help="The truth: an RTTM file, or a folder of them.", show_default=False)
    ],
    hypothesis: Annotated[
        Path, typer.Argument(help="What is scored: an RTTM file, or a folder of them.", show_default=False)
    ],
    uem: Annotated[
        Path | None,
        typer.Option(
            help="The parts to score: a UEM file, or a folder of NAME.uem. "
            "Default: the NAME.uem next to each reference, if there is one.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, rates as 0.1 for 10 %.")
    ] = False,
) -> None:
    """Score who spoke when against a reference: DER and its parts, JER, number of speakers.

    Two files are scored against each other. In two folders NAME.rttm is scored
    against NAME.rttm; a hypothesis that is not there counts as empty. Where a
    file holds several recordings, they are matched by name. Without a UEM a
    recording is scored from 0 to the last end in either file.

    DER is printed under the four usual conventions: collar 0 and a collar of
    0.25 s on each side of a reference boundary, overlapped speech scored or not.

    Examples:

    - `diarize score meeting.rttm hypothesis.rttm`

    - `diarize score references/ hypotheses/`

    - `diarize score references/ hypotheses/ --uem all.uem --json > scores.json`
    """
    notes: list[str] = []
    try:
        pairs = list(_pairs(reference, hypothesis, _Parts(uem, reference.is_dir()), notes))
    except OSError as error:
        raise DiarizeError(f"{error.filename} cannot be read: {error.strerror}") from error
    if not pairs:
        raise DiarizeError(f"nothing to score: {reference} holds no .rttm file with a recording in it")
    rows = [(pair, score_under(CONVENTIONS, pair.reference, pair.hypothesis, uem=pair.uem)) for pair in pairs]
    overall = [aggregate(scores[i] for _, scores in rows) for i in range(len(CONVENTIONS))]
    if as_json:
        typer.echo(
            json.dumps(_as_dict(reference, hypothesis, rows, overall, notes), indent=2, ensure_ascii=False)
        )
    else:
        _print(reference, hypothesis, rows, overall)
    for note in notes:
        typer.echo(f"note: {note}", err=True)


@dataclass(frozen=True)
class _Pair:
    """One recording: what is scored against what, over which part."""

    name: str
    reference: Annotation
    hypothesis: Annotation
    uem: Timeline | None
    uem_file: Path | None


@dataclass
class _Parts:
    """Finds the scored part of a recording: in the UEM that was asked for, or beside the reference."""

    asked: Path | None
    of_folder: bool
    read: dict[Path, dict[str, Timeline]] = field(default_factory=dict)

    def of(self, file: Path, uri: str, alone: bool, notes: list[str]) -> tuple[Timeline | None, Path | None]:
        """The parts of `uri`, and the UEM they are from; `alone`: `file` holds no other recording."""
        path, for_this_file = self.asked, not self.of_folder
        if path is None or path.is_dir():
            path, for_this_file = (path or file.parent) / f"{file.stem}.uem", True
            if not path.is_file():
                if self.asked:
                    notes.append(f"{uri}: no {path}; scored whole")
                return None, None
        if path not in self.read:
            self.read[path] = read_uem(path)
        parts = self.read[path]
        names = [uri, file.stem] if alone else [uri]
        if alone and for_this_file and len(parts) == 1:  # whatever the recording is called inside
            names += parts
        for name in names:
            if name in parts:
                return parts[name], path
        notes.append(f"{uri}: not in {path}; scored whole")
        return None, None


def _pairs(reference: Path, hypothesis: Path, parts: _Parts, notes: list[str]) -> Iterator[_Pair]:
    for path in (reference, hypothesis, *((parts.asked,) if parts.asked else ())):
        if not path.exists():
            raise DiarizeError(f"{path} does not exist; give an existing file or folder")
    if reference.is_dir() != hypothesis.is_dir():
        raise DiarizeError(
            f"reference and hypothesis must be two files or two folders, got {reference} and {hypothesis}"
        )
    if not reference.is_dir():
        yield from _pairs_of_files(reference, hypothesis, "", parts, notes)
        return
    files = sorted(reference.glob("*.rttm"))
    for file in files:
        yield from _pairs_of_files(file, hypothesis / file.name, file.stem, parts, notes)
    for extra in sorted({f.name for f in hypothesis.glob("*.rttm")} - {f.name for f in files}):
        notes.append(f"{hypothesis / extra}: no reference of that name; not scored")


def _pairs_of_files(
    ref_file: Path, hyp_file: Path, stem: str, parts: _Parts, notes: list[str]
) -> Iterator[_Pair]:
    """The recordings of two files; `stem` names them when the files come from folders."""
    from pyannote.core import Annotation

    references = read_rttm(ref_file)
    if hyp_file.exists():
        hypotheses = read_rttm(hyp_file)
    else:
        hypotheses = {}
        notes.append(f"{stem}: no hypothesis {hyp_file}; counted as empty")
    alone = len(references) <= 1 and len(hypotheses) <= 1
    if alone:  # whatever the recordings are called inside
        uri = next(iter(references), next(iter(hypotheses), ref_file.stem))
        references = {uri: next(iter(references.values()), Annotation(uri=uri))}
        hypotheses = {uri: next(iter(hypotheses.values()), Annotation(uri=uri))}
    for uri, annotation in references.items():
        if uri not in hypotheses and hyp_file.exists():
            notes.append(f"{uri}: not in {hyp_file}; counted as empty")
        pair = _Pair(
            (stem or uri) if alone else ":".join(filter(None, (stem, uri))),
            annotation,
            hypotheses.get(uri, Annotation(uri=uri)),
            *parts.of(ref_file, uri, alone, notes),
        )
        for side, said in (("reference", pair.reference), ("hypothesis", pair.hypothesis)):
            if speakers := ", ".join(_talking_over_themselves(said)):
                notes.append(
                    f"{pair.name}: turns of one speaker overlap in the {side} ({speakers}); "
                    "each counts, as in pyannote"
                )
        yield pair
    for uri in (uri for uri in hypotheses if uri not in references):
        notes.append(f"{uri}: in {hyp_file} but not in {ref_file}; not scored")


def _talking_over_themselves(annotation: Annotation) -> list[str]:
    latest: dict[str, float] = {}
    found: dict[str, None] = {}
    for turn, _, speaker in annotation.itertracks(yield_label=True):
        if turn.start < latest.get(speaker, 0.0) - 1e-6:
            found[speaker] = None
        latest[speaker] = max(turn.end, latest.get(speaker, 0.0))
    return list(found)


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


_Rows = Sequence[tuple[_Pair, tuple[Score, ...]]]


def _print(reference: Path, hypothesis: Path, rows: _Rows, overall: Sequence[Overall]) -> None:
    header = ["recording", "DER", "miss", "fa", "conf", "DER .25", "JER", "speakers", "speech s", "scored"]
    body = []
    for pair, (strict, lenient, *_) in rows:
        counts = f"{strict.num_reference_speakers} -> {strict.num_hypothesis_speakers}"
        rates = (strict.der, strict.miss, strict.false_alarm, strict.confusion, lenient.der, strict.jer)
        scored = "UEM" if pair.uem_file else "all"
        body.append([pair.name, *map(_percent, rates), counts, f"{strict.speech_s:.1f}", scored])
    _table(
        f"{reference} (reference) against {hypothesis} (hypothesis)\n"
        "% of reference speech; collar 0, overlap scored (DER .25: collar 0.25 s a side)",
        header,
        body,
    )
    body = [
        [str(o.convention), *map(_percent, (o.der, o.miss, o.false_alarm, o.confusion)), f"{o.total_s:.1f}"]
        for o in overall
    ]
    strict_overall = overall[0]
    n = strict_overall.num_recordings
    _table(
        f"overall, {n} recording{'s'[: n != 1]}",
        ["convention", "DER", "miss", "fa", "conf", "scored speech s"],
        body,
    )
    counted = strict_overall.num_counted
    share = f"{100 * strict_overall.exact_count:.0f} %" if counted else "-"
    typer.echo(f"JER {_percent(strict_overall.jer)} %")
    typer.echo(f"exact count {share} ({strict_overall.num_exact} of {counted})\n")
    typer.echo("\n".join(LEGEND))


def _table(title: str, header: list[str], body: list[list[str]]) -> None:
    """A rich table on a terminal; in a pipe, aligned columns two spaces apart."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if console.is_terminal:
        table = Table(title=Text(title), title_justify="left")
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left", overflow="fold", no_wrap=bool(i))
        for row in body:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    widths = [max(len(row[i]) for row in (header, *body)) for i in range(len(header))]
    typer.echo(title)
    for row in (header, *body):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        typer.echo("  ".join(cells))
    typer.echo("")


def _as_dict(
    reference: Path, hypothesis: Path, rows: _Rows, overall: Sequence[Overall], notes: list[str]
) -> dict[str, Any]:
    def common(one: Score | Overall) -> dict[str, Any]:
        speakers = {"reference": one.num_reference_speakers, "hypothesis": one.num_hypothesis_speakers}
        return {"speech_s": one.speech_s, "jer": one.jer, "speakers": speakers}

    def errors(one: Score | Overall) -> dict[str, Any]:
        return {
            "collar_s": one.convention.collar_s,
            "skip_overlap": one.convention.skip_overlap,
            **{key: getattr(one, key) for key in ("der", "miss", "false_alarm", "confusion")},
            **{key: getattr(one, key) for key in ("total_s", "miss_s", "false_alarm_s", "confusion_s")},
        }

    total = overall[0]
    return {
        "reference": str(reference),
        "hypothesis": str(hypothesis),
        "conventions": list(LEGEND),
        "overall": {
            "recordings": total.num_recordings,
            **common(total),
            "exact_count": total.exact_count,
            "exact": total.num_exact,
            "counted": total.num_counted,
            "der": [errors(one) for one in overall],
        },
        "recordings": [
            {
                "name": pair.name,
                "uem": str(pair.uem_file) if pair.uem_file else None,
                **common(scores[0]),
                "exact_count": scores[0].exact_count,
                "der": [errors(one) for one in scores],
            }
            for pair, scores in rows
        ],
        "notes": notes,
    }
