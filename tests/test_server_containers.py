"""WebM and Ogg as a browser sends them: Opus in pieces, decoded while it arrives."""

from __future__ import annotations

import asyncio
import io
import json

import av
import numpy as np
import pytest
from fakes import RATE, conversation
from server_running import QUICK, Running, Talk, fake_diarizer, run, serving

from diarize.audio import read_audio

SOUND = conversation(3, turns=8)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), max_streams=30, **QUICK) as running:
        yield running


class Written:
    """What a muxer writes, which it cannot take back: a recorder's data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def encoded(samples: np.ndarray, form: str, codec: str = "libopus", rate: int = 48000) -> bytes:
    """Samples (n,) at 16 kHz as `MediaRecorder` would send them."""
    options = {"live": "1", "cluster_time_limit": "200"} if form == "webm" else {}
    file = Written()
    with av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(stream.format.name, "mono", rate)
        for first in range(0, len(samples), 1600):
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1600], "fltp", "mono")
            frame.sample_rate, frame.pts = RATE, first
            for one in resampler.resample(frame):
                container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    return bytes(file.data)


def expected(data: bytes) -> dict:
    """What the file gives."""
    return json.loads(fake_diarizer()(io.BytesIO(data), uri="live").to("json"))


async def sent(talk: Talk, data: bytes, size: int, pause_s: float = 0.0) -> None:
    for first in range(0, len(data), size):
        await talk.socket.send(data[first : first + size])
        await asyncio.sleep(pause_s)


@pytest.mark.parametrize("form", ["webm", "ogg"])
@pytest.mark.parametrize("size", [700, 1 << 18])
def test_a_container_gives_what_its_file_gives(running, form, size):
    data = encoded(SOUND, form)

    async def whole() -> Talk:
        talk = await Talk(running.stream, {"format": form, "sample_rate": 44100}).connect()
        await sent(talk, data, size)
        await talk.end()
        return talk

    talk = run(whole())
    assert talk.messages[0]["sample_rate"] == 48000
    assert talk.done["result"] == expected(data)
    assert len(talk.done["result"]["turns"]) > 1
    assert talk.turns


def test_with_the_real_networks(tmp_path, real_diarizer, sample_wav):
    """Opus takes away what the fakes tell voices by."""
    data = encoded(read_audio(sample_wav), "webm")
    with serving(tmp_path, real_diarizer, **QUICK) as running:

        async def whole() -> Talk:
            talk = await Talk(running.stream, {"format": "webm"}).connect()
            await sent(talk, data, 4096)
            await talk.end()
            return talk

        found = run(whole()).done["result"]
    assert found == json.loads(real_diarizer(io.BytesIO(data), uri="live").to("json"))
    assert len(found["speakers"]) == 2


@pytest.mark.parametrize("form", ["webm", "ogg"])
def test_its_sound_is_heard_while_it_arrives(running, form):
    """Decoders look ahead: what is decoded may be two seconds behind what was sent, not more."""
    data = encoded(SOUND, form)
    seconds = len(SOUND) / RATE

    async def slowly() -> list[tuple[float, float]]:
        talk = await (await Talk(running.stream, {"format": form}).connect()).began()
        session, seen = running.server.hub.sessions[talk.stream], []
        for first in range(0, len(data), 2000):
            await talk.socket.send(data[first : first + 2000])
            await asyncio.sleep(0.02)
            seen.append((first / len(data) * seconds, session.received_s))
        return seen

    seen = run(slowly())
    behind = [sent_s - heard_s for sent_s, heard_s in seen]
    assert max(behind) < 2.0


def test_a_resumed_stream_begins_a_new_container(running):
    half = 10 * RATE
    first, second = encoded(SOUND[:half], "webm"), encoded(SOUND[half:], "webm")

    async def twice() -> Talk:
        talk = await (await Talk(running.stream, {"format": "webm"}).connect()).began()
        await sent(talk, first, 3000)
        session = running.server.hub.sessions[talk.stream]
        talk.drop()
        await talk.listening
        await (await talk.connect()).began()
        assert talk.received_s == session.received_s >= 9.9, "what had arrived is decoded to its end"
        await talk.tell({"type": "at", "seconds": 15.0})
        await sent(talk, second, 3000)
        await talk.end()
        return talk

    found = run(twice()).done["result"]
    assert found["duration"] == pytest.approx(15.0 + len(SOUND) / RATE - 10, abs=0.1)
    assert not [turn for turn in found["turns"] if turn["start"] < 14.5 and turn["end"] > 15.0]


def refused(running: Running, pieces: list[bytes | str], form: str = "webm") -> Talk:
    async def junk() -> Talk:
        talk = await Talk(running.stream, {"format": form}).connect()
        await talk.began()
        for piece in pieces:
            await talk.socket.send(piece)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            await talk.listening
        return talk

    return run(junk())


FINISH = json.dumps({"type": "finish"})


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([b"RIFF\0\0\0\0WAVEfmt "], "webm must begin with the bytes 1a 45 df a3, got 52 49 46 46"),
        ([b"#EXTM3U\nhttp://127.0.0.1/\n"], "webm must begin with the bytes"),
        ([b"\x1a", b"\x45\xdf", b"\xa4"], "webm must begin with the bytes"),
        ([b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 20, FINISH], "not audio that can be decoded"),
        ([b"\x1a\x45\xdf\xa3", FINISH], ""),
    ],
)
def test_what_is_no_container_is_refused(running, pieces, said):
    talk = refused(running, pieces)
    assert talk.error["code"] == "unsupported"
    assert said in talk.error["message"]
    assert talk.code == 1003


def test_another_codec_is_refused(running):
    data = encoded(SOUND[: 5 * RATE], "ogg", "flac", 16000)
    talk = refused(running, [data, FINISH], "ogg")
    assert talk.error["code"] == "unsupported"
    assert "must hold Opus, which has 48000 Hz, got sound at 16000 Hz" in talk.error["message"]


def test_damage_in_the_middle_is_survived(running):
    data = bytearray(encoded(SOUND, "webm"))
    rng = np.random.default_rng(0)
    for place in rng.integers(5000, len(data) - 1000, 20):
        data[place : place + 3] = rng.bytes(3)

    async def whole() -> Talk:
        talk = await Talk(running.stream, {"format": "webm"}).connect()
        await sent(talk, bytes(data), 1000)
        await talk.end()
        return talk

    talk = run(whole())
    assert talk.done is not None or talk.error["code"] == "unsupported"


def test_at_in_the_middle_of_a_container_is_refused(running):
    data = encoded(SOUND[: 5 * RATE], "webm")
    talk = refused(running, [data[:4000], json.dumps({"type": "at", "seconds": 60.0})])
    assert talk.error["code"] == "bad_request"
    assert "before the first bytes of a container" in talk.error["message"]
