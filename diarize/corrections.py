"""Who is who, corrected: what somebody knows better, and what follows from it for the rest.

    kept = meeting.kept                                  # or Kept.load("meeting.diarize")
    kept = merge(kept, "SPEAKER_00", "SPEAKER_02")       # they are one
    kept = split(kept, "SPEAKER_01")                     # they are two
    kept = apart(kept, 62.5, 130.0)                      # who speaks at these moments is not one speaker
    kept = together(kept, 62.5, 410.2)                   # ... is one
    kept = edited(kept, read_rttm("mine.rttm"))          # what was changed there is true
    kept.result()

Each returns a new `Kept`; `undo` goes back. What was said stays: windows of which somebody said whose they
are never move again. The other windows of the speakers concerned, and of nobody else, go to whom they clearly
resemble more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diarize.clustering.kmeans import k_means
from diarize.engine import unit
from diarize.errors import CorrectionError
from diarize.kept import NOBODY, Kept, Labelling, merged, without
from diarize.resampling import SAMPLE_RATE
from diarize.result import Turn, next_name
from diarize.stages.items import Span

CLEARLY = 0.05
"""By how much a window must score higher with another speaker to go there. Without it one window in ten of a
speaker follows a turn that is said to be another's and is not, with it one in a hundred; with more, fewer of
those follow that should (docs/decisions/0011-corrections.md)."""

ROUNDS = 10

NEAR_S = 1.0
"""Windows whose middles are so near a moment are those that `apart` is said of."""


# Speakers ------------------------------------------------------------------------------------------


def merge(kept: Kept, speaker: str, *others: str) -> Kept:
    """Speakers who are one, under the first name; CorrectionError for an unknown name."""
    into, gone = label_of(kept, speaker), [label_of(kept, other) for other in others]
    if not gone or into in gone:
        raise CorrectionError(f"merge takes two speakers or more, all different, got {(speaker, *others)}")
    now = kept.now
    target = np.arange(len(now.names))
    target[gone] = into
    return kept.labelled(tidy(now, target, f"merge {quoted(speaker, *others)}"))


def rename(kept: Kept, speaker: str, name: str) -> Kept:
    """A speaker with another name; CorrectionError for an unknown name or one that somebody has."""
    label = label_of(kept, speaker)
    if not name.strip():
        raise CorrectionError("a speaker's new name must not be empty")
    if name != speaker and name in kept.now.names:
        raise CorrectionError(f"somebody is called {name!r} already; if they are one, merge them")
    names = [name if i == label else old for i, old in enumerate(kept.now.names)]
    made_by = f"rename {quoted(speaker, name)}"
    return kept.labelled(replace(kept.now, names=tuple(names), made_by=made_by))


def split(kept: Kept, speaker: str, into: int = 2) -> Kept:
    """One speaker as several; who has the most windows keeps the name.

    Raises CorrectionError for an unknown name, or where there are not as many windows, or where all of them
    were said to be the speaker's.
    """
    label = label_of(kept, speaker)
    mine = np.flatnonzero((kept.now.labels == label) & ~kept.now.fixed)
    if into < 2 or len(mine) + bool(kept.now.fixed[kept.now.labels == label].any()) < into:
        raise CorrectionError(
            f"{speaker} has {len(mine)} windows that can be moved, which cannot be split into {into}"
        )
    parts = parted(kept.rows[kept.index[mine]], into)
    now = kept.now
    labels, names = now.labels.copy(), list(now.names)
    biggest = int(np.bincount(parts, minlength=into).argmax())
    new = []
    for part in range(into):
        if part != biggest:
            labels[mine[parts == part]] = len(names)
            new.append(len(names))
            names.append(next_name(names))
    made_by = f"split {quoted(speaker)} into {into}"
    changed = replace(now, labels=labels, names=tuple(names), made_by=made_by)
    return kept.labelled(settled(kept, changed, [label, *new], keep=True))


# Moments -------------------------------------------------------------------------------------------


def together(kept: Kept, a_s: float, b_s: float) -> Kept:
    """Who speaks at two moments, in seconds, is one speaker.

    The turns of both go to the one of the two speakers whom both together resemble more; windows of the
    other one that resemble these turns more than their own speaker follow. Speakers who are one altogether
    are a case for `merge`. Raises CorrectionError where nobody speaks.
    """
    one, other = at(kept, a_s), at(kept, b_s)
    labels = [kept.spans[one].label, kept.spans[other].label]
    windows = [windows_of(kept, one), windows_of(kept, other)]
    both = np.concatenate(windows)
    total = kept.rows[kept.index[both]].sum(0)
    winner = max(dict.fromkeys(labels), key=lambda label: float(total @ kept.means[label]))
    made_by = f"together {a_s:g} {b_s:g}"
    return kept.labelled(settled(kept, pinned(kept, {winner: both}, kept.now.names, made_by), labels))


def apart(kept: Kept, a_s: float, b_s: float) -> Kept:
    """Who speaks at two moments, in seconds, is not one speaker.

    Where it was one, what resembles the speaker less goes to another speaker whom it resembles enough, or to
    a new one, and the speaker's other windows go with what they resemble more. What is said near a moment is
    taken only: a turn in which somebody was not noticed has more than one voice. Raises CorrectionError where
    nobody speaks, or where the moments are too close to one another to be told apart.
    """
    one, other = at(kept, a_s), at(kept, b_s)
    label = kept.spans[one].label
    own = near(kept, windows_of(kept, one), a_s, b_s)
    strange = near(kept, windows_of(kept, other), b_s, a_s)
    names, made_by = list(kept.now.names), f"apart {a_s:g} {b_s:g}"
    if label != kept.spans[other].label:
        said = {label: own, kept.spans[other].label: strange}
        return kept.labelled(pinned(kept, said, names, made_by))
    means = unit(np.stack([kept.rows[kept.index[windows]].mean(0) for windows in (own, strange)]))
    if float(means[0] @ kept.means[label]) < float(means[1] @ kept.means[label]):
        one, other, own, strange, means = other, one, strange, own, means[::-1]
    free = np.flatnonzero((kept.now.labels == label) & ~kept.now.fixed)
    alike = np.setdiff1d(free[halved(kept, free, own, strange)], own)
    elsewhere = kept.rows[kept.index[np.setdiff1d(alike, windows_of(kept, other))]]
    theirs = unit(elsewhere.sum(0))
    scores = kept.means @ means[1]
    scores[label] = -1.0
    target = int(scores.argmax())
    somebody_new = scores[target] < max(kept.threshold, float(theirs @ means[1]))
    if somebody_new:
        target = len(names)
        names.append(next_name(names))
    changed = pinned(kept, {label: own, target: strange}, names, made_by)
    if somebody_new:
        changed.labels[alike] = target
    return kept.labelled(settled(kept, changed, [label, target], keep=True))


# Turns ---------------------------------------------------------------------------------------------


def edited(kept: Kept, turns: Sequence[Turn]) -> Kept:
    """The turns as somebody changed them, all of them: what is different is true, to the millisecond.

    Where a turn was changed, added or removed, `turns` say all there is; the windows in it are whose they
    say, and the other windows of the speakers concerned are given anew. A new name is a new speaker, unless
    all turns of one speaker have it and nothing else changed: that is a new name.
    """
    found = kept.result().turns
    before = {(*milliseconds(turn), turn.speaker) for turn in found}
    after = {(*milliseconds(turn), turn.speaker) for turn in turns}
    new_names = renamed(before, after)
    names = [new_names.get(name, name) for name in kept.now.names]
    before = {(start, end, new_names.get(name, name)) for start, end, name in before}
    names += dict.fromkeys(name for _, _, name in sorted(after) if name not in names)
    samples = edges(found, kept.duration)
    pieces = merged([(samples(start), samples(end)) for start, end, _ in before ^ after])
    spans = [Span(samples(start), samples(end), names.index(name)) for start, end, name in sorted(after)]
    said = [(start, end, span.label) for span in spans for start, end in common(span, pieces)]
    silent = [
        (gap.start, gap.end, NOBODY)
        for start, end in pieces
        for gap in without([Span(start, end, NOBODY)], [one[:2] for one in said])
    ]
    earlier = [
        (span.start, span.end, span.label)
        for row in kept.now.said.tolist()
        for span in without([Span(*row)], pieces)
    ]
    now = replace(
        kept.now,
        names=tuple(names),
        said=np.array(sorted([*earlier, *said, *silent]), np.int64).reshape(-1, 3),
        made_by="edited turns" if pieces else f"rename {len(new_names)} in the turns",
    )
    middles = (kept.windows[:, 0] + kept.windows[:, 1]) // 2
    theirs: dict[int, NDArray[np.int64]] = {}
    for start, end, label in said:
        inside = np.arange(*np.searchsorted(middles, (start, end)))
        theirs[label] = np.union1d(theirs.get(label, inside[:0]), inside)
    touched = {*kept.now.labels[np.concatenate([*theirs.values(), np.zeros(0, np.int64)])].tolist(), *theirs}
    changed = pinned(replace(kept, now=now), theirs, names, now.made_by)
    return kept.labelled(settled(kept, changed, sorted(touched)) if touched else changed)


def undo(kept: Kept) -> Kept:
    """As before the last correction; CorrectionError where there was none."""
    if not kept.before:
        raise CorrectionError("there is no correction to undo")
    return replace(kept, now=kept.before[-1], before=kept.before[:-1])


# How it is done ------------------------------------------------------------------------------------


def label_of(kept: Kept, speaker: str) -> int:
    """The label of a speaker by name."""
    if speaker not in kept.now.names:
        raise CorrectionError(
            f"nobody is called {speaker!r}; there are {', '.join(kept.now.names) or 'none'}"
        )
    return kept.now.names.index(speaker)


def at(kept: Kept, second: float) -> int:
    """The number of the span at a moment, in seconds."""
    sample = round(second * SAMPLE_RATE)
    for number, span in enumerate(kept.spans):
        if span.start <= sample < span.end:
            return number
    raise CorrectionError(f"nobody speaks at {second:g} s")


def windows_of(kept: Kept, number: int) -> NDArray[np.int64]:
    """The windows of a span: those with its label whose middle lies in it, else the nearest one."""
    span = kept.spans[number]
    middles = (kept.windows[:, 0] + kept.windows[:, 1]) // 2
    inside = np.arange(*np.searchsorted(middles, (span.start, span.end)))
    own = inside[kept.now.labels[inside] == span.label]
    nearest = abs(middles - (span.start + span.end) // 2).argmin()
    return own if len(own) else np.array([nearest], np.int64)


def near(kept: Kept, windows: NDArray[np.int64], second: float, other: float) -> NDArray[np.int64]:
    """Of a turn's windows those near one moment, and nearer to it than to another one."""
    middles = kept.windows[windows, :2].mean(1) / SAMPLE_RATE
    away = abs(middles - second)
    found = windows[(away < abs(middles - other)) & (away <= max(NEAR_S, away.min()))]
    if not len(found) or away.min() > abs(second - other) / 2:
        raise CorrectionError(
            f"{second:g} s and {other:g} s lie in one turn and too close together to be told apart; "
            "say who speaks when: edit the turns"
        )
    return np.asarray(found)


