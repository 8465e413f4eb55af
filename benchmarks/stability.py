"""What changes that nobody hears do to results: DER of each against the diarizer's own result without them.

    python benchmarks/stability.py FOLDER [FOLDER ...]

Every recording is diarized as it is, rounded to 12 bits, with white noise at -70 dBFS, and 100 samples (6 ms)
later. Prints for each folder and change: the DER (collar 0, overlap scored) in % of the speech found before,
how many recordings keep their count, and the recordings that change most. Needs the extra `score`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarize import Diarization, Diarizer, scoring
from diarize.audio import SAMPLE_RATE, read_audio
from diarize.batch.manifest import SOUNDS

LATER = 100
"""Samples."""

Samples = NDArray[np.float32]


def rounded(samples: Samples) -> Samples:
    """To 12 bits."""
    return np.round(samples * 2048) / np.float32(2048)


def noisy(samples: Samples) -> Samples:
    """With noise 70 dB below full scale."""
    noise = np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
    return samples + np.float32(10 ** (-70 / 20)) * noise


def later(samples: Samples) -> Samples:
    """After a moment of silence."""
    return np.concatenate([np.zeros(LATER, np.float32), samples])


CHANGES: dict[str, tuple[Callable[[Samples], Samples], int]] = {
    "12 bits": (rounded, 0),
    "noise at -70 dB": (noisy, 0),
    f"{LATER} samples later": (later, LATER),
}
"""What is done, and by how many samples it moves the turns."""


def against(before: Diarization, after: Diarization, moved: int) -> list[float]:
    """Seconds of speech before, errors of after, and whether the count is the same."""
    truth = before.annotation
    back = after.annotation.empty()
    for segment, track, name in after.annotation.itertracks(yield_label=True):
        start, end = (max(0.0, t - moved / SAMPLE_RATE) for t in segment)
        back[type(segment)(start, end), track] = name
    one = scoring.score(truth, back)
    errors = one.miss_s + one.false_alarm_s + one.confusion_s
    return [one.total_s, errors, float(len(before.speakers) == len(after.speakers))]


def main() -> None:
    """Measure each folder."""
    diarizer = Diarizer()
    for folder in map(Path, sys.argv[1:]):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUNDS)
        rows: dict[str, list[list[float]]] = {name: [] for name in CHANGES}
        for path in paths:
            samples = read_audio(path)
            before = diarizer(samples, sample_rate=SAMPLE_RATE)
            for name, (change, moved) in CHANGES.items():
                after = diarizer(change(samples), sample_rate=SAMPLE_RATE)
                rows[name].append(against(before, after, moved))
        print(f"{folder}: {len(paths)} recordings")
        for name, measured in rows.items():
            speech, errors, same = np.array(measured).T
            most = np.argsort(-errors)[:3]
            named = ", ".join(f"{paths[i].stem} {100 * errors[i] / max(speech[i], 1e-9):.1f}" for i in most)
            der = 100 * errors.sum() / speech.sum()
            kept = f"the same count in {same.sum():.0f}"
            print(f"  {name:20s} DER {der:.2f} %; {kept}; most: {named}", flush=True)


if __name__ == "__main__":
    main()
