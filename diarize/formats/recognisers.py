"""The JSON of speech recognisers: words with times, from what each of them calls them.

Sources: ``transcribe.py`` and ``timing.py`` of openai/whisper; ``transcribe.py`` of SYSTRAN/faster-whisper,
whose words are arrays where they were dumped as named tuples; ``alignment.py`` of m-bain/whisperX, which
leaves out the times of words that it cannot align; ``examples/cli`` of ggml-org/whisper.cpp (``-oj``,
``-ojf``); ``utils/timestamp_tools.py`` of modelscope/FunASR.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from typing import Any

from diarize.errors import FormatError
from diarize.words import Word

MAX_S = 1_000_000.0
"""The latest time, eleven days in; what lies beyond is most likely in milliseconds."""

CJK = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U000323af"
)
"""Characters of scripts without spaces, for a class of a regular expression: Han and kana."""

_TOKEN = re.compile(rf"\s*(?:[{CJK}]|[^\s{CJK}]+)[^\w\s]*")
_BEGINS_CJK = re.compile(f"[{CJK}]")
_ENDS_CJK = re.compile(rf"[{CJK}][^\w\s]*\Z")
_NOT_SPEECH = re.compile(r"<\|[^|<>]*\|>")  # <|zh|>, <|HAPPY|>: SenseVoice


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a JSON document, and the place where it stands, for messages."""

    value: Any
    place: str

    def __getitem__(self, key: str | int) -> Node:
        if isinstance(key, int):
            given = isinstance(self.value, list) and key < len(self.value)
            return Node(self.value[key] if given else None, f"{self.place}[{key}]")
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Node(value, f"{self.place}{' ' if self.place.endswith(':') else '.'}{key}")

    def has(self, *keys: str) -> bool:
        """Whether it is an object in which all these are given."""
        return all(self[key].value is not None for key in keys)

    def wrong(self, must: str) -> FormatError:
        """What to raise when it is not what it must be."""
        said = json.dumps(self.value, ensure_ascii=False, default=str)
        return FormatError(f"{self.place} must be {must}, got {said[:60]}{'...' if len(said) > 60 else ''}")

    def items(self) -> list[Node]:
        """Its elements."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [self[i] for i in range(len(self.value))]

    def text(self) -> str:
        """Its text."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return self.value

    def seconds(self, unit_s: float = 1.0) -> float:
        """Its number of units, in seconds."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("a number of seconds" if unit_s == 1 else "a number of milliseconds")
        if not 0 <= self.value <= MAX_S / unit_s:  # NaN is not, either
            raise self.wrong(f"from 0 to {MAX_S / unit_s:.0f}" + " s; milliseconds?" * (unit_s == 1))
        return float(self.value * unit_s)

    def span(self, first: str | int = "start", second: str | int = "end", unit_s: float = 1.0) -> Span:
        """Two times in it, in seconds."""
        start, end = self[first].seconds(unit_s), self[second].seconds(unit_s)
        if end < start:
            raise self[second].wrong(f">= its start, {self[first].value}")
        return start, end


Span = tuple[float, float]
Found = tuple[list[Word], int]
"""Words, and how many of them had no times of their own."""


def form_of(document: Node) -> str | None:
    """Which recogniser wrote a document; None: none that is known here."""
    if isinstance(document.value, list) and document.value:
        document = document[0]
    if document.has("schema"):
        return "diarize"
    if document.has("transcription"):
        return "whisper.cpp"
    if document.has("sentence_info") or document.has("text", "timestamp"):
        return "funasr"
    known = document.has("segments") or document.has("words") or document.has("start", "end", "text")
    return "whisper" if known else None


def whisper(document: Node) -> Found:
    """Segments with words or without, or words alone."""
    if document.has("words") and not any(segment.has("words") for segment in _listed(document["segments"])):
        words, spread = _timed([_whisper_word(word) for word in document["words"].items()], document)
        ends = sorted(segment["end"].seconds() for segment in _listed(document["segments"]))
        at = [bisect_right(ends, word.start) for word in words]
        return [
            replace(w, last=a < b) for w, a, b in zip(words, at, [*at[1:], len(ends)], strict=True)
        ], spread
    found: list[Word] = []
    spread = 0
    for segment in (document if isinstance(document.value, list) else document["segments"]).items():
        if words := [_whisper_word(word) for word in _listed(segment["words"])]:
            words, untimed = _timed(words, segment)
        else:
            words = spread_words(segment["text"].text(), *segment.span())
            untimed = len(words)
        found += _closed(words)
        spread += untimed
    return found, spread


def whisper_cpp(document: Node) -> Found:
    """Segments with tokens, which are put together to words, or without."""
    found: list[Word] = []
    spread = 0
    for segment in document["transcription"].items():
        words: list[Word] = []
        for token in _listed(segment["tokens"]):
            text = token["text"].text()
            if text.startswith("[_") or not text.strip() or not token.has("offsets"):
                continue
            start, end = token["offsets"].span("from", "to", 0.001)
            score = token["p"].seconds() if token.has("p") else None
            if words and not _begins_word(words[-1].text, text):
                before = words[-1]
                scores = [s for s in (before.score, score) if s is not None]
                words[-1] = replace(
                    before, end=max(before.end, end), text=before.text + text, score=min(scores, default=None)
                )
            else:
                words.append(Word(start, end, text, score=score))
        if not words or any("\ufffd" in word.text for word in words):  # characters cut between tokens
            words = spread_words(segment["text"].text(), *segment["offsets"].span("from", "to", 0.001))
            spread += len(words)
        found += _closed(words)
    return found, spread


def funasr(document: Node) -> Found:
    """Sentences, or one text, with the times of their characters and words."""
    results = document.items() if isinstance(document.value, list) else [document]
    if len(results) > 1:
        raise FormatError(
            f"{document.place} must hold one recording, got {len(results)}; save them one by one"
        )
    found: list[Word] = []
    spread = 0
    for result in results:
        for sentence in result["sentence_info"].items() if result.has("sentence_info") else [result]:
            stamps = [stamp for stamp in _listed(sentence["timestamp"]) if stamp.value is not None]
            times = [stamp.span(0, 1, 0.001) for stamp in stamps] or [sentence.span(unit_s=0.001)]
            words = spread_words(_NOT_SPEECH.sub(" ", sentence["text"].text()), 0.0, 1.0)
            if len(words) == len(times):
                words = [replace(word, start=a, end=b) for word, (a, b) in zip(words, times, strict=True)]
            else:
                words = [_along(word, times) for word in words]
                spread += len(words)
            found += _closed(words)
    return found, spread


def diarized(document: Node) -> Found:
    """What `diarize words` wrote."""
    if document["schema"].value != "diarize.words/1":
        raise document["schema"].wrong('"diarize.words/1"')
    words = [
        Word(*word.span(), word["text"].text(), score=_score(word, "score"), last=word["last"].value is True)
        for word in document["words"].items()
    ]
    return words, 0


def spread_words(text: str, start: float, end: float) -> list[Word]:
    """The words of a text, spread from start to end (seconds) in proportion to their characters."""
    tokens = _TOKEN.findall(text)
    return [
        Word(a, b, " " * token[0].isspace() + token.strip())
        for token, (a, b) in zip(tokens, _shares(tokens, start, end) if tokens else [], strict=True)
    ]


def _listed(node: Node) -> list[Node]:
    """Its elements; none where nothing is given."""
    return node.items() if node.value is not None else []


def _closed(words: Sequence[Word]) -> list[Word]:
    """A segment's words, the last one marked."""
    return [*words[:-1], *(replace(word, last=True) for word in words[-1:])]


