"""What `diarize.diagnosis` finds."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from diagnosis_talks import TALKS, annotation, fake_diarizer, talk
from fakes import RATE, FakeEmbedder, SharpVad, conversation, silence
from pyannote.core import Annotation, Segment, Timeline

from diarize import AudioError, ConfigError, DiarizeError, Diarizer
from diarize.diagnosis import (
    OWNERS,
    VARIANTS,
    Parts,
    ReferenceSpeech,
    compared,
    diagnose,
    hearing,
    parts,
    relabelled,
    seconds_before,
    together,
)
from diarize.scoring import score
from diarize.stages.vad import Vad
from diarize.streaming_score import Recording


def known(reference: Annotation, hypothesis: Annotation, uem: Timeline | None = None) -> dict[str, float]:
    """The parts that are not zero."""
    found = dataclasses.asdict(parts(reference, hypothesis, uem)).items()
    return {name.removesuffix("_s"): round(seconds, 6) for name, seconds in found if abs(seconds) > 1e-9}


# Errors whose kind is known ---------------------------------------------------------------------------


TRUTH = annotation((0, 10, "A"), (12, 22, "B"))


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        ([(0, 10, "x"), (12, 22, "y")], {}),
        ([(0, 7, "x"), (13, 22, "y")], {"missed_speech": 4}),
        ([(0, 10, "x"), (11, 23, "y")], {"false_alarm": 2}),
        ([], {"missed_speech": 20}),
        ([(0, 10, "x"), (12, 22, "x")], {"boundaries": 1, "rest": 9}),  # one of the two is right
        ([(0, 10, "x"), (12, 12.75, "x"), (12.75, 22, "y")], {"boundaries": 0.5, "rest": 0.25}),
        ([(0, 10, "x"), (12, 15, "y"), (15, 17, "x"), (17, 22, "y")], {"rest": 2}),
        ([(0, 9, "x"), (9, 10, "y"), (12, 22, "y")], {"boundaries": 0.5, "rest": 0.5}),
        ([(0, 10, "x"), (4, 6, "y"), (12, 22, "y")], {"false_overlap": 2}),  # two voices where there is one
        ([(0, 10, "x"), (10.5, 11.5, "x"), (10.5, 11.5, "y"), (12, 22, "y")],
         {"false_alarm": 1, "false_overlap": 1}),
    ],
)  # fmt: skip
def test_what_each_kind_of_error_is(found, kinds):
    assert known(TRUTH, annotation(*found)) == kinds


def test_overlap_that_nobody_marks():
    reference = annotation((0, 10, "A"), (6, 14, "B"), (8, 9, "C"))
    one_voice = [(0, 8, "x"), (8, 14, "y")]
    assert known(reference, annotation(*one_voice)) == {"missed_overlap": 5}  # 6 to 10, C beside both
    assert known(reference, annotation((0, 8, "x"), (9.5, 14, "y"))) == {
        "missed_speech": 1.5,
        "missed_overlap": 5,
    }
    assert known(reference, annotation(*one_voice, (6, 8, "y"))) == {"missed_overlap": 3}


def test_the_second_of_two_can_be_somebody_else():
    reference = annotation((0, 10, "A"), (6, 8, "B"), (10, 20, "B"), (20, 30, "C"))
    found = annotation((0, 10, "x"), (6, 8.5, "z"), (10, 20, "y"), (20, 30, "z"))
    assert known(reference, found) == {"second_speaker": 2, "false_overlap": 0.5}


def test_a_turn_is_short_when_nobody_speaks_in_a_longer_one():
    reference = annotation((0, 10, "A"), (10, 10.8, "B"), (10.8, 20, "A"))
    assert known(reference, annotation((0, 20, "x"))) == {"short_turns": 0.8}
    assert known(annotation((0, 10, "A"), (10, 11, "B")), annotation((0, 11, "x"))) == {"boundaries": 1}
    # B says "mhm" while A speaks, and C is found: it is A's long turn that is confused
    reference = annotation((0, 10, "A"), (4, 4.8, "B"), (20, 30, "C"))
    found = annotation((0, 4, "x"), (4, 4.8, "z"), (4.8, 10, "x"), (20, 30, "z"))
    assert known(reference, found) == {"boundaries": 0.8, "missed_overlap": 0.8}
    # Pieces that touch are one turn, of 1.2 s, its middle is no edge
    reference = annotation((0, 10, "A"), (12, 12.6, "B"), (12.6, 13.2, "B"))
    assert known(reference, annotation((0, 13.2, "x"))) == {"false_alarm": 2, "boundaries": 1, "rest": 0.2}


def test_what_the_uem_leaves_out_is_not_counted():
    found = annotation((0, 7, "x"), (11, 15, "y"), (15, 17, "x"), (17, 22, "y"))
    assert known(TRUTH, found) == {"missed_speech": 3, "false_alarm": 1, "rest": 2}
    assert known(TRUTH, found, Timeline([Segment(8, 11.5), Segment(16, 30)])) == {
        "missed_speech": 2, "false_alarm": 0.5, "rest": 1,
    }  # fmt: skip
    assert known(TRUTH, found, Timeline()) == {}
    # the edge of the scored part is no boundary, and a turn that it cuts is as long as it was
    assert known(TRUTH, annotation((0, 22, "x")), Timeline([Segment(0, 10), Segment(15, 15.75)])) == {
        "rest": 0.75
    }


def random_annotation(rng: np.random.Generator, labels: str, count: int = 25) -> Annotation:
    starts, lengths = rng.uniform(0, 60, count).round(3), rng.exponential(2, count).round(3) + 0.001
    return annotation(*((s, s + d, rng.choice(list(labels))) for s, d in zip(starts, lengths, strict=True)))


@pytest.mark.parametrize("seed", range(8))
def test_parts_add_up_to_the_errors_of_pyannote(seed):
    """Turns of one speaker that overlap each other are among them."""
    rng = np.random.default_rng(seed)
    reference, hypothesis = random_annotation(rng, "ABCD"), random_annotation(rng, "ABxyz")
    for uem in (None, Timeline([Segment(5, 20), Segment(30.5, 55.25)])):
        scored, found = score(reference, hypothesis, uem=uem), parts(reference, hypothesis, uem)
        confusion_s = found.second_speaker_s + found.short_turns_s + found.boundaries_s + found.rest_s
        assert confusion_s == pytest.approx(scored.confusion_s, abs=1e-4)
        assert found.errors_s == pytest.approx(scored.der * scored.total_s, abs=1e-4)


def test_empty_annotations_have_no_errors():
    assert parts(Annotation(), Annotation()) == Parts()
    assert known(Annotation(), annotation((1, 3, "x"))) == {"false_alarm": 2}


# Who owns them ----------------------------------------------------------------------------------------


def judged(reference: Annotation, configured: Annotation, counted: Annotation, uem: Timeline | None = None):
    hypotheses = dict.fromkeys(VARIANTS, configured) | {"true_count": counted}
    return compared("made", reference, hypotheses, uem)


def test_the_wrong_count_is_what_the_true_one_saves():
    one = judged(TRUTH, annotation((0, 22, "x")), annotation((0, 10.5, "x"), (10.5, 13, "x"), (13, 22, "y")))
    assert one.owners_s == pytest.approx(
        dict.fromkeys(OWNERS, 0) | {"false_alarm": 2, "wrong_count": 9, "boundaries": 0.5, "rest": 0.5}
    )
    assert one.der == pytest.approx(12 / 20)
    assert sum(one.owners.values()) == pytest.approx(one.der)
    worse = judged(TRUTH, annotation((0, 10, "x"), (12, 22, "y")), annotation((0, 22, "x")))
    assert worse.owners_s["wrong_count"] == pytest.approx(-12)
    assert sum(worse.owners.values()) == pytest.approx(worse.der) == 0


def test_seconds_are_added_first():
    short = judged(annotation((0, 5, "A")), annotation((0, 4, "x")), annotation((0, 4, "x")))
    long = judged(annotation((0, 15, "A")), annotation((0, 18, "x")), annotation((0, 18, "x")))
    both = together([short, long])
    assert both.der == pytest.approx(4 / 20)
    assert {name: share for name, share in both.owners.items() if share} == pytest.approx(
        {"missed_speech": 1 / 20, "false_alarm": 3 / 20}
    )
    assert both.recordings == (short, long)
    assert (both.variants["both"].score.num_exact, both.variants["both"].score.num_counted) == (2, 2)


def test_without_reference_speech_all_is_false_alarm():
    nobody = judged(Annotation(), annotation((0, 4, "x")), annotation((0, 4, "x")))
    assert nobody.der == nobody.owners["false_alarm"] == sum(nobody.owners.values()) == 1
    nothing = judged(Annotation(), Annotation(), Annotation())
    assert nothing.der == sum(nothing.owners.values()) == 0


# Perfect speech, perfect labels -----------------------------------------------------------------------


def test_seconds_before():
    turns = Timeline([Segment(1, 3), Segment(2, 4), Segment(6, 7)])
    times = np.array([0, 1, 1.5, 4, 5, 6.25, 9])
    assert seconds_before(turns, times).tolist() == [0, 0, 0.5, 3, 3, 3.25, 4]
    assert seconds_before(Timeline(), times).tolist() == [0] * 7


def test_the_speech_of_the_reference_in_frames():
    frame = 512 / RATE
    reference = annotation(
        (2 * frame, 4 * frame, "A"), (3 * frame, 5.5 * frame, "B"), (8.51 * frame, 10.49 * frame, "A")
    )
    expected = [0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0]
    for pieces in ([silence(1)[: 12 * 512]], np.array_split(silence(1)[: 12 * 512], 5)):
        stage = Vad(ReferenceSpeech(reference))
        assert np.concatenate([stage.push(piece) for piece in pieces]).tolist() == expected


def test_perfect_speech_is_neither_padded_nor_filled():
    frame = 512 / RATE
    turns = [(10, 60), (61, 90), (100, 105), (150, 400)]  # a pause of one frame, a turn of five
    reference = annotation(*((a * frame, b * frame, "AB"[i % 2]) for i, (a, b) in enumerate(turns)))
    diarizer = Diarizer(embedder=FakeEmbedder(), vad=SharpVad())
    found = hearing(diarizer, reference)(conversation(1), sample_rate=RATE).annotation.get_timeline()
    edges = [edge / frame for region in found.support() for edge in (region.start, region.end)]
    assert edges == pytest.approx([edge for turn in turns for edge in turn])
    assert diarizer.config.vad.pad_s > 0


def test_perfect_labels():
    reference = annotation((0, 4, "A"), (3.004, 6, "B"), (8, 10, "C"), (5, 5.5, "A"))
    found = annotation((0.5, 5.2, "x"), (5.2, 7, "y"), (7.5, 9, "z"))
    labelled = relabelled(reference, found)
    assert labelled.get_timeline().support() == found.get_timeline().support()
    assert set(labelled.labels()) == {"A", "B", "C"}
    for start, end, speaker in ((0.5, 3, "A"), (4, 5, "B"), (5.5, 7, "B"), (7.5, 8, "B"), (8, 9, "C")):
        assert labelled.crop(Segment(start, end)).labels() == [speaker]
    one_at_a_time = sum(segment.duration for segment in labelled.itersegments())
    assert one_at_a_time == pytest.approx(4.7 + 1.8 + 1.5)
    assert score(reference, labelled).confusion_s == pytest.approx(0, abs=1e-6)
    assert known(reference, labelled) == known(reference, annotation(
        (0.5, 4, "A"), (4, 7, "B"), (7.5, 9, "C")
    ))  # fmt: skip


def test_who_speaks_most_in_ten_milliseconds():
    labelled = relabelled(annotation((0, 1.003, "A"), (1.003, 2, "B")), annotation((0, 2, "x")))
    assert [(s.start, s.end, label) for s, _, label in labelled.itertracks(yield_label=True)] == [
        (0, 1.0, "A"), (1.0, 2, "B"),
    ]  # fmt: skip


def test_before_the_first_speaker_and_without_any():
    labelled = relabelled(annotation((5, 6, "B")), annotation((0, 6, "x")))
    assert labelled.labels() == ["B"]
    assert relabelled(Annotation(), annotation((0, 6, "x"), (8, 9, "y"))).labels() == ["nobody"]
    assert not relabelled(TRUTH, Annotation())


# The whole, on networks that are exact ----------------------------------------------------------------


def test_the_variants_are_what_the_diarizer_gives():
    overall = diagnose(fake_diarizer(), TALKS)
    assert [one.name for one in overall.recordings] == ["talk1", "talk2"]
    for one, recording in zip(overall.recordings, TALKS, strict=True):
        reference, uem = recording.reference, recording.uem
        exact, count = hearing(fake_diarizer(), reference), len(reference.labels())
        for variant, diarizer, num_speakers in (
            ("as_configured", fake_diarizer(), None),
            ("true_count", fake_diarizer(), count),
            ("perfect_speech", exact, None),
            ("both", exact, count),
        ):
            alone = diarizer(recording.source, sample_rate=RATE, num_speakers=num_speakers).annotation
            expected = dataclasses.replace(score(reference, alone, uem=uem), uri=None)
            assert dataclasses.replace(one.variants[variant].score, uri=None) == expected
        parts_of = {name: variant.parts for name, variant in one.variants.items()}
        assert parts_of["perfect_speech"].missed_speech_s < 0.03 * 14
        assert parts_of["perfect_speech"].false_alarm_s < 0.03 * 14
        assert one.variants["perfect_labels"].score.confusion == pytest.approx(0, abs=0.005)
        floor, configured = one.variants["perfect_labels"].score, one.variants["as_configured"].score
        assert (floor.miss_s, floor.false_alarm_s) == pytest.approx(
            (configured.miss_s, configured.false_alarm_s)
        )
        for variant in one.variants.values():
            assert variant.parts.errors_s == pytest.approx(variant.score.der * variant.score.total_s)
    for one in (overall, *overall.recordings):
        assert sum(one.owners.values()) == pytest.approx(one.der)
        assert tuple(one.owners) == OWNERS
    second = overall.recordings[1].variants
    assert second["as_configured"].parts != second["true_count"].parts


def test_the_counts_share_their_embeddings():
    embedder, alone = FakeEmbedder(), FakeEmbedder()
    diagnose(fake_diarizer(embedder), TALKS[:1])
    diarizer = fake_diarizer(alone)
    for one in (diarizer, hearing(diarizer, TALKS[0].reference)):
        one(TALKS[0].source, sample_rate=RATE)
    assert (embedder.calls, embedder.tiles) == (alone.calls, alone.tiles)


def test_speakers_after_the_end_of_the_recording_are_not_asked_for():
    recording = talk(1)
    end = len(recording.source) / RATE
    recording.reference[Segment(end, end + 5), "late"] = "Z"
    diagnosis = diagnose(fake_diarizer(), [recording])
    assert diagnosis.variants["true_count"].score.num_hypothesis_speakers == 3


def test_silence_and_nobody():
    silent = Recording("s", silence(3), Annotation(), sample_rate=RATE)
    unlabelled = Recording("u", talk(1).source, Annotation(), sample_rate=RATE)
    overall = diagnose(fake_diarizer(), [silent, unlabelled])
    assert [one.der for one in overall.recordings] == [0, 1]
    assert overall.recordings[1].owners == dict.fromkeys(OWNERS, 0) | {"false_alarm": 1}
    assert overall.variants["perfect_speech"].score.der == 0


def test_progress_ends_with_every_second_of_both_passes():
    seen: list[float] = []
    diagnose(fake_diarizer(), TALKS, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(2 * sum(len(each.source) for each in TALKS) / RATE, abs=0.1)


def test_the_extra_is_missed_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyannote.metrics.diarization", None)
    embedder = FakeEmbedder()
    with pytest.raises(DiarizeError, match=r"pip install 'diarize-campplus\[score\]'"):
        diagnose(fake_diarizer(embedder), TALKS)
    assert embedder.calls == embedder.tiles == []


def test_what_cannot_be_diagnosed_is_refused():
    with pytest.raises(ConfigError, match="at least one recording is needed, got none"):
        diagnose(fake_diarizer(), [])
    with pytest.raises(AudioError, match="r: samples carry no rate; pass sample_rate="):
        diagnose(fake_diarizer(), [Recording("r", silence(1), Annotation())])
