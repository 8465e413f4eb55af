"""One person a channel: calls and interviews in which everybody has a channel of their own.

    by_channel(diarizer, "call.wav")

Each channel is a stream of its own, all of whose speech is its person's. What is heard of the others in it
(crosstalk of a line, microphones in one room) is none: a frame belongs to a channel unless another one is
louder. Microphones of unlike gain are made alike first, where the loudness of a pair says which is which
(docs/decisions/0012-channels.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from diarize.audio import AudioFile, open_audio, stream_audio
from diarize.corrections import merge, rename
from diarize.enrolment import KnownVoice, recognise
from diarize.errors import AudioError
from diarize.pipeline import Diarizer, is_file, name_of
from diarize.resampling import Resampler
from diarize.result import Diarization
from diarize.stages.items import FRAME

if TYPE_CHECKING:
    from diarize._reader import File

ONE = "one"

AROUND = 4
"""Frames of 32 ms on either side over which loudness is averaged."""

LOUDER_DB = 3.0
"""A frame in which another channel is louder by more than this is that channel's."""

RANGE_DB = 30.0
"""Frames this much softer than loud ones say nothing of gains."""

APART_DB = 12.0
"""Two people's frames lie at least so far apart in loudness of one channel over the other."""

SHARE = 0.05
"""The least share of the frames that either of two people needs."""

GAIN_DB = 20.0
"""No gains differ by more."""


def own(power: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which frames are each channel's own, (channels, n), from their mean squares (channels, n)."""
    if not power.size:
        return np.ones(power.shape, bool)
    padded = np.pad(power, ((0, 0), (AROUND, AROUND)))
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1, axis=1).mean(2)
    loudness = 10 * np.log10(around + 1e-12)
    found = np.ones(loudness.shape, bool)
    loudest = loudness.max(0)
    telling = loudest > np.percentile(loudest, 95) - RANGE_DB
    for a in range(len(loudness)):
        for b in range(len(loudness)):
            if a != b:
                more = loudness[a] - loudness[b]
                found[a] &= more - gain(more[telling]) >= -LOUDER_DB
    return found


def gain(more: NDArray[np.float64]) -> float:
    """By how much one microphone is louder than another, from by how much it is in each frame, in dB.

    The middle between two groups of frames, those of either person; 0 where there are no two.
    """
    low, high = map(float, np.percentile(more, (10, 90)))
    for _ in range(30):
        upper = more > (low + high) / 2
        if upper.all() or not upper.any():
            return 0.0
        before, (low, high) = (low, high), (float(np.median(more[~upper])), float(np.median(more[upper])))
        if before == (low, high):
            break
    if high - low < APART_DB or not SHARE < upper.mean() < 1 - SHARE:
        return 0.0
    return float(np.clip((low + high) / 2, -GAIN_DB, GAIN_DB))


