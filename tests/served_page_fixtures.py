"""Fixtures of the tests of the live page, which name this module in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_page import CHROMIUM, RATE, Served, Visits, browsing, fake_diarizer, fake_talk, serving


@pytest.fixture(scope="module")
def talk(tmp_path_factory: Any, write_wav: Any) -> Path:
    """What the microphone hears."""
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", fake_talk() * 32767, RATE)


@pytest.fixture(scope="module")
def browser(playwright: Any, talk: Path) -> Iterator[Any]:
    """With a microphone."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with browsing(playwright, talk) as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: Any) -> Iterator[Served]:
    """A server with quick networks."""
    with serving(fake_diarizer(), tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def visit(browser: Any) -> Iterator[Visits]:
    """A function that opens the page."""
    visits = Visits(browser)
    yield visits
    visits.close()
