"""Threshold and probability as functions, and what they decide on the golden voices with the real weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fakes import ExactEmbedder, SharpVad, silence, speech

from diarize import Config, Diarizer, Verdict, Voice, calibration, models
from diarize.audio import SAMPLE_RATE, read_audio
from diarize.calibration import ENOUGH_S, THRESHOLDS, UNKNOWN, Threshold, llr, probability, threshold
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
    least = threshold(model, ENOUGH_S, ENOUGH_S)
    for a in SECONDS:
        for b in SECONDS:
            assert least <= threshold(model, a, b) <= measured.long
    assert threshold(model, 1.5, 1.5) == measured.short
    assert threshold(model, 0.1, 0.2) == threshold(model, 0.9, 0.9) == least < measured.short
    assert threshold(model, 0, 10) == threshold(model, 10, -1) == threshold(model, 0, 0) == least
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


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("seconds", [(1.0, 1.0), (1.5, 9.0), (7.0, 7.0)])
def test_the_probability_is_one_half_at_the_threshold_and_rises(
    model: str, seconds: tuple[float, float]
) -> None:
    at = threshold(model, *seconds)
    assert probability(llr(model, at, *seconds)) == 0.5
    assert probability(llr(model, at + 0.1, *seconds, shift=0.1, scale=3.0)) == pytest.approx(0.5)
    scores = np.linspace(-1, 1, 41)
    found = [probability(llr(model, score, *seconds)) for score in scores.tolist()]
    assert all(less < more for less, more in pairwise(found))
    assert 0 <= found[0] < 0.01
    assert 0.99 < found[-1] <= 1
    surer = [probability(llr(model, score, *seconds, scale=2.0)) for score in scores.tolist()]
    assert all(abs(two - 0.5) >= abs(one - 0.5) for one, two in zip(found, surer, strict=True))


def test_the_prior_is_that_of_bayes() -> None:
    assert probability(0.0, prior=0.1) == pytest.approx(0.1)
    assert probability(np.log(9.0), prior=0.1) == pytest.approx(0.5)
    assert probability(-1e6) == 0.0
    assert probability(1e6, prior=0.01) == 1.0


def voices(score: float, *seconds: float) -> list[Voice]:
    """Two voices whose cosine is `score`."""
    rows = np.array([[1, 0], [score, np.sqrt(1 - score**2)]], np.float32)
    return [Voice(row, 10.0, s) for row, s in zip(rows, seconds, strict=True)]


def fakes(**verification: float) -> Diarizer:
    return Diarizer(
        Config.from_dict({"verification": verification}), embedder=ExactEmbedder(), vad=SharpVad()
    )


def test_a_verdict_agrees_with_its_probability() -> None:
    for diarizer in (fakes(), fakes(shift=-0.2, scale=0.5)):
        for score in np.linspace(-0.9, 0.9, 37).tolist():
            verdict = diarizer.compare(*voices(score, 2.0, 5.0))
            assert verdict.same == (verdict.probability >= 0.5)
    shifted = fakes(shift=-0.2, scale=0.5).compare(*voices(0.3, 2.0, 5.0))
    plain = fakes().compare(*voices(0.3, 2.0, 5.0))
    assert shifted.threshold == pytest.approx(plain.threshold - 0.2)
    assert shifted.same
    assert not plain.same
    # The probability is of the voices, not of a threshold that somebody sets for one call.
    assert fakes().compare(*voices(0.3, 2.0, 5.0), threshold=0.1).probability == plain.probability
    rare = fakes(prior=0.01).compare(*voices(0.5, 2.0, 5.0))
    assert rare.same
    assert rare.probability < 0.5
    assert str(rare).endswith(f"probability {rare.probability:.3f} (prior 0.01)")


def test_diarization_uses_the_same_threshold() -> None:
    diarizer = fakes(shift=0.07)
    assert diarizer.models.threshold(2.0, 3.0) == diarizer.compare(*voices(0.3, 2.0, 3.0)).threshold
    assert diarizer.threshold(2.0, 3.0) == pytest.approx(threshold("campplus-zh-en", 2.0, 3.0) + 0.07)


def test_too_little_speech_is_said() -> None:
    verdict = fakes().compare(*voices(0.9, 5.0, 0.97))
    assert not verdict.enough
    assert verdict.probability is None
    assert verdict.same  # law 3: the threshold decides, whatever is said beside it
    assert str(verdict).startswith(
        "only 0.9 s of speech: not enough to tell, 1 s on both sides is; score 0.900 >="
    )
    assert fakes().compare(*voices(0.9, 5.0, 1.0)).enough
    assert str(fakes().compare(*voices(0.9, 5.0, 0.0))).startswith("no speech: not enough to tell")
    assert str(Verdict(0.7, 0.5)) == "same speaker: score 0.700 >= threshold 0.500"  # of unknown length


def test_speech_is_counted_not_audio() -> None:
    rng = np.random.default_rng(0)
    samples = np.concatenate([silence(3.2), speech(0.2, 0.64, rng), silence(3.2)])
    diarizer = Diarizer(Config.from_dict({"vad": {"pad_s": 0.0}}), embedder=ExactEmbedder(), vad=SharpVad())
    voice = diarizer.voice(samples, sample_rate=SAMPLE_RATE)
    assert (voice.seconds, voice.speech_s) == (7.04, pytest.approx(0.64, abs=0.04))
    cut = diarizer.voice(samples, sample_rate=SAMPLE_RATE, vad=True)
    assert cut.seconds == cut.speech_s == voice.speech_s
    assert not diarizer.compare(voice, voice).enough


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
    embedder = CAMPPlusEmbedder(open_engine(weights, device="cpu", precision="f32"))
    for (a, b, same), known in zip(GOLDEN, SCORES.get(model, [None] * len(GOLDEN)), strict=True):
        first, second = read_audio(folder / a), read_audio(folder / b)
        score = float(np.dot(embedder([first])[0], embedder([second])[0]))
        if known is not None:
            assert score == pytest.approx(known, abs=2e-3)
        at = calibration.threshold(model, len(first) / SAMPLE_RATE, len(second) / SAMPLE_RATE)
        assert (score >= at) is same, f"{a} and {b}: {score:.3f} against {at:.3f}"
