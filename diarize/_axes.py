"""What is tuned: options by their dotted names, and the values to try."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from diarize.config import Config, checked, suggestion
from diarize.errors import ConfigError

REFUSED = {
    "live": "only final turns of streams depend on it, and tuning is offline; see `diarize score --stream`",
    "verification": "`diarize calibrate` fits it, to pairs of recordings",
} | dict.fromkeys(
    ("model", "engine", "precision", "device", "threads"),
    "the networks are loaded once; choose it for the whole run, and compare runs",
)
"""Options that are not for tuning, and why."""

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Axis:
    """An option, or several that move together, by their dotted names, and the values to try.

    values : one for each name: ``Axis(("vad.onset", "vad.offset"), ((0.3, 0.15), (0.2, 0.1)))``

    Raises ConfigError for unknown options, for those in `REFUSED`, and for values that they cannot have.
    """

    names: tuple[str, ...]
    values: tuple[Values, ...]

    def __post_init__(self) -> None:
        for value in self.values:
            if len(value) != len(self.names):
                raise ConfigError(f"{self}: {len(self.names)} values go together, got {shown(value)}")
        ready = [tuple(map(valid, self.names, value)) for value in self.values]
        object.__setattr__(self, "values", tuple(dict.fromkeys(ready)))

    @classmethod
    def of(cls, text: str) -> Axis:
        """From ``vad.pad_s=.05,.1`` or ``vad.onset/vad.offset=.3/.15,.2/.1``; ``unset`` is a value too."""
        names, _, values = text.partition("=")
        if not values.strip():
            raise ConfigError(
                f"an option to tune is NAME=VALUE,VALUE,..., got {text!r}; for example vad.pad_s=.05,.1"
            )
        split = tuple(tuple(map(scalar, value.split("/"))) for value in values.split(","))
        return cls(tuple(name.strip() for name in names.split("/")), split)

    def __str__(self) -> str:
        return "/".join(self.names)

    def current(self, config: Config) -> Values:
        """What a configuration has there."""
        return tuple(attrgetter(name)(config) for name in self.names)

    def ordered(self, config: Config) -> tuple[list[Values], bool]:
        """All values, the configuration's among them; whether they are numbers, which come in order."""
        values = list(dict.fromkeys((self.current(config), *self.values)))
        numbers = all(isinstance(one, int | float) for value in values for one in value)
        return (sorted(values), True) if numbers else (values, False)

    def set(self, config: Config, value: Values) -> Config:
        """The configuration with these values; ConfigError if they cannot stand beside the others."""
        sections: dict[str, dict[str, Any]] = {}
        for name, one in zip(self.names, value, strict=True):
            section, _, key = name.partition(".")
            sections.setdefault(section, {})[key] = one
        changed = {name: dataclasses.replace(getattr(config, name), **s) for name, s in sections.items()}
        return dataclasses.replace(config, **changed)


def scalar(text: str) -> Any:
    """A value as it is written."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text.strip() == "unset" else text.strip()


def shown(value: Values) -> str:
    """A value as `Axis.of` reads it."""
    return "/".join("unset" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in value)


def valid(name: str, value: Any) -> Any:
    """The value as the option has it, or ConfigError."""
    section, _, key = name.partition(".")
    if section in REFUSED:
        raise ConfigError(f"{name} is not for tuning: {REFUSED[section]}")
    kind: Any = typing.get_type_hints(Config).get(section)
    fields = {field.name: field for field in dataclasses.fields(kind)} if kind else {}
    if key not in fields:
        raise ConfigError(f"unknown option '{name}' to tune; {suggestion(name)}")
    return checked(value, typing.get_type_hints(kind)[key], fields[key].metadata, name, "to tune")


SPACE = tuple(
    map(
        Axis.of,
        (
            "vad.onset/vad.offset=.1/.05,.2/.1,.3/.15,.4/.2,.5/.25,.6/.3",
            "vad.min_silence_s=.3,.5,.7,.85,1,1.2,1.5",
            "vad.pad_s=0,.05,.1,.15,.2",
            "vad.min_speech_s=0,.1,.2,.3",
            "clustering.min_cluster_windows=1,2,3,4,5,6,8,12",
            "clustering.spectral_min_windows=5,10,19,30,40",
            "clustering.min_cluster_from=5,10,19,30,40",
            "clustering.keep_min=6,8,10,13,16,20",
            "clustering.keep_fraction=.006,.012,.02,.03",
            "clustering.merge_threshold=.6,.7,.8,.9,1",
        ),
    )
)
"""What was found to matter on some recordings; the VAD first, as it is worth most."""
