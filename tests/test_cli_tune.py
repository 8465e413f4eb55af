"""`diarize tune` from labelled recordings to a configuration, with networks made for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from fakes import RATE, FakeEmbedder, SharpVad, silence, speech
from test_cli import diarize, process

from diarize import Config, Diarizer

START = "[vad]\nmin_silence_s = 0.2\npad_s = 0.0\n"
OPTION = ("--option", "vad.min_silence_s=.2,.7,3", "-c", "start.toml")


@pytest.fixture
def here(tmp_path, monkeypatch, write_wav):
    """A folder with nine labelled recordings, whose voices halt for .5 s within a turn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "diarize.cli.tune.load_diarizer",
        lambda config, **_: Diarizer(config, embedder=FakeEmbedder(0.1), vad=SharpVad()),
    )
    for folder in ("ref", "sound"):
        (tmp_path / folder).mkdir()
    (tmp_path / "start.toml").write_text(START)
    for number in range(9):
        rng = np.random.default_rng(number)
        pieces, lines, now = [], [], 0.0
        for turn in range(4):
            first, second = (round(float(rng.uniform(1.5, 3)), 3) for _ in range(2))
            voice = (0.0, 0.4)[turn // 2]
            pieces += [silence(2), speech(voice, first, rng), silence(0.5), speech(voice, second, rng)]
            lines.append(
                f"SPEAKER t{number} 1 {now + 2} {first + second + 0.5} <NA> <NA> {'AB'[turn // 2]} <NA> <NA>"
            )
            now += 2.5 + first + second
        write_wav(tmp_path / "sound" / f"t{number}.wav", 32767 * np.concatenate(pieces), RATE)
        (tmp_path / "ref" / f"t{number}.rttm").write_text("\n".join(lines))
    return tmp_path


def test_what_it_writes_is_a_configuration_and_better(here):
    said, notes = diarize("tune", "ref", "sound", "-o", "mine.toml", *OPTION)
    assert "9 recordings (0 with a UEM), 3.1 min of reference speech, 3 trials" in said
    rows = {tuple(line.split()[:2]): line.split() for line in said.splitlines()}
    assert rows["vad.min_silence_s", "0.7"][2] == "0.4"
    assert float(rows["vad.min_silence_s", "0.7"][-1]) > 5
    assert float(rows["vad.min_silence_s", "3"][-1]) < 0
    assert rows["as", "configured"][6] == "9/9"
    assert "DER, miss, fa, conf: offline, % of reference speech; collar 0, overlap scored" in said
    assert "vad.min_silence_s 0.2 -> 0.7: +9." in said
    assert "], taken" in said
    assert "Chosen: vad.min_silence_s = 0.7\n" in said
    assert "Cross-validated (for each recording the same search on all others): DER 0.4 %" in said
    assert notes == "written: mine.toml\n"

    config = Config.load("mine.toml")
    assert config == Config.from_dict({"vad": {"min_silence_s": 0.7, "pad_s": 0.0}})
    assert Diarizer("mine.toml", embedder=FakeEmbedder(), vad=SharpVad()).config == config
    head = [line for line in (here / "mine.toml").read_text().splitlines() if line.startswith("# ")]
    assert head[0].startswith('# Options by `diarize tune "ref" "sound"`: 9 recordings')
    assert any("collar 0, overlap scored" in line for line in head)
    assert any("DER 0.4 % instead of" in line for line in head)

    assert "mine.toml exists already" in diarize("tune", "ref", "sound", "-o", "mine.toml", status=1)[1]
    diarize("tune", "ref", "sound", "-o", "mine.toml", "--overwrite", "--option", "vad.pad_s=0", *OPTION[2:])
    assert Config.load("mine.toml").vad.min_silence_s == 0.2


def test_nothing_better_writes_what_there_was(here):
    said, _ = diarize(
        "tune", "ref", "sound", "-o", "mine.toml", "-c", "start.toml", "--option", "vad.min_silence_s=3,4"
    )
    assert "Nothing that was tried is surely better: the options stay as they were." in said
    assert "No other value is better by over 0.1 points: vad.min_silence_s" in said
    assert Config.load("mine.toml") == Config.load("start.toml")
    assert "# Nothing that was tried is surely better" in (here / "mine.toml").read_text()


def test_one_recording_has_no_interval(here):
    one = ("tune", "ref/t0.rttm", "sound/t0.wav", *OPTION)
    said, _ = diarize(*one)
    assert "1 recording (0 with a UEM)" in said
    assert "not taken: fewer than 7 recordings with speech cannot tell it from chance" in said
    assert "Not cross-validated: that takes 8 recordings with speech, or two and --greedy." in said
    said, _ = diarize(*one, "--greedy", "-o", "mine.toml")
    assert "taken (--greedy), though fewer than 7 recordings with speech cannot tell it from chance" in said
    assert Config.load("mine.toml").vad.min_silence_s == 0.7


def test_json(here):
    (here / "ref" / "t3.uem").write_text("t3 1 0 5\n")
    (here / "ref" / "t8.rttm").unlink()
    said, notes = diarize("tune", "ref", "sound", "--json", "--collar", "0.25", "--skip-overlap", *OPTION)
    out = json.loads(said)
    assert out["complete"] is True
    assert "collar 0.25 s a side, overlap not scored" in out["conventions"][0]
    assert [(trial["option"], trial["value"]) for trial in out["trials"]] == [
        (None, None), ("vad.min_silence_s", "0.7"), ("vad.min_silence_s", "3"),
    ]  # fmt: skip
    best = out["trials"][out["chosen"]["trial"]]
    assert best["changes"] == out["chosen"]["changes"] == {"vad.min_silence_s": "0.7"}
    assert best["overall"]["der"] == out["chosen"]["overall"]["der"]
    wrong, total = (
        sum(sum(r[name] for name in names) for r in best["recordings"])
        for names in (("miss_s", "false_alarm_s", "confusion_s"), ("total_s",))
    )
    assert best["overall"]["der"] == pytest.approx(wrong / total)
    assert {r["name"]: r["total_s"] for r in best["recordings"]}["t3"] < 3
    (step,) = out["steps"]
    assert (step["from"], step["to"], step["taken"]) == ("0.2", "0.7", True)
    assert 0 < step["gain"]["low"] < step["gain"]["der"] < step["gain"]["high"]
    assert out["chosen"]["cross_validated"]["der"] < out["trials"][0]["overall"]["der"]
    assert out["skipped"] == []
    assert out["notes"] == ["sound/t8.wav: no reference of that name in ref; not scored"]
    assert notes == f"note: {out['notes'][0]}\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--option", "vad.padd_s=1"], 1, "unknown option 'vad.padd_s' to tune; did you mean 'vad.pad_s'?"),
        (["--option", "live.birth_s=1"], 1, "live.birth_s is not for tuning: only final turns of streams"),
        (["--option", "verification.shift=0"], 1, "is not for tuning: `diarize calibrate` fits it"),
        (["--option", "vad.pad_s"], 1, "NAME=VALUE,VALUE,..."),
        (["--option", "vad.pad_s=1", "--option", "vad.pad_s=2"], 1, "vad.pad_s is to be tuned twice"),
        (["-o", "there/mine.toml"], 1, "there/mine.toml: there is no folder there; make it first"),
        (["-o", "ref", "--overwrite"], 1, "ref is a folder; name a file"),
        (["-o", "start.toml"], 1, "start.toml exists already; add --overwrite to replace"),
        (["--uem", "no.uem"], 1, "no.uem does not exist"),
        (["--collar", "-1"], 2, "--collar"),
        (["--wrong"], 2, "No such option"),
    ],
)
def test_what_cannot_be_is_refused(here, arguments, status, said):
    assert said in diarize("tune", "ref", "sound", *arguments, status=status)[1]
    assert (here / "start.toml").read_text() == START


