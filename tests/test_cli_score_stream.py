"""`diarize score --stream`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from fakes import RATE, FakeEmbedder, FakeVad, conversation
from score_command import run

from diarize import AudioError, ConfigError, DiarizeError, Diarizer
from diarize.cli import score_stream


@pytest.fixture
def folders(tmp_path: Path, write_wav, monkeypatch) -> tuple[Path, Path]:
    """Three references, three recordings; two belong together, one of them with a UEM; the fakes listen."""
    monkeypatch.setattr(
        score_stream, "load_diarizer", lambda *_, **__: Diarizer(embedder=FakeEmbedder(), vad=FakeVad())
    )
    ref, sound = tmp_path / "ref", tmp_path / "sound"
    ref.mkdir()
    sound.mkdir()
    for name in ("one", "two", "three"):
        (ref / f"{name}.rttm").write_text(f"SPEAKER {name}-inside 1 0 4 <NA> <NA> A <NA> <NA>\n")
    (ref / "two.uem").write_text("two 1 0 9\n")
    for seed, name in enumerate(("one", "two", "four")):
        write_wav(sound / f"{name}.wav", conversation(seed, turns=4) * 32767, RATE)
    (sound / "three.txt").write_text("no sound")
    return ref, sound


def test_a_line_for_each_latency(folders):
    result = run("--stream", *folders, "--latency", "0.5,2,none,2")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{folders[0]} (reference) against {folders[1]}, streamed"
    assert lines[1].startswith("2 recordings (1 with a UEM), ")
    assert lines[2].startswith("latency s")
    assert [line.split()[0] for line in lines[3:6]] == ["0.5", "2", "none"]
    assert lines[6] == ""
    assert len({len(line) for line in lines[2:6]}) == 1
    assert all(len(line.split()) == 14 for line in lines[3:6])
    for said in ("collar 0, overlap scored", "Silero VAD", "Churn:", "Age:", "every 0.5 s", "32 ms a push"):
        assert said in result.stdout
    assert " cores (" in result.stdout
    assert result.stdout.isascii()
    assert (
        f"note: {folders[0] / 'three.rttm'}: no recording three in {folders[1]}; not scored" in result.stderr
    )
    assert (
        f"{folders[1] / 'four.wav'}: no reference of that name in {folders[0]}; not scored" in result.stderr
    )
    assert result.stderr.count("note: ") == 2


def test_quick_says_that_time_is_not_measured(folders):
    result = run("--stream", *folders, "--latency", "1,none", "--quick")
    line = next(line for line in result.stdout.splitlines() if line.startswith("1 "))
    assert line.split()[-2:] == ["-", "-"]
    assert "RTF, push ms: not measured, the latencies ran side by side (--quick)." in result.stdout
    assert "cores" not in result.stdout


def test_json(folders):
    out = json.loads(run("--stream", *folders, "--latency", "1,none", "--json").stdout)
    limited, unlimited = out["latencies"]
    assert (limited["latency_s"], unlimited["latency_s"]) == (1, None)
    assert unlimited["shown"] is unlimited["churn"] is None
    assert unlimited["final"] == limited["offline"]
    assert limited["age_s"]["median"] <= limited["age_s"]["p95"] <= limited["age_s"]["worst"] <= 1 + 1e-9
    assert limited["real_time_factor"] > 0
    assert [one["name"] for one in limited["recordings"]] == ["one", "two"]
    total_s = sum(one["final"]["total_s"] for one in limited["recordings"])
    assert limited["final"]["total_s"] == total_s == 8
    assert len(out["notes"]) == 2
    assert out["quick"] is False


def test_two_files_belong_together_whatever_they_are_called(folders):
    ref, sound = folders
    out = json.loads(
        run("--stream", ref / "three.rttm", sound / "one.wav", "--latency", "1", "--json").stdout
    )
    assert [one["name"] for one in out["latencies"][0]["recordings"]] == ["one"]
    assert out["notes"] == []


def test_one_reference_file_for_a_folder(folders, tmp_path):
    said = "".join(f"SPEAKER {name} 1 0 4 <NA> <NA> A <NA> <NA>\n" for name in ("two", "one", "five"))
    (tmp_path / "all.rttm").write_text(said)
    out = json.loads(run("--stream", tmp_path / "all.rttm", folders[1], "--latency", "1", "--json").stdout)
    assert [one["name"] for one in out["latencies"][0]["recordings"]] == ["two", "one"]
    assert [note.split(": ")[1] for note in out["notes"]] == [
        f"no recording five in {folders[1]}; not scored",
        f"no reference of that name in {tmp_path / 'all.rttm'}; not scored",
    ]


def test_a_second_reference_of_a_recording_is_not_scored(folders):
    ref, sound = folders
    (ref / "zzz.rttm").write_text("SPEAKER one 1 0 9 <NA> <NA> A <NA> <NA>\n")
    result = run("--stream", ref, sound, "--latency", "1")
    assert f"{ref / 'zzz.rttm'}: another reference of {sound / 'one.wav'}; not scored" in result.stderr


def test_what_cannot_be_scored_is_an_error(folders, tmp_path):
    ref, sound = folders
    with pytest.raises(
        DiarizeError, match=r"nothing to score: no recording of .* has the name of a reference"
    ):
        run("--stream", ref / "three.rttm", sound)
    with pytest.raises(DiarizeError, match="nowhere does not exist"):
        run("--stream", ref, tmp_path / "nowhere")
    (sound / "one.flac").write_bytes(b"")
    with pytest.raises(DiarizeError, match=r"one\.flac and .*one\.wav have one name"):
        run("--stream", ref, sound)
    (sound / "one.wav").unlink()
    with pytest.raises(AudioError, match=r"one\.flac: "):
        run("--stream", ref, sound)


@pytest.mark.parametrize("latency", ["1,soon", "0", "-1", "nan", "1,,2", "inf"])
def test_a_latency_is_seconds_or_none(folders, latency):
    with pytest.raises(ConfigError, match="--latency must be seconds > 0 or none, with commas between"):
        run("--stream", *folders, "--latency", latency)


@pytest.mark.parametrize(
    "option", [["--latency", "1"], ["--quick"], ["--num-speakers", "2"], ["--threads", "0"], ["--model", "m"]]
)
def test_options_of_recordings_are_refused_without_them(folders, option):
    with pytest.raises(ConfigError, match=f"{option[0]} is for recordings; add --stream"):
        run(folders[0], folders[0], *option)


def test_the_sample_conversation(sample_wav, weights):
    weights("campplus-zh-en")
    reference = sample_wav.with_suffix(".rttm")
    arguments = ("--stream", reference, sample_wav, "--device", "cpu", "--quick", "--latency", "2,none")
    lines = run(*arguments).stdout.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["2", "none"]
    out = json.loads(run(*arguments, "--json").stdout)
    limited, unlimited = out["latencies"]
    assert 0 < unlimited["final"]["der"] == unlimited["offline"]["der"] < 0.25
    assert limited["final"]["der"] < 0.3
    assert limited["age_s"]["worst"] <= 2 + 1e-9


def test_help_teaches():
    text = run("--help").stdout
    assert "diarize score --stream references/ recordings/ --latency 1,5,none" in text
