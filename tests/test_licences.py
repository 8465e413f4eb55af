"""The licences of what comes with the package, the libraries inside wheels too, are known and allowed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from conftest import ROOT

SCRIPT = ROOT / ".ci" / "licences.py"
if not SCRIPT.exists():
    pytest.skip("no .ci here: this is not a checkout", allow_module_level=True)
_spec = importlib.util.spec_from_file_location("licences", SCRIPT)
licences = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(licences)


def test_everything_that_is_installed_may_be():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    packages, libraries = (int(word) for word in done.stdout.split() if word.isdigit())
    assert packages > 20
    assert libraries > 10 or sys.platform != "linux"


def test_the_page_names_all_of_it():
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    missing = [
        name for name in licences.installed() if not licences.of_cuda(name) and f"| {name} |" not in page
    ]
    assert missing == [], "python .ci/licences.py --write"


def test_the_libraries_of_wheels_are_found():
    found = list(licences.libraries(licences.installed()["av"]))
    assert "avcodec" in found
    assert all(licences.carried("av", library) for library in found)


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("MIT", True),
        ("MIT AND PSF-2.0", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("not said", False),
        ("SSPL-1.0", False),
    ],
)
def test_what_may_be(expression, may):
    assert licences.allowed(expression) == may


def test_a_library_that_nobody_looked_at_is_refused(monkeypatch, capsys):
    if "x264" not in list(licences.libraries(licences.installed()["av"])):
        pytest.skip("this PyAV carries no x264")
    monkeypatch.delitem(licences.CARRIED["av"], "x264")
    monkeypatch.setitem(licences.READ, "rich", "SSPL-1.0")
    monkeypatch.setattr(sys, "argv", ["licences"])
    assert licences.main() == 1
    said = capsys.readouterr().err
    assert "av carries 'x264': a library whose licence nobody has noted" in said
    assert "rich: 'SSPL-1.0' is not among the licences that are allowed" in said
