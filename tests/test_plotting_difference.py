"""What a timeline says is missed, false or confused is what the scorer counts, where it counts it."""

from __future__ import annotations

import pytest
from test_plotting import FOUND, TRUTH, annotation, bars, conversation, rows

from diarize import Diarization
from diarize.plotting import timeline
from diarize.plotting.matching import KINDS, errors, turns_of


@pytest.mark.parametrize("seed", range(5))
def test_the_difference_is_what_the_scorer_counts(seed):
    """Against pyannote.metrics, on turns that overlap and speakers that do not match."""
    from diarize.scoring import score

    truth, found = conversation(300, seed), conversation(300, seed + 100, speakers=5)
    reference = annotation(*((turn.start, turn.end, turn.speaker) for turn in truth))
    wrong = errors(truth, found)
    scored = score(reference, Diarization(tuple(found), 300.0).annotation, collar_s=0.0, skip_overlap=False)
    counted = {kind: sum(error.seconds for error in wrong if error.kind == kind) for kind in KINDS}
    assert counted == {
        "missed": pytest.approx(scored.miss_s, abs=1e-3),
        "false alarm": pytest.approx(scored.false_alarm_s, abs=1e-3),
        "confused": pytest.approx(scored.confusion_s, abs=1e-3),
    }
    assert min(counted.values()) > 1
    assert max(error.voices for error in wrong) > 1


def test_the_difference_is_drawn_below():
    *_, below = timeline(FOUND, TRUTH).axes
    assert below.get_title(loc="left") == "difference"
    shown = {label.split(",")[0]: [] for label in rows(below)}
    for label, _, start, end in bars(below):
        shown[label.split(",")[0]].append((round(start, 3), round(end, 3)))
    assert shown == {
        "missed": [(0.0, 0.5), (4.0, 4.1)],
        "false alarm": [(10.9, 12.0)],
        "confused": [(0.5, 0.6)],
    }
    assert rows(below) == ["missed, 0.6 s", "false alarm, 1.1 s", "confused, 0.1 s"]
    *_, right = timeline(Diarization(tuple(turns_of(TRUTH)), 12.0), TRUTH).axes
    assert bars(right) == []
