"""Files over HTTP: posted, watched, fetched, forgotten; twice at once, and by a server that has an end."""

from __future__ import annotations

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from fakes import RATE, FakeEmbedder, FakeSegmenter, FakeVad, conversation
from server_running import fake_diarizer, pcm, serving, until

from diarize import ConfigError, Diarizer
from diarize.formats.registry import FORMATS

SOUND = conversation(4, turns=8)


@pytest.fixture(scope="module")
def wav(tmp_path_factory, write_wav) -> bytes:
    return write_wav(tmp_path_factory.mktemp("wav") / "a.wav", pcm(SOUND), RATE).read_bytes()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), max_upload=4 << 20, stalled_s=1.0) as running:
        yield running


@pytest.fixture
def client(running):
    with httpx.Client(base_url=running.http, timeout=20) as client:
        yield client


def post(client: httpx.Client, data: bytes, **asked: object) -> dict:
    answer = client.post("/v1/recordings", params=asked, content=data)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["url"]
    return answer.json()


def ended(client: httpx.Client, state: dict) -> dict:
    """Ask until it is done or failed; progress never goes back."""
    seen = [0.0]
    end = time.monotonic() + 20
    while state["state"] in ("queued", "running"):
        assert time.monotonic() < end
        time.sleep(0.02)
        state = client.get(state["url"]).json()
        seen.append(state["progress"])
    assert seen == sorted(seen)
    return state


