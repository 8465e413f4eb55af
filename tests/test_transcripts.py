"""Transcripts as recognisers write them, each in the shape that the recogniser's own source gives it."""

# ruff: noqa: RUF001 - Chinese text has full-width punctuation

from __future__ import annotations

import json

import pytest

from diarize.errors import FormatError
from diarize.formats.recognisers import spread_words
from diarize.formats.transcripts import FORMS, read_transcript
from diarize.formats.words import format_ctm, format_json
from diarize.words import Word, sentence_ends, text_of


@pytest.fixture
def read(tmp_path):
    """A function that reads what is given: text, or what becomes JSON."""

    def reader(content, form=None, name="talk.json", **options):
        file = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        file.write_text(text, "utf-8")
        return read_transcript(file, form, **options)

    return reader


def rows(transcript):
    return [(round(w.start, 3), round(w.end, 3), w.text) for w in transcript.words]


WHISPER = {
    "text": " Hello, you. Yes.",
    "language": "en",
    "segments": [
        {
            "id": 0, "seek": 0, "start": 0.0, "end": 1.2, "text": " Hello, you.", "tokens": [50364],
            "words": [
                {"word": " Hello,", "start": 0.0, "end": 0.5, "probability": 0.9},
                {"word": " you.", "start": 0.6, "end": 1.2, "probability": 0.8},
            ],
        },
        {"start": 2.0, "end": 3.0, "text": " Yes.", "words": [{"word": " Yes.", "start": 2.0, "end": 2.5}]},
    ],
}  # fmt: skip
HELLO = [(0.0, 0.5, "Hello,"), (0.6, 1.2, " you."), (2.0, 2.5, " Yes.")]


def test_openai_whisper(read):
    found = read(WHISPER)
    assert rows(found) == HELLO
    assert (found.form, found.spread) == ("whisper", 0)
    assert [word.score for word in found.words] == [0.9, 0.8, None]
    assert [word.last for word in found.words] == [False, True, True]
    assert str(found) == "Hello, you. Yes."


def test_faster_whisper_as_people_dump_it(read):
    assert rows(read(WHISPER["segments"])) == HELLO  # [asdict(segment) for segment in segments]
    named_tuples = [
        segment | {"words": [[w["start"], w["end"], w["word"], 0.5] for w in segment["words"]]}
        for segment in WHISPER["segments"]
    ]
    found = read(named_tuples)
    assert rows(found) == HELLO
    assert found.words[0].score == 0.5
    no_words = [segment | {"words": None} for segment in WHISPER["segments"]]
    assert read(no_words).spread == 3


def test_whisperx_leaves_out_times_that_it_cannot_tell(read):
    document = {
        "segments": [
            {
                "start": 1.0, "end": 4.0, "text": " It costs $200 here.", "speaker": "SPEAKER_01",
                "words": [
                    {"word": "It", "start": 1.0, "end": 1.5, "score": 0.573},
                    {"word": "costs", "start": 1.6, "end": 2.0, "score": 0.6, "speaker": "SPEAKER_01"},
                    {"word": "$200"},
                    {"word": "here.", "start": 3.0, "end": 3.5, "score": 0.7},
                ],
            },
            {"start": 5.0, "end": 6.0, "text": "42 7", "words": [{"word": "42"}, {"word": "7"}]},
        ],
        "word_segments": [],
        "language": "en",
    }  # fmt: skip
    found = read(document)
    assert rows(found) == [
        (1.0, 1.5, "It"), (1.6, 2.0, " costs"), (2.0, 3.0, " $200"), (3.0, 3.5, " here."),
        (5.0, 5.667, " 42"), (5.667, 6.0, " 7"),
    ]  # fmt: skip
    assert found.spread == 3
    assert str(found) == "It costs $200 here. 42 7"


