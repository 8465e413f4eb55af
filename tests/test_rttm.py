from __future__ import annotations

import io
import os
import random
import stat
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from diarize._files import atomic_write
from diarize.errors import FormatError
from diarize.formats.rttm import format_rttm, read_rttm, write_rttm


@dataclass(frozen=True)
class Turn:
    start: float
    end: float
    speaker: str


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def turns_of(annotation) -> list[tuple[float, float, str]]:
    return sorted(
        (round(s.start, 3), round(s.end, 3), name) for s, _, name in annotation.itertracks(yield_label=True)
    )


LINE = "SPEAKER meeting 1 {start} {duration} <NA> <NA> anna <NA> <NA>\n"


# Reading


def test_recordings_come_in_file_order(tmp_path):
    text = "".join(f"SPEAKER {uri} 1 {i} 1 <NA> <NA> a <NA> <NA>\n" for i, uri in enumerate("zabza"))
    recordings = read_rttm(written(tmp_path / "many.rttm", text))
    assert list(recordings) == ["z", "a", "b"]
    assert [a.uri for a in recordings.values()] == ["z", "a", "b"]
    assert turns_of(recordings["z"]) == [(0, 1, "a"), (3, 4, "a")]


def test_every_overlapping_and_identical_turn_survives(tmp_path):
    rows = [("1.0", "2.0", "a"), ("1.0", "2.0", "b"), ("1.0", "2.0", "a"), ("1.5", "2.0", "c")]
    text = "".join(f"SPEAKER m 1 {start} {dur} <NA> <NA> {name} <NA> <NA>\n" for start, dur, name in rows)
    annotation = read_rttm(written(tmp_path / "m.rttm", text))["m"]
    assert turns_of(annotation) == [(1.0, 3.0, "a"), (1.0, 3.0, "a"), (1.0, 3.0, "b"), (1.5, 3.5, "c")]


@pytest.mark.parametrize("tail", ["", " <NA>", " <NA> <NA>", " 0.9 <NA>"])
def test_eight_to_ten_fields(tmp_path, tail):
    path = written(tmp_path / "m.rttm", f"SPEAKER m 1 0.5 1.25 <NA> <NA> anna{tail}\n")
    assert turns_of(read_rttm(path)["m"]) == [(0.5, 1.75, "anna")]


def test_other_types_comments_and_blank_lines_are_skipped(tmp_path):
    text = (
        ";; a comment\n# another\n\n"
        "SPKR-INFO m 1 <NA> <NA> <NA> adult_female anna <NA>\n"
        "LEXEME m 1 0.0 0.5 hello lex anna <NA>\n"
        "NON-SPEECH m 1 0.0 0.5 <NA> noise <NA> <NA>\n"
        "speaker\tm  1 0 2 <NA> <NA> anna <NA>\n"
    )
    assert turns_of(read_rttm(written(tmp_path / "m.rttm", text))["m"]) == [(0, 2, "anna")]


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xef\xbb\xbf", b";; nothing was said\n"])
def test_a_file_without_turns_is_empty(tmp_path, text):
    assert read_rttm(written(tmp_path / "m.rttm", text)) == {}


