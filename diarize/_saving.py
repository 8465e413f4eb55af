"""Dataclasses to bytes and back: how a stream's state is saved, and what a result was made from.

A saved state is a NumPy archive of its arrays and one JSON text that says where each belongs. Nothing
in it is executed when it is read (no pickle), and what does not fit the dataclasses is refused.
"""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
import zipfile
from typing import Any

import numpy as np

from diarize.errors import FormatError

TREE = "tree"
VERSIONS = {"stream": 6, "kept result": 2}
"""The format of each thing that is saved."""

REMEDIES = {"stream": "let that one finish it", "kept result": "make it again, with `diarize run --keep`"}
"""What to do with one of another format."""


def pack(state: Any, what: str = "stream") -> bytes:
    """A dataclass of numbers, texts, arrays, lists, tuples, dicts and further dataclasses, as bytes."""
    arrays: list[np.ndarray] = []
    tree = {f"diarize {what}": VERSIONS[what], "state": _flat(state, arrays)}
    text = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    file = io.BytesIO()
    members: dict[str, Any] = {TREE: text} | {str(i): array for i, array in enumerate(arrays)}
    np.savez(file, **members)
    return file.getvalue()


def unpack(kind: type, data: bytes, what: str = "stream") -> Any:
    """The dataclass of this kind that `pack` made bytes of; FormatError for any other bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            file = _Arrays(archive)
            tree = json.loads(file[TREE].tobytes())
            version = tree[f"diarize {what}"]
            if version != VERSIONS[what]:
                raise FormatError(
                    f"the {what} was saved by another version of diarize (format {version}, here "
                    f"{VERSIONS[what]}); {REMEDIES[what]}"
                )
            return _built(kind, tree["state"], file)
    except FormatError:
        raise
    except Exception as error:  # zipfile, NumPy and JSON raise a dozen unrelated types here
        raise FormatError(
            f"not a saved {what}, or a damaged one ({type(error).__name__}: {error})"
        ) from error


class _Arrays:
    """The arrays of an archive, which take no more memory than the archive: nothing in it is compressed."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def __getitem__(self, name: str) -> np.ndarray:
        member = self.archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} must not be compressed")
        file = io.BytesIO(self.archive.read(member))
        np.lib.format.read_magic(file)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        values = np.frombuffer(file.getbuffer()[file.tell() :], dtype)  # as many as there are, not as it says
        return values.reshape(shape, order="F" if by_columns else "C").copy()


def _flat(value: Any, arrays: list[np.ndarray]) -> Any:
    if dataclasses.is_dataclass(value):
        return [_flat(getattr(value, f.name), arrays) for f in dataclasses.fields(value)]
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return len(arrays) - 1
    if isinstance(value, dict):
        return [_flat(list(value), arrays), _flat(list(value.values()), arrays)]
    if isinstance(value, (list, tuple)):
        shapes = {getattr(item, "shape", None) for item in value}
        if len(value) > 1 and len(shapes) == 1 and shapes != {None}:
            arrays.append(np.stack(value))  # thousands of small members make a slow archive
            return {"stack": len(arrays) - 1}
        return [_flat(item, arrays) for item in value]
    return value


def _built(kind: Any, value: Any, arrays: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = dataclasses.fields(kind)
        parts = [_built(hints[f.name], part, arrays) for f, part in zip(fields, value, strict=True)]
        return kind(**{f.name: part for f, part in zip(fields, parts, strict=True)})  # type: ignore[operator]
    if origin is np.ndarray:
        dtype = typing.get_args(inner[1])[0]
        array = arrays[str(value)]
        if array.dtype != dtype:
            raise TypeError(f"an array of {array.dtype} where {np.dtype(dtype)} belongs")
        return array
    if origin is list:
        return _listed(inner[0], value, arrays)
    if origin is dict:
        keys, values = (_listed(one, part, arrays) for one, part in zip(inner, value, strict=True))
        return dict(zip(keys, values, strict=True))
    if origin is tuple:
        each = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_built(one, item, arrays) for one, item in zip(each, value, strict=True))
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _built(next(one for one in inner if one is not type(None)), value, arrays)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} where a {kind.__name__} belongs")
    return value


def _listed(kind: Any, value: Any, arrays: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(arrays[str(value["stack"])])
    return [_built(kind, item, arrays) for item in value]
