"""From which score two pieces of speech are one speaker, and how sure that is: by model and durations.

The threshold is measured per model where as many impostors pass as targets fail (equal error rate), on
pairs of 1.5 s, of 3 s, of whole utterances and of 1.5 s with a whole: `benchmarks/verification.py` measures
it, `docs/decisions/0002-verification-thresholds.md` has the figures. More speech makes scores higher and
steadier: the threshold rises with the logarithm of the length up to `long_s`, and stays. How far a score
lies from it, times a slope, is the log-likelihood ratio, whose zero is the threshold
(`docs/decisions/0006-verification-calibration.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

ENOUGH_S = 1.0
"""Seconds of speech that both sides need; with less, a verdict says that it cannot tell."""


@dataclass(frozen=True)
class Threshold:
    """Thresholds for pairs of `short_s` and of at least `long_s` of speech each, and the line through both.

    The line goes on below `short_s`, down to `least_s`, as what is shorter is judged.
    """

    short: float
    long: float
    short_s: float = 1.5
    long_s: float = 5.0
    least_s: float = ENOUGH_S

    def __call__(self, seconds_a: float, seconds_b: float) -> float:
        """The threshold for two pieces of these lengths; the shorter one weighs more (harmonic mean)."""
        seconds = 2 / (1 / seconds_a + 1 / seconds_b) if seconds_a > 0 and seconds_b > 0 else 0.0
        share = log(max(seconds, self.least_s) / self.short_s) / log(self.long_s / self.short_s)
        return self.short + (self.long - self.short) * min(1.0, share)


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


SLOPE = 25.0
"""Natural log-likelihood ratio of one speaker to two, for each unit of score beyond the threshold."""

UNKNOWN_SLOPE = 15.0
"""Of models that were never measured: flatter, as their threshold is a guess."""


def slope(model: str) -> float:
    """What a unit of score beyond the threshold is worth, by `model` (a name)."""
    return SLOPE if model in THRESHOLDS else UNKNOWN_SLOPE


def llr(
    model: str, score: float, seconds_a: float, seconds_b: float, shift: float = 0.0, scale: float = 1.0
) -> float:
    """Natural log-likelihood ratio of one speaker to two, for a score and seconds of speech.

    It is 0 at the threshold.

    shift, scale : what `diarize calibrate` found, added to the threshold and multiplying the slope
    """
    return scale * slope(model) * (score - threshold(model, seconds_a, seconds_b) - shift)


def probability(llr: float, prior: float = 0.5) -> float:
    """The probability of one speaker, in [0, 1], where it was `prior`, 0 < prior < 1, before listening."""
    odds = llr + log(prior / (1 - prior))
    return 1 / (1 + exp(-odds)) if odds > -700 else 0.0
