"""`diarize words`, as a person types it."""

from __future__ import annotations

import json

import pytest
import typer
from command import typed

from diarize.cli import words as module

app = typer.Typer(rich_markup_mode="markdown")
app.command("words")(module.words)
app.callback()(lambda: None)

RTTM = (
    "SPEAKER meeting 1 0.000 1.300 <NA> <NA> Ann <NA> <NA>\n"
    "SPEAKER meeting 1 1.300 1.700 <NA> <NA> Bob <NA> <NA>\n"
)
TRANSCRIPT = {
    "segments": [
        {
            "start": 0, "end": 3, "text": " Shall we begin? Yes, now.",
            "words": [
                {"word": " Shall", "start": 0.0, "end": 0.4, "probability": 0.9},
                {"word": " we", "start": 0.4, "end": 0.7, "probability": 0.9},
                {"word": " begin?", "start": 0.9, "end": 1.5, "probability": 0.9},
                {"word": " Yes,", "start": 1.6, "end": 2.0, "probability": 0.9},
                {"word": " now.", "start": 2.2, "end": 3.0, "probability": 0.9},
            ],
        }
    ]
}  # fmt: skip
SAID = "[0:00:00] Ann: Shall we begin?\n\n[0:00:01] Bob: Yes, now.\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a transcript and who spoke when."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meeting.json").write_text(json.dumps(TRANSCRIPT))
    (tmp_path / "meeting.rttm").write_text(RTTM)
    return tmp_path


