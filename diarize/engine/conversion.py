"""A checkpoint to OpenVINO's graphs, kept on disk: one for each program of a network.

    window      exact, over up to 2 s, where both means of a mask are one   (1, T, F) -> (1, E)
    utterance   exact, over any length                                      (1, T, F) -> (1, E)
    dense       the frames of the dense network, over any length            (1, T, F) -> (1, T', C)
    project     a mean and a deviation to an embedding                      (1, 2 C) -> (1, E)
    dense-int8  dense, quantised (`diarize.engine.quantisation`)
    segmentation  the segmentation network, over any length             (1, N) -> (1, T, 7)

Converting takes PyTorch and some seconds a program, so graphs stay in the cache, in a folder whose name
says what they were made of: the checkpoint, our sources, OpenVINO's version. All but dense-int8 are kept in
f32 whatever the precision, which is chosen when a graph is compiled. That takes half a second, for
dense-int8 two and more, so what comes of it is kept as well, for each kind of processor. A file counts only
with the sha256 that was noted when all of it was written; anything else is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize._assets import cache_dir, file_sha256
from diarize.engine import quantisation

if TYPE_CHECKING:
    from torch import nn

    from diarize.engine.interface import Note

logger = logging.getLogger(__name__)

SHORT_FRAMES = 200
"""Inputs of up to so many feature frames (2 s) lie within one segment of the masks."""

FEATURE_BINS = ["diarize", "feature_bins"]
"""Where a graph says how many mel bins the network was made for."""

INT8 = "-int8"
"""What the name of a quantised program ends with."""

SEGMENTATION = "segmentation"
"""The program of the other network, which has a checkpoint of its own."""

GRAPH = ("xml", "bin")
"""The endings of a graph's files."""

TRACED_FRAMES = {"window": 120, "utterance": 220, "dense": 120}
"""Lengths that the programs of CAM++ are traced at; the graphs take any."""

TRACED_SAMPLES = 48_000
"""The same of the segmentation network."""


def converted(path: Path, program: str, note: Note | None = None) -> Any:
    """A program's graph (`openvino.Model`), from the cache or made now and kept there.

    Raises ModelError if the file is no CAM++ checkpoint. A cache that cannot be written costs time, no more.
    """
    import filelock
    import openvino

    folder = cache_dir() / "converted" / key(path, program)
    if (model := load(folder, program)) is not None:
        return model
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            if (model := load(folder, program)) is not None:  # another process made it
                return model
            model = convert(path, program, note)
            store(folder, program, model)
            return openvino.Core().read_model(folder / f"{program}.xml")  # mapped, not held in memory
    except OSError as error:
        logger.warning("the converted network cannot be kept in %s: %s", folder, error.strerror or error)
        return convert(path, program, note)


def compiled(path: Path, program: str, settings: dict[str, Any], graph: Callable[[], Any]) -> Any:
    """A program made ready for this processor (`openvino.CompiledModel`), from the cache or made now.

    graph : gives what `converted` gives; called only where that is needed
    """
    import filelock
    import openvino

    core = openvino.Core()
    folder = cache_dir() / "converted" / key(path, program)
    name = f"{program}-{settings['INFERENCE_PRECISION_HINT']}-{processor()}"
    try:
        if intact(folder, name, "blob"):
            return core.import_model((folder / f"{name}.blob").read_bytes(), "CPU", settings)
    except (OSError, RuntimeError) as error:
        logger.warning("%s: %s cannot be used (%s); compiling anew", folder, name, error)
    made = core.compile_model(graph(), "CPU", settings)
    try:
        with filelock.FileLock(folder / ".lock"):
            keep(folder, name, lambda work: work.with_suffix(".blob").write_bytes(exported(made)), "blob")
    except OSError as error:
        logger.warning("the compiled network cannot be kept in %s: %s", folder, error.strerror or error)
    return made


def key(path: Path, program: str) -> str:
    """What graphs depend on, as a folder's name."""
    import openvino

    name = "segmentation.py" if program == SEGMENTATION else "campplus.py"
    network = Path(__file__).parents[1] / "networks" / name  # not imported: that takes PyTorch
    files = (network, Path(__file__), Path(quantisation.__file__), quantisation.RANGES)
    source = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    status = path.stat()
    checkpoint = checkpoint_sha256(path, status.st_mtime_ns, status.st_size)
    return f"{checkpoint[:16]}-{source[:8]}-openvino-{openvino.__version__.split('-')[0]}"


@cache
def checkpoint_sha256(path: Path, changed_ns: int, size: int) -> str:
    """The sha256 of a checkpoint, which each program asks for; the file is read again when it has changed."""
    return file_sha256(path)


