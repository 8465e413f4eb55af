"""Clustering against scipy and plain restatements."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from diarize.clustering import cluster
from diarize.clustering.affinity import centroids, relabel, scores
from diarize.clustering.counting import absorb_small, merge_near, split_to
from diarize.clustering.linkage import average_linkage
from diarize.clustering.representatives import Representatives
from diarize.clustering.spectral import DENSE_ROWS, eigengap, prune, spectral, spectrum
from diarize.config import Bounds, ClusteringConfig
from diarize.engine import unit
from diarize.errors import ConfigError


def blobs(sizes, noise=0.4, size=16, seed=0):
    """Rows around one random direction a cluster, and the truth."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(len(sizes), size))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    rng.shuffle(truth)
    return unit(unit(means)[truth] + noise * rng.normal(size=(len(truth), size)) / np.sqrt(size)), relabel(
        truth
    )


def same_partition(a, b):
    return np.array_equal(relabel(np.asarray(a)), relabel(np.asarray(b)))


def test_scores_are_cosines_symmetric_to_the_bit():
    rows, _ = blobs([30, 40])
    matrix = scores(rows)
    assert np.array_equal(matrix, matrix.T)
    assert np.allclose(matrix, rows @ rows.T, atol=1e-6)
    assert np.abs(matrix).max() <= 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.8])
def test_average_linkage_is_scipys(seed, threshold):
    rows, _ = blobs([9, 14, 5, 2], noise=1.0, seed=seed)
    distances = 1 - scores(rows)
    tree = linkage(distances[np.triu_indices(len(rows), 1)], "average")
    ours = average_linkage(scores(rows), np.ones(len(rows)), threshold)
    assert same_partition(ours, fcluster(tree, 1 - threshold, "distance"))


@pytest.mark.parametrize("seed", range(8))
def test_a_weight_is_that_many_equal_rows(seed):
    rng = np.random.default_rng(seed)
    rows, _ = blobs([6, 5, 4], noise=1.0, seed=seed)
    weights = rng.integers(1, 5, len(rows))
    many = np.repeat(np.arange(len(rows)), weights)
    for threshold in (0.2, 0.4, 0.6):
        weighted = average_linkage(scores(rows), weights.astype(float), threshold)
        repeated = average_linkage(scores(rows[many]), np.ones(len(many)), threshold)
        assert same_partition(weighted[many], repeated)


def test_ties_at_the_threshold_merge():
    affinity = np.array([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]])
    assert average_linkage(affinity, np.ones(3), 0.5).tolist() == [0, 0, 0]
    assert average_linkage(affinity, np.ones(3), np.nextafter(0.5, 1)).tolist() == [0, 1, 2]


def test_pruning_is_3d_speakers():
    rows, _ = blobs([60, 50])
    affinity = scores(rows)
    n = len(rows)
    expected = affinity.copy()
    for row in expected:
        row[np.argsort(row, kind="stable")[: min(int((1 - 0.012) * n), n - 6)]] = 0
    expected = (expected + expected.T) / 2
    np.fill_diagonal(expected, 0)
    assert np.array_equal(prune(affinity, 0.012, 6), expected)
    assert np.count_nonzero(prune(affinity, 0.012, n)) == n * (n - 1)


def test_eigengap_within_bounds():
    values = np.array([0, 0.01, 0.02, 0.9, 1.0, 1.1, 2.5])
    assert eigengap(values, 1, 6) == 6
    assert eigengap(values, 1, 5) == 3
    assert eigengap(values, 4, 5) == 5
    assert eigengap(values, 2, 2) == 2
    assert eigengap(values[:1], 1, 15) == 1


def test_the_sparse_solver_agrees_with_the_dense_one():
    rows, _ = blobs([700, 500, DENSE_ROWS - 1250], noise=0.8)
    assert len(rows) < DENSE_ROWS
    graph = prune(scores(rows), 0.012, 6)
    dense, _ = spectrum(graph, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("diarize.clustering.spectral"), "DENSE_ROWS", 0)
        sparse, vectors = spectrum(graph, 10)
        again, same = spectrum(graph, 10)
    assert np.allclose(dense, sparse, atol=1e-6)
    assert np.array_equal(sparse, again)
    assert np.array_equal(vectors, same)


