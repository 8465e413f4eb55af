"""The laws of the README, one section each, with networks made so that every bit matters."""

from __future__ import annotations

import dataclasses
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from fakes import (
    RATE,
    ExactEmbedder,
    FakeEmbedder,
    FakeSegmenter,
    FakeVad,
    SharpVad,
    conversation,
    cuts,
    found_regions,
    found_windows,
    silence,
    speech,
)

import diarize.clustering
from diarize import Config, Diarization, Diarizer, SpeakerCountWarning, Stream
from diarize.clustering import cluster
from diarize.clustering.affinity import scores
from diarize.clustering.counting import absorb_small, merge_near, split_to
from diarize.clustering.hindsight import FIRST, MAX_ROWS
from diarize.clustering.linkage import average_linkage
from diarize.clustering.representatives import Representatives
from diarize.config import Bounds, ClusteringConfig, LiveConfig
from diarize.engine import unit
from diarize.features import FRAME_SHIFT
from diarize.live import look_ahead, settling
from diarize.result import joined
from diarize.stages.boundaries import PAD, turns
from diarize.stages.embedding import TILE, UNDER_WAY, repeat
from diarize.stages.items import FRAME, Decision, Window
from diarize.stages.labelling import MAX_STRANGERS, Labeller, LabellerState, Speaker
from diarize.stages.vad import Vad


@pytest.fixture(scope="module", params=["dense", "exact"])
def diarizer(request) -> Diarizer:
    config = Config.from_dict({"windows": {"embedding": request.param}})
    return Diarizer(config, embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())


def configured(**clustering: object) -> Diarizer:
    config = Config.from_dict({"clustering": clustering})
    return Diarizer(config, embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())


def streamed(diarizer: Diarizer, pieces: list, rate: int = RATE, **counts: int) -> Diarization:
    stream = diarizer.stream(sample_rate=rate, **counts)
    for piece in pieces:
        stream.push(piece)
    stream.finish()
    return stream.result()


def same_bits(a: Diarization, b: Diarization) -> bool:
    same = a == b and a.exclusive == b.exclusive and a.overlaps == b.overlaps
    same = same and a.embeddings.keys() == b.embeddings.keys()
    return same and all(np.array_equal(a.embeddings[name], b.embeddings[name]) for name in a.embeddings)


# 1. Chunking -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [16000, 8000, 44100])
def test_the_result_does_not_depend_on_the_pushes(diarizer, seed, rate):
    samples = conversation(seed, turns=18)
    whole = diarizer(samples, sample_rate=rate, min_speakers=2)
    assert len(whole) > 3
    rng = np.random.default_rng(seed)
    for largest in (600, 5000, 200_000):
        assert same_bits(streamed(diarizer, cuts(samples, rng, largest), rate, min_speakers=2), whole)


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


LATENCIES = (0.25, 0.5, 1.0, 2.0, 5.0)


def pushed(diarizer: Diarizer, pieces: list, **options: object) -> Stream:
    """A live stream at its end."""
    stream = diarizer.stream(**options)
    for piece in pieces:
        stream.push(piece)
    stream.finish()
    return stream


@pytest.mark.parametrize("latency_s", LATENCIES)
def test_many_cuts_give_the_same_final_turns(diarizer, latency_s):
    samples = conversation(21, turns=3)
    rng = np.random.default_rng(0)
    expected = pushed(diarizer, [samples], latency_s=latency_s).finals
    assert len(expected) >= 3
    for largest in (900, 9000, 90_000, 60 * RATE):
        for _ in range(24):
            assert pushed(diarizer, cuts(samples, rng, largest), latency_s=latency_s).finals == expected


@pytest.mark.parametrize("latency_s", LATENCIES)
@pytest.mark.parametrize("seed", range(3))
def test_final_turns_do_not_depend_on_the_pushes(diarizer, latency_s, seed):
    """To the piece: not only the joined turns, every decision is the same."""
    samples, rng = conversation(seed, turns=16), np.random.default_rng(seed)
    for rate in (RATE, 8000):
        whole = pushed(diarizer, [samples], latency_s=latency_s, sample_rate=rate)
        one = pushed(diarizer, cuts(samples, rng, 5000), latency_s=latency_s, sample_rate=rate)
        assert np.array_equal(one._state.finals.array(), whole._state.finals.array())
        assert one.live.names == whole.live.names