def processor() -> str:
    """The kind of processor that this is, as part of a file's name."""
    import openvino

    core = openvino.Core()
    kind = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    return hashlib.sha256(repr(kind).encode()).hexdigest()[:8]


def exported(model: Any) -> bytes:
    """The bytes of an `openvino.CompiledModel`."""
    data: bytes = model.export_model().getvalue()
    return data


def load(folder: Path, program: str) -> Any:
    """The graph of a program in a folder; None if it is not there, or damaged."""
    import openvino

    try:
        if not intact(folder, program, *GRAPH):
            return None
        return openvino.Core().read_model(folder / f"{program}.xml")
    except RuntimeError as error:
        logger.warning("%s: damaged (%s); converting anew", folder, error)
        return None


def intact(folder: Path, name: str, *endings: str) -> bool:
    """Whether files are in a folder, whole, with the sha256 that was noted."""
    try:
        noted = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for ending in endings:
            if file_sha256(folder / f"{name}.{ending}") != noted[ending]:
                raise ValueError(f"{name}.{ending} has not the sha256 that was noted")
        return True
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s: damaged (%s); making it anew", folder, error)
        return False


def convert(path: Path, program: str, note: Note | None = None) -> Any:
    """Trace a program of the checkpoint's network and convert the trace."""
    if note:
        note(f"converting {path.name} for OpenVINO ({program}; once)")
    logger.info("converting %s of %s", program, path)
    if program == SEGMENTATION:
        import torch

        from diarize.networks.segmentation import Segmentation

        return traced(Segmentation.load(path).forward, torch.randn(1, TRACED_SAMPLES), [1, -1])
    return convert_campplus(path, program)


def convert_campplus(path: Path, program: str) -> Any:
    """As `convert`, a program of CAM++."""
    import openvino
    import torch

    from diarize.networks.campplus import CAMPPlus

    network = CAMPPlus.load(path)
    bins = network.shape.feature_bins
    if program == "project":
        shape = [1, network.num_statistics]
        model = traced(network.embed, torch.zeros(shape), shape)
    else:
        method = network.dense().frames if program.startswith("dense") else network.forward
        length = openvino.Dimension(1, SHORT_FRAMES) if program == "window" else -1
        frames = TRACED_FRAMES[program.removesuffix(INT8)]
        model = traced(method, torch.randn(1, frames, bins), [1, length, bins])
    if program.endswith(INT8):
        quantisation.quantise(model, quantisation.read_ranges())
    model.set_rt_info(bins, FEATURE_BINS)
    return model


def traced(method: Callable[[Any], Any], example: Any, shape: list[Any]) -> Any:
    """One of a network's methods as a graph (`openvino.Model`) for inputs of a shape, -1: any length."""
    import openvino
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: lengths decide what is traced, on purpose
        trace = torch.jit.trace(  # type: ignore[no-untyped-call]
            calling(method), example, check_trace=False
        )
        model = openvino.convert_model(torch.jit.freeze(trace), example_input=example)
    model.reshape(shape)
    return model


def calling(method: Any) -> nn.Module:
    """A module whose forward is one of a network's methods."""
    from torch import nn

    class Calling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = method.__self__

        def forward(self, x: Any) -> Any:
            return method(x)

    return Calling().eval()


def store(folder: Path, program: str, model: Any) -> None:
    """Write a graph's files."""
    import openvino

    def write(work: Path) -> None:
        try:
            openvino.save_model(model, work.with_suffix(".xml"), compress_to_fp16=False)
        except RuntimeError as error:  # its way of saying that the disk is full
            raise OSError(f"the disk is full? ({' '.join(str(error).split())})") from error

    keep(folder, program, write, *GRAPH)


def keep(folder: Path, name: str, write: Callable[[Path], Any], *endings: str) -> None:
    """Have files written beside their places, move them there, and note last what they are.

    The folder's lock must be held: what processes that were killed, or had no room, left there is removed.
    """
    work = folder / f".{name}-{os.getpid()}"
    try:
        write(work)
        noted = {ending: file_sha256(work.with_suffix(f".{ending}")) for ending in endings}
        for ending in noted:
            os.replace(work.with_suffix(f".{ending}"), folder / f"{name}.{ending}")
        note = work.with_suffix(".json")
        note.write_text(json.dumps(noted), encoding="utf-8")
        os.replace(note, folder / f"{name}.json")
    finally:
        for left in folder.glob(f".{name}-*"):
            left.unlink(missing_ok=True)