@pytest.mark.parametrize("sizes", [[40], [30, 30], [50, 20, 12], [20, 20, 20, 20, 20]])
@pytest.mark.parametrize("method", ["spectral", "agglomerative"])
def test_clear_speakers_are_found(sizes, method):
    rows, truth = blobs(sizes, noise=0.5, size=64)
    labels = cluster(rows, np.ones(len(rows)), ClusteringConfig(method=method), 0.5)
    assert same_partition(labels, truth)


def test_spectral_is_seeded():
    rows, _ = blobs([30, 30, 30], noise=1.5)
    options = {"min_speakers": 1, "max_speakers": 15, "keep_fraction": 0.012, "keep_min": 6}
    first = spectral(scores(rows), **options)
    assert all(np.array_equal(spectral(scores(rows), **options), first) for _ in range(5))


def test_small_clusters_join_the_nearest_large_one():
    rows = unit(np.array([[1, 0, 0]] * 5 + [[0, 1, 0]] * 4 + [[0.1, 0.9, 0]] * 2 + [[0, 0, 1]], float))
    labels, weights = np.array([0] * 5 + [1] * 4 + [2] * 2 + [3]), np.ones(12)
    assert absorb_small(labels, rows, weights, 3, 1).tolist() == [0] * 5 + [1] * 6 + [0]
    assert absorb_small(labels, rows, weights, 3, 4).tolist() == labels.tolist()  # four were asked for
    assert len(set(absorb_small(labels, rows, weights, 99, 1))) == 1  # none is large enough


def test_in_a_short_recording_every_cluster_stays():
    rows, truth = blobs([1, 2, 1], noise=0.2)
    assert same_partition(cluster(rows, np.ones(4), ClusteringConfig(), 0.5), truth)
    assert len(set(cluster(rows, np.ones(4), ClusteringConfig(min_cluster_from=3), 0.5))) == 1


def test_near_centroids_merge_within_bounds():
    rows = unit(np.array([[1, 0], [0.9, 0.2], [0, 1]], float))
    labels = np.arange(3)
    assert merge_near(labels, rows, np.ones(3), 0.8, Bounds()).tolist() == [0, 0, 1]
    assert merge_near(labels, rows, np.ones(3), 0.8, Bounds(3, 3)).tolist() == [0, 1, 2]
    assert merge_near(labels, rows, np.ones(3), np.inf, Bounds(1, 1)).tolist() == [0, 0, 0]


def test_splitting_reaches_the_count_on_duplicates():
    affinity = np.ones((6, 6))
    for count in range(1, 9):
        assert len(set(split_to(np.zeros(6, int), affinity, np.ones(6), count))) == min(count, 6)


def test_representatives_are_exact_until_full_and_bounded_after():
    rows, truth = blobs([300, 200], noise=0.5, size=32)
    exact, summary = Representatives(600), Representatives(64)
    for row in rows:
        exact.add(row)
        summary.add(row)
        assert len(summary.rows) <= 64
    assert np.array_equal(exact.arrays()[0], rows)
    few, weights = summary.arrays()
    assert weights.sum() == len(rows)
    assert len(summary.index()) == len(rows)
    labels = cluster(few, weights, ClusteringConfig(), 0.5)
    assert same_partition(labels[summary.index()], truth)


@pytest.mark.parametrize("part", [8, 10, 1024])
def test_a_representative_stands_for_its_windows_and_no_others(monkeypatch, part):
    """Summarised in one part or in several, and summarised again."""
    monkeypatch.setattr("diarize.clustering.representatives.PART", part)
    rows, _ = blobs([40, 30, 25], noise=0.8, size=16)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    summary = Representatives(32)
    for row in rows[:33]:  # summarised once
        summary.add(row)
    index = summary.index()
    found, weights = summary.arrays()
    assert 16 <= len(found) <= 19
    for i in range(len(found)):
        assert np.allclose(found[i], unit(rows[:33][index == i].sum(0)), atol=1e-6)
        assert weights[i] == (index == i).sum()
    for row in rows[33:]:
        summary.add(row)
    assert np.array_equal(np.bincount(summary.index()), summary.arrays()[1])


def test_centroids_are_weighted_means():
    rows = unit(np.array([[1, 0], [0, 1], [0, 1]], float))
    means = centroids(rows, np.array([0, 0, 1]), np.array([3.0, 1.0, 2.0]))
    assert np.allclose(means, unit(np.array([[3, 1], [0, 2]], float)))


@pytest.mark.parametrize(
    "counts",
    [(0, None, None), (None, -1, None), (None, 3, 2), (2, 1, None), (True, None, None), (2.0, None, None)],
)
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ConfigError, match="speakers"):
        Bounds.of(*counts)
