"""Times are those of the picture: a video whose sound begins late gives turns on the container's clock.

Everything that says when somebody speaks must agree: the file, the stream, subtitles, words, the page. The
sound of each container is lossless, so what is found must be, bit for bit, what the same sound with that
much silence before it gives.
"""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from diarize.audio import SAMPLE_RATE, read_audio
from diarize.cli import app

LATE_S = 1.5
LENGTH_S = 24.0  # of the sound; both speakers are in it
CONTAINERS = ("late.mp4", "late.mkv", "late.mov")
FORMATS = {".mp4": ("mp4", "alac"), ".mkv": ("matroska", "flac"), ".mov": ("mov", "pcm_s16le")}


def film(path: Path, samples: np.ndarray, late_s: float) -> Path:
    """A film, 25 pictures a second from 0 on, and int16 samples (n,) at 16 kHz that begin at `late_s`."""
    import av

    container, codec = FORMATS[path.suffix]
    with av.open(str(path), "w", format=container) as out:
        picture = out.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        sound = out.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        for index in range(round((late_s + len(samples) / SAMPLE_RATE) * 25)):
            frame = av.VideoFrame(32, 32, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        sample_format = "s16p" if codec == "alac" else "s16"
        size = 4096 if codec == "alac" else 4000
        for first in range(0, len(samples), size):
            part = samples[None, first : first + size]
            frame = av.AudioFrame.from_ndarray(part, format=sample_format, layout="mono")
            frame.rate = SAMPLE_RATE
            frame.pts, frame.time_base = first + round(late_s * SAMPLE_RATE), Fraction(1, SAMPLE_RATE)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    with av.open(str(path)) as made:  # the sound does begin late, and the container does not
        first = next(made.demux(made.streams.audio[0]))
        assert float(first.pts * first.time_base) == LATE_S
        assert made.start_time == 0
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory, sample_wav, write_wav):
    """A folder with the sample conversation as films whose sound is late, and as a WAV that says the same."""
    folder = tmp_path_factory.mktemp("films")
    first = round(5 * SAMPLE_RATE)
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)[first : first + round(LENGTH_S * SAMPLE_RATE)]
    for name in CONTAINERS:
        film(folder / name, samples, LATE_S)
    late = np.concatenate([np.zeros(round(LATE_S * SAMPLE_RATE), np.int16), samples])
    write_wav(folder / "picture.wav", late, SAMPLE_RATE)
    write_wav(folder / "sound.wav", samples, SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def on_the_picture(films, real_diarizer):
    """What the container's clock says."""
    found = real_diarizer(films / "picture.wav")
    early = real_diarizer(films / "sound.wav")
    assert len(found.speakers) == 2
    assert found.turns[0].start - early.turns[0].start == pytest.approx(LATE_S, abs=0.05)
    return found


def diarize(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["-q", *map(str, arguments)])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.stdout


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_samples(films, name):
    assert np.array_equal(read_audio(films / name), read_audio(films / "picture.wav"))


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_turns(films, real_diarizer, on_the_picture, name):
    found = real_diarizer(films / name)
    assert found == on_the_picture
    assert found.duration == LATE_S + LENGTH_S


def test_run_writes_subtitles_of_the_picture(films, on_the_picture):
    found = diarize("run", films / "late.mkv", "-o", "-", "-f", "srt")
    assert found == on_the_picture.to("srt")
    starts = re.findall(r"^00:00:(\d\d),(\d\d\d) -->", found, re.MULTILINE)
    assert int("".join(starts[0])) / 1000 == pytest.approx(on_the_picture.turns[0].start, abs=0.001)


def test_a_stream_of_the_file_and_of_a_pipe(films, real_diarizer, on_the_picture, tmp_path):
    with real_diarizer.stream(latency_s=2.0) as live:
        live.push(read_audio(films / "picture.wav"))
        live.finish()
    printed = [
        json.loads(line)
        for line in diarize("stream", films / "late.mp4", "-o", tmp_path / "a.rttm").splitlines()
    ]
    turns = [line for line in printed if "speaker" in line]
    assert turns[0]["start"] == pytest.approx(live.finals[0].start, abs=0.001)
    assert max(turn["end"] for turn in turns) == pytest.approx(live.finals[-1].end, abs=0.001)
    starts = [float(line.split()[3]) for line in (tmp_path / "a.rttm").read_text("utf-8").splitlines()]
    assert starts == [pytest.approx(turn.start, abs=0.001) for turn in on_the_picture.turns]
    with (films / "late.mkv").open("rb") as pipe:  # read as it arrives: no seeking back
        piped = subprocess.run(
            [sys.executable, "-m", "diarize", "-q", "stream", "-", "--to", "rttm"],
            stdin=pipe, capture_output=True, check=True, text=True,
        )  # fmt: skip
    assert float(piped.stdout.split()[3]) == pytest.approx(live.finals[0].start, abs=0.001)


def test_words_go_to_who_says_them_in_the_picture(films, on_the_picture, tmp_path):
    """Words where a turn begins and ends get its speaker; by a clock that is 1.5 s off they get another."""
    long = [turn for turn in on_the_picture.exclusive if turn.duration > LATE_S]
    assert len({turn.speaker for turn in long}) == 2
    edges = [(time, turn.speaker) for turn in long for time in (turn.start + 0.1, turn.end - 0.3)]
    said = [{"start": time, "end": time + 0.2, "word": f" w{i}"} for i, (time, _) in enumerate(edges)]
    whole = {"start": said[0]["start"], "end": said[-1]["end"], "text": "w", "words": said}
    transcript = tmp_path / "late.json"
    transcript.write_text(json.dumps({"text": "w", "segments": [whole], "language": "en"}))
    found = json.loads(diarize("words", transcript, films / "late.mkv", "-f", "json"))
    assert [word["speaker"] for word in found["words"]] == [speaker for _, speaker in edges]


def test_the_page_plays_at_the_times_it_shows(films, on_the_picture, tmp_path):
    page = tmp_path / "late.html"
    diarize("report", films / "late.mkv", "-o", page)
    known, mp3 = (
        re.search(rf'id="{part}">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1]
        for part in ("data", "sound")
    )
    known = json.loads(known)
    assert known["heard"] == LATE_S + LENGTH_S
    assert known["turns"][0][0] == pytest.approx(on_the_picture.turns[0].start, abs=0.001)
    sound = read_audio(io.BytesIO(base64.b64decode(mp3)))
    assert len(sound) / SAMPLE_RATE == pytest.approx(LATE_S + LENGTH_S, abs=0.05)
    quiet, loud = sound[: round((LATE_S - 0.1) * SAMPLE_RATE)], sound[round(LATE_S * SAMPLE_RATE) :]
    assert np.abs(quiet).max() < 0.01 * np.abs(loud).max()
