"""The networks in OpenVINO: the default on CPUs. PyTorch is loaded only to convert a checkpoint, once.

Each program of a network (`diarize.engine.conversion`) is loaded and compiled when it is first used, on
the thread that uses it, while the others go on. There are as many streams as threads, one thread each, so
the bits do not depend on their number, and one input a call, so they do not depend on other inputs.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.engine import quantisation
from diarize.engine.conversion import FEATURE_BINS, INT8, SEGMENTATION, SHORT_FRAMES, compiled, converted
from diarize.engine.interface import Features, Note
from diarize.engine.machine import has_bf16
from diarize.engine.workers import Workers
from diarize.errors import DiarizeError


class OpenVinoEngine(Workers):
    """See `diarize.engine.Engine`.

    path : checkpoint file
    precision : "f32" or "bf16"; "int8": of the dense network, the rest in bf16 where the processor has it
    threads : calls side by side; 0: one a core
    segmentation : checkpoint of the segmentation network, if it may be asked for
    """

    name = "openvino"
    device = "cpu"
    began_in: int | None = None
    """The process that uses OpenVINO, if any does."""

    def __init__(
        self,
        path: str | Path,
        *,
        precision: str = "f32",
        threads: int = 0,
        segmentation: str | Path | None = None,
        note: Note | None = None,
    ) -> None:
        meet_numpy()
        self.path = Path(path)
        self.segmentation = None if segmentation is None else Path(segmentation)
        self.precision = self.floats = precision
        self.dense = "dense"
        if precision == "int8":
            quantisation.check(self.path)
            self.floats, self.dense = "bf16" if has_bf16() else "f32", "dense" + INT8
        self.note = note
        super().__init__(threads)
        project = self._program("project")
        self.embedding_size, self.feature_bins = project.out_channels, project.feature_bins

    def begin(self) -> None:
        """Refuse to begin where a parent process has begun: OpenVINO's threads do not survive a fork.

        Whatever it is asked in a forked child waits for them for ever.
        """
        if OpenVinoEngine.began_in not in (None, os.getpid()):
            raise DiarizeError(
                "this process was forked from one that uses OpenVINO, which does not survive that; "
                "start processes with multiprocessing's 'spawn', or use engine='torch'"
            )
        OpenVinoEngine.began_in = os.getpid()
        super().begin()
        self._programs: dict[str, Program] = {}

    def embed(self, inputs: Sequence[Features]) -> NDArray[np.float32]:
        """The exact network over n inputs; (n, E), not normalised."""
        rows = [self.submit(self.row, features) for features in inputs]
        return np.asarray([row.result() for row in rows], np.float32).reshape(-1, self.embedding_size)

    def frames(self, features: Features) -> NDArray[np.float32]:
        """The dense network over one input, on this thread; (T', C)."""
        maps: NDArray[np.float32] = self._program(self.dense)(features[None])[0]
        return maps

    def project(self, statistics: NDArray[np.float32]) -> NDArray[np.float32]:
        """Statistics (n, 2 C) to embeddings (n, E), one row a call."""
        program = self._program("project")
        rows = [program(row[None])[0] for row in np.asarray(statistics, np.float32)]
        return np.asarray(rows, np.float32).reshape(-1, self.embedding_size)

    def row(self, features: Features) -> NDArray[np.float32]:
        """The exact network over one input, on this thread; (E,)."""
        program = self._program("window" if len(features) <= SHORT_FRAMES else "utterance")
        row: NDArray[np.float32] = program(features[None])[0]
        return row

    def segment(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The segmentation network over one input (n,), on this thread; (T, 7)."""
        values: NDArray[np.float32] = self._program(SEGMENTATION)(samples[None])[0]
        return values

    def _program(self, name: str) -> Program:
        self.here()
        with self.lock:
            if name not in self._programs:
                path = self.segmentation if name == SEGMENTATION else self.path
                if path is None:
                    raise DiarizeError("the engine was opened without a segmentation network")
                self._programs[name] = Program(path, name, self)
            return self._programs[name]


@cache
def meet_numpy() -> None:
    """Let OpenVINO's bindings meet NumPy on one thread: two that do it at once wait for each other for ever.

    The first holds Python's lock and waits for the guard of a C++ static, the second the other way round.
    """
    import openvino

    _ = openvino.Tensor(np.zeros(1, np.float32)).data


class Program:
    """One graph, compiled at its first call, with as many requests as calls were ever under way at once."""

    def __init__(self, path: Path, name: str, engine: OpenVinoEngine) -> None:
        self.source = path, name, engine.note
        self.settings = {
            # Without the first OpenVINO chooses bf16 by itself where the processor has it.
            "INFERENCE_PRECISION_HINT": engine.floats,
            "INFERENCE_NUM_THREADS": engine.threads,
            "NUM_STREAMS": engine.threads,
            "ENABLE_CPU_PINNING": False,  # several processes would sit on the same cores
            "CPU_RUNTIME_CACHE_CAPACITY": 0,  # or every new length of input costs 22 MB for ever
        }
        self.requests: deque[Any] = deque()
        self.lock = threading.Lock()
        self.compiled: Any = None

    @cached_property
    def graph(self) -> Any:
        """As it was converted (`openvino.Model`)."""
        return converted(*self.source)

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return int(self.graph.output(0).partial_shape[-1].get_length())

    @property
    def feature_bins(self) -> int:
        """Mel bins that the network was made for."""
        return int(self.graph.get_rt_info(FEATURE_BINS).value)

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run it on one array; returns a copy of its only output."""
        try:
            request = self.requests.pop()
        except IndexError:
            request = self._request()
        tensor = request.get_input_tensor()
        tensor.shape = values.shape
        tensor.data[:] = values
        request.infer()
        output: NDArray[np.float32] = request.get_output_tensor().data.copy()
        self.requests.append(request)
        return output

    def _request(self) -> Any:
        with self.lock:
            if self.compiled is None:
                self.compiled = compiled(*self.source[:2], self.settings, lambda: self.graph)
                vars(self).pop("graph", None)  # the compiled network has weights of its own
            return self.compiled.create_infer_request()
