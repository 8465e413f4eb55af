"""`diarize batch` as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from diarize.cli import app
from diarize.errors import DiarizeError

FAKE = """
import sys
sys.path.insert(0, {tests!r})
import diarize.batch
from batch_fakes import Fake
from diarize.cli import app, main
from diarize.cli.batch import batch

def with_fakes(*arguments, **options):
    return whole(*arguments, **options, make=Fake({log!r}))

if __name__ == "__main__":
    if "batch" not in [command.name for command in app.registered_commands]:
        app.command("batch")(batch)
    whole, diarize.batch.run_batch = diarize.batch.run_batch, with_fakes
    import diarize.cli.batch
    diarize.cli.batch.fetch_weights = lambda config: None
    main()
"""


def registered():
    from diarize.cli.batch import batch

    if "batch" not in [command.name for command in app.registered_commands]:
        app.command("batch")(batch)
    return app


def diarize(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Standard output and error of a command that must leave with this status; with the real networks."""
    result = CliRunner().invoke(registered(), list(map(str, arguments)))
    said = result.stderr
    if isinstance(result.exception, DiarizeError):
        code, said = 1, said + f"error: {result.exception}"
    else:
        code = result.exit_code
    assert code == status, (arguments, result.output, result.exception)
    return result.stdout, said


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with recordings of text, and `fake`, the command with a diarizer that obeys them."""
    monkeypatch.chdir(tmp_path)
    tests = os.path.dirname(os.path.abspath(__file__))
    (tmp_path / "fake.py").write_text(FAKE.format(tests=tests, log=str(tmp_path / "log")))
    (tmp_path / "audio").mkdir()
    for name, text in {"a": "good", "b": "good", "bad": "refuse bad.wav: is no audio"}.items():
        (tmp_path / "audio" / f"{name}.wav").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(tests))
    return tmp_path


def fake(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "fake.py", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_batch_and_what_it_says(here):
    done = fake("batch", "audio", "-o", "out", "--workers", "2")
    said, notes = done.communicate(timeout=120)
    assert (done.returncode, said) == (1, "")
    assert notes.splitlines()[:2] == ["1 of 3 failed:", "error: bad: bad.wav: is no audio"]
    assert "out: 2 of 3 done, 0.01 h of audio; this run 2 done and 1 failed in " in notes.splitlines()[2]
    assert sorted(path.suffix for path in (here / "out").iterdir()) == [
        ".json", ".lock", ".rttm", ".rttm", ".sqlite",
    ]  # fmt: skip
    summary = json.loads((here / "out" / "summary.json").read_text())
    assert [failure["uri"] for failure in summary["failures"]] == ["bad"]
    (here / "audio" / "bad.wav").write_text("good")
    done = fake("-q", "batch", "audio", "-o", "out", "--retry-failed")
    assert done.communicate(timeout=120) == ("", "")
    assert done.returncode == 0
    notes = fake("batch", "audio", "-o", "out").communicate(timeout=120)[1]
    assert notes == "out: 3 of 3 done, 0.01 h of audio; nothing was left to do\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_is_130_and_the_next_run_goes_on(here):
    for k in range(6):
        (here / "audio" / f"slow{k}.wav").write_text("sleep .4")
    process = fake("batch", "audio", "-o", "out", "--workers", "2", "--format", "json")
    end = time.monotonic() + 90
    while not list((here / "out").glob("*.json")):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, notes = process.communicate(timeout=120)
    assert process.returncode == 130
    assert notes.rstrip().endswith("interrupted")
    assert "Traceback" not in notes
    assert not [path for path in (here / "out").iterdir() if path.suffix == ".tmp"]
    waiting = json.loads((here / "out" / "summary.json").read_text())["waiting"]
    assert waiting >= 1
    notes = fake("batch", "audio", "-o", "out", "--format", "json").communicate(timeout=120)[1]
    assert f"out: 8 of 9 done, 0.02 h of audio; this run {waiting - ('bad' not in notes)} done" in notes


def test_a_dry_run_lists_what_there_is_to_do(here):
    said, notes = diarize("batch", "audio", "-o", "out", "--dry-run")
    assert (said, notes) == ("a\nb\nbad\n", "3 to do, 0 done, 0 failed\n")
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["audio"], 2, "--output"),
        (["nope", "-o", "out"], 1, "nope: no such file or folder"),
        (["audio", "-o", "out", "--format", "rttn"], 1, "did you mean 'rttm'"),
        (["audio", "-o", "out", "--workers", "0"], 2, "--workers"),
        (["audio", "-o", "out", "-n", "2", "--max-speakers", "3"], 1, "num_speakers says it all"),
        (["audio", "-o", "out", "--runner", "slurm"], 1, "runner must be"),
        (["audio", "-o", "out", "-c", "nope"], 1, "no configuration 'nope'"),
        (["audio", "-o", "log.txt"], 1, "cannot be the folder for the output"),
    ],
)
def test_wrong_options_say_what_is_right(here, weights, arguments, status, reason):
    weights("campplus-zh-en")
    (here / "log.txt").touch()
    assert reason in diarize("batch", *arguments, status=status)[1]


def test_real_networks_over_a_list(here, sample_wav, weights):
    weights("campplus-zh-en")
    (here / "list.csv").write_text(
        f"audio,uri,num_speakers\n{sample_wav},calls/three,3\n{sample_wav},two,2\n"
    )
    diarize("batch", "list.csv", "-o", "out", "--format", "json", "--device", "cpu", "--workers", "1")
    found = {name: json.loads((here / "out" / f"{name}.json").read_text()) for name in ("calls/three", "two")}
    assert [len({turn["speaker"] for turn in one["turns"]}) for one in found.values()] == [3, 2]
    assert found["calls/three"]["uri"] == "calls/three"


def test_help_is_light():
    code = (
        "import sys; from typer.testing import CliRunner\nfrom diarize.cli import app\n"
        "from diarize.cli.batch import batch\nimport diarize.batch\n"
        "print(sorted({'torch', 'numpy', 'av', 'sklearn', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert "goes on where it was" in " ".join(diarize("batch", "--help")[0].split())
