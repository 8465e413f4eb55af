"""Names of known voices: what `--enrol` means, for every verb that has it, and saying who was recognised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from diarize.enrolment import KnownVoice
    from diarize.pipeline import Diarizer
    from diarize.result import Diarization

EnrolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--enrol",
        metavar="NAME=FILE",
        help="A voice to call by its name: Alice=alice.wav, Alice=FOLDER of recordings, a FOLDER with a file "
        "or subfolder a person, or a .voice file of `diarize enrol`; again for more.",
        show_default=False,
    ),
]
SharedNamesOption = Annotated[
    bool,
    typer.Option(
        "--shared-names",
        help="Let several of the speakers found be one known voice; they become one. Default: each voice is "
        "one speaker at most.",
    ),
]


def named(values: Sequence[str] | None, what: str = "--enrol") -> dict[str, list[Path]]:
    """The recordings and voiceprints of each person, several of one name added up.

    values : ``NAME=FILE``; ``NAME=FOLDER``, all recordings in it; ``FOLDER``, see `people_in`;
        ``FILE.voice``. A name may hold an ``=``: it ends before the first file that there is
    what : whose words these are, for messages
    Raises ConfigError for anything else, AudioError for no such file, FormatError for a bad voiceprint.
    """
    people: dict[str, list[Path]] = {}
    for value in values or ():
        for name, paths in _one(value, what).items():
            people.setdefault(name, []).extend(paths)
    return people


def _one(value: str, what: str) -> dict[str, list[Path]]:
    from diarize.voiceprints import ENDING, Voiceprint, is_voiceprint, recordings_in

    whole = Path(value)
    if value and whole.is_dir():
        return people_in(whole)
    if is_voiceprint(value) and (whole.exists() or "=" not in value):
        return {Voiceprint.load(whole).voice.name: [whole]}
    cuts = [i for i, ch in enumerate(value) if ch == "=" and value[:i].strip() and value[i + 1 :]]
    if not cuts:
        raise ConfigError(
            f"{what} must be NAME=FILE, got {value!r}; for example Ann=ann.wav, or a folder of voices, or a "
            f"{ENDING} file"
        )
    cut = next((i for i in cuts if Path(value[i + 1 :]).exists()), cuts[0])
    path = Path(value[cut + 1 :])
    if not path.exists():
        raise AudioError(f"{path}: no such file or folder")
    return {name_from(value[:cut], value): recordings_in(path) if path.is_dir() else [path]}


def people_in(folder: Path) -> dict[str, list[Path]]:
    """The people of a folder: each file's stem, each subfolder's name, each voiceprint's own name.

    Raises ConfigError where there is nobody, or a subfolder holds nothing.
    """
    from diarize.voiceprints import ENDING, Voiceprint, is_voice, is_voiceprint, recordings_in

    people: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            people.setdefault(name_from(path.name, f"{path}"), []).extend(recordings_in(path))
        elif is_voice(path):
            name = Voiceprint.load(path).voice.name if is_voiceprint(path) else path.stem
            people.setdefault(name_from(name, f"{path}"), []).append(path)
    if not people:
        raise ConfigError(f"{folder}: holds no recording and no {ENDING} file; whose voices are known?")
    return people


def name_from(text: str, where: str) -> str:
    """A person's name; ConfigError for what is none."""
    from diarize.voiceprints import person

    name = person(text)
    if name is None:
        raise ConfigError(f"{where}: a name must be letters, without control characters, got {text!r}")
    return name


def known_voices(diarizer: Diarizer, people: dict[str, list[Path]]) -> list[KnownVoice] | None:
    """The voices of people, heard once for all recordings; None where nobody is known."""
    return diarizer.enrol(people) if people else None


def who_is_who(found: Diarization, known: Sequence[KnownVoice] | None, title: object) -> Iterator[str]:
    """Lines on who was recognised and how surely, who was nobody known, who was not heard."""
    if not known:
        return
    heard = found.recognised
    for name, match in heard.items():
        yield f"{title}: {name} recognised, score {match.score:.3f} >= threshold {match.threshold:.3f}"
    for name, match in found.matches.items():
        if not match.recognised:
            taken = " (who is another speaker here)" if match.score >= match.threshold else ""
            yield f"{title}: {name} is nobody known; the nearest is {match}{taken}"
    if absent := [voice.name for voice in known if voice.name not in heard]:
        yield f"{title}: not heard: {', '.join(absent)}"
