"""Results at a URL: real stores over real sockets, a fake diarizer; whole or not there, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import fsspec
import pytest
from batch_fakes import Fake, Recordings, calls
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

import diarize.batch.places as places
from diarize import ConfigError, DiarizeError
from diarize.batch import run_batch
from diarize.batch.places import Folder, Store, home_of, place_of
from diarize.cli import app

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX")


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(places, "PAUSES_S", (0.01, 0.02))


@pytest.fixture
def ftp(tmp_path):
    """A server's URL and its folder."""
    handlers = pytest.importorskip("pyftpdlib.handlers")
    servers = pytest.importorskip("pyftpdlib.servers")
    authorizers = pytest.importorskip("pyftpdlib.authorizers")
    root = tmp_path / "served"
    root.mkdir()

    class Handler(handlers.FTPHandler):
        authorizer = authorizers.DummyAuthorizer()

    Handler.authorizer.add_user("ann", "secret", str(root), perm="elradfmwMT")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = servers.FTPServer(listening, Handler)
        ending = threading.Event()

        def serve():
            while not ending.is_set():
                server.serve_forever(timeout=0.05, blocking=False)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        try:
            yield f"ftp://ann:secret@127.0.0.1:{port}/turns", root / "turns", server
        finally:
            ending.set()
            thread.join()
            server.close_all()


@pytest.fixture
def memory():
    """A URL in this process's memory, which is empty before and after."""
    MemoryFileSystem.store.clear()
    yield "memory://bucket/turns"
    MemoryFileSystem.store.clear()


@pytest.fixture
def objects(memory):
    """The same as an object store: asynchronous, on fsspec's own thread."""
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    store = Store(AsyncFileSystemWrapper(MemoryFileSystem(), asynchronous=False), "/bucket/turns", memory)
    assert store.filesystem.async_impl
    yield store
    store.close()


