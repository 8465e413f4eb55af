"""Formats of turns: exact round trips, errors that name the line, programs by others that read them."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT

from diarize.errors import FormatError
from diarize.formats import clean_name, read_fields, to_ms
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

TIMES = {"json": 7, "jsonl": 7}
"""Decimals that times keep, where they are not the 3 of milliseconds."""

NAMES = [
    "Anna", 'the "boss"', "tab\there", "two\nlines", "李 明", "مريم", "🎉 ぁ", "a,b;c", " padded ",
    "<b>&amp;</b>", "]]>", "it's", "=1+1", "\\", "#x", ";x", "!x", "0", "\u2028", "[x]: y", "x --> y", "{}",
    "two lines", "two_lines", "Anna Lee", '"quoted"', '"', "'",
]  # fmt: skip

READABLE = [name for name, form in FORMATS.items() if form.read]


def written(folder: Path, turns, name: str, uri: str = "meeting", duration: float | None = None) -> Path:
    path = folder / f"{uri}{by_name(name).ending}"
    path.write_text(format_turns(turns, uri, name, duration=duration), encoding="utf-8", newline="")
    return path


def back(path: Path, name: str | None = None) -> list[Turn]:
    found = read_recordings(path, name)
    assert len(found) <= 1
    return list(found[0].turns) if found else []


def rounded(turns, decimals: int = 3) -> list[Turn]:
    def at(time: float) -> float:  # in milliseconds by RTTM's rule
        return to_ms(time) / 1000 if decimals == 3 else round(time, decimals)

    found = [Turn(at(t.start), at(t.end), t.speaker) for t in turns]
    return sorted(turn for turn in found if turn.end > turn.start)


def some_turns(seed: int, names=NAMES, overlaps: bool = True) -> list[Turn]:
    """Turns on the 16 kHz grid: adjacent, of 1 sample, overlapping those of others, never of one speaker."""
    rng = random.Random(seed)
    free = dict.fromkeys(rng.sample(names, min(len(names), rng.randrange(1, 6))), 0)
    turns, now = [], 0
    for _ in range(rng.randrange(1, 40)):
        speaker = rng.choice(sorted(free))
        start = max(free[speaker], now + rng.choice([0, 0, 1, 7, 16_000, 33_333]))
        end = start + rng.choice([1, 7, 8, 16, 999, 16_000, 48_001, rng.randrange(1, 10**6)])
        turns.append(Turn(start / 16_000, end / 16_000, speaker))
        free[speaker] = end
        now = rng.choice([start, end]) if overlaps else end
    return turns


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


# Other programs read it


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(8))
def test_praat_reads_it(tmp_path, seed):
    parselmouth = pytest.importorskip("parselmouth")
    turns = some_turns(seed)
    grid = parselmouth.read(str(written(tmp_path, turns, "textgrid", duration=5000)))
    call = parselmouth.praat.call
    got = []
    for tier in range(1, call(grid, "Get number of tiers") + 1):
        name = call(grid, "Get tier name...", tier)
        for i in range(1, call(grid, "Get number of intervals...", tier) + 1):
            if call(grid, "Get label of interval...", tier, i):
                start = call(grid, "Get start time of interval...", tier, i)
                got.append(Turn(start, call(grid, "Get end time of interval...", tier, i), name))
    assert sorted(got) == rounded(turns)
    assert (grid.xmin, grid.xmax) == (0, 5000)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["Save as text file...", "Save as short text file..."])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
def test_what_praat_writes_is_read(tmp_path, form, encoding):
    parselmouth = pytest.importorskip("parselmouth")
    turns = some_turns(4)
    grid = parselmouth.read(str(written(tmp_path, turns, "textgrid", duration=5000)))
    parselmouth.praat.call("Text writing preferences...", encoding)
    try:
        parselmouth.praat.call(grid, form, str(tmp_path / "other.TextGrid"))
    finally:
        parselmouth.praat.call("Text writing preferences...", "UTF-8")
    assert (tmp_path / "other.TextGrid").read_bytes()[:2] == (b"\xfe\xff" if "16" in encoding else b"Fi")
    assert back(tmp_path / "other.TextGrid") == rounded(turns)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(8))
def test_praatio_reads_it(tmp_path, seed):
    textgrid = pytest.importorskip("praatio.textgrid")
    names = [name for name in NAMES if name == name.strip() and "\n" not in name and name.isprintable()]
    turns = some_turns(seed, names)
    grid = textgrid.openTextgrid(
        str(written(tmp_path, turns, "textgrid", duration=5000)), includeEmptyIntervals=False
    )
    got = [Turn(e.start, e.end, tier.name) for tier in grid.tiers for e in tier.entries]
    assert sorted(got) == rounded(turns)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(8))
def test_pympi_reads_it(tmp_path, seed):
    elan = pytest.importorskip("pympi.Elan")
    turns = some_turns(seed)
    found = elan.Eaf(str(written(tmp_path, turns, "elan")))
    got = [
        Turn(start / 1000, end / 1000, name)
        for name in found.get_tier_names()
        for start, end, value in found.get_annotation_data_for_tier(name)
    ]
    assert sorted(got) == rounded(turns)


@pytest.mark.filterwarnings("ignore")
def test_what_pympi_writes_is_read(tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    file = elan.Eaf(author="x")
    file.add_tier("words", part="Anna")
    file.add_tier("李")
    file.add_annotation("words", 500, 1500, "hello")
    file.add_annotation("李", 1000, 2000, "")
    file.remove_tier("default")
    file.to_file(str(tmp_path / "a.eaf"))
    assert back(tmp_path / "a.eaf") == [Turn(0.5, 1.5, "Anna"), Turn(1, 2, "李")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["rttm", "stm", "seglst"])
def test_meeteval_reads_it(tmp_path, name):
    meeteval = pytest.importorskip("meeteval")
    turns = some_turns(1, ["a", "b", "李", "مريم"])
    found = meeteval.io.load(str(written(tmp_path, turns, name)), format=name)
    got = [
        Turn(float(s["start_time"]), float(s["end_time"]), s["speaker"])
        for s in meeteval.io.asseglst(found)
        if s["session_id"] == "meeting"
    ]
    assert sorted(got) == rounded(turns)
    assert sorted(t.speaker for t in got) == sorted(t.speaker for t in rounded(turns))


@pytest.mark.filterwarnings("ignore")
def test_meeteval_reads_the_uem(tmp_path):
    meeteval = pytest.importorskip("meeteval")
    found = meeteval.io.load(str(written(tmp_path, [], "uem", duration=12.5)), format="uem")
    assert [(line.filename, float(line.begin_time), float(line.end_time)) for line in found.lines] == [
        ("meeting", 0, 12.5)
    ]


@pytest.mark.filterwarnings("ignore")
def test_pyannote_database_reads_the_rttm(tmp_path):
    util = pytest.importorskip("pyannote.database.util")
    turns = some_turns(1, ["a", "b", "李"])
    found = util.load_rttm(str(written(tmp_path, turns, "rttm")))["meeting"]
    got = [
        Turn(round(s.start, 3), round(s.end, 3), name) for s, _, name in found.itertracks(yield_label=True)
    ]
    assert sorted(got) == rounded(turns)


def test_pandas_reads_csv_and_json_lines(tmp_path):
    pandas = pytest.importorskip("pandas")
    turns = some_turns(6, [name for name in NAMES if name.strip() == name])
    for name, read in (("csv", pandas.read_csv), ("jsonl", lambda path: pandas.read_json(path, lines=True))):
        table = read(written(tmp_path, turns, name))
        got = [Turn(*row) for row in table[["start", "end", "speaker"]].itertuples(index=False, name=None)]
        assert sorted(map(str, got)) == sorted(map(str, rounded(turns, TIMES.get(name, 3))))
        assert set(table.uri) == {"meeting"}


@pytest.mark.filterwarnings("ignore")
def test_subtitle_programs_read_it(tmp_path):
    turns = [Turn(0.5, 3.7126, "Anna Lee"), Turn(2, 4, "李"), Turn(3.7126, 4, "Anna Lee")]
    srt = pytest.importorskip("srt")
    cues = list(srt.parse(written(tmp_path, turns, "srt").read_text("utf-8")))
    assert [(c.start.total_seconds(), c.end.total_seconds()) for c in cues] == [
        (0.5, 3.713),
        (2, 4),
        (3.713, 4),
    ]
    assert ["Anna Lee" in c.content for c in cues] == [True, False, True]
    webvtt = pytest.importorskip("webvtt")
    cues = webvtt.read(str(written(tmp_path, turns, "vtt")))
    assert [(c.start_in_seconds, c.voice, c.text) for c in cues][1][1:] == ("李", "李")


# Files that are broken


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
