"""`diarize convert` as a person types it."""

from __future__ import annotations

import json
import os

import pytest
import typer
from command import typed

from diarize.cli.convert import convert
from diarize.formats.registry import FORMATS, format_turns, read_recordings
from diarize.result import Turn

app = typer.Typer(rich_markup_mode="markdown")
app.callback()(lambda: None)
app.command("convert")(convert)

TURNS = [Turn(0.5, 3.7, "Anna", 0.9), Turn(2, 4, "Bo"), Turn(4, 5, "Anna", 0.5)]


def run(*arguments: object, status: int = 0, stdin: str | bytes | None = None) -> tuple[str, str]:
    """Standard output and error of `convert` with these arguments, which must leave with this status."""
    return typed(app, "convert", *arguments, status=status, given=stdin)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meeting.rttm").write_text(format_turns(TURNS, "meeting", "rttm"))
    (tmp_path / "call.rttm").write_text(format_turns(TURNS[:1], "call", "rttm"))
    return tmp_path


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.read])
def test_there_and_back(here, name):
    ending = FORMATS[name].ending
    (here / "x").mkdir()
    assert run("meeting.rttm", "-o", f"x/meeting{ending}")[0] == f"x/meeting{ending}\n"
    run(f"x/meeting{ending}", "-o", "back.rttm")
    expected = (here / "meeting.rttm").read_bytes()
    if name not in ("rttm", "json", "jsonl", "csv"):
        expected = expected.replace(b"0.900 <NA>", b"<NA> <NA>").replace(b"0.500 <NA>\n", b"<NA> <NA>\n")
    assert (here / "back.rttm").read_bytes() == expected


def test_many_into_one(here):
    run("call.rttm", "meeting.rttm", "-o", "all.csv")
    assert [one.uri for one in read_recordings("all.csv")] == ["call", "meeting"]
    run("all.csv", "-o", "all.rttm")
    both = (here / "call.rttm").read_text() + (here / "meeting.rttm").read_text()
    assert (here / "all.rttm").read_text() == both
    assert "holds exactly one recording, got 2" in run("all.csv", "-o", "all.eaf", status=1)[1]
    assert "two recordings are called 'call'" in run("call.rttm", "all.csv", "-o", "x.csv", status=1)[1]
    assert not (here / "x.csv").exists()


def test_into_a_folder(here):
    assert run("call.rttm", "meeting.rttm", "-o", "out", "--to", "json")[0].split() == [
        "out/call.json",
        "out/meeting.json",
    ]
    run("call.rttm", "meeting.rttm", "-o", "all.seglst.json")
    said = run("all.seglst.json", "-o", "out", "--to", "textgrid")[0]
    assert said.split() == ["out/call.TextGrid", "out/meeting.TextGrid"]
    assert run("all.seglst.json", "-o", "out", "--to", "csv")[0] == "out/all.csv\n"
    assert "say which format to write: --to rttm, json" in run("call.rttm", "-o", "out", status=1)[1]
    assert "add --overwrite" in run("call.rttm", "-o", "out", "--to", "json", status=1)[1]
    run("call.rttm", "-o", "out", "--to", "json", "--overwrite")
    (here / "b").mkdir()
    (here / "b" / "call.csv").write_text("start,end,speaker\n")
    assert (
        "would both be written to" in run("call.rttm", "b/call.csv", "-o", "two", "--to", "stm", status=1)[1]
    )
    assert "holds no turn" in run("b/call.csv", "-o", "three", "--to", "elan", status=1)[1]
    run("b/call.csv", "-o", "three", "--to", "rttm")
    assert (here / "three" / "call.rttm").read_bytes() == b""


def test_names_of_recordings_are_no_paths(here):
    (here / "x.csv").write_text("uri,start,end,speaker\n../up,0,1,a\n/abs,0,1,a\n..,0,1,a\nv1.2,0,1,a\n")
    said = run("x.csv", "-o", "out", "--to", "elan")[0].split()
    assert sorted(os.listdir("out")) == sorted(name.removeprefix("out/") for name in said)
    assert said == ["out/_._up.eaf", "out/_abs.eaf", "out/_.eaf", "out/v1.2.eaf"]


