"""Silero VAD: samples to one speech probability a frame of 512 samples (32 ms).

The ONNX file comes from the silero-vad package; importing that package would import torch and set
its number of threads, so only its file is read. The `sequence` model carries its recurrent state
in and out and gives the same bits for any number of frames a call, so frames are computed as they
arrive. https://github.com/snakers4/silero-vad (MIT).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.errors import ModelError, StreamFinished
from diarize.stages.items import FRAME

CONTEXT = 64
"""Samples before a frame that the network sees too."""

MAX_FRAMES = 1024
"""Frames a call at most (33 s), so that a long push needs no long arrays."""


class SileroVad:
    """The loaded network, without state: share it among streams and threads."""

    def __init__(self, path: str | Path | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it warns of unused initialisers in the published file
        self.session: Any = onnxruntime.InferenceSession(
            str(path or silero_path()), options, providers=["CPUExecutionProvider"]
        )

    def __call__(
        self, frames: NDArray[np.float32], h: NDArray[np.float32], c: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Run (n, 576) frames, context first; returns (n,) probabilities and the new state."""
        speech, h, c = self.session.run(None, {"input": frames, "h": h, "c": c})
        return speech, h, c


@dataclass
class VadState:
    """Where one stream is: the recurrent state and the samples not yet in a frame."""

    h: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1, 1, 128), np.float32))
    c: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1, 1, 128), np.float32))
    pending: NDArray[np.float32] = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))
    finished: bool = False


class Vad:
    """The stage: samples in, probabilities out."""

    def __init__(self, network: SileroVad, state: VadState | None = None) -> None:
        self.network = network
        self.state = state or VadState()

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) samples at 16 kHz; returns (m,) float32, a probability for each frame they filled."""
        state = self.state
        if state.finished:
            raise StreamFinished("this VAD")
        state.pending = np.concatenate([state.pending, samples])
        count = (len(state.pending) - CONTEXT) // FRAME
        speech = [np.zeros(0, np.float32)]
        for first in range(0, count, MAX_FRAMES):
            n = min(MAX_FRAMES, count - first)
            part = state.pending[first * FRAME : (first + n) * FRAME + CONTEXT]
            frames = np.lib.stride_tricks.sliding_window_view(part, CONTEXT + FRAME)[::FRAME]
            probabilities, state.h, state.c = self.network(np.ascontiguousarray(frames), state.h, state.c)
            speech.append(probabilities)
        state.pending = state.pending[count * FRAME :].copy()
        return np.concatenate(speech)

    def finish(self) -> NDArray[np.float32]:
        """The last, unfilled frame, completed with silence: (0,) or (1,) float32."""
        missing = -(len(self.state.pending) - CONTEXT) % FRAME
        speech = self.push(np.zeros(missing, np.float32))
        self.state.finished = True
        return speech


def silero_path() -> Path:
    """The network's file inside the installed silero-vad package, which is not imported."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the package silero-vad is not installed; run: pip install silero-vad")
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k_sequence.onnx"
    if not path.is_file():
        raise ModelError(
            f"{path} is missing: silero-vad is too old or damaged; run: pip install -U silero-vad"
        )
    return path
