"""The laws of the README, one section each, with networks made so that every bit matters."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest
from fakes import (
    RATE,
    FakeEmbedder,
    FakeVad,
    conversation,
    cuts,
    found_regions,
    found_windows,
    silence,
    speech,
)

import diarize.clustering
from diarize import Config, Diarization, Diarizer, SpeakerCountWarning
from diarize.clustering import cluster
from diarize.clustering.affinity import scores
from diarize.clustering.counting import absorb_small, merge_near, split_to
from diarize.clustering.linkage import average_linkage
from diarize.config import Bounds, ClusteringConfig
from diarize.engine import unit
from diarize.features import FRAME_SHIFT
from diarize.stages.embedding import WAITING, repeat
from diarize.stages.items import FRAME
from diarize.stages.vad import Vad


@pytest.fixture(scope="module")
def diarizer() -> Diarizer:
    return Diarizer(embedder=FakeEmbedder(), vad=FakeVad())


def configured(**clustering: object) -> Diarizer:
    config = Config.from_dict({"clustering": clustering})
    return Diarizer(config, embedder=FakeEmbedder(), vad=FakeVad())


def streamed(diarizer: Diarizer, pieces: list, rate: int = RATE, **counts: int) -> Diarization:
    stream = diarizer.stream(sample_rate=rate, **counts)
    for piece in pieces:
        stream.push(piece)
    stream.finish()
    return stream.result()


def same_bits(a: Diarization, b: Diarization) -> bool:
    same = a == b and a.embeddings.keys() == b.embeddings.keys()
    return same and all(np.array_equal(a.embeddings[name], b.embeddings[name]) for name in a.embeddings)


# 1. Chunking -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [16000, 8000, 44100])
def test_the_result_does_not_depend_on_the_pushes(diarizer, seed, rate):
    samples = conversation(seed)
    whole = diarizer(samples, sample_rate=rate)
    assert len(whole) > 3
    rng = np.random.default_rng(seed)
    for largest in (600, 5000, 200_000):
        assert same_bits(streamed(diarizer, cuts(samples, rng, largest), rate), whole)


def test_many_cuts_of_one_recording(diarizer):
    samples = conversation(11, turns=6)
    whole = diarizer(samples, sample_rate=RATE)
    rng = np.random.default_rng(0)
    for _ in range(60):
        assert same_bits(streamed(diarizer, cuts(samples, rng, 40_000)), whole)


def test_one_sample_at_a_time(diarizer):
    samples = conversation(3, turns=3)
    pushed = streamed(diarizer, list(samples[:60_000, None]))
    assert same_bits(pushed, diarizer(samples[:60_000], sample_rate=RATE))


def test_the_summary_of_many_windows_does_not_depend_on_the_pushes():
    diarizer = configured(max_rows=16)
    samples = conversation(5, turns=20)
    whole = diarizer(samples, sample_rate=RATE)
    rng = np.random.default_rng(1)
    for largest in (900, 100_000):
        assert same_bits(streamed(diarizer, cuts(samples, rng, largest)), whole)


@pytest.mark.parametrize("largest", [600, 5000, 100_000])
def test_the_vad_alone_does_not_depend_on_the_pushes(largest):
    """The stream hands it whole frames; `Vad` promises any."""
    samples = conversation(8, turns=6)
    whole = Vad(FakeVad())
    expected = np.concatenate([whole.push(samples), whole.finish()])
    assert len(expected) == -(-len(samples) // FRAME)
    vad = Vad(FakeVad())
    pieces = [vad.push(piece) for piece in cuts(samples, np.random.default_rng(largest), largest)]
    assert np.array_equal(np.concatenate([*pieces, vad.finish()]), expected)


# 2. One path -------------------------------------------------------------------------------------


def test_a_file_is_a_stream(diarizer, tmp_path, write_wav):
    samples = (conversation(2) * 32767).astype(np.int16)
    path = write_wav(tmp_path / "meeting.wav", samples, RATE)
    assert same_bits(diarizer(path), streamed(diarizer, [samples]))


# 3. Two rows -------------------------------------------------------------------------------------


def pair(score: float) -> np.ndarray:
    return unit(np.array([[1.0, 0.0], [score, np.sqrt(1 - score**2)]]))


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.31, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_two_rows_are_one_speaker_exactly_from_the_threshold_on(threshold, step):
    rows = pair(0.5)
    score = scores(rows)[0, 1]
    for near in (threshold, score, np.nextafter(score, step * np.inf) if step else score):
        for method in ("auto", "spectral", "agglomerative"):
            # Rules that would change it, were they applied to two rows.
            config = ClusteringConfig(
                method=method, min_cluster_windows=9, merge_threshold=-1.0, spectral_min_windows=3
            )
            labels = cluster(rows, np.ones(2), config, float(near))
            assert (labels[0] == labels[1]) == (score >= near)


class SharpVad(FakeVad):
    """No memory: regions are what is loud, to the frame."""

    def __call__(self, frames, h, c):
        return (np.abs(frames[:, 64:]).mean(1) > 0.01).astype(np.float32), h, c


@pytest.mark.parametrize("length_s", [1.5, 4.0])  # 4 s windows have another threshold than the segments
def test_verification_is_diarization_of_two_segments(length_s):
    """Two regions of one window each: one speaker exactly when `verify` says so, at its threshold."""
    config = Config.from_dict({"vad": {"pad_s": 0.0}, "windows": {"length_s": length_s}})
    diarizer = Diarizer(config, embedder=FakeEmbedder(0.3), vad=SharpVad())
    verdicts = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        a, b = speech(0.0, 0.64, rng), speech(0.15, 0.64, rng)  # scores on both sides of the threshold
        samples = np.concatenate([silence(1.28), a, silence(2.56), b, silence(2.56)])
        verdicts.append(diarizer.verify(a, b, sample_rate=RATE))
        score = verdicts[-1].score
        for threshold in (None, score, np.nextafter(score, 2), np.nextafter(score, -2)):
            strict = configured(threshold=threshold) if threshold else diarizer
            strict = Diarizer(
                dataclasses.replace(config, clustering=strict.config.clustering),
                embedder=FakeEmbedder(0.3),
                vad=SharpVad(),
            )
            found = strict(samples, sample_rate=RATE)
            assert len(found) == 2
            verdict = strict.verify(a, b, sample_rate=RATE)
            assert (len(found.speakers) == 1) == verdict.same
            assert (
                verdict.same
                == diarizer.verify(a, b, sample_rate=RATE, threshold=strict.threshold(1.5, 1.5)).same
            )
    assert {verdict.same for verdict in verdicts} == {True, False}


# 5. Samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_turns_keep_the_region_edges_and_windows_stay_inside(diarizer, seed):
    samples = conversation(seed, turns=20)
    stream = diarizer.stream()
    stream.push(samples)
    stream.finish()
    regions = {region.start: region for region in found_regions(stream)}
    step = stream.settled.windows.step
    for window in found_windows(stream):
        region = regions[window.region]
        assert region.start <= window.start < window.end <= region.end
        assert region.start == 0 or (region.start + stream.settled.regions.pad) % FRAME == 0
        assert region.end == len(samples) or (region.end - stream.settled.regions.pad) % FRAME == 0
        assert window.start % FRAME_SHIFT == window.end % FRAME_SHIFT == 0
        on_grid = window.start % step == 0 or (window.end - stream.settled.windows.length) % step == 0
        assert on_grid or window.end - window.start < stream.settled.windows.length
    voiced = {r.start for r in regions.values() if r.start in {w.region for w in found_windows(stream)}}
    edges = {round(t.start * RATE) for t in stream.result()} | {round(t.end * RATE) for t in stream.result()}
    for start in voiced:
        assert {start, regions[start].end} <= edges
    total = sum(regions[s].end - s for s in voiced)
    assert sum(round(t.duration * RATE) for t in stream.result()) == total


def test_turns_are_the_speech_to_the_sample():
    config = Config.from_dict({"vad": {"pad_s": 0.0}})
    diarizer = Diarizer(config, embedder=FakeEmbedder(), vad=SharpVad())
    rng = np.random.default_rng(0)
    frames = [0, 41, 60, 203, 301, 344]  # silence to 41, speech to 60, ...; speech until the end
    lengths = [(b - a) * FRAME / RATE for a, b in pairwise(frames)]
    pieces = [speech(0.1, s, rng) if i % 2 else silence(s) for i, s in enumerate(lengths)]
    tail = speech(0.1, 1.0, rng)[:16001]
    found = diarizer(np.concatenate([*pieces, tail]), sample_rate=RATE, num_speakers=1)
    end = 344 * FRAME + len(tail)
    expected = [(41 * FRAME, 60 * FRAME), (203 * FRAME, 301 * FRAME), (344 * FRAME, end)]
    assert [(t.start, t.end) for t in found] == [(a / RATE, b / RATE) for a, b in expected]


def test_turns_never_overlap_and_neighbours_differ(diarizer):
    for seed in range(6):
        found = diarizer(conversation(seed, turns=20), sample_rate=RATE)
        for a, b in zip(found.turns, found.turns[1:], strict=False):
            assert a.start < a.end <= b.start
            assert a.end < b.start or a.speaker != b.speaker


# 6. Batch mates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_row_is_made_of_its_window_alone(diarizer, seed):
    """Whatever waited with it, and however long ago its samples came: nothing is forgotten too early."""
    samples = conversation(seed, turns=20)
    stream = diarizer.stream()
    for piece in cuts(samples, np.random.default_rng(seed), 50_000):
        stream.push(piece)
    stream.finish()
    windows, rows = found_windows(stream), stream.settled.state.rows.rows
    assert len(windows) == len(rows) > 40
    for window, row in zip(windows, rows, strict=True):
        own = repeat(samples[window.start : window.end], stream.settled.windows.length)
        assert np.array_equal(row, diarizer.embedder([own])[0])


# 7. The count you asked for ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "spectral", "agglomerative"])
@pytest.mark.parametrize("seed", range(3))
def test_exactly_as_many_speakers_as_asked_for(method, seed):
    diarizer = configured(method=method)
    samples = conversation(seed, turns=14)
    for count in (1, 2, 3, 5, 9, 14):
        assert len(diarizer(samples, sample_rate=RATE, num_speakers=count).speakers) == count
    free = len(diarizer(samples, sample_rate=RATE).speakers)
    assert len(diarizer(samples, sample_rate=RATE, min_speakers=free + 2).speakers) >= free + 2
    assert len(diarizer(samples, sample_rate=RATE, min_speakers=free, max_speakers=free).speakers) == free
    for most in range(1, 5):
        assert len(diarizer(samples, sample_rate=RATE, max_speakers=most).speakers) <= most


@pytest.mark.parametrize("method", ["auto", "spectral", "agglomerative"])
@pytest.mark.parametrize("n", [2, 3, 5, 12, 45])
@pytest.mark.parametrize("kind", ["duplicate", "two points", "random"])
def test_any_count_up_to_the_number_of_rows(method, n, kind):
    rng = np.random.default_rng(n)
    rows = {
        "duplicate": np.tile(unit(np.ones((1, 4))), (n, 1)),
        "two points": unit(np.eye(4)[rng.integers(0, 2, n)]),
        "random": unit(rng.normal(size=(n, 4))),
    }[kind]
    config = ClusteringConfig(method=method)
    for count in (*range(1, n + 2), 3 * n):
        labels = cluster(rows, np.ones(n), config, 0.5, Bounds(count, count))
        assert list(dict.fromkeys(labels.tolist())) == list(range(min(count, n)))  # numbered as they appear
    for low, high in ((1, 2), (2, 3), (3, 50)):
        labels = cluster(rows, np.ones(n), config, 0.5, Bounds(low, high))
        assert min(low, n) <= len(set(labels.tolist())) <= high


@pytest.mark.parametrize("seed", range(3))
def test_no_rule_undoes_the_count_and_redoes_it_otherwise(seed):
    """What was asked for is found by the method alone; every rule that would change it stands back."""
    rows = unit(np.random.default_rng(seed).normal(1, 1, (14, 4)))
    weights = np.ones(14)
    config = ClusteringConfig(
        method="agglomerative", min_cluster_windows=99, min_cluster_from=0, merge_threshold=-1.0
    )
    for count in range(1, 15):
        labels = cluster(rows, weights, config, 0.5, Bounds(count, count))
        found = average_linkage(scores(rows), weights, 0.5, min_clusters=count, max_clusters=count)
        assert np.array_equal(labels, found)


def test_a_method_that_falls_short_is_made_up_for(monkeypatch):
    monkeypatch.setattr(
        diarize.clustering, "spectral", lambda affinity, **_: np.zeros(len(affinity), np.int64)
    )
    rows = unit(np.random.default_rng(0).normal(size=(9, 4)))
    for count in range(1, 10):
        labels = cluster(rows, np.ones(9), ClusteringConfig(method="spectral"), 0.5, Bounds(count, count))
        assert list(dict.fromkeys(labels.tolist())) == list(range(count))


def test_each_rule_alone_holds_the_count():
    rows = unit(np.eye(4)[[0, 0, 0, 1, 1, 2]] + 0.0)
    weights, labels = np.ones(6), np.array([0, 0, 0, 1, 1, 2])
    for count in range(1, 7):
        assert len(set(absorb_small(labels, rows, weights, 9, count))) == min(count, 3)
        assert len(set(merge_near(labels, rows, weights, -1.0, Bounds(count)))) == min(count, 3)
        assert len(set(merge_near(labels, rows, weights, 2.0, Bounds(1, count)))) == min(count, 3)
        assert len(set(split_to(np.zeros(6, int), scores(rows), weights, count))) == count
    assert split_to(np.array([1, 1, 1, 0, 0, 0]), scores(rows), weights, 1).tolist() == [0, 0, 0, 1, 1, 1]


def test_fewer_windows_than_speakers_asked_for_is_said(diarizer):
    rng = np.random.default_rng(0)
    short = np.concatenate([silence(1), speech(0.1, 2.0, rng), silence(2)])
    with pytest.warns(SpeakerCountWarning, match="7 speakers were asked for"):
        found = diarizer(short, sample_rate=RATE, num_speakers=7)
    assert 1 <= len(found.speakers) < 7


def test_a_count_given_once_does_not_outlive_its_call(diarizer):
    samples = conversation(1)
    before = diarizer(samples, sample_rate=RATE)
    diarizer(samples, sample_rate=RATE, num_speakers=9)
    assert same_bits(diarizer(samples, sample_rate=RATE), before)


def test_the_count_holds_beyond_the_summary():
    diarizer = configured(max_rows=16)
    samples = conversation(7, turns=20)
    for count in (1, 2, 6, 8, 13, 16, 20):  # more than a summary of 16 rows keeps, too
        assert len(diarizer(samples, sample_rate=RATE, num_speakers=count).speakers) == count


# 8. Same input, same output ----------------------------------------------------------------------


def test_again_and_in_threads(diarizer):
    samples = conversation(4)
    first = diarizer(samples, sample_rate=RATE)
    results: list[Diarization] = []
    threads = [
        threading.Thread(target=lambda: results.append(diarizer(samples, sample_rate=RATE))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(same_bits(result, first) for result in results)


# 9. Honest emptiness -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 159, 160, 511, 512, 513, 1600, 16000, 160_000])
@pytest.mark.parametrize("kind", ["silence", "speech"])
def test_nothing_and_next_to_nothing(diarizer, count, kind):
    samples = silence(10)[:count] if kind == "silence" else speech(0.1, 10, np.random.default_rng(0))[:count]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diarizer(samples, sample_rate=RATE)
    assert found.duration == count / RATE
    assert all(0 <= t.start < t.end <= found.duration for t in found)
    if kind == "silence" or count < 1600:
        assert (len(found), found.speakers, str(found)[:9]) == (0, (), "no speech")
    elif count >= 16000:
        assert found.speakers == ("SPEAKER_00",)


# 10. Bounded memory ------------------------------------------------------------------------------


def test_what_is_held_does_not_grow():
    diarizer = configured(max_rows=16)
    stream = diarizer.stream()
    rng = np.random.default_rng(0)
    for _ in range(6):  # a monologue of 40 s, then a pause
        for voice in (0.0, 0.2):
            stream.push(speech(voice, 20.0, rng))
            held = stream.embedding.state
            waiting = sum(len(samples) for _, samples in held.waiting)
            assert len(held.samples) <= 4 * RATE
            assert waiting <= WAITING * stream.settled.windows.length
        stream.push(silence(20.0))
        assert len(stream.embedding.state.samples) <= RATE
        assert len(stream.settled.state.rows.rows) <= 16
    stream.finish()
    assert len(stream.settled.state.rows.index()) == len(stream.settled.state.windows_found) > 300
