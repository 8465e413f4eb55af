"""Clustering against scipy and plain restatements."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import sklearn.cluster
from scipy.cluster.hierarchy import fcluster, linkage

from diarize.clustering import cluster
from diarize.clustering.affinity import centroids, relabel, scores
from diarize.clustering.counting import absorb_small, merge_near, split_to
from diarize.clustering.graph import DENSE_ROWS, laplacian, strongest
from diarize.clustering.kmeans import k_means
from diarize.clustering.linkage import average_linkage
from diarize.clustering.representatives import Representatives, halved, nearest_rows
from diarize.clustering.spectral import eigengap, spectral, spectrum
from diarize.config import Bounds, ClusteringConfig
from diarize.engine import unit
from diarize.errors import ConfigError

OPTIONS = {"min_speakers": 1, "max_speakers": 15, "keep_fraction": 0.012, "keep_min": 6}


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


def speakerlab(rows, keep):
    """3D-Speaker's Laplacian, restated: whole matrices and a stable sort."""
    affinity = scores(rows)
    for row in affinity:
        row[np.argsort(row, kind="stable")[: len(rows) - keep]] = 0
    affinity = (affinity + affinity.T) / 2
    np.fill_diagonal(affinity, 0)
    return np.diag(np.abs(affinity).sum(1)) - affinity


@pytest.mark.parametrize("keep", [1, 6, 50, 110])
@pytest.mark.parametrize("dense_rows", [0, DENSE_ROWS])
@pytest.mark.parametrize("block", [7, 512])
def test_the_graph_is_3d_speakers(monkeypatch, keep, dense_rows, block):
    monkeypatch.setattr("diarize.clustering.graph.DENSE_ROWS", dense_rows)
    monkeypatch.setattr("diarize.clustering.graph.BLOCK", block)
    rows, _ = blobs([60, 50])
    found = laplacian(rows, np.ones(len(rows)), keep)
    assert isinstance(found, np.ndarray) == (dense_rows > 0)
    assert np.allclose(found if dense_rows else found.toarray(), speakerlab(rows, keep), atol=1e-5)


def test_the_share_that_a_row_keeps_is_3d_speakers(monkeypatch):
    asked = []
    monkeypatch.setattr(
        importlib.import_module("diarize.clustering.spectral"),
        "laplacian",
        lambda rows, weights, windows: asked.append(windows) or laplacian(rows, weights, windows),
    )
    for n, weight in ((20, 1), (700, 1), (233, 3)):
        spectral(blobs([n])[0], weights=np.full(n, float(weight)), **OPTIONS)
    windows = [20, 700, 699]
    assert asked == [n - min(int((1 - 0.012) * n), n - 6) for n in windows]


def test_of_equal_scores_the_later_rows_are_kept():
    rows = unit(np.array([[1, 0]] * 5 + [[1, 1]] * 4, float))
    start, end, score = strongest(rows, np.ones(9), 3)
    kept = [set(end[start == row].tolist()) for row in range(9)]
    assert kept == [{2, 3, 4}] * 5 + [{6, 7, 8}] * 4
    assert np.allclose(score, 1)


def test_a_row_keeps_windows_not_rows():
    rows = unit(np.array([[1, 0.0], [1, 0.1], [1, 0.2], [1, 0.3], [1, 0.4]]))
    start, end, _ = strongest(rows, np.array([2.0, 5.0, 1.0, 1.0, 9.0]), 4)
    kept = [sorted(end[start == row].tolist()) for row in range(5)]
    assert kept == [[0, 1], [1], [1, 2, 3], [3, 4], [4]]
    start, end, _ = strongest(rows, np.array([2.0, 5.0, 1.0, 1.0, 9.0]), 2)
    assert sorted(end[start == 0].tolist()) == [0]  # it has its two


