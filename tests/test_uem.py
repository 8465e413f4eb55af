from __future__ import annotations

import io

import pytest
from pyannote.core import Segment, Timeline

from diarize.errors import FormatError
from diarize.formats.uem import format_uem, read_uem, write_uem


def test_recordings_and_parts_come_in_file_order(tmp_path):
    path = tmp_path / "all.uem"
    path.write_bytes(b"\xef\xbb\xbf;; a comment\r\nb 1 2.5 4\r\na 1 0 30.000\r\n\r\nb NA 10 12\r\n")
    parts = read_uem(path)
    assert list(parts) == ["b", "a"]
    assert list(parts["b"]) == [Segment(2.5, 4), Segment(10, 12)]
    assert parts["a"].uri == "a"


def test_an_empty_file_is_empty(tmp_path):
    (tmp_path / "x.uem").touch()
    assert read_uem(tmp_path / "x.uem") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m 1 3.0", "must have 4 fields (uri, channel, start, end), got 3"),
        ("m 1 0 3 x", "must have 4 fields (uri, channel, start, end), got 5"),
        ("m 1 zero 3", "start must be a number of seconds, got 'zero'"),
        ("m 1 0 nan", "end must be a number of seconds, got 'nan'"),
        ("m 1 -1 3", "start must be >= 0, got -1"),
        ("m 1 12.0 12.0", "end must be > start, got 12.0 to 12.0"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    path = tmp_path / "m.uem"
    path.write_text(f"m 1 0 3\n\n{line}\n")
    with pytest.raises(FormatError) as caught:
        read_uem(path)
    assert str(caught.value) == f"{path}:3: {message}" or str(caught.value).startswith(
        f"{path}:3: a UEM line {message}"
    )


def test_not_utf8(tmp_path):
    (tmp_path / "m.uem").write_bytes(b"m 1 0 3\nm\xff 1 0 3\n")
    with pytest.raises(FormatError, match=r"m\.uem:2: must be UTF-8 text, got the byte 0xff"):
        read_uem(tmp_path / "m.uem")


def test_round_trip(tmp_path):
    parts = {
        "a b": Timeline([Segment(0, 1.5), Segment(7, 8.0004)]),
        "c": Timeline([Segment(1, 1.0001), Segment(2, 3)]),
    }
    assert format_uem(parts) == "a_b 1 0.000 1.500\na_b 1 7.000 8.000\nc 1 2.000 3.000\n"
    write_uem(tmp_path / "out.uem", parts)
    back = read_uem(tmp_path / "out.uem")
    assert format_uem(back) == format_uem(parts)
    stream = io.StringIO()
    write_uem(stream, back)
    assert stream.getvalue() == format_uem(parts)


def test_every_uem_at_hand_is_read(data):
    paths = list(data.rglob("*.uem"))
    assert len(paths) > 30
    assert all(read_uem(path) for path in paths)
