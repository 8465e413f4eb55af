"""What the segmentation network says: where its frames lie, and which voices its classes are.

Apart from the network (`diarize.networks.segmentation`), which takes PyTorch.
"""

from __future__ import annotations

STEP = 270
"""Samples from one frame to the next (16.875 ms): strides of 10, 3, 3 and 3."""

RECEPTIVE_FIELD = 991
"""Samples that the convolutions of one frame reach (61.9 ms)."""

FIRST_CENTRE = RECEPTIVE_FIELD // 2
"""The sample in the middle of frame 0; that of frame i is ``FIRST_CENTRE + i * STEP``."""

MIN_SAMPLES = RECEPTIVE_FIELD + STEP
"""The shortest input, of two frames: the instance norm of a single one is undefined."""

NUM_SPEAKERS = 3
"""Speakers that an input is divided among."""

POWERSET = (
    (0, 0, 0),
    (1, 0, 0),
    (0, 1, 0),
    (0, 0, 1),
    (1, 1, 0),
    (1, 0, 1),
    (0, 1, 1),
)
"""Who speaks in each of the 7 classes, (7, 3): nobody, one of three, or two of them at once."""


def num_frames(num_samples: int) -> int:
    """Frames that the network makes of so many samples."""
    return max(0, (num_samples - RECEPTIVE_FIELD) // STEP + 1)
