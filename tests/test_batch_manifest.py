"""What a batch is told to do: folders, globs and lists, and names that are unique."""

from __future__ import annotations

import json
import os

import pytest

from diarize import ConfigError, FormatError
from diarize.batch import read_manifest


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(here, *names):
    for name in names:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()


def names(*sources, **options):
    """Name to path below the working folder, in order."""
    return {one.uri: os.path.relpath(one.audio) for one in read_manifest(sources, **options)}


def test_a_folder_and_what_is_below(here):
    touch(
        here, "c/b.wav", "c/a.FLAC", "c/x/y/z.mp3", "c/notes.txt", "c/.hidden.wav", "c/.git/a.wav", "c/a.rttm"
    )
    assert names("c") == {"a": "c/a.FLAC", "b": "c/b.wav", "x/y/z": "c/x/y/z.mp3"}
    os.symlink(here / "c", here / "c" / "x" / "circle")
    assert len(names("c")) == 3


def test_globs_and_files(here):
    touch(here, "c/1.wav", "c/2.wav", "c/d/3.wav", "odd.name.bin")
    assert names("c/*.wav") == {"1": "c/1.wav", "2": "c/2.wav"}
    assert names("c/**/*.wav") == {"1": "c/1.wav", "2": "c/2.wav", "d/3": "c/d/3.wav"}
    assert names("odd.name.bin", "c/[1]*") == {"odd.name": "odd.name.bin", "1": "c/1.wav"}
    touch(here, "take[1].wav")
    assert names("take[1].wav") == {"take[1]": "take[1].wav"}


def test_names_that_clash_are_made_distinct_and_said(here):
    touch(here, "a/x.wav", "a/x.mp3", "a/y.wav", "b/x.wav", "b/Y.wav")
    said = []
    assert names("a", note=said.append) == {"x.mp3": "a/x.mp3", "x.wav": "a/x.wav", "y": "a/y.wav"}
    assert said == ["2 names that clashed were made distinct, such as 'x.mp3'"]
    assert names("a", "b") == {
        "x.mp3": "a/x.mp3",
        "a/x": "a/x.wav",
        "a/y": "a/y.wav",
        "b/x": "b/x.wav",
        "b/Y": "b/Y.wav",
    }
    touch(here, "s/a b.wav", "s/a_b.wav")
    assert len({name.replace(" ", "_") for name in names("s")}) == 2, "RTTM could not tell them apart"
    touch(here, "p/a/x.wav", "q/a/x.wav")
    found = names("p/a", "q/a")
    assert sorted(found.values()) == ["p/a/x.wav", "q/a/x.wav"]
    assert found == names("p/a", "q/a"), "the same every time"


def test_one_file_met_twice_is_one_recording(here):
    touch(here, "c/a.wav", "c/b.wav")
    said = []
    assert list(names("c", "c/*.wav", "c/a.wav", note=said.append)) == ["a", "b"]
    assert said == ["3 files met more than once, taken once"]


def test_a_list_of_paths(here):
    touch(here, "audio/a.wav", "audio/b c.wav", "other/d.wav")
    (here / "lists").mkdir()
    (here / "lists" / "l.txt").write_bytes(
        b"\xef\xbb\xbf# recordings\r\n../audio/a.wav\r\n\r\n  ../audio/b c.wav\r\n"
        + str(here / "other/d.wav").encode()
    )
    assert names("lists/l.txt") == {"a": "audio/a.wav", "b c": "audio/b c.wav", "d": "other/d.wav"}
    (here / "l.lst").write_text("audio/a.wav\naudio/b c.wav\n")
    assert list(names("l.lst")) == ["audio/a", "audio/b c"]


def test_kaldi(here):
    (here / "d").mkdir()
    scp = here / "d" / "wav.scp"
    scp.write_text("s1-a /data/x y.wav\ns1-b\trel.flac\n")
    assert {one.uri: one.audio for one in read_manifest([scp])} == {
        "s1-a": "/data/x y.wav",
        "s1-b": str(here / "d" / "rel.flac"),
    }
    scp.write_text("ok a.wav\npiped sox a.wav -t wav - |\n")
    with pytest.raises(FormatError, match=r"wav.scp:2: is a command, which is run only with --allow-pipes"):
        names(scp)
    piped = read_manifest([scp], allow_pipes=True)[1]
    assert (piped.audio, piped.pipe) == ("sox a.wav -t wav -", True)


