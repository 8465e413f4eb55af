"""Arrays of sound -> checked float32 samples: any numeric type, scaled to [-1, 1], or one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diarize.errors import AudioError
from diarize.resampling import Samples

LOUDEST = 256.0
"""Beyond that a float sample was never meant to lie in [-1, 1]."""


def as_samples(samples: ArrayLike) -> Samples:
    """Check an array, list or tensor of sound and scale it to [-1, 1].

    Parameters
    ----------
    samples : (n,) array, list or tensor
        Of any float type, nominally in [-1, 1], or of an integer type of up to 32 bits, which is divided
        by its full scale (int16 by 32768; unsigned types lie around their middle: 128 for uint8).
        A torch tensor may live on any device.

    Returns
    -------
    samples : (n,) float32, C-contiguous; it may share memory with the input.

    Raises
    ------
    AudioError
        Not one-dimensional, not numbers, not finite, or floats beyond 256 in magnitude. Every check looks
        at single samples, so the answer does not depend on how a stream was cut.
    """
    array = _as_array(samples)
    if array.ndim != 1:
        raise AudioError(f"audio must be one-dimensional, got shape {array.shape}{_mono_hint(array)}")
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiu":
        raise AudioError(
            f"audio must be numbers of a float or integer type, got dtype {array.dtype}; "
            "raw 16-bit sound in bytes is numpy.frombuffer(data, 'int16')"
        )
    if kind in "iu" and size > 4:
        raise AudioError(
            f"audio must be of a type with a known full scale, got dtype {array.dtype}; "
            "16-bit values: audio.astype('int16'), otherwise divide to floats in [-1, 1]"
        )
    scaled = to_unit_range(array)
    bad = first_bad(scaled)
    if bad is not None:
        raise AudioError(f"{complaint(float(array[bad]))} at sample {bad}")
    return scaled


def _as_array(samples: ArrayLike) -> NDArray[Any]:
    if isinstance(samples, bytes | bytearray | memoryview):
        raise AudioError(
            f"audio must be an array of numbers, got {type(samples).__name__}; "
            "a whole file: io.BytesIO(data), raw 16-bit sound: numpy.frombuffer(data, 'int16')"
        )
    try:
        if hasattr(samples, "detach"):  # a torch tensor, without importing torch
            tensor = samples.detach().cpu()
            if str(tensor.dtype) == "torch.bfloat16":  # numpy has no such type
                tensor = tensor.float()
            samples = tensor.numpy()
        return np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(f"audio must be a one-dimensional array of numbers: {one_line(error)}") from error


def _mono_hint(array: NDArray[Any]) -> str:
    if array.ndim != 2:
        return ""
    axis = 0 if array.shape[0] <= array.shape[1] else 1
    scale = "" if array.dtype.kind == "f" else f" / {2 ** (8 * array.dtype.itemsize - 1)}"
    return f"; average the channels first: audio.mean(axis={axis}){scale}"


def to_unit_range(values: NDArray[Any]) -> Samples:
    """Scale to float32 in [-1, 1] by the full scale of the type, one rounding at most; (n,) -> (n,)."""
    kind, bits = values.dtype.kind, 8 * values.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # inf and nan are refused later
            return np.ascontiguousarray(values, np.float32)
    full_scale = 2.0 ** (bits - 1)
    if kind == "u":
        centred: NDArray[np.float64] = values.astype(np.float64) - full_scale
        return (centred / full_scale).astype(np.float32)
    scaled: Samples = values.astype(np.float32)
    scaled *= np.float32(1 / full_scale)  # a power of two: exact
    return scaled


def first_bad(samples: Samples) -> int | None:
    """Index of the first sample that is not finite or absurdly large, else None."""
    with np.errstate(invalid="ignore"):
        if not len(samples) or np.abs(samples).max() <= LOUDEST:  # false for nan too
            return None
        return int(np.argmin(np.abs(samples) <= LOUDEST))


def complaint(value: float) -> str:
    """What is wrong with a sample that `first_bad` found."""
    if not np.isfinite(value):
        return f"audio must be finite, got {value}"
    return f"float audio must lie in [-1, 1], got {value:g} (int16 values as floats? divide by 32768 then)"


def one_line(error: object) -> str:
    """The text of an error, fit for one line of a message."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
