"""``diarize models`` over a table of one model that is on disk and one that is not."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diarize import models
from diarize.cli import models as verb
from diarize.errors import ModelError

BODY = b"weights"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the one that is on disk; the network is off."""
    monkeypatch.setenv("DIARIZE_CACHE", str(tmp_path))
    monkeypatch.setenv("DIARIZE_OFFLINE", "1")
    files = (models.File("weights.bin", hashlib.sha256(BODY).hexdigest()),)
    sources = (models.ModelScope("org/some", "v1"),)
    table = {
        "here": models.Asset("here", files, sources, "MIT", "a [bold] description", embedding_size=192),
        "away": models.Asset("away", files, sources, "MIT", "not on disk"),
    }
    monkeypatch.setattr(models, "ASSETS", table)
    monkeypatch.setattr(models, "DEFAULT", "here")
    path = tmp_path / "here" / "weights.bin"
    path.parent.mkdir()
    path.write_bytes(BODY)
    return path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_list_in_a_pipe_is_tab_separated(arguments: list[str], here: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(verb.app, arguments)
    assert result.exit_code == 0
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["here", "192", "cached", str(here), "MIT", "a [bold] description [default]"],
        ["away", "-", "absent", str(tmp_path / "away" / "weights.bin"), "MIT", "not on disk"],
    ]


def test_list_on_a_terminal_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    verb.list_models()
    assert "licence" in screen.getvalue()
    assert "a [bold] description [default]" in screen.getvalue()
    assert f"cache: {models.cache_dir()}" in screen.getvalue()
    assert "\t" not in screen.getvalue()


def test_pull_prints_where_each_one_is(here: Path) -> None:
    result = CliRunner().invoke(verb.app, ["pull", "here"])
    assert (result.exit_code, result.stdout) == (0, f"here\t{here}\n")


@pytest.mark.parametrize("arguments", [["--all"], ["away", "here"]])
def test_one_that_fails_does_not_stop_the_others(arguments: list[str], here: Path) -> None:
    result = CliRunner().invoke(verb.app, ["pull", *arguments])
    assert result.stdout == f"here\t{here}\n"
    assert isinstance(result.exception, ModelError)
    assert "away is not on disk and could not be fetched" in str(result.exception)


def test_pull_refuses_an_unknown_name_before_it_starts() -> None:
    result = CliRunner().invoke(verb.app, ["pull", "here", "awya"])
    assert result.stdout == ""
    assert isinstance(result.exception, ModelError)
    assert "did you mean 'away'?" in str(result.exception)


def test_pull_nothing_is_a_usage_error() -> None:
    assert CliRunner().invoke(verb.app, ["pull"]).exit_code == 2


def test_where_prints_the_path_only(here: Path) -> None:
    result = CliRunner().invoke(verb.app, ["where", "here"])
    assert (result.exit_code, result.stdout) == (0, f"{here}\n")


def test_where_says_how_to_fetch_what_is_not_there(here: Path) -> None:
    result = CliRunner().invoke(verb.app, ["where", "away"])
    assert result.exit_code == 1
    assert str(result.exception) == "away is not on disk; fetch it: diarize models pull away"
    here.write_bytes(b"")
    assert "here is damaged" in str(CliRunner().invoke(verb.app, ["where", "here"]).exception)


def test_progress_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with verb.fetch_progress() as progress:
            progress("here from [somewhere]", 0, None)
            progress("here from [somewhere]", 5, 10)
        assert ("here from [somewhere]" in stream.getvalue()) is drawn
