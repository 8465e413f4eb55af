"""Networks that remember what they said: recordings again, under other options, in a fraction of the time.

    with Memory() as memory:
        again = Again(diarizer, recordings, memory)
        first = list(again(diarizer.config))      # the networks run, once
        other = list(again(another))              # what `Diarizer(another)` gives, bit for bit

The key to what was said is a digest of all that the network was given, so whatever the options change, what
comes out has the same bits as without. Frames of the dense network are kept by the features of their tile,
and pooled again for windows that are new; rows are kept by tile and window. Everything lies in a file without
a name, which the system removes whichever way the process ends: about 650 MB for an hour of audio. In memory
stays where in the file it lies.
"""

from __future__ import annotations

import copy
import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio import as_samples
from diarize.config import Config
from diarize.errors import DiarizeError
from diarize.pipeline import Diarizer
from diarize.resampling import Resampler
from diarize.result import Diarization
from diarize.stages.embedding import Embedder
from diarize.stages.overlap import Segmenter
from diarize.stream import BLOCK
from diarize.streaming_score import Recording

Array = NDArray[Any]
Place = tuple[int, np.dtype[Any], tuple[int, ...]]
"""Where an array lies: first byte, type, shape."""


class Memory:
    """Arrays by their keys, in a temporary file; any number of threads share one. Close it, or use ``with``.

    folder : where the file is; by default where Python puts temporary files (``TMPDIR``)

    Raises DiarizeError where the file cannot be made or written.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = str(folder or tempfile.gettempdir())
        self.lock = threading.Lock()
        self.places: dict[bytes, tuple[Place, ...]] = {}
        self.coming: dict[bytes, Future[tuple[Array, ...]]] = {}
        self.size = 0
        try:
            self.file = tempfile.TemporaryFile(prefix="diarize-", dir=self.folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._complaint(error) from None

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything."""
        self.file.close()
        self.places.clear()

    def of(self, key: bytes, compute: Callable[[], tuple[Array, ...]]) -> tuple[Array, ...]:
        """The arrays of a key; computed by the first who asks, while others who ask wait for it."""
        with self.lock:
            places, coming = self.places.get(key), self.coming.get(key)
            if places is None and coming is None:
                mine = self.coming[key] = Future()
        if places is not None:
            return tuple(map(self.read, places))
        if coming is not None:
            return coming.result()
        try:
            arrays = compute()
            self.put(key, *arrays)
            mine.set_result(arrays)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self.lock:
                del self.coming[key]
        return arrays

    def put(self, key: bytes, *arrays: Array) -> None:
        """Keep arrays under a key."""
        self.places[key] = tuple(map(self.write, arrays))

    def read(self, place: Place) -> Array:
        """The array that lies there."""
        start, dtype, shape = place
        array = np.empty(shape, dtype)
        left = array.reshape(-1).view(np.uint8).data
        with self.lock:
            self.file.seek(start)
            while left:
                left = left[self.file.readinto(left) :]
        return array

    def write(self, array: Array) -> Place:
        """Keep an array; returns where it lies."""
        array = np.ascontiguousarray(array)
        left = array.reshape(-1).view(np.uint8).data
        with self.lock:
            try:
                self.file.seek(self.size)
                while left:
                    left = left[self.file.write(left) :]
            except OSError as error:
                raise self._complaint(error) from None
            place = (self.size, array.dtype, array.shape)
            self.size += array.nbytes
        return place

    def _complaint(self, error: OSError) -> DiarizeError:
        return DiarizeError(
            f"{self.folder}: what the networks say cannot be kept there, after {self.size / 1e6:.0f} MB: "
            f"{error.strerror}; an hour of audio needs about 650 MB, set TMPDIR to a folder with room"
        )


def digest(*arrays: Array) -> bytes:
    """16 bytes that say which arrays these are: their types, shapes and values."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.digest()


class RememberedVad:
    """A VAD network that is asked once for each frames and state."""

    def __init__(self, network: Any, memory: Memory) -> None:
        self.network = network
        self.memory = memory

    def __call__(self, frames: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """As of `diarize.stages.vad.SileroVad`."""
        key = b"vad" + digest(frames, h, c)
        speech, h, c = self.memory.of(key, lambda: tuple(map(np.asarray, self.network(frames, h, c))))
        return speech, h, c


class RememberedEmbedder:
    """An embedder that embeds each piece of samples once."""

    def __init__(self, embedder: Embedder, memory: Memory) -> None:
        self.embedder: Any = embedder
        self.memory = memory
        self.embedding_size = embedder.embedding_size
        if (engine := getattr(embedder, "engine", None)) is not None:
            self.embedder = copy.copy(embedder)
            self.embedder.engine = self.engine = RememberedEngine(engine, memory)

    def __call__(self, pieces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed n pieces of samples; returns (n, E)."""
        keys = [b"exact" + digest(piece) for piece in pieces]
        new = dict(self._new(keys, pieces))
        return self._rows(keys, new, self.embedder(list(new.values())) if new else ())

    def _new(self, keys: Sequence[bytes], items: Sequence[Any]) -> Iterator[tuple[bytes, Any]]:
        for key, item in zip(keys, items, strict=True):
            if key not in self.memory.places:
                yield key, item

    def _rows(self, keys: Sequence[bytes], new: Sequence[bytes] | dict[bytes, Any], rows: Any) -> Array:
        """Rows (n, E) of n keys, after keeping those that are new."""
        for key, row in zip(new, rows, strict=True):
            self.memory.put(key, row)
        found = [self.memory.read(*self.memory.places[key]) for key in keys]
        return np.asarray(found, np.float32).reshape(len(keys), self.embedding_size)


