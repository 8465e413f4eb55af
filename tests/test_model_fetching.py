"""Fetching over HTTP from a real server on this machine: resumed, interrupted, many at once."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from model_server import (
    BODY,
    HALF,
    SHA,
    Handler,
    Plan,
    Server,
    left_in,
    missing,
    mute,
    stalled,
    truncated,
    unsatisfiable,
    whole,
    whole_without_ranges,
    wrong,
    wrong_place,
)

from diarize import _fetch, models
from diarize.errors import ModelError

pytest_plugins = "model_server_fixtures"
pytestmark = pytest.mark.usefixtures("cache")


# HTTP ---------------------------------------------------------------------------------------------


def test_a_name_is_fetched_once_and_then_comes_from_the_cache(server: Server, fake: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    assert models.resolve("fake", progress=lambda *report: seen.append(report)) == fake
    assert fake.read_bytes() == BODY
    assert server.requests == [("/api/v1/models/org/fake/repo?Revision=v1&FilePath=fake.bin", None)]
    assert seen[-1] == ("fake from ModelScope org/fake v1", len(BODY), len(BODY))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert models.resolve("fake", offline=True) == fake
    assert len(server.requests) == 1
    assert left_in(fake.parent) == {"fake.bin"}


def test_a_truncated_download_is_resumed(server: Server, fake: Path) -> None:
    server.plans = [truncated, truncated, whole]
    assert models.resolve("fake").read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, f"bytes={HALF // 2}-", f"bytes={HALF}-"]


def test_a_server_that_always_stops_early_is_given_up_but_the_piece_kept(
    server: Server, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fetch, "RESUMES", 1)
    server.plans = [truncated]
    with pytest.raises(ModelError, match=f"ended after {HALF} of {len(BODY)} bytes"):
        models.resolve("fake")
    assert left_in(fake.parent) == {"fake.bin.part"}
    server.plans = [whole]
    assert models.resolve("fake").read_bytes() == BODY
    assert server.requests[-1][1] == f"bytes={HALF}-"


@pytest.mark.parametrize("plan", [whole_without_ranges, unsatisfiable])
def test_a_server_that_cannot_resume_starts_again(server: Server, fake: Path, plan: Plan) -> None:
    fake.parent.mkdir(parents=True)
    fake.with_name("fake.bin.part").write_bytes(BODY[:1000])
    server.plans = [plan]
    assert models.resolve("fake").read_bytes() == BODY
    assert server.requests[0][1] == "bytes=1000-"


def test_a_piece_that_is_already_everything_is_taken(server: Server, fake: Path) -> None:
    fake.parent.mkdir(parents=True)
    fake.with_name("fake.bin.part").write_bytes(BODY)
    server.plans = [unsatisfiable]
    assert models.resolve("fake").read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_damaged_piece_is_followed_by_one_clean_start(server: Server, fake: Path) -> None:
    fake.parent.mkdir(parents=True)
    fake.with_name("fake.bin.part").write_bytes(b"x" * 1000)
    assert models.resolve("fake").read_bytes() == BODY
    assert [asked for _, asked in server.requests] == ["bytes=1000-", None]


def test_bytes_from_another_place_are_refused(server: Server, fake: Path) -> None:
    fake.parent.mkdir(parents=True)
    fake.with_name("fake.bin.part").write_bytes(BODY[:1000])
    server.plans = [wrong_place]
    with pytest.raises(ModelError, match="asked for the bytes from 1000 on"):
        models.resolve("fake")
    assert left_in(fake.parent) == set()


def test_wrong_bytes_are_refused_and_both_hashes_named(server: Server, fake: Path) -> None:
    server.plans = [wrong]
    got = hashlib.sha256(bytes(len(BODY))).hexdigest()
    with pytest.raises(ModelError, match=f"sha256 must be {SHA}, got {got}"):
        models.resolve("fake")
    assert left_in(fake.parent) == set()
    assert len(server.requests) == 1


def test_wrong_bytes_after_resuming_are_asked_for_once_more_only(server: Server, fake: Path) -> None:
    fake.parent.mkdir(parents=True)
    fake.with_name("fake.bin.part").write_bytes(BODY[:1000])
    server.plans = [wrong]
    with pytest.raises(ModelError, match="sha256 must be"):
        models.resolve("fake")
    assert len(server.requests) == 2


def test_404_names_the_model_the_source_and_the_way_by_hand(server: Server, fake: Path) -> None:
    server.plans = [missing]
    with pytest.raises(ModelError) as caught:
        models.resolve("fake")
    assert str(caught.value).splitlines() == [
        "fake is not on disk and could not be fetched:",
        "  ModelScope org/fake v1: HTTP 404 Not Found",
        "to bring it by hand, take",
        f"  {server.url}/api/v1/models/org/fake/repo?Revision=v1&FilePath=fake.bin",
        f"and put it at {fake}",
        "or give the path of the file as model=",
    ]


@pytest.mark.usefixtures("fake")
def test_a_refused_connection_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("DIARIZE_MODELSCOPE_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(ModelError, match="connection refused"):
        models.resolve("fake")


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("url", ["modelscope.test", "http://127.0.0.1:notaport", "http://name.invalid"])
def test_a_mirror_that_cannot_be_is_a_reason_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_host(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    monkeypatch.setenv("DIARIZE_MODELSCOPE_URL", url)
    with pytest.raises(ModelError, match=r"unknown url type|nonnumeric port|cannot be looked up"):
        models.resolve("fake")


@pytest.mark.parametrize("plan", [mute, stalled])
def test_a_silent_server_times_out(
    plan: Plan, server: Server, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fetch, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(_fetch, "RESUMES", 0)
    server.plans = [plan]
    with pytest.raises(ModelError, match=r"timed out: no data for 0\.2 s"):
        models.resolve("fake")


@pytest.mark.usefixtures("fake")
@pytest.mark.skipif(
    sys.platform != "linux", reason="fills the backlog of a listening socket, as Linux keeps it"
)
def test_a_connection_that_never_comes_times_out_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        monkeypatch.setenv("DIARIZE_MODELSCOPE_URL", f"http://127.0.0.1:{full.getsockname()[1]}")
        began = time.monotonic()
        try:
            with pytest.raises(ModelError, match=r"timed out: no connection for 0\.3 s"):
                models.resolve("fake")
            assert time.monotonic() - began < 10
        finally:
            for client in waiting:
                client.close()


def test_a_slow_server_may_take_longer_than_the_connect_timeout(
    server: Server, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.4)
        whole(handler)

    monkeypatch.setattr(_fetch, "CONNECT_TIMEOUT_S", 0.2)
    server.plans = [slow]
    assert models.resolve("fake").read_bytes() == BODY


# Interruption and company -------------------------------------------------------------------------


CHILD = textwrap.dedent(
    f"""
    import signal
    from diarize import models
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    files = (models.File("fake.bin", "{SHA}"),)
    models.ASSETS["fake"] = models.Asset("fake", files, (models.ModelScope("org/fake", "v1"),), "MIT", "")
    print(models.resolve("fake"))
    """
)


def child() -> subprocess.Popen[str]:
    root = Path(models.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", CHILD]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_resumed(blow: signal.Signals, server: Server, fake: Path) -> None:
    server.plans = [stalled, whole]
    part = fake.with_name("fake.bin.part")
    with child() as process:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size == HALF // 2) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(blow)
        process.communicate(timeout=20)
    assert process.returncode != 0
    assert left_in(fake.parent) == {"fake.bin.part"}
    assert models.resolve("fake").read_bytes() == BODY
    assert server.requests[-1][1] == f"bytes={HALF // 2}-"


def test_many_at_once_fetch_one_good_file(server: Server, fake: Path) -> None:
    server.plans = [truncated, whole]
    children = [child() for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: models.resolve("fake"), range(8)))
    outputs = [process.communicate(timeout=30)[0].strip() for process in children]
    assert outputs == [str(fake)] * 3
    assert paths == [fake] * 8
    assert fake.read_bytes() == BODY
    assert len(server.requests) == 2  # one fetched, everyone else waited
    assert left_in(fake.parent) == {"fake.bin"}


def test_waiting_for_another_process_is_shown(server: Server, fake: Path) -> None:
    go = threading.Event()

    def held(handler: Handler) -> None:
        assert go.wait(20)
        whole(handler)

    def show(what: str, done: int, total: int | None) -> None:
        seen.append(what)
        if "waiting" in what:
            go.set()

    server.plans = [held]
    seen: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(models.resolve, "fake", progress=show) for _ in range(2)]:
            assert future.result(timeout=30) == fake
    assert "fake: waiting for another process" in seen
