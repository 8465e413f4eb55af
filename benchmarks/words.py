"""How many words get the wrong speaker: `diarize.words.assign` beside the nearest turn.

    python benchmarks/words.py DATA [--scan] [--reference]

DATA holds folders `conversations` and `composed` of recordings with RTTM references (and UEMs). The turns are
those of the default `Diarizer`, each recording run once and kept in `--cache`; `--reference` takes the
reference turns instead, which overlap.

The words are SIMULATED: no transcripts of these recordings are at hand. Reference turns are filled with words
(median .24 s, pauses between some, sentences of nine on average). While two turns overlap one of them is
heard: in .8 of the cases the one that began first (`--heard either`: in .5). Times then get the errors of

    aligned   a forced alignment: 50 ms (sd) on each edge, 30 ms on each sentence
    whisper   attention weights: 100 ms on each edge and each sentence, half of the pauses swallowed by a word
    rough     200 ms and 150 ms, .8 of the pauses swallowed
    spread    no word times: words spread over segments of up to 28 words in proportion to their characters

and punctuation those of a recogniser: `good` finds .8 of the sentence ends, nine of ten turns end with one,
and 2 % of the other words seem to be one; `weak` .4, eight of ten, 3 %; `none`: no punctuation at all.

A word is wrong if its speaker, under the mapping of speakers that shares most time, is not the one in whose
turn it was put. The baseline gives a word to the turn that holds its midpoint (the first of several), else to
the nearest. Intervals: the middle 95 % of 2,000 bootstrap draws over recordings, paired. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import diarize.words
from diarize.formats.rttm import read_rttm
from diarize.formats.uem import read_uem
from diarize.result import Turn
from diarize.words import Word, assign

SETS = ("conversations", "composed")
EDGE_S = {"aligned": 0.05, "whisper": 0.1, "rough": 0.2, "spread": 0.0}
SENTENCE_S = {"aligned": 0.03, "whisper": 0.1, "rough": 0.15, "spread": 0.15}
SWALLOWED = {"aligned": 0.0, "whisper": 0.5, "rough": 0.8, "spread": 0.0}
PUNCTUATION = {"good": (0.8, 0.02, 0.9), "weak": (0.4, 0.03, 0.8), "none": (0.0, 0.0, 0.9)}
"""Share of sentence ends found, of other words taken for one, of turns that end with a sentence."""

FIRST = {"first": 0.8, "either": 0.5}
"""How often the one who began first is heard while two speak."""


@dataclass(frozen=True)
class Recording:
    """Reference and hypothesis turns, and which reference speaker each hypothesis speaker is."""

    folder: str
    name: str
    reference: list[Turn]
    hypothesis: list[Turn]
    parts: list[tuple[float, float]]
    mapping: dict[str, str]


@dataclass(frozen=True)
class Heard:
    """Words as a recogniser has them, and who said them."""

    words: list[Word]
    speakers: list[str]


def turns_of(path: Path) -> list[Turn]:
    recordings = read_rttm(path)
    tracks = [t for a in recordings.values() for t in a.itertracks(yield_label=True)]
    return sorted(Turn(segment.start, segment.end, str(label)) for segment, _, label in tracks)


def recordings(data: Path, cache: Path, reference: bool) -> Iterator[Recording]:
    diarizer = None
    for folder in SETS:
        for file in sorted((data / folder).glob("*.rttm")):
            truth, hypothesis = turns_of(file), turns_of(file)
            uem = file.with_suffix(".uem")
            parts = [(p.start, p.end) for t in (read_uem(uem) if uem.exists() else {}).values() for p in t]
            if sum(turn.duration for turn in truth) < 2:
                continue  # too little speech to count anywhere in this project
            if not reference:
                kept = cache / f"{folder}-{file.name}"
                if not kept.exists():
                    from diarize import Diarizer

                    diarizer = diarizer or Diarizer()
                    sound = next(f for f in sorted(file.parent.glob(f"{file.stem}.*")) if f.suffix in SOUNDS)
                    kept.write_text(diarizer(sound).to_rttm())
                hypothesis = turns_of(kept)
            parts = parts or [(0.0, np.inf)]
            mapping = mapped(truth, hypothesis, parts)
            yield Recording(folder, file.stem, truth, hypothesis, parts, mapping)


SOUNDS = {".flac", ".wav", ".mp3"}


def mapped(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], parts: list[tuple[float, float]]
) -> dict[str, str]:
    """The reference speaker of each hypothesis speaker: one to one, sharing the most time."""
    rows, columns = ([*dict.fromkeys(t.speaker for t in turns)] for turns in (reference, hypothesis))
    shared = np.zeros((len(rows), len(columns)))
    for a in reference:
        for b in hypothesis:
            for start, end in parts:
                both = min(a.end, b.end, end) - max(a.start, b.start, start)
                shared[rows.index(a.speaker), columns.index(b.speaker)] += max(both, 0.0)
    return {columns[j]: rows[i] for i, j in zip(*linear_sum_assignment(-shared), strict=True)}


def spoken(
    recording: Recording, end_of_turn: float, rule: str, draw: int, rng: np.random.Generator
) -> list[tuple[Word, str]]:
    """True words with their speakers; `last` where a sentence ends."""
    found: list[tuple[Word, str]] = []
    for turn in recording.reference:
        said: list[Word] = []
        at, left = turn.start + rng.uniform(0, 0.05), int(rng.geometric(1 / 9))
        while turn.end - at > 0.06:
            length = float(np.clip(rng.lognormal(np.log(0.24), 0.45), 0.08, 0.7))
            left -= 1
            said.append(Word(at, min(at + length, turn.end), "word", last=left <= 0))
            pause = rng.uniform(0.1, 0.5) if rng.random() < 0.07 else rng.uniform(0, 0.03)
            if left <= 0:
                left = int(rng.geometric(1 / 9))
                pause = rng.choice([0.03, 0.2, 0.5], p=[0.3, 0.4, 0.3]) * rng.uniform(0.5, 1.5)
            at += length + pause
        if said and rng.random() < end_of_turn:
            said[-1] = Word(said[-1].start, said[-1].end, "word", last=True)
        others = [t for t in recording.reference if t.speaker != turn.speaker]
        others = [t for t in others if min(t.end, turn.end) - max(t.start, turn.start) > 0]
        lost = [t for t in others if hears_other(t, turn, rule, draw)]
        said = [w for w in said if not any(t.start < (w.start + w.end) / 2 < t.end for t in lost)]
        found += [(word, turn.speaker) for word in said]
    kept = [
        pair
        for pair in found
        if any(start <= (pair[0].start + pair[0].end) / 2 <= end for start, end in recording.parts)
    ]
    return sorted(kept, key=lambda pair: pair[0].start)


def hears_other(other: Turn, turn: Turn, rule: str, draw: int) -> bool:
    """Whether a recogniser hears the other one of two turns while they overlap."""
    first, second = sorted((other, turn))
    rng = np.random.default_rng([draw, int(first.start * 1000), int(second.start * 1000)])
    return (first if rng.random() < FIRST[rule] else second) is other


def heard(recording: Recording, timing: str, punctuation: str, draw: int, rule: str) -> Heard:
    """The words of a recording with the errors of a recogniser."""
    rng = np.random.default_rng([draw, *recording.name.encode()])
    found, invented, end_of_turn = PUNCTUATION[punctuation]
    true = spoken(recording, end_of_turn, rule, draw, rng)
    n = len(true)
    if not n:
        return Heard([], [])
    start, end = np.array([(word.start, word.end) for word, _ in true]).T
    ends = np.array([word.last for word, _ in true])
    sentence = np.concatenate([[0], np.cumsum(ends[:-1])])
    shift = rng.normal(0, SENTENCE_S[timing], sentence[-1] + 1)[sentence]
    if timing == "spread":
        a, b = spread(start + shift, end + shift, start, end, ends, rng)
    else:
        a, b = (edge + shift + rng.normal(0, EDGE_S[timing], n) for edge in (start, end))
        for i in np.flatnonzero((start[1:] - end[:-1] > 0.05) & (rng.random(n - 1) < SWALLOWED[timing])):
            if rng.random() < 0.5:
                b[i] = a[i + 1]
            else:
                a[i + 1] = b[i]
    a = np.maximum.accumulate(np.maximum(a, 0))
    b = np.maximum(b, a + 0.02)
    b[:-1] = np.minimum(b[:-1], np.maximum(a[1:], a[:-1] + 0.02))
    seen = (ends & (rng.random(n) < found)) | (rng.random(n) < invented)
    words = [Word(x, y, "word." if stop else "word") for x, y, stop in zip(a, b, seen, strict=True)]
    return Heard(words, [speaker for _, speaker in true])


def spread(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    ends: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times of words that only their segments have: some sentences without a pause of 1 s."""
    characters = np.maximum(1, np.round((end - start) / 0.07 + rng.normal(0, 1.2, len(start))))
    first, found = 0, []
    for i in range(len(start)):
        more = i + 1 < len(start) and start[i + 1] - end[i] < 1 and i - first < 28
        if more and not (ends[i] and rng.random() < 0.6):
            continue
        parts = np.concatenate([[0], np.cumsum(characters[first : i + 1])]) / characters[first : i + 1].sum()
        edges = a[first] + max(b[i] - a[first], 0.1) * parts
        found += pairwise(edges)
        first = i + 1
    return np.array(found).T[0], np.array(found).T[1]