def test_untimed_words_at_the_edges_of_a_segment(read):
    words = [
        {"word": "a"},
        {"word": "b", "start": 1.0, "end": 2.0},
        {"word": "c"},
        {"word": "d", "start": None},
    ]
    found = read([{"start": 0.5, "end": 3.0, "text": "a b c d", "words": words}])
    assert rows(found) == [(0.5, 1.0, "a"), (1.0, 2.0, " b"), (2.0, 2.5, " c"), (2.5, 3.0, " d")]
    assert rows(read({"words": words})) == [(1, 1, "a"), (1, 2, " b"), (2, 2, " c"), (2, 2, " d")]


def test_words_alone_as_openai_s_api_gives_them(read):
    words = [
        {"word": word, "start": i, "end": i + 0.9} for i, word in enumerate(["So", "you", "said", "yes"])
    ]
    segments = [{"start": 0.0, "end": 2.0, "text": "So you"}, {"start": 2.0, "end": 4.0, "text": "said yes"}]
    found = read({"task": "transcribe", "words": words, "segments": segments})
    assert str(found) == "So you said yes"
    assert [word.last for word in found.words] == [False, True, False, True]


def test_words_of_segments_without_times_are_spread_over_them(read):
    found = read({"segments": [{"start": 1.0, "end": 3.0, "text": " a bbb cccc"}]})
    assert rows(found) == [(1.0, 1.25, "a"), (1.25, 2.0, " bbb"), (2.0, 3.0, " cccc")]
    assert found.spread == 3
    assert rows(read({"segments": [{"start": 0, "end": 1, "text": "  "}]})) == []
    assert read({"segments": []}).words == ()


def test_chinese_is_spread_by_character(read):
    found = read({"segments": [{"start": 0, "end": 7, "text": "你好，我用Py的。"}]})
    assert [word.text for word in found.words] == ["你", "好，", "我", "用", "Py", "的。"]
    assert found.words[-1].end == 7
    assert str(found) == "你好，我用Py的。"
    assert [w.text for w in spread_words(" ひらがな カナ", 0, 1)] == [" ひ", "ら", "が", "な", " カ", "ナ"]


def test_chinese_words_join_without_spaces(read):
    words = [{"word": w, "start": i, "end": i + 1} for i, w in enumerate(["你", "好", "，", "OK", "吗"])]
    assert str(read({"segments": [{"start": 0, "end": 5, "text": "", "words": words}]})) == "你好，OK吗"


def test_whisper_cpp(read):
    def token(text, start, end, p=0.9):
        return {
            "text": text,
            "timestamps": {},
            "offsets": {"from": start, "to": end},
            "id": 1,
            "p": p,
            "t_dtw": -1,
        }

    document = {
        "systeminfo": "",
        "result": {"language": "en"},
        "transcription": [
            {
                "timestamps": {"from": "00:00:00,000", "to": "00:00:02,000"},
                "offsets": {"from": 0, "to": 2000},
                "text": " And so, unbelievable!",
                "tokens": [
                    token("[_BEG_]", 0, 0),
                    token(" And", 40, 240),
                    token(" so", 240, 500, 0.7),
                    token(",", 500, 560, 0.99),
                    token(" un", 600, 800),
                    token("believable", 800, 1500, 0.3),
                    token("!", 1500, 1600),
                    token("[_TT_100]", 2000, 2000),
                ],
            },
            {"offsets": {"from": 2000, "to": 3000}, "text": " Yes."},
        ],
    }
    found = read(document)
    assert rows(found) == [
        (0.04, 0.24, "And"),
        (0.24, 0.56, " so,"),
        (0.6, 1.6, " unbelievable!"),
        (2, 3, " Yes."),
    ]
    assert [word.score for word in found.words] == [0.9, 0.7, 0.3, None]
    assert (found.form, found.spread) == ("whisper.cpp", 1)
    chinese = [token("你", 0, 100), token("好", 100, 200), token("，", 200, 210), token("OK", 300, 400)]
    document["transcription"] = [{"offsets": {"from": 0, "to": 400}, "text": "你好，OK", "tokens": chinese}]
    assert rows(read(document)) == [(0, 0.1, "你"), (0.1, 0.21, "好，"), (0.3, 0.4, "OK")]
    document["transcription"][0]["tokens"][0]["text"] = "\ufffd"  # a character cut in two
    assert read(document).spread == 3


