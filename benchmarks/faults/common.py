"""What the faults share: the sample, weights on a local server, what a process holds, a table."""

from __future__ import annotations

import contextlib
import http.server
import os
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from diarize import models

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("campplus-zh-en", "segmentation-3.0")

RUN = "import sys; from diarize import Diarizer; print(Diarizer(device='cpu')(sys.argv[1]).turns)"
"""What a process does: the sample's turns with the real networks, by whatever its cache allows."""


def sample() -> Path:
    return models.resolve("sample", offline=True)


def held() -> tuple[int, int, float]:
    """Open files, threads and MB of memory of this process."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    threads = len(os.listdir("/proc/self/task"))
    return len(os.listdir("/proc/self/fd")), threads, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def row(what: str, found: str, good: bool) -> bool:
    print(f"| {what} | {found} | {'yes' if good else '**no**'} |", flush=True)
    return good


def start(*arguments: object, cache: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """A Python process of ours; its error output comes with the rest."""
    where = {"DIARIZE_CACHE": str(cache)} if cache else {}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **where, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str], limit_s: float = 300) -> tuple[int, str]:
    """Exit status and output; a process that takes too long is ended, and that is its status."""
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        return -999, said
    return process.returncode, said


@contextlib.contextmanager
def weights(bytes_per_s: float = 1e9) -> Iterator[Mapping[str, str]]:
    """The environment of a process that fetches the real weights from here, at this pace."""
    files = {asset.files[0].name: asset.path for asset in models.ASSETS.values()}

    # the segmentation network comes in a package otherwise; here everything is on the mirror
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["FilePath"][0]
            data = files[asked].read_bytes()
            first = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(data) - first))
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            with contextlib.suppress(OSError):
                for begin in range(first, len(data), 1 << 18):
                    self.wfile.write(data[begin : begin + (1 << 18)])
                    time.sleep((1 << 18) / bytes_per_s)

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"DIARIZE_MODELSCOPE_URL": f"http://127.0.0.1:{server.server_address[1]}"}
        server.shutdown()


def until(true: Callable[[], bool], limit_s: float = 60) -> bool:
    end = time.monotonic() + limit_s
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()


def stocked(cache: Path, *, converted: bool = False) -> Path:
    """A cache with the weights in it, and without what is made of them."""
    for name in (*NAMES, "sample"):
        for file in models.ASSETS[name].files:
            place = cache / name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(models.ASSETS[name].path.with_name(file.name).read_bytes())
    if converted:
        finished(start("-c", RUN, sample(), cache=cache))
    return cache
