"""Two accounts of who spoke when, side by side: whose speaker is whose, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from diarize.result import Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pyannote.core import Annotation

KINDS = ("missed", "false alarm", "confused")
"""Of errors, as `diarize.scoring` counts them."""


@dataclass(frozen=True, slots=True)
class Error:
    """A stretch in which as many voices are wrong in the same way.

    kind : one of `KINDS`
    start, end : seconds
    voices : how many are wrong, 1 or more
    """

    kind: str
    start: float
    end: float
    voices: int

    @property
    def seconds(self) -> float:
        """Seconds of error: of each voice."""
        return (self.end - self.start) * self.voices


def ranks(reference: Sequence[Turn], hypothesis: Sequence[Turn]) -> tuple[dict[str, int], dict[str, int]]:
    """The rank of each speaker, which is its place and its colour: reference names, hypothesis names.

    Reference speakers, or those of a hypothesis without one, count in order of first appearance. A
    hypothesis speaker has the rank of the reference speaker it is mapped to, else one of its own after
    all of those. What the two call their speakers plays no part.
    """
    from scipy.optimize import linear_sum_assignment

    truth, found = speakers_of(reference), speakers_of(hypothesis)
    edges, said, heard = _moments(reference, hypothesis)
    shared = (heard * (edges[1:] - edges[:-1])[:, None]).T @ said
    pairs = zip(*linear_sum_assignment(-shared), strict=True)
    matched = {found[i]: int(j) for i, j in pairs if shared[i, j] > 0}
    spare = iter(range(len(truth), len(truth) + len(found)))
    order = {name: matched[name] if name in matched else next(spare) for name in found}
    return {name: i for i, name in enumerate(truth)}, order


def errors(reference: Sequence[Turn], hypothesis: Sequence[Turn]) -> list[Error]:
    """Where a hypothesis differs from a reference, from 0 to the last end in either, without a collar.

    At each moment voices are compared, speakers mapped as in `ranks`: those beyond as many as were found are
    missed, those beyond as many as there are are false alarm, others who are not who speaks are confused. A
    speaker's own turns that overlap are one voice.
    """
    import numpy as np

    truth, order = ranks(reference, hypothesis)
    edges, said, heard = _moments(reference, hypothesis)
    right = np.zeros(len(edges) - 1, np.int64)
    for i, name in enumerate(speakers_of(hypothesis)):
        if order[name] < len(truth):
            right += (heard[:, i] & said[:, order[name]]).astype(np.int64)
    there, found = said.sum(1), heard.sum(1)
    voices = {
        "missed": np.maximum(there - found, 0),
        "false alarm": np.maximum(found - there, 0),
        "confused": np.minimum(there, found) - right,
    }
    out = []
    for kind, count in voices.items():
        change = np.flatnonzero(np.diff(count, prepend=0, append=0))
        out += [
            Error(kind, float(edges[a]), float(edges[b]), int(count[a]))
            for a, b in pairwise(change.tolist())
            if count[a]
        ]
    return out


def _moments(
    reference: Sequence[Turn], hypothesis: Sequence[Turn]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Times (m + 1,) between which nothing changes, and who speaks between them: (m, speakers) of each."""
    import numpy as np

    edges = np.unique([0.0, *(time for turn in (*reference, *hypothesis) for time in (turn.start, turn.end))])

    def who(turns: Sequence[Turn]) -> Any:
        names = {name: i for i, name in enumerate(speakers_of(turns))}
        steps = np.zeros((len(edges), len(names)), np.int64)
        column = np.array([names[turn.speaker] for turn in turns], np.int64)
        np.add.at(steps, (np.searchsorted(edges, [turn.start for turn in turns]), column), 1)
        np.add.at(steps, (np.searchsorted(edges, [turn.end for turn in turns]), column), -1)
        return steps.cumsum(0)[:-1] > 0

    return edges, who(reference), who(hypothesis)


def speakers_of(turns: Sequence[Turn]) -> list[str]:
    """Names in order of first appearance."""
    return list(dict.fromkeys(turn.speaker for turn in turns))


def turns_of(annotation: Annotation) -> list[Turn]:
    """The turns of a `pyannote.core.Annotation`, in order of time."""
    return [Turn(s.start, s.end, str(label)) for s, _, label in annotation.itertracks(yield_label=True)]