FUNASR = [
    {
        "key": "talk",
        "text": "欢迎大家来体验 hello world。",
        "timestamp": [[880, 1120], [1120, 1380]],
        "sentence_info": [
            {"text": "欢迎，", "start": 880, "end": 1380, "timestamp": [[880, 1120], [1120, 1380]], "spk": 0},
            {"text": "hello world。", "start": 1400, "end": 2400, "timestamp": [[1400, 1900], [1900, 2400]]},
        ],
    }
]


def test_funasr_sentences(read):
    found = read(FUNASR)
    assert rows(found) == [
        (0.88, 1.12, "欢"),
        (1.12, 1.38, "迎，"),
        (1.4, 1.9, "hello"),
        (1.9, 2.4, " world。"),
    ]
    assert (found.form, found.spread) == ("funasr", 0)
    assert rows(read(FUNASR[0])) == rows(found)
    assert sentence_ends(found.words) == [False, False, False, True]


def test_funasr_text_and_timestamps(read):
    times = [[0, 100], [100, 200], [1000, 1500]]
    assert rows(read([{"key": "a", "text": "好的 ok", "timestamp": times}])) == [
        (0, 0.1, "好"), (0.1, 0.2, "的"), (1.0, 1.5, " ok")
    ]  # fmt: skip
    tagged = "<|zh|><|NEUTRAL|><|Speech|><|withitn|>好的 ok"  # SenseVoice
    assert read([{"key": "a", "text": tagged, "timestamp": times}]).spread == 0


def test_funasr_numbers_that_were_rewritten_stay_near_their_times(read):
    times = [[0, 100], [100, 200], [200, 300], [5000, 5100], [5100, 5200], [5200, 5300]]
    found = read([{"key": "a", "text": "50% 我走", "timestamp": times}])  # six times, three words
    assert found.spread == 3
    assert found.words[0].start == 0
    assert 0.2 < found.words[0].end < found.words[1].end < found.words[2].end == pytest.approx(5.3)
    assert found.words[1].start >= 5.0  # not 3.2, in the pause
    sentence = {"text": "没有时间", "start": 1000, "end": 2000, "timestamp": [None]}
    assert rows(read({"text": "", "sentence_info": [sentence]}))[-1] == (1.75, 2.0, "间")


def test_ctm(read):
    text = (
        ";; a\nm 1 1.5 0.25 world 0.9 lex <NA>\nm 1 0.5 0.5 hello NA lex Ann\n\nm A 3 0 好\nm A 3.1 .2 的 .5"
    )
    found = read(text, name="talk.ctm")
    assert rows(found) == [(0.5, 1.0, "hello"), (1.5, 1.75, " world"), (3, 3, "好"), (3.1, 3.3, "的")]
    assert [word.score for word in found.words] == [None, 0.9, None, 0.5]
    assert found.form == "ctm"


def test_ctm_of_several_recordings(read):
    text = "a 1 0 1 x\nb 1 0 1 y\n"
    assert rows(read(text, uri="b")) == [(0, 1, "y")]
    with pytest.raises(FormatError, match="holds 2 recordings; say which: a, b"):
        read(text)
    with pytest.raises(FormatError, match="no recording 'c'; there are: a, b"):
        read(text, uri="c")


def test_subtitles(read):
    srt = "1\n00:00:01,000 --> 00:00:03,000\n[Ann]: Well,\nyes\n\n"
    found = read(srt, name="talk.srt")
    assert rows(found) == [(1.0, 2.25, "Well,"), (2.25, 3.0, " yes")]
    assert [(word.speaker, word.last) for word in found.words] == [("Ann", False), ("Ann", True)]
    vtt = "WEBVTT\n\n00:01.000 --> 00:03.000\n<v Ann>Well, yes\n"
    assert (rows(read(vtt)), read(vtt).form) == (rows(found), "vtt")