def pinned(kept: Kept, said: dict[int, NDArray[np.int64]], names: Sequence[str], made_by: str) -> Labelling:
    """Windows with the labels that somebody said."""
    labels, fixed = kept.now.labels.copy(), kept.now.fixed.copy()
    for label, windows in said.items():
        labels[windows], fixed[windows] = label, True
    return replace(kept.now, labels=labels, names=tuple(names), fixed=fixed, made_by=made_by)


def settled(kept: Kept, now: Labelling, touched: Sequence[int], keep: bool = False) -> Labelling:
    """The windows of the labels that were touched given anew to these, but for those that are fixed.

    keep : if one of them would lose its last window, leave them all as they are
    """
    mine = np.flatnonzero(np.isin(now.labels, touched))
    used, labels = np.unique(now.labels[mine], return_inverse=True)
    found = followed(kept.rows[kept.index[mine]], labels, now.fixed[mine])
    if keep and len(np.unique(found)) < len(used):
        return now
    better = now.labels.copy()
    better[mine] = used[found]
    return tidy(replace(now, labels=better), np.arange(len(now.names)), now.made_by)


def followed(
    rows: NDArray[np.float32], labels: NDArray[np.int64], fixed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Labels (n,) once no row that is not fixed resembles somebody clearly more than its own."""
    everybody = np.arange(len(labels))
    for _ in range(ROUNDS):
        sums = np.zeros((int(labels.max()) + 1, rows.shape[1]))
        np.add.at(sums, labels, rows)
        scores = rows @ unit(sums).T
        better = ~fixed & (scores.max(1) > scores[everybody, labels] + CLEARLY)
        if not better.any():
            break
        labels = np.where(better, scores.argmax(1), labels)
    return labels


def tidy(now: Labelling, target: NDArray[np.int64], made_by: str) -> Labelling:
    """Labels replaced by `target[label]`; names that nobody has any more are left out."""
    labels = target[now.labels]
    said = now.said.copy()
    said[:, 2] = np.where(said[:, 2] == NOBODY, NOBODY, target[said[:, 2]])
    used = np.union1d(labels, said[said[:, 2] != NOBODY, 2])
    said[:, 2] = np.where(said[:, 2] == NOBODY, NOBODY, np.searchsorted(used, said[:, 2]))
    names = tuple(now.names[label] for label in used.tolist())
    return Labelling(made_by, np.searchsorted(used, labels), names, now.fixed, said)


def parted(rows: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Rows in so many groups, none of them empty; (n,)."""
    labels = k_means(rows.astype(np.float64), count, np.ones(len(rows)))
    for part in range(count):
        if not (labels == part).any():  # equal rows: any will do
            sizes = np.bincount(labels, minlength=count)
            labels[np.flatnonzero(labels == sizes.argmax())[-1]] = part
    return labels


def halved(
    kept: Kept, free: NDArray[np.int64], own: NDArray[np.int64], strange: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which windows of a speaker who is two are like the strange ones: halves that these lie apart in.

    Where they do not, whichever of the two turns each resembles more.
    """
    rows = kept.rows[kept.index[np.concatenate([free, own, strange])]]
    parts = parted(rows, 2)
    ours, theirs = parts[len(free) : len(free) + len(own)].mean(), parts[len(free) + len(own) :].mean()
    if (ours < 0.5) != (theirs < 0.5):
        return np.asarray(parts[: len(free)] == (theirs >= 0.5))
    a, b = (kept.rows[kept.index[windows]].sum(0) for windows in (own, strange))
    return np.asarray(rows[: len(free)] @ (b / np.linalg.norm(b) - a / np.linalg.norm(a)) > 0)


def renamed(before: set[tuple[int, int, str]], after: set[tuple[int, int, str]]) -> dict[str, str]:
    """Speakers all of whose turns have one new name that nobody had, and that has no other turns."""

    def times(turns: set[tuple[int, int, str]]) -> dict[str, frozenset[tuple[int, int]]]:
        names = {name for _, _, name in turns}
        return {name: frozenset(one[:2] for one in turns if one[2] == name) for name in names}

    old, new = times(before), times(after)
    by_times = {when: name for name, when in new.items() if name not in old}
    return {name: by_times[when] for name, when in old.items() if name not in new and when in by_times}


def milliseconds(turn: Turn) -> tuple[int, int]:
    """Start and end as formats write them."""
    return round(turn.start * 1000), round(turn.end * 1000)


def edges(turns: Sequence[Turn], duration: float) -> Callable[[int], int]:
    """From milliseconds to samples, for edges of these turns to the exact one."""
    last = round(duration * SAMPLE_RATE)
    exact = {
        ms: round(second * SAMPLE_RATE)
        for turn in turns
        for ms, second in zip(milliseconds(turn), (turn.start, turn.end), strict=True)
    }
    return lambda ms: min(exact.get(ms, ms * SAMPLE_RATE // 1000), last)


def common(span: Span, pieces: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of a span lies in the pieces."""
    both = [(max(span.start, start), min(span.end, end)) for start, end in pieces]
    return [(start, end) for start, end in both if start < end]


def quoted(*names: str) -> str:
    """Names as one reads them in a history."""
    return " ".join(names)