def by_channel(
    diarizer: Diarizer,
    source: File | Sequence[Any],
    *,
    sample_rate: int | None = None,
    enrolled: Any = None,
    uri: str | None = None,
    progress: Callable[[float, float | None], None] | None = None,
) -> Diarization:
    """Who spoke when, with one person a channel: CHANNEL_0, CHANNEL_1, ... or their names if they are known.

    source : a file's path, or the samples (n,) of each channel, equally many, with `sample_rate`
    enrolled, uri, progress : as of `Diarizer`

    A file is read twice. Whoever never speaks has no turn; `kept` is None, these are several results. Raises
    AudioError for a file that cannot be read or has one channel.
    """
    known = diarizer.enrol(enrolled) if isinstance(enrolled, Mapping) else enrolled or ()
    known = [voice if isinstance(voice, KnownVoice) else diarizer.known(voice) for voice in known]
    with ExitStack() as stack:
        heard = own(np.concatenate([*powers(opened(stack, source, sample_rate)[0])], axis=1))
    with ExitStack() as stack:
        channels, total_s = opened(stack, source, sample_rate)
        streams = [stack.enter_context(diarizer.stream()) for _ in channels]
        first = 0
        for samples in in_frames(channels):
            frames = heard[:, first : first + -(-samples.shape[1] // FRAME)]
            first += frames.shape[1]
            silenced = np.where(frames.repeat(FRAME, axis=1)[:, : samples.shape[1]], samples, np.float32(0))
            for stream, piece in zip(streams, silenced, strict=True):
                stream.push(piece)
            if progress:
                progress(streams[0].duration, total_s)
        for stream in streams:
            stream.finish()
        found = [alone(stream.result()) for stream in streams]
    matches = recognise(
        {k: one.embeddings[ONE] for k, one in enumerate(found) if one.embeddings},
        {k: sum(turn.duration for turn in one) for k, one in enumerate(found)},
        known,
        diarizer.threshold,
    )
    names = [f"CHANNEL_{k}" for k in range(len(found))]
    for k, match in matches.items():
        names[k] = match.name if match.recognised else names[k]
    turns = [replace(turn, speaker=name) for one, name in zip(found, names, strict=True) for turn in one]
    return Diarization(
        tuple(sorted(turns)),
        max(one.duration for one in found),
        uri or name_of(source),
        {name: one.embeddings[ONE] for one, name in zip(found, names, strict=True) if one.embeddings},
        matches={names[k]: match for k, match in matches.items()},
    )


def alone(found: Diarization) -> Diarization:
    """A channel's diarization with all speakers taken for one, `ONE`."""
    first, *others = found.speakers or (ONE,)
    kept = found.kept
    if kept is None or not found.turns:
        return found
    if others:
        kept = merge(kept, first, *others)
    return rename(kept, first, ONE).result()


def opened(
    stack: ExitStack, source: File | Sequence[Any], sample_rate: int | None
) -> tuple[list[Iterator[NDArray[np.float32]]], float | None]:
    """Each channel as pieces at 16 kHz, and the seconds that the file declares."""
    if not is_file(source):
        arrays = list(cast(Iterable[Any], source))
        if sample_rate is None:
            raise AudioError("channels as arrays need their sample_rate=")
        if len({len(channel) for channel in arrays}) != 1:
            raise AudioError(f"channels must be equally long, got {[len(channel) for channel in arrays]}")
        return [stream_audio(channel, sample_rate=sample_rate) for channel in arrays], None
    with open_audio(source) as file:
        count, total_s, name = file.channels, file.duration_s, file.name
    if count < 2:
        raise AudioError(f"{name}: has one channel, which cannot be split; leave the option out")
    if not isinstance(source, (str, PathLike)):
        raise AudioError(f"{name}: is read once for each channel, so it must be a path, not a file object")
    files = [stack.enter_context(open_audio(source, channel=k)) for k in range(count)]
    return [at_16_khz(file) for file in files], total_s


def at_16_khz(file: AudioFile) -> Iterator[NDArray[np.float32]]:
    """An opened file's pieces at 16 kHz."""
    resampler = Resampler(file.sample_rate)
    for piece in file:
        yield resampler.push(piece)
    yield resampler.finish()


def in_frames(channels: Sequence[Iterator[NDArray[np.float32]]]) -> Iterator[NDArray[np.float32]]:
    """Pieces of all channels, (channels, n), in whole frames until the end."""
    waiting = np.zeros((len(channels), 0), np.float32)
    for pieces in zip(*channels, strict=True):  # one file, decoded alike: as long as one another
        waiting = np.concatenate([waiting, np.stack(pieces)], axis=1)
        whole = waiting.shape[1] // FRAME * FRAME
        yield waiting[:, :whole]
        waiting = waiting[:, whole:]
    yield waiting


def powers(channels: Sequence[Iterator[NDArray[np.float32]]]) -> Iterator[NDArray[np.float64]]:
    """The mean squares of all channels' frames, (channels, n) at a time; the last one filled with zeros."""
    for samples in in_frames(channels):
        whole = np.pad(samples, ((0, 0), (0, -samples.shape[1] % FRAME)))
        yield (whole.reshape(len(samples), -1, FRAME).astype(np.float64) ** 2).mean(2)
