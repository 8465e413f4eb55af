"""Files of turns that are broken, with errors that name the line, or are written in other ways."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from turn_files import READABLE, back, some_turns, written

from diarize.errors import FormatError
from diarize.formats.registry import FORMATS, Recording, read_recordings, read_turns
from diarize.result import Turn

GRID = '"ooTextFile" "TextGrid" '

CASES = [
    ("csv", "start,end,speaker\n0,1,a\n2,1,b\n", 3, "end must be > start, got 2 to 1"),
    ("csv", 'start,end,speaker\n0,1,"a\nb"\n\n2,x,b\n', 5, "end must be a number of seconds, got 'x'"),
    ("csv", "start,end,speaker\n0,1,a\n2,3\n", 3, "must have 3 columns, as the header, got 2"),
    ("csv", "start;end;who\n", 1, "missing: speaker; got 'start, end, who'"),
    ("csv", "0.5,1.5,anna\n", 1, "the first line must name the columns"),
    ("csv", "start,end,speaker,speaker\n", 1, "'speaker' is there twice"),
    ("csv", 'start,end,speaker\n0,1,"a\n1,2,b\n', 2, "not CSV: unexpected end of data"),
    ("csv", "start,end,speaker\n0,1," + "a" * 200_000 + "\n", 2, "not CSV: field larger"),
    ("csv", "start,end,speaker,confidence\n0,1,a,1.5\n", 2, "confidence must be from 0 to 1, got 1.5"),
    ("csv", "start,end,speaker,confidence\n0,1,a,high\n", 2, "confidence must be a number, got 'high'"),
    ("csv", b"start,end,speaker\n0,1,caf\xe9\n", 2, "must be UTF-8 text, got the byte 0xe9"),
    ("audacity", "0\t1\ta\n1,5\t2\tb\n", 2, "start must be a number of seconds, got '1,5'"),
    ("audacity", "0\t1\ta\n\\\t100\t200\n3\t2\tb\n", 3, "end must be > start, got 3 to 2"),
    ("audacity", "0 1 a\n", 1, "must have 3 fields parted by tabs (start, end, name), got 1"),
    ("audacity", "-1\t1\ta\n", 1, "start must be >= 0, got -1"),
    ("stm", ";; c\nm 1 a 0\n", 2, "must have at least 5 fields"),
    ("stm", "m 1 a 0 0 hello\n", 1, "end must be > start, got 0 to 0"),
    ("json", '{"schema": "diarize/1",\n "turns": [}', 2, "must be JSON: "),
    ("json", '{"schema": "diarize/2", "turns": []}', 1, "\"schema\" must be \"diarize/1\", got 'diarize/2'"),
    ("json", '{"a": 1}', 1, 'must be an object with a list "turns"; is this JSON of diarize?'),
    ("json", '{"schema": "diarize/1", "uri": 3, "turns": []}', 1, "uri must be a text, got 3"),
    (
        "json",
        '{"schema": "diarize/1", "x": [[1, 2], "turns"], "uri": "turns",\n "turns": [\n{"start": 0,\n'
        '"end": 1, "speaker": "a, [b"}\n,\n {"start": 1, "speaker": "a"}]}',
        6,
        "end must be a number, got nothing",
    ),
    ("json", '{"schema": "diarize/1", "uri": "", "turns": [\n7]}', 2, "a turn must be an object, got '7'"),
    ("json", "[" * 100_000, 1, "must be JSON"),
    ("json", '{"a": ' + "9" * 5_000 + "}", 1, "must be JSON"),
    ("jsonl", '{"start": 0, "end": 1, "speaker": "a"}\n\n{"start": NaN}', 3, "must be a number, got NaN"),
    ("jsonl", '{"start": 0, "end": 1, "speaker": "a"}\n{"start": 0,\n', 2, "must be JSON: "),
    ("jsonl", '{"start": true, "end": 1, "speaker": "a"}\n', 1, "start must be a number, got true"),
    ("jsonl", '{"start": 0, "end": 1e999, "speaker": "a"}\n', 1, "end must be a number, got Infinity"),
    ("jsonl", '{"start": 0, "end": 1, "speaker": null}\n', 1, "speaker must be a text, got null"),
    ("seglst", '[{"session_id": "m",\n"speaker": "a", "start_time": "x", "end_time": 1}]', 1, "got 'x'"),
    ("seglst", '[\n\n{"session_id": "m", "speaker": "a", "start_time": 1}]', 3, "end_time must be a number"),
    ("seglst", '{"a": 1}', 1, "must be a list of segments; is this SegLST?"),
    ("seglst", '[\n"a"]', 2, "a segment must be an object, got 'a'"),
    ("textgrid", "hello\n", 2, 'must be a text in "quotes", got the end of the file; is this a TextGrid?'),
    ("textgrid", '"a" "TextGrid" 0 5 <exists> 0', 1, "must be a TextGrid, got 'a', 'TextGrid'"),
    ("textgrid", '"ooTextFile" "Sound"', 1, "must be a TextGrid, got 'ooTextFile', 'Sound'"),
    ("textgrid", GRID + '0\n5 <exists> 1\n"IntervalTier" "a\n', 3, "a text must end with a double quote"),
    ("textgrid", GRID + '0 5 <exists> 99999999\n"IntervalTier" "a" 0 5 0\n', 3, "the end of the file"),
    ("textgrid", GRID + '0 5 <exists> 1.5\n', 1, "must be how many follow, got 1.5"),
    ("textgrid", GRID + '0 5 <exists> 1 "PointTier" "a"\n', 1, "must be an IntervalTier or"),
    ("textgrid", GRID + '0 5 <exists> 1 "IntervalTier" "a" 0 5 1\n3 2 "a"\n', 2, "end must be > start"),
    ("textgrid", b"\xff\xfeF\x00\x00\xd8", 1, "must be UTF-16, as its first bytes say"),
    ("elan", "<a/>", 1, "must be an ANNOTATION_DOCUMENT of ELAN, got a"),
    ("elan", "<ANNOTATION_DOCUMENT>\n<TIER>", 2, "TIER_ID is missing"),
    ("elan", "<ANNOTATION_DOCUMENT>\n<TIER TIER_ID='a'>", 2, "must be XML: "),
    ("elan", "<ANNOTATION_DOCUMENT>\n<HEADER TIME_UNITS='frames'/>", 2, "TIME_UNITS must be milliseconds"),
    ("elan", "<ANNOTATION_DOCUMENT>\n<TIME_SLOT TIME_SLOT_ID='a' TIME_VALUE='-5'/>", 2, "must be whole"),
    (
        "elan",
        "<ANNOTATION_DOCUMENT>\n<TIER TIER_ID='a'>\n"
        "<ALIGNABLE_ANNOTATION TIME_SLOT_REF1='x' TIME_SLOT_REF2='y'/></TIER></ANNOTATION_DOCUMENT>",
        3,
        "its time slot 'x' must have a time",
    ),
    (
        "elan",
        '<?xml version="1.0"?>\n<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>\n'
        "<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>",
        2,
        "must not have a DOCTYPE; ELAN writes none",
    ),
    ("srt", "1\n00:00:01,000 --> 00:00:02,000\nhello\n", 0, "no cue says who speaks, as [name]: text would"),
    ("vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n", 0, "no cue says who speaks"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "line", "message"), CASES)
def test_what_is_broken_is_named(tmp_path, name, content, line, message):
    path = tmp_path / f"meeting{FORMATS[name].ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FormatError) as caught:
        read_recordings(path)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", READABLE)
def test_a_file_cut_anywhere_is_read_or_refused_with_one_line(tmp_path, name):
    whole = written(tmp_path, some_turns(9), name, duration=5000).read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        content = bytearray(whole[: rng.randrange(len(whole))])
        if content and rng.random() < 0.5:
            content[rng.randrange(len(content))] = rng.randrange(256)
        path = tmp_path / f"cut{FORMATS[name].ending}"
        path.write_bytes(content)
        with suppress(FormatError):
            read_turns(path)


@pytest.mark.parametrize("name", READABLE)
def test_byte_order_mark_and_carriage_returns(tmp_path, name):
    turns = [Turn(0.5, 1.5, "Anna"), Turn(1, 2, "李")]
    path = written(tmp_path, turns, name)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert back(path) == turns


@pytest.mark.parametrize("name", READABLE)
def test_a_large_file_is_refused_before_it_is_read(tmp_path, name, monkeypatch):
    if name in ("rttm", "stm"):
        pytest.skip("its reader is that of all line formats")
    monkeypatch.setattr("diarize.formats.MAX_BYTES", 100)
    monkeypatch.setattr("diarize.formats.MAX_BYTES", 100)
    path = tmp_path / f"a{FORMATS[name].ending}"
    path.write_bytes(b" " * 101)
    with pytest.raises(FormatError, match="must be at most"):
        read_recordings(path)


def test_other_csv(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes("\ufeffSpeaker;Start;Duration;note\r\nAnna;0.5;1.5;x\r\n\r\nLee, Bo;2;1;\r\n".encode())
    assert read_recordings(path) == [Recording("x", (Turn(0.5, 2, "Anna"), Turn(2, 3, "Lee, Bo")))]


def test_other_labels(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("1.0\t1.0\ta mark\n\\\t-1.0\t6334.5\n2.0\t3.0\t Anna Lee\twith a tab\n\n")
    assert back(path) == [Turn(2, 3, " Anna Lee\twith a tab")]


def test_points_and_texts_of_a_textgrid(tmp_path):
    path = tmp_path / "x.TextGrid"
    path.write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n0 5.5 <exists> 3 ! three tiers\n'
        '"TextTier" "bell" 0 5.5 1 2 "ding ""1"""\n"IntervalTier" "Anna" 0 5.5 3\n'
        '0 1 "" 1 2.5 "so it\nbegins" ! a "comment\n2.5 5.5 "  "\n"IntervalTier" "" 0 5.5 0\n'
    )
    assert read_recordings(path) == [Recording("x", (Turn(1, 2.5, "Anna"),), 5.5)]
    path.write_text('"ooTextFile" "TextGrid" 0 5.5 <absent>')
    assert read_recordings(path) == [Recording("x", (), 5.5)]


