"""The stages one by one, against plain restatements of what they promise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from diarize.config import VadConfig, WindowsConfig
from diarize.errors import StreamFinished
from diarize.stages.boundaries import turns
from diarize.stages.embedding import repeat
from diarize.stages.items import FRAME, Region, Span, Window
from diarize.stages.regions import Regions
from diarize.stages.vad import SileroVad, Vad
from diarize.stages.windows import Windows

STEP, LENGTH = 6400, 19200


@pytest.fixture(scope="module")
def silero() -> SileroVad:
    return SileroVad()


def test_silero_frame_by_frame_is_silero_at_once(silero, sample_wav):
    from diarize.audio import read_audio

    samples = read_audio(sample_wav)[: 12 * 16000 + 100]
    whole = Vad(silero)
    at_once = np.concatenate([whole.push(samples), whole.finish()])
    assert len(at_once) == -(-len(samples) // FRAME)
    assert at_once.max() > 0.9
    assert at_once.min() < 0.1
    for size in (FRAME, 100, 7777):
        vad = Vad(silero)
        pieces = [vad.push(samples[i : i + size]) for i in range(0, len(samples), size)]
        assert np.array_equal(np.concatenate([*pieces, vad.finish()]), at_once)


def test_silero_is_the_published_one(silero, sample_wav):
    """Against the package's own wrapper of its other, per-frame model."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    import silero_vad  # sets the number of threads: the reason why the product never imports it

    from diarize.audio import read_audio

    torch.set_num_threads(threads)
    samples = read_audio(sample_wav)[: 300 * FRAME]
    model = silero_vad.load_silero_vad(onnx=True)
    theirs = [float(model(torch.from_numpy(part), 16000)) for part in samples.reshape(-1, FRAME)]
    assert np.abs(Vad(silero).push(samples) - theirs).max() < 1e-3


def regions_of(probabilities, config=None, pushes=(), **options):
    stage = Regions(
        config or VadConfig(**{"min_silence_s": 0.128, "min_speech_s": 0.064, "pad_s": 0.032} | options)
    )
    found = []
    for part in np.split(np.asarray(probabilities, float), pushes):
        found += stage.push(part)
    return found + stage.finish(len(probabilities) * FRAME)


