"""The README is true: its code runs, its output is what comes out, its commands exist."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout

import numpy as np
import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def recordings(tmp_path, monkeypatch, sample_wav, write_wav, weights):
    """A folder with the recordings that the README speaks of; two voices are cut from the sample."""
    from diarize.audio import read_audio

    weights("campplus-zh-en")
    monkeypatch.chdir(tmp_path)
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)
    write_wav(tmp_path / "meeting.wav", samples, 16000)
    write_wav(tmp_path / "call.wav", samples, 16000)
    write_wav(tmp_path / "a.wav", samples[int(10.8 * 16000) : int(14.4 * 16000)], 16000)
    write_wav(tmp_path / "b.wav", samples[int(18.7 * 16000) : int(21.4 * 16000)], 16000)
    (tmp_path / "reference.rttm").write_text(sample_wav.with_suffix(".rttm").read_text())
    return {"source": np.array_split(samples[::2], 50)}


def test_the_python_blocks_run_and_print_what_is_shown(recordings):
    shown, said = [], []
    for language, block in BLOCKS:
        if language == "python":
            with redirect_stdout(io.StringIO()) as output:
                exec(block, recordings)
            said.append(output.getvalue().strip())
        elif language == "text":
            shown.append((len(said) - 1, block.strip()))
    assert len(shown) == 2
    for index, block in shown:
        assert said[index] == block


def test_the_commands_run(recordings):
    from typer.testing import CliRunner

    from diarize.cli import app

    commands = [line for language, block in BLOCKS if language == "sh" for line in block.strip().splitlines()]
    assert len(commands) >= 9
    for command in commands:
        program, *arguments = shlex.split(command, comments=True)
        assert program == "diarize"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (command, result.output)


def test_its_links_and_length():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
    assert len(README.splitlines()) < 180