class Corpus(Recordings):
    """Fake recordings, and a batch over them to a URL."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.home = root / "home"

    def run(self, url, **options):
        return self.batch(url, **{"ledger": self.home} | options)


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


def below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


TURNS = "SPEAKER a 1 0.000 1.000 <NA> <NA> S0"


@posix
def test_a_batch_to_a_server_goes_on_and_does_nothing_twice(corpus, ftp):
    url, root, _ = ftp
    corpus.add("a", "deep/b [1]", "bad", text="good")
    corpus.add("bad", text="refuse no audio in it")
    assert corpus.run(url, dry_run=True).waiting == 3
    summary = corpus.run(url)
    assert (summary.done, summary.failed) == (2, 1)
    assert below(root) == ["a.rttm", "deep/b [1].rttm", "summary.json"]
    assert (root / "a.rttm").read_text().startswith(TURNS)
    assert below(corpus.home) == ["batch.lock", "batch.sqlite", "summary.json"]
    assert (root / "summary.json").read_bytes() == (corpus.home / "summary.json").read_bytes()
    corpus.add("c")
    assert corpus.run(url).done_now == 1
    (root / "a.rttm").unlink()
    (root / "c.rttm").write_text("")
    assert corpus.run(url, dry_run=True).left == ("a",)
    assert corpus.run(url).done_now == 2
    assert corpus.notes == ["2 results of earlier runs gone, to be made again: a; c"]
    assert sorted(calls(corpus.log)) == ["a", "a", "bad", "c", "c", "deep/b"]
    assert "secret" not in summary.folder + (root / "summary.json").read_text()


@posix
def test_options_that_changed_and_files_of_others_are_refused_there_too(corpus, ftp):
    url, root, _ = ftp
    corpus.add("a")
    root.mkdir()
    (root / "a.rttm").write_text("mine")
    with pytest.raises(ConfigError, match=r"ftp://ann@127.0.0.1:\d+/turns/a.rttm exists already"):
        corpus.run(url)
    assert (root / "a.rttm").read_text() == "mine"
    corpus.run(url, overwrite=True)
    assert (root / "a.rttm").read_text().startswith(TURNS)
    with pytest.raises(ConfigError, match="holds results of other options"):
        corpus.run(url, options={"num_speakers": 3})
    corpus.add("a", text="refuse it")
    assert corpus.run(url, options={"num_speakers": 3}, overwrite=True).failed == 1
    assert below(root) == ["summary.json"], "what other options found is no result"


@posix
def test_a_server_that_hangs_up_between_two_results(corpus, ftp):
    url, root, server = ftp
    corpus.add("a", "b", "c", text="sleep .3")
    hung = []

    def hang_up(progress):
        if progress.done > len(hung):
            hung.append(progress.done)
            for handler in handlers_of(server):
                handler.close()

    assert corpus.run(url, progress=hang_up).done == 3
    assert hung
    assert below(root) == ["a.rttm", "b.rttm", "c.rttm", "summary.json"]


def handlers_of(server):
    """Its connections."""
    from pyftpdlib.handlers import FTPHandler

    return [one for one in server.ioloop.socket_map.values() if isinstance(one, FTPHandler)]


@posix
def test_nobody_meets_half_of_a_result(ftp):
    """What is being sent has another name until it is whole; what cannot be sent leaves nothing."""
    url, root, _ = ftp
    store, content, seen = place_of(url), os.urandom(30_000_000), set()
    done = store.put("big", content)
    while not done.done():
        seen |= {path.stat().st_size for path in root.glob("big")}
    done.result()
    assert seen <= {len(content)}
    assert store.sizes(["big", "none"]) == {"big": len(content)}
    (root / "taken").mkdir()
    assert isinstance(store.put("taken", b"x").exception(), OSError)
    assert sorted(path.name for path in root.iterdir()) == ["big", "taken"]
    store.remove("big")
    store.remove("none")
    assert store.sizes(["big"]) == {}
    store.close()


def test_memory(corpus, memory):
    corpus.add("a", "deep/b")
    assert corpus.run(memory).done_now == 2
    assert corpus.run(memory).done_now == 0
    found = fsspec.filesystem("memory").find("bucket")
    assert found == [f"/bucket/turns/{name}" for name in ("a.rttm", "deep/b.rttm", "summary.json")]


def test_a_file_url_is_a_folder(corpus, tmp_path):
    corpus.add("a")
    url = (tmp_path / "out").as_uri()
    assert isinstance(place_of(url), Folder)
    run_batch([corpus.audio], url, workers=1, make=Fake(str(corpus.log)))
    assert below(tmp_path / "out") == ["a.rttm", "batch.lock", "batch.sqlite", "summary.json"]


def test_the_ledger_of_a_folder_may_lie_elsewhere(corpus, tmp_path):
    corpus.add("a")
    for done_now in (1, 0):
        assert corpus.run(tmp_path / "out").done_now == done_now
    assert below(tmp_path / "out") == ["a.rttm", "summary.json"]
    assert below(corpus.home) == ["batch.lock", "batch.sqlite", "summary.json"]


def test_without_a_word_the_ledger_of_a_url_is_found_again(corpus, memory, monkeypatch, tmp_path):
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_state_path", lambda name: tmp_path / "states" / name)
    corpus.add("a")
    assert corpus.run(memory, ledger=None).done_now == 1
    home = home_of(place_of(memory), None)
    assert home.parent == tmp_path / "states" / "diarize" / "batches"
    assert corpus.notes == [f"the ledger is kept in {home}"]
    assert corpus.run(memory + "/", ledger=None).done_now == 0
    assert home_of(place_of(memory + "2"), None) != home


def test_many_are_on_their_way_to_an_object_store_at_once(objects, monkeypatch):
    """Eight at a time, each whole; a put that fails is tried again."""
    write, busy, most, failed = objects.filesystem.pipe_file, [], [], set()

    def slowly(path, content):
        busy.append(path)
        most.append(len(busy))
        time.sleep(0.05)
        busy.remove(path)
        if path not in failed:
            failed.add(path)
            raise ConnectionResetError("by peer")
        write(path, content)

    monkeypatch.setattr(objects.filesystem, "pipe_file", slowly)
    names = [f"r{k}" for k in range(24)]
    for future in [objects.put(name, name.encode()) for name in names]:
        future.result()
    assert max(most) == places.WRITERS
    assert objects.sizes(names) == {name: len(name) for name in names}


def test_a_store_that_takes_nothing_stops_the_batch_and_nothing_has_failed(corpus, memory, monkeypatch):
    put, written = MemoryFileSystem.pipe_file, []

    def refused(self, path, value):
        if "summary" not in path and any("summary" not in name for name in written):
            raise PermissionError("Access Denied")
        written.append(path)
        put(self, path, value)

    corpus.add("a", "b", "c")
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refused)
    with pytest.raises(DiarizeError, match=r"bucket/turns/\w.rttm: cannot be written: Access Denied; what"):
        corpus.run(memory)
    monkeypatch.undo()
    summary = json.loads((corpus.home / "summary.json").read_text())
    assert (summary["done"], summary["failed"], summary["waiting"]) == (1, 0, 2)
    assert corpus.run(memory).done_now == 2


@posix
def test_ctrl_c_while_a_result_is_on_its_way_loses_neither_it_nor_its_row(corpus, memory, monkeypatch):
    """The loop does not wait for the store; once it is stopped, it does."""
    put, sending = MemoryFileSystem.pipe_file, []

    def slowly(self, path, value):
        if "summary" not in path:
            sending.append(path)
            time.sleep(1.5)
            sending.clear()
        put(self, path, value)

    def interrupt(progress):
        if sending and not progress.done:
            signal.raise_signal(signal.SIGINT)
            monkeypatch.setattr(MemoryFileSystem, "pipe_file", put)
            seen.append(progress)

    seen: list[object] = []
    corpus.add("a")
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", slowly)
    with pytest.raises(KeyboardInterrupt):
        corpus.run(memory, progress=interrupt)
    assert len(seen) == 1
    assert corpus.run(memory).done_now == 0
    assert calls(corpus.log) == ["a"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nope://bucket/turns", "Protocol not known: nope"),
        ("ftp://ann:secret@127.0.0.1:1/turns", "cannot be used for the output"),
    ],
)
def test_a_url_that_cannot_be_is_said_before_any_work(corpus, url, why):
    corpus.add("a")
    with pytest.raises(ConfigError, match=why) as refused:
        corpus.run(url)
    assert "secret" not in str(refused.value)
    assert not corpus.log.exists()


def test_a_store_that_cannot_be_listed_is_said_before_any_work(corpus, memory, monkeypatch):
    def denied(*_, **__):
        raise PermissionError("Access Denied")

    corpus.add("a")
    monkeypatch.setattr(MemoryFileSystem, "find", denied)
    with pytest.raises(DiarizeError, match="memory://bucket/turns: cannot be listed: Access Denied"):
        corpus.run(memory)
    assert not corpus.log.exists()


def test_the_command_takes_a_url_as_it_is(corpus, memory):
    corpus.add("a", "b")
    corpus.run(memory)
    corpus.add("c")
    arguments = ["batch", str(corpus.audio), "-o", memory, "--ledger", str(corpus.home), "--dry-run"]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "c\n", "1 to do, 2 done, 0 failed\n")


# Where the packages are: S3 as a server of its own ---------------------------------------------------


@pytest.fixture
def s3(monkeypatch):
    pytest.importorskip("s3fs")
    threaded = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0)
    threaded.start()
    host, port = threaded.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    filesystem.mkdir("bucket")
    yield filesystem
    threaded.stop()


def test_a_batch_to_s3(corpus, s3):
    corpus.add(*(f"deep/r{k:02d}" for k in range(20)))
    assert corpus.run("s3://bucket/turns").done_now == 20
    assert corpus.run("s3://bucket/turns").done_now == 0
    s3.rm_file("bucket/turns/deep/r03.rttm")
    assert corpus.run("s3://bucket/turns").done_now == 1
    s3.invalidate_cache()
    assert len(s3.find("bucket/turns")) == 21
    assert s3.cat_file("bucket/turns/deep/r03.rttm").startswith(b"SPEAKER deep/r03 1 0.000")
    begun = len(calls(corpus.log))
    with pytest.raises(DiarizeError, match=r"s3://nowhere/turns/summary\.json: cannot be written: "):
        corpus.run("s3://nowhere/turns", ledger=corpus.root / "other")
    assert len(calls(corpus.log)) == begun
