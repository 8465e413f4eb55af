"""The options that labelled recordings speak for, found one at a time, with guards against tuning to noise.

    recordings -> networks, once -> clustering under the options of each trial -> DER -> the next step

The search starts from the diarizer's own options and goes along one *axis* after the other: an option, or
options that move together, and the values to try. It is over when a pass over all axes took no step, or
after `PASSES`. A trial is the ordinary diarizer with networks that remember (`diarize.memo`). Its DER is
offline, of the VAD's own speech, within the UEM, under one convention of `diarize.scoring`, overall: seconds
are added first.

The guards:

A plateau rather than a peak
    A value stays if no other is better by more than `TOLERANCE` of DER. Else, of the best and those beside it
    that are as good within it, the middle one is chosen; the best itself, where values are no numbers.
A step must be sure
    It is taken if the interval of its gain, paired over recordings (bootstrap, seeded), lies above zero: at
    95 % for all values of the axis together (Bonferroni), so with six others at 99.2 % for each. With few
    recordings there is no interval: all of them may get better by chance under one of so many values. Of
    axes that do nothing but noise one in forty is moved. `greedy` takes steps without.
Judged on what was not seen
    For each recording, the same search on the others, among what was tried, and what it gives on this one:
    the DER to expect. And for comparison what the trial with the lowest DER on the others gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diarize import scoring
from diarize._axes import SPACE, Axis, shown
from diarize._guards import Gain, Trial, gain, lowest_unseen, middle, needed, parts, spoken
from diarize.config import Config
from diarize.errors import ConfigError, DiarizeError
from diarize.memo import Again, Memory
from diarize.pipeline import Diarizer
from diarize.scoring import Convention, Overall, Score
from diarize.streaming_score import Recording

if TYPE_CHECKING:
    from pyannote.core import Annotation

__all__ = ["SPACE", "Axis", "Gain", "Judge", "Search", "Step", "Trial", "Tuning", "tune"]

PASSES = 3
"""Over all axes, at most."""

Progress = Callable[[str, float, float | None], None]
"""Called with "listening" and the seconds of audio heard, then "trying", trials done and trials in sight."""


@dataclass(frozen=True, eq=False)
class Step:
    """What was decided about an axis.

    values : the one that it had, and the one that was considered; the same where it stays
    needed : recordings with speech, for a step to be sure
    """

    axis: str
    values: tuple[str, str]
    gain: Gain
    taken: bool
    needed: int


@dataclass(frozen=True, eq=False)
class Tuning:
    """What was found.

    trials : in the order they were made, the first with the options that were there
    best : the one that was chosen; its `config` holds the options
    skipped : values that cannot stand beside the others, and why
    complete : False where the search was stopped
    gain : of the options chosen, against those that were there
    cross_validated : what the search gives on recordings it has not seen, and `lowest_unseen`, what the trial
        of the lowest DER gives there; None with too few recordings
    """

    trials: tuple[Trial, ...]
    steps: tuple[Step, ...]
    best: Trial
    skipped: tuple[str, ...]
    complete: bool
    gain: Gain
    cross_validated: Overall | None
    lowest_unseen: Overall | None


class Search:
    """`run` it, then ask for what was `found`; that can be asked too where `run` was interrupted."""

    def __init__(
        self,
        start: Config,
        space: Sequence[Axis],
        judge: Callable[[Config], tuple[Score, ...] | None],
        *,
        greedy: bool = False,
        progress: Progress | None = None,
    ) -> None:
        names = [name for axis in space for name in axis.names]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"{twice} is to be tuned twice; give all its values at once")
        self.start = start
        self.comparisons = {axis: max(1, len(axis.ordered(start)[0]) - 1) for axis in space}
        self.space = tuple(space)
        self.judge = judge
        self.greedy = greedy
        self.progress = progress
        self.trials: dict[Config, Trial] = {}
        self.steps: list[Step] = []
        self.skipped: dict[str, None] = {}
        self.best: Trial | None = None
        self.complete = False

    def run(self) -> None:
        """Search; raises what the judge raises."""
        (self.best,) = self._trial("", "", self.start, None)
        decided: dict[Axis, Trial] = {}
        for _ in range(PASSES):
            for place, axis in enumerate(self.space):
                if decided.get(axis) is not self.best:
                    self.best = decided[axis] = self._decide(self.best, axis, self.space[place:])
            if all(trial is self.best for trial in decided.values()):
                break
        self.complete = True

    def found(self) -> Tuning:
        """What there is so far; DiarizeError before the first trial is over."""
        if self.best is None:
            raise DiarizeError("nothing was tried yet; run the search first")
        trials = tuple(self.trials.values())
        return Tuning(
            trials,
            tuple(self.steps),
            self.best,
            tuple(self.skipped),
            self.complete,
            gain(trials[0].scores, self.best.scores),
            self._cross_validated(self.best),
            lowest_unseen(trials),
        )

    def _decide(self, now: Trial, axis: Axis, to_come: Sequence[Axis]) -> Trial:
        """Try the values of an axis, take a step or not; returns the trial to go on from."""
        values, numbers = axis.ordered(now.config)
        in_sight = len(self.trials) + sum(len(axis.ordered(now.config)[0]) - 1 for axis in to_come)
        row: list[Trial] = []
        for value in values:
            if self.progress:
                self.progress("trying", len(self.trials), in_sight)
            try:
                config = axis.set(now.config, value)
            except ConfigError as error:
                self.skipped[f"{axis} = {shown(value)}: {error}"] = None
            else:
                row += self._trial(str(axis), shown(value), config, now)
        chosen = middle(row, row.index(now), numbers)
        found = gain(now.scores, chosen.scores, self.comparisons[axis])
        taken = chosen is not now and (self.greedy or found.sure)
        both = shown(axis.current(now.config)), shown(axis.current(chosen.config))
        self.steps.append(Step(str(axis), both, found, taken, needed(self.comparisons[axis])))
        return chosen if taken else now

    def _trial(self, axis: str, value: str, config: Config, against: Trial | None) -> list[Trial]:
        """A configuration's trial, made if need be; empty if there is no judging it."""
        if config not in self.trials:
            scores = self.judge(config)
            if scores is None:
                return []
            self.trials[config] = Trial(axis, value, config, scores, against)
        return [self.trials[config]]

    def _cross_validated(self, best: Trial) -> Overall | None:
        """Each recording as the search on the others has it; None where that could take no step."""
        if not self.greedy and spoken(best.scores) <= min(map(needed, self.comparisons.values()), default=0):
            return None
        found: list[Score] = []
        for part in parts(len(best.scores)):

            def judge(config: Config, part: range = part) -> tuple[Score, ...] | None:
                trial = self.trials.get(config)
                if trial is None:
                    return None
                return tuple(one for place, one in enumerate(trial.scores) if place not in part)

            search = Search(self.start, self.space, judge, greedy=self.greedy)
            search.run()
            if search.best is not None:
                found += [self.trials[search.best.config].scores[place] for place in part]
        return scoring.aggregate(found) if found else None


