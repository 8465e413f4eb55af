"""Formats of turns: programs by others read what is written, and their files are read."""

from __future__ import annotations

import pytest
from turn_files import NAMES, TIMES, back, rounded, some_turns, written

from diarize.result import Turn


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
