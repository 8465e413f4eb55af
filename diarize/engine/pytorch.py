"""The networks in PyTorch: on CUDA devices, and as the reference on a CPU.

The rows that come out do not depend on what else was in the call (law 6) nor on the number of
threads (law 8), bit for bit. For a matrix product the shape of the whole batch chooses the kernel,
so every call of the exact network has one of two fixed shapes: `BATCH` short inputs of one length, the
rest of the batch filled with zeros, or a single long one. Each call runs on one thread of the CPU;
several calls run side by side. Inputs that wait at the same moment share a call, whichever thread or
stream they come from: many live streams at once cost as little as one file.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize.engine.interface import Features
from diarize.engine.workers import Workers
from diarize.errors import ConfigError, DiarizeError

if TYPE_CHECKING:
    import torch

Row = NDArray[np.float32]

BATCH = 4
"""Short inputs a call: on one thread 4 cost .6 of 4 single ones; 8 gain little and waste more."""

MAX_BATCHED_FRAMES = 200
"""Inputs of more frames (2 s) fill a core alone and are computed one by one."""


class TorchEngine(Workers):
    """See `diarize.engine.Engine`.

    path : checkpoint file
    device : "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
    threads : how many calls run side by side on the CPU; 0 means one a core
    segmentation : checkpoint of the segmentation network, if it may be asked for
    """

    name = "torch"
    precision = "f32"

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "auto",
        threads: int = 0,
        segmentation: str | Path | None = None,
    ) -> None:
        from diarize.networks.campplus import CAMPPlus

        self.place = find_device(device)
        self.device = str(self.place)
        self.network = CAMPPlus.load(path).to(self.place)
        self.dense = self.network.dense()
        self.segmentation = None
        if segmentation is not None:
            from diarize.networks.segmentation import Segmentation

            self.segmentation = Segmentation.load(segmentation).to(self.place)
        self.embedding_size = self.network.shape.embedding_size
        self.feature_bins = self.network.shape.feature_bins
        super().__init__(1 if self.place.type == "cuda" else threads)

    def begin(self) -> None:
        """Forget what waits for threads of another process."""
        super().begin()
        self._waiting: deque[tuple[Features, Future[Row]]] = deque()

    def embed(self, inputs: Sequence[Features]) -> NDArray[np.float32]:
        """The exact network over n inputs; (n, E), not normalised."""
        self.here()
        rows = np.zeros((len(inputs), self.embedding_size), np.float32)
        futures: list[Future[Row]] = [Future() for _ in inputs]
        with self.lock:
            self._waiting.extend(zip(inputs, futures, strict=True))
        for _ in range(num_calls([len(features) for features in inputs])):
            self.submit(self._serve)
        for row, future in zip(rows, futures, strict=True):
            row[:] = future.result()
        return rows

    def row(self, features: Features) -> NDArray[np.float32]:
        """The exact network over one input, on this thread; (E,)."""
        row: NDArray[np.float32] = self._call([features])[0]
        return row

    def frames(self, features: Features) -> NDArray[np.float32]:
        """The dense network over one input, on this thread; (T', C)."""
        import torch

        with torch.inference_mode(), one_thread(), whole_floats(self.place):
            maps = self.dense.frames(torch.from_numpy(features[None]).to(self.place))
            return np.asarray(maps[0].cpu().numpy())

    def project(self, statistics: NDArray[np.float32]) -> NDArray[np.float32]:
        """Statistics (n, 2 C) to embeddings (n, E), one row a call."""
        import torch

        rows = np.zeros((len(statistics), self.embedding_size), np.float32)
        with torch.inference_mode(), one_thread(), whole_floats(self.place):
            for row, values in zip(rows, np.asarray(statistics, np.float32), strict=True):
                row[:] = self.network.embed(torch.from_numpy(values[None]).to(self.place))[0].cpu().numpy()
        return rows

    def segment(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The segmentation network over one input (n,), on this thread; (T, 7)."""
        import torch

        if self.segmentation is None:
            raise DiarizeError("the engine was opened without a segmentation network")
        with torch.inference_mode(), one_thread(), whole_floats(self.place):
            values = self.segmentation(torch.from_numpy(samples[None]).to(self.place))
            return np.asarray(values[0].cpu().numpy())

    def _serve(self) -> None:
        """Compute the inputs that have waited longest: as many of one length as a call takes."""
        with self.lock:
            taken = take_call(self._waiting)
        if not taken:  # another caller's call had room for them
            return
        try:
            rows = self._call([features for features, _ in taken])
        except BaseException as error:
            for _, future in taken:
                future.set_exception(error)
            return
        for (_, future), row in zip(taken, rows, strict=True):
            future.set_result(row)

    def _call(self, inputs: list[Features]) -> NDArray[np.float32]:
        import torch

        frames = len(inputs[0])
        batch = np.zeros((batch_size(frames), frames, self.feature_bins), np.float32)
        batch[: len(inputs)] = inputs
        with torch.inference_mode(), one_thread(), whole_floats(self.place):
            rows = self.network(torch.from_numpy(batch).to(self.place)).cpu().numpy()
        return np.asarray(rows[: len(inputs)], np.float32)


def batch_size(frames: int) -> int:
    """Rows of a call on inputs of this many frames."""
    return BATCH if frames <= MAX_BATCHED_FRAMES else 1


def num_calls(lengths: Sequence[int]) -> int:
    """Calls on the network that inputs of these lengths need by themselves."""
    return sum(-(-count // batch_size(length)) for length, count in Counter(lengths).items())


def take_call(waiting: deque[tuple[Features, Future[Row]]]) -> list[tuple[Features, Future[Row]]]:
    """Take the next call's inputs from the queue: the first, and the next ones of its length."""
    if not waiting:
        return []
    length = len(waiting[0][0])
    taken = [item for item in waiting if len(item[0]) == length][: batch_size(length)]
    chosen = {id(future) for _, future in taken}
    left = [item for item in waiting if id(item[1]) not in chosen]
    waiting.clear()
    waiting.extend(left)
    return taken


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block PyTorch uses one thread of the CPU; before and after it, the caller's number.

    More threads would cut small operations elsewhere (law 8), and wait for one another most of the time.
    """
    import torch

    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


@contextmanager
def whole_floats(place: torch.device) -> Iterator[None]:
    """Inside the block convolutions on CUDA multiply in f32, not in TF32.

    By default they round to 10 bits, which moves rows by 1e-3 instead of 1e-6 and gains no time here.
    """
    import torch

    if place.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False):
        yield


def find_device(name: str) -> torch.device:
    """The device of this name, ConfigError if this machine does not have it."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device {name!r} was asked for, but PyTorch {torch.__version__} sees no CUDA device; use 'cpu'"
        )
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}")
    return device
