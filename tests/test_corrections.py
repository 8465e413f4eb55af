"""What was kept of a result, and what corrections make of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from fakes import ExactEmbedder, FakeVad, conversation, silence, speech

from diarize import Config, CorrectionError, Diarizer, FormatError, Kept, Turn, _saving, corrections
from diarize.config import ClusteringConfig
from diarize.corrections import apart, edited, merge, parted, rename, split, together, undo
from diarize.formats.registry import format_turns, read_recordings

VOICES = (0.0, 0.18, 0.4)


class WideEmbedder(ExactEmbedder):
    """With as many dimensions as the real one, in which voices scatter as much."""

    embedding_size = 192


def diarizer(noise: float = 0.05, **options: Any) -> Diarizer:
    return Diarizer(embedder=WideEmbedder(noise), vad=FakeVad(), **options)


@pytest.fixture(scope="module")
def meeting():
    """A minute of three voices."""
    return diarizer()(conversation(5, 30, VOICES), sample_rate=16000)


@pytest.fixture
def kept(meeting) -> Kept:
    assert len(meeting.speakers) == 3
    return meeting.kept


def alike(found: Kept, wanted: Kept) -> bool:
    """Whether nearly all windows are together as wanted, whatever they are called, in as many groups."""
    pairs = np.unique(np.stack([found.now.labels, wanted.now.labels]), axis=1, return_counts=True)
    groups = len(set(found.now.labels.tolist()))
    most = sum(pairs[1][pairs[0][0] == label].max() for label in range(groups))
    return groups == len(set(wanted.now.labels.tolist())) and most >= 0.97 * len(found.windows)


def moment(kept: Kept, name: str) -> float:
    """The middle of the longest turn of a speaker."""
    spans = [span for span in kept.spans if kept.now.names[span.label] == name]
    longest = max(spans, key=lambda span: span.end - span.start)
    return (longest.start + longest.end) / 32000


# Kept ----------------------------------------------------------------------------------------------


def test_what_was_kept_gives_the_result_again(meeting, tmp_path):
    path = meeting.kept.save(tmp_path / "meeting.diarize")
    again = Kept.load(path).result()
    assert again == meeting
    assert [turn.confidence for turn in again] == [turn.confidence for turn in meeting]
    assert again.exclusive == meeting.exclusive
    assert again.overlaps == meeting.overlaps
    assert list(again.embeddings) == list(meeting.embeddings)
    for name, row in meeting.embeddings.items():
        np.testing.assert_array_equal(again.embeddings[name], row)


def test_a_summarised_recording_is_kept_too(tmp_path):
    config = Config(clustering=ClusteringConfig(max_rows=24))
    found = diarizer(config=config)(conversation(5, 30, VOICES), sample_rate=16000)
    assert len(found.kept.rows) <= 24 < len(found.kept.windows)
    again = Kept.load(found.kept.save(tmp_path / "a.diarize"))
    assert again.result() == found
    first = again.now.names[0]
    assert split(again, first).result().turns != found.turns


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), silence(3.0)])
def test_nothing_is_kept_as_nothing(samples, tmp_path):
    found = diarizer()(samples, sample_rate=16000)
    assert Kept.load(found.kept.save(tmp_path / "a.diarize")).result() == found
    with pytest.raises(CorrectionError, match="nobody speaks at 1 s"):
        together(found.kept, 1.0, 2.0)


@pytest.mark.parametrize("junk", [b"", b"RIFF....WAVE", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_kept_result_is_refused(junk, tmp_path):
    path = tmp_path / "a.diarize"
    path.write_bytes(junk)
    with pytest.raises(FormatError, match="not a saved kept result"):
        Kept.load(path)


def test_one_of_another_version_is_made_again(kept, tmp_path, monkeypatch):
    path = kept.save(tmp_path / "a.diarize")
    monkeypatch.setitem(_saving.VERSIONS, "kept result", 99)
    with pytest.raises(FormatError, match=r"another version.*make it again, with `diarize run --keep`"):
        Kept.load(path)


def test_a_saved_stream_is_no_kept_result(tmp_path):
    stream = diarizer().stream()
    stream.push(speech(0.1, 2.0, np.random.default_rng(0)))
    path = tmp_path / "a.diarize"
    path.write_bytes(stream.state())
    with pytest.raises(FormatError, match="not a saved kept result"):
        Kept.load(path)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda k: replace(k, index=k.index + len(k.rows)), "rows"),
        (lambda k: replace(k, index=k.index[:-1]), "index"),
        (lambda k: replace(k, windows=k.windows[:, :2]), "windows"),
        (lambda k: replace(k, pauses=k.pauses[:, :1]), "pauses"),
        (lambda k: replace(k, windows=k.windows + 10**9), "outside its region"),
        (lambda k: replace(k, rows=k.rows * np.float32(np.nan)), "finite"),
        (lambda k: replace(k, duration=float("nan")), "duration"),
        (lambda k: replace(k, now=replace(k.now, names=("A",))), "names"),
        (lambda k: replace(k, now=replace(k.now, said=np.array([[0, 5, 99]]))), "names"),
        (lambda k: replace(k, before=(replace(k.now, fixed=k.now.fixed[1:]),)), "fixed"),
    ],
)
def test_what_contradicts_itself_is_refused(kept, change, wrong, tmp_path):
    path = change(kept).save(tmp_path / "a.diarize")
    with pytest.raises(FormatError, match=f"damaged.*{wrong}"):
        Kept.load(path)


def test_a_pause_is_nobodys_only_while_two_are_beside_it(kept):
    """To the sample: one speaker who was two has the pauses in between."""
    assert kept.pauses.tolist()
    gaps = [(a.end, b.start) for a, b in pairwise(kept.spans) if a.end < b.start]
    between = [gap for gap in gaps if any(s <= gap[0] and gap[1] <= e for s, e in kept.regions.tolist())]
    assert between
    everybody = merge(kept, *kept.now.names)
    assert [[span.start, span.end] for span in everybody.spans] == kept.regions.tolist()


# Speakers ------------------------------------------------------------------------------------------


def test_merged_speakers_are_one_under_the_first_name(kept, meeting):
    a, b, c = meeting.speakers
    found = merge(kept, b, a).result()
    assert set(found.speakers) == {b, c}
    times = meeting.speaking_time
    assert found.speaking_time[b] == pytest.approx(times[a] + times[b], rel=0.05)
    assert all(one.end < other.start or one.speaker != other.speaker for one, other in pairwise(found))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("pair", [(0, 1), (1, 2)])
def test_splitting_undoes_a_merger(kept, meeting, pair, turned, monkeypatch):
    if turned:  # whichever part comes first
        monkeypatch.setattr(corrections, "parted", lambda *given: 1 - parted(*given))
    a, b = (meeting.speakers[i] for i in pair)
    found = split(merge(kept, a, b), a)
    assert alike(found, kept)
    sizes = np.bincount(found.now.labels)
    (new,) = set(range(3)) - {
        found.now.names.index(a),
        found.now.names.index(meeting.speakers[3 - sum(pair)]),
    }
    assert sizes[found.now.names.index(a)] > sizes[new], "who has the most windows keeps the name"


def test_one_of_three_voices_is_split_into_three(kept, meeting):
    a, b, c = meeting.speakers
    found = split(merge(kept, a, b, c), a, 3)
    assert alike(found, kept)


def test_a_new_name_changes_nothing_else(kept, meeting):
    found = rename(kept, meeting.speakers[1], "Zoë B.").result()
    assert [turn.speaker for turn in found] == [
        "Zoë B." if turn.speaker == meeting.speakers[1] else turn.speaker for turn in meeting
    ]
    assert [(t.start, t.end) for t in found] == [(t.start, t.end) for t in meeting]


def test_equal_windows_can_be_split():
    found = diarizer(0.0)(speech(0.2, 4.0, np.random.default_rng(0)), sample_rate=16000)
    kept = replace(found.kept, rows=found.kept.rows * 0 + found.kept.rows[0])
    assert len(split(kept, found.speakers[0], 3).result().speakers) == 3


# Moments -------------------------------------------------------------------------------------------


def test_two_moments_apart_undo_a_merger(kept, meeting):
    a, b, _ = meeting.speakers
    times = moment(kept, a), moment(kept, b)
    assert alike(apart(merge(kept, a, b), *times), kept)


def test_what_goes_apart_goes_to_a_speaker_whom_it_resembles(kept, meeting):
    """A turn that was given to the wrong speaker is no new one."""
    a, b, _ = meeting.speakers
    label = kept.now.names.index(a)
    first = next(span for span in kept.spans if span.label == label and span.end - span.start > 32000)
    middles = kept.windows[:, :2].mean(1)
    labels = kept.now.labels.copy()
    labels[(first.start <= middles) & (middles < first.end)] = kept.now.names.index(b)
    wrong = replace(kept, now=replace(kept.now, labels=labels))
    found = apart(wrong, moment(kept, b), (first.start + first.end) / 32000)
    assert alike(found, kept)
    assert set(found.now.names) == set(kept.now.names)


def test_moments_that_are_apart_stay_so(kept, meeting):
    a, b, _ = meeting.speakers
    found = apart(kept, moment(kept, a), moment(kept, b))
    assert found.result().turns == meeting.turns
    assert found.now.fixed.any()


def test_a_moment_too_near_another_one_is_refused(kept, meeting):
    when = moment(kept, meeting.speakers[0])
    with pytest.raises(CorrectionError, match="too close together"):
        apart(kept, when, when + 0.01)


def test_two_moments_together_move_a_turn_and_what_resembles_it(kept, meeting):
    a, b, _ = meeting.speakers
    times = moment(kept, a), moment(kept, b)
    found = together(kept, *times)
    names = [next(t.speaker for t in found.result() if t.start <= when < t.end) for when in times]
    assert names[0] == names[1]


def test_what_was_said_is_never_moved_again(kept, meeting):
    a, b, _ = meeting.speakers
    said = together(kept, moment(kept, a), moment(kept, b))
    fixed = np.flatnonzero(said.now.fixed)
    label = said.now.labels[fixed[0]]
    assert (said.now.labels[fixed] == label).all()
    later = split(said, said.now.names[label])
    assert len(set(later.now.labels[fixed].tolist())) == 1


# Turns ---------------------------------------------------------------------------------------------


def through_rttm(turns, tmp_path) -> list[Turn]:
    path = tmp_path / "edited.rttm"
    path.write_text(format_turns(turns, "recording", "rttm"), encoding="utf-8")
    return list(read_recordings(path)[0].turns)


def test_turns_that_were_not_changed_change_nothing(kept, meeting, tmp_path):
    found = edited(kept, through_rttm(meeting.turns, tmp_path)).result()
    assert found.turns == meeting.turns
    assert [t.confidence for t in found] == [t.confidence for t in meeting]


def test_a_changed_turn_is_true_and_the_like_follow(kept, meeting, tmp_path):
    """Two speakers were taken for one; one turn is given to somebody new, and the others like it go along."""
    a, b, _ = meeting.speakers
    wrong = merge(kept, a, b)
    turns = through_rttm(wrong.result().turns, tmp_path)
    label = kept.now.names.index(b)
    theirs = max((s for s in kept.spans if s.label == label), key=lambda span: span.end - span.start)
    start, end = theirs.start / 16000, theirs.end / 16000
    changed = [
        piece
        for turn in turns
        for piece in (
            [Turn(turn.start, start, a), Turn(start, end, "Bo"), Turn(end, turn.end, a)]
            if turn.speaker == a and turn.start <= start < turn.end
            else [turn]
        )
        if piece.duration > 0.001
    ]
    found = edited(wrong, changed)
    theirs = found.now.labels == found.now.names.index("Bo")
    share = [theirs[kept.now.labels == kept.now.names.index(name)].mean() for name in meeting.speakers]
    assert share[1] > 0.8
    assert max(share[0], share[2]) < 0.1


def test_edges_and_confidence_of_a_changed_turn(kept, meeting):
    first, *rest = meeting.turns
    mine = Turn(round(first.start + 0.123, 3), round(first.end, 3), "Mine")
    found = edited(kept, [mine, *rest]).result()
    got = next(turn for turn in found if turn.speaker == "Mine")
    assert got.start == pytest.approx(mine.start, abs=1e-9)
    assert got.end == pytest.approx(first.end, abs=1e-3)
    assert got.confidence == 1.0
    assert not any(t.start < mine.start and t.end > first.start for t in found), (
        "what was cut off is nobody's"
    )


def test_edges_that_were_not_changed_stay_to_the_sample(kept, meeting, tmp_path):
    turns = through_rttm(meeting.turns, tmp_path)
    for number in (0, 3, len(turns) - 1):
        changed = [*turns]
        changed[number] = replace(turns[number], speaker="Mine")
        found = edited(kept, changed).result()
        whole = meeting.turns[number]
        assert Turn(whole.start, whole.end, "Mine") in found.turns


def test_a_removed_turn_is_gone_and_an_added_one_is_there(kept, meeting):
    first, second, *rest = meeting.turns
    added = Turn(second.start + 0.1, second.end - 0.1, "Guest")
    found = edited(kept, [second, added, *rest]).result()
    assert not any(t.start < first.end and first.start < t.end for t in found if t.speaker == first.speaker)
    assert any(t.speaker == "Guest" and t.start == pytest.approx(added.start, abs=1e-3) for t in found)
    assert any(t.speaker == second.speaker and t.start <= added.start < t.end for t in found), "both speak"
    assert all(one.end <= other.start for one, other in pairwise(found.exclusive))


def test_a_name_changed_everywhere_is_a_new_name(kept, meeting, tmp_path):
    a = meeting.speakers[0]
    turns = [replace(turn, speaker="Ann" if turn.speaker == a else turn.speaker) for turn in meeting]
    found = edited(kept, through_rttm(turns, tmp_path))
    assert not found.now.fixed.any()
    assert found.result().turns == tuple(turns)


def test_edits_stay_through_later_corrections(kept, meeting, tmp_path):
    first, *rest = meeting.turns
    once = edited(kept, [replace(first, speaker="Mine"), *rest])
    again = edited(once, through_rttm(once.result().turns, tmp_path))
    assert again.result().turns == once.result().turns
    other = next(name for name in once.now.names if name != "Mine")
    assert any(
        t.speaker == other and t.start <= first.start < t.end for t in merge(once, other, "Mine").result()
    )


# Way back, and what cannot be ----------------------------------------------------------------------


def test_undo_goes_back_step_by_step(kept, meeting, tmp_path):
    a, b, c = meeting.speakers
    steps = [kept]
    steps.append(merge(steps[-1], a, b))
    steps.append(rename(steps[-1], c, "Cy"))
    steps.append(split(steps[-1], a))
    found = Kept.load(steps[-1].save(tmp_path / "a.diarize"))
    for step in reversed(steps):
        assert found.result().turns == step.result().turns
        if step is not kept:
            found = undo(found)
    with pytest.raises(CorrectionError, match="no correction to undo"):
        undo(found)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda k: merge(k, "Nobody", "SPEAKER_00"), "nobody is called 'Nobody'; there are SPEAKER_00"),
        (lambda k: merge(k, "SPEAKER_00"), "two speakers or more"),
        (lambda k: merge(k, "SPEAKER_00", "SPEAKER_00"), "all different"),
        (lambda k: rename(k, "SPEAKER_00", "SPEAKER_01"), "merge them"),
        (lambda k: rename(k, "SPEAKER_00", " "), "must not be empty"),
        (lambda k: split(k, "SPEAKER_00", 1), "cannot be split into 1"),
        (lambda k: split(k, "SPEAKER_00", 10**6), "cannot be split into 1000000"),
        (lambda k: apart(k, -1.0, 5.0), "nobody speaks at -1 s"),
        (lambda k: together(k, 1.0, 10**9), "nobody speaks at"),
    ],
)
def test_what_cannot_be_corrected_is_said(kept, wrong, said):
    with pytest.raises(CorrectionError, match=said):
        wrong(kept)
