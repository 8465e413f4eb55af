"""Any source of sound -> mono float32 samples: arrays, tensors, and whatever file PyAV can decode.

    as_samples     an array or a tensor, checked and scaled to [-1, 1]
    open_audio     a file, decoded piece by piece at its own rate
    stream_audio   either of them as pieces at 16 kHz
    read_audio     either of them as one array at 16 kHz

Arrays are checked in `diarize.samples`, files decoded in `diarize.decoding`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from diarize._reader import File, Readable, display_name
from diarize.decoding import AudioFile
from diarize.errors import AudioError
from diarize.resampling import SAMPLE_RATE, Resampler, Samples, checked_rate
from diarize.samples import as_samples

__all__ = [
    "SAMPLE_RATE",
    "AudioFile",
    "File",
    "Samples",
    "Source",
    "as_samples",
    "open_audio",
    "read_audio",
    "stream_audio",
]

AT_ONCE_S = 4 * 3600
"""Sound of a file that is held in memory: 0.9 GB."""

Source = File | ArrayLike
"""What can be heard: a file, or (n,) samples."""


def open_audio(source: File, *, channel: int | None = None) -> AudioFile:
    """Open a recording for decoding piece by piece; see `AudioFile`.

    Parameters
    ----------
    source : path or binary file object
        A file object is read from its start and left open.
    channel : int, optional
        Which channel to take, counted from 0; None averages them.

    Returns
    -------
    file : AudioFile
        To be used in a ``with`` block.

    Raises
    ------
    AudioError
        The file cannot be opened, is empty, is no audio that can be decoded, holds no audio stream, or
        has no such channel. The message starts with the file's name.
    """
    return AudioFile(source, channel=channel)


def stream_audio(
    source: Source, *, sample_rate: int | None = None, channel: int | None = None
) -> Iterator[Samples]:
    """Iterate over a recording or an array as (n,) float32 pieces at 16 kHz.

    Parameters
    ----------
    source : file or array
        As for `open_audio`, or (n,) samples as for `as_samples`.
    sample_rate : int, optional
        Of an array, Hz; needed there, refused for files, which carry their own.
    channel : int, optional
        As for `open_audio`; refused for arrays, which have one channel.

    Returns
    -------
    pieces : iterator of (n,) float32, n > 0

    Raises
    ------
    AudioError
        As `open_audio`, `AudioFile` and `as_samples`; for files when the iteration starts.
    """
    if isinstance(source, str | os.PathLike | Readable):
        if sample_rate is not None:
            raise AudioError(
                f"{display_name(source)}: sample_rate= is for arrays; a file carries its own rate"
            )
        return _stream_file(source, channel)
    samples = as_samples(source)
    if sample_rate is None:
        raise AudioError("an array carries no sample rate; pass sample_rate=, for example sample_rate=16000")
    if channel is not None:
        raise AudioError("channel= is for files; of an array (channels, n) pass one row: audio[k]")
    return _stream_array(samples, checked_rate(sample_rate))


def _stream_file(source: File, channel: int | None) -> Iterator[Samples]:
    with open_audio(source, channel=channel) as file:
        yield from _resampled(file, file.sample_rate)


def _stream_array(samples: Samples, rate: int) -> Iterator[Samples]:
    return _resampled((samples[start : start + rate] for start in range(0, len(samples), rate)), rate)


def _resampled(pieces: Iterable[Samples], rate: int) -> Iterator[Samples]:
    resampler = Resampler(rate)
    for piece in pieces:
        ready = resampler.push(piece)
        if len(ready):
            yield ready
    tail = resampler.finish()
    if len(tail):
        yield tail


def read_audio(source: Source, *, sample_rate: int | None = None, channel: int | None = None) -> Samples:
    """Read a whole recording or array as (n,) float32 at 16 kHz; arguments and errors of `stream_audio`.

    AudioError for files of more than `AT_ONCE_S` as well.
    """
    pieces: list[Samples] = []
    room = AT_ONCE_S * SAMPLE_RATE if isinstance(source, str | os.PathLike | Readable) else math.inf
    for piece in stream_audio(source, sample_rate=sample_rate, channel=channel):
        room -= len(piece)
        if room < 0:
            raise AudioError(
                f"{display_name(source)}: holds more than the {AT_ONCE_S / 3600:g} h that are read at once; "
                "stream_audio() gives any length piece by piece"
            )
        pieces.append(piece)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
