"""The threshold as a function, and what it decides on the golden voices with the real weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from diarize import calibration, models
from diarize.audio import SAMPLE_RATE, read_audio
from diarize.calibration import THRESHOLDS, UNKNOWN, Threshold, threshold
from diarize.engine import open_engine
from diarize.errors import ModelError
from diarize.stages.embedding import CAMPPlusEmbedder

SECONDS = [0.1, 0.5, 1.0, 1.5, 1.6, 2.0, 3.0, 4.0, 5.0, 6.0, 15.0, 60.0, 3600.0]
NAMES = [*THRESHOLDS, "campplus-en-voxceleb"]


@pytest.mark.parametrize("model", NAMES)
def test_more_speech_never_lowers_the_threshold(model: str) -> None:
    for other in SECONDS:
        for less, more in pairwise(SECONDS):
            assert threshold(model, less, other) <= threshold(model, more, other)
    assert threshold(model, 1.5, 1.5) < threshold(model, 3, 3) < threshold(model, 5, 5)


@pytest.mark.parametrize("model", NAMES)
def test_the_order_of_the_pieces_does_not_matter(model: str) -> None:
    for a in SECONDS:
        for b in SECONDS:
            assert threshold(model, a, b) == threshold(model, b, a)


@pytest.mark.parametrize("model", NAMES)
def test_it_stays_within_what_was_measured(model: str) -> None:
    measured = THRESHOLDS.get(model, UNKNOWN)
    assert -1 <= measured.short < measured.long <= 1
    for a in SECONDS:
        for b in SECONDS:
            assert measured.short <= threshold(model, a, b) <= measured.long
    assert threshold(model, 0.1, 0.2) == threshold(model, 1.5, 1.5) == measured.short
    assert threshold(model, 0, 10) == threshold(model, 10, -1) == threshold(model, 0, 0) == measured.short
    assert threshold(model, 5, 5) == threshold(model, 60, 3600) == pytest.approx(measured.long)


def test_it_is_linear_in_the_logarithm_of_the_harmonic_mean() -> None:
    rule = Threshold(short=0.2, long=0.6, short_s=1, long_s=16)
    assert rule(4, 4) == pytest.approx(0.4)
    assert rule(2, 2) == pytest.approx(0.3)
    assert rule(2.5, 10) == pytest.approx(rule(4, 4))  # 2 / (1/2.5 + 1/10) = 4
    assert rule(1.5, 1000) < rule(3.1, 3.1)  # length on one side is worth twice the short side at most


def test_the_measured_models_are_those_of_the_decision_record() -> None:
    assert set(THRESHOLDS) <= set(models.ASSETS)
    assert (threshold("campplus-zh-en", 1.5, 1.5), threshold("campplus-zh-cn", 1.5, 1.5)) == (0.35, 0.45)
    assert threshold("campplus-zh-en", 10, 10) == pytest.approx(0.55)
    assert threshold("campplus-zh-cn", 10, 10) == pytest.approx(0.65)


def test_unknown_models_get_a_value_between_the_measured_ones() -> None:
    for a in SECONDS:
        unknown = threshold("mine/embedding.bin", a, a)
        assert unknown == UNKNOWN(a, a) == threshold("campplus-en-voxceleb", a, a)
        known = [threshold(model, a, a) for model in THRESHOLDS]
        assert min(known) < unknown < max(known)


# The card's same and different speakers, and the English pair that scores highest of the different ones.
GOLDEN = [
    ("3dspk_cn_speaker1/speaker1_a_cn_16k.flac", "3dspk_cn_speaker1/speaker1_b_cn_16k.flac", True),
    ("3dspk_cn_speaker1/speaker1_a_cn_16k.flac", "3dspk_cn_speaker2/speaker2_a_cn_16k.flac", False),
    ("3dspk_en_speaker1/speaker1_a_en_16k.flac", "3dspk_en_speaker1/speaker1_b_en_16k.flac", True),
    ("3dspk_en_speaker1/speaker1_a_en_16k.flac", "3dspk_en_speaker2/speaker2_a_en_16k.flac", False),
]
SCORES = {"campplus-zh-cn": [0.6936, -0.0842, None, 0.380]}  # of the model card, and of the golden vectors


@pytest.mark.parametrize("model", list(THRESHOLDS))
def test_the_golden_voices_are_told_apart(model: str, data: Path) -> None:
    try:
        weights = models.resolve(model, offline=True)
    except ModelError:
        pytest.skip(f"the weights of {model} are not in the cache; run: diarize models pull {model}")
    folder = data / "speakers" / "zh_campplus"
    if not folder.is_dir():
        pytest.skip(f"no golden voices at {folder}")
    embedder = CAMPPlusEmbedder(open_engine(weights, device="cpu"))
    for (a, b, same), known in zip(GOLDEN, SCORES.get(model, [None] * len(GOLDEN)), strict=True):
        first, second = read_audio(folder / a), read_audio(folder / b)
        score = float(np.dot(embedder([first])[0], embedder([second])[0]))
        if known is not None:
            assert score == pytest.approx(known, abs=2e-3)
        at = calibration.threshold(model, len(first) / SAMPLE_RATE, len(second) / SAMPLE_RATE)
        assert (score >= at) is same, f"{a} and {b}: {score:.3f} against {at:.3f}"
