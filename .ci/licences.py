"""The licences of all that comes with `pip install diarize-campplus[all]`, libraries inside wheels too.

    python .ci/licences.py               check what is installed; exit 1 for what is unknown or not allowed
    python .ci/licences.py --write       and write docs/licences.md

A package's licence is its metadata's, or that which a person read in its licence file and noted in `READ`.
A library that a wheel carries is one whose file lies in it (a shared library that is no extension module);
each must be in `CARRIED`. Packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
NAME = "diarize-campplus"
EXTRAS = ("all", "score", "plot", "serve", "server", "mic", "ray")
"""Of them those that exist; not `test`: nobody gets what only the tests use."""

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "HPND", "ISC", "MIT", "MIT-0",
    "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "libpng-2.0", "FTL", "IJG", "libtiff", "MPL-2.0",
}  # fmt: skip
"""Those that ask for a notice at most; MPL-2.0 asks for the source of changed files, and none are changed."""

SEPARATE = {
    "GPL-2.0-or-later", "GPL-3.0-or-later WITH GCC-exception-3.1", "LGPL-2.0-or-later", "LGPL-2.1-or-later",
    "LGPL-3.0-or-later", "LGPL-2.1-or-later WITH GCC-exception-3.1",
}  # fmt: skip
"""Allowed for libraries that somebody else's wheel carries: files of their own, not changed, not in ours."""

PROPRIETARY = "LicenseRef-NVIDIA"


def of_cuda(name: str) -> bool:
    """Whether a package comes with PyTorch's CUDA builds only: those are not what the README names."""
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


WORDS = {
    "mit license": "MIT", "the mit license (mit)": "MIT", "bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause", "3-clause bsd license": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0", "apache software license": "Apache-2.0",
    "osi approved :: apache software license": "Apache-2.0",
    "python software foundation license": "PSF-2.0", "isc license": "ISC", "isc license (iscl)": "ISC",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "nvidia proprietary software": PROPRIETARY,
    "licenseref-nvidia-proprietary": PROPRIETARY, "apache license 2.0": "Apache-2.0",
}  # fmt: skip
"""How packages say it, in lower case."""

READ = {
    "pyannote-core": "MIT", "pyannote-metrics": "MIT", "pyannote-database": "MIT", "matplotlib": "PSF-2.0",
    "kiwisolver": "BSD-3-Clause", "contourpy": "BSD-3-Clause", "cycler": "BSD-3-Clause",
    "scipy": "BSD-3-Clause", "torchaudio": "BSD-2-Clause",
}  # fmt: skip
"""Read in the licence files of packages whose metadata does not say it in a few words."""

