"""Words with speakers, as people and programs read them: a transcript, subtitles, CTM, JSON.

The JSON is one object; times are seconds, rounded to milliseconds; what is not known is null:

    {"schema": "diarize.words/1", "recording": "meeting", "speakers": ["SPEAKER_00", ...],
     "segments": [{"start": 6.684, "end": 9.6, "speaker": "SPEAKER_00", "text": "Shall we begin?"}, ...],
     "words": [{"start": 6.684, "end": 6.9, "speaker": "SPEAKER_00", "text": "Shall", "score": 0.98,
                "last": false}, ...]}

The texts of words put together are the transcript: a space is part of the text of the word after it. Segments
are the paragraphs of the readable transcript; ``last`` says where the recogniser's segments end.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from diarize.words import Word, sentence_ends, text_of

from . import NO_NAME, clean_name, clean_names, format_ms, to_ms
from .subtitles import Cue, format_srt, format_vtt

SCHEMA = "diarize.words/1"

PARAGRAPH_S = 60.0
"""From this length on, a paragraph ends with the next sentence."""

CUE_S, CUE_WIDTH = 7.0, 84
"""The most that one subtitle holds: two lines of 42 letters or 21 Chinese characters, as is usual."""


def paragraphs(words: Sequence[Word]) -> list[Cue]:
    """What each speaker says until another one does, a minute at most where sentences allow."""
    return [
        _cue(run)
        for run in _runs(words, lambda run, ends: ends and run[-1].end - run[0].start >= PARAGRAPH_S)
    ]


def cues(words: Sequence[Word]) -> list[Cue]:
    """The words as subtitles: one speaker each, a sentence or as much of it as can be read."""

    def full(run: Sequence[Word], ends: bool) -> bool:
        return ends or run[-1].last

    found: list[Cue] = []
    for run in _runs(words, full):
        kept: list[Word] = []
        for word in run:
            if kept and (word.end - kept[0].start > CUE_S or _width([*kept, word]) > CUE_WIDTH):
                found.append(_cue(kept))
                kept = []
            kept.append(word)
        found.append(_cue(kept))
    return found


def format_txt(words: Sequence[Word], recording: str = "") -> str:
    """A readable transcript: ``[0:00:06] SPEAKER_00: Shall we begin?``, a paragraph each."""
    said = []
    for part in paragraphs(words):
        seconds = int(part.start)
        name = "" if part.speaker is None else f"{part.speaker}: "
        said.append(f"[{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}] {name}{part.text}\n")
    return "\n".join(said)


def format_ctm(words: Sequence[Word], recording: str = "recording") -> str:
    """CTM, a word a line in order of time, with the speaker in the eighth field.

    ``meeting 1 6.684 0.216 Shall 0.98 lex SPEAKER_00``; what is not known is NA and ``<NA>``. White space in
    words and names becomes ``_``; different speakers keep different names.
    """
    speakers = clean_names(word.speaker for word in words if word.speaker is not None)
    name = clean_name(recording)
    rows = sorted(((to_ms(word.start), to_ms(word.end), word) for word in words), key=lambda row: row[:2])
    return "".join(
        f"{name} 1 {format_ms(start)} {format_ms(end - start)} {clean_name(word.text.strip())} "
        f"{'NA' if word.score is None else f'{word.score:.3f}'} lex "
        f"{NO_NAME if word.speaker is None else speakers[word.speaker]}\n"
        for start, end, word in rows
    )


def format_json(words: Sequence[Word], recording: str = "recording") -> str:
    """One JSON object, as the head of this module describes it."""
    segments = [
        {"start": _ms(part.start), "end": _ms(part.end), "speaker": part.speaker, "text": part.text}
        for part in paragraphs(words)
    ]
    said = [
        {"start": _ms(word.start), "end": _ms(word.end), "speaker": word.speaker}
        | {"text": word.text, "score": word.score, "last": word.last}
        for word in words
    ]
    fields = {
        "schema": _json(SCHEMA),
        "recording": _json(recording),
        "speakers": _json(list(dict.fromkeys(word.speaker for word in words if word.speaker is not None))),
        "segments": _a_line_each(segments),
        "words": _a_line_each(said),
    }
    return "{\n" + ",\n".join(f'"{key}": {value}' for key, value in fields.items()) + "\n}\n"


WRITERS: dict[str, Callable[[Sequence[Word], str], str]] = {
    "txt": format_txt,
    "srt": lambda words, _: format_srt(cues(words)),
    "vtt": lambda words, _: format_vtt(cues(words)),
    "json": format_json,
    "ctm": format_ctm,
}
"""What writes words in each format: of the words and the name of the recording."""


def _runs(words: Sequence[Word], closes: Callable[[Sequence[Word], bool], bool]) -> Iterator[list[Word]]:
    """The words of one speaker in a row, cut also where `closes` says so of those so far."""
    run: list[Word] = []
    for word, ends in zip(words, sentence_ends(words), strict=True):
        if run and run[-1].speaker != word.speaker:
            yield run
            run = []
        run.append(word)
        if closes(run, ends):
            yield run
            run = []
    if run:
        yield run


def _cue(words: Sequence[Word]) -> Cue:
    return Cue(
        min(word.start for word in words),
        max(word.end for word in words),
        text_of(words),
        words[0].speaker,
    )


def _width(words: Sequence[Word]) -> int:
    """Columns of their text: two for a wide character."""
    return sum(1 + (unicodedata.east_asian_width(ch) in "WF") for ch in text_of(words))


def _ms(seconds: float) -> float:
    return to_ms(seconds) / 1000


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _a_line_each(items: Sequence[object]) -> str:
    return "[" + ",".join("\n " + _json(item) for item in items) + "]"
