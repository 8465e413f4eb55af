"""Files that do not decode, or not to their end: one clear error each."""

from __future__ import annotations

import io
import logging
import os
import re

import numpy as np
import pytest
from sound_files import clicks, decoded, encode, refused, write_wav

from diarize.audio import open_audio, read_audio
from diarize.errors import AudioError


def hiss(rate: int, seconds: float) -> np.ndarray:
    """(n,) int16"""
    return np.random.default_rng(3).normal(0, 500, round(rate * seconds)).astype(np.int16)


def test_what_cannot_be_opened(tmp_path):
    assert refused(tmp_path / "no.wav") == f"{tmp_path / 'no.wav'}: no such file"
    assert refused(tmp_path) == f"{tmp_path}: is a directory; name a file"
    assert refused("a\0b.wav").startswith("a\\x00b.wav: cannot be opened: ")
    assert refused("two\nlines.wav") == "two\\nlines.wav: no such file"
    assert refused("") == "'': no such file"
    with pytest.raises(AudioError, match="a recording must be a path or a binary file object, got int"):
        open_audio(3)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(10, np.int16))
    path.chmod(0)
    assert refused(path) == f"{path}: no permission to read it"


def test_permission_is_named(tmp_path, monkeypatch):
    def deny(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", deny)
    assert refused("a.wav") == "a.wav: no permission to read it"


@pytest.mark.parametrize("name", ["empty.wav", "empty.mp3", "empty"])
def test_empty(tmp_path, name):
    path = tmp_path / name
    path.touch()
    assert refused(path) == f"{path}: empty file (0 bytes)"
    assert refused(io.BytesIO()) == "audio stream: empty file (0 bytes)"


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n" * 1000,
        b"\0" * 5000,
        bytes(np.random.default_rng(0).integers(0, 256, 20000, np.uint8)),
        b"PK\3\4" + bytes(1000),
        b"{}",
        b"1\n00:00:01,000 --> 00:00:02,000\nsubtitle\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.txt", "a.mp3"])
def test_not_audio(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(path).startswith(f"{path}: not a")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nother.wav\n#EXT-X-ENDLIST\n"),
        ("list.m3u", "#EXTM3U\nother.wav\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile other.wav\n"),
        ("list.pls", "[playlist]\nFile1=other.wav\nNumberOfEntries=1\n"),
        (
            "list.mpd",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
            '<AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="1">'
            "<BaseURL>other.wav</BaseURL></Representation></AdaptationSet></Period></MPD>",
        ),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"),
        ("list.wpl", '<?wpl version="1.0"?><smil><body><seq><media src="other.wav"/></seq></body></smil>'),
    ],
)
def test_playlists_are_not_followed(tmp_path, monkeypatch, name, text):
    write_wav(tmp_path / "other.wav", np.zeros(48000, np.int16))
    (tmp_path / name).write_text(text)
    (tmp_path / "list.wav").write_text(text)
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(
        "builtins.open", lambda path, mode, _open=open: opened.append(path) or _open(path, mode)
    )
    for path in (name, "list.wav", str(tmp_path / name)):
        assert refused(path).startswith(f"{path}: ")
    assert "other.wav" not in opened


def test_no_audio_stream(tmp_path):
    import av

    path = tmp_path / "silent film.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        out.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        out.mux(stream.encode(None))
    assert refused(path) == f"{path}: no audio stream (it holds: video mpeg4)"


