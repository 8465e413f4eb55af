"""`diarize plot` as a person types it."""

from __future__ import annotations

import io
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from command import typed

from diarize.cli import app
from diarize.cli import plot as module
from diarize.formats.registry import FORMATS, format_turns
from diarize.kept import Kept
from diarize.plotting import timeline_svg
from diarize.result import Diarization, Turn

TURNS = [Turn(0.5, 1.7, "Anna", 0.9), Turn(1.2, 2.0, "Bo", 0.6)]
TRUTH = [Turn(0.5, 1.2, "x"), Turn(1.2, 2.0, "y")]


def plot(*arguments: object, status: int = 0, given: bytes | None = None) -> tuple[str, str]:
    """Standard output and error of `plot` with these arguments, which must leave with this status."""
    return typed(app, "plot", *arguments, status=status, given=given)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with who spoke when, the truth, and both recordings of a table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "call.rttm").write_text(format_turns(TURNS, "call", "rttm"))
    (tmp_path / "truth.TextGrid").write_text(format_turns(TRUTH, "truth", "textgrid", duration=3.0))
    other = format_turns([Turn(0.0, 9.0, "z")], "other", "rttm")
    (tmp_path / "all.rttm").write_text(format_turns(TURNS, "call", "rttm") + other)
    return tmp_path


def texts(path) -> set[str]:
    """What is written in a picture; letters are outlines, and what they are a comment."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(path, parser).getroot()
    return {element.text.strip() for element in root.iter(ElementTree.Comment)}


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.read])
def test_any_file_of_turns(here, name):
    file = here / f"talk{FORMATS[name].ending}"
    file.write_text(format_turns(TURNS, "talk", name, duration=3.0), "utf-8")
    said, _ = plot(file.name, "-o", f"{name}.svg")
    assert said == f"{name}.svg\n"
    assert {"Anna", "Bo"} <= texts(here / f"{name}.svg")
    assert ("confidence" in texts(here / f"{name}.svg")) == (name in ("rttm", "json", "jsonl", "csv"))


def test_a_png_by_default_here(here):
    assert plot("call.rttm")[0] == "call.png\n"
    assert (here / "call.png").read_bytes().startswith(b"\x89PNG")
    assert "call.png exists already; add --overwrite" in plot("call.rttm", status=1)[1]
    plot("call.rttm", "--overwrite")


def test_a_reference_of_another_format_and_name(here):
    plot("call.rttm", "--reference", "truth.TextGrid", "-o", "a.svg")
    assert {
        "reference",
        "hypothesis",
        "difference",
        "Anna",
        "x",
        "missed, 0.0 s",
        "false alarm, 0.5 s",
    } <= texts(here / "a.svg")
    read = Diarization(tuple(TURNS), 2.0, "call")
    from diarize.formats.registry import read_turns

    assert (here / "a.svg").read_text("utf-8") == timeline_svg(read, read_turns("truth.TextGrid")["truth"])


def test_lines(here):
    plot("call.rttm", "--line", "0.5", "-o", "a.svg")
    pages = [
        element for element in ElementTree.parse(here / "a.svg").iter() if "axes_" in element.get("id", "")
    ]
    assert len(pages) == 4


def test_which_recording(here):
    assert "say which: --uri NAME" in plot("all.rttm", status=1)[1]
    plot("all.rttm", "--uri", "other", "-o", "a.svg")
    assert "z" in texts(here / "a.svg")
    plot("call.rttm", "-r", "all.rttm", "-o", "b.svg")  # the reference of its own name
    assert "false alarm, 0.0 s" in texts(here / "b.svg")


def test_standard_input(here):
    text = (here / "call.rttm").read_bytes()
    assert plot("-", "--from", "rttm", given=text)[0] == "stdin.png\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.rttm"], "nope.rttm: no such file"),
        (["nope.diarize"], "nope.diarize: cannot be read: No such file"),
        (["call.rttm", "-r", "nope.rttm"], "nope.rttm: no such file"),
        (["call.rttm", "-n", "2"], "--num-speakers is for recordings: call.rttm says already"),
        (["call.rttm", "--config", "meeting"], "--config is for recordings"),
        (
            ["call.rttm", "--kind", "count"],
            "--kind count needs the recording, or a file that ends in .diarize",
        ),
        (["call.wav", "--kind", "count", "-r", "call.rttm"], "are for timelines, not for --kind count"),
        (["call.wav", "--uri", "call"], "this is a recording"),
        (["call.rttm", "--line", "0"], "--line must be seconds > 0, got 0"),
        (["call.rttm", "-o", "a.gif"], "a.gif: a picture's file must end in .png or .svg"),
        (["call.rttm", "-o", "."], ". is a folder; name a file"),
        (["call.rttm", "-o", "no/a.png"], "there is no folder no; make it first"),
        (["call.wav", "-n", "2", "--max-speakers", "3"], "num_speakers says it all"),
    ],
)
def test_what_cannot_be(here, monkeypatch, arguments, message):
    monkeypatch.setattr(module, "load_diarizer", lambda *a, **k: pytest.fail("refuse it before any work"))
    before = sorted(here.iterdir())
    assert message in plot(*arguments, status=1)[1]
    assert sorted(here.iterdir()) == before


def test_a_kind_that_is_none(here):
    said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", plot("a", "--kind", "heat", status=2)[1]).split())
    assert "'heat' is not one of 'timeline', 'similarity', 'count'" in said


def test_without_matplotlib(here, monkeypatch):
    """Said before a recording is diarized for nothing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(module, "load_diarizer", lambda *a, **k: pytest.fail("say it before any work"))
    assert "pip install 'diarize-campplus[plot]'" in plot("call.wav", status=1)[1]


def test_a_full_disk(here, monkeypatch):
    monkeypatch.setattr(
        "diarize._files.os.replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space"))
    )
    assert "a.png: cannot be written: No space" in plot("call.rttm", "-o", "a.png", status=1)[1]
    assert not (here / "a.png").exists()


def test_a_recording_and_what_was_kept_of_it(here, sample_wav, real_diarizer, monkeypatch):
    """Each kind, of the recording itself and of a kept result, is the same picture."""
    asked = []

    def load(config, **options):
        asked.append(config)
        return real_diarizer

    monkeypatch.setattr(module, "load_diarizer", load)
    (here / "talk.wav").symlink_to(sample_wav)
    real_diarizer(here / "talk.wav", num_speakers=3).kept.save(here / "talk.diarize")
    assert len(Kept.load(here / "talk.diarize").result().speakers) == 3
    for kind in "timeline", "similarity", "count":
        said, notes = plot("talk.wav", "-n", 3, "--kind", kind, "-o", f"{kind}.svg")
        assert said == f"{kind}.svg\n"
        plot("talk.diarize", "--kind", kind, "-o", f"{kind}.kept.svg")
        assert (here / f"{kind}.svg").read_bytes() == (here / f"{kind}.kept.svg").read_bytes()
    assert notes.splitlines()[0] == (
        "talk: 3 speakers found; the eigenvalues propose 2; 2 if no number is asked for"
    )
    assert "with 2, one fewer: " in notes
    assert asked == [None] * 3
    assert plot("talk.diarize", "--kind", "count")[0] == "talk.count.png\n"
    assert "--overlap is for recordings" in plot("talk.diarize", "--overlap", "off", status=1)[1]


def test_a_kept_file_that_is_none(here):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    (here / "bad.diarize").write_bytes(buffer.getvalue())
    assert "bad.diarize: not a saved kept result" in plot("bad.diarize", status=1)[1]
