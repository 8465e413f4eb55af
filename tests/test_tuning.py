"""`diarize.tuning` finds what is there and leaves alone what is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from fakes import (
    RATE,
    FakeEmbedder,
    SharpVad,
    a_score,
    silence,
    speech,
)
from pyannote.core import Annotation, Segment, Timeline

from diarize import AudioError, Config, ConfigError, DiarizeError, Diarizer
from diarize.scoring import Score, score
from diarize.streaming_score import Recording
from diarize.tuning import PASSES, SPACE, Axis, Search, tune

# The search, on landscapes made for it ----------------------------------------------------------------

PAD = Axis.of("vad.pad_s=0,.1,.2,.3,.4")
KEEP = Axis.of("clustering.keep_min=10,13,16")


class Landscape:
    """A judge: errors are a function of the configuration, and of the recording."""

    def __init__(self, wrong_s, recordings: int = 10) -> None:
        self.wrong_s, self.recordings = wrong_s, recordings
        self.asked: list[Config] = []

    def __call__(self, config: Config) -> tuple[Score, ...]:
        self.asked.append(config)
        return tuple(a_score(self.wrong_s(config, place)) for place in range(self.recordings))


def searched(judge, *space: Axis, start: Config | None = None, **options) -> Search:
    search = Search(start or Config(), space, judge, **options)
    search.run()
    return search


def test_it_finds_the_lowest_and_tries_nothing_twice():
    judge = Landscape(lambda c, i: 10 + i + 50 * abs(c.vad.pad_s - 0.3) + abs(c.clustering.keep_min - 10))
    tuning = searched(judge, PAD, KEEP).found()
    assert (tuning.best.config.vad.pad_s, tuning.best.config.clustering.keep_min) == (0.3, 10)
    assert len(judge.asked) == len(set(judge.asked)) == len(tuning.trials) == 1 + 4 + 2 + 4
    assert tuning.trials[0].config == Config()
    assert [(s.axis, s.values, s.taken) for s in tuning.steps[:2]] == [
        ("vad.pad_s", ("0.1", "0.3"), True),
        ("clustering.keep_min", ("13", "10"), True),
    ]
    assert all(not step.taken for step in tuning.steps[2:])
    assert tuning.gain.der == pytest.approx(0.13)
    assert tuning.complete
    assert tuning.cross_validated.der == tuning.best.overall.der == pytest.approx(0.145)


def test_what_hangs_together_takes_another_pass():
    def wrong_s(c, _):  # keep_min helps only once the pad is right
        return 10 + 50 * abs(c.vad.pad_s - 0.3) + (c.clustering.keep_min != 16) * (c.vad.pad_s > 0.2)

    judge = Landscape(wrong_s)
    found = searched(judge, KEEP, PAD).found()
    assert (found.best.config.vad.pad_s, found.best.config.clustering.keep_min) == (0.3, 16)

    def runs_away(c, _):  # each is better where it differs most from the other
        return 100 - 10 * c.vad.pad_s - c.clustering.keep_min * (1 + c.vad.pad_s)

    many = Axis(("clustering.keep_min",), tuple((n,) for n in range(1, 40, 13)))
    assert len(searched(Landscape(runs_away), many, PAD).steps) <= 2 * PASSES


def noise(seed: int):
    rng = np.random.default_rng(seed)
    found: dict[tuple[Config, int], float] = {}
    return lambda c, i: found.setdefault((c, i), 20 + i + rng.normal(0, 2))


def test_noise_moves_nothing_but_the_greedy():
    searches = [searched(Landscape(noise(seed), 12), PAD, KEEP) for seed in range(24)]
    steps = [step for search in searches for step in search.steps]
    assert sum(step.values[0] != step.values[1] for step in steps) > 24  # there was something to take
    assert sum(step.taken for step in steps) <= 3  # 1 in 48 is expected
    greedy = [searched(Landscape(noise(seed), 12), PAD, KEEP, greedy=True).found() for seed in range(24)]
    assert sum(tuning.best is not tuning.trials[0] for tuning in greedy) > 18
    # what they took is worth nothing where it was not chosen, and they say so
    better = [tuning.trials[0].overall.der - tuning.best.overall.der for tuning in greedy]
    unseen = [tuning.trials[0].overall.der - tuning.cross_validated.der for tuning in greedy]
    assert np.mean(better) > 0.006
    assert abs(np.mean(unseen)) < 0.004


def test_few_recordings_take_no_step_unless_asked():
    judge = Landscape(lambda c, i: 10 + 50 * abs(c.vad.pad_s - 0.3), 3)
    tuning = searched(judge, PAD).found()
    assert tuning.best is tuning.trials[0]
    (step,) = tuning.steps
    assert (step.values, step.taken, step.gain.low, step.needed) == (("0.1", "0.3"), False, None, 8)
    assert tuning.cross_validated is None
    assert tuning.lowest_unseen.der == pytest.approx(0.1)
    greedy = searched(judge, PAD, greedy=True).found()
    assert greedy.best.config.vad.pad_s == 0.3
    assert greedy.cross_validated.der == pytest.approx(0.1)
    alone = searched(Landscape(judge.wrong_s, 1), PAD, greedy=True).found()
    assert alone.best.config.vad.pad_s == 0.3
    assert alone.cross_validated is alone.lowest_unseen is None


def test_cross_validation_by_hand():
    """Two of three recordings want a pad of .2, the third loses much by it."""
    table = {0.1: (10, 10, 10), 0.2: (4, 4, 19)}
    judge = Landscape(lambda c, i: table[c.vad.pad_s][i], 3)
    tuning = searched(judge, Axis.of("vad.pad_s=.1,.2"), greedy=True).found()
    assert tuning.best.config.vad.pad_s == 0.2  # 27 < 30
    # without the first 20 < 23: it stays, 10. Without the second the same. Without the third 8 < 20: 19
    assert tuning.cross_validated.der == pytest.approx(39 / 300)
    assert tuning.lowest_unseen.der == pytest.approx(39 / 300)


def test_cross_validation_asks_for_no_more_trials():
    judge = Landscape(noise(3), 12)
    search = searched(judge, PAD, KEEP, greedy=True)
    asked = len(judge.asked)
    search.found()
    assert len(judge.asked) == asked


def test_stopped_it_still_says_what_it_found():
    def judge(config):
        if config.clustering.keep_min == 16:
            raise KeyboardInterrupt
        return Landscape(lambda c, i: 10 + 50 * abs(c.vad.pad_s - 0.3))(config)

    search = Search(Config(), [PAD, KEEP], judge)
    with pytest.raises(DiarizeError, match="nothing was tried yet"):
        search.found()
    with pytest.raises(KeyboardInterrupt):
        search.run()
    tuning = search.found()
    assert not tuning.complete
    assert (tuning.best.config.vad.pad_s, len(tuning.trials)) == (0.3, 6)


def test_values_that_cannot_be_are_left_out():
    judge = Landscape(lambda c, i: 10 + 50 * abs(c.vad.onset - 0.2))
    tuning = searched(judge, Axis.of("vad.onset=.05,.1,.2,.3")).found()
    assert tuning.best.config.vad.onset == 0.2
    assert tuning.skipped == (
        "vad.onset = 0.05: vad.offset must be <= vad.onset, got 0.15 > 0.05",
        "vad.onset = 0.1: vad.offset must be <= vad.onset, got 0.15 > 0.1",
    )
    pairs = Axis.of("vad.onset/vad.offset=.05/.02,.2/.1")
    assert searched(judge, pairs).found().best.config.vad.offset == 0.1


def test_progress_comes_to_its_end():
    seen = []
    judge = Landscape(lambda c, i: 10 + 50 * abs(c.vad.pad_s - 0.3))
    search = Search(Config(), [PAD, KEEP], judge, progress=lambda *args: seen.append(args))
    search.run()
    assert {what for what, _, _ in seen} == {"trying"}
    assert all(done <= total for _, done, total in seen)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


# What is tuned ----------------------------------------------------------------------------------------


def test_axes_as_they_are_written():
    assert PAD.values == ((0.0,), (0.1,), (0.2,), (0.3,), (0.4,))
    assert Axis.of("vad.pad_s=0,.0,0.0").values == ((0.0,),)
    pairs = Axis.of(" vad.onset / vad.offset = .3/.15, 0.2/0.1 ")
    assert (str(pairs), pairs.values) == ("vad.onset/vad.offset", ((0.3, 0.15), (0.2, 0.1)))
    words = Axis.of("clustering.refine=none,mixture")
    assert words.ordered(Config()) == ([("mixture",), ("none",)], False)
    unset = Axis.of("clustering.threshold=unset,.5")
    assert unset.ordered(Config()) == ([(None,), (0.5,)], False)
    assert unset.set(Config(), (0.5,)).clustering.threshold == 0.5
    assert Axis.of("clustering.keep_min=20,6").ordered(Config()) == ([(6,), (13,), (20,)], True)
    assert (
        pairs.set(Config(), (0.1, 0.05)).vad == Config.from_dict({"vad": {"onset": 0.1, "offset": 0.05}}).vad
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vad.pad_s", r"NAME=VALUE,VALUE,\.\.\., got 'vad.pad_s'; for example vad.pad_s=.05,.1"),
        ("vad.pad_s=", r"NAME=VALUE,VALUE,\.\.\., got"),
        ("vad.padd_s=1", r"unknown option 'vad.padd_s' to tune; did you mean 'vad.pad_s'\?"),
        ("vad=1", "unknown option 'vad' to tune"),
        ("pad_s=1", r"unknown option 'pad_s' to tune; did you mean 'vad.pad_s'\?"),
        ("vad.pad_s=.1,,.2", "'vad.pad_s' must be a number, got ''"),
        ("vad.pad_s=-1", r"'vad.pad_s' must be >= 0, got -1\.0"),
        ("vad.onset=1.5", "'vad.onset' must be >= 0 and <= 1, got 1.5"),
        ("clustering.keep_min=2.5", "'clustering.keep_min' must be a whole number, got 2.5"),
        ("clustering.refine=some", "'clustering.refine' must be one of mixture, none, got 'some'"),
        ("vad.pad_s=unset", "'vad.pad_s' must be a number, got None"),
        ("vad.onset/vad.offset=.3", "vad.onset/vad.offset: 2 values go together, got 0.3"),
        ("live.birth_s=1", "live.birth_s is not for tuning: only final turns of streams depend on it"),
        ("verification.shift=0", "verification.shift is not for tuning: `diarize calibrate` fits it"),
        ("engine=torch", "engine is not for tuning: the networks are loaded once"),
    ],
)
def test_what_cannot_be_tuned_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        Axis.of(text)


def test_an_option_has_one_axis():
    with pytest.raises(ConfigError, match=r"vad\.onset is to be tuned twice; give all its values at once"):
        searched(Landscape(lambda *_: 1), Axis.of("vad.onset=.3"), Axis.of("vad.onset/vad.offset=.3/.1"))


def test_the_usual_space_holds_the_defaults_and_can_all_be_set():
    for axis in SPACE:
        assert axis.current(Config()) in axis.values
        for value in axis.values:
            assert axis.current(axis.set(Config(), value)) == value


# The whole --------------------------------------------------------------------------------------------


def annotation(*turns: tuple[float, float, str]) -> Annotation:
    made = Annotation()
    for track, (start, end, speaker) in enumerate(turns):
        made[Segment(start, end), track] = speaker
    return made


def halting(seed: int) -> Recording:
    """Two voices who halt for .5 s within what the reference calls one turn, and for 2 s between turns."""
    rng = np.random.default_rng(seed)
    pieces, turns, now = [], [], 0.0
    for i in range(6):
        start = now
        for part in range(3):
            seconds = round(float(rng.uniform(1.5, 3)), 3)
            pieces += [silence(0.5 if part else 2.0), speech((0.0, 0.4)[i % 2], seconds, rng)]
            start += 0 if part else 2.0
            now += seconds + (0.5 if part else 2.0)
        turns.append((start, now, "AB"[i % 2]))
    return Recording(f"halting{seed}", np.concatenate(pieces), annotation(*turns), sample_rate=RATE)


HALTING = [halting(seed) for seed in range(9)]
SILENCES = Axis.of("vad.min_silence_s=.2,.4,.7,1,1.3,3")


def fake_diarizer(config: Config) -> Diarizer:
    return Diarizer(config, embedder=FakeEmbedder(0.1), vad=SharpVad())


def test_a_planted_optimum_is_found():
    start = Config.from_dict({"vad": {"min_silence_s": 0.2, "pad_s": 0.0}})
    heard = []
    tuning = tune(fake_diarizer(start), HALTING, space=[SILENCES], progress=lambda *args: heard.append(args))
    assert tuning.best.config == Config.from_dict(
        {"vad": {"min_silence_s": 1.0, "pad_s": 0.0}}
    )  # .7 and 1.3 are as good
    assert tuning.gain.low > 0.1
    assert tuning.cross_validated.der == tuning.best.overall.der < 0.02
    # one path: what is judged is what the diarizer gives
    for trial in tuning.trials:
        for recording, judged in zip(HALTING[:2], trial.scores, strict=False):
            found = fake_diarizer(trial.config)(recording.source, sample_rate=RATE).annotation
            expected = score(recording.reference, found)
            assert dataclasses.replace(judged, uri=None) == dataclasses.replace(expected, uri=None)
    listened = [done for what, done, _ in heard if what == "listening"]
    assert listened == sorted(listened)
    assert listened[-1] == pytest.approx(sum(len(r.source) for r in HALTING) / RATE, abs=0.1)
    assert heard.index(("trying", 1, 6)) >= len(listened)


def test_the_convention_and_the_uem_are_those_of_the_scores():
    recordings = [dataclasses.replace(one, uem=Timeline([Segment(3, 9)])) for one in HALTING[:2]]
    start = Config.from_dict({"vad": {"min_silence_s": 0.2}})
    tuning = tune(
        fake_diarizer(start), recordings, space=[SILENCES], collar_s=0.25, skip_overlap=True, greedy=True
    )
    found = fake_diarizer(start)(recordings[0].source, sample_rate=RATE).annotation
    uem = recordings[0].uem
    expected = score(recordings[0].reference, found, uem=uem, collar_s=0.25, skip_overlap=True)
    assert dataclasses.replace(tuning.trials[0].scores[0], uri=None) == dataclasses.replace(
        expected, uri=None
    )


def test_what_cannot_be_judged_is_refused(tmp_path):
    diarizer = fake_diarizer(Config())
    with pytest.raises(ConfigError, match="at least one recording is needed, got none"):
        tune(diarizer, [])
    nothing = [dataclasses.replace(HALTING[0], reference=Annotation())]
    with pytest.raises(ConfigError, match="there is no reference speech in the scored part"):
        tune(diarizer, nothing)
    with pytest.raises(ConfigError, match="collar_s must be >= 0"):
        tune(diarizer, HALTING, collar_s=-1)
    path = Path(tmp_path / "bad.wav")
    path.write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        tune(diarizer, [Recording("bad", path, HALTING[0].reference)])
