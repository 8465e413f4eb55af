"""Fuzz one target in this process and folder: `python one.py TARGET FINDINGS CORPUS [libFuzzer's options]`.

Whatever leaves a target and is no `DiarizeError` is kept in FINDINGS, once for each place that raised it, and
fuzzing goes on; a crash, a hang or too much memory ends the process, and libFuzzer keeps the input.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import traceback
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["diarize", "tomllib"]):
    from targets import TARGETS

    from diarize.errors import DiarizeError
from seeds import seeds_of


def place(error: BaseException) -> str:
    """The kind of an error and the last line of ours that it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/diarize/" in f.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}-{Path(last.filename).stem}-{last.lineno}"


def main() -> None:
    name, findings = sys.argv[1], Path(sys.argv[2])
    findings.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    logging.getLogger("diarize").setLevel(logging.CRITICAL)
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    file, run, known = Path("input").resolve(), TARGETS[name], set[str]()

    def once(data: bytes) -> None:
        file.write_bytes(data)
        try:
            run(file)
        except DiarizeError:
            pass
        except Exception as error:
            if (where := place(error)) not in known:
                known.add(where)
                sum_of = hashlib.sha256(data).hexdigest()[:8]
                (findings / f"{name}-{where}-{sum_of}").write_bytes(data)
                (findings / f"{name}-{where}.txt").write_text(traceback.format_exc())
                print(f"finding: {where}: {str(error)[:200]}", flush=True)

    with atheris.instrument_imports(include=["diarize", "tomllib"]):  # what is imported on first use
        for seed in seeds_of(name):
            once(seed)
    atheris.Setup([sys.argv[0], *sys.argv[3:]], once)
    atheris.Fuzz()


main()
