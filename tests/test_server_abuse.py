"""What clients may not do: each is refused or bounded, with a reason where one can be told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
import time
from functools import cache

import httpx
import numpy as np
import pytest
import websockets
from fakes import RATE, conversation
from server_running import QUICK, SOCKETS, Running, Talk, fake_diarizer, pcm, run, serving, until
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from diarize.server.session import Session

SOUND = pcm(conversation(3, turns=8))
LIMITS = {"header_s": 0.4, "stalled_s": 0.4, "unread_s": 0.6, "start_s": 0.4, "idle_s": 0.6}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    limits = LIMITS | {"max_connections": 12, "max_streams": 8, "max_message": 100_000}
    with serving(tmp_path_factory.mktemp("server"), **limits, **QUICK) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(running, monkeypatch):
    """After each abuse somebody else gets the whole service, and nothing is held for the abuser."""
    monkeypatch.setattr("diarize.server.guard.LINGER_S", 0.5)
    yield

    async def somebody() -> Talk:
        talk = await Talk(running.stream).connect()
        await talk.send(SOUND[: 5 * RATE])
        await talk.end()
        return talk

    assert run(somebody()).done["result"] == expected()
    until(lambda: running.server.sockets == 0)
    assert running.server.connections == {}


@cache
def expected() -> dict:
    """What the first five seconds give."""
    return json.loads(fake_diarizer()(SOUND[: 5 * RATE], sample_rate=RATE, uri="live").to("json"))


def raw(running: Running, data: bytes) -> socket.socket:
    """A connection of our own, with something said."""
    plain = socket.create_connection(("127.0.0.1", running.port), timeout=10)
    plain.sendall(data)
    return plain


def closed_within(plain: socket.socket, seconds: float) -> bytes:
    """What came until the server closed, which it does in time."""
    plain.settimeout(seconds)
    held = b""
    with plain, contextlib.suppress(ConnectionResetError):
        while data := plain.recv(65536):
            held += data
    return held


# Connections -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"POST /v1/recordings HTTP/1.1\r\nX-A: b\r\n"]
)
def test_a_head_that_does_not_end(running, head):
    plain = raw(running, head)
    with contextlib.suppress(OSError):
        for _ in range(6):  # a byte now and then does not help
            time.sleep(0.1)
            plain.sendall(b"X")
    begun = time.monotonic()
    closed_within(plain, 2)
    assert time.monotonic() - begun < 1


def test_a_connection_on_which_nothing_is_said(running):
    begun = time.monotonic()
    closed_within(raw(running, b""), 3)
    assert time.monotonic() - begun < 2


def test_a_second_head_that_does_not_end(running):
    plain = raw(running, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert plain.recv(15) == b"HTTP/1.1 200 OK"
    with contextlib.suppress(OSError):
        for _ in range(8):
            time.sleep(0.1)
            plain.sendall(b"G")
    closed_within(plain, 0.5)


def test_a_head_that_is_too_large(running):
    plain = raw(running, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + b"a" * 100_000)
    assert b"400" in closed_within(plain, 3).split(b"\r\n")[0]


@pytest.mark.parametrize("seed", range(4))
def test_junk_instead_of_http(running, seed):
    plain = raw(running, np.random.default_rng(seed).bytes(5000) + b"\r\n\r\n")
    answer = closed_within(plain, 3)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_a_body_that_stalls(running):
    head = b"POST /v1/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\nsome"
    begun = time.monotonic()
    answer = closed_within(raw(running, head), 5)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"too_slow"' in answer
    assert time.monotonic() - begun < 2
    until(lambda: not list(running.server.jobs.uploads.iterdir()))


def test_a_body_that_is_refused_is_answered_while_it_is_still_sent(running):
    """Closed at once, its sender would meet a reset and never read why."""
    head = b"POST /v1/recordings?what=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
    plain = raw(running, head)
    for _ in range(9):
        plain.sendall(b"a" * 100_000)
        time.sleep(0.02)
    answer = closed_within(plain, 5)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"there is no parameter 'what'" in answer


def test_a_body_that_breaks_off(running):
    head = b"POST /v1/recordings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000000\r\n\r\n"
    with raw(running, head + b"a" * 100_000):
        until(lambda: list(running.server.jobs.uploads.iterdir()))
    until(lambda: not list(running.server.jobs.uploads.iterdir()))


def test_a_body_where_none_belongs(running):
    plain = raw(
        running, b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n" + b"a" * 1000
    )
    assert closed_within(plain, 10).startswith(b"HTTP/1.1 200")


def test_more_connections_than_there_may_be(running):
    opened = [raw(running, b"GET / HTTP/1.1\r\n") for _ in range(40)]
    time.sleep(0.1)
    server = running.server
    for plain in opened:
        closed_within(plain, 3)
    assert server.options.max_connections == 12
    until(lambda: httpx.get(f"{running.http}/health").status_code == 200)


def test_an_answer_that_is_not_read(running):
    """Asked for much, again and again, none of it read: the connection ends, and is counted."""
    before = running.server.metrics.unread._value.get()
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", running.port))
    with plain:
        plain.settimeout(2)
        with contextlib.suppress(OSError):
            for _ in range(40):
                plain.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
                time.sleep(0.05)
        until(lambda: running.server.metrics.unread._value.get() > before)


# Live streams ------------------------------------------------------------------------------------


def told(running: Running, messages: list[str | bytes], **start: object) -> Talk:
    """What becomes of a client that says this after a start that is right."""

    async def said() -> Talk:
        talk = await Talk(running.stream, {"format": "s16le"} | start).connect()
        with contextlib.suppress(websockets.ConnectionClosed):
            for message in messages:
                await talk.socket.send(message)
        async with asyncio.timeout(10):
            await talk.listening
        return talk

    return run(said())


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ('{"type": 3}', "bad_request"),
        ('{"type": "end"}', "bad_request"),
        ('{"type": "start", "format": "s16le"}', "bad_request"),
        ("[" * 60_000, "bad_request"),
        ('{"type": "at"}', "bad_request"),
        ('{"type": "at", "seconds": "3"}', "bad_request"),
        ('{"type": "at", "seconds": NaN}', "bad_request"),
        ('{"type": "at", "seconds": -1}', "bad_request"),
        ('{"type": "at", "seconds": 1e300}', "bad_request"),
        ('{"type": "at", "seconds": 1e400}', "bad_request"),
        ("x" * 70_000, "too_long"),
        (b"\0" * 150_000, "too_long"),
    ],
)
def test_a_wrong_message(running, message, code):
    talk = told(running, [message])
    assert talk.error["code"] == code
    assert talk.code == {"bad_request": 1008, "too_long": 1009}[code]


def test_far_too_long_messages_are_cut_off(running):
    async def said(message: object) -> Talk:
        talk = await Talk(running.stream).connect()
        with contextlib.suppress(websockets.ConnectionClosed):
            await talk.socket.send(message)
        await talk.listening
        return talk

    assert run(said(b"\0" * 5_000_000)).code == 1009
    assert run(said([b"\0" * 1000] * 5000)).code in (1009, 1006), "in pieces, too"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_samples_that_are_no_numbers(running, value):
    samples = np.zeros(1000, "<f4")
    samples[500] = value
    talk = told(running, [samples.tobytes()], format="f32le")
    assert (talk.error["code"], talk.code) == ("bad_request", 1008)
    assert "after 0.000 s" in talk.error["message"]


@pytest.mark.parametrize(
    ("start", "code", "said"),
    [
        ({}, "unsupported", "format must be one of s16le, f32le, webm, ogg, got None"),
        ({"format": "mp3"}, "unsupported", "got 'mp3'"),
        ({"format": ["webm"]}, "unsupported", "format must be one of"),
        ({"format": "s16le", "sample_rate": 10}, "unsupported", "sample_rate must be a whole number of Hz"),
        ({"format": "s16le", "sample_rate": 16000.5}, "bad_request", "sample_rate must be a whole number"),
        ({"format": "s16le", "latency_s": 0.01}, "bad_request", "latency_s must be at least 0.224"),
        ({"format": "s16le", "latency_s": 1e9}, "bad_request", "latency_s must be > 0 and at most 60"),
        ({"format": "s16le", "num_speakers": 0}, "bad_request", "num_speakers must be from 1 to 100"),
        ({"format": "ogg", "num_speakers": 2, "max_speakers": 2}, "bad_request", "num_speakers says it all"),
        ({"format": "s16le", "guesses": "no"}, "bad_request", "guesses must be true or false"),
        ({"format": "s16le", "name": "a\nb"}, "bad_request", "name must be"),
        ({"format": "s16le", "name": 7}, "bad_request", "name must be a text"),
        ({"format": "s16le", "latency": 2}, "bad_request", "no key 'latency'; did you mean 'latency_s'?"),
        ({"resume": "a", "have": -1}, "bad_request", "resume must be the id"),
        ({"resume": "a" * 1000}, "gone", "there is no such stream"),
    ],
)
def test_a_wrong_start(running, start, code, said):
    async def begun() -> Talk:
        talk = await Talk(running.stream, start).connect()
        await talk.listening
        return talk

    talk = run(begun())
    assert talk.error["code"] == code
    assert said in talk.error["message"]
    assert running.server.hub.running <= 8


def test_sound_before_start_and_no_start_at_all(running):
    async def first(message: bytes | None) -> tuple[dict, int]:
        client = await websockets.connect(running.stream)
        SOCKETS.append(client)
        if message:
            await client.send(message)
        answer = json.loads(await client.recv())
        await client.wait_closed()
        return answer, client.close_code

    answer, code = run(first(b"\0" * 100))
    assert (answer["code"], code) == ("bad_request", 1008)
    answer, code = run(first(None))
    assert (answer["code"], code) == ("too_slow", 1008)


def test_silence_on_the_wire_ends_the_connection_not_the_stream(running):
    async def quiet() -> Talk:
        talk = await (await Talk(running.stream).connect()).began()
        await talk.send(SOUND[:RATE])
        for _ in range(4):
            await asyncio.sleep(0.3)
            await talk.tell({"type": "ping"})
        assert talk.error is None
        await talk.listening
        assert (talk.error["code"], talk.code) == ("too_slow", 1008)
        await (await talk.connect()).began()
        await talk.send(SOUND[RATE:])
        await talk.end()
        return talk

    expected = fake_diarizer()(SOUND, sample_rate=RATE, uri="live").to("json")
    assert run(quiet()).done["result"] == json.loads(expected)


def test_a_client_that_never_reads(running):
    """It asks for answers without end and takes none: cut off in time, memory bounded, the stream kept."""
    before = running.server.metrics.unread._value.get()

    async def deaf() -> tuple[str, int]:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", running.port))
        talk = Talk(running.stream)
        talk.socket = await websockets.connect(running.stream, sock=plain, ping_interval=None)
        SOCKETS.append(talk.socket)
        await talk.tell({"type": "start", "format": "s16le"})
        stream = json.loads(await talk.socket.recv())["stream"]
        talk.socket.transport.pause_reading()
        served = [one for one in gc.get_objects() if issubclass(type(one), WebSocketsSansIOProtocol)]
        held = 0
        with contextlib.suppress(websockets.ConnectionClosed, ConnectionError):
            async with asyncio.timeout(8):
                while running.server.metrics.unread._value.get() == before:
                    for _ in range(200):
                        await talk.socket.ping(np.random.default_rng().bytes(120))
                    await talk.socket.send(SOUND[:100].tobytes())
                    await asyncio.sleep(0.001)
                    held = max(held, *(one.transport.get_write_buffer_size() for one in served))
        return stream, held

    stream, held = run(deaf())
    assert 64_000 < held < 300_000, "what the server holds for it"
    assert running.server.metrics.unread._value.get() == before + 1
    assert stream in running.server.hub.sessions, "it may come back"


def test_a_client_that_sends_faster_than_time(tmp_path, running):
    """It is read from at its pace, and holds no more than it may; the others go on."""
    with serving(tmp_path, speed=2.0, burst_s=5.0, max_streams=4) as paced:

        async def both() -> tuple[float, float, Talk]:
            fast, calm = [await (await Talk(paced.stream).connect()).began() for _ in range(2)]
            session = paced.server.hub.sessions[fast.stream]

            async def flood() -> None:
                with contextlib.suppress(websockets.ConnectionClosed):
                    for _ in range(60):
                        await fast.send(np.tile(SOUND, 2), 50_000)

            flooding, begun = asyncio.create_task(flood()), time.monotonic()
            await calm.send(SOUND[: 4 * RATE])
            await calm.end()
            await asyncio.sleep(max(0.0, 2.0 - (time.monotonic() - begun)))
            lasted = time.monotonic() - begun
            flooding.cancel()
            return lasted, session.received_s, calm

        lasted, received_s, calm = run(both())
    assert received_s <= 5.0 + 2.0 * (lasted + 1.0) + 50_000 / RATE
    assert calm.done["result"]["duration"] == 4.0


def test_sound_that_cannot_be_computed_yet_is_not_taken_in(tmp_path, running, monkeypatch):
    """While pushes take their time, a stream holds what it may, and its client has to wait."""
    free, push = threading.Event(), Session._push
    monkeypatch.setattr(Session, "_push", lambda *given: free.wait(30) and push(*given))
    with serving(tmp_path, max_pending_s=2.0, **QUICK) as slow:

        async def flood() -> tuple[float, Talk]:
            talk = await (await Talk(slow.stream).connect()).began()
            session = slow.server.hub.sessions[talk.stream]
            sending = asyncio.create_task(talk.send(SOUND, 8000))
            await asyncio.sleep(0.5)
            held = session.received_s
            free.set()
            await sending
            await talk.end()
            return held, talk

        held, talk = run(flood())
    assert held <= 1.0 + 2.0 + 0.5 + 0.5, "a push, what may wait, a message that waits, rounding"
    assert talk.done["result"]["duration"] == pytest.approx(len(SOUND) / RATE, abs=0.001)


def test_a_time_in_the_future_is_refused_not_waited_for(tmp_path, running):
    with serving(tmp_path) as paced:
        talk = told(paced, [json.dumps({"type": "at", "seconds": 4000.0})])
    assert (talk.error["code"], talk.code) == ("bad_request", 1008)
    assert "is in the future" in talk.error["message"]
