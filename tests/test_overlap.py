"""People who speak at once: by hand, through streams, and in real conversations."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from fakes import RATE, FakeEmbedder, FakeSegmenter, FakeVad, SharpVad, conversation, cuts, silence, speech

from diarize import Config, ConfigError, Diarizer, Turn
from diarize.networks.powerset import FIRST_CENTRE, MIN_SAMPLES, STEP, num_frames
from diarize.result import overlapping
from diarize.stages.boundaries import overlaps, seconds
from diarize.stages.held import Held
from diarize.stages.items import FRAME, Span, Voices
from diarize.stages.overlap import MARGIN, TILE, Overlap, PowersetSegmenter, voices


def spans(*pieces):
    return [Span(*piece) for piece in pieces]


# By hand ----------------------------------------------------------------------------------------------


def test_frames_become_pieces_around_their_middles():
    one, two = [0.9, 0.1], [0.9, 0.8]
    quiet = [0.2, 0.1]
    heard = np.array([quiet, one, one, two, quiet, one])
    edge = FIRST_CENTRE - STEP // 2  # of frame 0, in the tile
    start, first, last = 1000, 1000, 5000
    assert voices(heard, start, first, last) == [
        Voices(1000 + edge + STEP, 1000 + edge + 3 * STEP, 1),
        Voices(1000 + edge + 3 * STEP, 1000 + edge + 4 * STEP, 2),
        Voices(1000 + edge + 5 * STEP, 5000, 1),  # the last frame answers to the end
    ]
    assert voices(np.array([two, two]), 1000, 1200, 1500) == [Voices(1200, 1500, 2)]
    assert voices(np.array([quiet, quiet]), 0, 0, 2000) == []
    assert voices(np.float32([[0.5, 0.6]] * 2), 0, 0, 2000) == [Voices(0, 2000, 2)]
    assert voices(np.float32([[0.5, 0.59]] * 2), 0, 0, 2000) == [Voices(0, 2000, 1)]


def test_short_overlaps_are_none_and_short_pauses_are_filled():
    heard = [Voices(0, 5000, 1), Voices(5000, 8000, 2), Voices(8000, 9599, 1), Voices(9599, 11_000, 2)]
    heard += [Voices(20_000, 21_599, 2), Voices(30_000, 31_600, 2), Voices(31_600, 40_000, 2)]
    heard += [Voices(41_600, 50_000, 2)]
    assert overlaps(heard) == [(5000, 11_000), (30_000, 40_000), (41_600, 50_000)]
    assert overlaps([]) == []


def test_the_second_speaker_is_the_other_one_nearest_in_time():
    turns = spans((0, 1000, 0), (1000, 2000, 1), (2500, 4000, 0), (4000, 5000, 2))
    assert seconds(turns, [(800, 900)]) == spans((800, 900, 1))  # who speaks next
    assert seconds(turns, [(1100, 1200)]) == spans((1100, 1200, 0))  # who spoke before
    assert seconds(turns, [(2600, 2700)]) == spans((2600, 2700, 1))  # across a pause
    assert seconds(turns, [(3500, 3600)]) == spans((3500, 3600, 2))
    assert seconds(turns, [(3200, 3300)]) == spans((3200, 3300, 2))
    assert seconds(turns, [(900, 1100)]) == spans((900, 1000, 1), (1000, 1100, 0))  # across a change
    assert seconds(turns, [(2100, 2400), (6000, 7000)]) == []  # where nobody speaks
    assert seconds(turns, [(2400, 2600)]) == spans((2500, 2600, 1))
    assert seconds(spans((0, 10, 0), (10, 20, 1), (20, 30, 2)), [(10, 20)]) == spans((10, 20, 0))  # a tie
    assert seconds(spans((0, 1000, 0), (2000, 3000, 0)), [(100, 200), (2100, 2200)]) == []  # nobody else
    assert seconds([], [(0, 10)]) == []


def test_the_second_speaker_against_a_plain_restatement():
    rng = np.random.default_rng(0)
    for _ in range(200):
        edges = np.unique(rng.integers(0, 300, 20))
        turns = [Span(int(a), int(b), int(rng.integers(3))) for a, b in pairwise(edges) if rng.random() < 0.8]
        marks = np.unique(rng.integers(0, 300, 8)).tolist()
        both = list(zip(marks[::2], marks[1::2], strict=False))
        expected = []
        for start, end in both:
            for turn in turns:
                a, b = max(start, turn.start), min(end, turn.end)
                distance = [
                    (max(a - other.end, other.start - b), i, other.label)
                    for i, other in enumerate(turns)
                    if other.label != turn.label
                ]
                if a < b and distance:
                    expected.append(Span(a, b, min(distance)[2]))
        assert seconds(turns, both) == expected


def test_turns_that_overlap_keep_what_is_known_of_them():
    a, b, c = Turn(0.0, 2.0, "A", 0.9), Turn(2.0, 5.0, "B", 0.8), Turn(5.0, 6.0, "A", 0.6)
    found = overlapping([a, b, c, Turn(1.5, 2.0, "B", 0.65), Turn(2.0, 2.5, "A"), Turn(3.0, 3.5, "A", 0.65)])
    assert [(t.start, t.end, t.speaker) for t in found] == [
        (0.0, 2.5, "A"),
        (1.5, 5.0, "B"),
        (3.0, 3.5, "A"),
        (5.0, 6.0, "A"),
    ]
    assert [t.confidence for t in found] == pytest.approx([0.9, (0.65 * 0.5 + 0.8 * 3) / 3.5, 0.65, 0.6])
    assert overlapping([Turn(0.0, 9.0, "A"), Turn(1.0, 2.0, "A"), Turn(3.0, 4.0, "A")]) == [Turn(0, 9, "A")]
    assert overlapping([]) == []


# The stage --------------------------------------------------------------------------------------------


def staged(speaks, num_samples, blocks=()):
    """What the stage says of noise with speech in the frames of a mask, pushed in blocks of frames."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, num_samples).astype(np.float32)
    held, segmenter = Held(), FakeSegmenter()
    stage = Overlap(segmenter, 0.5, held)
    found = []
    for part in np.split(np.arange(len(speaks)), blocks):
        if len(part):
            held.hear(samples[part[0] * FRAME : (part[-1] + 1) * FRAME])
        found += stage.push(speaks[part].astype(float))
        held.forget(stage.needed(held.end))
        assert held.end - held.start < TILE + 2 * MARGIN + 40 * RATE
    found += stage.finish()
    return found, segmenter.tiles


