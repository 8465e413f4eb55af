"""The README is true, and the page on streaming: code runs, output is what comes out, commands exist."""

from __future__ import annotations

import io
import json
import re
import shlex
from contextlib import redirect_stdout

import numpy as np
import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall(README)
NUMBER = re.compile(r"\d+\.\d+")
STREAMING = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")


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
    segment = {"start": 10.9, "end": 14.0, "text": " Hello there. How are you?"}
    (tmp_path / "transcript.json").write_text(json.dumps({"text": "", "segments": [segment]}))
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
        assert NUMBER.sub("#", said[index]) == NUMBER.sub("#", block)
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in (said[index], block)]
        # Processors differ in precision: it moves scores a little, and changes of speaker by some ms.
        assert numbers[0] == pytest.approx(numbers[1], abs=0.05 if ":" in block else 0.005)


def test_the_page_on_streaming_runs(recordings, write_wav, tmp_path):
    from diarize.audio import read_audio

    async def arriving(pieces):
        for piece in pieces:
            yield piece

    whole = read_audio("meeting.wav")
    write_wav(tmp_path / "b2.wav", (read_audio("b.wav") * 32767).astype(np.int16), 16000)
    write_wav(tmp_path / "meeting.wav", (whole[: 4 * 16000] * 32767).astype(np.int16), 16000)  # it is played
    names = recordings | {"samples": whole[: 16000 * 9], "calls": None}
    names["calls"] = [arriving(np.array_split(whole, 20)) for _ in range(2)]
    said = {}
    for language, block in BLOCK.findall(STREAMING):
        if language == "python":
            with redirect_stdout(io.StringIO()) as output:
                exec(block, names)
            said[block] = output.getvalue()
    assert len(said) == 6
    assert next(iter(said.values())).startswith("0:00:06.684")
    assert names["meetings"][0] == names["meetings"][1]
    assert len(names["meetings"][0].speakers) == 2
    assert str(names["live"].duration) == "4.0"


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


def test_their_links_and_length():
    for text, folder in ((README, ROOT), (STREAMING, ROOT / "docs")):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if not target.startswith("http"):
                assert (folder / target).exists(), target
    assert len(README.splitlines()) < 180
