"""`diarize link` as a person types it, with the real networks on pieces of the sample."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command import typed

from diarize.audio import read_audio
from diarize.cli import app
from diarize.formats.rttm import read_rttm

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample_wav, write_wav, weights):
    """The sample in two pieces, in which the same two speak; one of them, Zoe, alone; something broken."""
    weights("campplus-zh-en")
    path = tmp_path_factory.mktemp("days")
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)
    (path / "days" / "may").mkdir(parents=True)
    write_wav(path / "days" / "one.wav", samples[: 18 * RATE], RATE)
    write_wav(path / "days" / "may" / "two.wav", samples[18 * RATE :], RATE)
    write_wav(path / "zoe.wav", samples[int(18.1 * RATE) : int(21.7 * RATE)], RATE)
    (path / "broken.wav").write_text("no sound")
    return path


@pytest.fixture
def here(folder, tmp_path, monkeypatch, real_diarizer):
    """A folder with links to all that; the networks are loaded already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diarize.cli.link.load_diarizer", lambda *_, **__: real_diarizer)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def diarize(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that must leave with this status."""
    return typed(app, *arguments, status=status)


def test_the_same_people_have_the_same_names_in_all_results(here):
    out, said = diarize("link", "days", "broken.wav", "-n", "2", "-o", "linked", status=1)
    assert out.splitlines() == ["linked/people.csv", "linked/people.json"]
    assert "2 recordings, 4 speakers, 2 people, 2 of them in more than one recording" in said
    assert "1 of 3 failed:\nerror: " in said
    assert "broken.wav: not audio" in said
    one = read_rttm("linked/one.rttm")["one"]
    two = read_rttm("linked/may/two.rttm")["may/two"]
    assert set(one.labels()) == set(two.labels()) == {"PERSON_00", "PERSON_01"}
    assert one.argmax() != two.argmax()  # Ben speaks longer in the second half
    with open("linked/people.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["person", "recording", "speaker", "seconds", "score"]
    assert [(row["person"], row["recording"]) for row in rows] == [
        ("PERSON_00", "one"), ("PERSON_00", "may/two"), ("PERSON_01", "one"), ("PERSON_01", "may/two"),
    ]  # fmt: skip
    assert all(float(row["score"]) > 0.5 and float(row["seconds"]) > 1 for row in rows)
    people = json.loads(Path("linked/people.json").read_text())["people"]
    assert [person["person"] for person in people] == ["PERSON_00", "PERSON_01"]
    assert people[0]["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows[:2]), abs=0.01)
    assert [place["recording"] for place in people[0]["places"]] == ["one", "may/two"]
    assert not Path("linked/broken.rttm").exists()


def test_known_voices_give_their_names_and_the_table_is_printed(here):
    out, said = diarize("link", "days", "-n", "2", "--enrol", "Zoë=zoe.wav")
    named = [line.split() for line in out.splitlines() if "may/two" in line or " one " in line]
    who = {(cells[1], cells[2]): cells[0] for cells in named}
    assert sorted(who.values()) == ["PERSON_00", "PERSON_00", "Zoë", "Zoë"]
    assert "2 recordings, 4 speakers, 2 people" in said
    assert "not heard" not in said


def test_what_was_kept_needs_no_recording(here, real_diarizer):
    Path("kept").mkdir()
    for name in ("one.wav", "may/two.wav"):
        real_diarizer(f"days/{name}").kept.save(f"kept/{Path(name).stem}.diarize")
    diarize("link", "kept", "-o", "a")
    diarize("link", "days/one.wav", "days/may/two.wav", "-o", "b")
    for name in ("one.rttm", "two.rttm"):
        assert Path("a", name).read_text() == Path("b", name).read_text()
    for uri, name in (("two", "two"), ("one", "one")):
        assert Path(f"a/{name}.rttm").read_text().startswith(f"SPEAKER {uri} 1 ")
    copy = Path("kept/one.wav")
    copy.write_text("never read: what is kept says it all")
    diarize("link", "kept", "-o", "c")
    assert Path("c/one.rttm").read_text() == Path("a/one.rttm").read_text()
    Path("kept/odd.diarize").write_text("junk")
    assert (
        "1 of 3 failed:\nerror: kept/odd.diarize: not a saved kept result"
        in diarize("link", "kept", status=1)[1]
    )


def test_what_cannot_be_meant_is_said_before_any_work(here, monkeypatch):
    monkeypatch.setattr("diarize.cli.link.load_diarizer", lambda *_, **__: pytest.fail("work was done"))
    Path("out").mkdir()
    Path("out/one.rttm").write_text("mine")
    Path("people.wav").symlink_to(here / "zoe.wav")
    cases = {
        ("link", "nothing"): "nothing: no such file or folder",
        ("link", "days", "-o", "out"): "out/one.rttm exists already; add --overwrite",
        ("link", "people.wav", "-o", "new", "-f", "json"): "may not be called people",
        ("link", "days", "--enrol", "Zoe"): "--enrol must be NAME=FILE",
        ("link", "days", "-f", "rtm"): "did you mean 'rttm'?",
        (
            "link",
            "days",
            "--min-speakers",
            "3",
            "--max-speakers",
            "2",
        ): "min_speakers must be <= max_speakers",
    }
    for command, message in cases.items():
        assert message in diarize(*command, status=1)[1], command
    assert Path("out/one.rttm").read_text() == "mine"
