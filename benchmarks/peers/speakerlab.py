"""3D-Speaker's diarization over recordings: python -I speakerlab.py REQUEST.json, in an environment with it.

The class is 3D-Speaker's own, `Diarization3Dspeaker` of the package speakerlab: windows, batches, features,
network and clustering are its code with its settings. What it would download is given to it: the checkpoint
(`checkpoint` in REQUEST) and, for its FSMN VAD, speech regions (`speech`, seconds by recording), so its times
hold no VAD. modelscope and pyannote.audio, which it imports for the parts left out, are replaced by nothing.

REQUEST further holds `audio`, WAV files, and `output`, a folder. Written there: NAME.rttm for each, and
report.json with the versions, the seconds until the first recording was begun (`start-up`) and by stage,
and the recordings that failed, with their reasons.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

for absent in ("modelscope", "modelscope.pipelines", "modelscope.utils", "modelscope.utils.constant"):
    sys.modules[absent] = MagicMock()
sys.modules["pyannote"] = sys.modules["pyannote.audio"] = MagicMock()

from speakerlab.bin import infer_diarization as recipe  # noqa: E402 - it imports what is replaced above


def timed(stages: dict[str, float], stage: str, call):
    """The call, with its seconds added to a stage."""

    def wrapper(*args, **kwargs):
        begun = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            stages[stage] = stages.get(stage, 0.0) + time.perf_counter() - begun

    return wrapper


def main(request: dict) -> None:
    """Each recording's regions stand in for the VAD."""
    output, checkpoint = Path(request["output"]), Path(request["checkpoint"])
    np.random.seed(0)  # noqa: NPY002 - its k-means draws from here, unseeded
    stages: dict[str, float] = {}
    recipe.download_model_from_modelscope = lambda *_: str(checkpoint.parent)
    recipe.get_voice_activity_detection_model = lambda *_: None
    recipe.load_audio = timed(stages, "decoding", recipe.load_audio)
    diarizer = recipe.Diarization3Dspeaker("cpu")
    diarizer.feature_extractor = timed(stages, "features", diarizer.feature_extractor)
    diarizer.embedding_model.forward = timed(stages, "network", diarizer.embedding_model.forward)
    diarizer.do_clustering = timed(stages, "clustering", diarizer.do_clustering)
    stages["start-up"] = time.time() - float(os.environ["BENCHMARK_STARTED"])
    failed = {}
    for path in map(Path, request["audio"]):
        speech = request["speech"][path.stem]
        diarizer.do_vad = lambda _, speech=speech: speech
        try:
            diarizer.output_field_labels = []
            if speech:
                diarizer(str(path))
            diarizer.save_diar_output(str(output / f"{path.stem}.rttm"), path.stem)
        except Exception as error:  # one recording that fails must not stop the others
            failed[path.stem] = f"{type(error).__name__}: {error}"
    versions = {name: metadata.version(name) for name in ("speakerlab", "torch", "torchaudio", "numpy")}
    report = {"versions": versions, "stages": stages, "failed": failed}
    (output / "report.json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
