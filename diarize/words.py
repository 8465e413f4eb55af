"""Who said which word: speakers for the words of a transcript.

A recogniser's word times are off by a tenth of a second or so, and so are the edges of turns. Taken one by
one, words beside a change of speaker fall on the wrong side of it, and sentences are cut for one word. So the
words are decided together: of all ways to give them speakers, the one that costs least, in seconds,

- a word costs the mean distance between its moments and the nearest turn of its speaker; inside it, nothing;
- a change of speaker between two words costs `SENTENCE_CUT_S` / (1 + pause between them / `PAUSE_S`), and
  nothing where a sentence ends,

found exactly by dynamic programming (A. J. Viterbi, *Error bounds for convolutional codes*, 1967). A word
outside all turns thereby goes to the nearest one or with its sentence. Where turns overlap, the one who began
first has the floor: recognisers hear one voice at a time, most often that one.

``benchmarks/words.py`` measures it beside the turn nearest to the middle of a word, NIST's way
(``mergectm2rttm.pl`` of SCTK), with simulated errors of word times: where punctuation is a good recogniser's,
4 to 9 % fewer words get the wrong speaker; where there is none, about as many.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from diarize.errors import FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SENTENCE_CUT_S = 0.2
"""What a change of speaker inside a sentence costs.

A compromise: more is better where punctuation is reliable (.1, .2, .5 s: 7.4, 7.2, 6.8 % of words wrong),
the same where it is weak (7.4, 7.3, 7.3), worse where there is none (7.7, 7.6, 7.8) or turns are perfect.
"""

PAUSE_S = 0.5
"""The pause that halves that cost; .25 to 1 do as well."""

POINTS = 5
"""Moments of a word at which distances are taken."""

_STOPS = frozenset(".!?…。．｡！？؟।॥")  # noqa: RUF001 - full-width ones are meant


class Timed(Protocol):
    """Anything with a ``start`` and an ``end``, in seconds."""

    @property
    def start(self) -> float:
        """Start in seconds."""

    @property
    def end(self) -> float:
        """End in seconds."""


class Spoken(Timed, Protocol):
    """A turn: from when to when, and the name of the speaker."""

    @property
    def speaker(self) -> str:
        """Name of the speaker."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word (in scripts without spaces: a character) from `start` to `end`, in seconds.

    text : with the space before it where there is one: texts put together are the transcript
    speaker : None: not known
    score : how sure the recogniser is of it, 0 to 1; None: it does not say
    last : whether a segment of the transcript, as the recogniser cut it, ends with it
    """

    start: float
    end: float
    text: str
    speaker: str | None = None
    score: float | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, in the order in which the recogniser put it.

    words : every word, with times
    form : the format it was read from: ``whisper``, ``srt``, ...
    spread : how many words had no times of their own and were spread over their segment, in proportion to
        their characters
    """

    words: tuple[Word, ...]
    form: str = ""
    spread: int = 0

    def __str__(self) -> str:
        return text_of(self.words)


def text_of(words: Iterable[Word]) -> str:
    """The words as one line of text."""
    return " ".join("".join(word.text for word in words).split())


def sentence_ends(words: Sequence[Word]) -> list[bool]:
    """Whether a sentence ends with each word.

    Punctuation tells (``.``, ``!``, ``?``, ``。`` and their like, closing quotes after them or not); in a
    transcript without any, the ends of its segments do. The last word always ends one.
    """
    ends = [_stops(word.text) for word in words]
    if not any(ends):
        ends = [word.last for word in words]
    return [*ends[:-1], True] if ends else []


