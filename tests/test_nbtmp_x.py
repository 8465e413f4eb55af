"""The notebooks run, and what is stored in them has pictures and no traces of a machine."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, weights, sample_wav):
    weights("campplus-zh-en")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    said = [o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    assert said == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_in_it(path):
    text = path.read_text(encoding="utf-8")
    assert "image/png" in text or "image/svg+xml" in text
    assert '"output_type": "error"' not in text
    assert re.findall(r"/(?:home|root|work|Users|tmp)/\w+", text) == []
    assert len(text) < 400_000
