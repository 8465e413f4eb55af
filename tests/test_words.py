"""Who said which word: assignment, on cases small enough to check by hand, and its laws."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from diarize.errors import FormatError
from diarize.formats.words import cues, format_ctm, format_json, format_txt, paragraphs
from diarize.result import Turn
from diarize.words import SENTENCE_CUT_S, Transcript, Word, assign, cheapest, sentence_ends, text_of


def said(*rows: tuple[float, float, str]) -> list[Word]:
    return [Word(start, end, text) for start, end, text in rows]


def speakers(words, turns) -> str:
    return "".join(word.speaker or "-" for word in assign(words, turns))


def even(text: str, start: float = 0.0, length: float = 0.3, pause: float = 0.0) -> list[Word]:
    """Words of equal length, one after another."""
    rows = []
    for token in text.split():
        rows.append(Word(start, start + length, " " + token))
        start += length + pause
    return rows


def test_each_word_goes_to_the_turn_it_lies_in():
    words = even("Shall we begin? Yes. I think so.")
    assert speakers(words, [Turn(0, 0.9, "A"), Turn(0.9, 1.2, "B"), Turn(1.2, 2.1, "A")]) == "AAABAAA"


def test_what_words_had_is_kept_but_for_the_speaker():
    word = Word(0, 1, " hm", speaker="old", score=0.5, last=True)
    assert assign([word], [Turn(0, 1, "A")]) == (Word(0, 1, " hm", "A", 0.5, True),)
    assert assign([word], []) == (Word(0, 1, " hm", None, 0.5, True),)
    assert assign([], [Turn(0, 1, "A")]) == ()


@pytest.mark.parametrize(("start", "speaker"), [(2.2, "A"), (3.4, "A"), (3.6, "B"), (4.9, "B"), (90, "B")])
def test_a_word_outside_all_turns_goes_to_the_nearest(start, speaker):
    assert speakers(said((start, start, "hm")), [Turn(0, 2, "A"), Turn(5, 6, "B")]) == speaker


def test_a_sentence_is_not_cut_for_one_word_at_an_edge():
    words = even("So I went home. Did you?")
    late = [Turn(0, 1.35, "A"), Turn(1.35, 3, "B")]  # the turn ends in the middle of "Did"
    early = [Turn(0, 1.05, "A"), Turn(1.05, 3, "B")]  # ... in the middle of "home."
    assert speakers(words, late) == speakers(words, early) == "AAAABB"


def test_a_lone_word_goes_with_its_sentence_unless_the_evidence_is_strong():
    words = even("we could of course go there.")
    assert speakers(words, [Turn(0, 0.6, "A"), Turn(0.6, 0.9, "B"), Turn(0.9, 2, "A")]) == "AAAAAA"
    words = said(
        (0, 0.3, "we"), (0.3, 0.6, "could"), (1.2, 3.2, "whaaat"), (3.8, 4.1, "of"), (4.1, 4.4, "course.")
    )
    assert speakers(words, [Turn(0, 0.7, "A"), Turn(1.1, 3.3, "B"), Turn(3.7, 4.5, "A")]) == "AABAA"


def test_a_sentence_of_its_own_may_be_one_word():
    words = even("so I went home. Mhm. And then I slept.")
    assert speakers(words, [Turn(0, 1.2, "A"), Turn(1.2, 1.5, "B"), Turn(1.5, 3, "A")]) == "AAAABAAAA"


def test_changes_snap_to_pauses():
    """Without punctuation: the turn ends .2 s into a word that a pause parts from the word before it."""
    pause = even("a b c") + even("d e f", start=1.3)
    none = even("a b c d e f", start=0.4)
    turns = [Turn(0, 1.5, "A"), Turn(1.5, 3, "B")]
    assert speakers(none, turns) == "AAAABB"
    assert speakers(pause, turns) == "AAABBB"


def test_chinese_and_other_punctuation_ends_sentences():
    ends = ["好。", "吗？", "走！", "no.", 'said."', "(so.)", "why?”", "。」", "…", "क्या।", "؟", " go. "]  # noqa: RUF001
    goes_on = ["，", "a,", "well:", "3.5", "e.g", "", " ", '"', ")"]  # noqa: RUF001
    for text in ends:
        assert sentence_ends([Word(0, 1, text), Word(1, 2, "x")]) == [True, True], text
    for text in goes_on:
        assert sentence_ends([Word(0, 1, text), Word(1, 2, "x."), Word(2, 3, "x")])[0] is False, text


def test_segments_tell_sentences_only_where_no_punctuation_does():
    words = [Word(0, 1, "a", last=True), Word(1, 2, "b"), Word(2, 3, "c", last=True)]
    assert sentence_ends(words) == [True, False, True]
    assert sentence_ends([*words, Word(3, 4, "d.")]) == [False, False, False, True]
    assert sentence_ends([]) == []


def test_where_turns_overlap_who_began_first_has_the_floor():
    words = even("one two three. four five six. seven eight.")
    assert speakers(words, [Turn(0, 3, "A"), Turn(0.6, 1.5, "B")]) == "AAAAAAAA"
    assert speakers(words, [Turn(0, 1.5, "A"), Turn(0.6, 3, "B")]) == "AAAAAABB"
    words = even("one two three four five six. seven eight nine ten eleven. twelve thirteen")
    turns = [Turn(0, 3, "A"), Turn(0.6, 1.5, "B"), Turn(2, 4, "C")]
    assert speakers(words, turns) == "AAAAAAAAAAACC"
    assert speakers(words, [*turns, Turn(0.5, 2.9, "A")]) == "AAAAAAAAAAACC"


def test_the_order_of_turns_does_not_matter():
    rng = random.Random(0)
    turns = [Turn(t := rng.uniform(0, 30), t + rng.uniform(0.1, 4), rng.choice("ABC")) for _ in range(40)]
    words = even("x " * 90)
    found = speakers(words, turns)
    for _ in range(10):
        rng.shuffle(turns)
        assert speakers(words, turns) == found


def test_times_may_be_late_by_an_hour_and_words_out_of_order():
    words = [Word(3600 + w.start, 3600 + w.end, w.text) for w in reversed(even("a b c d e f"))]
    assert speakers(words, [Turn(3600, 3600.9, "A"), Turn(3600.9, 3602, "B")]) == "BBBAAA"


def test_the_cheapest_path_is_what_trying_all_of_them_finds():
    rng = np.random.default_rng(1)
    for _ in range(40):
        n, k = rng.integers(1, 6), rng.integers(1, 4)
        costs, changes = rng.random((n, k)), rng.random(n - 1) * 0.5
        paths = list(itertools.product(range(k), repeat=int(n)))
        prices = [
            sum(costs[i, p] for i, p in enumerate(path))
            + sum(c for c, (a, b) in zip(changes, itertools.pairwise(path), strict=True) if a != b)
            for path in paths
        ]
        assert cheapest(costs, changes) == list(paths[int(np.argmin(prices))])


def test_among_equals_the_change_comes_late():
    costs = np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert cheapest(costs, np.full(3, 0.2)) == [0, 0, 0, 1]


def test_a_change_costs_what_it_says():
    """Three words deep in another's turn: .3 s of distance together, beyond or below two changes."""
    words = even("a b c d e f g h i")
    turns = [Turn(0, 0.9, "A"), Turn(0.9, 1.8, "B"), Turn(1.8, 2.7, "A")]
    deep = sum(
        np.interp(t, [0.9, 1.35, 1.8], [0, 0.45, 0]) / 5
        for w in words[3:6]
        for t in w.start + 0.3 * np.arange(0.1, 1, 0.2)
    )
    assert deep > 2 * SENTENCE_CUT_S
    assert speakers(words, turns) == "AAABBBAAA"
    turns = [Turn(0, 0.9, "A"), Turn(0.9, 1.5, "B"), Turn(1.5, 2.7, "A")]
    assert speakers(words, turns) == "AAAAAAAAA"


