from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")


from score_command import run

from diarize.errors import DiarizeError, FormatError


def as_json(*arguments: object) -> dict:
    return json.loads(run(*arguments, "--json").stdout)


def rttm(path: Path, *turns: tuple[str, float, float, str]) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(
        "".join(f"SPEAKER {u} 1 {s} {e - s} <NA> <NA> {name} <NA> <NA>\n" for u, s, e, name in turns)
    )
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three references, one with a UEM; a hypothesis lacks, another has no reference."""
    ref, hyp = tmp_path / "ref", tmp_path / "hyp"
    rttm(ref / "one.rttm", ("one", 0, 8, "A"), ("one", 8, 10, "B"))
    rttm(hyp / "one.rttm", ("one", 0, 10, "x"))
    rttm(ref / "two.rttm", ("two", 0, 10, "A"), ("two", 20, 30, "A"))
    rttm(hyp / "two.rttm", ("another-name", 0, 10, "x"))
    (ref / "two.uem").write_text("two 1 0 15\n")
    rttm(ref / "three.rttm", ("three", 0, 1, "A"))
    rttm(hyp / "extra.rttm", ("extra", 0, 1, "x"))
    return ref, hyp


def test_two_files_whatever_they_call_the_recording(tmp_path):
    ref = rttm(tmp_path / "a.rttm", ("a", 0, 10, "A"))
    hyp = rttm(tmp_path / "b.rttm", ("b", 0, 9, "x"))
    out = as_json(ref, hyp)
    assert [r["name"] for r in out["recordings"]] == ["a"]
    assert out["overall"]["der"][0]["der"] == pytest.approx(0.1)
    assert out["notes"] == []


def test_folders(folders):
    out = as_json(*folders)
    recordings = {r["name"]: r for r in out["recordings"]}
    assert list(recordings) == ["one", "three", "two"]
    assert recordings["one"]["der"][0]["confusion_s"] == pytest.approx(2)
    assert recordings["one"]["speakers"] == {"reference": 2, "hypothesis": 1}
    assert recordings["three"]["der"][0]["miss"] == 1
    assert recordings["two"]["der"][0]["der"] == 0
    assert recordings["two"]["uem"] == str(folders[0] / "two.uem")
    assert recordings["one"]["uem"] is None
    assert out["overall"]["der"][0]["der"] == pytest.approx(3 / 21)
    assert (out["overall"]["exact"], out["overall"]["counted"]) == (1, 2)
    missing, extra = out["notes"]
    assert missing == f"three: no hypothesis {folders[1] / 'three.rttm'}; counted as empty"
    assert extra == f"{folders[1] / 'extra.rttm'}: no reference of that name; not scored"


def test_the_four_conventions_and_what_they_mean_are_printed(folders):
    result = run(*folders)
    for convention in (
        "collar 0, overlap scored",
        "collar 0.25 s a side, overlap scored",
        "collar 0, overlap not scored",
        "collar 0.25 s a side, overlap not scored",
    ):
        assert any(line.startswith(convention) for line in result.stdout.splitlines())
    assert "exact count 50 % (1 of 2)" in result.stdout
    assert "each side of every reference boundary" in result.stdout
    assert "at least 2 s of reference speech" in result.stdout
    assert "three: no hypothesis" in result.stderr
    assert "note" not in result.stdout


def test_a_pipe_gets_aligned_plain_text(folders):
    text = run(*folders).stdout
    assert text.isascii()
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("recording"))
    assert len({len(line) for line in lines[head : head + 4]}) == 1
    assert lines[head + 1].split()[:5] == ["one", "20.0", "0.0", "0.0", "20.0"]


def test_a_terminal_gets_a_table(folders, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    text = run(*folders).stdout
    assert "│ one" in text


def test_files_with_many_recordings_are_matched_by_name(tmp_path):
    ref = rttm(tmp_path / "ref.rttm", ("a", 0, 10, "A"), ("b", 0, 10, "A"), ("c", 0, 10, "A"))
    hyp = rttm(tmp_path / "hyp.rttm", ("d", 0, 1, "x"), ("c", 0, 5, "x"), ("a", 0, 10, "x"))
    uem = tmp_path / "all.uem"
    uem.write_text("a 1 0 8\nc 1 0 5\n")
    out = as_json(ref, hyp, "--uem", uem)
    assert {r["name"]: (r["der"][0]["total_s"], r["der"][0]["der"]) for r in out["recordings"]} == {
        "a": (8, 0),
        "b": (10, 1),
        "c": (5, 0),
    }
    assert out["notes"] == [
        f"b: not in {hyp}; counted as empty",
        f"b: not in {uem}; scored whole",
        f"d: in {hyp} but not in {ref}; not scored",
    ]


def test_a_uem_for_one_file_may_call_it_what_it_likes(tmp_path):
    ref, hyp = rttm(tmp_path / "r.rttm", ("r", 0, 10, "A")), rttm(tmp_path / "h.rttm", ("h", 0, 5, "x"))
    uem = tmp_path / "some.uem"
    uem.write_text("else 1 0 5\n")
    assert as_json(ref, hyp, "--uem", uem)["overall"]["der"][0]["der"] == 0


def test_one_uem_for_a_folder_goes_by_name(folders, tmp_path):
    uem = tmp_path / "all.uem"
    uem.write_text("one 1 0 8\n")
    out = as_json(*folders, "--uem", uem)
    assert [r["uem"] for r in out["recordings"]] == [str(uem), None, None]
    assert f"two: not in {uem}; scored whole" in out["notes"]


def test_a_folder_of_uems(folders, tmp_path):
    (tmp_path / "uems").mkdir()
    (tmp_path / "uems" / "one.uem").write_text("one 1 0 8\n")
    out = as_json(*folders, "--uem", tmp_path / "uems")
    assert [r["der"][0]["total_s"] for r in out["recordings"]] == [8, 1, 20]
    assert sum("scored whole" in note for note in out["notes"]) == 2


def test_an_empty_reference_is_all_false_alarm(tmp_path):
    ref, hyp = rttm(tmp_path / "silence.rttm"), rttm(tmp_path / "hyp.rttm", ("h", 0, 5, "x"))
    out = as_json(ref, hyp)
    assert (out["overall"]["der"][0]["der"], out["overall"]["der"][0]["false_alarm_s"]) == (1, 5)
    assert "exact count - (0 of 0)" in run(ref, hyp).stdout
    assert as_json(ref, ref)["overall"]["der"][0]["der"] == 0


def test_a_speaker_over_himself_is_told(tmp_path):
    ref = rttm(tmp_path / "a.rttm", ("a", 0, 10, "A"))
    hyp = rttm(tmp_path / "b.rttm", ("b", 0, 9, "x"), ("b", 2, 3, "x"))
    (note,) = as_json(ref, hyp)["notes"]
    assert note == "a: turns of one speaker overlap in the hypothesis (x); each counts, as in pyannote"


def test_a_hundred_files(tmp_path):
    for i in range(100):
        for side in ("ref", "hyp"):
            rttm(tmp_path / side / f"{i:03d}.rttm", (str(i), 0, 10, "A"), (str(i), 5, 12 + i % 3, "B"))
    out = as_json(tmp_path / "ref", tmp_path / "hyp")
    assert (out["overall"]["recordings"], out["overall"]["exact_count"]) == (100, 1)
    assert [d["der"] for d in out["overall"]["der"]] == [0, 0, 0, 0]


def test_what_cannot_be_scored_is_an_error(folders, tmp_path):
    ref, hyp = folders
    with pytest.raises(DiarizeError, match=r"nowhere\.rttm does not exist"):
        run(tmp_path / "nowhere.rttm", hyp)
    with pytest.raises(DiarizeError, match="two files or two folders"):
        run(ref, hyp / "one.rttm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DiarizeError, match=r"nothing to score: .*empty holds no \.rttm"):
        run(tmp_path / "empty", hyp)
    (hyp / "one.rttm").write_text("SPEAKER one 1 0 0 <NA> <NA> x <NA> <NA>\n")
    with pytest.raises(FormatError, match=r"one\.rttm:1: duration must be > 0, got 0"):
        run(ref, hyp)
    (hyp / "one.rttm").unlink()
    (hyp / "one.rttm").mkdir()
    with pytest.raises(DiarizeError, match=r"one\.rttm cannot be read: "):
        run(ref, hyp)


def test_help_teaches():
    text = run("--help").stdout
    assert "diarize score references/ hypotheses/" in text
    assert "0.25 s on each side" in text