@pytest.mark.parametrize(
    ("format", "codec", "container"),
    [
        ("wav", "pcm_s16le", {}),
        ("wav", "pcm_mulaw", {}),
        ("wav", "pcm_s24le", {}),
        ("flac", "flac", {}),
        ("aiff", "pcm_s16be", {}),
        ("tta", "tta", {}),
        ("mp4", "aac", {"movflags": "faststart"}),
        ("matroska", "aac", {}),
    ],
)
def test_truncated(tmp_path, format, codec, container):
    path = tmp_path / "cut.bin"
    encode(str(path), hiss(16000, 6), 16000, format, codec, container=container)
    assert len(decoded(path)) == pytest.approx(96000, abs=2100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    message = refused(path)
    assert re.match(
        re.escape(f"{path}: truncated: the header promises 6.") + r"\d s, [23]\.\d s could ", message
    )
    assert "could be decoded; copy or record it again" in message


def test_truncated_to_the_header(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(160000, np.int16))
    path.write_bytes(path.read_bytes()[:44])
    assert "truncated: the header promises 10.0 s, 0.0 s" in refused(path)


def test_an_mp4_without_its_index(tmp_path):
    path = tmp_path / "cut.m4a"
    encode(str(path), hiss(16000, 3), 16000, "ipod", "aac")
    path.write_bytes(path.read_bytes()[:3000])
    assert "an MP4 file whose index (moov) is missing" in refused(path)


def test_an_mp3_is_not_held_to_its_estimate(tmp_path, caplog):
    path = tmp_path / "a.mp3"
    encode(str(path), clicks(16000, 10), 16000, "mp3", "libmp3lame")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING, "diarize"):
        assert 3 < len(decoded(path)) / 16000 < 7
    assert "a.mp3: declares 10" in caplog.text


@pytest.mark.parametrize(
    ("format", "codec", "noticed"),
    [("flac", "flac", False), ("ogg", "flac", False), ("matroska", "aac", True)],
)
def test_damage_in_the_middle_is_skipped(tmp_path, caplog, format, codec, noticed):
    path = tmp_path / "damaged"
    encode(str(path), hiss(16000, 6), 16000, format, codec)
    whole = decoded(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "diarize"):
        found = decoded(path)
    assert not noticed or "damaged: damaged packet skipped near " in caplog.text
    assert len(found) == len(whole)  # what follows keeps its place
    assert np.array_equal(found[:24000], whole[:24000])
    assert np.array_equal(found[-8000:], whole[-8000:])
    assert not np.array_equal(found, whole)


def test_nan_in_a_file(tmp_path):
    path = tmp_path / "a.wav"
    for value, message in [
        (float("nan"), "audio must be finite, got nan at 1.500 s"),
        (
            20000.0,
            "float audio must lie in [-1, 1], got 20000 (int16 values as floats? divide by 32768 then)",
        ),
    ]:
        samples = np.zeros(48000, np.float32)
        samples[24000] = value
        encode(str(path), samples, 16000, "wav", "pcm_f32le", audio_format="flt")
        assert refused(path).startswith(f"{path}: {message}")


def test_a_failing_disk(tmp_path):
    data = write_wav(tmp_path / "a.wav", np.zeros(160000, np.int16)).read_bytes()

    class Failing(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    assert refused(Failing(data)) == "audio stream: reading failed: Input/output error"


def test_wrong_file_objects():
    assert "must return bytes" in refused(io.StringIO("hello"))
    closed = io.BytesIO(b"x")
    closed.close()
    assert refused(closed).startswith("audio stream: reading failed: ")
    with pytest.raises(AudioError, match=r"a\.wav: sample_rate= is for arrays"):
        read_audio("a.wav", sample_rate=16000)


@pytest.mark.parametrize(
    ("rate", "channels", "message"), [(500, 1, "its rate is 500 Hz"), (16000, 100, "declares 100 channels")]
)
def test_absurd_headers(tmp_path, rate, channels, message):
    path = write_wav(tmp_path / "a.wav", np.zeros((100, channels), np.int16), rate)
    assert message in refused(path)


def test_the_rate_may_not_change(tmp_path):
    parts = []
    for rate in (16000, 24000):
        path = tmp_path / "a.aac"
        encode(str(path), clicks(rate), rate, "adts", "aac")
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))
    assert "the sample rate changes from 16000 to 24000 Hz at 3." in refused(path)


def test_nothing_is_printed(tmp_path, capfd):
    path = tmp_path / "a.mp3"
    encode(str(path), clicks(16000), 16000, "mp3", "libmp3lame")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    path.write_bytes(data)
    logging.getLogger("diarize").addHandler(handler := logging.NullHandler())
    try:
        decoded(path)
        path.write_bytes(b"not audio")
        refused(path)
    finally:
        logging.getLogger("diarize").removeHandler(handler)
    assert capfd.readouterr() == ("", "")