def test_tiles_lie_on_the_clock_and_silent_ones_are_left_out():
    frames = 70 * RATE // FRAME
    speaks = np.zeros(frames, bool)
    speaks[[10, 40 * RATE // FRAME + 3]] = True  # in the first tile and in the third one
    found, tiles = staged(speaks, frames * FRAME)
    assert tiles == [TILE + MARGIN, TILE + 2 * MARGIN]
    assert {piece.start // TILE for piece in found} == {0, 2}
    assert all(piece.start < piece.end for piece in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    for blocks in ([1, 2, 3], range(0, frames, 7), [frames // 2]):
        assert staged(speaks, frames * FRAME, blocks) == (found, tiles)


def test_a_recording_shorter_than_the_network_can_hear():
    held, heard = Held(), []

    class Listening(FakeSegmenter):
        def _tile(self, samples, turn):
            heard.append(samples)
            return np.ones((num_frames(len(samples)), 2), np.float32)

    stage = Overlap(Listening(), 0.5, held)
    held.hear(np.ones(700, np.float32))
    assert stage.push([1.0]) == []
    assert stage.would_be() == stage.finish([1.0]) == [Voices(0, 700, 2)]
    assert [len(samples) for samples in heard] == [MIN_SAMPLES, MIN_SAMPLES]
    assert heard[0].sum() == 700


def test_without_a_segmenter_nothing_is_heard_or_held():
    stage = Overlap(None, 0.5, Held())
    assert (stage.push([1.0]), stage.would_be(), stage.finish([1.0]), stage.needed(77)) == ([], [], [], 77)


# Through streams --------------------------------------------------------------------------------------


class Always(FakeSegmenter):
    """Everywhere the same number of voices."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def _tile(self, samples, turn):
        return np.tile(np.float32([self.count > 0, self.count > 1]), (num_frames(len(samples)), 1))


def diarizer(count: int | None, overlap: str = "assign") -> Diarizer:
    config = dataclasses.replace(Config(), overlap=overlap)
    segmenter = None if count is None else Always(count)
    return Diarizer(config, embedder=FakeEmbedder(0.1), vad=SharpVad(), segmenter=segmenter)


def test_off_detect_and_assign():
    samples = conversation(3, turns=20)
    off, detect, assign = (
        diarizer(2, overlap)(samples, sample_rate=RATE) for overlap in ("off", "detect", "assign")
    )
    assert off.overlaps == ()
    assert off == detect == assign.exclusive == off.exclusive
    assert detect.overlaps == assign.overlaps == ((0.0, pytest.approx(assign.duration)),)
    assert sum(assign.speaking_time.values()) == pytest.approx(2 * sum(off.speaking_time.values()))
    assert set(assign.speakers) == set(off.speakers)
    assert diarizer(2, "off").segmenter is None
    with pytest.raises(ConfigError, match="must be one of assign, detect, off, got 'on'"):
        diarizer(2, "on")


def test_where_no_voice_is_heard_there_is_no_speech():
    """The VAD alone takes thunder for speech."""
    samples = conversation(3, turns=6)
    assert diarizer(None)(samples, sample_rate=RATE).speakers
    found = diarizer(0)(samples, sample_rate=RATE)
    assert (found.turns, found.overlaps, found.embeddings) == ((), (), {})


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_count_that_was_asked_for_overrides_it(count):
    samples = conversation(3, turns=6)
    assert len(diarizer(0)(samples, sample_rate=RATE, num_speakers=count).speakers) == count
    assert len(diarizer(2)(samples, sample_rate=RATE, num_speakers=count).speakers) == count


def test_a_region_without_voices_is_left_out_of_the_clustering():
    """A voice of its own that nobody hears as one does not become a speaker, and leaves no trace."""
    rng = np.random.default_rng(0)
    talk = [speech(0.0, 6.0, rng), silence(2.0), speech(0.25, 6.0, rng), silence(2.0)]
    noise = speech(0.6, 5.0, rng)

    class Deaf(FakeSegmenter):
        def _tile(self, samples, turn):
            heard = np.ones((num_frames(len(samples)), 2), np.float32)
            heard[:, 1] = 0
            if len(samples) < TILE:  # the last tile
                heard[:] = 0
            return heard

    def found(segmenter):
        return Diarizer(embedder=FakeEmbedder(0.05), vad=SharpVad(), segmenter=segmenter)(
            np.concatenate([*talk, silence(6.0), noise]), sample_rate=RATE
        )

    assert len(found(Always(1)).speakers) == 3
    left = found(Deaf())
    assert len(left.speakers) == 2
    assert left.turns[-1].end < 20 < found(Always(1)).turns[-1].start


def test_rows_of_some_windows_stand_for_no_others():
    """Of a summary: a row weighs as many of the windows that are left as are behind it."""
    config = Config.from_dict({"clustering": {"max_rows": 16}})
    made = Diarizer(config, embedder=FakeEmbedder(), vad=SharpVad(), segmenter=Always(1))
    stream = made.stream()
    stream.push(conversation(2, turns=30))
    stream.finish()
    settled, index = stream.settled, stream.settled.state.rows.index()
    assert settled.state.rows.arrays()[1].max() > 2
    heard = np.random.default_rng(0).random(len(index)) < 0.3
    rows, weights, mine = settled._rows(heard)
    assert np.array_equal(rows[mine], settled.state.rows.arrays()[0][index[heard]])
    assert np.array_equal(weights, np.bincount(mine, minlength=len(rows)))
    assert weights.sum() == heard.sum()


def test_live_the_one_who_spoke_before_speaks_besides():
    """And never the one who speaks now, nor anybody before somebody else has spoken."""
    rng = np.random.default_rng(0)
    samples = np.concatenate([speech(voice, 6.0, rng) for voice in (0.0, 0.33, 0.0)])
    made = Diarizer(embedder=FakeEmbedder(0.05), vad=SharpVad(), segmenter=Always(2))
    live = made.stream(latency_s=2.0)
    for piece in cuts(samples, rng, 9000):
        live.push(piece)
    live.finish()
    a, b = dict.fromkeys(turn.speaker for turn in live.finals)
    speaking = [
        [turn.speaker for turn in live.finals if turn.start <= second < turn.end]
        for second in (3.0, 9.0, 15.0)
    ]
    assert [sorted(names) for names in speaking] == [[a], [a, b], [a, b]]
    alone = Diarizer(dataclasses.replace(Config(), overlap="detect"), embedder=made.embedder, vad=made.vad)
    quiet = alone.stream(latency_s=2.0)
    quiet.push(samples)
    quiet.finish()
    assert sum(turn.duration for turn in quiet.finals) == pytest.approx(18, abs=0.2)


def test_a_saved_stream_goes_on_with_what_was_heard():
    made = Diarizer(embedder=FakeEmbedder(), vad=FakeVad(), segmenter=FakeSegmenter())
    samples = conversation(5, turns=20)
    whole = made(samples, sample_rate=RATE)
    assert len(whole.overlaps) > 3
    stream = made.stream()
    for piece in cuts(samples, np.random.default_rng(0), 100_000):
        stream.push(piece)
        stream = made.stream(state=stream.state())
    stream.finish()
    assert stream.result() == whole
    assert stream.result().overlaps == whole.overlaps


# The real network -------------------------------------------------------------------------------------


def test_probabilities_of_one_voice_and_of_two(weights, sample_wav):
    from diarize import models
    from diarize.audio import read_audio
    from diarize.engine import open_engine

    weights("segmentation-3.0")
    engine = open_engine(
        models.resolve("campplus-zh-en"), precision="f32", segmentation=models.resolve("segmentation-3.0")
    )
    samples = read_audio(sample_wav)
    heard = PowersetSegmenter(engine).tile(samples).result()
    classes = np.exp(engine.segment(samples))
    assert heard.shape == (num_frames(len(samples)), 2)
    assert heard[:, 0] == pytest.approx(1 - classes[:, 0], abs=1e-5)
    assert heard[:, 1] == pytest.approx(classes[:, 4:].sum(1), abs=1e-5)
    assert 0.02 < (heard[:, 1] >= 0.5).mean() < 0.3


def test_both_engines_hear_the_same(weights, sample_wav):
    from diarize import models
    from diarize.audio import read_audio
    from diarize.engine import open_engine

    pytest.importorskip("openvino")
    paths = weights("campplus-zh-en"), weights("segmentation-3.0")
    samples = read_audio(sample_wav)
    values = [
        open_engine(paths[0], engine=engine, device="cpu", precision="f32", segmentation=paths[1]).segment(
            samples[:length]
        )
        for length in (MIN_SAMPLES, len(samples))
        for engine in ("openvino", "torch")
    ]
    for one, other in (values[:2], values[2:]):
        assert np.abs(np.exp(one) - np.exp(other)).max() < 1e-3
    assert models.resolve("segmentation-3.0", offline=True) == paths[1]