def test_final_turns_one_sample_at_a_time(diarizer):
    samples = conversation(3, turns=2)[:50_000]
    expected = pushed(diarizer, [samples], latency_s=0.5).finals
    assert pushed(diarizer, list(samples[:, None]), latency_s=0.5).finals == expected


# 2. One path -------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", LATENCIES)
@pytest.mark.parametrize("max_rows", [16, 4096])
def test_the_result_of_a_live_stream_is_that_of_the_file(latency_s, max_rows):
    diarizer = configured(max_rows=max_rows)
    for seed in range(3):
        samples, rng = conversation(seed, turns=20), np.random.default_rng(seed)
        stream = pushed(diarizer, cuts(samples, rng, 9000), latency_s=latency_s)
        assert same_bits(stream.result(), diarizer(samples, sample_rate=RATE))


def test_settled_rows_wait_for_what_the_table_says_and_no_more(diarizer):
    """Whatever comes after a stage's look-ahead changes nothing before it."""
    config, samples = diarizer.config, conversation(4, turns=16)
    table = look_ahead(config)
    assert table["vad"] == FRAME
    reach = sum(table.values())
    whole = pushed(diarizer, [samples], latency_s=None)
    noise = speech(0.7, 5.0, np.random.default_rng(9))
    for cut in range(2 * RATE, len(samples) - 6 * RATE, 3 * RATE):
        other = pushed(diarizer, [samples[:cut], noise[: 2 * RATE], samples[cut:]], latency_s=None)
        for one, all_of in ((found_windows(other), found_windows(whole)),):
            limit = cut - reach
            assert [w for w in one if w.end < limit] == [w for w in all_of if w.end < limit]


