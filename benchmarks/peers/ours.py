"""Ours over recordings, with the time by stage: python -I ours.py REQUEST.json.

REQUEST holds `audio`, `output`, a folder, and `options` of `Diarizer`. Written there: NAME.rttm for each, and
report.json with the versions, what the engine is, and seconds by stage: `start-up` until the first sample was
decoded; then wall time inside each stage, added up over the threads, so that the stages together take longer
than the whole; and `the rest`, while no thread was in any of them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from diarize import DiarizeError, Diarizer, features
from diarize.decoding import AudioFile
from diarize.resampling import Resampler
from diarize.settled import Settled
from diarize.stages.vad import Vad

PACKAGES = ("diarize-campplus", "torch", "openvino", "onnxruntime", "numpy")

Spans = dict[str, list[tuple[float, float]]]
"""When a thread was in a stage: begin and end of each time, on the clock of `time.perf_counter`."""


def watch(spans: Spans, stage: str, owner: Any, *names: str) -> None:
    """Note each call of those of the owner's functions that it has; none may call another."""

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spans[stage].append((begun, time.perf_counter()))

        return wrapper

    spans.setdefault(stage, [])
    found = [name for name in names if hasattr(owner, name)]
    if not found:
        raise AttributeError(f"{owner} has none of {', '.join(names)}: the stage {stage} moved")
    for name in found:
        setattr(owner, name, watched(getattr(owner, name)))


def watch_decoding(spans: Spans) -> None:
    """Note each step of a file's iteration."""
    spans["decoding"] = []
    plain = AudioFile.__iter__

    def iterate(self: AudioFile) -> Iterator[Any]:
        pieces = plain(self)
        while True:
            begun = time.perf_counter()
            piece = next(pieces, None)
            spans["decoding"].append((begun, time.perf_counter()))
            if piece is None:
                return
            yield piece

    AudioFile.__iter__ = iterate  # type: ignore[method-assign]


def covered(spans: Spans) -> float:
    """Seconds in which at least one thread was in a stage."""
    total, reached = 0.0, 0.0
    for begin, end in sorted(span for several in spans.values() for span in several):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def version(package: str) -> str | None:
    """Of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def main(request: dict[str, Any]) -> None:
    """One diarizer for all recordings."""
    output, spans = Path(request["output"]), Spans()
    watch_decoding(spans)
    watch(spans, "decoding", Resampler, "push", "finish")
    watch(spans, "VAD", Vad, "push")
    watch(spans, "features", features, "filterbank")
    watch(spans, "clustering", Settled, "result")
    diarizer = Diarizer(**request["options"])
    engine = diarizer.embedder.engine
    watch(spans, "network", type(engine), "frames", "project", "_embed", "_call")
    failed = {}
    for path in map(Path, request["audio"]):
        try:
            diarizer(path).write(output / f"{path.stem}.rttm")
        except DiarizeError as error:
            failed[path.stem] = str(error)
    ended = time.perf_counter()
    now_s = time.time() - float(os.environ["BENCHMARK_STARTED"])
    first = spans["decoding"][0][1] if spans["decoding"] else ended
    stages = {"start-up": now_s - (ended - first)}
    stages |= {stage: sum(end - begin for begin, end in several) for stage, several in spans.items()}
    stages["the rest"] = ended - first - covered(spans)
    versions = {package: found for package in PACKAGES if (found := version(package))}
    versions["engine"] = f"{engine.name} {engine.precision} {engine.device} {engine.threads} threads"
    report = {"versions": versions, "stages": stages, "failed": failed}
    (output / "report.json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
