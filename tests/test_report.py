"""The report page: what is in the file."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from report_page import CLICKS, EVIL, RATE, SECONDS, TURNS

from diarize.errors import AudioError, FormatError
from diarize.report import MP3_BYTES_A_SECOND, format_page, hear, write_report
from diarize.report import page as page_module
from diarize.result import Diarization, Turn

pytest_plugins = "report_page_fixtures"


def decoded(mp3: bytes) -> tuple[np.ndarray, int]:
    import av

    with av.open(io.BytesIO(mp3)) as file:
        frames = list(file.decode(audio=0))
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].sample_rate


def loudest(samples: np.ndarray, rate: int, second: float, within: float = 0.2) -> float:
    """The second of the loudest sample near this one."""
    first = max(0, round((second - within) * rate))
    return (first + int(np.argmax(np.abs(samples[first : round((second + within) * rate)])))) / rate


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_click_lies_at_the_same_second_in_the_embedded_sound(tmp_path, write_wav, rate):
    samples = np.zeros((round(SECONDS * rate), 2))
    for second in CLICKS:
        samples[round(second * rate)] = 30000
    heard = hear(write_wav(tmp_path / "clicks.wav", samples, rate))
    sound, found_rate = decoded(heard.mp3)
    assert heard.duration == pytest.approx(SECONDS, abs=0.001)
    assert len(sound) / found_rate == pytest.approx(SECONDS, abs=0.001)
    for second in CLICKS:
        assert loudest(sound, found_rate, second) == pytest.approx(second, abs=0.002)


def test_the_size_of_the_sound_is_what_is_promised(recording):
    heard = hear(recording)
    assert len(heard.mp3) == pytest.approx(SECONDS * MP3_BYTES_A_SECOND, abs=1200)
    assert b"LAME" in heard.mp3[:200]  # without this name Firefox leaves the delay in, 36 ms of it
    assert 4 / 3 * 3600 * MP3_BYTES_A_SECOND == 19.2e6  # what the documentation says of an hour


def test_the_outline_has_the_clicks_where_they_are(recording):
    heard = hear(recording, sound=False)
    assert heard.mp3 == b""
    assert len(heard.peaks) == round(SECONDS / heard.peak_s)
    assert {int(second * RATE) // 160 for second in CLICKS} <= set(np.flatnonzero(heard.peaks == 255))
    assert np.median(heard.peaks) < 80


def test_long_recordings_have_wider_points(recording, monkeypatch):
    whole = hear(recording, sound=False)
    monkeypatch.setattr("diarize.report.sound.MOST_PEAKS", 700)
    heard = hear(recording, sound=False)
    assert heard.peak_s == pytest.approx(3 * whole.peak_s)
    assert len(heard.peaks) == -(-len(whole.peaks) // 3)


def test_silence_and_nothing(tmp_path, write_wav):
    silence = hear(write_wav(tmp_path / "silence.wav", np.zeros(800), RATE))
    assert not silence.peaks.any()
    assert silence.mp3
    page = format_page(Diarization((), 0.05, "silence"), silence)
    assert embedded(page)["turns"] == []
    with pytest.raises(AudioError, match=r"nope\.wav"):
        hear(tmp_path / "nope.wav")
    with pytest.raises(FormatError, match="0 <= start <= end"):
        format_page(Diarization((Turn(2.0, 1.0, "A"),), 5.0, "x"))


def embedded(page: str) -> dict:
    """The data of a page."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))


def test_the_same_input_gives_the_same_file_and_none_half_written(tmp_path, recording):
    found = Diarization(TURNS, SECONDS, "talk")
    one = write_report(tmp_path / "one.html", found, recording)
    assert write_report(str(tmp_path / "two.html"), found, recording).read_bytes() == one.read_bytes()
    with pytest.raises(OSError, match="gone"):
        write_report(tmp_path / "gone" / "x.html", found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"]
    assert len(write_report(tmp_path / "bare.html", found).read_bytes()) < 170_000


def test_what_users_wrote_never_ends_an_element(report):
    page = report((Turn(1, 2, EVIL),), audio=False, uri=EVIL, title=EVIL).read_text("utf-8")
    assert EVIL not in page
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script") == 4
    assert embedded(page)["turns"][0][2] == embedded(page)["title"] == EVIL


def test_the_policy_forbids_the_network_and_knows_the_scripts(report):
    page = report(audio=False).read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"https?:|unsafe|\*", policy)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert re.findall(r"'sha256-([^']*)'", policy)[:2] == sums
    links = {link for link in re.findall(r"(?:src|href)=[\"']([^\"']*)", page) if not link.startswith("#")}
    assert links - {""} == {"data:,"}


def test_library_code_is_what_its_readme_says():
    folder = Path(page_module.__file__).parent / "assets"
    listed = dict(
        re.findall(r"\| `([^`]*)` \| `[^`]*` \| `([0-9a-f]{64})` \|", (folder / "README.md").read_text())
    )
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert listed == {name: digest for name, digest in there.items() if name != "README.md"}


def test_the_package_carries_what_the_page_is_made_of(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel")
    import zipfile

    root = Path(page_module.__file__).parents[2]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("not in a clone")
    (wheel,) = builder.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "diarize/report/" in name}
    needed = {"page.html", "page.css", "LICENSE.wavesurfer.txt", *page_module.SCRIPTS, *page_module.LIBRARY}
    assert needed <= names