def closed(found):
    return [(r.start // FRAME, r.end // FRAME) for r in found if r.closed]


def test_regions_by_onset_offset_and_durations():
    assert closed(regions_of([0, 0, 0.4, 0.2, 0.2, 0, 0, 0, 0, 0])) == [
        (1, 6)
    ]  # begins at onset, holds by offset
    assert closed(regions_of([0, 0.2, 0.2, 0.2, 0, 0, 0, 0, 0])) == []  # never reaches onset
    assert closed(regions_of([0, 0.9, 0, 0, 0, 0, 0, 0])) == []  # one frame is too short
    assert closed(regions_of([0, 0.9, 0.9, 0, 0, 0, 0.9, 0.9, 0, 0, 0, 0])) == [(0, 9)]  # pause filled
    assert closed(regions_of([0, 0.9, 0.9, 0, 0, 0, 0, 0.9, 0.9, 0, 0, 0, 0, 0])) == [(0, 4), (6, 10)]
    assert closed(regions_of([0.9] * 5)) == [(0, 5)]  # no padding beyond the recording


def test_padding_never_makes_regions_overlap():
    found = closed(regions_of([0, 0.9, 0.9, 0, 0, 0, 0.9, 0.9] + [0] * 9, min_silence_s=0.0, pad_s=0.064))
    assert found == [(0, 10)]
    found = closed(regions_of([0, 0.9, 0.9, 0, 0, 0, 0, 0.9, 0.9] + [0] * 9, min_silence_s=0.0, pad_s=0.064))
    assert found == [(0, 5), (5, 11)]


def test_an_open_region_is_reported_as_it_grows():
    found = regions_of([0.9] * 200)
    assert [r.closed for r in found] == [False] * 199 + [True]
    assert [r.end for r in found] == sorted(r.end for r in found)
    assert {r.start for r in found} == {0}


@pytest.mark.parametrize("last", [0.9, 0.0])
@pytest.mark.parametrize("missing", [0, 1, 100, 511])
def test_no_region_reaches_beyond_the_samples(last, missing):
    """Open ones neither: the last frame is filled with silence that nobody recorded."""
    for options in ({}, {"min_silence_s": 0.0, "pad_s": 0.0063}):
        stage = Regions(VadConfig(**options))
        stage.push([0.0] * 3 + [0.9] * 20)
        samples = 24 * FRAME - missing
        found = stage.finish(samples, [last])
        assert found
        assert all(region.end <= samples for region in found)


@pytest.mark.parametrize("seed", range(5))
def test_regions_do_not_depend_on_pushes(seed):
    rng = np.random.default_rng(seed)
    probabilities = np.repeat(rng.random(60), rng.integers(1, 9, 60))
    whole = regions_of(probabilities)
    for _ in range(20):
        assert regions_of(probabilities, pushes=np.sort(rng.integers(0, len(probabilities), 12))) == whole
    spans = closed(whole)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


def expected_windows(start, end):
    """The rule of the module's docstring, said the long way."""
    start, end = -(-start // 160) * 160, end // 160 * 160
    grid = [(k * STEP, k * STEP + LENGTH) for k in range(-3, end // STEP + 1)]
    clipped = [(max(a, start), min(b, end)) for a, b in grid]
    kept = sorted({(a, b) for a, b in clipped if b - a > LENGTH // 2})
    return kept or ([(start, end)] if end - start >= 1600 else [])


@pytest.mark.parametrize("seed", range(5))
def test_windows_follow_the_rule_however_a_region_opens(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        start = int(rng.integers(0, 200_000))
        end = start + int(rng.choice([800, 1600, 5000, 11_999, 12_000, 17_000, 24_000, 24_001, 100_000]))
        growing = sorted(int(e) for e in rng.integers(start, end + 1, 6))
        stage = Windows(WindowsConfig())
        given = stage.push([Region(start, e, closed=False) for e in growing])
        early = [(w.start, w.end) for w in given]
        given += stage.push([Region(start, end)]) + stage.finish()
        assert [(w.start, w.end) for w in given] == expected_windows(start, end)
        assert all(b <= growing[-1] for _, b in early)
        assert {w.region for w in given} <= {start}


def test_every_sample_of_a_long_region_is_near_a_window():
    for start in range(0, 12_000, 777):
        windows = expected_windows(start, start + 60_000)
        assert windows[0][0] - start < 160
        assert start + 60_000 - windows[-1][1] <= LENGTH // 2


def test_short_signals_are_repeated():
    assert repeat(np.arange(3, dtype=np.float32), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert repeat(np.arange(9, dtype=np.float32), 7).tolist() == list(range(9))


def sure(labels):
    """Scores of windows that leave no doubt."""
    return np.eye(max(labels) + 1)[labels]


def test_turns_meet_in_the_middle_and_keep_the_edges():
    regions = [Region(100, 50_000), Region(60_000, 61_000), Region(70_000, 90_000)]
    windows = [
        Window(160, 24_000, 100),
        Window(12_000, 36_000, 100),
        Window(26_000, 49_920, 100),
        Window(70_080, 89_920, 70_000),
    ]
    assert turns(regions, windows, [1, 1, 0, 0], sure([1, 1, 0, 0])) == [
        Span(100, 31_000, 1),
        Span(31_000, 50_000, 0),
        Span(70_000, 90_000, 0),
    ]
    abutting = [Region(0, 24_000), Region(24_000, 48_000)]
    windows = [Window(0, 24_000, 0), Window(24_000, 48_000, 24_000)]
    assert turns(abutting, windows, [0, 0], sure([0, 0])) == [Span(0, 48_000, 0)]
    assert turns(abutting, windows, [0, 1], sure([0, 1])) == [Span(0, 24_000, 0), Span(24_000, 48_000, 1)]


@pytest.mark.parametrize(
    ("scores", "move"),
    [
        ([[0.9, 0.1], [0.3, 0.5]], 0.3),  # the second window is less sure: it holds speech of the first's
        ([[0.5, 0.3], [0.1, 0.9]], -0.3),
        ([[0.6, 0.2], [0.2, 0.6]], 0.0),
        ([[0.9, 0.1], [0.5, 0.5]], 0.4),  # never all the way: no window loses every sample
        ([[0.5, 0.5], [0.1, 0.9]], -0.4),
        ([[0.5, 0.6], [0.1, 0.9]], -0.4),
        ([[0.5, 0.5], [0.5, 0.5]], 0.0),
        ([[0.4, 0.5], [0.6, 0.5]], 0.0),  # nothing to go by
    ],
)
def test_a_change_of_speaker_lies_where_the_scores_cross(scores, move):
    windows = [Window(0, LENGTH, 0), Window(STEP, STEP + LENGTH, 0)]
    change = (LENGTH + STEP) // 2 + round(move * STEP)
    spans = turns([Region(0, 30_000)], windows, [0, 1], np.array(scores))
    assert spans == [Span(0, change, 0), Span(change, 30_000, 1)]


@pytest.mark.parametrize("seed", range(200))
def test_no_window_loses_its_samples(seed):
    """Windows as the stage gives them, at region edges too; everybody is somebody else."""
    rng = np.random.default_rng(seed)
    start = int(rng.integers(0, 40_000))
    region = Region(start, start + int(rng.integers(2_000, 90_000)))
    windows = Windows(WindowsConfig()).push([region])
    scores = rng.uniform(-1, 1, (len(windows), len(windows)))
    spans = turns([region], windows, range(len(windows)), scores)
    assert [span.label for span in spans] == list(range(len(windows)))
    assert all(span.start < span.end for span in spans)


@pytest.mark.parametrize(
    ("pauses", "expected"),
    [
        ([(17_000, 23_000)], [Span(0, 17_800, 0), Span(22_200, 40_000, 1)]),
        ([(2_000, 9_000), (17_000, 23_000), (30_000, 35_000)], [Span(0, 17_800, 0), Span(22_200, 40_000, 1)]),
        ([(2_000, 9_000)], [Span(0, 20_000, 0), Span(20_000, 40_000, 1)]),  # it is one person's
        ([(20_001, 23_000)], [Span(0, 20_000, 0), Span(20_000, 40_000, 1)]),  # the change is not in it
        ([(19_000, 20_400)], [Span(0, 20_000, 0), Span(20_000, 40_000, 1)]),  # nothing is left of it
        ([(1_000, 39_500)], [Span(0, 1_800, 0), Span(38_700, 40_000, 1)]),
    ],
)
def test_a_pause_in_which_the_speaker_changes_is_nobodys(pauses, expected):
    windows = [Window(0, 20_000, 0), Window(20_000, 40_000, 0)]
    spans = turns([Region(0, 40_000)], windows, [0, 1], sure([0, 1]), pauses)
    assert spans == expected
    whole = turns([Region(0, 40_000)], windows, [0, 0], sure([0, 0]), pauses)
    assert whole == [Span(0, 40_000, 0)]


def test_a_turn_inside_a_pause_is_not_lost():
    windows = [Window(0, 16_000, 0), Window(16_000, 24_000, 0), Window(24_000, 40_000, 0)]
    spans = turns([Region(0, 40_000)], windows, [0, 1, 2], sure([0, 1, 2]), [(12_000, 28_000)])
    assert spans == [Span(0, 16_000, 0), Span(16_000, 24_000, 1), Span(24_000, 40_000, 2)]


def test_pauses_that_are_filled_are_given_once():
    stage = Regions(VadConfig(min_silence_s=0.3, min_speech_s=0.1, pad_s=0.05))
    heard = [0.9] * 10 + [0.0] * 5 + [0.9] * 10 + [0.0] * 9 + [0.9] + [0.0] * 20 + [0.9] * 5
    stage.push(heard[:17])
    assert stage.filled() == [(10 * FRAME, 15 * FRAME)]
    stage.push(heard[17:])
    assert stage.filled() == [(25 * FRAME, 34 * FRAME)]  # the long one is no pause of anybody
    assert stage.filled() == []


@pytest.mark.parametrize("make", [lambda: Regions(VadConfig()), lambda: Windows(WindowsConfig())])
def test_a_finished_stage_says_so(make):
    stage = make()
    stage.finish(*([0] if isinstance(stage, Regions) else []))
    with pytest.raises(StreamFinished, match="finished; make a new one"):
        stage.push([])
