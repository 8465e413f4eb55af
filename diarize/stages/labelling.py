"""Decisions to labels, live: who speaks, as far as can be known by now, and never taken back.

Speakers that were named before are seeds: average linkage of them, of the windows known by now and of
the recent windows that fitted nobody joins what belongs together, and never two seeds. What joins no
seed is somebody new, once there is enough speech of them: `birth_s`, and up to `birth_doubt_s` more the
nearer they come to sounding like somebody known. Until then it goes to the nearest speaker, for a cough
is not a person. A speaker is the weighted mean of the rows that were surely theirs (its score with a row
is the mean score with all of them: average linkage needs no more), so what is held grows with the
speakers, not with the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE
from diarize.clustering.affinity import scores
from diarize.clustering.linkage import average_linkage
from diarize.config import LiveConfig
from diarize.result import next_name
from diarize.stages.items import Decision, Window

MAX_STRANGERS = 32
"""Recent windows that fitted nobody, kept as evidence of somebody new."""

Row = NDArray[np.float32]


@dataclass
class Speaker:
    """One speaker: their name, the weighted sum of their rows (E,), its weight, whether they spoke yet."""

    name: str
    total: NDArray[np.float64]
    weight: float
    spoke: bool = False


@dataclass
class LabellerState:
    """The speakers so far, the label given last, and the windows that fitted nobody."""

    speakers: list[Speaker] = field(default_factory=list)
    last: int | None = None
    strangers: list[tuple[Window, Row]] = field(default_factory=list)


class Labeller:
    """The stage: decisions and rows in, labels out.

    length : samples of a whole window
    threshold : the score from which two windows are one speaker
    most : speakers at most, if that was asked for
    """

    def __init__(
        self,
        config: LiveConfig,
        length: int,
        threshold: float,
        most: int | None = None,
        state: LabellerState | None = None,
    ) -> None:
        self.config = config
        self.length = length
        self.threshold = threshold
        self.most = most
        self.state = state or LabellerState()

    def push(self, decision: Decision, rows: Sequence[Row]) -> int | None:
        """The label of a decision, a place in `state.speakers`; None for nobody.

        rows : the unit row (E,) of each window ahead
        """
        if decision.window is None:
            self.state.last = None
        elif decision.ahead:
            self.state.last = self._decide(decision.ahead, rows)
        return self.state.last

    def _decide(self, ahead: Sequence[Window], rows: Sequence[Row]) -> int | None:
        state = self.state
        known = [i for i, speaker in enumerate(state.speakers) if speaker.spoke or self._room()]
        strangers = state.strangers
        spoke = [k for k, i in enumerate(known) if state.speakers[i].spoke]
        means = [state.speakers[i].total / state.speakers[i].weight for i in known]
        vectors = np.asarray([*means, *(row for _, row in strangers), *rows], np.float64)
        weights = [state.speakers[i].weight for i in known]
        weights += [self._weight(window) for window in [*(w for w, _ in strangers), *ahead]]
        first = len(known) + len(strangers)
        affinity = scores(vectors)
        labels = average_linkage(affinity, np.asarray(weights), self.threshold, seeds=len(known))
        label = int(labels[first])
        if label < len(known):
            return self._learn(known[label], ahead[0], rows[0], surely=True)
        same = np.flatnonzero(labels == label).tolist()
        windows = [*(window for window, _ in strangers), *ahead]
        speech = covered([windows[k - len(known)] for k in same])
        likeness = float(affinity[spoke][:, same].mean(1).max()) if spoke else 0.0
        if self._room() and speech >= self._enough(likeness, nobody=not spoke):
            return self._welcome(ahead[0], rows[0], [k - len(known) for k in same if k < first])
        if not spoke:
            return None
        nearest = known[max(spoke, key=lambda k: float(affinity[k, first]))]
        state.strangers = [*strangers, (ahead[0], rows[0])][-MAX_STRANGERS:]
        return self._learn(nearest, ahead[0], rows[0], surely=False)

    def _enough(self, likeness: float, *, nobody: bool) -> float:
        """Samples of speech that make somebody new of a voice so like the likest speaker, by score."""
        doubt = 0.0 if nobody else self.config.birth_doubt_s * max(0.0, likeness) / max(self.threshold, 0.01)
        return (self.config.birth_s + doubt) * SAMPLE_RATE

    def _room(self) -> bool:
        """Whether one more speaker may speak."""
        return self.most is None or sum(s.spoke for s in self.state.speakers) < self.most

    def _welcome(self, window: Window, row: Row, strangers: list[int]) -> int:
        """Make a new speaker of a window and of the strangers that are the same one."""
        state = self.state
        total, weight = self._weight(window) * row.astype(np.float64), self._weight(window)
        for k in strangers:
            total += self._weight(state.strangers[k][0]) * state.strangers[k][1]
            weight += self._weight(state.strangers[k][0])
        state.strangers = [item for k, item in enumerate(state.strangers) if k not in strangers]
        name = next_name({speaker.name for speaker in state.speakers})
        state.speakers.append(Speaker(name, total, weight, spoke=True))
        return len(state.speakers) - 1

    def _learn(self, label: int, window: Window, row: Row, *, surely: bool) -> int:
        speaker = self.state.speakers[label]
        speaker.spoke = True
        if surely and window.end - window.start > self.length // 2:
            speaker.total = speaker.total + self._weight(window) * row
            speaker.weight += self._weight(window)
        return label

    def _weight(self, window: Window) -> float:
        return (window.end - window.start) / self.length


def covered(windows: Sequence[Window]) -> int:
    """Samples that lie in any of the windows."""
    total, until = 0, 0
    for window in sorted(windows, key=lambda w: w.start):
        total += max(0, window.end - max(until, window.start))
        until = max(until, window.end)
    return total
