"""Shared fixtures: where the real recordings and the real weights are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DIARIZE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings with references; tests that need it are skipped without it."""
    if not DATA.is_dir():
        pytest.skip(f"no recordings at {DATA}; point DIARIZE_TEST_DATA to them")
    return DATA