class RememberedDense(RememberedEmbedder):
    """The same of an embedder that does tiles: each window of a tile is projected once."""

    def tile(
        self, samples: NDArray[np.float32], spans: Sequence[tuple[int, int]]
    ) -> Future[NDArray[np.float32]]:
        """Rows (n, E) of n spans of a tile."""
        tile = digest(samples)
        keys = [b"tile%d-%d" % span + tile for span in spans]
        new = dict(self._new(keys, spans))
        return self._later(keys, new, lambda: self.embedder.tile(samples, list(new.values())))

    def alone(self, samples: NDArray[np.float32]) -> Future[NDArray[np.float32]]:
        """The exact row (1, E) of one piece."""
        keys = [b"alone" + digest(samples)]
        return self._later(keys, dict(self._new(keys, [samples])), lambda: self.embedder.alone(samples))

    def _later(
        self, keys: list[bytes], new: dict[bytes, Any], begin: Callable[[], Future[Array]]
    ) -> Future[Array]:
        after: Future[Array] = Future()
        if not new:
            after.set_result(self._rows(keys, (), ()))
            return after

        def keep(done: Future[Array]) -> None:
            try:
                after.set_result(self._rows(keys, new, done.result()))
            except BaseException as error:  # the one who waits for the rows gets it
                after.set_exception(error)

        begin().add_done_callback(keep)
        return after


class RememberedSegmenter:
    """A segmenter that hears each tile once."""

    def __init__(self, segmenter: Segmenter, memory: Memory) -> None:
        self.segmenter = segmenter
        self.memory = memory

    def tile(self, samples: NDArray[np.float32]) -> Future[Array]:
        """As of `diarize.stages.overlap.Segmenter`."""
        key = b"voices" + digest(samples)
        after: Future[Array] = Future()
        if key in self.memory.places:
            after.set_result(self.memory.read(*self.memory.places[key]))
            return after

        def keep(done: Future[Array]) -> None:
            try:
                self.memory.put(key, done.result())
                after.set_result(done.result())
            except BaseException as error:  # the one who waits for it gets it
                after.set_exception(error)

        self.segmenter.tile(samples).add_done_callback(keep)
        return after


class RememberedEngine:
    """An engine that runs its dense network once over each input."""

    def __init__(self, engine: Any, memory: Memory) -> None:
        self._engine = engine
        self._memory = memory

    def frames(self, features: NDArray[np.float32]) -> Array:
        """As of `diarize.engine.Engine`; (T', C)."""
        key = b"frames" + digest(features)
        return self._memory.of(key, lambda: (self._engine.frames(features),))[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class Sound:
    """A recording's samples at 16 kHz, decoded and resampled once; iterate over it for pieces of them."""

    def __init__(self, recording: Recording, memory: Memory) -> None:
        self.memory = memory
        self.places: list[Place] = []
        waiting = np.zeros(0, np.float32)
        with recording.opened() as (rate, pieces):
            resampler = Resampler(rate)
            for piece in pieces:
                waiting = self._keep(np.concatenate([waiting, resampler.push(as_samples(piece))]), BLOCK)
            self._keep(np.concatenate([waiting, resampler.finish()]), 1)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return map(self.memory.read, self.places)

    def _keep(self, samples: NDArray[np.float32], least: int) -> NDArray[np.float32]:
        """Keep samples while there are at least so many; returns the others."""
        while len(samples) >= least:
            self.places.append(self.memory.write(samples[:BLOCK]))
            samples = samples[BLOCK:]
        return samples


class Again:
    """Recordings, to be diarized under one configuration after another.

    The configurations may differ in everything but what loads the networks.
    """

    def __init__(self, diarizer: Diarizer, recordings: Iterable[Recording], memory: Memory) -> None:
        self.recordings = tuple(recordings)
        self.memory = memory
        self.vad = RememberedVad(diarizer.vad, memory)
        dense = hasattr(diarizer.embedder, "tile")
        self.embedder = (RememberedDense if dense else RememberedEmbedder)(diarizer.embedder, memory)
        self.segmenter = diarizer.segmenter and RememberedSegmenter(diarizer.segmenter, memory)
        self.sounds: dict[int, Sound] = {}

    def __call__(
        self, config: Config, progress: Callable[[float], None] | None = None
    ) -> Iterator[Diarization]:
        """Each recording as `Diarizer(config)` finds it, one after the other.

        progress : called with the seconds of audio done, those of all recordings added

        Raises AudioError for a recording that cannot be read.
        """
        diarizer = Diarizer(config, embedder=self.embedder, vad=self.vad, segmenter=self.segmenter)
        done_s = 0.0
        for number, recording in enumerate(self.recordings):
            if number not in self.sounds:
                self.sounds[number] = Sound(recording, self.memory)
            with diarizer.stream(uri=recording.name) as stream:
                for samples in self.sounds[number]:
                    stream.push(samples)
                    if progress:
                        progress(done_s + stream.duration)
                stream.finish()
                done_s += stream.duration
                yield stream.result()
