"""`diarize enrol`, and `--enrol` wherever it is, as a person types them; the real networks on the sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import typed

from diarize.audio import read_audio
from diarize.cli import app
from diarize.enrolment import KnownVoice
from diarize.formats.rttm import read_rttm
from diarize.voiceprints import Voiceprint

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample_wav, write_wav, weights):
    """The sample as call.wav, its two voices as people/Ben Ode.wav and people/Zoë/*.wav; quiet.wav."""
    weights("campplus-zh-en")
    path = tmp_path_factory.mktemp("people")
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)
    (path / "people" / "Zoë").mkdir(parents=True)
    write_wav(path / "call.wav", samples, RATE)
    write_wav(path / "people" / "Ben Ode.wav", samples[int(22 * RATE) : int(27.8 * RATE)], RATE)
    write_wav(path / "people" / "Zoë" / "1.wav", samples[int(10.95 * RATE) : 14 * RATE], RATE)
    write_wav(path / "people" / "Zoë" / "2.wav", samples[int(18.1 * RATE) : int(21.7 * RATE)], RATE)
    write_wav(path / "quiet.wav", np.zeros(2 * RATE, np.int16), RATE)
    return path


@pytest.fixture
def here(folder, tmp_path, monkeypatch, real_diarizer):
    """A folder with links to all that; the networks are loaded already."""
    monkeypatch.chdir(tmp_path)
    for verb in ("run", "stream", "words", "report", "enrol"):
        monkeypatch.setattr(f"diarize.cli.{verb}.load_diarizer", lambda *_, **__: real_diarizer)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def diarize(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that must leave with this status."""
    return typed(app, *arguments, status=status)


def test_people_become_files_and_the_files_give_names(here):
    out, said = diarize("enrol", "people", "-o", "voices")
    assert out.splitlines() == ["voices/Ben Ode.voice", "voices/Zoë.voice"]
    assert "Zoë: 6" in said
    assert "s of speech in 2 files" in said
    assert "Ben Ode: 5" in said
    zoe = Voiceprint.load("voices/Zoë.voice")
    assert (zoe.voice.name, zoe.weights.model) == ("Zoë", "campplus-zh-en")

    out, said = diarize("run", "call.wav", "-o", "turns", "-f", "json", "--enrol", "voices")
    found = json.loads(Path("turns/call.json").read_text("utf-8"))
    speakers = {one["name"]: one["match"] for one in found["speakers"]}
    assert set(speakers) == {"Zoë", "Ben Ode"}
    for name, match in speakers.items():
        assert match["name"] == name
        assert match["recognised"] is True
        line = (
            f"call.wav: {name} recognised, score {match['score']:.3f} >= threshold {match['threshold']:.3f}"
        )
        assert line in said.splitlines()
    assert "not heard" not in said

    with pytest.raises(AssertionError):
        diarize("enrol", "people", "-o", "voices")  # they are there already
    diarize("enrol", "people", "-o", "voices", "--overwrite")


def test_who_was_not_heard_and_who_is_nobody_known_is_said(here, real_diarizer):
    """Ben, and a voice that nobody has."""
    total = np.random.default_rng(0).normal(size=real_diarizer.embedder.embedding_size)
    nobody = KnownVoice("Sue", 9 * total / np.linalg.norm(total), 9.0, 8.0)
    real_diarizer.voiceprint(nobody).save("Sue.voice")
    _, said = diarize(
        "run", "call.wav", "-o", "-", "--enrol", "Ben=people/Ben Ode.wav", "--enrol", "Sue.voice"
    )
    lines = said.splitlines()
    assert sum("Ben recognised, score 0.9" in line for line in lines) == 1
    other = [line for line in lines if "is nobody known; the nearest is" in line]
    assert len(other) == 1
    assert other[0].startswith("call.wav: SPEAKER_00 is nobody known; the nearest is Ben, score 0.")
    assert "call.wav: not heard: Sue" in lines


def test_quiet_says_nothing_and_without_names_nothing_is_said(here):
    assert "nobody known" not in diarize("run", "call.wav")[1]
    assert diarize("--quiet", "run", "call.wav", "--enrol", "Ben=people/Ben Ode.wav")[1] == ""


def test_a_stream_takes_the_same_names(here):
    out, said = diarize("stream", "call.wav", "--enrol", "people", "--to", "rttm", "-o", "live.rttm")
    assert {line.split()[7] for line in out.splitlines()} >= {"Ben_Ode", "Zoë"}
    assert set(read_rttm("live.rttm")["call"].labels()) == {"Ben_Ode", "Zoë"}
    assert "call.wav: Zoë recognised, score 0." in said


def test_words_and_a_report_take_the_same_names(here):
    words = [{"word": " yes", "start": 15.0, "end": 15.5}, {"word": " no", "start": 19.0, "end": 19.5}]
    segment = {"start": 15.0, "end": 20.0, "text": " yes no", "words": words}
    Path("said.json").write_text(json.dumps({"segments": [segment]}))
    out, _ = diarize("words", "said.json", "call.wav", "--enrol", "people")
    assert "Ben Ode: yes" in out
    assert "Zoë: no" in out
    diarize("report", "call.wav", "--no-audio", "--enrol", "people")
    page = Path("call.html").read_text("utf-8")
    assert "Ben Ode" in page
    diarize("run", "call.wav", "-o", ".")
    for command in (
        ("words", "said.json", "call.rttm"),
        ("report", "call.wav", "--turns", "call.rttm", "--overwrite"),
    ):
        assert "--enrol is for" in diarize(*command, "--enrol", "people", status=1)[1]


def test_a_batch_takes_the_same_names_and_notices_others(here, monkeypatch, real_diarizer):
    monkeypatch.setattr("diarize.pipeline.Diarizer", lambda config: real_diarizer)  # here, not in the worker
    calls = here / "calls"
    calls.mkdir()
    (calls / "call.wav").symlink_to(here / "call.wav")
    batch = ("batch", "calls", "-o", "out", "--workers", "1")
    diarize(*batch, "--enrol", "people")
    assert set(read_rttm("out/call.rttm")["call"].labels()) == {"Ben_Ode", "Zoë"}
    assert "nothing was left to do" in diarize(*batch, "--enrol", "people")[1]
    said = diarize(*batch, "--enrol", "Zoë=people/Ben Ode.wav", status=1)[1]
    assert "voice of Zoë was" in said
    assert "voice of Ben Ode was" in said


def test_names_that_differ_little_have_files_of_their_own(here):
    out, _ = diarize(
        "enrol", "a/b=people/Ben Ode.wav", "A:B=people/Ben Ode.wav", "J. R.=people/Zoë", "-o", "v"
    )
    assert len(out.splitlines()) == 3
    names = sorted(Voiceprint.load(path).voice.name for path in Path("v").glob("*.voice"))
    assert names == ["A:B", "J. R.", "a/b"]
    assert "v/J. R.voice" in out or "v/J. R..voice" in out


def test_one_that_fails_does_not_stop_the_others(here):
    out, said = diarize("enrol", "Ben=people/Ben Ode.wav", "Sue=quiet.wav", "-o", "v", status=1)
    assert out.splitlines() == ["v/Ben.voice"]
    assert "1 of 2 failed:\nerror: Sue: no speech was found in the recording of this voice" in said
    assert [path.name for path in Path("v").iterdir()] == ["Ben.voice"]


def test_another_models_voiceprint_is_refused(here, weights):
    path = Path("ben.voice")
    diarize("enrol", "Ben=people/Ben Ode.wav", "-o", ".")
    fields = json.loads(Path("Ben.voice").read_text())
    path.write_text(json.dumps(fields | {"model": "campplus-zh-cn", "sha256": "33" * 32}))
    said = diarize("run", "call.wav", "--enrol", "ben.voice", status=1)[1]
    assert "ben.voice: must be a voiceprint of campplus-zh-en" in said
    assert "got one of campplus-zh-cn (sha256 333333333333...)" in said
    assert "--model campplus-zh-cn" in said


def test_what_cannot_be_meant_is_said_before_any_work(here, monkeypatch):
    for verb in ("run", "words", "report", "enrol"):
        monkeypatch.setattr(
            f"diarize.cli.{verb}.load_diarizer", lambda *_, **__: pytest.fail("work was done")
        )
    cases = {
        ("enrol", "ann.wav", "-o", "v"): "a voice must be NAME=FILE, got 'ann.wav'",
        ("enrol", "Ann=no.wav", "-o", "v"): "no.wav: no such file or folder",
        ("enrol", "Ann=people", "-o", "call.wav"): "call.wav is a file; name a folder for the output",
        ("run", "call.wav", "--enrol", "call.wav"): "--enrol must be NAME=FILE, got 'call.wav'",
        ("words", "no.json", "call.wav", "--enrol", "x"): "--enrol must be NAME=FILE",
        ("report", "call.wav", "--enrol", "x"): "--enrol must be NAME=FILE",
        ("batch", "call.wav", "-o", "out", "--dry-run", "--enrol", "x"): "--enrol must be NAME=FILE",
    }
    for command, message in cases.items():
        assert message in diarize(*command, status=1)[1], command


def test_help_teaches_it():
    out, _ = diarize("run", "--help")
    flat = " ".join(out.replace("│", " ").split())
    assert "--enrol" in flat
    assert "Alice=alice.wav" in flat
    assert "--shared-names" in flat
