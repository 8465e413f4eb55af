"""The shape of the package: which module may know which, what importing costs, what is public."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

import diarize

PACKAGE = ROOT / "diarize"
PATHS = sorted(PACKAGE.rglob("*.py"))

# Who may import whom: a module only what stands in an earlier row, or its own part of the same row.
# A part is a module or a package; `+` joins modules that are one part.
LEVELS = """
    errors
    config  _table  _saving  _sqlite  resampling+samples+_reader+decoding+audio  _files+_assets+_fetch+models
    networks  calibration
    features  engine  words  result
    clustering  formats  scoring  trials  _pcm+sources+microphone
    stages
    verification  enrolment  confidence  extract  live
    kept
    settled  corrections  plotting  voiceprints  linking
    _stream_state+stream
    pipeline
    channels  resuming
    _watch+streaming_score
    diagnosis  _axes+_guards+memo+tuning  report  batch
    server
    cli
    __main__
"""
RANK: dict[str, tuple[int, int]] = {}
for _row, _line in enumerate(LEVELS.split("\n")):
    for _place, _part in enumerate(_line.split()):
        RANK |= dict.fromkeys(_part.split("+"), (_row, _place))

HEAVY = ("torch", "torchaudio", "av", "scipy", "sklearn", "onnxruntime", "matplotlib", "pyannote", "typer")

# Conveniences of a result, imported when they are called: `print(found)`, a picture in a notebook; and the
# type of what it carries along.
UPWARD = {("result", "formats"), ("result", "plotting"), ("result", "kept")}


def name_of(path: Path) -> str:
    """diarize/stages/vad.py -> stages.vad; diarize/stages/__init__.py -> stages"""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in PATHS}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules of the package that a module imports, and whether in a function or for types only."""
    tree = ast.parse(path.read_text("utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(function, ast.If) and ast.unparse(function.test) == "TYPE_CHECKING")
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ("diarize", *path.relative_to(PACKAGE).parts[:-1])
            base = [*package[: len(package) + 1 - node.level], node.module] if node.level else [node.module]
            names = [".".join([*filter(None, base), alias.name]) for alias in node.names]
        for name in names:
            if name.split(".")[0] != "diarize":
                continue
            found = name.removeprefix("diarize").removeprefix(".")
            while found and found not in MODULES:  # a name in a module
                found = found.rpartition(".")[0]
            if found:
                yield found, id(node) in inside


def test_every_module_has_a_level():
    unknown = {name.split(".")[0] for name in MODULES} - set(RANK) - {"__init__"}
    assert not unknown, f"give {sorted(unknown)} a place in LEVELS"


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__init__"])
def test_arrows_point_one_way(name):
    mine = name.split(".")[0]
    for other, inside in imports(MODULES[name]):
        theirs = other.split(".")[0]
        if theirs == mine or (inside and (mine, theirs) in UPWARD):
            continue
        below = RANK[theirs][0] < RANK[mine][0]
        assert below or RANK[theirs] == RANK[mine], f"{name} may not import {other}"


def test_modules_of_a_part_import_in_one_direction():
    """No cycles, inside functions or not, except the conveniences of a result."""
    graph = {name: {other for other, _ in imports(path)} - {name} for name, path in MODULES.items()}
    graph = {
        name: {o for o in found if (name, o.split(".")[0]) not in UPWARD} for name, found in graph.items()
    }
    while free := [name for name, found in graph.items() if not found & set(graph)]:
        for name in free:
            del graph[name]
    assert not graph, f"a cycle among {sorted(graph)}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("stages.")])
def test_stages_never_import_one_another(name):
    assert {other for other, _ in imports(MODULES[name]) if other.startswith("stages")} <= {
        "stages.items",
        "stages.held",
    }


def test_what_the_package_itself_imports_is_for_types_only():
    tree = ast.parse(MODULES["__init__"].read_text("utf-8"))
    ours = [node for node in tree.body if isinstance(node, ast.ImportFrom) and "diarize" in str(node.module)]
    assert not ours


@pytest.mark.parametrize(
    "statement", ["import diarize", "import diarize.audio, diarize.config, diarize.result"]
)
def test_importing_is_light(statement):
    code = f"import sys; {statement}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_is_sorted_complete_and_true():
    assert diarize.__all__ == sorted(diarize.__all__)
    assert len(set(diarize.__all__)) == len(diarize.__all__)
    tree = ast.parse(MODULES["__init__"].read_text("utf-8"))
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("diarize.")
        for alias in node.names
    }
    assert typed == set(diarize.__all__)  # what a type checker sees
    for name in diarize.__all__:
        assert getattr(diarize, name).__module__.startswith("diarize.")
        assert name in dir(diarize)
    errors = importlib.import_module("diarize.errors")
    public = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert public <= set(diarize.__all__), "every error can be caught by a name of diarize"
    with pytest.raises(AttributeError, match="has no attribute 'Diariser'"):
        diarize.Diariser  # noqa: B018


@pytest.mark.parametrize("name", list(MODULES))
def test_how_a_module_is_written(name):
    text = MODULES[name].read_text("utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400, "one idea a module: split it"
    assert ast.get_docstring(tree) or not text.strip(), "say what the module is for"
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), (
            f"line {node.lineno}: bare except"
        )
        printed = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        assert not printed, f"line {node.lineno}: the library logs, the command uses typer.echo"
        checked = isinstance(node, ast.Assert)
        assert not checked, f"line {node.lineno}: raise a typed error; assert is for tests"