def test_what_was_written_is_read_again(read):
    words = [Word(0, 1, "Hello,", "A", 0.5), Word(1, 2.5, " 你", "B", None, True), Word(2.5, 3, "好。", "B")]
    found = read(format_json(words, "m"))
    assert (found.form, str(found)) == ("diarize", text_of(words))
    assert [(w.start, w.end, w.text, w.score, w.last) for w in found.words] == [
        (w.start, w.end, w.text, w.score, w.last) for w in words
    ]
    assert [w.start for w in read(format_ctm(words, "m")).words] == [0, 1, 2.5]


def seg(**changes):
    return {"segments": [{"start": 0, "end": 1, "text": "a"}, {"start": 1, "end": 2, "text": "b"} | changes]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"segments": [', r"talk.json:1: must be JSON: .*column \d+"),
        ("[" * 100_000, r"talk.json:1: must be JSON of a few levels, got hundreds"),
        ('{"segments": ' + "9" * 5000 + "}", "a number of thousands of digits"),
        ({"segments": 3}, r"talk.json: segments must be a list, got 3"),
        (seg(start="x"), r'talk.json: segments\[1\].start must be a number of seconds, got "x"'),
        (seg(start=None), r"segments\[1\].start must be a number of seconds, got null"),
        (seg(start=True), r"segments\[1\].start must be a number of seconds, got true"),
        (seg(end=0.5), r"segments\[1\].end must be >= its start, 1, got 0.5"),
        (seg(start=-1), r"segments\[1\].start must be from 0 to 1000000 s"),
        (seg(end=10**400), r"segments\[1\].end must be from 0 to 1000000 s; milliseconds\?"),
        (seg(text=["b"]), r'segments\[1\].text must be a text, got \["b"\]'),
        (seg(words=[{"word": 3}]), r"segments\[1\].words\[0\].word must be a text, got 3"),
        (seg(words=[{"word": "b", "start": 2, "end": 1}]), r"\[1\].words\[0\].end must be >= its start, 2"),
        (seg(words=[{"word": "b", "start": "1", "end": 1}]), r"words\[0\].start must be a number of seconds"),
        ({"words": [{"word": "a"}]}, "start must be a number of seconds, got null"),
        ({"schema": "diarize.words/2", "words": []}, 'schema must be "diarize.words/1", got "diar'),
        ([{"text": "x", "timestamp": [[0]]}], r"talk.json:\[0\].timestamp\[0\]\[1\] must be a number of m"),
        ([FUNASR[0], FUNASR[0]], "must hold one recording, got 2; save them one by one"),
        ({"hello": 1}, "must be a transcript with times .*plain text has no times"),
        ([], "must be a transcript with times"),
        ("Hello, how are you? I am fine, thank you very much.", "must be a transcript with times"),
        ("", "must be a transcript with times"),
        ("a 1 0 x word\n", r"talk.json:1: duration must be a number of seconds, got 'x'"),
        ("a 1 0 1 w\na 1 0 1\n", r"talk.json:2: a CTM line must have 5 to 8 fields .*got 4"),
        ("a 1 -1 1 w\n", r"talk.json:1: start and duration must be >= 0, got -1 and 1"),
        ("a 1 1 1 w high\n", r"talk.json:1: confidence must be a number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(read, content, said):
    with pytest.raises(FormatError, match=said):
        read(content)


def test_a_format_can_be_asked_for(read):
    assert read(WHISPER, "whisper").form == "whisper"
    with pytest.raises(FormatError, match=r"talk.json: transcription must be a list, got null"):
        read(WHISPER, "whisper.cpp")
    with pytest.raises(FormatError, match=r"must begin with WEBVTT"):
        read("1\n00:00:01,000 --> 00:00:03,000\nx", "vtt")
    with pytest.raises(FormatError, match=r"format must be one of whisper, .*, got 'docx'"):
        read(WHISPER, "docx")
    for form in ("whisper", "whisper.cpp", "funasr", "diarize", "ctm", "srt", "vtt"):
        assert form in FORMS


def test_ten_hours_are_read_in_seconds(read):
    import time

    segments = [{"start": i, "end": i + 1, "text": " one two three four"} for i in range(36_000)]
    begun = time.perf_counter()
    assert len(read({"segments": segments}).words) == 144_000
    assert time.perf_counter() - begun < 20
