"""Fixtures of the tests of batches, which name this module in `pytest_plugins`."""

from __future__ import annotations

import pytest
from batch_corpus import Corpus


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)
