"""Networks made for the laws: exact, quick, and near the thresholds.

A fake conversation writes its own truth into the samples: the amplitude says whether there is
speech, the spectrum is not looked at. The fake VAD reads a probability, the fake embedder an angle,
so a test decides to the last bit which score two windows have.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize import Stream
from diarize.networks.powerset import num_frames
from diarize.stages.items import Region, Window

if TYPE_CHECKING:
    from diarize.scoring import Score

RATE = 16000


class FakeVad:
    """Speech where a frame is loud; a little memory, as the real one has, to show state that is lost."""

    def __call__(self, frames, h, c):
        loud = (np.abs(frames[:, 64:]).mean(1) > 0.01).astype(np.float32)
        probabilities, memory = [], float(h[0, 0, 0])
        for value in loud:
            memory = 0.25 * memory + 0.75 * float(value)
            probabilities.append(memory)
        h = h.copy()
        h[0, 0, 0] = memory
        return np.asarray(probabilities, np.float32), h, c


class SharpVad(FakeVad):
    """No memory: regions are what is loud, to the frame."""

    def __call__(self, frames, h, c):
        return (np.abs(frames[:, 64:]).mean(1) > 0.01).astype(np.float32), h, c


class ExactEmbedder:
    """The angle of a piece's voice in a plane, plus one axis that tells its place a little.

    A voice v in [0, 1) is written as samples of +-0.1 with a mean of v / 10 of it. Noise on the angle
    comes from the samples themselves, so a window shifted by one sample has another row.
    """

    embedding_size = 8

    def __init__(self, noise: float = 0.35) -> None:
        self.noise = noise
        self.calls: list[int] = []

    def __call__(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        self.calls.append(len(pieces))
        rows = [self.row(piece) for piece in pieces]
        return np.asarray(rows, np.float32).reshape(len(rows), self.embedding_size)

    def row(self, piece: NDArray[np.float32], context: int = 0) -> NDArray[np.float64]:
        voice = float(piece.mean(dtype=np.float64)) * 10
        checksum = (checksum_of(piece) + context) % 1_000_003
        jitter = np.random.default_rng(checksum).normal(0, self.noise, self.embedding_size)
        angle = 2 * np.pi * voice
        row = jitter + np.array([np.cos(angle), np.sin(angle), *np.zeros(self.embedding_size - 2)])
        return row / np.linalg.norm(row)


class FakeEmbedder(ExactEmbedder):
    """One that can do tiles: a row depends on every sample of its tile, and on its place in it.

    Tiles are done on threads, and the later ones sooner: whoever mixes them up is found out.
    """

    def __init__(self, noise: float = 0.35) -> None:
        super().__init__(noise)
        self.pool = ThreadPoolExecutor(3)
        self.tiles: list[tuple[int, list[tuple[int, int]]]] = []

    def tile(
        self, samples: NDArray[np.float32], spans: Sequence[tuple[int, int]]
    ) -> Future[NDArray[np.float32]]:
        self.tiles.append((len(samples), list(spans)))
        return self.pool.submit(self._tile, samples, spans, len(self.tiles) % 3)

    def alone(self, samples: NDArray[np.float32]) -> Future[NDArray[np.float32]]:
        return self.pool.submit(self, [samples])

    def _tile(
        self, samples: NDArray[np.float32], spans: Sequence[tuple[int, int]], turn: int
    ) -> NDArray[np.float32]:
        time.sleep(0.002 * (2 - turn))
        context = checksum_of(samples)
        return np.asarray([self.row(samples[a:b], context + a) for a, b in spans], np.float32)


class FakeSegmenter:
    """Voices near the threshold: what is heard depends on every sample of the tile, and changes in no time.

    Tiles are done on threads, and the later ones sooner.
    """

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(3)
        self.tiles: list[int] = []

    def tile(self, samples: NDArray[np.float32]) -> Future[NDArray[np.float32]]:
        self.tiles.append(len(samples))
        return self.pool.submit(self._tile, samples, len(self.tiles) % 3)

    def _tile(self, samples: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
        time.sleep(0.002 * (2 - turn))
        rng = np.random.default_rng(checksum_of(samples))
        frames = num_frames(len(samples))
        pieces = rng.uniform(-0.2, 0.2, (frames // 25 + 1, 1)).repeat(25, axis=0)[:frames]
        noise = rng.uniform(-0.02, 0.02, (frames, 2))
        return np.asarray(np.array([0.68, 0.5]) + pieces + noise, np.float32)


def checksum_of(samples: NDArray[np.float32]) -> int:
    return int(np.abs(samples.astype(np.float64) * 2**24).sum())


def speech(voice: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Samples that the fakes take for `seconds` of this voice, 0 <= voice < 1."""
    n = round(seconds * RATE)
    return (0.1 * voice + 0.05 * rng.choice([-1.0, 1.0], n) + 0.01 * rng.standard_normal(n)).astype(
        np.float32
    )


def silence(seconds: float) -> NDArray[np.float32]:
    """Samples that the fakes take for none."""
    return np.zeros(round(seconds * RATE), np.float32)


def conversation(
    seed: int, turns: int = 12, voices: Sequence[float] = (0.0, 0.18, 0.4)
) -> NDArray[np.float32]:
    """Turns of random voices and lengths with random pauses, some below and some above what is filled."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(turns):
        pieces.append(silence(float(rng.choice([0.05, 0.4, 0.99, 1.01, 2.0]))))
        pieces.append(speech(float(rng.choice(voices)), float(rng.uniform(0.12, 5.0)), rng))
    return np.concatenate(pieces)


def cuts(samples: NDArray, rng: np.random.Generator, largest: int) -> list[NDArray]:
    """The samples in pieces of random sizes, empty ones and single samples among them."""
    sizes, total = [], 0
    while total < len(samples):
        size = int(rng.choice([0, 1, 7, 511, 512, 513, int(rng.integers(1, largest + 1))]))
        sizes.append(size)
        total += size
    return np.split(samples, np.cumsum(sizes)[:-1].clip(max=len(samples)))


def found_regions(stream: Stream) -> list[Region]:
    """The settled regions of a stream."""
    return [Region(*row) for row in stream.settled.state.regions_found.array().tolist()]


def found_windows(stream: Stream) -> list[Window]:
    """The settled windows of a stream."""
    return [Window(*row) for row in stream.settled.state.windows_found.array().tolist()]


def a_score(wrong_s: float, total_s: float = 100.0) -> Score:
    """So many seconds missed of so many; needs the extra `score`."""
    from diarize.scoring import Convention, Score

    return Score(Convention(), total_s, wrong_s, 0.0, 0.0, total_s, 0.0, 2, 2)
