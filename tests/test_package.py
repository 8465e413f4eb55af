"""The wheel, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_what_it_carries(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("diarize/py.typed", "diarize/configs/default.toml", "diarize/configs/3dspeaker.toml"):
        assert name in names
    assert wheel.name.startswith("diarize_campplus-")
    assert not [name for name in names if name.startswith(("tests/", "notebooks/"))]
    assert not [name for name in names if name.endswith((".pt", ".bin", ".wav", ".onnx"))]


def test_it_works_alone(wheel, tmp_path, sample_wav, weights):
    """Unpacked elsewhere it finds its configurations and diarizes; the checkout is not looked at."""
    weights("campplus-zh-en")
    home = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(home)
    environment = {**os.environ, "PYTHONPATH": str(home)}

    def diarize(*arguments: str) -> str:
        command = [sys.executable, "-m", "diarize", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert str(home) in diarize("config", "--list")
    assert "max_speakers = 2" in diarize("config", "telephone")
    assert diarize("run", str(sample_wav), "-c", "telephone", "-o", "-").count("SPEAKER sample 1 ") >= 5
