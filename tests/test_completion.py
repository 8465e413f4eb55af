"""Completion: what the shell offers, and that it is quick; `python -m diarize` is the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from diarize import __version__
from diarize.cli import app
from diarize.cli.completion import paths
from diarize.cli.panels import VERBS
from diarize.config import shipped
from diarize.formats.registry import FORMATS
from diarize.formats.words import WRITERS
from diarize.models import ASSETS

HEAVY = {"torch", "numpy", "scipy", "matplotlib", "av", "onnxruntime", "openvino", "pyannote.core"}


def offered(line: str) -> list[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    asked = {"_DIARIZE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(app, [], env=asked, prog_name="diarize")
    assert result.exit_code == 0, result.exception
    return result.stdout.split()


def test_verbs():
    assert set(offered("diarize ")) == {verb for verbs in VERBS.values() for verb in verbs}
    assert offered("diarize re") == ["report"]
    assert offered("diarize models ") == ["list", "pull", "where"]


@pytest.mark.parametrize("verb", [verb for verbs in VERBS.values() for verb in verbs])
def test_options(verb):
    """All of them, on every verb."""
    found = set(offered(f"diarize {verb} --"))
    assert "--help" in found
    if verb not in ("models", "doctor"):
        assert len(found) >= 2
    if verb in ("run", "stream", "batch", "words", "report", "plot"):
        assert {"--num-speakers", "--config", "--model", "--overlap"} <= found


def networks() -> set[str]:
    return {name for name, asset in ASSETS.items() if asset.embedding_size}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run -f ", set(FORMATS)),
        ("run --format tex", {"textgrid"}),
        ("batch . -f js", {"json", "jsonl"}),
        ("link a b -f e", {"elan"}),
        ("convert a.rttm --to s", {"srt", "stm", "seglst"}),
        ("convert a.rttm --from u", set()),  # uem does not say who spoke
        ("words a.json b.wav -f ", set(WRITERS)),
        ("words a.json b.wav --from whi", {"whisper", "whisper.cpp"}),
        ("run --config ", set(shipped())),
        ("config tele", {"telephone"}),
        ("verify --model campplus-zh", {"campplus-zh-en", "campplus-zh-cn"}),
        ("run --model ", networks()),
        ("models pull sam", {"sample"}),
        ("models where ", set(ASSETS)),
        ("run --device c", {"cpu", "cuda"}),
        ("run --engine o", {"openvino"}),
        ("run --precision ", {"auto", "f32", "bf16", "int8"}),
        ("run --overlap d", {"detect"}),
        ("batch . --runner r", {"ray"}),
        ("stream --to ", {"text", "jsonl", "rttm"}),
        ("plot a.rttm --kind ", {"timeline", "similarity", "count"}),
        ("run meet", set()),  # nothing of ours: the shell offers files
    ],
)
def test_values(tmp_path, monkeypatch, line, expected):
    monkeypatch.chdir(tmp_path)
    assert set(offered(f"diarize {line}")) == expected


def test_files_beside_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "mine.toml", "mine.wav", "deep/other.toml", "deep/network.pt", ".hidden.toml":
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert offered("diarize run --config m") == ["meeting", "mine.toml"]
    assert offered("diarize run --config deep/") == ["deep/other.toml"]
    assert offered("diarize run --model d") == ["deep/"]
    assert offered("diarize run --model deep/n") == ["deep/network.pt"]
    assert paths(".h", ".toml") == [".hidden.toml"]
    assert paths("", ".toml") == ["deep/", "mine.toml"]
    assert paths("nowhere/", ".toml") == []
    assert paths(f"{tmp_path}/mi", ".toml") == [f"{tmp_path}/mine.toml"]


@pytest.fixture
def command(tmp_path):
    """A folder for PATH with the command `diarize` of this checkout, and the environment to run it in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "diarize"
    find = f"import sys\nsys.path.insert(0, {str(ROOT)!r})"
    script.write_text(f"#!{sys.executable}\n{find}\nfrom diarize.cli import main\nmain()\n")
    script.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(home)}


needs_bash = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="there is no bash here"
)


@needs_bash
def test_installed_into_a_shell(command, tmp_path):
    """As the README of a shell says: install it, begin another shell, press Tab."""
    install = "diarize --install-completion; true"  # `true`, so that bash is there to be recognised
    said = subprocess.run(["bash", "-c", install], env=command, capture_output=True, text=True, check=True)
    assert "bash completion installed" in said.stdout, said.stderr
    press_tab = """
        source ~/.bashrc
        complete -p diarize
        COMP_WORDS=(diarize run --overlap d); COMP_CWORD=3
        _diarize_completion diarize
        echo "offered: ${COMPREPLY[@]}"
    """
    shell = subprocess.run(["bash", "-c", press_tab], env=command, capture_output=True, text=True, check=True)
    assert "-F _diarize_completion diarize" in shell.stdout
    assert shell.stdout.splitlines()[-1] == "offered: detect"
    assert shell.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell):
    environment = {"_DIARIZE_COMPLETE": f"source_{shell}"}
    result = CliRunner().invoke(app, [], env=environment, prog_name="diarize")
    assert result.exit_code == 0
    assert f"_DIARIZE_COMPLETE=complete_{shell}" in result.stdout
    asked = {
        "_DIARIZE_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "diarize run --overlap d",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = CliRunner().invoke(app, [], env=asked, prog_name="diarize")
    assert "detect" in result.stdout


def test_it_loads_nothing_heavy():
    """So pressing Tab takes a few tenths of a second; what it imports is what it waits for."""
    code = f"""
import os, sys
os.environ |= {{"_DIARIZE_COMPLETE": "complete_bash", "COMP_CWORD": "3"}}
os.environ["COMP_WORDS"] = "diarize run --model "
from diarize.cli import app
try:
    app(prog_name="diarize")
except SystemExit:
    pass
print("heavy:", sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert networks() <= set(done.stdout.split())


def test_python_m_diarize(tmp_path, sample_wav):
    """The same command: version, help, work, and what fails."""

    def ran(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "diarize", *map(str, arguments)],
            capture_output=True, text=True, encoding="utf-8", cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    assert ran("--version").stdout == f"diarize {__version__}\n"
    assert "Usage: python -m diarize" in ran("run", "--help").stdout
    assert ran("nope").returncode == 2
    done = ran("-q", "run", sample_wav, "nope.wav", "-o", "-", "-f", "jsonl")
    assert done.returncode == 1
    assert done.stderr == "1 of 2 failed:\nerror: nope.wav: no such file\n"
    assert len([json.loads(line)["speaker"] for line in done.stdout.splitlines()]) > 4
