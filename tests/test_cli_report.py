"""`diarize report` as a person types it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import typer
from command import typed

from diarize.cli import report as module
from diarize.formats.registry import FORMATS, format_turns
from diarize.result import Diarization, Turn

app = typer.Typer(rich_markup_mode="markdown")
app.command("report")(module.report)
app.callback()(lambda: None)

TURNS = [Turn(0.5, 1.7, "Anna", 0.9), Turn(1.2, 2, "Bo")]


def report(*arguments: object, status: int = 0) -> tuple[str, str]:
    """Standard output and error of `report` with these arguments, which must leave with this status."""
    return typed(app, "report", *arguments, status=status)


@pytest.fixture
def here(tmp_path, monkeypatch, write_wav):
    """A folder with 3 s of noise and who spoke when in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    write_wav(tmp_path / "there" / "talk.wav", np.random.default_rng(1).normal(0, 900, 48000), 16000)
    (tmp_path / "talk.rttm").write_text(format_turns(TURNS, "talk", "rttm"))
    return tmp_path


@pytest.fixture
def diarizer(monkeypatch):
    """A diarizer that finds `TURNS`; gives what it was called with."""
    calls = []

    def load(config, **options):
        def run(source, **more):
            calls.append({"config": config, "source": source, **options, **more})
            return Diarization(tuple(TURNS), 3.0, "talk")

        return run

    monkeypatch.setattr(module, "load_diarizer", load)
    return calls


def data(path) -> dict:
    """What a page knows."""
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL).group(1))


def test_the_diarizer_is_asked(here, diarizer):
    said, notes = report("there/talk.wav", "-n", 2, "--config", "meeting", "--channel", 0)
    assert said == "talk.html\n"
    assert re.fullmatch(r"there/talk\.wav: 2 speakers, 2 turns, 0\.\d MB\n", notes)
    (call,) = diarizer
    assert (call["num_speakers"], call["config"], call["channel"]) == (2, "meeting", 0)
    found = data(here / "talk.html")
    assert found["turns"] == [[0.5, 1.7, "Anna", 0.9], [1.2, 2, "Bo", None]]
    assert (found["title"], found["uri"], found["duration"]) == ("talk", "talk", 3.0)
    assert found["heard"] == 3.0


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.read])
def test_turns_come_from_any_format(here, name):
    path = here / f"talk{FORMATS[name].ending}"
    path.write_text(format_turns(TURNS, "talk", name, duration=2.5))
    report("there/talk.wav", "--turns", path, "-o", "page.html", "--title", "<Tuesday>")
    found = data(here / "page.html")
    assert [row[:3] for row in found["turns"]] == [[0.5, 1.7, "Anna"], [1.2, 2, "Bo"]]
    assert found["duration"] == 3.0
    assert "<title>&lt;Tuesday&gt;</title>" in (here / "page.html").read_text()


def test_one_of_several_recordings(here):
    (here / "all.rttm").write_text(
        format_turns(TURNS, "talk", "rttm") + format_turns(TURNS[:1], "other", "rttm")
    )
    report("there/talk.wav", "--turns", "all.rttm")
    assert len(data(here / "talk.html")["turns"]) == 2
    report("there/talk.wav", "--turns", "all.rttm", "--uri", "other", "--overwrite")
    assert len(data(here / "talk.html")["turns"]) == 1
    assert (
        "it holds talk, other"
        in report("there/talk.wav", "--turns", "all.rttm", "--uri", "x", "-o", "x.html", status=1)[1]
    )


def test_without_sound(here):
    report("there/talk.wav", "--turns", "talk.rttm", "--no-audio")
    found = data(here / "talk.html")
    assert found["heard"] == 0
    assert found["peaks"]
    assert 'id="sound"></script>' in (here / "talk.html").read_text()


def test_nothing_is_replaced_unasked_and_nothing_left_half_written(here, diarizer):
    (here / "talk.html").write_text("mine")
    assert "add --overwrite" in report("there/talk.wav", status=1)[1]
    (here / "broken.wav").write_bytes(b"no sound at all")
    report("broken.wav", "--turns", "talk.rttm", "-o", "talk.html", "--overwrite", status=1)
    assert (here / "talk.html").read_text() == "mine"
    assert not diarizer
    report("there/talk.wav", "--overwrite")
    assert data(here / "talk.html")["uri"] == "talk"
    assert not list(here.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-"], "save standard input"),
        (["there/talk.wav", "-o", "there"], "is a folder"),
        (["there/talk.wav", "-o", "talk.rttm", "--overwrite"], "must end in .html"),
        (["there/talk.wav", "-o", "gone/talk.html"], "there is no folder gone"),
        (["there/talk.wav", "--turns", "nope.rttm"], "nope.rttm: no such file"),
        (["there/talk.wav", "--turns", "talk.wav"], "the ending must name a format"),
        (["there/talk.wav", "--turns", "talk.rttm", "-n", "2"], "--num-speakers is for finding out"),
        (["there/talk.wav", "--turns", "talk.rttm", "--threads", "0"], "--threads is for finding out"),
        (["there/talk.wav", "--uri", "x"], "--uri says which recording of --turns"),
        (["there/talk.wav", "-n", "2", "--min-speakers", "3"], "num_speakers"),
        (["nope.wav", "--turns", "talk.rttm"], "nope.wav"),
    ],
)
def test_what_cannot_be_meant_is_refused(here, diarizer, arguments, said):
    assert said in report(*arguments, status=1)[1]
    assert not diarizer
    assert not (here / "talk.html").exists()


def test_a_sample_conversation_with_the_real_networks(here, real_diarizer, sample_wav, monkeypatch):
    monkeypatch.setattr(module, "load_diarizer", lambda *_, **__: real_diarizer)
    report(sample_wav, "-n", 2, "-o", "sample.html")
    found = data(here / "sample.html")
    assert len({row[2] for row in found["turns"]}) == 2
    assert all(0 <= row[3] <= 1 for row in found["turns"])
    assert found["duration"] == 30.0
