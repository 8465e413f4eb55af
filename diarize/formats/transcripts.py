"""Transcripts with times: which format a file has, and its words.

| form | what it is |
|---|---|
| ``whisper`` | JSON of openai-whisper, faster-whisper, WhisperX or OpenAI's API, with word times or without |
| ``whisper.cpp`` | JSON of whisper.cpp (``-oj``; with token times: ``-ojf``) |
| ``funasr`` | JSON of what FunASR's ``AutoModel.generate`` returns |
| ``diarize`` | JSON of ``diarize words`` |
| ``ctm`` | NIST's: recording, channel, start, duration, word and, or not, confidence, type, speaker |
| ``srt``, ``vtt`` | subtitles |

Words without times of their own are spread over their segment in proportion to their characters; in scripts
without spaces (Chinese, Japanese) a word is a character. CTM: doc/infmts.htm of NIST's SCTK, and
mergectm2rttm.pl there for the last two fields.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from diarize.errors import FormatError
from diarize.words import Transcript, Word

from . import NO_NAME, newlines, parse_seconds, read_fields, read_text
from .json_values import loaded
from .recognisers import (
    CJK,
    Found,
    Node,
    diarized,
    form_of,
    funasr,
    spread_words,
    whisper,
    whisper_cpp,
)
from .subtitles import Cue, parse_srt, parse_vtt

_JSON: dict[str, Callable[[Node], Found]] = {
    "whisper": whisper,
    "whisper.cpp": whisper_cpp,
    "funasr": funasr,
    "diarize": diarized,
}
FORMS = (*_JSON, "ctm", "srt", "vtt")
"""The formats that `read_transcript` knows."""

_NO_SPACE_AFTER = re.compile(rf"[{CJK}\u3001-\u303f\uff01-\uff65][^\w\s]*\Z")  # and punctuation as wide
_NO_SPACE_BEFORE = re.compile(rf"[{CJK}]|[^\w\s]+\Z")


def read_transcript(
    path: str | os.PathLike[str], form: str | None = None, *, uri: str | None = None
) -> Transcript:
    """The words of a transcript, in its order; those of a CTM in the order of time.

    form : one of `FORMS`; None: told from what the file holds
    uri : which recording of a CTM that holds several

    Raises
    ------
    FormatError
        ``talk.json: segments[3].words[0].start must be a number of seconds, got "x"``; the first place that
        is wrong is named. When the file is of no known format, or holds more than 100 MB.
    OSError
        when the file cannot be read.
    """
    if form is not None and form not in FORMS:
        raise FormatError(f"format must be one of {', '.join(FORMS)}, got {form!r}")
    text = newlines(read_text(path))
    if form in _JSON or (form is None and text.lstrip()[:1] in ("{", "[")):
        document = Node(loaded(text, str(path)), f"{path}:")
        form = form or form_of(document)
        if form is None:
            raise _unknown(path)
        words, spread = _JSON[form](document)
    else:
        form = form or _form_of_lines(text)
        if form is None:
            raise _unknown(path)
        if form == "ctm":
            words, spread = _ctm(path, uri)
        else:
            words, spread = _of_cues((parse_vtt if form == "vtt" else parse_srt)(text, str(path)))
    return Transcript(tuple(_spaced(words)), form, spread)


def _form_of_lines(text: str) -> str | None:
    if text.startswith("WEBVTT"):
        return "vtt"
    lines = [line for line in text.split("\n", 200)[:200] if line.strip()]
    if any(re.match(r"\s*\d[\d:.,]*\s*-->", line) for line in lines):
        return "srt"
    rows = [line.split() for line in lines if not line.startswith(";;")]
    return "ctm" if rows and all(5 <= len(row) <= 8 for row in rows[:1]) else None


def _unknown(path: str | os.PathLike[str]) -> FormatError:
    return FormatError(
        f"{path}: must be a transcript with times ({', '.join(FORMS)}), got something else; "
        "plain text has no times: take the JSON or the subtitles of your recogniser"
    )


def _ctm(path: str | os.PathLike[str], uri: str | None) -> Found:
    recordings: dict[str, list[Word]] = {}
    for where, fields in read_fields(path):
        if not 5 <= len(fields) <= 8:
            raise FormatError(
                f"{where}: a CTM line must have 5 to 8 fields (recording, channel, start, duration, word, "
                f"confidence, type, speaker), got {len(fields)}"
            )
        start = parse_seconds(fields[2], "start", where)
        duration = parse_seconds(fields[3], "duration", where)
        if start < 0 or duration < 0:
            raise FormatError(f"{where}: start and duration must be >= 0, got {fields[2]} and {fields[3]}")
        score = fields[5] if len(fields) > 5 and fields[5].upper() not in ("NA", NO_NAME) else None
        recordings.setdefault(fields[0], []).append(
            Word(
                start,
                start + duration,
                fields[4],
                score=None if score is None else parse_seconds(score, "confidence", where),
            )
        )
    if uri is None and len(recordings) > 1:
        raise FormatError(
            f"{path} holds {len(recordings)} recordings; say which: {', '.join(list(recordings)[:5])}"
        )
    if uri is not None and len(recordings) > 1 and uri not in recordings:
        raise FormatError(f"{path}: no recording {uri!r}; there are: {', '.join(list(recordings)[:5])}")
    words = recordings.get(uri or "") or next(iter(recordings.values()), [])
    return sorted(words, key=lambda word: (word.start, word.end)), 0


def _of_cues(cues: Iterable[Cue]) -> Found:
    words: list[Word] = []
    for cue in cues:
        said = spread_words(" " + cue.text, cue.start, cue.end)
        words += [replace(word, speaker=cue.speaker, last=word is said[-1]) for word in said]
    return words, len(words)


def _spaced(words: list[Word]) -> list[Word]:
    """The words with the spaces that make them a text: as the recogniser has them, where it has any.

    Else one before each, but not beside Chinese and Japanese characters and before punctuation.
    """
    own = any(word.text[:1].isspace() for word in words[1:])
    found: list[Word] = []
    for word in words:
        if not word.text.strip():
            if found and word.last:
                found[-1] = replace(found[-1], last=True)
            continue
        if not found or (not own and not word.text[:1].isspace()) or found[-1].last:
            text = word.text.strip()
            joins = not found or _NO_SPACE_AFTER.search(found[-1].text) or _NO_SPACE_BEFORE.match(text)
            word = replace(word, text=text if joins else " " + text)
        found.append(word)
    return found
