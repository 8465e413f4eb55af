"""Subtitles, out and in: what players and other programs make of them."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from diarize.errors import FormatError
from diarize.formats.subtitles import Cue, format_srt, format_vtt, parse_srt, parse_vtt, read_srt, read_vtt


def test_srt_as_it_is_written():
    cues = [Cue(6.684, 9.6, "Shall we\nbegin?", "Ann"), Cue(3661.5, 3662, "Yes.")]
    assert format_srt(cues) == (
        "1\n00:00:06,684 --> 00:00:09,600\n[Ann]: Shall we\nbegin?\n\n"
        "2\n01:01:01,500 --> 01:01:02,000\nYes.\n\n"
    )
    assert format_srt([]) == ""


def test_vtt_as_it_is_written():
    cues = [Cue(6.684, 9.6, "Shall we begin?", "Ann & <Bob>"), Cue(360000, 360000.5, "a < b --> c")]
    assert format_vtt(cues) == (
        "WEBVTT\n\n00:00:06.684 --> 00:00:09.600\n<v Ann &amp; &lt;Bob&gt;>Shall we begin?</v>\n\n"
        "100:00:00.000 --> 100:00:00.500\na &lt; b --&gt; c\n\n"
    )
    assert format_vtt([]) == "WEBVTT\n\n"


def test_a_cue_without_a_text_shows_its_speaker():
    assert "\n[SPEAKER_00]\n" in format_srt([Cue(0, 1, "", "SPEAKER_00")])
    assert "\n<v SPEAKER_00>SPEAKER_00</v>\n" in format_vtt([Cue(0, 1, speaker="SPEAKER_00")])
    assert parse_srt(format_srt([Cue(0, 1, "", "A")])) == [Cue(0, 1, "", "A")]


def test_cues_are_in_order_and_none_is_lost():
    cues = [Cue(5, 5, "instant"), Cue(1, 2, "first"), Cue(1.0004, 1.5, "sooner over")]
    found = parse_srt(format_srt(cues))
    assert [cue.text for cue in found] == ["sooner over", "first", "instant"]
    assert (found[2].start, found[2].end) == (5, 5.001)
    assert [cue.text for cue in parse_vtt(format_vtt(cues))] == [cue.text for cue in found]


def test_rounding_keeps_the_order_of_times():
    rng = random.Random(3)
    times = sorted(rng.uniform(0, 2) for _ in range(400))
    cues = [Cue(a, b, "x") for a, b in itertools.pairwise(times)]
    for found in (parse_srt(format_srt(cues)), parse_vtt(format_vtt(cues))):
        starts = [cue.start for cue in found]
        assert starts == sorted(starts)
        assert all(abs(x.start - y.start) <= 0.0005001 for x, y in zip(found, cues, strict=True))


NASTY = [
    "a\n\nb",
    "1",
    "1\n00:00:01,000 --> 00:00:02,000",
    "NOTE x",
    "WEBVTT",
    "x\r\ny\x00\x85z",
    "&amp; <b>",
    "[A]: ",
]


@pytest.mark.parametrize("text", NASTY)
def test_no_text_becomes_anything_but_a_text(text):
    cues = [Cue(0, 1, text, "A"), Cue(2, 3, "after", "B")]
    plain = " ".join(text.replace("\x00", " ").split())
    found = parse_vtt(format_vtt(cues))
    assert [(cue.start, cue.speaker) for cue in found] == [(0, "A"), (2, "B")]
    assert " ".join(found[0].text.split()) == plain
    found = parse_srt(format_srt(cues))
    assert [cue.speaker for cue in found] == ["A", "B"]
    assert "\n\n" not in found[0].text


@pytest.mark.parametrize("name", ["Ann\nB", "a]b[c", "x > y & z", " padded ", "-->"])
def test_names_stay_on_their_line_and_inside_their_marks(name):
    found = parse_vtt(format_vtt([Cue(0, 1, "hm", name)]))
    assert found == [Cue(0, 1, "hm", " ".join(name.split()))]
    (cue,) = parse_srt(format_srt([Cue(0, 1, "hm", name)]))
    assert cue.text == "hm"
    assert cue.speaker


@pytest.mark.parametrize("cue", [Cue(-1, 0, "x"), Cue(2, 1, "x"), Cue(0, math.nan, "x"), Cue(0, math.inf)])
def test_impossible_times_are_refused(cue):
    for write in (format_srt, format_vtt):
        with pytest.raises(FormatError, match="cue 2: times must be finite with 0 <= start <= end"):
            write([Cue(0, 1), cue])


def test_srt_as_others_write_it(tmp_path):
    file = tmp_path / "talk.srt"
    file.write_bytes(
        "\ufeff1\r\n0:00:01.5 --> 00:00:02,500 X1:1 Y1:2\r\n<i>Hello</i> {\\an8}you\r\n\r\nstill one\r\n\r\n"
        "00:00:03,000 --> 00:00:04,000\r\n[Ann]: <font color='red'>No number</font>\r\n\r\n"
        "7\r\n00:00:05,000 --> 00:00:06,000\r\n\r\n"
        "8\r\n00:00:07,000 --> 00:00:08,000\r\n1 < 2 --> ok".encode()
    )
    assert read_srt(file) == [
        Cue(1.5, 2.5, "Hello you\nstill one"),
        Cue(3, 4, "No number", "Ann"),
        Cue(5, 6, ""),
        Cue(7, 8, "1 < 2 --> ok"),
    ]
    file.write_text("")
    assert read_srt(file) == []


def test_vtt_as_others_write_it(tmp_path):
    file = tmp_path / "talk.vtt"
    file.write_text(
        "WEBVTT - a talk\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE a\nb\n\nintro\n"
        "00:01.000 --> 00:02.500 line:0 position:20%\n"
        "<v.loud Ann  Smith>Hello &lt;you&gt; <00:00:01.500>there\n\n"
        "01:00:03.000 --> 01:00:04.000\n<v Ann>Yes</v> <v Bob>No</v>\n\n00:05.000 --> 00:06.000\n<v>nobody\n"
    )
    assert read_vtt(file) == [
        Cue(1, 2.5, "Hello <you> there", "Ann Smith"),
        Cue(3603, 3604, "Yes No"),
        Cue(5, 6, "nobody"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\n", r"x:1: a cue must begin with its times, HH:MM:SS,mmm --> HH:MM:SS,mmm, got 'hello'"),
        ("1\n00:00:01,000 -> 2\n", "x:2: a cue must begin with its times"),
        ("1\n00:00:01 --> 00:00:02,000\nx", "x:2: times must be HH:MM:SS,mmm"),
        ("1\n00:61:01,000 --> 00:00:02,000\nx", "x:2: times must be"),
        ("1\n00:00:03,000 --> 00:00:02,000\nx", "x:2: a cue must not end before its start"),
    ],
)
def test_broken_srt_names_its_line(text, said):
    with pytest.raises(FormatError, match=said):
        parse_srt(text, "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x:1: a WebVTT file must begin with WEBVTT, got ''"),
        ("WEBVTTX\n", "x:1: a WebVTT file must begin"),
        ("WEBVTT\n\nhello\nyou\n", "x:3: a cue must begin with its times, HH:MM:SS.mmm"),
        ("WEBVTT\n\nid\n1 --> 2\n", "x:4: times must be HH:MM:SS.mmm --> HH:MM:SS.mmm, got '1 --> 2'"),
    ],
)
def test_broken_vtt_names_its_line(text, said):
    with pytest.raises(FormatError, match=said):
        parse_vtt(text, "x")


def test_files_that_are_no_text_are_refused(tmp_path, monkeypatch):
    file = tmp_path / "talk.srt"
    file.write_bytes("1\n00:00:01,000 --> 00:00:02,000\ncafé".encode("latin-1"))
    with pytest.raises(FormatError, match=r"talk.srt:3: must be UTF-8 text, got the byte 0xe9; convert it"):
        read_srt(file)
    monkeypatch.setattr("diarize.formats.MAX_BYTES", 10)
    with pytest.raises(FormatError, match="must be at most 0 MB"):
        read_srt(file)
