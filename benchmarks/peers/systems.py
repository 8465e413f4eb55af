"""What is measured, and how: environments of the peers, and runs as processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from peers.recordings import speech_of

from diarize import models
from diarize.errors import DiarizeError

SCRIPTS = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """What pip installs for a peer, and what of it without the dependencies it declares."""

    packages: tuple[str, ...]
    bare: tuple[str, ...] = ()
    remark: str = ""


PEERS = {
    "senko": Peer(
        ("senko==0.2.2", "torch==2.14.1", "numpy==2.4.6", "silero-vad==6.2.3"), remark="with its Silero VAD"
    ),
    "speakerlab": Peer(
        (
            *("torch==2.8.0", "torchaudio==2.8.0", "numpy==2.2.6", "scipy==1.15.3", "scikit-learn==1.6.1"),
            *("fastcluster==1.3.0", "hdbscan==0.8.40", "umap-learn==0.5.7"),
            *("pyyaml==6.0.2", "tqdm==4.67.1", "soundfile==0.13.1"),
        ),
        bare=("speakerlab==0.0.6",),
        remark="3D-Speaker's own steps on our speech regions: its times hold no VAD",
    ),
}


@dataclass(frozen=True)
class System:
    """What is measured: a python, the script it runs, how long it may take, and of ours the options."""

    name: str
    python: Path
    script: Path
    timeout_s: float
    options: dict[str, str] = field(default_factory=dict)
    ours: bool = False

    @property
    def label(self) -> str:
        """The name, fit for files."""
        return self.name.replace(" ", "_").replace(":", "_")


@dataclass(frozen=True)
class Run:
    """One process, or why it failed."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    failure: str = ""
    stages: dict[str, float] = field(default_factory=dict)


def environment(name: str, work: Path) -> Path:
    """The python of a peer's environment, which is made unless it is there with the same packages."""
    peer, folder = PEERS[name], work / "environments" / name
    python, mark, log = (
        folder / "bin" / "python",
        folder / "installed.json",
        work / "logs" / f"pip_{name}.log",
    )
    wanted = json.dumps([peer.packages, peer.bare])
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    install = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    commands = [[sys.executable, "-m", "venv", str(folder)], [*install, *peer.packages]]
    commands += [[*install, "--no-deps", *peer.bare]] if peer.bare else []
    with log.open("wb") as output:
        for command in commands:
            if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
                raise DiarizeError(f"not installed: {reason(log)} ({log})")
    mark.write_text(wanted, encoding="utf-8")
    return python


def our_system(asked: str, timeout_s: float) -> System:
    """`default`, a precision, or an engine and a precision: `torch:f32`."""
    engine, _, precision = asked.rpartition(":")
    options = {"engine": engine} if engine else {}
    options |= {"precision": precision} if precision != "default" else {}
    return System(f"ours {asked}", Path(sys.executable), SCRIPTS / "ours.py", timeout_s, options, ours=True)


def reason(log: Path) -> str:
    """The last words of a process, without pip's notices and what frames them."""
    lines = [line.strip(" │╭╮╰╯─") for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line and "[notice]" not in line), "it said nothing")


def measure(command: list[str], log: Path, timeout_s: float) -> Run:
    """Run a command in a process of its own, its words into a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    measured = log.with_suffix(".json")
    script = [sys.executable, "-I", str(SCRIPTS / "measure.py"), str(timeout_s), str(measured), str(log)]
    subprocess.run([*script, *command], check=True)
    found = json.loads(measured.read_text(encoding="utf-8"))
    if code := found.pop("exit"):
        died = f"ended by signal {-code} after {found['wall_s']:.0f} s" if code < 0 else reason(log)
        return Run(failure=f"{died} ({log})")
    return Run(**found)


def timed(system: System, path: Path, work: Path) -> Run:
    """One measured run on one recording; of ours, the command that a user would type."""
    if not system.ours:
        return scripted(system, [path], work)[0]
    command = [str(system.python), "-I", "-m", "diarize", "run", str(path), "--overwrite"]
    command += ["-o", str(turns_of(system, work))]
    if system.options:
        config = work / f"{system.label}.toml"
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in system.options.items()]
        config.write_text("".join(lines), encoding="utf-8")
        command += ["--config", str(config)]
    return measure(command, log_of(system, path, work), system.timeout_s)


def scripted(system: System, paths: Sequence[Path], work: Path) -> tuple[Run, dict[str, Any]]:
    """One run of a system's script on recordings; and what it reports besides the stages."""
    output = turns_of(system, work)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    request: dict[str, Any] = {"audio": [str(path) for path in paths], "output": str(output)}
    request["options"] = system.options
    if system.name == "speakerlab":
        request["speech"] = {path.stem: speech_of(path) for path in paths}
        request["checkpoint"] = str(models.resolve(models.DEFAULT))
    asked = output / "request.json"
    asked.write_text(json.dumps(request), encoding="utf-8")
    log = log_of(system, paths[0], work)
    run = measure([str(system.python), "-I", str(system.script), str(asked)], log, system.timeout_s)
    if run.failure:
        return run, {}
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    if len(report["failed"]) == len(paths):
        return Run(failure=f"{next(iter(report['failed'].values()))} ({log})"), report
    return replace(run, stages=report.pop("stages")), report


def turns_of(system: System, work: Path) -> Path:
    """Where a system's RTTM files are."""
    return work / "turns" / system.label


def log_of(system: System, path: Path, work: Path) -> Path:
    """Where a run's words go."""
    return work / "logs" / f"{system.label}_{path.stem}.log"
