"""Files: which have sound in them, and writing so that nobody ever meets half of one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SOUNDS = frozenset(
    """
    .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .au .avi .caf .dts .flac .flv .m4a .m4b .m4v .mka .mkv .mov .mp2
    .mp3 .mp4 .mpeg .mpg .mxf .nist .oga .ogg .opus .sph .tta .voc .w64 .wav .webm .wma .wmv .wv
    """.split()  # noqa: SIM905 - as a list it would take 40 lines
)
"""What the files of a folder end in that are taken for recordings."""

KEPT = ".diarize"
"""What the files of `diarize.kept` end in."""


def atomic_write(path: str | os.PathLike[str], data: str | bytes, *, durable: bool = False) -> None:
    """Write a whole file or leave what was there: a temporary file beside it, then one rename.

    Text is written as UTF-8, its line ends as they are. A link is followed, an existing file keeps its
    permissions, and what is not a regular file (``/dev/stdout``, a pipe) is written to as it is.

    durable : whether it is on the disk before it takes the place of what was there: a power cut then leaves
        one of the two

    Raises
    ------
    OSError
        when the folder is missing or not writable; no temporary file is left behind, on Ctrl-C neither.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with open(path, "wb") as stream:
            stream.write(content)
        return
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:  # not tempfile: its 0600 would stay on the finished file
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