def test_recordings_without_references_are_an_error(here):
    assert "nothing to score" in diarize("tune", "ref/t0.rttm", "ref", status=1)[1]
    assert "nowhere does not exist" in diarize("tune", "nowhere", "sound", status=1)[1]
    (here / "sound" / "t3.wav").write_bytes(b"not audio")
    assert "t3.wav" in diarize("tune", "ref", "sound", status=1)[1]


def test_values_that_cannot_be_are_named(here):
    said, notes = diarize("tune", "ref", "sound", "--option", "vad.onset=.1,.2", "-c", "start.toml")
    assert "note: not tried: vad.onset = 0.1: vad.offset must be <= vad.onset, got 0.15 > 0.1" in notes
    assert "2 trials" in said


@pytest.mark.parametrize("after", [0, 2])
def test_ctrl_c_reports_the_best_so_far_and_writes_nothing(here, monkeypatch, after):
    from diarize.memo import Again

    calls, original = [], Again.__call__

    def interrupted(self, *arguments):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(Again, "__call__", interrupted)
    (here / "mine.toml").write_text("mine")
    said, notes = diarize("tune", "ref", "sound", "-o", "mine.toml", "--overwrite", *OPTION, status=130)
    assert ("as configured" in said) == ("nothing was written" in notes) == (after > 0)
    assert ("\nvad.min_silence_s    0.7" in said) == (after > 0)
    assert (here / "mine.toml").read_text() == "mine"
    assert not list(here.glob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_on_the_real_networks(tmp_path, sample_wav, weights):
    weights("campplus-zh-en")
    out = tmp_path / "mine.toml"
    for folder in ("ref", "sound", "tmp"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        (tmp_path / "sound" / f"{number}.wav").symlink_to(sample_wav)
        (tmp_path / "ref" / f"{number}.rttm").symlink_to(sample_wav.with_suffix(".rttm"))
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    folders = (str(tmp_path / "ref"), str(tmp_path / "sound"))
    values = ",".join(str(k / 1000) for k in range(500))
    options = ("--option", f"vad.pad_s={values}", "-o", str(out), "--device", "cpu")
    with process("tune", *folders, *options, env=environment) as done:
        time.sleep(6)
        done.send_signal(signal.SIGINT)
        notes = done.stderr.read()
    assert done.returncode == 130
    assert "Traceback" not in notes
    assert notes.rstrip().endswith("interrupted")
    assert not out.exists()
    assert not list((tmp_path / "tmp").glob("diarize-*"))


def test_the_sample_conversation(tmp_path, sample_wav, weights):
    weights("campplus-zh-en")
    out = tmp_path / "mine.toml"
    reference = str(sample_wav.with_suffix(".rttm"))
    said, _ = diarize(
        "tune", reference, str(sample_wav), "-o", str(out), "--option", "vad.pad_s=0,.1,.2", "--device", "cpu"
    )
    assert said.count("\nvad.pad_s") >= 2
    assert Config.load(out) == Config.from_dict({"device": "cpu"})


def test_help_teaches_and_is_light():
    command = (
        "import sys; sys.argv = ['diarize', 'tune', '--help']\n"
        "from diarize.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    heavy = {'torch', 'numpy', 'av', 'sklearn'} & set(sys.modules)\n"
        "    print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert "HEAVY []" in text
    for said in (
        "diarize tune references/ recordings/ -o mine.toml",
        "--greedy",
        "TMPDIR",
        "vad.onset/vad.offset",
    ):
        assert said in text
