"""Kaldi's log-mel filterbank: what the speaker networks read.

25 ms povey windows every 10 ms, pre-emphasis .97, no dither, samples in [-1, 1] (not scaled to
16 bits: the mean that is removed afterwards takes any constant gain with it). In NumPy, so that nothing
heavier is loaded for it; torchaudio's `compliance.kaldi.fbank` is what the tests hold it against.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE

FRAME_LENGTH = 25 * SAMPLE_RATE // 1000
FRAME_SHIFT = 10 * SAMPLE_RATE // 1000
FFT = 512
PREEMPHASIS = np.float32(0.97)
FLOOR = np.finfo(np.float32).eps
"""Energies below this are this, so that silence has a logarithm."""

MEAN_FRAMES = 301
"""Length of the moving mean (3 s) that stands for the mean over time where the network runs densely."""


def num_frames(num_samples: int) -> int:
    """Frames that lie entirely inside `num_samples` samples."""
    return max(0, 1 + (num_samples - FRAME_LENGTH) // FRAME_SHIFT)


def on_frames(sample: int) -> int:
    """The first feature frame that does not begin before a sample, as a sample."""
    return -(-sample // FRAME_SHIFT) * FRAME_SHIFT


def log_mel(samples: NDArray[np.float32], bins: int = 80) -> NDArray[np.float32]:
    """Log-mel features with their mean over time removed.

    samples : (n,) float32 at 16 kHz, in [-1, 1]
    returns : (T, bins) float32, T = `num_frames(n)`; nothing is padded
    """
    features = filterbank(samples, bins)
    return np.asarray(features - features.mean(0), np.float32) if len(features) else features


def log_mel_moving(samples: NDArray[np.float32], bins: int = 80) -> NDArray[np.float32]:
    """As `log_mel`, less the mean of the 3 s around each frame, of the frames that are there."""
    features = filterbank(samples, bins)
    sums = np.concatenate([np.zeros((1, bins)), np.cumsum(features, axis=0, dtype=np.float64)])
    around = MEAN_FRAMES // 2
    first = np.maximum(np.arange(len(features)) - around, 0)
    last = np.minimum(np.arange(len(features)) + around + 1, len(features))
    means = (sums[last] - sums[first]) / (last - first)[:, None]
    return np.asarray(features - means, np.float32)


def filterbank(samples: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Log-mel energies, (T, bins) float32."""
    if num_frames(len(samples)) == 0:
        return np.zeros((0, bins), np.float32)
    samples = np.ascontiguousarray(samples, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH)[::FRAME_SHIFT]
    frames = frames - frames.mean(1, keepdims=True)
    frames[:, 1:] -= PREEMPHASIS * frames[:, :-1]  # the right side is whole before anything is written
    frames[:, 0] *= 1 - PREEMPHASIS
    frames *= povey_window()
    spectrum = np.fft.rfft(frames, FFT, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    energies = (sparse_mel_filters(bins) @ power.T).T
    return np.asarray(np.log(np.maximum(energies, FLOOR)), np.float32)


@cache
def povey_window() -> NDArray[np.float32]:
    """Kaldi's own window, (400,): a Hann window to the power of .85."""
    phase = 2 * np.pi * np.arange(FRAME_LENGTH) / (FRAME_LENGTH - 1)
    return np.asarray((0.5 - 0.5 * np.cos(phase)) ** 0.85, np.float32)


@cache
def mel_filters(bins: int, low: float = 20.0) -> NDArray[np.float32]:
    """Triangular filters, evenly spaced in mel from `low` Hz to 8 kHz: (257, bins) float32."""
    ends = np.linspace(mel(low), mel(SAMPLE_RATE / 2), bins + 2)
    left, centre, right = ends[:-2], ends[1:-1], ends[2:]
    at = mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT)[:, None]
    rising, falling = (at - left) / (centre - left), (right - at) / (right - centre)
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)), np.float32)


@cache
def sparse_mel_filters(bins: int) -> Any:
    """The filters, (bins, 257), as the sparse matrix that they are: no frequency is in more than two.

    A dense product would wake the threads of the BLAS, which then spin on cores that the network needs.
    """
    from scipy.sparse import csr_array

    return csr_array(mel_filters(bins).T)


def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Kaldi's mel scale."""
    return np.asarray(1127.0 * np.log(1 + np.asarray(hertz) / 700.0))
