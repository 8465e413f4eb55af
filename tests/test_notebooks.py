"""The notebooks run in a fresh kernel; what is stored in them has pictures and no traces of a machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 400_000

# A folder of a user or of a temporary place, on any system, and not the end of a web address.
ABSOLUTE = re.compile(r"(?<![\w.:/])(?:/(?:home|root|Users|work|tmp|var|mnt|opt)/\w|[A-Z]:\\+\w)")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def texts(notebook: Any) -> list[str]:
    """Everything that was printed or shown as text, pictures in SVG among it."""
    found = []
    for output in outputs(notebook):
        shown = [text for kind, text in output.get("data", {}).items() if kind != "image/png"]
        found += [str(text) for text in [*shown, output.get("text"), *output.get("traceback", [])] if text]
    return found


def shown(notebook: Any) -> list[list[list[str]]]:
    """The kinds of what each cell shows; printed text apart, which arrives in any number of pieces."""
    return [[sorted(o.data) for o in cell.get("outputs", []) if "data" in o] for cell in notebook.cells]


def noise(notebook: Any) -> list[str]:
    return [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


def test_there_are_notebooks():
    assert NOTEBOOKS


@every_notebook
@pytest.mark.filterwarnings(
    # older jupyter_core 5 says this to everybody once a process; nothing here depends on its paths
    "ignore:Jupyter is migrating its paths:DeprecationWarning",
    # pyzmq on Windows' default event loop starts a thread of its own, and says so
    "ignore:Proactor event loop does not implement:RuntimeWarning",
)
def test_it_runs(path, weights, sample_wav, tmp_path, monkeypatch):
    """From a folder that is not the checkout's; any error in a cell is raised here."""
    weights("campplus-zh-en")
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert noise(notebook) == []
    assert shown(notebook) == shown(read(path)), "run the notebook from top to bottom and save it"
    assert list(tmp_path.iterdir()) == [], "a notebook leaves no files behind"


@every_notebook
def test_what_is_stored_in_it(path):
    notebook = read(path)
    kinds = {kind for output in outputs(notebook) for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/svg+xml"}
    assert [output for output in outputs(notebook) if output.output_type == "error"] == []
    assert noise(notebook) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom"
    assert path.stat().st_size < MAX_BYTES


@every_notebook
def test_no_path_of_a_machine_is_stored_in_it(path):
    notebook = read(path)
    written = [*texts(notebook), *(cell.source for cell in notebook.cells)]
    for text in written:
        assert ABSOLUTE.findall(text) == []
        assert str(ROOT) not in text


@pytest.mark.parametrize(
    "text", ["/home/ann/x.wav", "in '/root/a'", "/Users/ann", r"C:\Users\ann", "(/tmp/a.rttm)"]
)
def test_a_path_of_a_machine_would_be_found(text):
    assert ABSOLUTE.search(text)


@pytest.mark.parametrize(
    "text", ["https://example.org/home/page", "turns/home/x", "and/or", "SPEAKER sample 1"]
)
def test_other_text_is_no_path_of_a_machine(text):
    assert not ABSOLUTE.search(text)