def nearest(words: Sequence[Word], turns: Sequence[Turn]) -> list[str]:
    """The baseline: the turn that holds the word's midpoint, else the nearest."""
    names = [turn.speaker for turn in turns]
    starts, ends = np.array([(turn.start, turn.end) for turn in turns]).T
    middle = np.array([(word.start + word.end) / 2 for word in words])[:, None]
    return [names[i] for i in np.maximum(starts - middle, middle - ends).clip(0).argmin(axis=1)]


def ours(words: Sequence[Word], turns: Sequence[Turn]) -> list[str]:
    return [str(word.speaker) for word in assign(words, turns)]


Method = Callable[[Sequence[Word], Sequence[Turn]], list[str]]
Counts = dict[tuple[str, str], NDArray[np.float64]]


def count(cases: Sequence[tuple[Recording, str, Heard]], method: Method) -> Counts:
    """(recordings, 2) by folder and timing: words with the wrong speaker, and words."""
    found: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for recording, timing, said in cases:
        given = method(said.words, recording.hypothesis)
        wrong = sum(recording.mapping.get(x) != y for x, y in zip(given, said.speakers, strict=True))
        rows = found[recording.folder, timing]
        rows[recording.name] = rows.get(recording.name, 0) + np.array([wrong, len(given)])
    return {key: np.array(list(rows.values())) for key, rows in found.items()}


