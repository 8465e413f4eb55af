"""`diarize.memo` changes no bit: networks that remember give what they gave."""

from __future__ import annotations

import dataclasses
import errno
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from fakes import (
    RATE,
    ExactEmbedder,
    FakeEmbedder,
    FakeSegmenter,
    FakeVad,
    conversation,
    silence,
)
from pyannote.core import Annotation

from diarize import AudioError, Config, DiarizeError, Diarizer
from diarize.memo import Again, Memory, RememberedVad, Sound
from diarize.stages.embedding import CAMPPlusEmbedder
from diarize.streaming_score import Recording

ALL = Annotation()
"""A reference that is not looked at."""


CONFIGS = [
    Config(),
    Config.from_dict({"vad": {"pad_s": 0.0}}),
    Config.from_dict({"vad": {"min_silence_s": 0.3, "pad_s": 0.25}}),
    Config.from_dict({"vad": {"onset": 0.8, "offset": 0.7, "min_speech_s": 0.5}}),
    Config.from_dict({"clustering": {"keep_min": 6, "min_cluster_windows": 1, "refine": "none"}}),
    Config.from_dict({"windows": {"length_s": 1.5, "step_s": 0.5}}),
    Config.from_dict({"windows": {"embedding": "exact"}}),
    dataclasses.replace(Config(), overlap="detect"),
    dataclasses.replace(Config(), overlap="off"),
    Config(),
]

RECORDINGS = [
    Recording("one", conversation(1), ALL, sample_rate=RATE),
    Recording("two", conversation(2, 6), ALL, sample_rate=8000),
    Recording("none", silence(0.01), ALL, sample_rate=RATE),
    Recording("int16", (32767 * conversation(3, 20)).astype(np.int16), ALL, sample_rate=RATE),
]


def without_memory(recording: Recording, config: Config, embedder, vad, segmenter=None):
    diarizer = Diarizer(config, embedder=embedder, vad=vad, segmenter=segmenter)
    return diarizer(recording.source, sample_rate=recording.sample_rate, uri=recording.name)


def assert_same(found, expected):
    assert (found.turns, found.duration, found.uri) == (expected.turns, expected.duration, expected.uri)
    assert (found.exclusive, found.overlaps) == (expected.exclusive, expected.overlaps)
    assert found.embeddings.keys() == expected.embeddings.keys()
    for name, row in expected.embeddings.items():
        assert np.array_equal(found.embeddings[name], row)


