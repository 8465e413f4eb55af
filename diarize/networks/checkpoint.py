"""What a checkpoint may be before its tensors are believed: an archive that is as large as it says."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check_archive(path: str | Path) -> None:
    """Raise ValueError for a zip file with compressed members: they may unpack to anything."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"its members must not be compressed, {member.filename!r} is")


def check_sizes(state: Mapping[str, Any], path: str | Path) -> None:
    """Raise ValueError for tensors that are larger than the file they were in: views of a few numbers."""
    held = sum(t.numel() * t.element_size() for t in state.values() if hasattr(t, "element_size"))
    size = Path(path).stat().st_size
    if held > 2 * size:  # twice, as two names may share one tensor
        raise ValueError(f"its tensors say that they hold {held} bytes, the file holds {size}")