FFMPEG, GCC = "LGPL-3.0-or-later", "GPL-3.0-or-later WITH GCC-exception-3.1"
CARRIED = {
    "av": {
        **dict.fromkeys(("avcodec", "avdevice", "avfilter", "avformat", "avutil"), FFMPEG),
        "swresample": FFMPEG, "swscale": FFMPEG,
        "x264": "GPL-2.0-or-later", "x265": "GPL-2.0-or-later", "mp3lame": "LGPL-2.0-or-later",
        "opus": "BSD-3-Clause", "vpx": "BSD-3-Clause", "dav1d": "BSD-2-Clause", "SvtAv1Enc": "BSD-3-Clause",
        "opencore-amrnb": "Apache-2.0", "opencore-amrwb": "Apache-2.0", "webp": "BSD-3-Clause",
        "webpmux": "BSD-3-Clause", "sharpyuv": "BSD-3-Clause", "gnutls": "LGPL-2.1-or-later",
        "nettle": "LGPL-3.0-or-later", "hogweed": "LGPL-3.0-or-later", "gmp": "LGPL-3.0-or-later",
        "unistring": "LGPL-3.0-or-later", "asound": "LGPL-2.1-or-later", "vpl": "MIT", "drm": "MIT",
        **dict.fromkeys(("xcb", "xcb-shape", "xcb-shm", "xcb-xfixes", "Xau"), "MIT"),
    },
    "numpy": {"scipy_openblas64_": "BSD-3-Clause", "gfortran": GCC, "quadmath": "LGPL-2.1-or-later"},
    "scipy": {"scipy_openblas": "BSD-3-Clause", "gfortran": GCC, "quadmath": "LGPL-2.1-or-later"},
    "scikit-learn": {"gomp": GCC},
    "openvino": {"openvino*": "Apache-2.0", "tbb*": "Apache-2.0", "hwloc": "BSD-3-Clause"},
    "onnxruntime": {"onnxruntime*": "MIT"},
    "torch": {
        "torch*": "BSD-3-Clause", "c10*": "BSD-3-Clause", "shm": "BSD-3-Clause", "gomp": GCC,
        "caffe2_nvrtc": "BSD-3-Clause",
    },
    "torchaudio": dict.fromkeys(
        ("_torchaudio*", "torchaudio*", "ctc_prefix_decoder", "pybind11_prefixctc"), "BSD-2-Clause"
    ),
    "pillow": {
        "avif": "BSD-2-Clause", "brotlicommon": "MIT", "brotlidec": "MIT", "freetype": "FTL",
        "harfbuzz": "MIT", "jpeg": "IJG",
        "lcms2": "MIT", "lzma": "0BSD", "openjp2": "BSD-2-Clause", "png16": "libpng-2.0",
        "sharpyuv": "BSD-3-Clause", "tiff": "libtiff", "webp": "BSD-3-Clause", "webpdemux": "BSD-3-Clause",
        "webpmux": "BSD-3-Clause", "xcb": "MIT", "Xau": "MIT", "zstd": "BSD-3-Clause",
    },
    "ray": {"jemalloc": "BSD-2-Clause"},
    "sounddevice": {"portaudio*": "MIT"},
}  # fmt: skip
"""Libraries inside wheels: their licences, as the wheels' files or the libraries' own say; * ends a name."""

EMBEDDED = {
    "openvino": "oneDNN (Apache-2.0), pugixml (MIT) and others of its `runtime-third-party-programs.txt`",
    "onnxruntime": "ONNX (Apache-2.0), protobuf, Eigen (MPL-2.0) and others of its `ThirdPartyNotices.txt`",
    "torch": "oneDNN, FBGEMM, XNNPACK, SLEEF and the others of its `LICENSE` and `NOTICE`",
    "numpy": "LAPACK (BSD-3-Clause, within OpenBLAS)",
    "scipy": "LAPACK (BSD-3-Clause, within OpenBLAS), SuperLU, ARPACK, Qhull, HiGHS (BSD or MIT)",
}
"""What is compiled into files of other names, for the reader: it is not checked."""

_LIBRARY = re.compile(
    r"(?:^|/)(?:lib)?(?P<name>[^/]+?)(?:-[0-9a-f]{8})*(?:\.so(?:\.[\d.]+)?|\.dll|(?:\.[\d.]+)?\.dylib)$"
)
_MODULE = re.compile(r"\.(?:cpython|cp\d|abi3|pypy)[^/]*\.(?:so|pyd)$")


def installed() -> dict[str, metadata.Distribution]:
    """What the package and its extras require, and what that requires, as far as it is here."""
    found: dict[str, metadata.Distribution] = {}
    todo: list[tuple[str, frozenset[str]]] = [(NAME, frozenset(EXTRAS))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if name != NAME:
            found[canonicalize_name(name)] = distribution
        for text in distribution.requires or []:
            requirement = Requirement(text)
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
            )
            if wanted:
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return dict(sorted(found.items()))