def test_pipes(here):
    text = (here / "meeting.rttm").read_text()
    said, _ = run("-", "--from", "rttm", "-o", "-", "--to", "jsonl", stdin=text)
    assert [json.loads(line)["speaker"] for line in said.splitlines()] == ["Anna", "Bo", "Anna"]
    assert run("-", "--from", "jsonl", "-o", "-", "--to", "rttm", stdin=said)[0] == text
    labels, _ = run("meeting.rttm", "-o", "-", "--to", "audacity")
    assert "SPEAKER stdin 1 " in run("-", "--from", "audacity", "-o", "-", "--to", "rttm", stdin=labels)[0]
    run("-", "--from", "audacity", "-o", "out", "--to", "rttm", stdin=labels)
    assert os.listdir("out") == ["stdin.rttm"]
    assert "say --from rttm" in run("-", "-o", "-", "--to", "csv", status=1)[1]
    assert "say which format to write" in run("-", "--from", "rttm", "-o", "-", status=1)[1]
    broken = run("-", "--from", "rttm", "-o", "-", "--to", "csv", stdin="SPEAKER m\n", status=1)[1]
    assert "error: standard input:1: a SPEAKER line must have 8 to 10 fields, got 2" in broken


def test_another_name(here):
    run("meeting.rttm", "-o", "x.rttm", "--uri", "weekly")
    assert (here / "x.rttm").read_text() == (here / "meeting.rttm").read_text().replace("meeting", "weekly")
    assert "--uri names one recording, the files hold 2" in run(
        "meeting.rttm", "call.rttm", "-o", "y.rttm", "--uri", "x", status=1
    )[1]  # fmt: skip


def test_one_bad_file_does_not_stop_the_others_but_a_joint_file(here):
    (here / "bad.csv").write_text("start,end,speaker\n2,1,a\n")
    (here / "dir.csv").mkdir()
    files = ("call.rttm", "bad.csv", "nope.rttm", "x.doc", "dir.csv", "meeting.rttm")
    said, notes = run(*files, "-o", "out", "--to", "stm", status=1)
    assert said.split() == ["out/call.stm", "out/meeting.stm"]
    assert "4 of 6 failed:" in notes
    for reason in (
        "bad.csv:2: end must be > start, got 2 to 1",
        "nope.rttm: no such file",
        "x.doc: the ending must name a format",
        "dir.csv: cannot be read: Is a directory",
    ):
        assert notes.count(reason) == 1
    said, notes = run(*files, "-o", "all.stm", status=1)
    assert said == ""
    assert not (here / "all.stm").exists()
    assert run(*files, "-o", "-", "--to", "stm", status=1)[0] == ""


def test_what_exists_is_only_replaced_when_asked(here):
    (here / "x.csv").write_text("mine")
    assert "x.csv exists already; add --overwrite" in run("call.rttm", "-o", "x.csv", status=1)[1]
    assert (here / "x.csv").read_text() == "mine"
    run("call.rttm", "-o", "x.csv", "--overwrite")
    assert (here / "x.csv").read_text().startswith("uri,start")
    assert "nowhere/x.csv: cannot be written" in run("call.rttm", "-o", "nowhere/x.csv", status=1)[1]
    run("x.csv", "-o", "x.csv", "--overwrite")
    assert [one.uri for one in read_recordings("x.csv")] == ["call"]


def test_wrong_formats_say_what_is_right(here):
    assert "did you mean 'textgrid'" in run("call.rttm", "-o", "out", "--to", "textgird", status=1)[1]
    assert "must be one of" in run("call.rttm", "-o", "x.csv", "--from", "word", status=1)[1]
    assert "x.doc: the ending must name a format" in run("call.rttm", "-o", "x.doc", status=1)[1]
    assert "uem does not say who spoke when" in run("a.uem", "-o", "x.csv", status=1)[1]
    assert "UEM needs the duration" in run("call.rttm", "-o", "x.uem", status=1)[1]
    run("call.rttm", "-o", "x.lab", "--to", "audacity")
    assert (here / "x.lab").read_text() == "0.500000\t3.700000\tAnna\n"
    assert read_recordings("x.lab", "audacity")[0].turns == (Turn(0.5, 3.7, "Anna"),)


def test_help_has_examples():
    said, _ = run("--help")
    for words in ("Usage", "--from", "--to", "meeting.TextGrid", "textgrid", "--overwrite"):
        assert words in said