def test_no_matrix_of_all_pairs_is_made():
    rows, _ = blobs([1500, 1500], size=32)
    spectral(rows[:1000], weights=np.ones(1000), **OPTIONS)  # imports
    tracemalloc.start()
    spectral(rows, weights=np.ones(3000), **OPTIONS)
    nearest_rows(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000 * 4


def test_eigengap_within_bounds():
    values = np.array([0, 0.01, 0.02, 0.9, 1.0, 1.1, 2.5])
    assert eigengap(values, 1, 6) == 6
    assert eigengap(values, 1, 5) == 3
    assert eigengap(values, 4, 5) == 5
    assert eigengap(values, 2, 2) == 2
    assert eigengap(values[:1], 1, 15) == 1


def never_dense(monkeypatch):
    for module in ("graph", "spectral"):
        monkeypatch.setattr(importlib.import_module(f"diarize.clustering.{module}"), "DENSE_ROWS", 0)


def test_the_sparse_solver_agrees_with_the_dense_one(monkeypatch):
    rows, _ = blobs([300, 200, 100], noise=0.8)
    weights = np.random.default_rng(0).integers(1, 9, len(rows)).astype(float)
    dense, _ = spectrum(laplacian(rows, weights, 30), 10)
    never_dense(monkeypatch)
    sparse, vectors = spectrum(laplacian(rows, weights, 30), 10)
    again, same = spectrum(laplacian(rows, weights, 30), 10)
    assert np.allclose(dense, sparse, atol=1e-6)
    assert np.array_equal(sparse, again)
    assert np.array_equal(vectors, same)


def test_the_sparse_solver_overlooks_none_of_many_equal_eigenvalues(monkeypatch):
    """Groups that nothing joins have an eigenvalue of zero each."""
    never_dense(monkeypatch)
    truth = np.random.default_rng(0).permutation(np.arange(720) // 60)
    apart = np.zeros((720, 12, 8))
    apart[np.arange(720), truth] = 1 + blobs([720], size=8)[0]
    rows = unit(apart.reshape(720, -1))
    values, vectors = spectrum(laplacian(rows, np.ones(720), 13), 16)
    assert np.abs(values[:12]).max() < 1e-9
    assert values[12] > 0.1
    assert np.allclose(vectors.T @ vectors, np.eye(16), atol=1e-9)
    assert same_partition(spectral(rows, weights=np.ones(720), **{**OPTIONS, "keep_min": 13}), truth)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("keep", [12, 1000])
def test_in_the_graph_too_a_weight_is_that_many_equal_rows(seed, keep):
    rng = np.random.default_rng(seed)
    rows, _ = blobs([16, 15, 14], noise=1.0, seed=seed)
    weights = np.full(len(rows), 3) if keep == 12 else rng.integers(1, 6, len(rows))
    many = np.repeat(np.arange(len(rows)), weights)
    few, vectors = spectrum(laplacian(rows, weights.astype(float), keep), 5)
    all_of, repeated = spectrum(laplacian(rows[many], np.ones(len(many)), keep), 5)
    assert np.allclose(few, all_of, atol=1e-5)
    vectors = (vectors / np.sqrt(weights)[:, None])[many]
    assert np.allclose(np.linalg.svd(vectors.T @ repeated)[1], 1, atol=1e-3)  # they span the same
    options = {**OPTIONS, "keep_min": keep}
    labels = spectral(rows, weights=weights.astype(float), **options)
    assert same_partition(labels[many], spectral(rows[many], weights=np.ones(len(many)), **options))


def inertia(points, labels, weights):
    means = [np.average(points[labels == k], axis=0, weights=weights[labels == k]) for k in np.unique(labels)]
    return sum(
        (weights[labels == k] * ((points[labels == k] - mean) ** 2).sum(1)).sum()
        for k, mean in zip(np.unique(labels), means, strict=True)
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [2, 4, 9])
def test_k_means_is_as_good_as_scikit_learns(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(9, 4))[rng.integers(0, 9, 300)] + 0.3 * rng.normal(size=(300, 4))
    weights = rng.integers(1, 9, 300).astype(float)
    labels = k_means(points, count, weights)
    _, theirs, _ = sklearn.cluster.k_means(points, count, sample_weight=weights, random_state=0, n_init=10)
    assert len(set(labels.tolist())) == count
    assert inertia(points, labels, weights) <= 1.002 * inertia(points, theirs, weights)
    assert np.array_equal(k_means(points, count, weights), labels)


def test_k_means_of_fewer_points_than_asked_for():
    points = np.repeat(np.eye(3), 5, axis=0)
    assert same_partition(k_means(points, 6, np.ones(15)), np.arange(15) // 5)
    assert len(set(k_means(np.ones((8, 2)), 3, np.ones(8)).tolist())) == 1


def test_a_short_recording_is_clustered_without_heavy_imports():
    code = (
        "import sys, numpy as np; from diarize.clustering import cluster; "
        "from diarize.config import ClusteringConfig; rows = np.float32(np.eye(3)[np.arange(300) % 3]); "
        "assert len(set(cluster(rows, np.ones(300), ClusteringConfig(), .5).tolist())) == 3; "
        "sys.exit(str({'scipy', 'sklearn'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("sizes", [[40], [30, 30], [50, 20, 12], [20, 20, 20, 20, 20]])
@pytest.mark.parametrize("method", ["spectral", "agglomerative"])
def test_clear_speakers_are_found(sizes, method):
    rows, truth = blobs(sizes, noise=0.5, size=64)
    labels = cluster(rows, np.ones(len(rows)), ClusteringConfig(method=method), 0.5)
    assert same_partition(labels, truth)


def test_spectral_is_seeded():
    rows, _ = blobs([30, 30, 30], noise=1.5)
    first = spectral(rows, weights=np.ones(90), **OPTIONS)
    assert all(np.array_equal(spectral(rows, weights=np.ones(90), **OPTIONS), first) for _ in range(5))


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


@pytest.mark.parametrize("block", [7, 16, 512])
def test_a_representative_stands_for_its_windows_and_no_others(monkeypatch, block):
    """Scored in one block or in several, and summarised again."""
    monkeypatch.setattr("diarize.clustering.representatives.BLOCK", block)
    rows, _ = blobs([40, 30, 25], noise=0.8, size=16)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    summary = Representatives(32)
    for row in rows[:33]:  # summarised once
        summary.add(row)
    index = summary.index()
    found, weights = summary.arrays()
    assert len(found) == 17
    for i in range(len(found)):
        assert np.allclose(found[i], unit(rows[:33][index == i].sum(0)), atol=1e-6)
        assert weights[i] == (index == i).sum()
    for row in rows[33:]:
        summary.add(row)
    assert np.array_equal(np.bincount(summary.index()), summary.arrays()[1])


@pytest.mark.parametrize("block", [7, 512])
@pytest.mark.parametrize("n", [2, 3, 64, 101])
def test_half_as_many_groups_of_what_is_nearest(monkeypatch, n, block):
    monkeypatch.setattr("diarize.clustering.representatives.BLOCK", block)
    rows = unit(np.random.default_rng(n).normal(size=(n, 6)))
    matrix = scores(rows)
    np.fill_diagonal(matrix, -np.inf)
    nearest, score = nearest_rows(rows)
    assert np.array_equal(nearest, matrix.argmax(1))
    assert np.allclose(score, matrix.max(1), atol=1e-6)
    labels = halved(rows)
    assert list(dict.fromkeys(labels.tolist())) == list(range(-(-n // 2)))
    joined = labels[nearest] == labels
    assert score[joined].min() >= score[~joined].max(initial=-1)  # the surest ones
    alone = np.bincount(labels)[labels] == 1
    assert not (alone & joined).any()


def test_duplicates_are_halved_too_and_what_is_rare_stays():
    assert np.bincount(halved(np.ones((9, 4), np.float32) / 2)).tolist() == [5, 1, 1, 1, 1]
    common, _ = blobs([40], noise=0.2)
    rare = unit(np.random.default_rng(9).normal(size=(4, 16)))
    labels = halved(np.concatenate([common[:20], rare, common[20:]]))
    assert (np.bincount(labels)[labels[20:24]] == 1).all()


@pytest.mark.parametrize(("noise", "seed"), [(0.6, 0), (1.6, 1), (1.6, 3), (1.6, 5)])
def test_summaries_do_not_change_who_speaks(noise, seed):
    """Rows that stand for hundreds of windows, of who speaks most, beside rows that stand for one."""
    rng = np.random.default_rng(seed)
    means = unit(rng.normal(size=(6, 64)))
    truth = relabel(np.repeat(rng.choice(6, 300, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1]), 10))
    rows = unit(means[truth] + noise * rng.normal(size=(3000, 64)) / 8)
    summary = Representatives(128)
    for row in rows:
        summary.add(row)
    few, weights = summary.arrays()
    assert weights.max() > 400
    config = ClusteringConfig(keep_min=13, min_cluster_windows=6, min_cluster_from=19)
    labels = cluster(few, weights, config, 0.5)[summary.index()]
    assert labels.max() == 5
    assert (relabel(labels) == truth).mean() > 0.98


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
