"""`diarize correct` as a person types it, and what `diarize run --keep` leaves for it."""

from __future__ import annotations

import pytest
import typer
from command import typed
from fakes import ExactEmbedder, FakeVad, conversation

from diarize import Diarizer, Kept
from diarize.cli import correct as module
from diarize.cli import run as run_module
from diarize.formats.registry import read_recordings

app = typer.Typer(rich_markup_mode="markdown")
app.command("correct")(module.correct)
app.command("run")(run_module.run)


def command(*arguments: object, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command line, which must leave with this status."""
    return typed(app, *arguments, status=status)


@pytest.fixture
def here(tmp_path, monkeypatch, write_wav):
    """A folder with a recording, its turns and what was kept of them, by `diarize run --keep`."""
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "talk.wav", conversation(5, 30, (0.0, 0.4)) * 32767, 16000)
    fake = Diarizer(embedder=ExactEmbedder(0.1), vad=FakeVad())
    monkeypatch.setattr(run_module, "load_diarizer", lambda *_, **__: fake)
    command("run", "talk.wav", "-o", "turns", "--keep", "-n", 2)
    return tmp_path


def test_kept_beside_the_turns(here):
    kept = Kept.load("turns/talk.diarize")
    assert kept.result().to_rttm() == (here / "turns" / "talk.rttm").read_text()


def test_kept_only_in_a_folder_and_never_over_another_one(here):
    assert "say which folder: -o FOLDER" in command("run", "talk.wav", "--keep", status=1)[1]
    assert "-o FOLDER" in command("run", "talk.wav", "-o", "-", "--keep", status=1)[1]
    (here / "turns" / "talk.rttm").unlink()
    assert "talk.diarize" in command("run", "talk.wav", "-o", "turns", "--keep", status=1)[1]


def test_corrections_build_on_one_another_and_can_be_undone(here):
    before = (here / "turns" / "talk.rttm").read_text()
    printed, said = command("correct", "turns/talk.diarize", "--rename", "SPEAKER_00=Ann=Lee")
    assert "Ann=Lee" in printed
    assert "2 speakers" in said
    command("correct", "turns/talk.diarize", "--merge", "Ann=Lee=SPEAKER_01", "-o", "one.rttm")
    assert {turn.speaker for turn in read_recordings("one.rttm")[0].turns} == {"Ann=Lee"}
    assert command("correct", "turns/talk.diarize", "--history")[0].split("\n")[:3] == [
        "diarize",
        "rename SPEAKER_00 Ann=Lee",
        "merge Ann=Lee SPEAKER_01",
    ]
    command("correct", "turns/talk.diarize", "--undo")
    assert command("correct", "turns/talk.diarize", "--undo", "-o", "-")[0] == before


def test_split_and_moments(here):
    command("correct", "turns/talk.diarize", "--merge", "SPEAKER_00=SPEAKER_01")
    kept = Kept.load("turns/talk.diarize")
    printed, _ = command("correct", "turns/talk.diarize", "--split", "SPEAKER_00")
    assert "SPEAKER_01" in printed
    command("correct", "turns/talk.diarize", "--undo", "--split", "SPEAKER_00:2")
    first, second = Kept.load("turns/talk.diarize").result().turns[:2]
    kept.save("turns/talk.diarize")
    times = f"{(first.start + first.end) / 2:.3f},0:00:{(second.start + second.end) / 2:06.3f}"
    command("correct", "turns/talk.diarize", "--different", times)
    assert len(Kept.load("turns/talk.diarize").result().speakers) == 2
    command("correct", "turns/talk.diarize", "--same", times)
    assert Kept.load("turns/talk.diarize").now.made_by.startswith("together")


def test_turns_edited_by_hand_in_any_format(here):
    command("correct", "turns/talk.diarize", "--rename", "SPEAKER_00=Ann Lee", "-o", "mine.rttm")
    lines = (here / "mine.rttm").read_text().splitlines(keepends=True)
    assert "Ann_Lee" in lines[0]
    (here / "mine.rttm").write_text("".join([lines[0].replace("Ann_Lee", "Bo"), *lines[1:]]))
    command("correct", "turns/talk.diarize", "--turns", "mine.rttm", "-o", "mine.json")
    found = read_recordings("mine.json")[0].turns
    assert found[0].speaker == "Bo"
    assert "Ann Lee" in {turn.speaker for turn in found}, "a name that RTTM cannot hold is still the name"


def test_an_output_that_exists_is_kept(here):
    before = (here / "turns" / "talk.diarize").read_bytes()
    arguments = ("correct", "turns/talk.diarize", "--merge", "SPEAKER_00=SPEAKER_01", "-o", "turns/talk.rttm")
    assert "--overwrite" in command(*arguments, status=1)[1]
    assert (here / "turns" / "talk.diarize").read_bytes() == before, "and nothing is corrected"
    command(*arguments, "--overwrite")
    assert "SPEAKER_01" not in (here / "turns" / "talk.rttm").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--merge", "SPEAKER_00"), "NAME=OTHER"),
        (("--merge", "Zed=SPEAKER_00"), "nobody is called 'Zed'; there are SPEAKER_00"),
        (("--same", "5"), "62.5,130"),
        (("--same", "1:99:3,now"), "62.5,130"),
        (("--split", "SPEAKER_00:x"), "NAME:3"),
        (("--undo",), "no correction to undo"),
        (("--turns", "none.rttm"), "no such file"),
        (("-o", "x.docx"), "docx"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(here, options, said):
    before = (here / "turns" / "talk.diarize").read_bytes()
    assert said in command("correct", "turns/talk.diarize", *options, status=1)[1]
    assert (here / "turns" / "talk.diarize").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.diarize", "No such file"), ("talk.wav", "not a saved kept result"), ("turns", "Is a directory")],
)
def test_a_file_that_is_none(here, name, said):
    error = command("correct", name, "--undo", status=1)[1]
    assert name in error
    assert said in error
