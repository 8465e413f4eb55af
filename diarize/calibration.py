"""From which score two pieces of speech are one speaker: a function of the model and of how long they are.

Measured per model where as many impostors pass as targets fail (equal error rate), on pairs of 1.5 s, of
3 s, of whole utterances and of 1.5 s with a whole: `benchmarks/verification.py` measures it,
`docs/decisions/0002-verification-thresholds.md` has the figures. More speech makes scores higher and
steadier: the threshold rises with the logarithm of the length from `short_s` to `long_s`, and is clipped
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Threshold:
    """Thresholds for pairs of at most `short_s` and of at least `long_s` of audio each."""

    short: float
    long: float
    short_s: float = 1.5
    long_s: float = 5.0

    def __call__(self, seconds_a: float, seconds_b: float) -> float:
        """The threshold for two pieces of these lengths; the shorter one weighs more (harmonic mean)."""
        if seconds_a <= 0 or seconds_b <= 0:
            return self.short
        seconds = 2 / (1 / seconds_a + 1 / seconds_b)
        share = log(seconds / self.short_s) / log(self.long_s / self.short_s)
        return self.short + (self.long - self.short) * min(1.0, max(0.0, share))


THRESHOLDS = {
    "campplus-zh-en": Threshold(short=0.35, long=0.55),
    # The model card of campplus-zh-cn publishes .31; here that accepts a third of the impostors on 1.5 s
    # windows and two thirds on whole utterances.
    "campplus-zh-cn": Threshold(short=0.45, long=0.65),
}

UNKNOWN = Threshold(short=0.4, long=0.6)
"""For checkpoints that were never measured, `campplus-en-voxceleb` among them: between the measured ones."""


def threshold(model: str, seconds_a: float, seconds_b: float) -> float:
    """The score from which two pieces of speech count as one speaker, by `model` (a name)."""
    return THRESHOLDS.get(model, UNKNOWN)(seconds_a, seconds_b)