def assign(words: Sequence[Word], turns: Iterable[Spoken]) -> tuple[Word, ...]:
    """The words, each with the speaker who said it.

    Every word gets a speaker as long as there is a turn; without turns all speakers are None. Speakers that
    words had before are not looked at. The result does not depend on the order of the turns. Time and memory
    grow with words times speakers.

    Parameters
    ----------
    words
        In the order of the text; their times may overlap and need not be sorted.
    turns
        Anything with ``start``, ``end`` (seconds) and ``speaker``: `Diarization.turns`, ... Speakers may
        overlap; where it is known who dominates, turns of one speaker at a time do better.

    Raises
    ------
    FormatError
        when a time is not finite or an end lies before its start, of a word or a turn.
    """
    import numpy as np

    start, end = _times(words, "word").T
    found = list(turns)
    _times(found, "turn")
    if not words or not found:
        return tuple(replace(word, speaker=None) for word in words)
    floors = _floors(found)
    names = list(floors)
    moments = start[:, None] + (end - start)[:, None] * ((np.arange(POINTS) + 0.5) / POINTS)
    costs = [_distances(moments, np.array(floors[name])) for name in names]
    pauses = np.maximum(start[1:] - end[:-1], 0.0)
    changes = np.where(sentence_ends(words)[:-1], 0.0, SENTENCE_CUT_S / (1 + pauses / PAUSE_S))
    path = cheapest(np.stack(costs, axis=1), changes)
    return tuple(replace(word, speaker=names[k]) for word, k in zip(words, path, strict=True))


def cheapest(costs: NDArray[np.float64], changes: NDArray[np.float64]) -> list[int]:
    """The column for each row with the least sum of costs and changes.

    Among equals, the one whose changes come latest: who has the floor keeps it.

    costs : (n, k), n >= 1, of each row in each column
    changes : (n - 1,), of taking another column than in the row before
    """
    import numpy as np

    best = costs[0].copy()
    back = np.empty(costs.shape, dtype=np.intp)
    stay = np.arange(costs.shape[1])
    for i in range(1, len(costs)):
        other = int(best.argmin())
        change = best[other] + changes[i - 1]
        back[i] = np.where(best < change, stay, other)
        best = np.minimum(best, change) + costs[i]
    k = int(best.argmin())
    path = [k]
    for i in range(len(costs) - 1, 0, -1):
        k = int(back[i, k])
        path.append(k)
    return path[::-1]


def _times(items: Sequence[Timed], what: str) -> NDArray[np.float64]:
    """Starts and ends, (n, 2), checked."""
    import numpy as np

    for number, item in enumerate(items, start=1):
        if not (math.isfinite(item.start) and math.isfinite(item.end) and item.start <= item.end):
            raise FormatError(
                f"{what} {number}: times must be finite with start <= end, got {item.start} to {item.end}"
            )
    return np.array([(item.start, item.end) for item in items], dtype=np.float64).reshape(-1, 2)


def _floors(turns: Iterable[Spoken]) -> dict[str, list[tuple[float, float]]]:
    """When each speaker has the floor: until the end of a turn it is with the one who began first."""
    floors: dict[str, list[tuple[float, float]]] = {}
    free = -math.inf
    for turn in sorted(turns, key=lambda turn: (turn.start, -turn.end, turn.speaker)):
        if turn.end > free:
            floors.setdefault(turn.speaker, []).append((max(turn.start, free), turn.end))
            free = turn.end
    return floors


def _distances(moments: NDArray[np.float64], spans: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance in seconds from the moments (n, m) of each word to the nearest of spans (k, 2): (n,).

    The spans are in order and do not overlap.
    """
    import numpy as np

    starts, ends = spans.T
    at = np.searchsorted(starts, moments, side="right")
    since = np.where(at > 0, moments - ends[np.maximum(at - 1, 0)], np.inf)
    until = np.where(at < len(starts), starts[np.minimum(at, len(starts) - 1)] - moments, np.inf)
    distances: NDArray[np.float64] = np.maximum(np.minimum(since, until), 0.0).mean(axis=1)
    return distances


def _stops(text: str) -> bool:
    """Whether the text ends with punctuation that ends sentences, in quotes and brackets or not."""
    text = text.rstrip()
    while text and (text[-1] in "\"'" or unicodedata.category(text[-1]) in {"Pe", "Pf"}):
        text = text[:-1]
    return text[-1:] in _STOPS
