"""Turns and sound -> one HTML file: the template, its styles and its scripts put together.

What users wrote (names, titles) reaches the page in two ways: as text of the template, escaped, and as JSON
in which every ``<`` is an escape, so it can never end the element it stands in. The scripts put it into the
page as text, never as markup. A policy allows the scripts of this file, by their hashes, and no network at
all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from diarize.errors import FormatError
from diarize.formats.rows import Recording, checked_turns, confidence_of, encodable
from diarize.plotting import PALETTE
from diarize.report.sound import PROBE_S, probe

if TYPE_CHECKING:
    from diarize.report.sound import Sound
    from diarize.result import Diarization

LIBRARY = ("wavesurfer.min.js", "wavesurfer.regions.min.js", "wavesurfer.timeline.min.js")
"""Under assets/, in the order in which they are run."""

SCRIPTS = ("turns.js", "exports.js", "player.js", "lanes.js", "page.js")
"""Ours, run as one script: later ones use what earlier ones define."""


def format_page(diarization: Diarization, sound: Sound | None = None, *, title: str | None = None) -> str:
    """The page of one recording as HTML; the same input gives the same text.

    sound : of the recording; None: the page has no waveform
    title : what the page is called; None: the uri
    Raises FormatError for impossible times.
    """
    data = page_data(diarization, sound, title)
    library = _script("\n".join(_asset(f"assets/{name}") for name in LIBRARY))
    ours = _script('"use strict";\n(() => {\n' + "\n".join(map(_asset, SCRIPTS)) + "\n})();\n")
    styles = _asset("page.css")
    text = _json(data)
    nonce = _hash(text)[:22]  # for the styles that the library brings; not a secret, styles fetch nothing
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src 'sha256-{_hash(library)}' 'sha256-{_hash(ours)}'",
            f"style-src 'sha256-{_hash(styles)}' 'nonce-{nonce}'",
            "media-src blob:",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    parts = {
        "TITLE": html.escape(data["title"]),
        "POLICY": html.escape(policy, quote=False),
        "NONCE": html.escape(nonce),
        "STYLES": styles,
        "DATA": text,
        "LIBRARY": library,
        "LICENCE": _asset("assets/LICENSE.wavesurfer.txt").replace("--", "- -"),
        "SCRIPT": ours,
        "SOUND": _base64(sound.mp3) if sound else "",
    }
    pieces = _asset("page.html").split("{{")
    page = [pieces[0]]
    for piece in pieces[1:]:  # one pass: what is put in is never searched for places again
        name, _, rest = piece.partition("}}")
        page += [parts[name], rest]
    return "".join(page)


def page_data(diarization: Diarization, sound: Sound | None, title: str | None) -> dict[str, Any]:
    """What the scripts of the page know: turns as [start, end, speaker, confidence or null], in seconds."""
    turns = checked_turns(Recording(diarization.uri, diarization.turns))
    if not (math.isfinite(diarization.duration) and diarization.duration >= 0):
        raise FormatError(f"{diarization.uri}: duration must be >= 0, got {diarization.duration}")
    heard = sound.duration if sound else 0.0
    return {
        "title": encodable(diarization.uri if title is None else title),
        "uri": encodable(diarization.uri),
        "duration": max([diarization.duration, heard, *(turn.end for turn in turns)]),
        "turns": [
            [turn.start, turn.end, encodable(turn.speaker), _sure(confidence_of(turn))] for turn in turns
        ],
        "peaks": _base64(sound.peaks.tobytes()) if sound else "",
        "peak_s": sound.peak_s if sound else 0,
        "heard": heard if sound and sound.mp3 else 0,
        "probe": _base64(probe()) if sound and sound.mp3 else "",
        "probe_s": PROBE_S,
        "palette": PALETTE,
    }


def _sure(confidence: float | None) -> float | None:
    return None if confidence is None or not math.isfinite(confidence) else float(confidence)


def _json(data: Any) -> str:
    """JSON that may stand inside an element: no ``<``, ``>`` or ``&`` in it, and ASCII only."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _asset(name: str) -> str:
    return files("diarize.report").joinpath(name).read_text("utf-8")


def _script(text: str) -> str:
    """A script as it may stand in the page; a sequence that would end its element is a mistake of ours."""
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("a script of the page holds what would end it")
    return text


def _hash(text: str) -> str:
    return _base64(hashlib.sha256(text.encode("utf-8")).digest())
