"""The scorer, on cases that are worked out by hand."""

from __future__ import annotations

import builtins
import math
import re
from dataclasses import FrozenInstanceError

import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from pyannote.core import Timeline
from scoring_cases import part, parts_of, said

from diarize.errors import ConfigError, DiarizeError
from diarize.scoring import CONVENTIONS, Convention, aggregate, score, score_under


def test_the_parts_of_a_small_case():
    reference = said((0, 10, "A"), (10, 20, "B"))
    hypothesis = said((0, 8, "x"), (8, 12, "y"), (13, 20, "y"), (20, 21, "x"))
    result = score(reference, hypothesis)
    assert parts_of(result) == pytest.approx((20, 1, 1, 2))
    assert (result.der, result.miss, result.false_alarm, result.confusion) == pytest.approx(
        (0.2, 0.05, 0.05, 0.1)
    )
    assert (result.num_reference_speakers, result.num_hypothesis_speakers) == (2, 2)
    assert result.exact_count
    assert result.jer == pytest.approx(((1 - 8 / 11) + (1 - 9 / 12)) / 2)
    assert result.uri == "m"
    with pytest.raises(FrozenInstanceError):
        result.miss_s = 0.0


def test_the_collar_is_on_each_side():
    reference, hypothesis = said((1, 3, "A")), said((1.25, 2.75, "x"))
    assert score(reference, hypothesis, collar_s=0.2).miss_s == pytest.approx(0.1)
    lenient = score(reference, hypothesis, collar_s=0.25)
    assert parts_of(lenient) == pytest.approx((1.5, 0, 0, 0))
    assert lenient.speech_s == pytest.approx(2)
    assert lenient.jer == score(reference, hypothesis).jer


def test_overlap_scored_or_not():
    reference, hypothesis = said((0, 10, "A"), (8, 12, "B")), said((0, 10, "x"), (10, 12, "y"))
    assert parts_of(score(reference, hypothesis)) == pytest.approx((14, 2, 0, 0))
    assert parts_of(score(reference, hypothesis, skip_overlap=True)) == pytest.approx((10, 0, 0, 0))


def test_only_the_uem_is_scored():
    reference, hypothesis = said((0, 10, "A"), (20, 30, "B")), said((0, 5, "x"), (40, 50, "y"))
    result = score(reference, hypothesis, uem=part((0, 6), (4, 10)))
    assert parts_of(result) == pytest.approx((10, 5, 0, 0))
    assert (result.num_reference_speakers, result.num_hypothesis_speakers) == (1, 1)


def test_without_a_uem_all_is_scored_from_zero_to_the_last_end():
    reference, hypothesis = said((5, 10, "A")), said((1, 4, "x"), (5, 12, "y"))
    assert parts_of(score(reference, hypothesis)) == pytest.approx((5, 0, 5, 0))


def test_names_and_order_of_speakers_do_not_matter():
    reference = said((0, 3, "1"), (3, 7, "2"), (7, 12, "3"))
    hypothesis = said((0, 3, "2"), (3, 7, "3"), (7, 12, "1"))
    assert score(reference, hypothesis).der == 0


NOTHING, SOMETHING = said(), said((0, 3, "A"))


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
@pytest.mark.parametrize(
    ("reference", "hypothesis", "uem", "der", "jer", "exact"),
    [
        (NOTHING, NOTHING, None, 0, 0, True),
        (NOTHING, SOMETHING, None, 1, 0, False),
        (SOMETHING, NOTHING, None, 1, 1, False),
        (SOMETHING, SOMETHING, part((5, 6)), 0, 0, True),
        (SOMETHING, SOMETHING, Timeline(), 0, 0, True),
    ],
)
def test_nothing_to_divide_by(convention, reference, hypothesis, uem, der, jer, exact):
    result = score_under([convention], reference, hypothesis, uem=uem)[0]
    assert (result.der, result.jer, result.exact_count) == (der, jer, exact)
    assert result.miss + result.false_alarm + result.confusion == der
    assert all(math.isfinite(value) for value in parts_of(result))


@pytest.mark.parametrize("collar", [-0.1, math.nan, math.inf])
def test_a_collar_is_a_length(collar):
    with pytest.raises(ConfigError, match=r"collar_s must be >= 0 \(seconds on each side"):
        score(SOMETHING, SOMETHING, collar_s=collar)


def test_many_recordings_are_summed_before_they_are_divided():
    long = score(said((0, 90, "A"), (90, 100, "B")), said((0, 90, "x")))
    short = score(said((0, 1, "A")), said((0, 1, "x"), (1, 3, "y")))
    silent = score(NOTHING, said((0, 1, "x")))
    both = aggregate([long, short, silent])
    assert parts_of(both) == pytest.approx((101, 10, 3, 0))
    assert both.der == pytest.approx(13 / 101)
    assert both.jer == pytest.approx(1 / 3)
    assert (both.num_recordings, both.num_counted, both.num_exact) == (
        3,
        1,
        0,
    )  # two hold under 2 s of speech
    assert both.exact_count == 0
    assert aggregate([short]).exact_count == 0
    assert aggregate([silent]).der == 1


def test_two_seconds_of_speech_are_counted_whatever_the_convention():
    reference = said((0, 1, "A"), (1, 2, "B"))
    scores = score_under(CONVENTIONS, reference, reference)
    assert [aggregate([s]).num_counted for s in scores] == [1, 1, 1, 1]


def test_conventions_are_not_mixed():
    with pytest.raises(
        ConfigError, match=r"share one convention, got collar 0, overlap scored; collar 0\.25 s a side"
    ):
        aggregate(score_under(CONVENTIONS[:2], SOMETHING, SOMETHING))
    with pytest.raises(ConfigError, match="got no score at all"):
        aggregate([])


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    real_import = builtins.__import__

    def no_metrics(name, *args):
        if name.startswith("pyannote.metrics"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", no_metrics)
    with pytest.raises(DiarizeError, match=re.escape("pip install 'diarize-campplus[score]'")):
        score(SOMETHING, SOMETHING)


def test_conventions_say_what_they_are():
    assert [str(c) for c in CONVENTIONS] == [
        "collar 0, overlap scored",
        "collar 0.25 s a side, overlap scored",
        "collar 0, overlap not scored",
        "collar 0.25 s a side, overlap not scored",
    ]
    assert Convention() == CONVENTIONS[0]
