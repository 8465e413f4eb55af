"""Every option, in frozen dataclasses that are read from and written to TOML.

Each field has its unit in its name and a line of meaning, which `diarize config` and
`configs/default.toml` show. Unknown, ill-typed and impossible values raise ConfigError.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError


def option(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries its line of meaning and what values it may have."""
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class VadConfig:
    """Speech regions from Silero's probabilities."""

    onset: float = option(0.3, "speech begins where the probability reaches this", low=0, high=1)
    offset: float = option(0.15, "and pauses where it falls below this", low=0, high=1)
    min_speech_s: float = option(0.1, "shorter speech is dropped", low=0)
    min_silence_s: float = option(1.0, "shorter pauses are filled", low=0)
    pad_s: float = option(0.1, "added to both ends of a region", low=0)


@dataclass(frozen=True)
class WindowsConfig:
    """What is embedded."""

    embedding: str = option(
        "dense",
        "dense: the network runs over everything once, windows are cut from what it says; exact: over each",
        choices=("dense", "exact"),
    )
    length_s: float = option(1.2, "length of a window", low=0.1, high=60)
    step_s: float = option(
        0.4, "shift between windows, on a grid fixed by the audio clock", low=0.01, high=60
    )
    min_length_s: float = option(0.1, "a region with less than this is too short to tell who spoke", low=0.08)

    @property
    def length(self) -> int:
        """Samples at 16 kHz in a window."""
        return round(self.length_s * 16_000)


@dataclass(frozen=True)
class Bounds:
    """Fewest and most speakers that were asked for; they override every rule."""

    low: int = 1
    high: int | None = None

    @classmethod
    def of(cls, num_speakers: int | None, min_speakers: int | None, max_speakers: int | None) -> Bounds:
        """The bounds that the public arguments mean; ConfigError where they contradict."""
        for name, value in (("num", num_speakers), ("min", min_speakers), ("max", max_speakers)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name}_speakers must be a whole number >= 1, got {value!r}")
        if num_speakers is not None:
            if min_speakers is not None or max_speakers is not None:
                raise ConfigError("num_speakers says it all; leave min_speakers and max_speakers out")
            return cls(num_speakers, num_speakers)
        low = min_speakers or 1
        if max_speakers is not None and max_speakers < low:
            raise ConfigError(f"min_speakers must be <= max_speakers, got {low} and {max_speakers}")
        return cls(low, max_speakers)

    def within(self, rows: int) -> Bounds:
        """The bounds that so many rows can hold."""
        return Bounds(min(self.low, rows), None if self.high is None else min(self.high, rows))


@dataclass(frozen=True)
class ClusteringConfig:
    """Embeddings to speakers."""

    method: str = option(
        "auto",
        "auto (spectral from spectral_min_windows on), spectral or agglomerative",
        choices=("auto", "spectral", "agglomerative"),
    )
    spectral_min_windows: int = option(
        19, "auto: recordings with fewer windows are clustered agglomeratively", low=3
    )
    keep_fraction: float = option(0.012, "spectral: share of the affinities that a row keeps", low=0, high=1)
    keep_min: int = option(13, "spectral: but at least this many", low=1)
    eigengap_max: int = option(15, "spectral: most speakers to look for, unless asked for more", low=1)
    threshold: float | None = option(
        None,
        "agglomerative, and verification: same speaker from this score on; unset: measured for the model",
        low=-1,
        high=1,
    )
    refine: str = option(
        "mixture",
        "mixture (a model of voices decides who is a speaker and whose each window is), or none",
        choices=("mixture", "none"),
    )
    min_cluster_windows: int = option(4, "smaller clusters join the nearest larger one", low=1)
    min_cluster_from: int = option(19, "but in recordings with fewer windows every cluster stays", low=3)
    merge_threshold: float = option(0.7, "clusters whose centroids score this are one", low=-1, high=1)
    max_rows: int = option(4096, "more windows than this are first summarised by half as many rows", low=16)
    num_speakers: int | None = option(None, "exactly this many speakers; unset: found out", low=1)
    min_speakers: int | None = option(None, "at least this many speakers", low=1)
    max_speakers: int | None = option(None, "at most this many speakers", low=1)

    def __post_init__(self) -> None:
        """Refuse counts that contradict one another."""
        _ = self.bounds

    @property
    def bounds(self) -> Bounds:
        """The counts as bounds."""
        return Bounds.of(self.num_speakers, self.min_speakers, self.max_speakers)


@dataclass(frozen=True)
class VerificationConfig:
    """Whether two pieces are one voice, fitted to data of your own; `diarize calibrate` writes it."""

    shift: float = option(0.0, "added to the threshold that was measured for the model", low=-2, high=2)
    scale: float = option(1.0, "multiplies what a score is worth beside that threshold", low=0)
    prior: float = option(
        0.5, "of the probability: how likely one voice is before hearing them", low=0.0001, high=0.9999
    )


@dataclass(frozen=True)
class LiveConfig:
    """Turns that become final while a stream runs; they change nothing of its result."""

    birth_s: float = option(
        0.8, "speech of somebody new, who sounds like nobody known, before they are a speaker", low=0
    )
    birth_doubt_s: float = option(
        3.0, "more than that, in proportion, the nearer they come to sounding like somebody known", low=0
    )