def diarize(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that must leave with this status."""
    return typed(app, *arguments, status=status)


def test_the_readable_transcript_is_printed(here):
    said, notes = diarize("words", "meeting.json", "meeting.rttm")
    assert said == SAID
    assert notes == "meeting.json: 5 words (whisper), 2 speakers\n"
    assert diarize("words", "meeting.json", "meeting.rttm", "-o", "-")[0] == SAID


@pytest.mark.parametrize(
    ("form", "begins", "holds"),
    [
        ("txt", "[0:00:00] Ann", "Bob: Yes, now."),
        ("srt", "1\n00:00:00,000 --> 00:00:01,500\n[Ann]: Shall", "[Bob]: Yes, now."),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v Ann>Shall", "<v Bob>Yes, now.</v>"),
        (
            "json",
            '{\n"schema": "diarize.words/1",\n"recording": "meeting"',
            '"speaker": "Bob", "text": " now."',
        ),
        ("ctm", "meeting 1 0.000 0.400 Shall 0.900 lex Ann\n", "meeting 1 2.200 0.800 now. 0.900 lex Bob\n"),
    ],
)
def test_formats_by_name_and_by_ending(here, form, begins, holds):
    said, _ = diarize("words", "meeting.json", "meeting.rttm", "-f", form)
    assert said.startswith(begins)
    assert holds in said
    assert diarize("words", "meeting.json", "meeting.rttm", "-o", f"out.{form}")[0] == f"out.{form}\n"
    assert (here / f"out.{form}").read_text() == said
    diarize("words", "meeting.json", "meeting.rttm", "-o", "other", "-f", form)
    assert (here / "other").read_text() == said
    assert not list(here.glob(".*"))  # nothing half written


def test_what_it_wrote_can_be_its_transcript(here):
    diarize("words", "meeting.json", "meeting.rttm", "-o", "again.json")
    assert diarize("words", "again.json", "meeting.rttm")[0] == SAID
    srt = diarize("words", "meeting.json", "meeting.rttm", "-o", "talk.srt")
    assert srt[0] == "talk.srt\n"
    said, notes = diarize("words", "talk.srt", "meeting.rttm")
    assert said == SAID
    assert "(srt; times of 5 spread over their segments)" in notes


def test_which_recording_of_several(here):
    (here / "all.rttm").write_text(RTTM + RTTM.replace("meeting", "other").replace("Ann", "Eve"))
    assert "Ann" in diarize("words", "meeting.json", "all.rttm")[0]  # of the transcript's name
    assert "Eve" in diarize("words", "meeting.json", "all.rttm", "--uri", "other")[0]
    (here / "x.json").write_text(json.dumps(TRANSCRIPT))
    assert (
        "several recordings, say which with --uri; there are: meeting, other"
        in (diarize("words", "x.json", "all.rttm", status=1)[1])
    )
    assert (
        "no recording 'who'; there are: meeting"
        in (diarize("words", "x.json", "meeting.rttm", "--uri", "who", status=1)[1])
    )
    assert diarize("words", "x.json", "meeting.rttm")[0] == SAID  # one recording, whatever it is called


def test_nobody_speaks(here):
    (here / "empty.rttm").write_text("")
    said, notes = diarize("words", "meeting.json", "empty.rttm")
    assert said == "[0:00:00] Shall we begin? Yes, now.\n"
    assert "nobody speaks; the words have no speakers" in notes
    (here / "empty.json").write_text('{"segments": []}')
    assert diarize("words", "empty.json", "meeting.rttm")[0] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope.json", "meeting.rttm"], "error: nope.json cannot be read: No such file"),
        ([".", "meeting.rttm"], "error: . cannot be read: Is a directory"),
        (["meeting.json", "nope.rttm"], "error: nope.rttm cannot be read: No such file"),
        (["meeting.rttm", "meeting.rttm"], "meeting.rttm: must be a transcript with times"),
        (["meeting.json", "meeting.rttm", "--from", "srt"], "meeting.json:1: a cue must begin with its"),
        (["meeting.json", "meeting.rttm", "--from", "doc"], "format must be one of whisper"),
        (["meeting.json", "meeting.rttm", "-f", "doc"], "--format must be one of txt, srt, vtt, json, ctm"),
        (["meeting.json", "meeting.rttm", "-o", "x.doc"], "the ending of x.doc must be one of txt, srt"),
        (["meeting.json", "meeting.rttm", "-o", "no/x.srt"], "there is no folder no; make it first"),
        (["meeting.json", "meeting.rttm", "-o", ".", "-f", "srt"], ". is a folder; name a file"),
        (["meeting.json", "meeting.rttm", "-n", "2"], "--num-speakers is for recordings: meeting.rttm says"),
        (["meeting.json", "meeting.rttm", "-c", "meeting"], "--config is for recordings"),
        (["meeting.json", "x.wav", "-n", "2", "--max-speakers", "3"], "num_speakers says it all"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_clear_line(here, arguments, said):
    notes = diarize("words", *arguments, status=1)[1]
    assert said in notes
    assert notes.count("\n") <= 1


def test_what_exists_is_only_replaced_when_asked(here):
    (here / "out.srt").write_text("mine")
    assert "add --overwrite" in diarize("words", "meeting.json", "meeting.rttm", "-o", "out.srt", status=1)[1]
    assert (here / "out.srt").read_text() == "mine"
    diarize("words", "meeting.json", "meeting.rttm", "-o", "out.srt", "--overwrite")
    assert (here / "out.srt").read_text() != "mine"


def test_help_shows_examples():
    said, _ = diarize("words", "--help")
    assert "diarize words meeting.json meeting.m4a" in said


def test_a_recording_is_diarized(here, sample_wav, weights):
    """The sample's own turns, spoken word by word: nearly all come back with one speaker each."""
    from diarize.formats.rttm import read_rttm

    weights("campplus-zh-en")
    (annotation,) = read_rttm(sample_wav.with_suffix(".rttm")).values()
    lines, truth = [], []
    for segment, _, label in sorted(annotation.itertracks(yield_label=True)):
        count = max(1, int(segment.duration / 0.35))
        for i in range(count):
            start = segment.start + i * segment.duration / count
            lines.append(f"sample 1 {start:.3f} {segment.duration / count:.3f} w{len(lines)}")
            truth.append((f"w{len(lines) - 1}", label))
    (here / "sample.ctm").write_text("\n".join(lines))
    said, notes = diarize("words", "sample.ctm", str(sample_wav), "-n", "2", "-f", "ctm")
    given = {fields[4]: fields[7] for fields in map(str.split, said.splitlines())}
    assert set(given.values()) == {"SPEAKER_00", "SPEAKER_01"}
    pairs = [(label, given[word]) for word, label in truth]
    agree = max(
        sum(pair in mapping for pair in pairs)
        for mapping in (
            {("speaker90", "SPEAKER_00"), ("speaker91", "SPEAKER_01")},
            {("speaker90", "SPEAKER_01"), ("speaker91", "SPEAKER_00")},
        )
    )
    assert agree > 0.85 * len(pairs)
    assert "2 speakers" in notes