@pytest.mark.parametrize("make", [FakeEmbedder, ExactEmbedder])
def test_no_bit_changes_whatever_the_options(make):
    remembered, plain = make(), make()
    with Memory() as memory:
        heard = FakeSegmenter()
        again = Again(Diarizer(embedder=remembered, vad=FakeVad(), segmenter=heard), RECORDINGS, memory)
        for config in CONFIGS:
            for recording, found in zip(RECORDINGS, again(config), strict=True):
                assert_same(found, without_memory(recording, config, plain, FakeVad(), FakeSegmenter()))
        asked = len(remembered.calls), len(getattr(remembered, "tiles", ())), len(heard.tiles)
        assert asked[-1] <= 2 * sum(-(-len(r.source) // (20 * r.sample_rate)) for r in RECORDINGS)
        for config in CONFIGS:
            list(again(config))
    assert (len(remembered.calls), len(getattr(remembered, "tiles", ())), len(heard.tiles)) == asked


class CountedVad(FakeVad):
    frames = 0

    def __call__(self, frames, h, c):
        self.frames += len(frames)
        return super().__call__(frames, h, c)


def test_the_vad_hears_everything_once():
    vad = CountedVad()
    with Memory() as memory:
        again = Again(Diarizer(embedder=FakeEmbedder(), vad=vad), RECORDINGS[:1], memory)
        for config in CONFIGS:
            (found,) = again(config)
    assert vad.frames == -(-round(found.duration * RATE) // 512)


def test_the_state_of_the_vad_is_part_of_the_question():
    frames = np.zeros((3, 576), np.float32)
    with Memory() as memory:
        vad = RememberedVad(FakeVad(), memory)
        for value in (0.0, 1.0, 0.0, 0.5, 1.0):
            h, c = np.full((1, 1, 128), value, np.float32), np.zeros((1, 1, 128), np.float32)
            for found, expected in zip(vad(frames, h, c), FakeVad()(frames, h, c), strict=True):
                assert np.array_equal(found, expected)


class SmallEngine:
    """An engine whose network is a few products: what CAM++ would say depends on every feature of a tile."""

    feature_bins, embedding_size = 80, 6

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.pool = ThreadPoolExecutor(3)
        self.inside = rng.standard_normal((80, 5)).astype(np.float32)
        self.outside = rng.standard_normal((10, 6)).astype(np.float32)
        self.heard: Counter[bytes] = Counter()
        self.lock = threading.Lock()

    def submit(self, function, *arguments) -> Future:
        return self.pool.submit(function, *arguments)

    def frames(self, features):
        with self.lock:
            self.heard[features.tobytes()] += 1
        time.sleep(0.01)  # whoever asks for it meanwhile must wait
        return np.tanh((features @ self.inside)[::2] + features.mean())

    def project(self, statistics):
        return np.stack([row @ self.outside for row in statistics])

    def row(self, features):
        frames = np.tanh(features @ self.inside)
        return self.project(np.concatenate([frames.mean(0), frames.std(0)])[None])[0]

    def embed(self, inputs):
        return np.stack([self.row(features) for features in inputs])


def test_the_network_runs_once_over_each_tile():
    engine = SmallEngine()
    recordings = RECORDINGS[:2]
    dense = [c for c in CONFIGS if c.windows == Config().windows]
    with Memory() as memory:
        again = Again(Diarizer(embedder=CAMPPlusEmbedder(engine), vad=FakeVad()), recordings, memory)
        for config in dense:
            for recording, found in zip(recordings, again(config), strict=True):
                expected = without_memory(recording, config, CAMPPlusEmbedder(SmallEngine()), FakeVad())
                assert_same(found, expected)
    tiles = sum(-(-len(r.source) * RATE // r.sample_rate // (20 * RATE)) for r in recordings)
    assert 2 <= len(engine.heard) <= tiles
    assert set(engine.heard.values()) == {1}


def test_who_asks_while_it_is_computed_waits_for_it():
    calls = []

    def compute():
        calls.append(threading.get_ident())
        time.sleep(0.05)
        return (np.arange(3), np.float32([[1.5]]))

    with Memory() as memory, ThreadPoolExecutor(4) as pool:
        for numbers, more in pool.map(lambda _: memory.of(b"key", compute), range(8)):
            assert numbers.tolist() == [0, 1, 2]
            assert numbers.dtype == np.arange(3).dtype
            assert (more.tolist(), more.dtype) == ([[1.5]], np.float32)
        assert len(calls) == 1

        def fail():
            raise AudioError("no")

        for _ in range(2):  # and who comes after a failure tries again
            with pytest.raises(AudioError, match="no"):
                memory.of(b"other", fail)
        assert memory.of(b"other", lambda: (np.zeros(0),))[0].shape == (0,)
        assert memory.of(b"other", fail)[0].shape == (0,)


def test_a_failure_of_the_network_reaches_the_caller():
    class Broken(FakeEmbedder):
        def _tile(self, samples, spans, turn):
            raise DiarizeError("the network is broken")

    with Memory() as memory:
        again = Again(Diarizer(embedder=Broken(), vad=FakeVad()), RECORDINGS[:1], memory)
        for _ in range(2):
            with pytest.raises(DiarizeError, match="the network is broken"):
                list(again(Config()))


def test_nothing_is_left_on_disk(tmp_path):
    with Memory(tmp_path) as memory:
        list(Again(Diarizer(embedder=FakeEmbedder(), vad=FakeVad()), RECORDINGS[:1], memory)(Config()))
        assert memory.size > RECORDINGS[0].source.nbytes
    assert not list(tmp_path.iterdir())


class Full:
    """A file on a disk with so many bytes left; it writes in pieces, as the system may."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = min(self.room, 1000, len(data))
        self.room -= count
        return self.file.write(data[:count])

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_is_one_error(monkeypatch, tmp_path):
    with Memory(tmp_path) as memory:
        memory.file = Full(memory.file, 2_000_000)
        again = Again(Diarizer(embedder=FakeEmbedder(), vad=FakeVad()), RECORDINGS[:1], memory)
        with pytest.raises(DiarizeError, match=rf"{tmp_path}: .* No space left on device; .* set TMPDIR"):
            list(again(Config()))
    with pytest.raises(DiarizeError, match=r"nowhere: .* No such file or directory"):
        Memory(tmp_path / "nowhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DiarizeError, match="nowhere"):
        Memory()


def test_sound_is_what_the_stream_would_have_heard():
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, 40 * 44100).astype(np.float32)
    with Memory() as memory:
        sound = Sound(Recording("noise", samples, ALL, sample_rate=44100), memory)
        pieces = list(sound)
        assert max(map(len, pieces)) <= 512 * 512
        from diarize.resampling import Resampler

        resampler = Resampler(44100)
        expected = np.concatenate([resampler.push(samples), resampler.finish()])
        assert np.array_equal(np.concatenate(pieces), expected)
        assert np.array_equal(np.concatenate(list(sound)), expected)
        assert not list(Sound(Recording("empty", samples[:0], ALL, sample_rate=44100), memory))


def test_the_real_networks_say_the_same(real_diarizer, sample_wav):
    embedder = CAMPPlusEmbedder(real_diarizer.embedder.engine)
    recording = Recording("sample", sample_wav, ALL)
    configs = [dataclasses.replace(real_diarizer.config, vad=c.vad, clustering=c.clustering) for c in CONFIGS]
    with Memory() as memory:
        again = Again(Diarizer(real_diarizer.config, embedder=embedder), [recording], memory)
        seconds = []
        for config in configs:
            began = time.perf_counter()
            (found,) = again(config)
            seconds.append(time.perf_counter() - began)
            expected = Diarizer(config, embedder=embedder, vad=real_diarizer.vad)(sample_wav, uri="sample")
            assert_same(found, expected)
        frames = [key for key in memory.places if key.startswith(b"frames")]
        assert len(frames) == 2  # 30 s are two tiles
        assert seconds[-1] < seconds[0]
