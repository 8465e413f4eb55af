"""Formats of turns: exact round trips, RTTM byte for byte, JSON and its schema, the table of all."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT
from turn_files import NAMES, READABLE, TIMES, back, rounded, some_turns, written

from diarize.errors import FormatError
from diarize.formats import clean_name, read_fields
from diarize.formats.registry import (
    FORMATS,
    Output,
    Recording,
    by_ending,
    by_name,
    format_recordings,
    format_turns,
    read_recordings,
    read_turns,
    stem_of,
)
from diarize.formats.rttm import read_rttm
from diarize.result import Diarization, Turn

EXACT = ("json", "jsonl", "csv", "textgrid", "elan", "seglst")
"""Formats that keep every name as it is."""


# Round trips


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("seed", range(25))
def test_what_is_written_is_read_back(tmp_path, name, seed):
    turns = some_turns(seed)
    random.Random(seed).shuffle(turns)
    assert back(written(tmp_path, turns, name)) == rounded(turns, TIMES.get(name, 3))


@pytest.mark.parametrize("name", ["rttm", "stm", "audacity", "srt", "vtt"])
@pytest.mark.parametrize("seed", range(15))
def test_names_that_do_not_fit_are_cleaned_and_stay_apart(tmp_path, name, seed):
    turns = some_turns(seed)
    got = back(written(tmp_path, turns, name))
    kept = rounded(turns)
    assert sorted((t.start, t.end) for t in got) == sorted((t.start, t.end) for t in kept)
    pairs = {}  # where the times say which turn is which, names go to names one to one
    for turn in got:
        same = [t for t in kept if (t.start, t.end) == (turn.start, turn.end)]
        if len(same) == 1:
            assert pairs.setdefault(turn.speaker, same[0].speaker) == same[0].speaker
    assert len(set(pairs.values())) == len(pairs)


@pytest.mark.parametrize("name", READABLE)
def test_clean_names_come_back_as_they_are(tmp_path, name):
    turns = [
        Turn(0.5, 3.712, "SPEAKER_00"),
        Turn(2, 4, "李"),
        Turn(3.712, 5, "مريم"),
        Turn(5, 5.001, "SPEAKER_00"),
    ]
    assert back(written(tmp_path, turns, name)) == turns


@pytest.mark.parametrize("name", READABLE)
def test_a_second_round_changes_nothing(tmp_path, name):
    for seed in range(5):
        names = [one for one in NAMES if name != "srt" or "<" not in one]  # SubRip cannot escape markup
        path = written(tmp_path, some_turns(seed, names), name, duration=4000)
        first = read_recordings(path)
        text = format_recordings(first, name) if first or FORMATS[name].many else None
        assert text is None or text == path.read_bytes().decode()


@pytest.mark.parametrize("name", FORMATS)
def test_the_order_of_turns_does_not_matter(name):
    turns = some_turns(3)
    text = format_turns(turns, "m", name, duration=100)
    random.Random(1).shuffle(turns)
    assert format_turns(turns, "m", name, duration=100) == text
    text.encode()


@pytest.mark.parametrize("name", READABLE)
def test_no_turns(tmp_path, name):
    path = written(tmp_path, [], name)
    assert back(path) == []
    assert read_turns(path) == {} or all(len(found) == 0 for found in read_turns(path).values())


@pytest.mark.parametrize("name", READABLE)
def test_a_turn_that_rounds_to_nothing_is_left_out_and_neighbours_stay_adjacent(tmp_path, name):
    cuts = [0, 0.5004, 1.0006, 1.0014, 1.5016, 2.25]
    turns = [Turn(a, b, "ab"[i % 2]) for i, (a, b) in enumerate(pairwise(cuts))]
    got = back(written(tmp_path, turns, name))
    assert len(got) == (5 if name in TIMES else 4)
    if name not in TIMES:
        assert [(round(t.start * 1000), round(t.end * 1000)) for t in got] == [
            (0, 500), (500, 1001), (1001, 1502), (1502, 2250),
        ]  # fmt: skip
    assert all(a.end <= b.start for a, b in pairwise(got))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("turn", [Turn(2, 1, "a"), Turn(-0.1, 1, "a"), Turn(0, float("inf"), "a")])
def test_impossible_times_are_refused(name, turn):
    if name != "uem":  # it has no turns
        with pytest.raises(FormatError, match="turn 2 of m: times must be finite with 0 <= start <= end"):
            format_turns([Turn(0, 1, "a"), turn], "m", name)


@pytest.mark.parametrize("name", ["rttm", "json", "jsonl", "csv"])
def test_confidence_is_kept(tmp_path, name):
    turns = [Turn(0, 1, "a", 0.5), Turn(1, 2, "b"), Turn(1, 2, "c", 1.0), Turn(3, 4, "a", 0.12345)]
    got = back(written(tmp_path, turns, name))
    assert [t.confidence for t in got] == [0.5, None, 1.0, 0.123]


@pytest.mark.parametrize(("name", "kept"), [("json", 30.0000625), ("textgrid", 30.0), ("csv", None)])
def test_duration_is_kept(tmp_path, name, kept):
    assert (
        read_recordings(written(tmp_path, [Turn(0, 1, "a")], name, duration=30.0000625))[0].duration == kept
    )


@pytest.mark.parametrize("name", ["textgrid", "elan"])
def test_overlapping_turns_of_one_speaker_become_one_in_a_tier(tmp_path, name):
    turns = [Turn(0, 2, "a"), Turn(1, 3, "a"), Turn(1, 1.5, "a"), Turn(3, 4, "a"), Turn(2.5, 3.5, "b")]
    turns.append(Turn(3.2, 3.4, "a"))  # within the one before
    assert back(written(tmp_path, turns, name)) == [Turn(0, 3, "a"), Turn(2.5, 3.5, "b"), Turn(3, 4, "a")]


def test_intervals_of_a_tier_fill_it_and_slots_are_in_order():
    for seed in range(10):
        turns = some_turns(seed, ["a", "b", "c"])
        grid = format_turns(turns, "m", "textgrid", duration=5000)
        for tier in grid.split("item [")[2:]:
            times = [float(time) for time in re.findall(r"xm(?:in|ax) = (\S+)", tier)][2:]
            assert times[0] == 0
            assert times[-1] == 5000
            assert times[1:-1:2] == times[2:-1:2]
            assert times == sorted(times)
        slots = [int(time) for time in re.findall(r'TIME_VALUE="(\d+)"', format_turns(turns, "m", "elan"))]
        assert slots == sorted(slots)
        assert len(slots) == 2 * len(rounded(turns))


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.many and form.read])
def test_many_recordings_in_a_file(tmp_path, name):
    recordings = [
        Recording(uri, (Turn(0, 1, "a"), Turn(1, 2.5, "b"))) for uri in ("z 1", "a", "z_1", ";x", "#")
    ]
    path = tmp_path / f"all{FORMATS[name].ending}"
    path.write_text(format_recordings(recordings, name), encoding="utf-8", newline="")
    got = read_recordings(path)
    assert [list(one.turns) for one in got] == [list(one.turns) for one in recordings]
    assert len({one.uri for one in got}) == 5
    assert [one.uri for one in got][1] == "a"
    if name in EXACT:
        assert [one.uri for one in got] == [one.uri for one in recordings]
    pieces: list[str] = []
    output = Output(name, pieces.append)
    for one in recordings[1:]:
        output.push(one)
    with pytest.raises(FormatError, match=f"'z_1' and 'z 1' would be one recording in {name}"):
        output.push(recordings[0])
    output.close()
    (tmp_path / f"joined{FORMATS[name].ending}").write_text("".join(pieces), encoding="utf-8", newline="")
    joined = read_recordings(tmp_path / f"joined{FORMATS[name].ending}")
    assert [list(one.turns) for one in joined][:2] == [list(one.turns) for one in recordings][1:3]
    assert len(pieces) == (4 if FORMATS[name].header is not None else 1)
    with pytest.raises(FormatError, match="two recordings are called 'a'"):
        format_recordings([recordings[1], recordings[1]], name)


def test_one_recording_is_all_that_some_hold():
    with pytest.raises(
        FormatError, match="textgrid holds exactly one recording, got 2; these hold many: rttm, jsonl"
    ):
        format_recordings([Recording("a", ()), Recording("b", ())], "textgrid")


# RTTM, byte for byte


def test_rttm_goes_through_unchanged(tmp_path):
    turns = [
        Turn(round(t.start, 3), round(t.end, 3), t.speaker, 0.25) for t in some_turns(2, ["a", "b_c", "李"])
    ]
    text = format_turns(turns, "m", "rttm") + format_turns(turns[:3], "a", "rttm")
    path = tmp_path / "m.rttm"
    path.write_bytes(text.encode())
    assert format_recordings(read_recordings(path), "rttm").encode() == path.read_bytes()
    for name in ("json", "csv"):
        first = read_recordings(path)[0]
        copy = written(tmp_path, first.turns, name, uri="m")
        assert format_recordings(read_recordings(copy), "rttm") == format_recordings([first], "rttm")


def test_rttm_of_others_keeps_its_turns(tmp_path):
    path = tmp_path / "m.rttm"
    path.write_text(
        "SPKR-INFO m 1 <NA> <NA> <NA> unknown b <NA>\n"
        "SPEAKER m 1 5.0 1.25 <NA> <NA> b maybe <NA>\n;; note\nSPEAKER m 1 0.25 1 <NA> <NA> a 0.75\n"
    )
    got = back(path)
    assert [(t.start, t.end, t.speaker, t.confidence) for t in got] == [
        (0.25, 1.25, "a", 0.75),
        (5, 6.25, "b", None),
    ]


def test_every_reference_at_hand_survives_every_format(data, tmp_path):
    paths = sorted(p for p in data.rglob("*.rttm") if p.name != "md_test13.sys.rttm")[:40]
    exact = 0
    for path in paths:
        for one in read_recordings(path):
            want = [(round(t.start, 3), round(t.end, 3), t.speaker) for t in rounded(one.turns)]
            lines = [line for line in path.read_text("utf-8").splitlines() if line.split()[1:2] == [one.uri]]
            text = format_recordings([one], "rttm")
            exact += text.splitlines() == lines
            for name in ("json", "csv", "seglst", "stm", "audacity"):
                copy = written(tmp_path, one.turns, name, uri="copy")
                got = sorted((round(t.start, 3), round(t.end, 3), t.speaker) for t in back(copy))
                assert got == want, (path, name)
    assert paths
    assert exact


# JSON and its schema


def test_json_is_what_the_schema_says():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "schema" / "diarize-1.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for seed in range(10):
        turns = [Turn(t.start, t.end, t.speaker, random.Random(seed).random()) for t in some_turns(seed)]
        for duration in (None, 0, 4000.5):
            document = json.loads(format_turns(turns, "m", "json", duration=duration))
            validator.validate(document)
    bad = json.loads(format_turns([Turn(0, 1, "a")], "m", "json"))
    for change in (
        {"schema": "diarize/2"},
        {"turns": [{"start": -1, "end": 1, "speaker": "a", "confidence": 2}]},
    ):
        assert list(validator.iter_errors(bad | change))
    assert set(schema["required"]) == set(bad)
    assert set(schema["properties"]["turns"]["items"]["required"]) == set(bad["turns"][0])
    assert set(schema["properties"]["speakers"]["items"]["required"]) == set(bad["speakers"][0])


def test_json_holds_whole_samples_exactly(tmp_path):
    turns = tuple(Turn(k / 16_000, (k + 4_001) / 16_000, "a") for k in range(1, 10**9, 10**7 + 4_567))
    found = Diarization(turns, 10**9 / 16_000, "m")
    one = read_recordings(written(tmp_path, turns, "json", uri="m", duration=found.duration))[0]
    assert Diarization(tuple(one.turns), one.duration or 0, one.uri) == found
    document = json.loads(format_turns(found.turns, "m", "json", duration=found.duration))
    assert {s["name"]: s["speaking_time"] for s in document["speakers"]} == {
        name: round(time, 7) for name, time in found.speaking_time.items()
    }


def test_json_of_speakers_in_order_of_appearance():
    document = json.loads(format_turns([Turn(4, 5, "a"), Turn(0, 1, "b"), Turn(0.5, 2, "b")], "m", "json"))
    assert document["speakers"] == [{"name": "b", "speaking_time": 2.5}, {"name": "a", "speaking_time": 1.0}]
    assert document["duration"] is None


def test_json_that_is_a_list_is_seglst(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        '[{"session_id": "S1", "speaker": 7, "start_time": "0.50", "end_time": 2, "words": "hi"}]'
    )
    assert read_recordings(path) == [Recording("S1", (Turn(0.5, 2, "7"),))]


def test_json_lines_of_a_stream_are_read(tmp_path):
    lines = [
        {"start": 0, "end": 1, "speaker": "a", "final": True, "at": 2},
        {"start": 1, "end": 2, "speaker": None, "final": False, "at": 2},
    ]
    path = tmp_path / "live.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_recordings(path) == [Recording("live", (Turn(0, 1, "a"),))]


# The table


def test_read_turns_is_read_rttm(tmp_path):
    path = written(tmp_path, some_turns(1, ["a", "b"]), "rttm")
    ours, theirs = read_turns(path), read_rttm(path)
    assert list(ours) == list(theirs) == ["meeting"]
    assert ours["meeting"].uri == "meeting"
    pairs = zip(ours["meeting"].itersegments(), theirs["meeting"].itersegments(), strict=True)
    assert all(abs(a.start - b.start) + abs(a.end - b.end) < 1e-7 for a, b in pairs)
    assert len(ours["meeting"]) == len(theirs["meeting"]) > 0


def test_identical_turns_survive_in_an_annotation(tmp_path):
    turns = [Turn(0, 1, "a"), Turn(0, 1, "a"), Turn(0, 1, "b")]
    found = read_turns(written(tmp_path, turns, "csv"))["meeting"]
    assert len(list(found.itertracks())) == 3


def test_endings_and_names():
    assert {form.name for form in FORMATS.values()} == set(FORMATS)
    for form in FORMATS.values():
        for ending in form.endings:
            assert by_ending(f"a.b{ending}") is by_ending(Path(f"x/a{ending.upper()}")) is form
            assert stem_of(f"x/a.b{ending}") == "a.b"
        assert by_name(form.name.upper()) is form
        assert form.description
    assert by_ending("a.json").name == "json"
    assert by_ending("a.seglst.json").name == "seglst"
    assert stem_of("a.b.lab") == "a.b"
    assert stem_of(".rttm") == ".rttm"
    with pytest.raises(FormatError, match=r"a\.doc: the ending must name a format: \.rttm, \.json, "):
        by_ending("a.doc")
    with pytest.raises(
        FormatError, match=r"must be one of rttm, .*, got 'textgird'; did you mean 'textgrid'"
    ):
        by_name("textgird")
    with pytest.raises(FormatError, match="uem does not say who spoke when; these do: rttm"):
        read_recordings("a.uem")


def test_uem_needs_a_duration(tmp_path):
    assert format_turns([], "my m", "uem", duration=3.0004) == "my_m 1 0.000 3.000\n"
    with pytest.raises(FormatError, match="m: UEM needs the duration of the recording"):
        format_turns([Turn(0, 1, "a")], "m", "uem")
    path = tmp_path / "x.uem"
    path.write_text(format_turns([], ";x", "uem", duration=3))
    assert [fields[0] for _, fields in read_fields(path)] == ["_x"]
    assert clean_name(";x") == ";x"


def test_the_table_is_light():
    code = (
        "import sys, diarize.formats.registry, diarize.cli.convert, diarize.cli.extract; print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "torch", "av", "pandas", "pyannote.core"} & set(modules)
