"""Where results go: a folder of this machine, or a URL of whatever fsspec knows (s3://, gs://, sftp://, ...).

A result is whole or not there. In a folder it is renamed into its place; at a URL it is moved there by a
store that can move, and put at once into one that cannot: an object store shows a put when it is complete.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from diarize._files import atomic_write
from diarize.errors import ConfigError, DiarizeError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

WRITERS = 8
"""Results that are on their way to an object store at once: a put takes long and costs nothing here."""

PAUSES_S = (1.0, 5.0)
"""Before a write that failed is tried again."""


class Place(Protocol):
    """Holds results by name, such as ``calls/monday.rttm``."""

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """The bytes of those results that are there; DiarizeError where that cannot be told."""
        ...

    def put(self, name: str, content: bytes) -> Future[None]:
        """Write a result, whole or not at all; OSError (in the future) where that cannot be."""
        ...

    def remove(self, name: str) -> None:
        """Take a result away, if it is there and that can be done."""
        ...

    def close(self) -> None:
        """Wait for what is on its way; nothing can be put any more."""
        ...


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """See `Place`."""
        found = {}
        for name in names:
            with suppress(OSError):
                found[name] = os.stat(self.path / name).st_size
        return found

    def put(self, name: str, content: bytes) -> Future[None]:
        """See `Place`; it is done at once."""
        done: Future[None] = Future()
        try:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self.path / name, content)
            done.set_result(None)
        except OSError as error:
            done.set_exception(error)
        return done

    def remove(self, name: str) -> None:
        """See `Place`."""
        with suppress(OSError):
            (self.path / name).unlink()

    def close(self) -> None:
        """See `Place`."""


class Store:
    """What fsspec calls a filesystem, below a path.

    url : for people, without a password that is in it
    """

    def __init__(self, filesystem: AbstractFileSystem, path: str, url: str) -> None:
        self.filesystem, self.path, self.url = filesystem, path.rstrip("/"), url
        self.moves = type(filesystem).mv is not abstract().mv
        together = WRITERS if filesystem.async_impl else 1  # others have one connection, which takes turns
        self.writers = ThreadPoolExecutor(together, thread_name_prefix="diarize-put")

    def __str__(self) -> str:
        return self.url

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """See `Place`; one listing of all that is there."""
        try:
            self.filesystem.invalidate_cache()
            there = self.filesystem.find(self.path, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:  # each store has errors of its own
            raise DiarizeError(f"{self.url}: cannot be listed: {words(error)}") from error
        wanted = {f"{self.path}/{name}".lstrip("/"): name for name in names}
        found = {path.lstrip("/"): int(about.get("size") or 0) for path, about in there.items()}
        return {name: found[path] for path, name in wanted.items() if path in found}

    def put(self, name: str, content: bytes) -> Future[None]:
        """See `Place`; it is done on another thread, and tried three times."""
        return self.writers.submit(self._put, f"{self.path}/{name}", content)

    def check(self, name: str, content: bytes) -> None:
        """Write something before the work begins; DiarizeError where that cannot be."""
        try:
            self.put(name, content).result()
        except OSError as error:
            raise DiarizeError(f"{self.url}/{name}: cannot be written: {error.strerror}") from error

    def _put(self, path: str, content: bytes) -> None:
        for pause_s in (*PAUSES_S, None):
            try:
                self._write(path, content)
                return
            except Exception as error:  # as above
                if pause_s is None:
                    raise OSError(None, words(error)) from error
                time.sleep(pause_s)
                self._connect_again()

    def _write(self, path: str, content: bytes) -> None:
        if not self.moves:
            if not self.filesystem.async_impl:  # an object store has no folders
                self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.filesystem.pipe_file(path, content)
            return
        parent, _, name = path.rpartition("/")
        self.filesystem.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/.{name[:100]}.{secrets.token_hex(4)}.tmp"
        try:
            self.filesystem.pipe_file(temporary, content)
            self.filesystem.mv(temporary, path)
        except BaseException:
            with suppress(Exception):
                self.filesystem.rm_file(temporary)
            raise

    def _connect_again(self) -> None:
        """A connection that was not used for long may be gone; object stores look after theirs."""
        old = self.filesystem
        if not old.async_impl:
            with suppress(Exception):  # then the next attempt says what is wrong
                self.filesystem = type(old)(
                    *old.storage_args, **old.storage_options, skip_instance_cache=True
                )

    def remove(self, name: str) -> None:
        """See `Place`."""
        with suppress(Exception):
            self.writers.submit(self.filesystem.rm_file, f"{self.path}/{name}").result()

    def close(self) -> None:
        """See `Place`."""
        self.writers.shutdown()


def place_of(output: str | os.PathLike[str]) -> Folder | Store:
    """The place that a path or a URL names; ConfigError for a URL that cannot be used here."""
    text = os.fspath(output)
    if "://" not in text:
        return Folder(Path(text))
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    shown = without_password(text)
    try:
        filesystem, path = url_to_fs(text)
    except ImportError as error:
        raise ConfigError(f"{shown}: {words(error)}") from None
    except Exception as error:  # each store has errors of its own
        raise ConfigError(f"{shown}: cannot be used for the output: {words(error)}") from error
    if isinstance(filesystem, LocalFileSystem):
        return Folder(Path(path))
    return Store(filesystem, path, shown.rstrip("/"))


def home_of(place: Folder | Store, ledger: str | os.PathLike[str] | None) -> Path:
    """The folder of this machine for the ledger: what was said, else that of the results.

    For a URL it is one in the user's folder for states, which the URL alone names: the same command goes on.
    """
    if ledger is not None:
        return Path(ledger)
    if isinstance(place, Folder):
        return place.path
    from hashlib import sha256

    import platformdirs

    name = re.sub(r"\W+", "-", place.url)[-60:].strip("-")
    mark = sha256(place.url.encode()).hexdigest()[:8]
    return platformdirs.user_state_path("diarize") / "batches" / f"{name}-{mark}"


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1@", url)


def words(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())[:300]


def abstract() -> Any:
    """What all of fsspec's filesystems are made from."""
    from fsspec import AbstractFileSystem

    return AbstractFileSystem