@dataclass(frozen=True)
class Config:
    """All options; `Config()` is the default configuration."""

    model: str = option("campplus-zh-en", "a name that `diarize models` lists, or the path of a checkpoint")
    engine: str = option(
        "auto",
        "openvino (CPUs), torch (CUDA, and CPUs for reference), or auto: what this machine runs best",
        choices=("auto", "openvino", "torch"),
    )
    precision: str = option(
        "auto",
        "f32; bf16 (openvino on CPUs that compute in it; as good and faster); "
        "int8 (openvino, campplus-zh-en; faster still); auto: bf16 or f32",
        choices=("auto", "f32", "bf16", "int8"),
    )
    device: str = option("auto", "auto (CUDA where there is one), cpu, cuda, cuda:1, ...")
    threads: int = option(0, "calls on the network side by side on the CPU; 0: one a core", low=0)
    overlap: str = option(
        "assign",
        "where two people speak at once: assign (both have a turn), detect (one has), off (not looked for)",
        choices=("assign", "detect", "off"),
    )
    vad: VadConfig = field(default_factory=VadConfig)
    windows: WindowsConfig = field(default_factory=WindowsConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    verification: VerificationConfig = field(default_factory=VerificationConfig)
    live: LiveConfig = field(default_factory=LiveConfig)

    def __post_init__(self) -> None:
        """Check what one field cannot know of another."""
        if self.vad.offset > self.vad.onset:
            raise ConfigError(f"vad.offset must be <= vad.onset, got {self.vad.offset} > {self.vad.onset}")
        if self.windows.step_s > self.windows.length_s:
            raise ConfigError(
                f"windows.step_s must be <= windows.length_s, or speech is lost between windows; "
                f"got {self.windows.step_s} > {self.windows.length_s}"
            )
        for name in ("length_s", "step_s"):
            value = getattr(self.windows, name)
            if abs(value * 100 - round(value * 100)) > 1e-6:
                raise ConfigError(
                    f"windows.{name} must be a multiple of 0.01 s (the feature frames), got {value}"
                )

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "the configuration") -> Config:
        """Build from nested dicts as TOML gives them; `source` is named in errors."""
        return typing.cast(Config, build(cls, values, source, ""))

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Read a TOML file, or a configuration that ships with the package, by name ("meeting")."""
        path = find(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except RecursionError:
            raise ConfigError(f"{path}: not TOML of a few levels") from None
        except ValueError as error:  # TOML's, UTF-8's, and Python's own for numbers of thousands of digits
            raise ConfigError(f"{path}: not TOML: {error}") from None
        return cls.from_dict(values, path.name)

    def to_toml(self) -> str:
        """Every option with its line of meaning; what is unset is written as a comment."""
        return "\n".join(lines(self, ""))


def build(cls: Any, values: Any, source: str, prefix: str) -> Any:
    """A dataclass from a dict, each key and value checked."""
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: '{prefix.rstrip('.')}' must be a table, got {values!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    ready = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"unknown key {prefix + key!r} in {source}; {suggestion(prefix + key)}")
        if dataclasses.is_dataclass(hints[key]):
            ready[key] = build(hints[key], value, source, f"{prefix}{key}.")
        else:
            ready[key] = checked(value, hints[key], fields[key].metadata, f"{prefix}{key}", source)
    try:
        return cls(**ready)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def checked(value: Any, hint: Any, meta: Any, key: str, source: str) -> Any:
    """The value as its field's type, or ConfigError."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = " or ".join(
            {"str": "text", "int": "a whole number", "float": "a number"}.get(k.__name__, "unset")
            for k in kinds
        )
        raise ConfigError(f"{source}: '{key}' must be {wanted.removesuffix(' or unset')}, got {value!r}")
    if isinstance(value, float) and math.isinf(value):
        raise ConfigError(f"{source}: '{key}' must be finite, got {value}")
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if choices and value not in choices:
        raise ConfigError(f"{source}: '{key}' must be one of {', '.join(choices)}, got {value!r}")
    if not isinstance(value, (str, type(None))) and not (
        (low is None or value >= low) and (high is None or value <= high)
    ):
        wanted = " and ".join([f">= {low}"] * (low is not None) + [f"<= {high}"] * (high is not None))
        raise ConfigError(f"{source}: '{key}' must be {wanted}, got {value!r}")
    return value


def suggestion(key: str) -> str:
    """What the user may have meant by an unknown key."""
    known = list(all_keys(Config, ""))
    tails = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key, known, 1) or [
        tails[t] for t in difflib.get_close_matches(key.rpartition(".")[2], tails, 1)
    ]
    return f"did you mean '{near[0]}'?" if near else "`diarize config` lists what there is"


def all_keys(cls: Any, prefix: str) -> typing.Iterator[str]:
    """Every dotted key."""
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            yield prefix + name
            yield from all_keys(hint, f"{prefix}{name}.")
        else:
            yield prefix + name


def lines(config: Any, section: str) -> typing.Iterator[str]:
    """The lines of one table of TOML."""
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            yield f"\n# {(type(value).__doc__ or '').splitlines()[0]}\n[{f.name}]"
            yield from lines(value, f"{f.name}.")
        else:
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
            shown = f"# {f.name} =" if value is None else f"{f.name} = {text}"
            yield f"{shown:<32}# {f.metadata['meaning']}"


def shipped() -> dict[str, Path]:
    """The configurations that come with the package: name to path."""
    here = Path(__file__).resolve().parent
    for folder in (here / "configs", here.parent / "configs"):  # a wheel; a checkout
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def find(name: str | Path) -> Path:
    """The file of a configuration given by path or by name."""
    path = Path(os.path.expanduser(name))  # not Path's own, which raise for names that cannot be
    if os.path.isfile(path):
        return path
    known = shipped()
    if str(name) in known:
        return known[str(name)]
    raise ConfigError(f"no configuration {str(name)!r}: not a file, nor one of {', '.join(known)}")
