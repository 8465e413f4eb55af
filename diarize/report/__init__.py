"""A page to look at, listen to and correct who spoke when: one HTML file that needs nothing else.

    from diarize.report import write_report

    write_report("meeting.html", diarizer("meeting.wav"), "meeting.wav")

The recording travels inside the file, as MP3. Names and titles are data: nothing in them is ever markup, and
the page forbids itself every network request.

    sound    a recording -> MP3 whose seconds are those of the recording, and its outline
    page     turns, sound, template, styles and scripts -> one text
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diarize._files import atomic_write
from diarize.report.page import format_page
from diarize.report.sound import MP3_BYTES_A_SECOND, Sound, hear

if TYPE_CHECKING:
    from diarize._reader import File
    from diarize.result import Diarization

__all__ = ["MP3_BYTES_A_SECOND", "Sound", "format_page", "hear", "write_report"]


def write_report(
    path: str | os.PathLike[str],
    diarization: Diarization,
    audio: File | None = None,
    *,
    title: str | None = None,
    sound: bool = True,
    channel: int | None = None,
    progress: Callable[[float, float | None], object] | None = None,
) -> Path:
    """Write the page of one recording, whole or not at all; returns its path.

    Parameters
    ----------
    path : path of the HTML file
    diarization : Diarization
        Its turns may overlap.
    audio : path or binary file object, optional
        The recording, any file with sound in it. None: a page without sound and without a waveform.
    title : str, optional
        What the page is called; None: the uri of the diarization.
    sound : bool
        False: the page shows the waveform of the recording and cannot be listened to.
    channel : int, optional
        Which channel is heard, counted from 0; None averages them.
    progress : callable, optional
        Called with the seconds that are done, and those there are, if they are known.

    Raises
    ------
    AudioError
        when the recording cannot be read.
    FormatError
        when a turn has impossible times.
    OSError
        when the file cannot be written.
    """
    heard = None if audio is None else hear(audio, sound=sound, channel=channel, progress=progress)
    path = Path(path)
    atomic_write(path, format_page(diarization, heard, title=title))
    return path