def test_dependent_tiers_of_elan_are_skipped(tmp_path):
    path = tmp_path / "x.eaf"
    path.write_text(
        "<ANNOTATION_DOCUMENT><TIME_ORDER><TIME_SLOT TIME_SLOT_ID='b' TIME_VALUE='2500'/>"
        "<TIME_SLOT TIME_SLOT_ID='a' TIME_VALUE='500'/><TIME_SLOT TIME_SLOT_ID='c'/></TIME_ORDER>"
        "<TIER TIER_ID='ref@A' PARTICIPANT='A'><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1='a' "
        "TIME_SLOT_REF2='b'/></ANNOTATION></TIER><TIER TIER_ID='w@A' PARTICIPANT='A' PARENT_REF='ref@A'>"
        "<ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1='a' TIME_SLOT_REF2='c'/></ANNOTATION></TIER>"
        "</ANNOTATION_DOCUMENT>"
    )
    assert read_recordings(path) == [Recording("x", (Turn(0.5, 2.5, "A"),))]


def test_stm_with_words(tmp_path):
    path = tmp_path / "x.stm"
    path.write_text(
        ";; CATEGORY\nm A anna 0.5 1.5 <o,f0,female> hello\nm A inter_segment_gap 1.5 2 <o>\nm B bo 2 3\n"
    )
    assert read_recordings(path) == [Recording("m", (Turn(0.5, 1.5, "anna"), Turn(2, 3, "bo")))]


def test_whisperx_subtitles(tmp_path):
    path = tmp_path / "x.srt"
    path.write_text(
        "1\n00:00:01,000 --> 00:00:02,500\n[SPEAKER_01]: hello\n\n2\n00:00:03,000 --> 00:00:04,000\nx\n"
    )
    assert back(path) == [Turn(1, 2.5, "SPEAKER_01")]
