"""The one resampler: any rate to 16 kHz by a fixed filter on absolute sample indices.

Output sample ``m`` lies at input time ``t = m * rate / 16000`` and is the sum of the inputs around
``t``, weighted by a Kaiser-windowed sinc centred on ``t`` (zero phase: nothing is shifted). Time is
counted in integers from the first sample of the stream, and outputs are computed in tiles of
160 (10 ms) whose place and shape never depend on how the input was cut, so neither do their bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.errors import AudioError, StreamFinished

SAMPLE_RATE = 16_000
MIN_RATE, MAX_RATE = 1_000, 768_000

_TILE = 160  # outputs computed at once
_PASSBAND = 0.9  # of the lower Nyquist frequency; from there to the Nyquist the filter falls
_STOPBAND_DB = 84.0
_MAX_TABLE = 8_000_000  # filter weights held, 32 MB; only odd rates above 48 kHz come near

Samples = NDArray[np.float32]


def checked_rate(sample_rate: Any) -> int:
    """Return the rate as an int, or raise `AudioError` unless it is a whole number from 1000 to 768000."""
    number = isinstance(sample_rate, int | float | np.integer | np.floating) and not isinstance(
        sample_rate, bool
    )
    if not number or not MIN_RATE <= sample_rate <= MAX_RATE or sample_rate != int(sample_rate):
        raise AudioError(
            f"sample_rate must be a whole number of Hz from {MIN_RATE} to {MAX_RATE}, got {sample_rate!r}; "
            "44.1 kHz is sample_rate=44100"
        )
    return int(sample_rate)


@dataclass(frozen=True)
class _Filter:
    """The weights for one rate.

    Attributes
    ----------
    up, down : 16000 / rate in lowest terms.
    half : inputs used on each side of an output's time; a multiple of 8.
    weights : (phases + 1, 2 * half) float32; row ``p`` serves the outputs whose time lies
        ``p / phases`` of an input sample after input ``i``, and weighs inputs ``i - half + 1 .. i + half``.
        ``phases`` is ``up``, which is exact, unless that many rows would not fit in memory.
    repeating : what `rows` gives, where it is the same for every tile.
    """

    up: int
    down: int
    half: int
    weights: Samples
    repeating: tuple[slice | NDArray[np.intp], Samples] | None = None

    def rows(self, part: int) -> tuple[NDArray[np.intp], Samples]:
        """For each output of a tile that starts ``part / up`` after an input: its input, its weights."""
        index, phase = np.divmod(part + np.arange(_TILE) * self.down, self.up)
        phases = len(self.weights) - 1
        if phases != self.up:
            phase = (phase * phases + self.up // 2) // self.up
        return index, self.weights[phase]


@lru_cache(maxsize=4)
def _filter(rate: int) -> _Filter:
    """Design the filter (Kaiser, in Oppenheim and Schafer, Discrete-Time Signal Processing, 7.5)."""
    from scipy.special import i0

    divisor = math.gcd(SAMPLE_RATE, rate)
    up, down = SAMPLE_RATE // divisor, rate // divisor
    nyquist = min(SAMPLE_RATE, rate) / rate  # the lower one, as a fraction of the input's
    order = (_STOPBAND_DB - 7.95) / (2.285 * math.pi * (1 - _PASSBAND) * nyquist)
    half = 8 * math.ceil(order / 16)
    beta = 0.1102 * (_STOPBAND_DB - 8.7)
    cutoff = nyquist * (1 + _PASSBAND) / 2

    phases = min(up, _MAX_TABLE // (2 * half))
    weights = np.empty((phases + 1, 2 * half), np.float32)
    distance = np.arange(half - 1, -half - 1, -1)
    for first in range(0, phases + 1, 256):  # in parts, so that the float64 copies stay small
        rows = np.arange(first, min(first + 256, phases + 1))
        x = rows[:, None] / phases + distance
        window = i0(beta * np.sqrt(np.maximum(0.0, 1 - (x / half) ** 2)))
        kernel = window * np.sinc(cutoff * x)
        weights[rows] = kernel / kernel.sum(axis=1, keepdims=True)  # a constant stays exactly constant
    weights.setflags(write=False)
    fir = _Filter(up, down, half, weights)
    if up == 1:  # evenly spaced windows need no copy
        return replace(fir, repeating=(slice(None, None, down), fir.rows(0)[1]))
    return replace(fir, repeating=fir.rows(0)) if _TILE % up == 0 else fir


@dataclass
class ResamplerState:
    """Where a stream stands; ``buffer[:filled]`` holds the inputs from number ``first`` on."""

    buffer: Samples
    first: int = 0
    filled: int = 0
    received: int = 0
    emitted: int = 0
    finished: bool = False


class Resampler:
    """Resample a stream at ``sample_rate`` Hz to 16 kHz.

    The output depends on the samples alone, bit for bit, not on how they were pushed. From n
    inputs come ``ceil(n * 16000 / sample_rate)`` outputs. Flat within 0.01 dB up to 90 % of the
    lower Nyquist frequency, more than 80 dB down from that frequency on. Outputs trail the input by
    up to `look_ahead`. At 16 kHz samples pass unchanged. Memory is bounded by about a second of input.

    sample_rate : of the input, Hz

    Raises
    ------
    AudioError
        The rate is not a whole number from 1000 to 768000.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = checked_rate(sample_rate)
        self._filter = None if self.sample_rate == SAMPLE_RATE else _filter(self.sample_rate)
        self._step = max(1, self.sample_rate // 4)  # inputs taken in at once, which bounds the memory
        before = self._filter.half if self._filter else 0  # silence before the first sample
        self.state = ResamplerState(np.zeros(4096, np.float32), first=-before, filled=before)

    @property
    def look_ahead(self) -> int:
        """Output samples (16 kHz) by which outputs may trail the newest input: filter and tile."""
        if self._filter is None:
            return 0
        return math.ceil(self._filter.half * self._filter.up / self._filter.down) + _TILE

    def push(self, samples: Samples) -> Samples:
        """Take the next inputs, (n,) float32 as `as_samples` returns them; return what is ready, (m,)."""
        state = self.state
        if state.finished:
            raise StreamFinished("this resampler")
        if self._filter is None:
            state.received += len(samples)
            return np.array(samples, np.float32)
        ready: list[Samples] = []
        for start in range(0, len(samples), self._step):
            piece = samples[start : start + self._step]
            self._append(piece)
            state.received += len(piece)
            ready += self._tiles(self._filter)
        return _joined(ready)

    def finish(self) -> Samples:
        """Return the tail, (m,) float32; after that the resampler takes no more."""
        state = self.state
        if state.finished:
            raise StreamFinished("this resampler")
        state.finished = True
        if self._filter is None:
            return _joined([])
        missing = -(-state.received * SAMPLE_RATE // self.sample_rate) - state.emitted
        ready: list[Samples] = []
        silence = np.zeros(self._filter.half + 1, np.float32)
        while _TILE * len(ready) < missing:
            self._append(silence)
            ready += self._tiles(self._filter)
        state.buffer = silence[:0]
        return _joined(ready)[:missing]

    def _append(self, piece: Samples) -> None:
        state = self.state
        end = state.filled + len(piece)
        if end > len(state.buffer):
            grown = np.empty(2 * end, np.float32)
            grown[: state.filled] = state.buffer[: state.filled]
            state.buffer = grown
        state.buffer[state.filled : end] = piece
        state.filled = end

    def _tiles(self, fir: _Filter) -> list[Samples]:
        """Compute every tile whose inputs are all there, then forget the inputs no tile needs."""
        state = self.state
        ready: list[Samples] = []
        while True:
            whole, part = divmod(state.emitted * fir.down, fir.up)
            start = whole - fir.half + 1 - state.first
            reach = (part + (_TILE - 1) * fir.down) // fir.up + 1
            if start + reach + 2 * fir.half - 1 > state.filled:
                break
            windows = np.ndarray((reach, 2 * fir.half), np.float32, state.buffer, 4 * start, (4, 4))
            index, rows = fir.repeating or fir.rows(part)
            # einsum, not matmul: BLAS may sum in an order that depends on its threads.
            ready.append(np.einsum("ij,ij->i", windows[index], rows))
            state.emitted += _TILE
        if start > state.filled // 2:
            kept = state.filled - start
            state.buffer[:kept] = state.buffer[start : state.filled].copy()
            state.filled = kept
            state.first += start
        return ready


def _joined(pieces: list[Samples]) -> Samples:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