@pytest.mark.parametrize(
    ("words", "turns", "said"),
    [
        ([Word(1, 0, "a")], [Turn(0, 1, "A")], "word 1: times must be finite with start <= end, got 1 to 0"),
        ([Word(0, 1, "a"), Word(0, math.nan, "b")], [], "word 2: times must be finite"),
        ([], [Turn(0, math.inf, "A")], "turn 1: times must be finite"),
    ],
)
def test_impossible_times_are_refused(words, turns, said):
    with pytest.raises(FormatError, match=said):
        assign(words, turns)


def test_texts_put_together_are_the_transcript():
    words = [Word(0, 1, " Hello,"), Word(1, 2, " wor"), Word(2, 3, "ld.")]
    assert text_of(words) == str(Transcript(tuple(words))) == "Hello, world."


MEETING = [
    Word(6.684, 6.9, "Shall", "Ann", 0.98),
    Word(6.9, 7.0005, " we?", "Ann", None, True),
    Word(7.2, 7.5, " Yes.", "Bob B", 0.5, True),
    Word(65.0, 65.4, " No", None),
]


def test_the_readable_transcript():
    assert format_txt(MEETING) == "[0:00:06] Ann: Shall we?\n\n[0:00:07] Bob B: Yes.\n\n[0:01:05] No\n"
    assert format_txt([]) == ""


def test_a_long_paragraph_ends_with_a_sentence():
    words = [Word(i, i + 1, " so." if i % 10 == 9 else " so", "A") for i in range(150)]
    assert [(p.start, p.end) for p in paragraphs(words)] == [(0, 60), (60, 120), (120, 150)]


def test_ctm_holds_the_speaker_in_its_eighth_field():
    assert format_ctm(MEETING, "my meeting") == (
        "my_meeting 1 6.684 0.216 Shall 0.980 lex Ann\n"
        "my_meeting 1 6.900 0.100 we? NA lex Ann\n"
        "my_meeting 1 7.200 0.300 Yes. 0.500 lex Bob_B\n"
        "my_meeting 1 65.000 0.400 No NA lex <NA>\n"
    )


def test_json_is_versioned_and_whole():
    import json

    found = json.loads(format_json(MEETING, "meeting"))
    assert found["schema"] == "diarize.words/1"
    assert (found["recording"], found["speakers"]) == ("meeting", ["Ann", "Bob B"])
    assert found["segments"][1] == {"start": 7.2, "end": 7.5, "speaker": "Bob B", "text": "Yes."}
    assert found["words"][1] == {
        "start": 6.9, "end": 7.0, "speaker": "Ann", "text": " we?", "score": None, "last": True
    }  # fmt: skip
    assert "".join(word["text"] for word in found["words"]) == "Shall we? Yes. No"


def test_subtitles_hold_one_speaker_and_what_can_be_read():
    words = [Word(i / 3, (i + 1) / 3, f" word{i}", "AB"[i >= 40]) for i in range(80)]
    found = cues(words)
    assert {cue.speaker for cue in found} == {"A", "B"}
    assert all(len(cue.text) <= 84 and cue.end - cue.start <= 7.001 for cue in found)
    assert " ".join(cue.text for cue in found) == text_of(words)
    chinese = cues([Word(i / 9, (i + 1) / 9, "好", "A") for i in range(100)])
    assert [len(cue.text) for cue in chinese] == [42, 42, 16]
    assert [cue.text for cue in cues(MEETING)] == ["Shall we?", "Yes.", "No"]
