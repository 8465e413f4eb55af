"""Why so many speakers: what the pictures of similarity and count say is what the rows say."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from diarize import ConfigError, Diarization, DiarizeError, Turn
from diarize.clustering import cluster
from diarize.clustering.affinity import centroids
from diarize.config import Bounds, ClusteringConfig
from diarize.kept import Kept, Labelling
from diarize.plotting import PALETTE, count_diagnosis, similarity
from diarize.plotting.counts import sentences
from diarize.plotting.evidence import evidence, nearest

THRESHOLD = 0.5


def voices(*sizes: int, near: float = 0.0, scatter: float = 0.3, seed: int = 0) -> np.ndarray:
    """Unit rows (n, 64) of voices with so many windows each; the last two voices have this cosine."""
    rng = np.random.default_rng(seed)
    means = np.linalg.qr(rng.standard_normal((64, len(sizes))))[0].T
    if near:
        means[-1] = near * means[-2] + np.sqrt(1 - near**2) * means[-1]
    rows = np.repeat(means, sizes, axis=0) + scatter * rng.standard_normal((sum(sizes), 64)) / 8
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def kept_of(rows: np.ndarray, labels: list[int] | np.ndarray, *, region: int = 10) -> Kept:
    """A result whose windows of a second follow one another, so many in a region; row by row."""
    n = len(rows)
    starts = np.arange(n) * 16000 + np.arange(n) // region * 8000  # half a second between regions
    first = starts[np.arange(n) // region * region]
    names = tuple(f"SPEAKER_{i:02d}" for i in range(max(labels, default=-1) + 1))
    regions = [(a, starts[first == a][-1] + 16000) for a in np.unique(first)]
    return Kept(
        uri="made",
        duration=n * 1.05 + 1,
        model="campplus-zh-en",
        overlap="off",
        threshold=THRESHOLD,
        regions=np.array(regions, np.int64).reshape(-1, 2),
        pauses=np.zeros((0, 2), np.int64),
        windows=np.stack([starts, starts + 16000, first], axis=1).astype(np.int64).reshape(-1, 3),
        speech=np.full(n, 900),
        rows=rows,
        index=np.arange(n),
        overlaps=np.zeros((0, 2), np.int64),
        now=Labelling.found(np.array(labels, np.int64), names),
    )


def made(*sizes: int, count: int | None = None, **options: float) -> Diarization:
    """The result of voices one after the other, clustered; with a count held."""
    rows = voices(*sizes, **options)
    bounds = Bounds() if count is None else Bounds(count, count)
    labels = cluster(rows, np.ones(len(rows)), ClusteringConfig(), THRESHOLD, bounds)
    return kept_of(rows, labels).result()


def test_the_evidence_of_three_voices():
    found = made(30, 20, 10, near=0.7)
    why = evidence(found.kept)
    assert (why.found, why.proposed, why.free, why.spectral) == (3, 3, 3, True)
    assert why.windows.tolist() == [30, 20, 10]
    assert np.all(np.diff(why.values) >= -1e-9)
    assert int(np.diff(why.values).argmax()) + 1 == why.proposed
    expected = centroids(found.kept.rows, found.kept.now.labels, np.ones(60))
    assert why.means == pytest.approx(np.float64(expected @ expected.T), abs=1e-6)
    fewer, more = why.alternatives
    assert (fewer.count, more.count) == (2, 4)
    (merge,) = fewer.changes
    assert merge.speakers == ("SPEAKER_01", "SPEAKER_02"), "the two that are alike"
    assert merge.windows == (20, 10)
    assert merge.score == pytest.approx(why.means[1, 2], abs=1e-6)
    assert not merge.splits
    (split,) = more.changes
    assert split.splits
    assert sum(split.windows) == why.windows[int(split.speakers[0][-1])]
    assert fewer.moved == more.moved == 0.0
    assert len(np.unique(more.labels)) == 4
    assert len(np.unique(fewer.labels)) == 2


def test_a_number_that_was_asked_for_is_told_from_what_is_heard():
    why = evidence(made(30, 20, 10, count=2).kept)
    assert (why.found, why.proposed, why.free) == (2, 3, 3)
    said = list(sentences(made(30, 20, 10, count=2)))
    assert said[0] == "made: 2 speakers found; the eigenvalues propose 3; 3 if no number is asked for"
    assert [line.partition(":")[0] for line in said[1:]] == [
        "the two most alike",
        "with 1, one fewer",
        "with 3, one more",
    ]


def test_a_short_recording_has_the_scores_of_its_merges():
    """Average linkage, by hand: the last merge of two voices is the mean score between their windows."""
    rows = voices(5, 4, near=0.3)
    found = kept_of(rows, [0] * 5 + [1] * 4).result()
    why = evidence(found.kept)
    assert not why.spectral
    assert (why.found, why.proposed) == (2, 2)
    assert len(why.values) == 8
    between = (rows[:5] @ rows[5:].T).mean()
    assert why.values[-1] == pytest.approx(between, abs=1e-6)
    assert why.values[-1] < THRESHOLD <= why.values[-2]
    from scipy.cluster.hierarchy import linkage

    heights = 1 - linkage(rows.astype(np.float64), "average", "cosine")[:, 2]
    assert why.values == pytest.approx(heights, abs=1e-6)


def test_rows_that_stand_for_several_windows():
    """A long recording keeps fewer rows than windows; each counts as often as it stands for one."""
    rows = voices(24, 24)
    kept = kept_of(rows, [0] * 24 + [1] * 24)
    several = Kept(**{**vars(kept), "rows": rows[::2], "index": np.arange(48) // 2})
    repeated = Kept(**{**vars(kept), "rows": np.repeat(rows[::2], 2, axis=0)})
    config = ClusteringConfig(keep_min=14)  # of these windows come two by two
    why = evidence(several, config)
    assert why.spectral
    assert why.values[:4] == pytest.approx(evidence(repeated, config).values[:4], abs=1e-4)
    assert why.windows.tolist() == [24, 24]
    assert why.free == 2
    assert [len(other.labels) for other in why.alternatives] == [48, 48]


def test_windows_that_change_sides_are_counted():
    rows = voices(30, 30)
    labels = [0] * 30 + [1] * 30
    labels[3], labels[4], labels[40] = 1, 1, 0  # wrong: no other count explains them
    fewer, more = evidence(kept_of(rows, labels)).alternatives
    assert fewer.moved == 0.0, "all are one"
    assert more.moved > 0
    assert "change sides" in list(sentences(kept_of(rows, labels).result()))[-1]


def test_corrections_are_told_from_counts():
    kept = kept_of(voices(20, 20), [0] * 20 + [1] * 20)
    one = kept.labelled(Labelling.found(np.zeros(40, np.int64), ("SPEAKER_00",)))
    said = next(sentences(one.result()))
    assert said == "made: 1 speaker found; the eigenvalues propose 2; 2 before corrections"


def test_nearest_is_the_weighted_mean():
    affinity = np.array([[1, 0.9, 0.1], [0.9, 1, 0.4], [0.1, 0.4, 1]])
    assert nearest(affinity, np.array([1.0, 3.0, 1.0]), np.array([0, 0, 1])) == pytest.approx(0.325)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_next_to_nothing_is_drawn(n, tmp_path):
    found = kept_of(voices(n) if n else np.zeros((0, 64), np.float32), [0] * n).result()
    assert evidence(found.kept).found == min(n, 1)
    assert len(list(sentences(found))) >= 1
    for draw in similarity, count_diagnosis:
        draw(found, tmp_path / f"{draw.__name__}.png")


def test_similarity_is_ordered_by_speaker():
    rows = voices(10, 10, 10)
    labels = np.array([0, 1, 2] * 10)
    found = kept_of(rows, labels.tolist()).result()
    figure = similarity(found)
    ax = figure.axes[0]
    order = np.argsort(labels, kind="stable")
    assert np.asarray(ax.images[0].get_array()) == pytest.approx(rows[order] @ rows[order].T, abs=1e-6)
    horizontal = [line.get_ydata()[0] for line in ax.lines if line.get_ydata()[0] == line.get_ydata()[1]]
    assert horizontal == [9.5, 19.5], "turns of one window each would be nothing but lines"
    names = [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
    assert {"SPEAKER_00", "SPEAKER_01", "SPEAKER_02"} <= set(names)


def test_lines_where_turns_begin():
    """A, pause, A, B, A: in the order of speakers A's turns begin at windows 0, 10 and 20, B's at 30."""
    found = kept_of(voices(40), [0] * 20 + [1] * 10 + [0] * 10).result()
    lines = [
        (line.get_ydata()[0], line.get_linewidth())
        for line in similarity(found).axes[0].lines
        if line.get_ydata()[0] == line.get_ydata()[1]
    ]
    assert sorted(lines) == [(9.5, 0.25), (19.5, 0.25), (29.5, 0.25), (29.5, 1.2)]


def test_many_windows_are_thinned():
    found = kept_of(voices(1500, 1000), [0] * 1500 + [1] * 1000).result()
    figure = similarity(found)
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (834, 834)
    assert "2500 windows, 1 of 3 shown" in figure.axes[0].get_title(loc="left")


def test_the_strips_show_what_would_change():
    found = made(30, 20, 10, near=0.7)
    ax = count_diagnosis(found).axes[-1]
    strips = {}
    for collection in ax.collections:
        row = round(float(collection.get_paths()[0].get_extents().y0 + 0.2))
        shades = [to_hex(colour) for colour in collection.get_facecolor()]
        if len(collection.get_paths()) > 1:
            strips[row] = list(dict.fromkeys(shades))
    assert strips[1] == list(PALETTE[:3]), "as found"
    assert strips[0] == [PALETTE[0], PALETTE[1]], "the last two are one, in the colour of the larger"
    assert len(strips[2]) == 4
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2 speakers", "3 speakers", "4 speakers"]
    texts = [text.get_text() for text in ax.texts]
    assert texts[0].startswith("SPEAKER_01 and SPEAKER_02 are one (score 0.")
    assert texts[1] == "as found"
    assert "is split" in texts[2]


def test_turns_alone_say_nothing_of_why(tmp_path):
    found = Diarization((Turn(0.0, 1.0, "a"),), 2.0, "call")
    for draw in similarity, count_diagnosis:
        with pytest.raises(DiarizeError, match=r"call: the windows behind these turns are not known"):
            draw(found, tmp_path / "a.png")
        with pytest.raises(ConfigError, match=r"must end in \.png or \.svg"):
            draw(found, tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_of_the_sample(real_diarizer, sample_wav, tmp_path):
    """Two people are on this telephone line, and one of three asked for is somebody's piece."""
    found = real_diarizer(sample_wav)
    why = evidence(found.kept, real_diarizer.config.clustering)
    assert (why.found, why.proposed, why.free) == (2, 2, 2)
    three = real_diarizer(sample_wav, num_speakers=3)
    assert evidence(three.kept, real_diarizer.config.clustering).free == 2
    assert np.array_equal(
        np.unique(why.alternatives[1].labels, return_counts=True)[1].sum(), len(found.kept.windows)
    )
    asked = {turn.speaker for turn in three.turns}
    assert len(asked) == 3
    count_diagnosis(three, tmp_path / "count.svg")
    similarity(three, tmp_path / "similarity.png")
    assert (tmp_path / "count.svg").read_text("utf-8").startswith("<?xml")
