"""Fixtures of the tests of fetching, which name this module in `pytest_plugins`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import Server, fake_asset

from diarize import models


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("DIARIZE_", "PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("DIARIZE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server in the place of ModelScope."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("DIARIZE_MODELSCOPE_URL", server.url)
        yield server
        server.stop.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A model called ``fake`` that ModelScope has; this is where it belongs."""
    monkeypatch.setitem(models.ASSETS, "fake", fake_asset())
    return cache / "fake" / "fake.bin"
