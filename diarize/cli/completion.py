"""What the shell offers when Tab is pressed: names that are known without loading anything.

Where none fits, the shell offers files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from diarize import models
from diarize.config import shipped
from diarize.formats.registry import FORMATS
from diarize.formats.words import WRITERS

Offer = Callable[[str], list[str]]
"""From what is typed so far to what it may become."""


def one_of(names: Iterable[str]) -> Offer:
    """These names."""
    known = tuple(names)
    return lambda incomplete: [name for name in known if name.startswith(incomplete)]


formats = one_of(FORMATS)
readable_formats = one_of(name for name, form in FORMATS.items() if form.read)
word_formats = one_of(WRITERS)
devices = one_of(("auto", "cpu", "cuda"))
engines = one_of(("auto", "openvino", "torch"))
precisions = one_of(("auto", "f32", "bf16", "int8"))
overlaps = one_of(("assign", "detect", "off"))
runners = one_of(("local", "ray"))
assets = one_of(models.ASSETS)


def configurations(incomplete: str) -> list[str]:
    """The shipped ones, and TOML files."""
    return [*one_of(shipped())(incomplete), *paths(incomplete, ".toml")]


def networks(incomplete: str) -> list[str]:
    """Networks that make embeddings, by name, and checkpoints."""
    names = one_of(name for name, asset in models.ASSETS.items() if asset.embedding_size)
    return [*names(incomplete), *paths(incomplete, ".pt", ".bin", ".ckpt")]


def paths(incomplete: str, *endings: str) -> list[str]:
    """Files with these endings, and folders, whose path begins like this."""
    folder, name = incomplete.rpartition("/")[::2]
    top = "/" if incomplete.startswith("/") else "."
    try:
        found = sorted(Path(folder or top).iterdir())
    except OSError:
        return []
    begun = incomplete[: len(incomplete) - len(name)]
    return [
        begun + path.name + ("/" if path.is_dir() else "")
        for path in found
        if path.name.startswith(name)
        and (path.suffix in endings or path.is_dir())
        and (name or not path.name.startswith("."))
    ]
