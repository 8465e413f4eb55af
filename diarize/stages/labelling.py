"""Decisions to labels, live: who speaks, as far as can be known by now, and never taken back.

Speakers that were named before are seeds: average linkage of them, of the windows known by now and of
the recent windows that fitted nobody joins what belongs together, and never two seeds. What joins no
seed is somebody new, once there is enough speech of them: `birth_s`, and up to `birth_doubt_s` more the
nearer they come to sounding like somebody known. Until then it goes to the nearest speaker, for a cough
is not a person. A speaker is the weighted mean of the rows that were surely theirs (its score with a row
is the mean score with all of them: average linkage needs no more). From time to time the speakers are
corrected by all that was heard (`diarize.clustering.hindsight`); the labels given stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from diarize.audio import SAMPLE_RATE
from diarize.clustering.affinity import scores
from diarize.clustering.hindsight import Hindsight
from diarize.clustering.linkage import average_linkage
from diarize.config import Bounds, ClusteringConfig, LiveConfig
from diarize.result import next_name
from diarize.stages.items import Decision, Window

MAX_STRANGERS = 32
"""Recent windows that fitted nobody, kept as evidence of somebody new."""

Row = NDArray[np.float32]


@dataclass
class Speaker:
    """One speaker of a live stream.

    total, weight : the weighted sum of their rows (E,), and its weight
    enrolled : known beforehand; never set aside
    spoke : whether they have a decision yet
    aside : whether they turned out to be somebody else's voice
    """

    name: str
    total: NDArray[np.float64]
    weight: float
    enrolled: bool = False
    spoke: bool = False
    aside: bool = False

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of their rows (E,)."""
        return self.total / self.weight


@dataclass
class LabellerState:
    """Where the labels of one stream are.

    speakers : so far
    last : the label given last
    labelled : the start of the last window whose row went into hindsight
    strangers : windows that fitted nobody
    """

    speakers: list[Speaker] = field(default_factory=list)
    last: int | None = None
    labelled: int = -1
    strangers: list[tuple[Window, Row]] = field(default_factory=list)
    hindsight: Hindsight = field(default_factory=Hindsight)


class Labeller:
    """The stage: decisions and rows in, labels out.

    clustering : how to cluster what was heard so far
    length : samples of a whole window
    threshold : the score from which two windows are one speaker
    bounds : the count that was asked for, if any
    """

    def __init__(
        self,
        config: LiveConfig,
        clustering: ClusteringConfig,
        length: int,
        threshold: float,
        bounds: Bounds,
        state: LabellerState | None = None,
    ) -> None:
        self.config = config
        self.clustering = clustering
        self.length = length
        self.threshold = threshold
        self.bounds = bounds
        self.state = state or LabellerState()
        self.over = False  # then nothing comes that hindsight would be good for

    def push(self, decision: Decision, rows: Sequence[Row]) -> int | None:
        """The label of a decision, a place in `state.speakers`; None for nobody.

        rows : the unit row (E,) of each window ahead
        """
        if decision.window is None:
            self.state.last = None
        elif decision.ahead:
            self.state.last = label = self._decide(decision.ahead, rows)
            if label is not None and not self.over:
                self._look_back(decision.ahead[0], rows[0], label)
            return label
        return self.state.last

    def _decide(self, ahead: Sequence[Window], rows: Sequence[Row]) -> int | None:
        state = self.state
        speakers, room = state.speakers, self._room()
        known = [i for i, speaker in enumerate(speakers) if (speaker.spoke or room) and not speaker.aside]
        strangers = state.strangers
        spoke = [k for k, i in enumerate(known) if speakers[i].spoke]
        means = [speakers[i].mean for i in known]
        vectors = np.asarray([*means, *(row for _, row in strangers), *rows], np.float64)
        weights = [speakers[i].weight for i in known]
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
        if (room or any(s.aside for s in speakers)) and speech >= self._enough(likeness, nobody=not spoke):
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
        """Whether one more name may be given."""
        most = self.bounds.high
        return most is None or sum(speaker.spoke for speaker in self.state.speakers) < most

    def _welcome(self, window: Window, row: Row, strangers: list[int]) -> int:
        """Make a new speaker of a window and of the strangers that are the same one."""
        state = self.state
        total, weight = self._weight(window) * row.astype(np.float64), self._weight(window)
        for k in strangers:
            total += self._weight(state.strangers[k][0]) * state.strangers[k][1]
            weight += self._weight(state.strangers[k][0])
        state.strangers = [item for k, item in enumerate(state.strangers) if k not in strangers]
        label = self._back(total / np.linalg.norm(total))
        if label is None:
            label = len(state.speakers)
            name = next_name({speaker.name for speaker in state.speakers})
            state.speakers.append(Speaker(name, total, weight, spoke=True))
        else:
            state.speakers[label] = replace(state.speakers[label], total=total, weight=weight, aside=False)
        return label

    def _back(self, voice: NDArray[np.float64]) -> int | None:
        """The speaker set aside whose name somebody new takes, who sounds like them.

        If no more names may be given it is the likest one, however they sound.
        """
        speakers = self.state.speakers
        likeness = {i: voice @ s.mean / np.linalg.norm(s.mean) for i, s in enumerate(speakers) if s.aside}
        likest = max(likeness, key=lambda i: likeness[i], default=None)
        if likest is None or not self._room() or likeness[likest] >= self.threshold:
            return likest
        return None

    def _look_back(self, window: Window, row: Row, label: int) -> None:
        """Put the row of a new window among those that were labelled; from time to time look back at them."""
        state = self.state
        if window.start == state.labelled or window.end - window.start <= self.length // 2:
            return
        state.labelled = window.start
        if not state.hindsight.add(row, label):
            return
        enrolled = [i for i, speaker in enumerate(state.speakers) if speaker.enrolled]
        taken_for = state.hindsight.look_back(enrolled, self.clustering, self.threshold, self.bounds)
        for other in taken_for:
            state.speakers[other].aside = True
        state.last = taken_for.get(label, label)

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
