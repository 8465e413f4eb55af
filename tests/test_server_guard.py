"""Who may ask: tokens, origins, hosts; and what browsers are told."""

from __future__ import annotations

import socket

import httpx
import pytest
import websockets
from fakes import RATE, conversation
from server_running import QUICK, SOCKETS, Running, Talk, pcm, run, serving

from diarize import ConfigError
from diarize.server import ServerOptions
from diarize.server.guard import bearer, is_address, name_of, same_token

TOKEN = "correct horse battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SOUND = pcm(conversation(3, turns=4))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Open to all who are here."""
    with serving(
        tmp_path_factory.mktemp("server"), hosts=("diarize.lan",), origins=("https://app.example",), **QUICK
    ) as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """Open to those with a token."""
    with serving(tmp_path_factory.mktemp("server"), token=TOKEN, **QUICK) as running:
        yield running


def code(answer: httpx.Response) -> str:
    return answer.json()["error"]["code"]


async def opened(running: Running, **headers: str) -> int:
    """The status with which a WebSocket is answered: 101 or a refusal."""
    try:
        client = await websockets.connect(running.stream, additional_headers=headers)
    except websockets.InvalidStatus as refused:
        return refused.response.status_code
    SOCKETS.append(client)
    return 101


# Tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/recordings"),
        ("GET", "/v1/recordings/abc"),
        ("DELETE", "/v1/recordings/abc"),
        ("GET", "/v1/recordings/abc/report?key=abc"),
        ("POST", "/v1/verify"),
        ("GET", "/metrics"),
        ("GET", "/v1/nothing"),
    ],
)
def test_without_the_token_nothing_is_done(locked, headers, method, path):
    answer = httpx.request(method, locked.http + path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert code(answer) == "unauthorised"
    assert TOKEN not in answer.text


def test_with_the_token_it_is(locked):
    assert httpx.get(f"{locked.http}/metrics", headers=BEARER).status_code == 200
    assert httpx.get(f"{locked.http}/v1/recordings/abc", headers=BEARER).status_code == 404
    assert (
        httpx.get(
            f"{locked.http}/v1/recordings/abc", headers={"authorization": f"bearer {TOKEN}"}
        ).status_code
        == 404
    )


@pytest.mark.parametrize("path", ["/health", "/docs", "/openapi.json", "/docs/start.js"])
def test_what_is_no_secret_needs_none(locked, path):
    assert httpx.get(locked.http + path).status_code == 200


def test_a_report_can_be_opened_by_its_address(locked, write_wav, tmp_path):
    data = write_wav(tmp_path / "a.wav", SOUND, RATE).read_bytes()
    with httpx.Client(base_url=locked.http, headers=BEARER) as client:
        state = client.post("/v1/recordings", content=data).json()
        for _ in range(500):
            state = client.get(state["url"]).json()
            if state["state"] == "done":
                break
    address = locked.http + state["report_url"]
    assert httpx.get(address).status_code == 200
    assert httpx.get(address[:-1] + "0" if address[-1] != "0" else address[:-1] + "1").status_code == 401
    assert httpx.get(address.replace("/report", "/result")).status_code == 401
    assert httpx.delete(locked.http + state["url"] + "?" + address.partition("?")[2]).status_code == 401


@pytest.mark.parametrize(
    ("start", "headers", "good"),
    [
        ({"token": TOKEN}, {}, True),
        ({}, BEARER, True),
        ({}, {}, False),
        ({"token": "wrong"}, {}, False),
        ({"token": TOKEN + " "}, {}, False),
        ({"token": 7}, {}, False),
        ({"token": "\ud800"}, {}, False),
        ({"token": TOKEN}, {"Authorization": "Bearer wrong"}, False),
        ({"token": "wrong", "resume": "abc"}, {}, False),
    ],
)
def test_a_stream_wants_it_too(locked, start, headers, good):
    async def begun() -> Talk:
        talk = Talk(locked.stream, {"format": "s16le"} | start, headers)
        await talk.connect()
        await talk.until(lambda: talk.stream or talk.code)
        return talk

    talk = run(begun())
    if good:
        assert talk.stream
        return
    assert (talk.error["code"], talk.code) == ("unauthorised", 1008)
    assert TOKEN not in talk.error["message"]


def test_a_wrong_token_does_not_touch_a_stream_that_runs(locked):
    async def both() -> tuple[Talk, Talk]:
        mine = await (await Talk(locked.stream, {"format": "s16le", "token": TOKEN}).connect()).began()
        thief = Talk(locked.stream, {"token": "wrong"}, stream=mine.stream)
        await thief.connect()
        await thief.listening
        await mine.send(SOUND)
        await mine.end()
        return mine, thief

    mine, thief = run(both())
    assert thief.error["code"] == "unauthorised"
    assert mine.done


def test_tokens_are_compared_whole():
    assert same_token("secret", "secret")
    assert not any(
        same_token(shown, "secret") for shown in (None, "", "secre", "secrets", "SECRET", 7, b"secret")
    )
    assert bearer("Bearer  a b ") == "a b"
    assert [bearer(header) for header in (None, "", "Bearer", "Bearer ", "a")] == [None] * 5


# Origins and hosts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("SELF", 101),
        ("https://app.example", 101),
        ("https://app.example.evil.example", 403),
        ("http://app.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost", 403),
        ("file://", 403),
    ],
)
def test_pages_of_other_origins_are_refused(running, origin, status):
    origin = running.http if origin == "SELF" else origin
    headers = {} if origin is None else {"Origin": origin}
    assert run(opened(running, **headers)) == status
    posted = httpx.post(f"{running.http}/v1/recordings", content=b"junk", headers=headers)
    assert posted.status_code == (202 if status == 101 else 403)
    removed = httpx.delete(f"{running.http}/v1/recordings/none", headers=headers)
    assert removed.status_code == (404 if status == 101 else 403)
    if status == 403:
        assert code(posted) == "forbidden"
        assert "--allow-origin" in posted.json()["error"]["message"]


