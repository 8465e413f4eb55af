"""The mixture that settles who is a speaker, against rows whose speakers are known."""

from __future__ import annotations

import numpy as np
import pytest

from diarize.clustering import cluster, mixture
from diarize.clustering.affinity import relabel
from diarize.clustering.mixture import MOST, refined, whose, with_strangers
from diarize.config import Bounds, ClusteringConfig
from diarize.engine import unit

SIZE = 192


def voices(sizes, seed=0, scatter=1.0):
    """Unit rows as the network's, with half of their square from the speaker; their speakers, in order."""
    rng = np.random.default_rng(seed)
    means = unit(rng.normal(size=(len(sizes), SIZE)))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    rows = unit(means[truth] + scatter * rng.normal(size=(len(truth), SIZE)) / np.sqrt(SIZE))
    return rows, truth


def test_rows_of_the_wrong_cluster_change_sides():
    rows, truth = voices([60, 40, 25])
    wrong = truth.copy()
    wrong[::7] = (wrong[::7] + 1) % 3
    assert np.array_equal(refined(rows, np.ones(125), relabel(wrong), 0.35), truth)


def test_a_voice_cut_in_two_becomes_one():
    """A few rows of a speaker, taken for somebody else, are explained by the speaker."""
    rows, truth = voices([100, 50])
    labels = truth.copy()
    labels[:4] = 2
    assert np.array_equal(refined(rows, np.ones(150), relabel(labels), 0.35), truth)


@pytest.mark.parametrize("count", [5, 8])
def test_somebody_who_spoke_once_is_found_among_others(count):
    rows, truth = voices([300, 200, count], seed=count)
    labels = np.minimum(truth, 1)  # taken for the second speaker
    assert np.array_equal(refined(rows, np.ones(len(rows)), labels, 0.35), truth)
    assert refined(rows, np.ones(len(rows)), labels, 0.35, most=2).max() == 1  # two were asked for


def test_strange_rows_that_are_unlike_one_another_are_nobody():
    rows, truth = voices([100, 80, *[1] * 6])
    labels = np.minimum(truth, 1)
    assert with_strangers(rows, np.ones(len(rows)), labels, 0.35, None).max() == 1


def test_no_more_strangers_are_compared_than_memory_allows(monkeypatch):
    rows, truth = voices([1] * (MOST + 200), scatter=0.1)
    labels, sizes = np.zeros(len(truth), np.int64), []
    linkage = mixture.average_linkage
    monkeypatch.setattr(
        mixture, "average_linkage", lambda matrix, *rest: sizes.append(len(matrix)) or linkage(matrix, *rest)
    )
    assert np.array_equal(with_strangers(rows, np.ones(len(rows)), labels, 0.35, None), labels)
    assert sizes == [MOST]


def test_it_goes_on_until_no_label_changes():
    """From a bad beginning, many rows on the wrong side, one iteration is not enough."""
    rows, truth = voices([60, 60], scatter=1.5)
    wrong = truth.copy()
    wrong[np.random.default_rng(3).permutation(120)[:57]] ^= 1
    once = refined_once(rows, relabel(wrong))
    assert not np.array_equal(relabel(once), truth)
    assert np.array_equal(refined(rows, np.ones(120), relabel(wrong), -1.0), truth)


def refined_once(rows, labels):
    shifted = (rows - rows.mean(0)) * np.sqrt(SIZE / mixture.SCATTER)
    return whose(shifted, np.ones(len(rows)), np.eye(2)[labels]).argmax(1)


def test_labels_of_weighted_rows_are_those_of_repeated_ones():
    rows, truth = voices([40, 30, 12], seed=5)
    weights = np.random.default_rng(0).integers(1, 30, len(rows)).astype(float) ** 2
    wrong = truth.copy()
    wrong[::3] = (wrong[::3] + 1) % 3
    several = np.repeat(np.arange(len(rows)), weights.astype(int))
    labels = refined(rows, weights, relabel(wrong), -1.0)
    repeated = refined(rows[several], np.ones(len(several)), relabel(wrong[several]), -1.0)
    assert np.array_equal(relabel(labels[several]), repeated)


def test_a_voice_that_two_were_asked_of_is_cut_where_the_graph_says():
    rows, _ = voices([40])
    found = [
        cluster(rows, np.ones(40), ClusteringConfig(refine=refine, min_cluster_windows=1), 0.35, Bounds(2, 2))
        for refine in ("mixture", "none")
    ]
    assert np.array_equal(*found)


def test_a_weight_is_so_many_equal_rows():
    rows, _ = voices([12, 9, 7])
    weights = np.random.default_rng(0).integers(1, 6, len(rows)).astype(float)
    shifted = rows - np.average(rows, axis=0, weights=weights)
    shares = np.random.default_rng(1).dirichlet(np.ones(3), len(rows))
    several = np.repeat(np.arange(len(rows)), weights.astype(int))
    weighted = whose(shifted, weights, shares)
    assert np.allclose(weighted[several], whose(shifted[several], np.ones(len(several)), shares[several]))
    assert np.allclose(weighted.sum(1), 1)


def test_a_cluster_without_rows_stays_empty():
    rows, _ = voices([12, 9])
    shares = np.eye(3)[np.repeat([0, 1], [12, 9])]
    assert not whose(rows.astype(float), np.ones(21), shares)[:, 2].any()


@pytest.mark.parametrize("low", [1, 2, 3, 5])
def test_the_count_that_was_asked_for_is_more_than_the_mixture(low):
    rows, _ = voices([30, 6], seed=low)
    for bounds in (Bounds(low, low), Bounds(low, None)):
        found = cluster(rows, np.ones(36), ClusteringConfig(), 0.35, bounds)
        assert found.max() + 1 >= low
        assert bounds.high is None or found.max() + 1 == low


def parts_of_a_voice(alike: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three groups whose centres score `alike`, which the eigengap tells apart, and of another."""
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.standard_normal((SIZE, 5)))[0].T
    parts = [np.sqrt(alike) * directions[0] + np.sqrt(1 - alike) * directions[2 + i] for i in range(3)]
    truth = np.repeat([0, 1, 2, 3], [40, 40, 40, 30])
    rows = np.array([*parts, directions[1]])[truth] + rng.normal(0, 0.05, (len(truth), SIZE))
    return unit(rows), truth


def test_somebody_who_has_most_of_a_recording_is_not_cut_in_three():
    rows, truth = parts_of_a_voice(0.8)
    labels = cluster(rows, np.ones(len(rows)), ClusteringConfig(), 0.31)
    assert set(zip(labels.tolist(), (truth == 3).tolist(), strict=True)) == {(0, False), (1, True)}
    assert cluster(rows, np.ones(len(rows)), ClusteringConfig(merge_threshold=1.0), 0.31).max() == 3
    asked = cluster(rows, np.ones(len(rows)), ClusteringConfig(), 0.31, Bounds.of(4, None, None))
    assert set(asked.tolist()) == {0, 1, 2, 3}, "a count that was asked for stands above it (law 7)"


def test_voices_as_alike_as_two_on_one_telephone_stay_two():
    rows, _ = parts_of_a_voice(0.6)
    assert cluster(rows, np.ones(len(rows)), ClusteringConfig(), 0.31).max() == 3
