"""From which score two pieces of speech are one speaker: a function of the model and of how long they are.

Measured per model at two lengths, where as many impostors pass as targets fail (equal error rate;
`benchmarks/verification.py` measures it, `docs/decisions/` has the figures). Between and beyond
them the threshold is linear in the logarithm of the length and clipped to the measured range: more
speech makes a speaker's scores higher and steadier.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Threshold:
    """Equal-error thresholds measured on pairs of `short_s` and of about `long_s` of audio each."""

    short: float
    long: float
    short_s: float = 1.5
    long_s: float = 6.0

    def __call__(self, seconds_a: float, seconds_b: float) -> float:
        """The threshold for two pieces of these lengths; the shorter one weighs more (harmonic mean)."""
        if seconds_a <= 0 or seconds_b <= 0:
            return self.short
        seconds = 2 / (1 / seconds_a + 1 / seconds_b)
        share = log(seconds / self.short_s) / log(self.long_s / self.short_s)
        return self.short + (self.long - self.short) * min(1.0, max(0.0, share))


THRESHOLDS = {
    "campplus-zh-en": Threshold(short=0.49, long=0.56),
    "campplus-zh-cn": Threshold(short=0.54, long=0.65),
}

UNKNOWN = Threshold(short=0.5, long=0.6)
"""For checkpoints that were never measured, `campplus-en-voxceleb` among them."""


def threshold(model: str, seconds_a: float, seconds_b: float) -> float:
    """The score from which two pieces of speech count as one speaker, by `model` (a name)."""
    return THRESHOLDS.get(model, UNKNOWN)(seconds_a, seconds_b)
