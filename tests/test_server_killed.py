"""A server that is killed in the middle: what it accepted is answered after its next start."""

from __future__ import annotations

import io
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import ROOT
from fakes import RATE, conversation
from server_running import fake_diarizer, pcm, serving, until

from diarize.server.ledger import MAX_BEGUN, NAME

SOUND = pcm(conversation(6, turns=12))


@contextmanager
def process(folder: Path, slowness: float) -> Iterator[tuple[str, subprocess.Popen]]:
    """A server in a process of its own, killed at the end."""
    command = [sys.executable, str(ROOT / "tests" / "server_process.py"), str(folder), str(slowness)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            address = server.stdout.readline().strip()
            until(lambda: answers(address))
            yield address, server
        finally:
            server.send_signal(signal.SIGKILL)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").status_code == 200
    except httpx.TransportError:
        return False


def state_of(address: str, id: str) -> dict:
    return httpx.get(f"{address}/v1/recordings/{id}").json()


def ended(address: str, id: str) -> dict:
    until(lambda: state_of(address, id)["state"] in ("done", "failed"), 30)
    return state_of(address, id)


@pytest.fixture(scope="module")
def wav(tmp_path_factory, write_wav) -> bytes:
    return write_wav(tmp_path_factory.mktemp("wav") / "a.wav", SOUND, RATE).read_bytes()


def test_what_was_accepted_is_answered_after_kill_9(tmp_path, wav):
    with process(tmp_path, 0.1) as (address, server):
        ids = [
            httpx.post(f"{address}/v1/recordings", params={"name": name}, content=wav).json()["id"]
            for name in ("one", "two", "three")
        ]
        half = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
        half.sendall(
            b"POST /v1/recordings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\nhalf"
        )
        until(lambda: list((tmp_path / "uploads").iterdir()))
        until(lambda: state_of(address, ids[0])["progress"] > 0.2)
        server.send_signal(signal.SIGKILL)
        server.wait()
        half.close()
    assert not list((tmp_path / "results").iterdir())
    with serving(tmp_path) as running:
        assert not list((tmp_path / "uploads").iterdir()), "what was half sent was not accepted"
        for id, name in zip(ids, ("one", "two", "three"), strict=True):
            assert ended(running.http, id)["state"] == "done"
            found = httpx.get(f"{running.http}/v1/recordings/{id}/result").text
            assert found == fake_diarizer()(io.BytesIO(wav), uri=name).to("json")
        again = httpx.post(f"{running.http}/v1/recordings", params={"name": "one"}, content=wav).json()
        assert (again["id"], again["state"]) == (ids[0], "done"), "the same file is not done twice"


def test_killed_at_random_moments_nothing_is_lost_or_done_twice(tmp_path, wav):
    """Killed while files come in and are done; whoever had an answer gets a result."""
    accepted: dict[str, str] = {}
    for round_ in range(3):
        with process(tmp_path, 0.01) as (address, server):
            end = time.monotonic() + 0.15 + 0.2 * round_
            number = 0
            while time.monotonic() < end:
                name = f"{round_}-{number}"
                answer = httpx.post(f"{address}/v1/recordings", params={"name": name}, content=wav)
                accepted[answer.json()["id"]] = name
                number += 1
            server.send_signal(signal.SIGKILL)
            server.wait()
    assert len(accepted) > 3
    with serving(tmp_path) as running:
        for id in accepted:
            assert ended(running.http, id)["state"] == "done"
    with sqlite3.connect(tmp_path / NAME) as ledger:
        assert ledger.execute("SELECT count(*), sum(state = 'done') FROM recordings").fetchone() == (
            len(accepted),
            len(accepted),
        )
    ledger.close()
    assert {path.stem for path in (tmp_path / "results").glob("*.json")} == set(accepted)


def test_a_file_that_kills_the_server_again_and_again_fails(tmp_path, wav):
    with process(tmp_path, 0.2) as (address, server):
        id = httpx.post(f"{address}/v1/recordings", content=wav).json()["id"]
        until(lambda: state_of(address, id)["state"] == "running")
        server.send_signal(signal.SIGKILL)
        server.wait()
    ledger = sqlite3.connect(tmp_path / NAME)
    assert ledger.execute("SELECT state, begun FROM recordings").fetchone() == ("running", 1)
    ledger.execute("UPDATE recordings SET begun = ?", [MAX_BEGUN])
    ledger.commit()
    ledger.close()
    with serving(tmp_path) as running:
        state = ended(running.http, id)
        assert state["state"] == "failed"
        assert f"the server ended {MAX_BEGUN} times while it was at it" in state["error"]["message"]
        posted = httpx.post(f"{running.http}/v1/recordings", content=wav).json()
        assert posted["id"] == id
        assert ended(running.http, id)["state"] == "done", "asked for again, it is tried again"
