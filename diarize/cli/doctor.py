"""`diarize doctor`: what is installed here, for bug reports."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import typer

from diarize import __version__, models
from diarize.config import shipped
from diarize.errors import ModelError

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "torchaudio",
    "silero-vad",
    "onnxruntime",
    "openvino",
    "av",
    "pyannote.core",
)
EXTRAS = {"pyannote.metrics": "score", "matplotlib": "plot", "sounddevice": "mic"}


def doctor() -> None:
    """Say what is installed, what is missing and where things are; paste it into bug reports.

    Exits with 1 if something needed is missing.

    Example:

    - `diarize doctor > doctor.txt`
    """
    from diarize.engine.machine import available_cores

    missing = []
    show("diarize", __version__)
    show("python", f"{platform.python_version()} on {platform.platform()}")
    show("cores", str(available_cores()))
    for package in PACKAGES:
        version = version_of(package)
        show(package, version or "MISSING")
        if version is None:
            missing.append(f"{package} is missing; run: pip install {package}")
    for package, extra in EXTRAS.items():
        show(
            package,
            version_of(package) or f"not installed (optional: pip install 'diarize-campplus[{extra}]')",
        )
    missing += engine()
    cache = models.cache_dir()
    show("cache", f"{cache} ({folder_size(cache) / 1e6:.0f} MB; another place: DIARIZE_CACHE)")
    for asset in models.ASSETS.values():
        show(f"  {asset.name}", asset.state())
    absent = [n for n in (models.DEFAULT, models.SEGMENTATION) if models.find(n).state() != "cached"]
    if absent:
        typer.echo(
            f"the default models are fetched at the first run, or now: diarize models pull {' '.join(absent)}"
        )
    show("configs", ", ".join(shipped()) or "MISSING")
    if missing:
        for line in missing:
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(1)
    typer.echo("all that is needed is here")


def engine() -> list[str]:
    """Show what computes the networks; what is missing for it."""
    from diarize.engine import choose
    from diarize.stages.vad import silero_path

    missing = []
    try:
        import torch

        cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
        show("PyTorch's device", cuda)
        show("engine", "{} on {}, precision {}".format(*choose()))
    except ImportError as error:
        missing.append(f"PyTorch does not load ({error}); run: pip install torch torchaudio")
    try:
        show("Silero VAD", silero_path().name)
    except ModelError as error:
        missing.append(str(error))
    return missing


def show(name: str, value: str) -> None:
    """One aligned line."""
    typer.echo(f"{name:<22} {value}")


def version_of(package: str) -> str | None:
    """Installed version, None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
