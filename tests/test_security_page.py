"""Every sentence in the lists of docs/security.md names its tests, and every test it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from conftest import ROOT

PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/\w+\.py)::(test_\w+)`")


def sentences() -> list[str]:
    """The entries of the page's lists, each on one line."""
    text = PAGE.read_text(encoding="utf-8")
    return [" ".join(entry.split()) for entry in re.findall(r"^- (.+(?:\n  .+)*)", text, re.MULTILINE)]


@cache
def functions_of(path: str) -> frozenset[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_there_are_sentences():
    assert len(sentences()) > 30


@pytest.mark.parametrize("sentence", sentences(), ids=lambda sentence: sentence[:40])
def test_a_sentence_names_its_tests_and_they_are_there(sentence):
    named = NAMED.findall(sentence)
    assert named
    assert re.sub(r"[`\w:/.]+::\w+`", "", sentence).strip().endswith((".", ")."))
    assert [f"{path}::{name}" for path, name in named if name not in functions_of(path)] == []


def test_what_it_names_in_the_text_is_there():
    for path in re.findall(r"\]\((\w[\w/.]*)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / path).exists(), path
