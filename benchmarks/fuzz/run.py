"""Fuzz the readers: `python benchmarks/fuzz/run.py [TARGET ...] [--runs N] [--seconds S] [--out DIR]`.

One process a target, one after the other (libFuzzer, by atheris, led by the coverage of our Python; FFmpeg
and PyTorch are not instrumented). It begins with the seeds and the kept corpus. Prints a table, and exits
with 1 if anything but a `DiarizeError` left a reader, a run took longer than 5 s, or more than 1 GB.

    --keep    afterwards keep in `corpus/` what reached something new, smallest first, as far as there is room
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from types import FrameType

from seeds import seeds_of
from targets import TARGETS

from diarize.errors import DiarizeError

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
SHELF = "/dev/shm" if Path("/dev/shm").is_dir() else None
LONGEST_S, MOST_MB = 5, 1024
LARGEST = {"audio": 60_000, "pipe": 60_000, "saved": 400_000, "kept": 100_000, "checkpoint": 20_000}
"""Bytes of an input; 8192 where nothing is said."""


Step = tuple[str, int, int]


KEPT = {"audio": 60_000}
"""Bytes of a corpus that is kept; 10,000 where nothing is said."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "diarize-fuzz")
    parser.add_argument("--only-keep", action="store_true", help="fuzz nothing, keep what DIR holds")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    total, bad = 0, 0
    print("| target | executions | seconds | peak MB | findings |\n|---|---|---|---|---|", flush=True)
    for name in args.targets:
        if args.only_keep:
            keep(name, args.out / name)
            continue
        runs, seconds, peak, findings = fuzz(name, args)
        total, bad = total + runs, bad + len(findings)
        print(f"| {name} | {runs:,} | {seconds:.0f} | {peak} | {', '.join(findings) or '-'} |", flush=True)
        if args.keep:
            keep(name, args.out / name)
    print(f"| all | {total:,} | | | {bad} |", flush=True)
    return int(bad > 0)


def fuzz(name: str, args: argparse.Namespace) -> tuple[int, float, int, list[str]]:
    """Executions, seconds, peak of memory in MB, and what was found."""
    corpus, findings = args.out / name, args.out / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    for data in [*seeds_of(name), *kept(name)]:
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    words = args.out / f"{name}.dict"
    words.write_text("".join(f'"{word}"\n' for word in dictionary(name)))
    command = [sys.executable, str(HERE / "one.py"), name, str(findings), str(corpus)]
    command += [f"-atheris_runs={args.runs}", f"-max_total_time={args.seconds}", f"-timeout={LONGEST_S}"]
    command += [f"-rss_limit_mb={MOST_MB}", f"-max_len={LARGEST.get(name, 8192)}", f"-dict={words}"]
    command += [f"-artifact_prefix={findings}/{name}-", "-print_final_stats=1"]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=SHELF) as folder:  # libFuzzer cleans up nothing
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder)
    said = done.stdout + done.stderr
    (args.out / f"{name}.log").write_text(said)
    found = re.findall(r"^finding: ([^:]+):", said, re.MULTILINE)
    found += re.findall(r"Test unit written to \S*/(\S+)", said)
    if done.returncode and not found and "Done " not in said:  # after that only Python's own end is left
        found.append(f"exit {done.returncode}")
    runs = re.findall(r"number_of_executed_units:\s+(\d+)", said) or re.findall(
        r"(?:Done |^#)(\d+)", said, re.MULTILINE
    )
    peak = max(map(int, re.findall(r"rss: (\d+)Mb", said)), default=0)
    return int(runs[-1]) if runs else 0, time.monotonic() - begun, peak, found


def dictionary(name: str) -> list[str]:
    """Words and marks of the seeds, for mutations to put in."""
    found: set[bytes] = set()
    for seed in seeds_of(name):
        found.update(re.findall(rb"[A-Za-z_]{2,20}|-->|\d+\.\d+|[<>\[\]{}\"]", seed[:4096]))
    found |= {
        b"1e308",
        b"-1",
        b"NaN",
        b"Infinity",
        b"999999999999999999999",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"\0",
    }
    return ["".join(f"\\x{byte:02x}" for byte in word) for word in sorted(found)][:300]


def kept(name: str) -> list[bytes]:
    """The corpus that is kept with the sources."""
    path = CORPUS / f"{name}.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as archive:
        return [archive.read(member) for member in sorted(archive.namelist())]


def keep(name: str, corpus: Path) -> None:
    """Of a corpus, what takes a step in our code that nothing smaller takes, as far as there is room."""
    files = sorted(corpus.iterdir(), key=lambda file: (file.stat().st_size, file.name))
    known: set[Step] = set()
    path = CORPUS / f"{name}.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            data = file.read_bytes()
            new = steps(name, data) - known
            known |= new
            if new and path.stat().st_size + len(zlib.compress(data)) < KEPT.get(name, 10_000):
                member = zipfile.ZipInfo(file.name[:12])  # its date is 1980: the same files, the same bytes
                archive.writestr(member, data, zipfile.ZIP_DEFLATED)


def steps(name: str, data: bytes) -> set[Step]:
    """The steps from line to line that an input takes in the package."""
    found: set[Step] = set()

    def trace(frame: FrameType, event: str, _: object) -> object:
        if "/diarize/" not in frame.f_code.co_filename:
            return None
        last = frame.f_lineno

        def step(frame: FrameType, event: str, _: object) -> object:
            nonlocal last
            found.add((frame.f_code.co_filename, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=SHELF) as folder, contextlib.chdir(folder):
        file = Path(folder) / "input"
        file.write_bytes(data)
        sys.settrace(trace)
        try:
            TARGETS[name](file)
        except Exception as error:
            if not isinstance(error, DiarizeError):
                print(f"finding, not kept: {name}: {error}")
        finally:
            sys.settrace(None)
    return found


if __name__ == "__main__":
    sys.exit(main())
