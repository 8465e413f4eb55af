"""Kaldi's log-mel filterbank, as torchaudio computes it: what the speaker networks read.

25 ms povey windows every 10 ms, pre-emphasis .97, no dither, samples in [-1, 1] (not scaled to
16 bits: the mean that is removed afterwards takes any constant gain with it).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE

FRAME_LENGTH = 25 * SAMPLE_RATE // 1000
FRAME_SHIFT = 10 * SAMPLE_RATE // 1000


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
    import torch
    from torchaudio.compliance import kaldi

    if num_frames(len(samples)) == 0:
        return np.zeros((0, bins), np.float32)
    wave = torch.from_numpy(np.ascontiguousarray(samples, np.float32)).unsqueeze(0)
    features = kaldi.fbank(wave, num_mel_bins=bins, sample_frequency=SAMPLE_RATE, dither=0.0)
    features = features - features.mean(0)
    return np.asarray(features.numpy(), np.float32)
