"""Is this the same voice: whole recordings to one embedding each, and pairs of them to a verdict.

It is diarization with two rows: the same embedder, the same score, the same threshold (law 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize import calibration
from diarize.audio import SAMPLE_RATE
from diarize.clustering.affinity import scores
from diarize.config import VerificationConfig
from diarize.engine import unit
from diarize.errors import AudioError
from diarize.result import Verdict, Voice
from diarize.stages.embedding import Embedder, repeat

MAX_PIECE = 60 * SAMPLE_RATE
"""Up to this many samples are embedded at once; longer audio in equal pieces."""

MIN_SAMPLES = SAMPLE_RATE // 10
"""Below 0.1 s there are too few feature frames for a standard deviation that means anything."""


def embed(
    embedder: Embedder, samples: NDArray[np.float32], length: int, name: str = "audio"
) -> NDArray[np.float32]:
    """One unit row (E,) float32 for all samples; beyond 60 s the weighted mean of equal pieces.

    Fewer samples than `length`, a window's, are repeated to fill it, as in diarization.
    Raises AudioError for less than 0.1 s, and for digital silence, which has no voice in it.
    """
    if len(samples) < MIN_SAMPLES:
        raise AudioError(
            f"{name}: at least {MIN_SAMPLES / SAMPLE_RATE} s of audio are needed for an embedding, "
            f"got {len(samples) / SAMPLE_RATE:.3f} s"
        )
    if not samples.any():
        raise AudioError(f"{name}: digital silence, there is no voice to embed")
    pieces = np.array_split(samples, -(-len(samples) // MAX_PIECE))
    rows = embedder([repeat(piece, length) for piece in pieces])
    if len(rows) == 1:
        row: NDArray[np.float32] = rows[0]
        return row
    weights = np.array([len(piece) for piece in pieces], np.float64)
    return unit((rows * weights[:, None]).sum(0))


def verdict(a: Voice, b: Voice, threshold: float, model: str, options: VerificationConfig) -> Verdict:
    """Compare two voices; the probability is that of the model's calibration, whatever the threshold."""
    score = float(scores(np.stack([a.embedding, b.embedding]))[0, 1])
    speech_s = min(a.speech_s, b.speech_s)
    chance = None
    if speech_s >= calibration.ENOUGH_S:
        llr = calibration.llr(model, score, a.speech_s, b.speech_s, options.shift, options.scale)
        chance = calibration.probability(llr, options.prior)
    return Verdict(score, float(threshold), chance, options.prior, speech_s)
