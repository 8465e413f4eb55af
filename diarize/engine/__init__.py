"""What computes the networks: OpenVINO on a CPU, PyTorch on CUDA and as the reference.

    engine = open_engine("campplus.pt")           # what this machine runs best
    engine.embed([log_mel(samples)])              # (1, E): the exact network, over a whole input
    maps = engine.frames(log_mel_moving(tile))    # (T', C): the dense network, to be pooled over windows
    engine.project(statistics)                    # (n, E): means and deviations to embeddings
    engine.segment(samples)                       # (T, 7): the segmentation network, if it was given

Whatever the engine, a row does not depend on what else was computed with it (law 6) nor on the number of
threads (law 8), bit for bit: a call runs on one thread, several calls run side by side.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarize.engine.interface import Engine, Features, Note
from diarize.engine.machine import has_bf16, has_cuda
from diarize.errors import ConfigError

__all__ = ["Engine", "Features", "open_engine", "unit"]

# OpenVINO tells Google Analytics of each import and conversion, unless it cannot find the package that does.
# Here is the one place that comes before all of its imports.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def open_engine(
    path: str | Path,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    segmentation: str | Path | None = None,
    note: Note | None = None,
) -> Engine:
    """Load a CAM++ checkpoint into the engine that was asked for, or into the best one here.

    engine : "openvino", "torch", or "auto": PyTorch on CUDA, else OpenVINO if it is installed
    device : "cpu", "cuda", "cuda:1", ..., or "auto": CUDA where there is one
    precision : "f32"; "bf16", with OpenVINO on a processor that computes in it; "int8", with OpenVINO, for
        the dense network of campplus-zh-en; "auto": bf16 where it can be, else f32
    threads : calls side by side on the CPU; 0: one a core
    segmentation : checkpoint of the segmentation network; None: it cannot be asked for
    note : told before the network is converted, which takes some seconds and is done once

    Raises ConfigError for a combination that cannot be, ModelError for a file that is no checkpoint.
    """
    engine, device, precision = choose(engine, device, precision)
    if engine == "openvino":
        from diarize.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(
            path, precision=precision, threads=threads, segmentation=segmentation, note=note
        )
    from diarize.engine.pytorch import TorchEngine

    return TorchEngine(path, device=device, threads=threads, segmentation=segmentation)


def choose(engine: str = "auto", device: str = "auto", precision: str = "auto") -> tuple[str, str, str]:
    """The engine, the device and the precision that are meant on this machine; "auto" leaves a choice."""
    if device != "auto" and device.split(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    has_openvino = importlib.util.find_spec("openvino") is not None
    on_cuda = device.startswith("cuda") or (device == "auto" and engine != "openvino" and has_cuda())
    if engine == "auto":
        engine = "openvino" if has_openvino and not on_cuda else "torch"
    if engine == "torch":
        if precision in ("bf16", "int8"):
            raise ConfigError(
                f"precision {precision!r} needs engine 'openvino' (pip install openvino); PyTorch has 'f32'"
            )
        if device == "auto":
            device = "cuda" if on_cuda else "cpu"
        return engine, device, "f32"
    if device not in ("auto", "cpu"):
        raise ConfigError(f"engine 'openvino' computes on the CPU, got device {device!r}; use engine 'torch'")
    if not has_openvino:
        raise ConfigError("engine 'openvino' needs the package openvino; run: pip install openvino")
    if precision == "bf16" and not has_bf16():
        raise ConfigError(
            "precision 'bf16' was asked for, but this processor does not compute in it; use 'f32'"
        )
    if precision == "auto":
        precision = "bf16" if has_bf16() else "f32"
    return engine, "cpu", precision


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to length 1, (n, E) float32; a zero row stays zero."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), np.float32)