def test_byte_order_mark_carriage_returns_and_other_alphabets(tmp_path):
    text = (
        "﻿SPEAKER 会议 1 0.5 1.0 <NA> <NA> Zoë <NA> <NA>\r\nSPEAKER 会议 1 2.0 1.0 <NA> <NA> 李 <NA> <NA>\r\n"
    )
    assert turns_of(read_rttm(written(tmp_path / "m.rttm", text))["会议"]) == [
        (0.5, 1.5, "Zoë"),
        (2, 3, "李"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE.format(start="1", duration="0.000"), "duration must be > 0, got 0.000"),
        (LINE.format(start="1", duration="-2.5"), "duration must be > 0, got -2.5"),
        (LINE.format(start="-0.01", duration="1"), "start must be >= 0, got -0.01"),
        (LINE.format(start="1,5", duration="1"), "start must be a number of seconds, got '1,5'"),
        (LINE.format(start="nan", duration="1"), "start must be a number of seconds, got 'nan'"),
        (LINE.format(start="1_0", duration="1"), "start must be a number of seconds, got '1_0'"),
        (LINE.format(start="1", duration="inf"), "duration must be a number of seconds, got 'inf'"),
        (LINE.format(start="1", duration="1e999"), "duration must be a number of seconds, got '1e999'"),
        ("SPEAKER meeting 1 1.0 1.0 <NA> <NA>\n", "must have 8 to 10 fields, got 7"),
        ("SPEAKER our meeting 1 1.0 1.0 <NA> <NA> anna <NA> <NA>\n", "got 11; names cannot hold spaces"),
        ("1\n", "must begin with SPEAKER or another RTTM type, got '1'; is this an RTTM file?"),
        (b"SPEAKER caf\xe9 1 0 1 <NA> <NA> a <NA> <NA>\n", "must be UTF-8 text, got the byte 0xe9"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    good = (LINE.format(start="0", duration="1") * 15 + ";; line 16\n").encode()
    path = written(tmp_path / "meeting.rttm", good + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(FormatError) as caught:
        read_rttm(path)
    assert str(caught.value).startswith(f"{path}:17: ")
    assert message in str(caught.value)


def test_the_message_of_the_design(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "meeting.rttm", ";;\n" * 16 + LINE.format(start="3.2", duration="0.000"))
    with pytest.raises(FormatError, match=r"^meeting\.rttm:17: duration must be > 0, got 0\.000$"):
        read_rttm("meeting.rttm")


def test_a_recording_is_not_an_rttm_file(tmp_path):
    with pytest.raises(FormatError, match=r"audio\.rttm:1: "):
        read_rttm(written(tmp_path / "audio.rttm", b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\xff\xfe"))


def test_every_reference_at_hand_is_read(data):
    paths = [
        p for p in data.rglob("*.rttm") if p.name != "md_test13.sys.rttm"
    ]  # NIST's case of a negative duration
    count = 0
    for path in paths:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        expected = sum(bool(fields) and fields[0] == "SPEAKER" for fields in lines)
        turns = sum(len(turns_of(annotation)) for annotation in read_rttm(path).values())
        assert turns == expected, path
        count += turns
    assert count > 10_000


def test_importing_the_reader_is_light():
    code = "import sys, diarize.formats.rttm, diarize.formats.uem, diarize.scoring; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "torch", "pandas", "pyannote.core", "pyannote.metrics"} & set(modules)


# Writing


def test_one_line_a_turn():
    assert format_rttm([Turn(0.5, 3.7126, "anna")], "meeting") == (
        "SPEAKER meeting 1 0.500 3.213 <NA> <NA> anna <NA> <NA>\n"
    )


def test_no_turns_is_no_text():
    assert format_rttm([], "meeting") == ""


def test_the_order_of_the_turns_does_not_matter():
    turns = [Turn(i / 7, i / 7 + 1, name) for i in range(20) for name in ("b", "a", "a b", "a_b")]
    text = format_rttm(turns, "m")
    random.Random(0).shuffle(turns)
    assert format_rttm(iter(turns), "m") == text


def test_rounding_keeps_abutting_turns_abutting():
    cuts = [
        (16_000 * i + 8 * i * i) / 16_000 for i in range(200)
    ]  # many lie exactly between two milliseconds
    text = format_rttm([Turn(a, b, "x") for a, b in pairwise(cuts)], "m")
    rows = [line.split() for line in text.splitlines()]
    ms = [(round(1000 * float(f[3])), round(1000 * float(f[4]))) for f in rows]
    assert all(a + duration == b for (a, duration), (b, _) in pairwise(ms))


def test_a_turn_that_rounds_to_nothing_is_left_out():
    turns = [Turn(1.0, 1.0004, "a"), Turn(2.0, 2.0, "b"), Turn(3.0, 3.0006, "c")]
    assert format_rttm(turns, "m") == "SPEAKER m 1 3.000 0.001 <NA> <NA> c <NA> <NA>\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Anna Lee", "Anna_Lee"),
        ("a\nSPEAKER", "a_SPEAKER"),
        ("a\tb\r", "a_b_"),
        ("a\u2028b\u00a0c\u3000d\x00", "a_b_c_d_"),
        ("\udc80", "_"),
        ("", "<NA>"),
        ("李", "李"),
    ],
)
def test_names_stay_one_field_of_one_line(name, expected):
    text = format_rttm([Turn(0, 1, name)], name)
    assert text == f"SPEAKER {expected} 1 0.000 1.000 <NA> <NA> {expected} <NA> <NA>\n"
    text.encode("utf-8")


def test_cleaning_never_makes_one_speaker_of_two():
    names = ["a b", "a_b", "a\tb", "", "<NA>", "a_b_2"]
    text = format_rttm([Turn(i, i + 1, name) for i, name in enumerate(names)], "m")
    speakers = [line.split()[7] for line in text.splitlines()]
    assert len(set(speakers)) == len(names)
    assert (speakers[1], speakers[4], speakers[5]) == (
        "a_b",
        "<NA>",
        "a_b_2",
    )  # clean names stay what they are


@pytest.mark.parametrize(
    "turn", [Turn(2, 1, "a"), Turn(-0.1, 1, "a"), Turn(0, float("inf"), "a"), Turn(float("nan"), 1, "a")]
)
def test_impossible_times_are_refused(turn):
    with pytest.raises(FormatError, match=r"turn 2 of m: times must be finite with 0 <= start <= end, got"):
        format_rttm([Turn(0, 1, "a"), turn], "m")


@pytest.mark.parametrize("seed", range(30))
def test_round_trip(tmp_path, seed):
    rng = random.Random(seed)
    alphabet = ["a", "B", "ü", "李", " ", "\t", "\n", "\u2028", ";", "#", "<", "_", "\x1c", "\x85"]
    names = {"".join(rng.choices(alphabet, k=rng.randrange(6))) for _ in range(4)}
    turns = []
    for _ in range(rng.randrange(60)):
        start = rng.randrange(10**7) / 16_000
        turns.append(Turn(start, start + rng.randrange(16, 10**6) / 16_000, rng.choice(sorted(names))))
    path = tmp_path / "out.rttm"
    write_rttm(path, turns, "my meeting")
    back = read_rttm(path)
    assert list(back) == (["my_meeting"] if turns else [])
    got = turns_of(back["my_meeting"]) if turns else []
    assert [(s, e) for s, e, _ in got] == sorted(
        (round(round(t.start * 1000) / 1000, 3), round(round(t.end * 1000) / 1000, 3)) for t in turns
    )
    assert len({name for *_, name in got}) == len({t.speaker for t in turns})
    again = format_rttm([Turn(s, e, name) for s, e, name in got], "my_meeting")
    assert again.encode() == path.read_bytes()


def test_write_to_an_open_file():
    stream = io.StringIO()
    write_rttm(stream, [Turn(0, 1, "a")], "one")
    write_rttm(stream, [Turn(0, 1, "a")], "two")
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["one", "two"]


# Whole files or none


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = written(tmp_path / "out.rttm", "before")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_rttm(path, [Turn(0, 1, "a")], "m")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.rttm"]


def test_a_bad_turn_leaves_what_was_there(tmp_path):
    path = written(tmp_path / "out.rttm", "before")
    with pytest.raises(FormatError):
        write_rttm(path, [Turn(2, 1, "a")], "m")
    assert path.read_text() == "before"


@pytest.mark.skipif(os.name == "nt", reason="permission bits and links are POSIX")
def test_permissions_and_links(tmp_path):
    umask = os.umask(0o022)
    try:
        atomic_write(tmp_path / "new", "é\n")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o644
    assert (tmp_path / "new").read_bytes() == "é\n".encode()
    (tmp_path / "new").chmod(0o600)
    (tmp_path / "link").symlink_to("new")
    atomic_write(tmp_path / "link", b"bytes")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new").read_bytes() == b"bytes"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    atomic_write(os.devnull, "nothing is renamed onto a device")
    assert not Path(os.devnull).is_file()


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "nowhere" / "out.rttm", "")
