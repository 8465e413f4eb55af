"""Measures the ranges that precision "int8" rests on and writes them into the package.

    python benchmarks/calibrate_int8.py RECORDINGS_DIR [--compare]

Draws the same pieces of 12 s of each recording every time, runs the dense network over them, and takes for
each tensor that is quantised the mean over pieces of its least and of its largest value. Recordings that
anything is scored on have no place here. `--compare` prints how far the file's ranges are from those of
nncf (pip install nncf), which has the same rule; nothing else needs it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from diarize import models
from diarize.audio import read_audio
from diarize.engine import quantisation
from diarize.engine.conversion import converted
from diarize.features import log_mel_moving

PIECES = 7
LENGTH = 12 * 16_000 - 160


def pieces(folder: Path) -> list[np.ndarray]:
    """Features (1, T, F) of pieces of the recordings."""
    random = np.random.default_rng(1)
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".wav", ".flac", ".mp3"):
            samples = read_audio(path)
            for start in random.integers(0, max(1, len(samples) - LENGTH), PIECES):
                found.append(log_mel_moving(samples[start : start + LENGTH], 80)[None])
    return found


def of_nncf(inputs: list[np.ndarray]) -> quantisation.Ranges:
    """The same by nncf."""
    import nncf

    model = nncf.quantize(
        converted(models.resolve(quantisation.MODEL), "dense"),
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(patterns=[rf".*{quantisation.EXEMPT}.*"]),
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
    )
    ranges: quantisation.Ranges = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            low, high = (float(node.input_value(i).get_node().data.item()) for i in (1, 2))
            ranges.setdefault(quantisation.module_of(node), []).append((low, high))
    return ranges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--compare", action="store_true", help="with nncf's ranges; writes nothing")
    options = parser.parse_args()
    inputs = pieces(options.recordings)
    if options.compare:
        ours, theirs = quantisation.read_ranges(), of_nncf(inputs)
        apart = [
            max(abs(low - other_low), abs(high - other_high)) / (high - low)
            for module in ours
            for (low, high), (other_low, other_high) in zip(ours[module], theirs[module], strict=True)
        ]
        print(f"{len(apart)} ranges; apart by {np.mean(apart):.2%} of their width, at most {max(apart):.2%}")
        return
    model = converted(models.resolve(quantisation.MODEL), "dense")
    ranges = quantisation.measured_ranges(model, inputs)
    rows = [
        f"{json.dumps(module)}: {json.dumps([[float(f'{end:.5g}') for end in pair] for pair in pairs])}"
        for module, pairs in ranges.items()
    ]
    quantisation.RANGES.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(f"{sum(map(len, ranges.values()))} ranges from {len(inputs)} pieces in {quantisation.RANGES}")


if __name__ == "__main__":
    main()