def rate(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per cent of words, of (..., recordings, 2)."""
    wrong, words = np.moveaxis(counts.sum(axis=-2), -1, 0)
    rates: NDArray[np.float64] = 100 * wrong / words
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "diarize-words")
    parser.add_argument("--draws", type=int, default=3, help="of words and errors for each recording")
    parser.add_argument("--heard", choices=FIRST, default="first", help="of two who speak at once")
    parser.add_argument("--reference", action="store_true", help="reference turns instead of the diarizer's")
    parser.add_argument("--scan", action="store_true", help="other values of the two constants")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    known = [r for r in recordings(given.data, given.cache, given.reference) if r.hypothesis]
    for punctuation in PUNCTUATION:
        cases = [
            (recording, timing, said)
            for recording in known
            for timing in EDGE_S
            for draw in range(given.draws)
            if (said := heard(recording, timing, punctuation, draw, given.heard)).words
        ]
        print(f"\npunctuation: {punctuation}; {len(cases)} cases of {len(known)} recordings")
        if given.scan:
            scan(cases)
            continue
        base, found = count(cases, nearest), count(cases, ours)
        print(
            "| set | times | words | nearest turn, % wrong | ours | difference, 95 % interval |\n"
            + "|---" * 6
            + "|"
        )
        for key, counts in base.items():
            draws = np.random.default_rng(0).integers(0, len(counts), (2000, len(counts)))
            low, high = np.quantile(rate(found[key][draws]) - rate(counts[draws]), [0.025, 0.975])
            a, b = rate(counts), rate(found[key])
            words = int(counts[:, 1].sum()) // given.draws
            print(
                f"| {' | '.join(key)} | {words} | {a:.2f} | {b:.2f} "
                f"| {b - a:+.2f} [{low:+.2f}, {high:+.2f}] |"
            )


def scan(cases: Sequence[tuple[Recording, str, Heard]]) -> None:
    """Mean error over sets and timings at other values of the constants."""
    pauses = (0.1, 0.25, 0.5, 1.0, 1e9)
    print("rows: SENTENCE_CUT_S; columns: PAUSE_S " + " ".join(f"{pause:g}" for pause in pauses))
    for cut in (0.0, 0.1, 0.2, 0.3, 0.5, 0.8):
        rates = []
        for pause in pauses:
            diarize.words.SENTENCE_CUT_S, diarize.words.PAUSE_S = cut, pause
            rates.append(np.mean([rate(counts) for counts in count(cases, ours).values()]))
        print(f"{cut:.1f}  " + "  ".join(f"{value:.2f}" for value in rates), flush=True)


if __name__ == "__main__":
    main()