def error(answer: httpx.Response, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == code
    return answer.json()["error"]["message"]


class SlowEmbedder(FakeEmbedder):
    """Takes its time; `begun` says that it is at it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(0.1)
        self.seconds, self.begun = seconds, threading.Event()

    def _tile(self, samples, spans, turn):
        self.begun.set()
        time.sleep(self.seconds)
        return super()._tile(samples, spans, turn)


def slow(seconds: float = 0.4) -> Diarizer:
    return Diarizer(embedder=SlowEmbedder(seconds), vad=FakeVad(), segmenter=FakeSegmenter())


# What comes of a file ----------------------------------------------------------------------------


def test_a_file_gives_what_the_library_gives(client, wav):
    state = ended(client, post(client, wav, name="meeting", num_speakers=2))
    found = fake_diarizer()(io.BytesIO(wav), uri="meeting", num_speakers=2)
    assert state["state"] == "done"
    assert state["progress"] == 1
    assert state["speakers"] == 2
    assert state["duration"] == found.duration
    assert client.get(state["result_url"]).text == found.to("json")
    for form in FORMATS:
        answer = client.get(state["result_url"], params={"format": form})
        assert answer.status_code == 200
        assert answer.text == found.to(form)
    assert "format must be one of" in error(
        client.get(state["result_url"], params={"format": "docx"}), 400, "bad_request"
    )


def test_its_report_can_be_seen_and_heard(client, wav):
    state = ended(client, post(client, wav, name="<b>meeting</b>"))
    answer = client.get(state["report_url"])
    assert answer.headers["content-type"].startswith("text/html")
    assert "sandbox allow-scripts" in answer.headers["content-security-policy"]
    assert "&lt;b&gt;meeting" in answer.text
    assert "<b>meeting</b>" not in answer.text
    assert client.get(state["report_url"]).text == answer.text


def test_a_form_does_as_well(client, wav):
    answer = client.post("/v1/recordings", files={"file": ("../../etc/call one.wav", wav)})
    assert answer.status_code == 202
    state = ended(client, answer.json())
    assert (state["state"], state["name"]) == ("done", "call one.wav")


def test_a_channel(client, tmp_path, write_wav):
    other = np.resize(pcm(conversation(9, turns=8)), len(SOUND))
    both = np.stack([pcm(SOUND), other], 1)
    data = write_wav(tmp_path / "b.wav", both, RATE).read_bytes()
    state = ended(client, post(client, data, name="b", channel=1))
    found = fake_diarizer()(io.BytesIO(data), uri="b", channel=1)
    assert client.get(state["result_url"]).text == found.to("json")
    assert client.get(state["report_url"]).status_code == 200
    state = ended(client, post(client, data, name="b", channel=2))
    assert state["state"] == "failed"
    assert "no channel 2" in state["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"num_speakers": "0"}, "num_speakers must be from 1 to 100, got '0'"),
        ({"num_speakers": "two"}, "num_speakers must be from 1 to 100"),
        ({"num_speakers": "9" * 5000}, "num_speakers must be from 1 to 100"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers must be <= max_speakers"),
        ({"channel": "-1"}, "channel must be from 0 to 63"),
        ({"speakers": "2"}, "there is no parameter 'speakers'; there are name, channel, num_speakers"),
        ({"name": "x" * 201}, "name must have at most 200 characters"),
    ],
)
def test_a_wrong_parameter_is_said_before_the_file_is_taken(client, wav, asked, said):
    answer = client.post("/v1/recordings", params=asked, content=wav)
    assert said in error(answer, 400, "bad_request")


def test_junk_fails_with_a_reason_that_names_the_file(client):
    state = ended(client, post(client, b"what is this" * 100, name="notes.txt"))
    assert state["state"] == "failed"
    assert state["error"]["code"] == "unsupported"
    assert state["error"]["message"].startswith("notes.txt: not")
    assert "it failed: notes.txt" in error(client.get(f"{state['url']}/result"), 409, "not_ready")


def test_what_is_not_there_is_gone(client):
    for path in ("", "/result", "/report"):
        message = error(client.get(f"/v1/recordings/{'0' * 40}{path}"), 404, "gone")
        assert "post it again" in message
    error(client.delete("/v1/recordings/none"), 404, "gone")


# Limits ------------------------------------------------------------------------------------------


def test_too_much_is_refused_declared_or_not(running, client):
    answer = client.post("/v1/recordings", content=b"\0" * (5 << 20))
    assert "at most 4194304 bytes, got 5242880" in error(answer, 413, "too_long")
    endless = (b"\0" * 65536 for _ in range(10**9))
    try:
        answer = client.post("/v1/recordings", content=endless)
        assert "got more than" in error(answer, 413, "too_long")
    except httpx.WriteError:  # the server does not wait for the end of it
        pass
    assert list(running.server.jobs.uploads.iterdir()) == []


def test_nothing_is_refused(client):
    assert "got nothing" in error(client.post("/v1/recordings", content=b""), 400, "bad_request")
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert "form" in error(client.post("/v1/recordings", content=b"", headers=form), 400, "bad_request")
    answer = client.post("/v1/recordings", content=b"--x\r\njunk" * 50, headers=form)
    assert "form" in error(answer, 400, "bad_request")


def test_too_many_wait(tmp_path, wav):
    with serving(tmp_path, slow(), max_waiting=2) as running, httpx.Client(base_url=running.http) as client:
        for k in range(2):
            post(client, wav, name=f"{k}")
        answer = client.post("/v1/recordings", params={"name": "3"}, content=wav)
        assert "at most 2 files wait" in error(answer, 503, "busy")
        assert answer.headers["retry-after"]


def test_too_much_on_disk(tmp_path, wav):
    with serving(tmp_path, max_data=1000) as running, httpx.Client(base_url=running.http) as client:
        post(client, wav)
        assert "delete some" in error(client.post("/v1/recordings", content=wav), 507, "no_room")


def test_too_long_a_recording_fails(tmp_path, wav):
    with serving(tmp_path, max_file_s=5.0) as running, httpx.Client(base_url=running.http) as client:
        state = ended(client, post(client, wav))
        assert state["error"]["code"] == "too_long"
        error(client.get(f"{state['url']}/result"), 413, "too_long")


# One recording -----------------------------------------------------------------------------------


def test_posted_twice_at_once_it_is_one_and_done_once(tmp_path, wav):
    diarizer = slow(0.05)
    with serving(tmp_path, diarizer) as running, httpx.Client(base_url=running.http) as client:
        with ThreadPoolExecutor(4) as pool:
            states = list(pool.map(lambda _: post(client, wav, name="m"), range(4)))
        assert len({state["id"] for state in states}) == 1
        assert ended(client, states[0])["state"] == "done"
        tiles = len(diarizer.embedder.tiles)
        assert post(client, wav, name="m")["state"] == "done"
        other = ended(client, post(client, wav, name="m", num_speakers=1))
        assert other["id"] != states[0]["id"]
        assert len(diarizer.embedder.tiles) == 2 * tiles
        assert len(list(running.server.jobs.audio.iterdir())) == 1, "one sound, two recordings"
        assert client.delete(other["url"]).status_code == 204
        assert client.get(states[0]["report_url"] or f"{states[0]['url']}/report").status_code == 200
        assert client.delete(states[0]["url"]).status_code == 204
        assert list(running.server.jobs.audio.iterdir()) == []
        assert list(running.server.jobs.results.iterdir()) == []


def test_one_that_runs_can_be_removed_and_posted_again(tmp_path, wav):
    diarizer = slow(0.3)
    with serving(tmp_path, diarizer) as running, httpx.Client(base_url=running.http) as client:
        state = post(client, wav)
        assert diarizer.embedder.begun.wait(10)
        assert client.delete(state["url"]).status_code == 204
        error(client.get(state["url"]), 404, "gone")
        until(lambda: running.server.jobs._running is None)
        assert list(running.server.jobs.results.iterdir()) == []
        diarizer.embedder.seconds = 0
        assert ended(client, post(client, wav))["state"] == "done"


def test_a_server_that_ends_goes_on_at_its_next_start(tmp_path, wav):
    diarizer = slow(0.3)
    with serving(tmp_path, diarizer) as running, httpx.Client(base_url=running.http) as client:
        states = [post(client, wav, name=f"{k}") for k in range(2)]
        assert diarizer.embedder.begun.wait(10)
    with serving(tmp_path) as running, httpx.Client(base_url=running.http) as client:
        for state in states:
            assert ended(client, state | {"state": "queued"})["state"] == "done"


def test_a_folder_belongs_to_one_server(tmp_path):
    with (
        serving(tmp_path),
        pytest.raises(ConfigError, match="is used by another server; name another folder"),
        serving(tmp_path),
    ):
        pass


def test_what_is_old_goes(tmp_path, wav):
    with serving(tmp_path, keep_s=0.2) as running, httpx.Client(base_url=running.http) as client:
        state = ended(client, post(client, wav))
        junk = ended(client, post(client, b"junk"))
        time.sleep(0.25)
        assert running.server.jobs.expire() == 2
        for one in (state, junk):
            error(client.get(one["url"]), 404, "gone")
        assert list(running.server.jobs.audio.iterdir()) == []


def test_files_wait_while_live_streams_are_behind(tmp_path, wav, monkeypatch):
    with serving(tmp_path) as running, httpx.Client(base_url=running.http) as client:
        monkeypatch.setattr(type(running.server.hub), "behind", True)
        monkeypatch.setattr("diarize.server.jobs.YIELD_S", 60.0)
        state = post(client, wav)
        time.sleep(0.5)
        assert client.get(state["url"]).json()["state"] == "running"
        monkeypatch.setattr(type(running.server.hub), "behind", False)
        assert ended(client, state)["state"] == "done"


# Is this the same voice --------------------------------------------------------------------------


def test_verify(client, wav, tmp_path, write_wav):
    other = write_wav(tmp_path / "o.wav", pcm(conversation(8, voices=(0.4,))), RATE).read_bytes()
    answer = client.post("/v1/verify", files={"a": ("a.wav", wav), "b": ("b.wav", other)})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    verdict = fake_diarizer().verify(io.BytesIO(wav), io.BytesIO(other))
    assert said["same"] == verdict.same
    assert said["score"] == pytest.approx(verdict.score, abs=1e-4)
    assert said["speech_s"] == verdict.speech_s
    answer = client.post("/v1/verify", files={"a": ("a.wav", wav)})
    assert "must have a file b" in error(answer, 400, "bad_request")
    answer = client.post("/v1/verify", files={"a": ("a.wav", wav), "b": ("b.wav", b"junk")})
    assert "b.wav: not" in error(answer, 415, "unsupported")
    error(client.post("/v1/verify", content=wav), 400, "bad_request")


def test_json_is_the_documented_one(client, wav):
    state = ended(client, post(client, wav, name="schema"))
    document = json.loads(client.get(state["result_url"]).text)
    assert document["schema"] == "diarize/1"
