"""What `diarize score` scores: which hypothesis belongs to which reference, and over which parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import DiarizeError
from diarize.formats.rttm import read_rttm
from diarize.formats.uem import read_uem

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline


@dataclass(frozen=True)
class Pair:
    """One recording: what is scored against what, over which part."""

    name: str
    reference: Annotation
    hypothesis: Annotation
    uem: Timeline | None
    uem_file: Path | None


@dataclass
class ScoredParts:
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


def must_exist(*paths: Path | None) -> None:
    """DiarizeError for the first path that is not there."""
    for path in paths:
        if path and not path.exists():
            raise DiarizeError(f"{path} does not exist; give an existing file or folder")


def pairs(reference: Path, hypothesis: Path, parts: ScoredParts, notes: list[str]) -> Iterator[Pair]:
    """What is scored against what, in two files or two folders; what is odd is noted."""
    must_exist(reference, hypothesis, parts.asked)
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
    ref_file: Path, hyp_file: Path, stem: str, parts: ScoredParts, notes: list[str]
) -> Iterator[Pair]:
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
        pair = Pair(
            (stem or uri) if alone else ":".join(filter(None, (stem, uri))),
            annotation,
            hypotheses.get(uri, Annotation(uri=uri)),
            *parts.of(ref_file, uri, alone, notes),
        )
        for side, said in (("reference", pair.reference), ("hypothesis", pair.hypothesis)):
            note_overlaps(pair.name, side, said, notes)
        yield pair
    for uri in (uri for uri in hypotheses if uri not in references):
        notes.append(f"{uri}: in {hyp_file} but not in {ref_file}; not scored")


def note_overlaps(name: str, side: str, said: Annotation, notes: list[str]) -> None:
    """Note speakers whose own turns overlap, which scorers count in different ways."""
    if speakers := ", ".join(_talking_over_themselves(said)):
        notes.append(
            f"{name}: turns of one speaker overlap in the {side} ({speakers}); each counts, as in pyannote"
        )


def _talking_over_themselves(annotation: Annotation) -> list[str]:
    latest: dict[str, float] = {}
    found: dict[str, None] = {}
    for turn, _, speaker in annotation.itertracks(yield_label=True):
        if turn.start < latest.get(speaker, 0.0) - 1e-6:
            found[speaker] = None
        latest[speaker] = max(turn.end, latest.get(speaker, 0.0))
    return list(found)