def _whisper_word(node: Node) -> Word:
    """One word; its times NaN where they are not given."""
    if isinstance(node.value, list):
        keys = ("start", "end", "word", "probability")
        node = Node(dict(zip(keys, node.value, strict=False)), node.place)
    text = node["word" if node.has("word") else "text"].text()
    if any(node[key].value is None or node[key].value != node[key].value for key in ("start", "end")):
        return Word(math.nan, math.nan, text)
    return Word(*node.span(), text, score=_score(node, "probability", "score", "confidence"))


def _score(node: Node, *keys: str) -> float | None:
    """The first that is given of some numbers between 0 and 1."""
    for key in keys:
        value = node[key].value
        if isinstance(value, int | float) and 0 <= value <= 1:
            return float(value)
    return None


def _timed(words: list[Word], segment: Node) -> Found:
    """The words, those without times spread between their neighbours; and how many those were."""
    found: list[Word] = []
    spread = 0
    known = segment.span() if segment.has("start", "end") else None
    for timed, run in groupby(words, key=lambda word: not math.isnan(word.start)):
        some = list(run)
        if timed:
            found += some
            continue
        spread += len(some)
        following = words[len(found) + len(some) :]
        if not (found or following):
            known = segment.span()
        start = found[-1].end if found else known[0] if known else following[0].start
        end = following[0].start if following else known[1] if known else start
        shares = _shares([word.text for word in some], start, max(start, end))
        found += [replace(word, start=a, end=b) for word, (a, b) in zip(some, shares, strict=True)]
    return found, spread


def _shares(texts: Sequence[str], start: float, end: float) -> list[Span]:
    """From start to end, a part for each text, in proportion to its characters."""
    sizes = [max(len(text.strip()), 1) for text in texts]
    total = sum(sizes)
    return list(pairwise(start + (end - start) * done / total for done in accumulate(sizes, initial=0)))


def _begins_word(before: str, text: str) -> bool:
    """Whether a token begins a word after a text: at a space; beside a character of its own."""
    alone = _BEGINS_CJK.match(text) or (_ENDS_CJK.search(before) and text[0].isalnum())
    return text[0].isspace() or bool(alone)


def _along(word: Word, times: Sequence[Span]) -> Word:
    """A word with its times in shares of a list of times: 0 where it begins, 1 where it ends."""

    def at(share: float, index: int) -> float:
        index = min(max(index, 0), len(times) - 1)
        begin, end = times[index]
        return begin + (share * len(times) - index) * (end - begin)

    start = at(word.start, int(word.start * len(times)))
    end = at(word.end, math.ceil(word.end * len(times)) - 1)
    return replace(word, start=start, end=max(start, end))