def licence_of(name: str, distribution: metadata.Distribution) -> str:
    """Its licence as SPDX has it, or what it says where that is not known."""
    if of_cuda(name):
        return PROPRIETARY
    if name in READ:
        return READ[name]
    fields = distribution.metadata
    if expression := fields.get("License-Expression"):
        return str(expression)
    kinds = [
        one.rpartition(" :: ")[2] for one in fields.get_all("Classifier") or [] if one.startswith("License")
    ]
    said = [str(fields.get("License") or "").strip(), *kinds]
    for text in said:
        first = text.splitlines()[0].strip() if text else ""
        if first in ALLOWED or first.lower() in WORDS:
            return first if first in ALLOWED else WORDS[first.lower()]
    return next((text.splitlines()[0][:60] for text in said if text), "not said")


def allowed(expression: str) -> bool:
    """Whether all parts of an SPDX expression may be, or one of alternatives."""
    if " AND " in expression:
        return all(allowed(part.strip("() ")) for part in expression.split(" AND "))
    if " OR " in expression:
        return any(allowed(part.strip("() ")) for part in expression.split(" OR "))
    return expression in ALLOWED or expression == PROPRIETARY


def libraries(distribution: metadata.Distribution) -> Iterator[str]:
    """The names of the libraries in a wheel, without `lib`, sums and versions."""
    names = set()
    for file in distribution.files or []:
        path = file.as_posix()
        match = _LIBRARY.search(path)
        if match and not _MODULE.search(path) and (".libs/" in path or "/lib" in path):
            names.add(match["name"])
    yield from sorted(names, key=str.lower)


def carried(name: str, library: str) -> str | None:
    """The licence of a library that a wheel carries; None: nobody has looked."""
    for known, licence in CARRIED.get(name, {}).items():
        if library == known or (known.endswith("*") and library.startswith(known[:-1])):
            return licence
    return None


def main() -> int:
    """Check, and write the page if that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows, wrong = [], []
    for name, distribution in installed().items():
        licence = licence_of(name, distribution)
        if not allowed(licence):
            wrong.append(f"{name}: {licence!r} is not among the licences that are allowed")
        inside: dict[str, list[str]] = {}
        for library in [] if of_cuda(name) else libraries(distribution):
            found = carried(name, library)
            if found is None or (found not in SEPARATE and not allowed(found)):
                wrong.append(
                    f"{name} carries {library!r}: {found or 'a library whose licence nobody has noted'}"
                )
            inside.setdefault(found or "?", []).append(library)
        rows.append((name, licence, inside))
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    held = sum(len(some) for _, _, inside in rows for some in inside.values())
    print(f"{len(rows)} packages, {held} libraries in their wheels")
    if args.write and not wrong:
        (ROOT / "docs" / "licences.md").write_text(page(rows), encoding="utf-8")
    return int(bool(wrong))


def page(rows: list[tuple[str, str, dict[str, list[str]]]]) -> str:
    """The list as a page."""
    lines = [
        "# Licences of what comes with it",
        "",
        "Written by `python .ci/licences.py --write`; CI fails for a package or a library in a wheel whose",
        "licence is not known or not allowed. Nothing here is part of this package: `pip` fetches it.",
        "Licences of weights: `diarize models`.",
        "",
        "Who passes on an image with these wheels in it passes on their libraries too. PyAV's wheels hold",
        "FFmpeg, which says that it is LGPL 3 or later, linked to x264 and x265, which are GPL 2 or later:",
        "take it that the GPL 3 holds for that FFmpeg, and offer its source with the image. Only decoders",
        "of sound are used here; an FFmpeg without the two can take its place (`--no-binary av`). PyTorch's",
        "CUDA builds bring Triton and NVIDIA's libraries, which are proprietary and not listed; its CPU",
        "builds, which the README names, do not.",
        "",
        "| package | licence | libraries in its wheel |",
        "|---|---|---|",
    ]
    for name, licence, inside in rows:
        if of_cuda(name):
            continue
        held = "; ".join(f"{found}: {', '.join(some)}" for found, some in sorted(inside.items()))
        held = ". Compiled in: ".join(part for part in (held, EMBEDDED.get(name, "")) if part)
        lines.append(f"| {name} | {licence} | {held} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
