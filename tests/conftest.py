"""Shared fixtures: where the real recordings and the real weights are."""

from __future__ import annotations

import os
import signal
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from diarize import Diarizer

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DIARIZE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def interruptible() -> None:
    """Ctrl-C interrupts, whatever a shell, a browser or a test before has made of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings with references; tests that need it are skipped without it."""
    if not DATA.is_dir():
        pytest.skip(f"no recordings at {DATA}; point DIARIZE_TEST_DATA to them")
    return DATA


@pytest.fixture(scope="session")
def write_wav():
    """A function that writes int16 samples, (n,) or (n, channels), as a WAV file and returns its path."""

    def write(path: Path, samples: np.ndarray, rate: int) -> Path:
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.astype("<i2").tobytes())
        return path

    return write


def cached(name: str) -> Path:
    """A model or the sample that `make test` has fetched; the test is skipped where it is not here."""
    from diarize import ModelError, models

    try:
        return models.resolve(name, offline=True)
    except ModelError:
        pytest.skip(f"{name} is not on disk; fetch it: diarize models pull {name}")


@pytest.fixture(scope="session")
def weights() -> Callable[[str], Path]:
    """A function from a model's name to its file."""
    return cached


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    """Playwright itself: a thread cannot have two, and while it has one `asyncio.run` is refused there."""
    api = pytest.importorskip("playwright.sync_api", reason="pages are tested with Playwright")
    with api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def real_diarizer() -> Diarizer:
    """The default diarizer with the real networks, on the CPU."""
    from diarize import Diarizer

    cached("campplus-zh-en")
    return Diarizer(device="cpu")


@pytest.fixture(scope="session")
def sample_wav() -> Path:
    """The sample conversation."""
    return cached("sample")
