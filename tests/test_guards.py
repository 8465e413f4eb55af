"""`diarize._guards`: what chance would do as well is not taken."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from fakes import (
    a_score,
)

from diarize import Config
from diarize._guards import FOLDS, Trial, gain, lowest_unseen, middle, needed, parts


def a_trial(*wrong_s: float, config: Config | None = None) -> Trial:
    return Trial("axis", "value", config or Config(), tuple(map(a_score, wrong_s)))


def test_a_gain_is_of_sums_and_has_an_interval():
    before = [a_score(10, 100), a_score(60, 300), *[a_score(20, 100)] * 4]
    after = [a_score(9, 100), a_score(56, 300), *[a_score(19, 100)] * 4]
    found = gain(before, after)
    assert found.der == pytest.approx((150 - 141) / 800)
    assert 0.009 < found.low < 0.01 < found.der < found.high < 0.0135
    assert found == gain(before, after)  # seeded
    assert gain(after, before).low == pytest.approx(-found.high)
    assert gain(before, before).low is None
    wider = gain(before * 2, after * 2, comparisons=20), gain(before * 2, after * 2)
    assert wider[0].low < wider[1].low
    assert wider[0].high > wider[1].high


def test_seconds_are_added_first_in_the_interval_too():
    """Short recordings gain much of their own, a long one loses more seconds than they gain."""
    before = [*[a_score(5, 10)] * 10, *[a_score(100, 1000)] * 2]
    after = [*[a_score(2, 10)] * 10, *[a_score(150, 1000)] * 2]
    found = gain(before, after)
    assert found.low < found.der < 0
    assert found.low == pytest.approx(-0.05, abs=0.02)


def test_an_interval_is_students_where_noise_is_normal():
    from scipy.stats import t

    rng = np.random.default_rng(1)
    errors = rng.normal(20, 1, 12)
    gains = rng.normal(1, 2, 12)
    found = gain([a_score(e) for e in errors], [a_score(e - g) for e, g in zip(errors, gains, strict=True)])
    low, high = t.interval(0.95, 11, gains.mean() / 100, gains.std(ddof=1) / 100 / np.sqrt(12))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_few_recordings_have_no_interval():
    assert [needed(n) for n in (1, 2, 4, 6, 7, 45)] == [6, 7, 8, 8, 9, 11]
    for n, comparisons in ((5, 1), (7, 6), (1, 1)):
        assert gain([a_score(20)] * n, [a_score(10)] * n, comparisons).low is None
    assert gain([a_score(20)] * 6, [a_score(10)] * 6).sure
    silent = [a_score(0, 0.0)] * 5  # without speech there is nothing to agree on
    assert gain([a_score(20)] * 5 + silent, [a_score(10)] * 5 + silent).low is None


@pytest.mark.parametrize(
    ("wrong", "now", "chosen"),
    [
        ((20, 19, 18, 19, 20), 0, 2),
        ((20, 18, 18.05, 18, 20), 0, 2),  # the middle of a plateau
        ((20, 18.05, 18, 20, 21), 4, 2),  # of two the nearer
        ((20, 18, 18.05, 20, 21), 0, 1),
        ((18.05, 19, 18, 19, 20), 0, 0),  # as good as the best: it stays
        ((20, 18.05, 19, 18, 20), 0, 3),  # not beside the best
        ((20, 18, 20, 18, 20), 2, 1),
        ((18, 18, 18, 18, 18), 3, 3),
        ((20, 18, 18, 18, 18), 0, 2),
        ((20, 18.11, 18, 18.09, 20), 0, 2),
    ],
)
def test_a_plateau_rather_than_a_peak(wrong, now, chosen):
    row = [a_trial(w) for w in wrong]
    assert row.index(middle(row, now, numbers=True)) == chosen


def test_what_is_no_number_has_no_middle():
    row = [a_trial(w) for w in (20, 18, 18, 18)]
    assert row.index(middle(row, 0, numbers=False)) == 1
    assert row.index(middle(row, 3, numbers=False)) == 3


def test_the_lowest_der_on_what_was_not_seen_by_hand():
    trials = [a_trial(10, 10, 10), a_trial(2, 12, 12), a_trial(12, 2, 12)]
    # without the first recording: 20, 24, 14; the third, which has 12 on it. Without the second: 20, 14, 24;
    # the second, 12. Without the third: 20, 14, 14; the second came first, 12
    assert lowest_unseen(trials).der == pytest.approx(36 / 300)
    assert lowest_unseen([a_trial(10, 20)]).der == pytest.approx(30 / 200)
    assert lowest_unseen([a_trial(10), a_trial(5)]) is None


def test_many_recordings_are_left_out_some_at_a_time():
    assert parts(1) == []
    assert [list(part) for part in parts(3)] == [[0], [1], [2]]
    many = parts(2 * FOLDS + 1)
    assert len(many) == FOLDS
    assert sorted(itertools.chain(*many)) == list(range(2 * FOLDS + 1))
    trials = [a_trial(*[10.0] * 50), a_trial(*[9.0] * 50)]
    assert lowest_unseen(trials).der == pytest.approx(0.09)
