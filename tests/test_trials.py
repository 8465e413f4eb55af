"""Figures of trials against their definitions, and calibrations that are judged on other speakers."""

from __future__ import annotations

import numpy as np
import pytest

from diarize.errors import FormatError
from diarize.formats.trials import read_trials
from diarize.trials import Curve, cllr, left_out, min_cllr, recalibrate, regress, speakers


def drawn(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood ratios that are what they say: normal, of variance twice the mean."""
    rng = np.random.default_rng(seed)
    target = rng.random(n) < 0.3
    return rng.normal(np.where(target, 4.0, -4.0), np.sqrt(8.0)), target


def test_rates_are_what_counting_gives():
    score, target = drawn(300)
    curve = Curve(score, target)
    eer, at = curve.equal()
    accepts, rejects = (score[~target] >= at).mean(), (score[target] < at).mean()
    assert eer == pytest.approx((accepts + rejects) / 2, abs=0.02)
    costs = [(score[target] < t).mean() + 99 * (score[~target] >= t).mean() for t in score]
    assert curve.cost() == pytest.approx(min(1.0, *costs))


def test_equal_scores_cannot_be_told_apart():
    score, target = np.zeros(10), np.arange(10) >= 6  # not by their order either
    assert min_cllr(score, target) == pytest.approx(1.0)
    assert Curve(score, target).equal()[0] == 0.5


def test_cllr_by_hand():
    target = np.array([True, False, False])
    assert cllr(np.zeros(3), target) == pytest.approx(1.0)
    llr = np.log([3.0, 1 / 3, 1.0])
    assert cllr(llr, target) == pytest.approx((np.log2(4 / 3) + (np.log2(4 / 3) + 1) / 2) / 2)
    assert cllr(llr, target, np.array([5.0, 2.0, 0.0])) == pytest.approx(np.log2(4 / 3))
    assert cllr(-llr, target) > 1


def test_min_cllr_is_a_lower_bound_that_calibration_reaches():
    llr, target = drawn()
    least = min_cllr(llr, target)
    assert 0 < least < cllr(llr, target) < least + 0.02
    assert cllr(0.2 * llr + 3, target) > least + 0.1
    assert min_cllr(0.2 * llr + 3, target) == pytest.approx(least)
    assert min_cllr(np.where(target, 1.0, 0.0), target) == 0.0


def test_a_calibration_is_recovered():
    llr, target = drawn(20_000)
    scale, offset = recalibrate(0.2 * llr + 3, target)
    assert scale == pytest.approx(5, rel=0.05)
    assert offset == pytest.approx(-15, rel=0.06)
    assert recalibrate(llr, target) == pytest.approx((1, 0), abs=0.1)
    weights = np.where(target, 3.0, 0.5)  # kinds are balanced, whatever they weigh
    features = np.stack([llr, np.ones(len(llr))], 1)
    assert regress(features, target, llr, weights) == pytest.approx(regress(features, target, llr))


def test_few_trials_without_an_error_change_little():
    """They would send plain logistic regression to infinity."""
    target = np.arange(40) < 20
    llr = np.where(target, 6.0, -6.0)
    scale, offset = recalibrate(llr, target)
    assert 1 <= scale < 1.5
    assert abs(offset) < 0.1


def test_recordings_that_targets_join_are_one_speaker():
    of = speakers([0, 1, 3, 0], [1, 2, 4, 5], np.array([True, True, True, False]), 7)
    assert of.tolist() == [0, 0, 0, 1, 1, *of[5:]]
    assert set(of[5:]) == {2, 3}


def test_no_fit_has_heard_the_speakers_it_judges():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 23, 500), rng.integers(0, 23, 500)

    def fit(chosen):
        return set(a[chosen]) | set(b[chosen])

    def apply(heard, chosen):
        assert heard
        assert not heard & (set(a[chosen]) | set(b[chosen]))
        return np.ones(chosen.sum())

    assert left_out(a, b, fit, apply).tolist() == [1.0] * 500


def test_trials_are_read(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.wav").touch()
    path = tmp_path / "trials.txt"
    path.write_text("# ours\ntarget a.wav b.wav\n\n0 a.wav c.wav\nb.wav c.wav nontarget\n1\tb.wav\ta.wav\n")
    found = read_trials(path)
    assert [(t.target, t.a.name, t.b.name) for t in found] == [
        (True, "a.wav", "b.wav"),
        (False, "a.wav", "c.wav"),
        (False, "b.wav", "c.wav"),
        (True, "b.wav", "a.wav"),
    ]
    assert found[0].a == tmp_path / "a.wav"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("target a.wav", "3 fields"),
        ("target a.wav b.wav c.wav", "got 4"),
        ("same a.wav b.wav", "begin or end with target or nontarget"),
        ("target a.wav nope.wav", "no such file: .*nope.wav"),
        ("target a.wav a.wav", "compared with itself"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    for name in "ab":
        (tmp_path / f"{name}.wav").touch()
    path = tmp_path / "trials.txt"
    path.write_text(f"1 a.wav b.wav\n{line}\n")
    with pytest.raises(FormatError, match=rf"trials.txt:2: .*{said}"):
        read_trials(path)