def test_csv_and_jsonl(here):
    (here / "l.csv").write_text(
        'uri,audio,num_speakers,channel\nfirst,"a, b.wav",2,\n\nsecond/part,c.wav,,1\n,plain.wav,,\n'
    )
    rows = [
        {"uri": "first", "audio": "a, b.wav", "num_speakers": 2},
        {"uri": "second/part", "audio": "c.wav", "channel": 1, "num_speakers": None},
        {"audio": "plain.wav"},
    ]
    (here / "l.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = read_manifest(["l.csv"])
    assert found == read_manifest(["l.jsonl"])
    assert [(one.uri, dict(one.options)) for one in found] == [
        ("first", {"num_speakers": 2}), ("second/part", {"channel": 1}), ("plain", {}),
    ]  # fmt: skip
    assert found[0].audio == str(here / "a, b.wav")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("l.csv", "audio,speakers\na.wav,2\n", r"l.csv:1: unknown column 'speakers'; did you mean"),
        ("l.csv", "uri,channel\na,1\n", r"l.csv:1: must name the column 'audio'"),
        ("l.csv", "audio,audio\na,1\n", r"l.csv:1: must name the column 'audio', and each column once"),
        ("l.csv", "audio,channel\na.wav,1\nb.wav\n", r"l.csv:3: must have 2 cells, as the header, got 1"),
        ("l.csv", "audio,channel\na.wav,-1\n", r"l.csv:2: channel must be a whole number >= 0, got '-1'"),
        ("l.csv", "audio,num_speakers\na.wav,two\n", r"l.csv:2: num_speakers must be a whole number >= 1"),
        ("l.csv", "audio,num_speakers,max_speakers\na.wav,2,3\n", r"l.csv:2: num_speakers says it all"),
        ("l.csv", "audio,min_speakers,max_speakers\na.wav,4,3\n", r"l.csv:2: min_speakers must be <="),
        ("l.csv", 'audio,uri\n"a.wav,x\n', r"l.csv:\d: not CSV"),
        ("l.csv", "audio,uri\n,x\n", r"l.csv:2: audio must be a path, got None"),
        ("l.csv", "audio,uri\na.wav,../x\n", r"l.csv:2: uri must be a name, or names joined by /"),
        ("l.csv", "audio,uri\na.wav,/etc/x\n", r"l.csv:2: uri must be a name"),
        ("l.csv", "audio,uri\na.wav,x\nb.wav,X\n", r"l.csv:3: the name 'X' is that of .*l.csv:2 too"),
        ("l.csv", "audio,num_speakers\na.wav,2\na.wav,3\n", r"l.csv:3: was in .*l.csv:2 with other options"),
        ("l.jsonl", '{"audio": "a.wav"}\n{"audio": \n', r"l.jsonl:2: not JSON"),
        ("l.jsonl", '["a.wav"]\n', r"l.jsonl:1: must be an object"),
        ("l.jsonl", '{"audio": 3}\n', r"l.jsonl:1: audio must be a path, got 3"),
        ("l.jsonl", '{"audio": "a", "num_speakers": 2.5}\n', r"l.jsonl:1: num_speakers must be"),
        ("l.jsonl", '{"audio": "a", "num_speakers": true}\n', r"l.jsonl:1: num_speakers must be"),
        ("l.jsonl", '{"audio": "a", "uri": "x\\n"}\n', r"l.jsonl:1: uri must be a name"),
        ("wav.scp", "only\n", r"wav.scp:1: a line must have a name and a path, got 'only'"),
        ("wav.scp", "a b.ark:123\n", r"wav.scp:1: must be the path of an audio file, got 'b.ark:123'"),
        ("wav.scp", "a x.wav\na y.wav\n", r"wav.scp:2: the name 'a' is that of .*wav.scp:1 too"),
        ("l.txt", "a.wav\n\udce9.wav\n", r"l.txt:2: must be UTF-8 text, got the byte 0xe9"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_named(here, name, text, reason):
    (here / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=reason):
        names(name)


def test_what_is_not_there(here):
    touch(here, "empty/x.pdf", "none.txt")
    for source, reason in (
        ("nope", "nope: no such file or folder"),
        ("empty", "empty: holds no recording"),
        ("*.wav", r"\*.wav: holds no recording"),
        ("none.txt", "none.txt: holds no recording"),
    ):
        with pytest.raises(ConfigError, match=reason):
            names(source)


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_names_that_are_no_text(here):
    (here / "c").mkdir()
    (here / "c" / "a\nb.wav").touch()
    with open(os.fsencode(here / "c") + b"/caf\xe9.wav", "wb"):
        pass
    assert sorted(one.uri for one in read_manifest(["c"])) == ["a_b", "caf_"]
