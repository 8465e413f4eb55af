"""Known voices inside recordings: who gets whose name, with which score, and who stays a number."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys

import numpy as np
import pytest
from conftest import ROOT
from fakes import RATE, FakeEmbedder, FakeVad, silence, speech

from diarize import AudioError, Config, ConfigError, Diarizer, ModelError
from diarize.enrolment import FEW_S, KnownVoice, recognise
from diarize.formats.registry import read_recordings
from diarize.result import Match

HALF = 0.5


def flat_threshold(seconds_a: float, seconds_b: float) -> float:
    return HALF


def direction(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([np.cos(angle), np.sin(angle), 0.0], np.float32)


def voice(name: str, degrees: float, windows: float = 4, seconds: float = 6.0) -> KnownVoice:
    return KnownVoice(name, windows * direction(degrees).astype(np.float64), windows, seconds)


def found(speakers: dict[int, float], *known: KnownVoice, **options: object) -> dict[int, Match]:
    embeddings = {label: direction(degrees) for label, degrees in speakers.items()}
    return recognise(embeddings, dict.fromkeys(speakers, 8.0), known, flat_threshold, **options)


def names(matches: dict[int, Match]) -> dict[int, str]:
    return {label: match.name for label, match in matches.items() if match.recognised}


# Who is who ------------------------------------------------------------------------------------------


def test_from_the_threshold_on_it_is_one_voice():
    exactly = recognise({0: direction(0)}, {0: 8.0}, [voice("Ann", 60)], lambda a, b: direction(60)[0])
    assert exactly[0].recognised
    assert exactly[0].score == pytest.approx(HALF)
    assert not found({0: 0}, voice("Ann", 60.1))[0].recognised


def test_the_threshold_is_that_of_the_seconds_on_both_sides():
    asked = []

    def threshold(a: float, b: float) -> float:
        asked.append((a, b))
        return 0.1 * a + 0.01 * b

    matches = recognise({7: direction(0)}, {7: 4.0}, [voice("Ann", 0, seconds=6.0)], threshold)
    assert asked == [(4.0, 6.0)]
    assert matches[7].threshold == pytest.approx(0.46)


def test_a_voice_is_one_speaker_and_the_nearer_one_gets_the_name():
    matches = found({0: 20, 1: 5}, voice("Ann", 0))
    assert names(matches) == {1: "Ann"}
    assert matches[0] == Match("Ann", pytest.approx(np.cos(np.deg2rad(20))), HALF, False)


def test_as_many_as_can_be_are_recognised():
    """The nearest pair first would leave somebody without a name whom one of the voices fits."""
    assert names(found({0: 0, 1: 50}, voice("Ann", 10), voice("Ben", -35))) == {0: "Ben", 1: "Ann"}


def test_who_is_nobody_known_has_the_nearest_voice_and_its_score():
    match = found({0: 0}, voice("Ann", 80), voice("Ben", 70))[0]
    assert (match.name, match.recognised) == ("Ben", False)
    assert match.score == pytest.approx(np.cos(np.deg2rad(70)))
    assert "Ben, score 0.342 < threshold 0.500" in str(match)


def test_nobody_known_or_nobody_speaking_is_nothing():
    assert found({}, voice("Ann", 0)) == found({0: 0}) == {}


def test_several_speakers_may_be_one_voice_if_told_so():
    speakers = {0: 20, 1: 5, 2: 200, 3: 95}
    assert names(found(speakers, voice("Ann", 0), voice("Ben", 100), one_to_one=False)) == {
        0: "Ann",
        1: "Ann",
        3: "Ben",
    }


def test_each_goes_to_the_voice_it_is_likest():
    speakers = {0: 0, 1: 2}
    assert names(found(speakers, voice("Ann", 0), voice("Ben", 30), one_to_one=False)) == {0: "Ann", 1: "Ann"}


@pytest.mark.parametrize(("least", "named"), [(1, {0, 1, 2}), (2, {1, 2}), (3, {1}), (9, {1})])
def test_names_never_leave_fewer_speakers_than_asked_for(least, named):
    speakers = {0: 20, 1: 5, 2: 10}
    assert set(names(found(speakers, voice("Ann", 0), one_to_one=False, least=least))) == named


# In a recording --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diarizer() -> Diarizer:
    config = Config.from_dict({"clustering": {"threshold": 0.75}})
    return Diarizer(config, embedder=FakeEmbedder(0.1), vad=FakeVad())


def talk(*voices: float, seconds: float = 6.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.concatenate([piece for v in voices for piece in (speech(v, seconds, rng), silence(1.5))])


@pytest.fixture(scope="module")
def known(diarizer, tmp_path_factory, write_wav):
    """Ann at 0, Ben at a quarter of the circle, by 8 s each."""
    folder = tmp_path_factory.mktemp("voices")
    for name, v in (("Ann", 0.0), ("Ben", 0.25)):
        samples = speech(v, 8.0, np.random.default_rng(11))
        write_wav(folder / f"{name}.wav", (samples * 32767).astype(np.int16), RATE)
    return diarizer.enrol({name: folder / f"{name}.wav" for name in ("Ann", "Ben")})


def test_the_result_says_who_was_recognised_and_how_surely(diarizer, known):
    meeting = diarizer(talk(0.6, 0.0), sample_rate=RATE, enrolled=known)
    assert meeting.speakers == ("SPEAKER_00", "Ann")
    assert list(meeting.recognised) == ["Ann"]
    match = meeting.recognised["Ann"]
    assert match.score == pytest.approx(
        float(meeting.embeddings["Ann"] @ known[0].total) / np.linalg.norm(known[0].total)
    )
    assert match.threshold == 0.75
    assert not meeting.matches["SPEAKER_00"].recognised
    assert diarizer(talk(0.6, 0.0), sample_rate=RATE).matches == {}


def halves(diarizer: Diarizer, known, **options: object):
    """A voice that clustering takes for two, both of them like Ann: -20 and 25 degrees."""
    strict = Diarizer(diarizer.config, embedder=diarizer.embedder, vad=FakeVad())
    samples = talk(1 - 20 / 360, 25 / 360, 0.5)
    if "latency_s" in options:
        stream = strict.stream(enrolled=known, **options)
        stream.push(samples)
        stream.finish()
        return stream.result()
    return strict(samples, sample_rate=RATE, enrolled=known, **options)


@pytest.fixture(scope="module")
def split(known):
    """A diarizer that tells apart what lies 45 degrees apart, and 25 degrees from Ann is Ann to it."""
    config = Config.from_dict({"clustering": {"threshold": 0.85}})
    return Diarizer(config, embedder=FakeEmbedder(0.05), vad=FakeVad())


def test_speakers_with_one_name_become_one_speaker(split, known):
    apart = halves(split, known)
    assert sorted(apart.speakers) == ["Ann", "SPEAKER_00", "SPEAKER_01"]
    assert (
        sum(match.name == "Ann" and match.score >= match.threshold for match in apart.matches.values()) == 2
    )
    one = halves(split, known, one_to_one=False)
    assert one.speakers == ("Ann", "SPEAKER_00")
    assert set(one.embeddings) == set(one.matches) == set(one.speakers)
    assert sum(one.speaking_time.values()) == pytest.approx(sum(apart.speaking_time.values()), abs=0.1)
    scores = [m.score for m in apart.matches.values() if m.name == "Ann" and m.score >= m.threshold]
    assert one.matches["Ann"].score == min(scores)  # the least sure of them
    mean = one.embeddings["Ann"]
    assert mean @ apart.embeddings["Ann"] > 0.9
    assert np.linalg.norm(mean) == pytest.approx(1.0)


def test_one_names_turns_that_touch_are_one_turn(split, known):
    rng = np.random.default_rng(5)
    samples = np.concatenate([speech(1 - 20 / 360, 6.0, rng), speech(25 / 360, 6.0, rng), silence(1.0)])
    meeting = split(samples, sample_rate=RATE, enrolled=known, one_to_one=False)
    assert [turn.speaker for turn in meeting] == ["Ann"]
    assert len(split(samples, sample_rate=RATE, enrolled=known)) == 2


@pytest.mark.parametrize("asked", [{"num_speakers": 3}, {"min_speakers": 3}, {"num_speakers": 2}])
def test_an_asked_count_outranks_shared_names(split, known, asked):
    meeting = halves(split, known, one_to_one=False, **asked)
    assert len(meeting.speakers) == max(asked.values())


def test_a_live_stream_ends_as_the_file_does_also_with_shared_names(split, known):
    one = halves(split, known, one_to_one=False)
    live = halves(split, known, one_to_one=False, latency_s=2.0)
    assert live == one
    assert live.matches == one.matches


def test_a_saved_stream_remembers_that_names_are_shared(split, known):
    stream = split.stream(latency_s=2.0, enrolled=known, one_to_one=False)
    again = split.stream(state=stream.state())
    again.push(talk(1 - 20 / 360, 25 / 360, 0.5))
    again.finish()
    assert again.result().speakers == ("Ann", "SPEAKER_00")
    with pytest.raises(ConfigError, match="brings its own options"):
        split.stream(state=stream.state(), one_to_one=False)


# What is refused, what is said --------------------------------------------------------------------------


def test_little_speech_is_said_and_enough_is_not(diarizer, tmp_path, write_wav, caplog):
    caplog.set_level(logging.WARNING, "diarize")
    rng = np.random.default_rng(2)
    for name, seconds in (("short", FEW_S - 1.0), ("long", FEW_S + 1.0)):
        samples = (speech(0.0, seconds, rng) * 32767).astype(np.int16)
        write_wav(tmp_path / f"{name}.wav", np.concatenate([samples, np.zeros(RATE, np.int16)]), RATE)
    diarizer.enrol({"Zoe": tmp_path / "long.wav"})
    assert caplog.messages == []
    short, twice = diarizer.enrol({"Zoe": tmp_path / "short.wav", "Two": [tmp_path / "short.wav"] * 2})
    assert len(caplog.messages) == 1  # twice the same is enough, as far as one can tell
    assert caplog.messages[0].startswith(f"Zoe: known by {short.seconds:.1f} s of speech only")
    assert twice.seconds == 2 * short.seconds
    np.testing.assert_allclose(twice.total, 2 * short.total)


def test_a_silent_recording_among_others_is_said(diarizer, tmp_path, write_wav, caplog):
    loud = write_wav(tmp_path / "loud.wav", (talk(0.0) * 32767).astype(np.int16), RATE)
    quiet = write_wav(tmp_path / "quiet.wav", np.zeros(RATE, np.int16), RATE)
    (zoe,) = diarizer.enrol({"Zoe": [quiet, loud]})
    assert caplog.messages == ["Zoe: no speech was found in quiet, which is left out"]
    assert zoe.seconds > 5
    with pytest.raises(AudioError, match="Zoe: no speech was found"):
        diarizer.enrol({"Zoe": [quiet, quiet]})


def test_a_folder_of_recordings_is_one_voice(diarizer, tmp_path, write_wav):
    paths = [
        write_wav(tmp_path / name, (talk(v) * 32767).astype(np.int16), RATE)
        for name, v in (("a.wav", 0.0), ("b.wav", 0.02))
    ]
    (folder,) = diarizer.enrol({"Zoe": tmp_path})
    (files,) = diarizer.enrol({"Zoe": paths})
    np.testing.assert_array_equal(folder.total, files.total)


def test_voices_that_cannot_be_compared_or_told_apart_are_refused(diarizer, known):
    other = dataclasses.replace(known[0], total=np.ones(5))
    with pytest.raises(
        ModelError, match="Ann: a known voice must be of the model in use, with 8 numbers, got 5"
    ):
        diarizer.stream(enrolled=[other])
    with pytest.raises(ConfigError, match="two known voices are called 'Ann'"):
        diarizer.stream(enrolled=[known[0], known[0]])


# In JSON ------------------------------------------------------------------------------------------------


def test_json_says_who_was_recognised_and_is_read_again(diarizer, known, tmp_path):
    meeting = diarizer(talk(0.6, 0.0), sample_rate=RATE, enrolled=known)
    path = meeting.write(tmp_path / "meeting.json")
    document = json.loads(path.read_text())
    by_name = {speaker["name"]: speaker["match"] for speaker in document["speakers"]}
    assert by_name["Ann"]["recognised"] is True
    assert by_name["SPEAKER_00"]["recognised"] is False
    assert by_name["Ann"]["score"] == pytest.approx(meeting.matches["Ann"].score, abs=1e-6)
    (recording,) = read_recordings(path)
    assert set(recording.matches) == set(meeting.matches)
    assert recording.matches["Ann"].name == "Ann"
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "schema" / "diarize-1.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    without = json.loads(diarizer(talk(0.6), sample_rate=RATE).to("json"))
    jsonschema.Draft202012Validator(schema).validate(without)
    assert "match" not in without["speakers"][0]


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("1", "match must be an object"),
        ('{"name": "Ann", "score": 0.5, "threshold": 0.5}', "match must be an object with .recognised"),
        ('{"name": "Ann", "score": "x", "threshold": 0.5, "recognised": true}', "score must be a number"),
        ('{"score": 0.5, "threshold": 0.5, "recognised": true}', "name must be a text"),
    ],
)
def test_a_match_that_is_none_is_refused_with_its_line(tmp_path, match, said):
    from diarize import FormatError

    path = tmp_path / "bad.json"
    path.write_text(
        '{"schema": "diarize/1", "uri": "a", "duration": 3.0,\n "turns": [],\n "speakers": [\n'
        f'  {{"name": "Ann", "speaking_time": 1.0, "match": {match}}}]}}\n'
    )
    with pytest.raises(FormatError, match=rf"bad\.json:4: {said}"):
        read_recordings(path)


def test_scipy_is_loaded_only_where_voices_are_known():
    import subprocess

    code = "import sys, diarize.enrolment; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
