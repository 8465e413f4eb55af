"""Voiceprint files: a known voice without its recording, for the model that heard it.

    {"format": "diarize voice/1", "name": "Alice", "model": "campplus-zh-en", "sha256": "92f2...",
     "embedding_size": 192, "length_s": 1.5, "step_s": 0.25, "seconds": 12.4, "windows": 44,
     "total": [-0.731, ...]}

``total`` is the sum of the unit rows of the windows, to the last bit, so that a file recognises exactly whom
the recording would have. A voice is personal data: treat such a file as you treat the recording.
"""

from __future__ import annotations

import json
import math
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diarize import models
from diarize._assets import file_sha256
from diarize._files import SOUNDS, atomic_write
from diarize.enrolment import KnownVoice
from diarize.errors import AudioError, ConfigError, FormatError, ModelError
from diarize.formats import read_text
from diarize.formats.json_values import loaded, number_of, text_of

FORMAT = "diarize voice/1"
ENDING = ".voice"


@dataclass(frozen=True, slots=True)
class Weights:
    """Which network hears voices: its name, and the sha256 of its file."""

    model: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.model} (sha256 {self.sha256[:12]}...)"


@dataclass(frozen=True, eq=False)
class Voiceprint:
    """What a file holds: a voice, the weights that heard it, and the windows (seconds) that they heard."""

    voice: KnownVoice
    weights: Weights
    length_s: float
    step_s: float

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to a file that ends in ``.voice``, whole or not at all; returns its path.

        Raises FormatError for another ending or a name that is none, OSError where it cannot be written.
        """
        path = Path(path)
        if not is_voiceprint(path):
            raise FormatError(f"{path}: a voiceprint's file must end in {ENDING}")
        if person(self.voice.name) != self.voice.name:
            raise FormatError(f"{path}: {self.voice.name!r} cannot be a person's name in a file")
        fields = {
            "format": FORMAT,
            "name": self.voice.name,
            "model": self.weights.model,
            "sha256": self.weights.sha256,
            "embedding_size": len(self.voice.total),
            "length_s": self.length_s,
            "step_s": self.step_s,
            "seconds": self.voice.seconds,
            "windows": self.voice.windows,
            "total": [float(value) for value in self.voice.total],
        }
        lines = (
            f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()
        )
        atomic_write(path, "{\n" + ",\n".join(lines) + "\n}\n")
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Voiceprint:
        """Read what `save` wrote.

        Raises FormatError for anything else (``alice.voice:1: ...``), AudioError for no such file.
        """
        where = f"{path}:1"
        try:
            fields = loaded(read_text(path), f"{path}")
        except OSError as error:
            raise AudioError(f"{path}: the voiceprint cannot be read: {error.strerror}") from None
        if not isinstance(fields, dict) or "format" not in fields:
            raise FormatError(f'{where}: must be an object with "format"; is this a voiceprint of diarize?')
        if fields["format"] != FORMAT:
            raise FormatError(f'{where}: "format" must be "{FORMAT}", got {str(fields["format"])[:40]!r}')
        size, windows = number_of(fields, "embedding_size", where), number_of(fields, "windows", where)
        seconds = number_of(fields, "seconds", where)
        length_s, step_s = number_of(fields, "length_s", where), number_of(fields, "step_s", where)
        for key, value in (("seconds", seconds), ("length_s", length_s), ("step_s", step_s)):
            if not value > 0:
                raise FormatError(f"{where}: {key} must be > 0, got {value:g}")
        if windows < 1:
            raise FormatError(f"{where}: windows must be >= 1, got {windows:g}")
        name = text_of(fields, "name", where)
        if person(name) != name:
            raise FormatError(f"{where}: name must be a person's, got {name[:40]!r}")
        weights = Weights(text_of(fields, "model", where), text_of(fields, "sha256", where))
        total = _total(fields.get("total"), size, windows, where)
        return cls(KnownVoice(name, total, windows, seconds), weights, length_s, step_s)

    def voice_for(self, weights: Weights | None, path: str | os.PathLike[str]) -> KnownVoice:
        """The voice, for these weights; ModelError, naming the file, if others heard it."""
        if weights is None:
            raise ModelError(
                f"{path}: a voiceprint is of {self.weights}, and an embedder of one's own is no model with a "
                "hash; enrol the voice from a recording"
            )
        if self.weights.sha256 != weights.sha256:
            raise ModelError(
                f"{path}: must be a voiceprint of {weights}, got one of {self.weights}, and voices of two "
                f"models cannot be compared; enrol it anew from a recording: diarize enrol "
                f"'{self.voice.name}=FILE' -o FOLDER, or use that model: --model {self.weights.model}"
            )
        return self.voice


def _total(values: Any, size: float, windows: float, where: str) -> np.ndarray:
    """The sum of the rows, (E,); FormatError for what none can be."""
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not numbers or len(values) != size or not len(values):
        got = f"{len(values)} values" if isinstance(values, list) else "nothing such"
        raise FormatError(f"{where}: total must be a list of {size:g} numbers, got {got}")
    total = np.array([float(value) if abs(value) < 1e300 else math.nan for value in values])
    norm = float(np.linalg.norm(total))
    if not 0 < norm <= windows * 1.001:
        raise FormatError(f"{where}: total must be a sum of {windows:g} unit rows, got the norm {norm:g}")
    return total


def weights_of(model: str) -> Weights:
    """The name and the sha256 of a model, by its name or the path of its file."""
    if model in models.ASSETS:
        return Weights(model, models.ASSETS[model].files[0].sha256)
    path = models.resolve(model)
    sha256 = file_sha256(path)
    same = [asset.name for asset in models.ASSETS.values() if asset.files[0].sha256 == sha256]
    return Weights(same[0] if same else path.name, sha256)


def is_voiceprint(path: object) -> bool:
    """Whether this is a path that ends as voiceprints do."""
    return isinstance(path, (str, Path)) and str(path).lower().endswith(ENDING)


def person(name: str) -> str | None:
    """A person's name without space around it, in Unicode's composed form (files from macOS have another).

    None for one that cannot be: empty, or with control characters.
    """
    found = unicodedata.normalize("NFC", name).strip()
    wrong = any(unicodedata.category(ch) in {"Cc", "Cs", "Zl", "Zp"} for ch in found)
    return None if wrong or not found else found


def recordings_in(folder: Path) -> list[Path]:
    """Recordings and voiceprints in a folder and those below, in order, hidden ones left out.

    Raises ConfigError where there is none.
    """
    found = [path for path in sorted(folder.rglob("*")) if is_voice(path) and not hidden(path, folder)]
    if not found:
        raise ConfigError(f"{folder}: holds no recording and no {ENDING} file")
    return found


def is_voice(path: Path) -> bool:
    """Whether a file is one to know a voice by: by its ending a recording or a voiceprint."""
    return (path.suffix.lower() in SOUNDS or is_voiceprint(path)) and path.is_file()


def hidden(path: Path, folder: Path) -> bool:
    """Whether a path below a folder is hidden, or in a hidden folder."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