class Judge:
    """The scores of a configuration, one a recording; the networks run while it hears the first one."""

    def __init__(
        self,
        diarizer: Diarizer,
        recordings: Iterable[Recording],
        memory: Memory,
        convention: Convention | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.again = Again(diarizer, recordings, memory)
        self.convention = convention or Convention()
        self.progress = progress
        if not self.again.recordings:
            raise ConfigError("at least one recording is needed, got none")
        if not any(self.score(one, one.reference).total_s for one in self.again.recordings):
            raise ConfigError("there is no reference speech in the scored part, so nothing to tune to")

    def __call__(self, config: Config) -> tuple[Score, ...]:
        """Of the whole recordings, offline."""
        progress, self.progress = self.progress, None
        heard = (lambda seconds: progress("listening", seconds, None)) if progress else None
        pairs = zip(self.again.recordings, self.again(config, heard), strict=True)
        return tuple(self.score(recording, found.annotation) for recording, found in pairs)

    def score(self, recording: Recording, hypothesis: Annotation) -> Score:
        """One recording."""
        return scoring.score_under((self.convention,), recording.reference, hypothesis, uem=recording.uem)[0]


def tune(
    diarizer: Diarizer,
    recordings: Iterable[Recording],
    *,
    space: Sequence[Axis] = SPACE,
    collar_s: float = 0.0,
    skip_overlap: bool = False,
    greedy: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Search the options of a diarizer for labelled recordings; the module's docstring says how.

    space : what to try
    collar_s, skip_overlap : as for `diarize.scoring.score`
    greedy : take steps that may be chance

    ``tune(diarizer, recordings).best.config`` are the options. Raises ConfigError without recordings or
    reference speech, AudioError for a recording that cannot be read, DiarizeError where pyannote.metrics is
    not installed or the disk is full.
    """
    with Memory() as memory:
        judge = Judge(diarizer, recordings, memory, Convention(collar_s, skip_overlap), progress)
        search = Search(diarizer.config, space, judge, greedy=greedy, progress=progress)
        search.run()
        return search.found()