@pytest.mark.parametrize("seed", range(4))
def test_from_the_settling_latency_on_both_sides_see_the_same_windows(diarizer, seed):
    samples = conversation(seed, turns=20)
    settled = {(w.start, w.end) for w in found_windows(pushed(diarizer, [samples]))}
    for latency, equal in ((settling(diarizer.config), True), (settling(diarizer.config) // 2, False)):
        stream = diarizer.stream(latency_s=latency / RATE)
        placed, place = [], stream.live.place

        def spy(probabilities, placed=placed, place=place):
            decisions, windows = place(probabilities)
            placed.extend([*windows, *(w for d in decisions for w in d.ahead)])
            return decisions, windows

        stream.live.place = spy
        stream.push(samples)
        live = {(w.start, w.end) for w in placed}
        due = {w for w in settled if w[1] <= stream.decided * RATE}
        assert (due <= live <= settled) == equal


@pytest.mark.parametrize("seed", range(3))
def test_with_latency_enough_each_window_decides_what_it_decides_in_a_file(diarizer, seed):
    """Piece by piece: the edges between windows are those of the offline turns, whoever speaks."""
    samples = conversation(seed, turns=30)
    alone = Diarizer(diarizer.config, embedder=diarizer.embedder, vad=diarizer.vad)  # one speaker a moment
    stream = pushed(alone, [samples], latency_s=settling(diarizer.config) / RATE)
    windows = found_windows(stream)
    count = len(windows)
    spans = turns(found_regions(stream), windows, range(count), np.eye(count))  # everybody is somebody else
    own = {span.end: span.start for span in spans}
    finals = stream._state.finals.array().tolist()
    live = [(start, end) for start, end, _ in finals]
    assert all(one[2] != two[2] for one, two in pairwise(finals) if two[0] != own[two[1]])  # late
    pauses = stream.settled.state.pauses_found.array().tolist()  # what is decided after one is another's
    late = [(start, own[end]) for start, end in live if start != own[end]]
    assert len(live) > 20
    assert len(late) > 0
    assert all(any(begin < start == b - PAD for _, b in pauses) for start, begin in late)
    silent = [end for end in own if any(a <= own[end] and end < b for a, b in pauses)]
    left = set(own) - {end for _, end in live} - set(silent)
    assert len(left) <= 1  # a cough before anybody spoke


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


@pytest.mark.parametrize("length_s", [1.5, 4.0])  # 4 s windows have another threshold than the segments
def test_verification_is_diarization_of_two_segments(length_s):
    """Two regions of one window each: one speaker exactly when `verify` says so, at its threshold."""
    config = Config.from_dict({"vad": {"pad_s": 0.0}, "windows": {"length_s": length_s}})
    diarizer = Diarizer(config, embedder=FakeEmbedder(0.3), vad=SharpVad(), segmenter=FakeSegmenter())
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
                == diarizer.verify(a, b, sample_rate=RATE, threshold=strict.threshold(0.64, 0.64)).same
            )
    assert {verdict.same for verdict in verdicts} == {True, False}


# 4. Finality -------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_s", LATENCIES)
@pytest.mark.parametrize("rate", [RATE, 8000, 44100])
def test_every_sample_is_decided_in_time_and_for_good(diarizer, latency_s, rate):
    """At each push: what was decided stays, what is new was not overdue, and comes after it."""
    rng = np.random.default_rng(int(10 * latency_s))
    for seed in range(2):
        samples = conversation(seed, turns=10)
        stream = diarizer.stream(latency_s=latency_s, sample_rate=rate)
        before, seen = 0, []
        for piece in [*cuts(samples, rng, 3000), None]:
            turns = stream.finish() if piece is None else stream.push(piece)
            for turn in turns:
                assert turn.start < turn.end
                assert not seen or turn.start >= seen[-1].end
                # Its first sample was not due yet when the push before this one came back.
                assert turn.start >= before / rate - latency_s - 1e-9
            seen += turns
            assert tuple(joined(seen)) == stream.finals
            before += 0 if piece is None else len(piece)
        assert len(seen) > 5


def clicks(seed: int) -> np.ndarray:
    """Sounds of a frame or two, nearer to one another than a pause that is filled, and words among them."""
    rng, pieces = np.random.default_rng(seed), []
    for _ in range(120):
        frames = int(rng.choice([1, 2, 3, 4, 12]))
        pieces.append(speech(0.1, frames * FRAME / RATE, rng))
        pieces.append(silence(float(rng.integers(1, 20)) * FRAME / RATE))
    return np.concatenate(pieces)


@pytest.mark.parametrize("frames", [7, 8, 11, 16, 32])
@pytest.mark.parametrize("make", [clicks, lambda seed: conversation(seed, turns=10)])
def test_not_one_frame_too_late(frames, make):
    """With latencies of whole frames, pushed by the frame: nothing is left to hide a late decision."""
    diarizer = Diarizer(embedder=FakeEmbedder(), vad=SharpVad(), segmenter=FakeSegmenter())
    for seed in range(4):
        samples = make(seed)
        stream, latest = diarizer.stream(latency_s=frames * FRAME / RATE), 0.0
        for end in range(FRAME, len(samples) + 1, FRAME):
            turns = stream.push(samples[end - FRAME : end])
            assert all(round(turn.start * RATE) >= end - frames * FRAME for turn in turns)
            assert all(turn.start >= latest for turn in turns)  # two that overlap come together
            latest = max([latest, *(turn.end for turn in turns)])
            assert round(stream.decided * RATE) >= end - (frames - 1) * FRAME
        stream.finish()
        assert stream.finals


@pytest.mark.parametrize("latency_s", [0.25, 1.0, 3.0])
def test_a_monologue_is_reported_as_it_goes(latency_s):
    diarizer = Diarizer(embedder=FakeEmbedder(0.05), vad=FakeVad(), segmenter=FakeSegmenter())
    samples = speech(0.1, 120.0, np.random.default_rng(0))
    stream = diarizer.stream(latency_s=latency_s)
    for end in range(RATE, len(samples) + 1, RATE):
        stream.push(samples[end - RATE : end])
        reached = stream.finals[-1].end if stream.finals else 0.0
        assert reached >= end / RATE - latency_s - FRAME / RATE
        assert len(stream.finals) <= 1


@pytest.mark.parametrize("latency_s", [*LATENCIES, None])
def test_the_hypothesis_is_what_finish_would_say(diarizer, latency_s):
    """And looking at it changes nothing."""
    samples = conversation(6, turns=8)
    stream, unseen = diarizer.stream(latency_s=latency_s), diarizer.stream(latency_s=latency_s)
    guessed = 0
    for start in range(0, len(samples), 10 * FRAME):
        piece = samples[start : start + 10 * FRAME]
        assert stream.push(piece) == unseen.push(piece)
        guess = stream.hypothesis
        if start % (50 * FRAME) == 0 and len(piece) == 10 * FRAME:
            now = diarizer.stream(state=stream.state())
            assert tuple(now.finish()) == guess
            guessed += len(guess)
    assert guessed > 5
    assert stream.finish() == unseen.finish()
    assert stream.result() == unseen.result()
    assert stream.hypothesis == ()


@pytest.mark.parametrize("latency_s", [*LATENCIES, None])
def test_a_stream_that_was_saved_goes_on_as_if_nothing_had_been(latency_s):
    diarizer = configured(max_rows=16)
    for rate in (RATE, 44100):
        samples, rng = conversation(8, turns=30), np.random.default_rng(1)
        unbroken = pushed(diarizer, [samples], latency_s=latency_s, sample_rate=rate)
        stream, turns = diarizer.stream(latency_s=latency_s, sample_rate=rate), []
        for piece in cuts(samples, rng, 30_000):
            turns += stream.push(piece)
            if rng.random() < 0.2:
                again = configured(max_rows=16)  # another process has made its own
                stream = again.stream(state=stream.state())
        turns += stream.finish()
        assert tuple(joined(turns)) == unbroken.finals
        assert same_bits(stream.result(), unbroken.result())
        assert latency_s is None or stream.live.state.labeller.hindsight.due > FIRST  # looked back


@pytest.mark.parametrize("latency_s", [0.25, 2.0, None])
def test_a_stream_that_is_saved_at_every_frame(diarizer, latency_s):
    """Whatever the moment, nothing is lost: not in the middle of a word, not on its last frame."""
    samples = conversation(12, turns=4)
    stream, before = diarizer.stream(latency_s=latency_s), diarizer.stream(latency_s=latency_s)
    for start in range(0, len(samples), FRAME):
        stream = diarizer.stream(state=stream.state())
        assert stream.push(samples[start : start + FRAME]) == before.push(samples[start : start + FRAME])
    assert stream.finish() == before.finish()
    assert same_bits(stream.result(), before.result())


def test_committed_speakers_are_seeds_that_never_merge():
    rng = np.random.default_rng(0)
    for seed in range(20):
        rows = unit(rng.normal((2.0, 0.0, 0.0), 1.0, (12, 3)))  # all alike
        matrix = scores(rows)
        for seeds in range(13):
            labels = average_linkage(matrix, rng.uniform(0.5, 9, 12), -1.0, seeds=seeds)
            assert labels[:seeds].tolist() == list(range(seeds))
            assert labels.max() + 1 == max(1, seeds)
        alone = average_linkage(matrix, np.ones(12), 0.8)
        assert np.array_equal(average_linkage(matrix, np.ones(12), 0.8, seeds=1), alone), seed


def test_speakers_who_sound_alike_stay_two():
    """What is nearer to the second is the second's, however near the first is."""
    angles = (0.0, 0.4)
    state = LabellerState(
        [
            Speaker(name, np.array([np.cos(a), np.sin(a)]) * 9, 9.0, spoke=True)
            for name, a in zip("AB", angles, strict=True)
        ]
    )
    labeller = Labeller(LiveConfig(), ClusteringConfig(), 24_000, 0.35, Bounds(), state)
    for k, angle in enumerate([0.0, 0.4, 0.1, 0.3, 0.4, 0.0]):
        window = Window(24_000 * k, 24_000 * (k + 1), 0)
        row = np.array([np.cos(angle), np.sin(angle)], np.float32)
        decision = Decision(window.start, window.end, window, (window,))
        assert labeller.push(decision, [row]) == round(angle / 0.4)


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
    table = stream.settled.state.windows_found.array()
    voiced = set(table[stream.settled._heard(table), 2].tolist())
    assert voiced
    turns = stream.result().exclusive
    edges = {round(t.start * RATE) for t in turns} | {round(t.end * RATE) for t in turns}
    for start in voiced:
        assert {start, regions[start].end} <= edges
    pauses = [tuple(pause) for pause in stream.settled.state.pauses_found.array().tolist()]
    inside = [(one, other) for one, other in pairwise(turns) if round(other.start * RATE) not in voiced]
    for one, other in inside:
        end, start = round(one.end * RATE), round(other.start * RATE)
        assert one.speaker != other.speaker
        assert end == start or (end - PAD, start + PAD) in pauses
    missing = sum(round((other.start - one.end) * RATE) for one, other in inside)
    total = sum(regions[s].end - s for s in voiced)
    assert sum(round(t.duration * RATE) for t in turns) == total - missing


def test_turns_are_the_speech_to_the_sample():
    config = Config.from_dict({"vad": {"pad_s": 0.0}})
    diarizer = Diarizer(config, embedder=FakeEmbedder(), vad=SharpVad(), segmenter=FakeSegmenter())
    rng = np.random.default_rng(0)
    frames = [0, 41, 60, 203, 301, 344]  # silence to 41, speech to 60, ...; speech until the end
    lengths = [(b - a) * FRAME / RATE for a, b in pairwise(frames)]
    pieces = [speech(0.1, s, rng) if i % 2 else silence(s) for i, s in enumerate(lengths)]
    tail = speech(0.1, 1.0, rng)[:16001]
    found = diarizer(np.concatenate([*pieces, tail]), sample_rate=RATE, num_speakers=1)
    end = 344 * FRAME + len(tail)
    expected = [(41 * FRAME, 60 * FRAME), (203 * FRAME, 301 * FRAME), (344 * FRAME, end)]
    assert [(t.start, t.end) for t in found] == [(a / RATE, b / RATE) for a, b in expected]


def test_exclusive_turns_never_overlap_and_neighbours_differ(diarizer):
    for seed in range(6):
        found = diarizer(conversation(seed, turns=20), sample_rate=RATE).exclusive
        for a, b in zip(found.turns, found.turns[1:], strict=False):
            assert a.start < a.end <= b.start
            assert a.end < b.start or a.speaker != b.speaker


def test_two_speak_at_once_only_where_two_voices_are_heard(diarizer):
    """To the sample: one more than in the exclusive turns, inside the overlaps, and nobody twice."""
    both = 0
    for seed in range(6):
        found = diarizer(conversation(seed, turns=20), sample_rate=RATE)
        speaking = {name: np.zeros(round(found.duration * RATE), int) for name in found.speakers}
        alone = np.zeros(round(found.duration * RATE), int)
        inside = np.zeros(round(found.duration * RATE), bool)
        for turn in found:
            speaking[turn.speaker][round(turn.start * RATE) : round(turn.end * RATE)] += 1
        for turn in found.exclusive:
            alone[round(turn.start * RATE) : round(turn.end * RATE)] += 1
        for start, end in found.overlaps:
            inside[round(start * RATE) : round(end * RATE)] = True
        assert max(times.max() for times in speaking.values()) == 1
        count = sum(speaking.values())
        assert np.array_equal(count, alone + (inside & (alone == 1)))
        both += (count == 2).sum()
    assert both > 10 * RATE


# 6. Batch mates ----------------------------------------------------------------------------------


def rows_of(diarizer: Diarizer, samples: np.ndarray, seed: int) -> tuple[list[Window], list[np.ndarray]]:
    """The settled windows and rows of samples that were pushed in pieces."""
    stream = pushed(diarizer, cuts(samples, np.random.default_rng(seed), 50_000))
    windows, rows = found_windows(stream), stream.settled.state.rows.rows
    assert len(windows) == len(rows) > 40
    return windows, rows


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_row_is_made_of_its_window_alone(seed):
    """Whatever waited with it, and however long ago its samples came: nothing is forgotten too early."""
    config = Config.from_dict({"windows": {"embedding": "exact"}})
    diarizer = Diarizer(config, embedder=ExactEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())
    samples = conversation(seed, turns=20)
    for window, row in zip(*rows_of(diarizer, samples, seed), strict=True):
        own = repeat(samples[window.start : window.end], config.windows.length)
        assert np.array_equal(row, diarizer.embedder([own])[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_dense_row_is_made_of_its_tile_and_its_place(seed):
    """The rule of `diarize.stages.embedding`, said the long way; the order of the rows as well."""
    diarizer = Diarizer(embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())
    rng = np.random.default_rng(seed)
    samples = np.concatenate(
        [conversation(seed, turns=20), silence(2.0), speech(0.2, 0.2, rng), silence(3.0)]
    )
    length, embedder = diarizer.config.windows.length, diarizer.embedder
    windows, rows = rows_of(diarizer, samples, seed)
    regions = Counter(window.region for window in windows)
    assert 1 in regions.values()
    for window, row in zip(windows, rows, strict=True):
        if regions[window.region] == 1:  # alone: as verification would
            own = repeat(samples[window.start : window.end], length)
            assert np.array_equal(row, embedder([own])[0])
            continue
        number = (window.start + window.end) // 2 // TILE
        first, last = number * TILE - RATE, (number + 1) * TILE + RATE
        tile, start = samples[max(0, first) : last], max(0, first)
        (expected,) = embedder.tile(tile, [(window.start - start, window.end - start)]).result()
        assert np.array_equal(row, expected)


def test_a_window_is_alone_only_when_its_region_is_over():
    """Steps of more than half a window: a region's first window is in one tile, the second in the next."""
    config = Config.from_dict({"windows": {"step_s": 0.9}})
    diarizer = Diarizer(config, embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())
    rng = np.random.default_rng(0)
    samples = np.concatenate([speech(0.0, 5.0, rng), silence(74.1), speech(0.2, 7.0, rng), silence(2.0)])
    by_frames = np.split(samples, range(512, len(samples), 512))
    results = [pushed(diarizer, by_frames, latency_s=2.0), pushed(diarizer, [samples])]
    for stream in results:
        first = next(i for i, window in enumerate(found_windows(stream)) if window.start > 70 * RATE)
        windows = found_windows(stream)[first : first + 2]
        assert [(window.start + window.end) // 2 // TILE for window in windows] == [3, 4]
        assert windows[0].region == windows[1].region
    assert np.array_equal(*(stream.settled.state.rows.arrays()[0] for stream in results))


def test_a_tile_is_computed_once():
    """With all its windows, when the last of them is known: a second call would cost as much again."""
    embedder = FakeEmbedder()
    diarizer = Diarizer(embedder=embedder, vad=FakeVad(), segmenter=FakeSegmenter())
    rng = np.random.default_rng(0)
    samples = np.concatenate([speech(0.1, 95.0, rng), silence(3.0), speech(0.3, 40.0, rng)])
    pushed(diarizer, cuts(samples, rng, 9000))
    assert len(embedder.tiles) == 7


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


@pytest.mark.parametrize("latency_s", LATENCIES)
@pytest.mark.parametrize("most", [1, 2, 3])
def test_final_turns_never_hold_more_speakers_than_asked_for(diarizer, latency_s, most):
    for seed in range(3):
        samples = conversation(seed, turns=16, voices=(0.0, 0.2, 0.4, 0.6, 0.8))
        for options in ({"num_speakers": most}, {"max_speakers": most}):
            stream = pushed(diarizer, [samples], latency_s=latency_s, **options)
            assert 1 <= len({turn.speaker for turn in stream.finals}) <= most
            assert stream.result() == diarizer(samples, sample_rate=RATE, **options)
    free = pushed(diarizer, [samples], latency_s=latency_s)
    assert len({turn.speaker for turn in free.finals}) > 3


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


def test_many_streams_share_one_diarizer_from_threads(diarizer):
    """Pushed in small pieces in turn, each gives what it gives alone."""
    samples = [conversation(seed, turns=8) for seed in range(12)]
    alone = [pushed(diarizer, [one], latency_s=1.0) for one in samples]
    with ThreadPoolExecutor(12) as pool:
        again = pool.map(
            lambda i: pushed(diarizer, cuts(samples[i], np.random.default_rng(i), 8000), latency_s=1.0),
            range(12),
        )
        for one, other in zip(alone, again, strict=True):
            assert one.finals == other.finals
            assert same_bits(one.result(), other.result())


# 9. Honest emptiness -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 159, 160, 511, 512, 513, 1600, 16000, 160_000])
@pytest.mark.parametrize("kind", ["silence", "speech"])
def test_nothing_and_next_to_nothing(count, kind):
    diarizer = Diarizer(embedder=FakeEmbedder(0.05), vad=FakeVad(), segmenter=FakeSegmenter())
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


def held(stream: Stream) -> int:
    """Samples that the stream has not dropped yet."""
    held = stream.held
    assert held.end - held.start == sum(map(len, held.pieces))
    return held.end - held.start


@pytest.mark.parametrize("embedding", ["dense", "exact"])
def test_what_is_held_does_not_grow(embedding):
    config = Config.from_dict({"windows": {"embedding": embedding}, "clustering": {"max_rows": 16}})
    diarizer = Diarizer(config, embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())
    stream = diarizer.stream()
    rng = np.random.default_rng(0)
    for _ in range(6):  # a monologue of 40 s, then a pause
        for voice in (0.0, 0.2):
            stream.push(speech(voice, 20.0, rng))
            assert held(stream) <= 2 * TILE + 6 * RATE
            assert len(stream.embedding.under_way) <= UNDER_WAY
        stream.push(silence(20.0))
        assert held(stream) <= 2 * TILE + RATE
        stream.push(silence(60.0))
        assert held(stream) <= TILE + 4 * RATE
        assert len(stream.settled.state.rows.rows) <= 16
    stream.finish()
    assert len(stream.settled.state.rows.index()) == len(stream.settled.state.windows_found) > 300


def test_a_live_stream_grows_by_less_than_two_megabytes_an_hour():
    """An hour of talk, then another one: what is kept of it, saved, and what lies in between."""
    diarizer = configured(max_rows=256)
    stream, sizes = diarizer.stream(latency_s=2.0), []
    talk = conversation(1, turns=60)
    minutes = 0.0
    for hour in (0.25, 0.5, 0.75, 1.0):
        while minutes < 60 * hour:
            stream.push(talk)
            minutes += len(talk) / RATE / 60
        live = stream.live.state
        assert len(live.rows) < 64
        assert len(live.deadlines.waiting) < 8
        assert len(live.pauses) < 16
        assert not live.regions.filled
        assert not stream.settled.state.regions.filled
        assert len(live.labeller.strangers) <= MAX_STRANGERS
        assert len(live.labeller.hindsight.rows) <= MAX_ROWS < live.labeller.hindsight.heard
        assert held(stream) < 2 * TILE + 3 * RATE
        sizes.append(len(stream.state()) - 4 * held(stream))  # of what is held, more or less by the moment
    assert max(np.diff(sizes)) < 2e6 / 4
    assert len(stream.settled.state.pauses_found) > 200


def test_strangers_do_not_pile_up():
    """Where nobody new may speak, all who fit nobody are strangers."""
    axes = np.eye(80, dtype=np.float32)
    state = LabellerState([Speaker("A", axes[0].astype(float) * 9, 9.0, spoke=True)])
    labeller = Labeller(LiveConfig(), ClusteringConfig(), 24_000, 0.35, Bounds(1, 1), state)
    for k in range(1, 80):
        window = Window(24_000 * k, 24_000 * (k + 1), 0)
        assert labeller.push(Decision(window.start, window.end, window, (window,)), [axes[k]]) == 0
        assert len(state.strangers) == min(k, MAX_STRANGERS)


def lines_run(work) -> int:
    """Lines of Python that a call runs: counted, not timed."""
    lines = 0

    def count(frame, event, _, /):
        nonlocal lines
        lines += 1
        return count

    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(None)
    return lines


def test_a_summary_does_not_touch_the_windows_of_before():
    summary, rng = Representatives(16), np.random.default_rng(0)
    rows = unit(rng.normal(size=(4000, 4)))
    work = [lines_run(lambda row=row: summary.add(row)) for row in rows]
    assert max(work[3000:]) < 1.3 * max(work[16:1000])
    assert len(summary.index()) == 4000


def test_no_push_does_work_that_grows_with_the_stream():
    diarizer = configured(max_rows=64)
    stream = diarizer.stream(latency_s=2.0)
    talk = conversation(2, turns=30)
    touched = []
    for _ in range(30):
        touched.append(lines_run(lambda: stream.push(talk)))
        stream.push(silence(10.0))
    assert max(touched[15:]) < 1.3 * max(touched[3:15])