def test_an_allowed_origin_may_read_the_answers_and_no_other(running):
    for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        before = httpx.options(f"{running.http}/v1/recordings", headers=asks)
        assert (before.headers.get("access-control-allow-origin") == origin) == allowed
        answer = httpx.get(f"{running.http}/health", headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) == allowed


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("diarize.lan:8000", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_a_name_that_is_made_to_point_here_is_refused(running, host, good):
    for path in ("/", "/health", "/v1/recordings/none"):
        answer = httpx.get(running.http + path, headers={"Host": host})
        assert (answer.status_code != 403) == good
        if not good:
            assert code(answer) == "forbidden"
    if not good and host:
        # what a rebinding page sends: its own name is the host, so its origin is "the same"
        asks = f"GET /v1/stream HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n"
        asks += (
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + "A" * 22
            + "==\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as plain:
            plain.sendall(asks.encode())
            assert plain.recv(12) == b"HTTP/1.1 403"


def test_with_a_token_any_name_will_do(locked, tmp_path):
    assert httpx.get(f"{locked.http}/health", headers={"Host": "diarize.example"}).status_code == 200
    with serving(tmp_path, token=TOKEN, hosts=("a.example",)) as named:
        assert httpx.get(f"{named.http}/health", headers={"Host": "a.example"}).status_code == 200
        assert httpx.get(f"{named.http}/health", headers={"Host": "b.example"}).status_code == 403


def test_names_and_addresses():
    assert [name_of(host) for host in ("A.b:80", "[::1]:80", "[::1]", "1.2.3.4:5", "a.", "")] == [
        "a.b", "::1", "::1", "1.2.3.4", "a", "",
    ]  # fmt: skip
    assert is_address("::1")
    assert not is_address("1.2.3")


# Browsers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/health", "/v1/recordings/none", "/nothing", "/docs"])
def test_every_answer_says_what_a_browser_may(running, path):
    headers = httpx.get(running.http + path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/assets/../app.py", "/assets/%2e%2e/app.py", "/docs/..%2f..%2fpasswd", "/assets/"]
)
def test_nothing_but_assets_is_served(running, path):
    assert httpx.get(running.http + path).status_code == 404


# Options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token": "short"}, "a token must have 8 characters or more"),
        ({"origins": ("example.org",)}, "an origin must be as https://example.org"),
        ({"origins": ("https://example.org/",)}, "an origin must be as"),
        ({"origins": "https://example.org"}, "origins must be a sequence of names"),
        ({"max_streams": 0}, "max_streams must be > 0, got 0"),
        ({"resume_s": -1.0}, "resume_s must be > 0"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        ServerOptions(data=tmp_path, **options)
