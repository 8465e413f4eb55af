"""What a live stream offers beyond the laws: gaps, clocks, saved states, known voices, newcomers."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import numpy as np
import pytest
from fakes import RATE, FakeEmbedder, FakeVad, conversation, silence, speech

from diarize import (
    AudioError,
    Config,
    ConfigError,
    DiarizeError,
    Diarizer,
    FormatError,
    SpeakerCountWarning,
    StreamFinished,
    _saving,
)


def made(noise: float = 0.1, **live: float) -> Diarizer:
    return Diarizer(Config.from_dict({"live": live}), embedder=FakeEmbedder(noise), vad=FakeVad())


@pytest.fixture(scope="module")
def diarizer() -> Diarizer:
    return made()


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def live_turns(diarizer: Diarizer, samples: np.ndarray, **options: object) -> tuple:
    stream = diarizer.stream(**{"latency_s": 2.0} | options)
    stream.push(samples)
    stream.finish()
    return stream.finals


# Latency -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_the_smallest_latency_is_said(diarizer, rate):
    with pytest.raises(
        ConfigError, match=r"latency_s must be at least 0\.2\d\d at this sample rate, got 0\.1"
    ):
        diarizer.stream(latency_s=0.1, sample_rate=rate)
    diarizer.stream(latency_s=0.25, sample_rate=rate)


@pytest.mark.parametrize("latency_s", [0, -1.0, float("nan"), 1e305, "2", True])
def test_what_is_no_latency_is_said(diarizer, latency_s):
    with pytest.raises(ConfigError, match="latency_s must be seconds > 0 and <= 86400, or None to decide"):
        diarizer.stream(latency_s=latency_s)


def test_endless_latency_is_none(diarizer):
    stream = diarizer.stream(latency_s=float("inf"))
    assert stream.push(conversation(0)) == []
    assert stream.finals == ()
    assert stream.decided == 0
    assert tuple(stream.finish()) == stream.finals == stream.result().turns


def test_what_is_decided_is_said(diarizer):
    stream = diarizer.stream(latency_s=1.0)
    assert stream.decided == 0
    for _ in range(5):
        stream.push(silence(1.0))
        assert stream.duration - 1.0 <= stream.decided <= stream.duration
    stream.finish()
    assert stream.decided == stream.duration == 5.0


def test_the_annotation_is_all_that_is_known(diarizer):
    stream = diarizer.stream(latency_s=2.0, uri="meeting")
    stream.push(speech(0.0, 10.0, rng()))
    assert stream.hypothesis[0].start == stream.finals[-1].end < 9.0
    annotation = stream.annotation()
    assert annotation.uri == "meeting"
    assert [(s.start, s.end) for s in annotation.itersegments()] == [(0.0, stream.hypothesis[-1].end)]
    assert stream.hypothesis[-1].end > 9.9


# Lost samples and clocks ----------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16000, 8000, 44100])
def test_lost_samples_are_silence_and_the_clock_stays_true(diarizer, rate):
    a, b = speech(0.0, 3.0, rng()), speech(0.2, 3.0, rng())
    gap = round(2.5 * rate)
    told, filled = (diarizer.stream(latency_s=1.0, sample_rate=rate) for _ in range(2))
    told.push(a)
    told.push(b, at=(len(a) + gap) / rate)
    told.push(b[:0], at=(len(a) + gap + len(b)) / rate)  # just on time
    filled.push(np.concatenate([a, np.zeros(gap, np.float32), b]))
    told.finish()
    filled.finish()
    assert told.finals == filled.finals
    assert told.result() == filled.result()


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (0.5, r"at must not lie before the end of what was pushed, 1\.000 s, got 0\.5"),
        (float("nan"), "got nan"),
        (1e6, "more than a day; a wrong clock"),
    ],
)
def test_a_time_that_cannot_be_is_said(diarizer, at, reason):
    stream = diarizer.stream(latency_s=1.0)
    stream.push(silence(1.0))
    with pytest.raises(AudioError, match=reason):
        stream.push(silence(1.0), at=at)
    stream.push(silence(1.0))  # nothing was taken of what was refused
    stream.finish()
    assert stream.result().duration == 2.0


def test_samples_that_are_refused_leave_the_stream_as_it_was(diarizer):
    stream = diarizer.stream(latency_s=1.0)
    for bad in (np.zeros((2, 9)), np.array([np.nan]), "text"):
        with pytest.raises(AudioError):
            stream.push(bad, at=5.0)
    stream.push(silence(1.0))
    stream.finish()
    assert stream.result().duration == 1.0


def test_the_time_of_day(diarizer):
    started = datetime(2026, 2, 3, 9, 59, 30, tzinfo=UTC)
    stream = diarizer.stream(latency_s=1.0, started=started)
    assert stream.time_of(90.5) == datetime(2026, 2, 3, 10, 1, 0, 500_000, tzinfo=UTC)
    assert diarizer.stream(state=stream.state()).time_of(0) == started
    with pytest.raises(ConfigError, match="pass started="):
        diarizer.stream(latency_s=1.0).time_of(1.0)


# Saved states -----------------------------------------------------------------------------------------


def test_a_saved_stream_needs_the_same_options(diarizer):
    saved = diarizer.stream(latency_s=1.0).state()
    with pytest.raises(ConfigError, match="saved under another configuration"):
        made(birth_s=1.0).stream(state=saved)
    given = ({"latency_s": 2.0}, {"num_speakers": 2}, {"enrolled": {}}, {"sample_rate": 16000}, {"uri": "a"})
    for options in given:
        with pytest.raises(ConfigError, match="brings its own options"):
            diarizer.stream(state=saved, **options)


def test_what_is_no_saved_stream_is_refused_and_never_executed(diarizer):
    stream = diarizer.stream(latency_s=1.0)
    stream.push(conversation(0))
    saved = stream.state()

    class Payload:
        def __reduce__(self):
            return (pytest.fail, ("a saved stream was executed",))

    junk = [b"", b"PK\x03\x04", b"hello", saved[: len(saved) // 2], pickle.dumps(Payload()), saved[100:]]
    for data in junk:
        with pytest.raises(FormatError, match="not a saved stream, or a damaged one"):
            diarizer.stream(state=data)


def test_damage_anywhere_is_refused_or_harmless(diarizer):
    stream = diarizer.stream(latency_s=1.0)
    stream.push(conversation(0))
    saved = bytearray(stream.state())
    for place in np.random.default_rng(0).integers(0, len(saved), 60):
        damaged = bytes(saved[:place]) + bytes([saved[place] ^ 0xFF]) + bytes(saved[place + 1 :])
        try:
            diarizer.stream(state=damaged)
        except DiarizeError as error:
            assert "\n" not in str(error)  # noqa: PT017 - not every damage is one


def test_a_stream_of_another_format_says_so(diarizer, monkeypatch):
    monkeypatch.setitem(_saving.VERSIONS, "stream", 99)
    saved = diarizer.stream(latency_s=1.0).state()
    monkeypatch.undo()
    with pytest.raises(FormatError, match="saved by another version of diarize"):
        diarizer.stream(state=saved)


def test_a_finished_stream_is_not_saved(diarizer):
    stream = diarizer.stream(latency_s=1.0)
    stream.finish()
    with pytest.raises(StreamFinished):
        stream.state()


# Newcomers --------------------------------------------------------------------------------------------


def test_a_cough_is_not_a_person(diarizer):
    """A short sound of its own goes to the speaker before; said longer, the same is somebody."""
    talk = [speech(0.0, 8.0, rng()), silence(1.5)]
    for seconds, count in ((0.3, 1), (4.0, 2)):
        samples = np.concatenate([*talk, speech(0.5, seconds, rng()), silence(1.5), *talk])
        turns = live_turns(diarizer, samples)
        assert len({turn.speaker for turn in turns}) == count
        assert len(turns) == 3


def test_a_cough_before_anybody_spoke_is_nobody(diarizer):
    samples = np.concatenate([speech(0.5, 0.25, rng()), silence(3.0), speech(0.0, 4.0, rng())])
    turns = live_turns(diarizer, samples)
    assert [turn.speaker for turn in turns] == ["SPEAKER_00"]
    assert turns[0].start > 3.0


def test_short_words_of_somebody_new_add_up(diarizer):
    """Each too short for a person; together they are one."""
    pieces = [speech(0.0, 8.0, rng()), silence(1.5)]
    for _ in range(8):
        pieces += [speech(0.3, 0.6, rng()), silence(1.5)]
    turns = live_turns(made(birth_s=2.0, birth_doubt_s=0.0), np.concatenate(pieces))
    assert turns[1].speaker == "SPEAKER_00"
    assert turns[-1].speaker == "SPEAKER_01"


def test_any_number_of_speakers(diarizer):
    voices = [speech(i / 12, 4.0, rng()) for i in range(12)]
    samples = np.concatenate([piece for voice in voices for piece in (voice, silence(1.5))])
    stream = made(0.01).stream(latency_s=3.0)
    stream.models.embedder.row = spread(stream.models.embedder)
    stream.push(samples)
    stream.finish()
    assert len({turn.speaker for turn in stream.finals}) == 12


def spread(embedder):
    """Twelve voices in a plane are too close to one another: give each a direction of its own."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    embedder.embedding_size = 16

    def row(piece, context=0):
        return axes[round(float(piece.mean(dtype=np.float64)) * 10 * 12) % 16].copy()

    return row


def test_live_speakers_are_mapped_to_final_ones(diarizer):
    stream = diarizer.stream(latency_s=1.0)
    stream.push(conversation(5, turns=20))
    with pytest.raises(DiarizeError, match="no result before finish"):
        stream.final_names()
    stream.finish()
    names = stream.final_names()
    assert set(names) == {turn.speaker for turn in stream.finals}
    assert set(names.values()) <= set(stream.result().speakers)
    for name, final in names.items():
        shared = {
            speaker: sum(
                max(0.0, min(a.end, b.end) - max(a.start, b.start))
                for a in stream.finals
                for b in stream.result()
                if (a.speaker, b.speaker) == (name, speaker)
            )
            for speaker in stream.result().speakers
        }
        assert shared[final] == pytest.approx(max(shared.values()))


# Known voices -----------------------------------------------------------------------------------------


@pytest.fixture
def voices(tmp_path, write_wav):
    """Recordings of Alice (two of them) and of Bob."""

    def wav(name: str, voice: float, seed: int):
        samples = speech(voice, 4.0, np.random.default_rng(seed))
        return write_wav(tmp_path / name, (samples * 32767).astype(np.int16), RATE)

    alice = [wav("a1.wav", 0.0, 7), wav("a2.wav", 0.0, 8)]
    return {"Alice": alice, "Bob": str(wav("b.wav", 0.25, 9))}


def test_known_voices_are_recognised_live_and_in_the_result(diarizer, voices):
    parts = [speech(v, 4.0, rng()) for v in (0.25, 0.6, 0.0, 0.6)]
    samples = np.concatenate([piece for part in parts for piece in (part, silence(1.5))])
    stream = diarizer.stream(latency_s=2.0, enrolled=voices)
    first = stream.push(samples[: 3 * RATE])
    assert [turn.speaker for turn in first] == ["Bob"]
    stream.push(samples[3 * RATE :])
    stream.finish()
    assert [turn.speaker for turn in stream.finals] == ["Bob", "SPEAKER_00", "Alice", "SPEAKER_00"]
    assert [turn.speaker for turn in stream.result()] == ["Bob", "SPEAKER_00", "Alice", "SPEAKER_00"]
    assert stream.result() == diarizer(samples, sample_rate=RATE, enrolled=voices)
    assert set(stream.result().embeddings) == set(stream.result().speakers)


def test_who_is_not_there_is_not_named(diarizer, voices):
    samples = np.concatenate([speech(0.5, 6.0, rng()), silence(1.5)])
    assert {turn.speaker for turn in live_turns(diarizer, samples, enrolled=voices)} == {"SPEAKER_00"}
    assert diarizer(samples, sample_rate=RATE, enrolled=voices).speakers == ("SPEAKER_00",)


def test_a_name_that_looks_like_a_number_is_nobody_elses(diarizer, voices):
    """Voices enrolled under the names that an earlier recording gave them."""
    samples = np.concatenate([speech(0.6, 4.0, rng()), silence(1.5), speech(0.25, 4.0, rng()), silence(1.5)])
    enrolled = {"SPEAKER_00": voices["Bob"]}
    stream = diarizer.stream(latency_s=2.0, enrolled=enrolled)
    stream.push(samples)
    stream.finish()
    assert [turn.speaker for turn in stream.finals] == ["SPEAKER_01", "SPEAKER_00"]
    assert [turn.speaker for turn in stream.result()] == ["SPEAKER_01", "SPEAKER_00"]


def test_looking_never_warns(diarizer):
    """That there are too few windows for so many speakers is known at the end only."""
    stream = diarizer.stream(num_speakers=5)
    stream.push(np.concatenate([speech(0.0, 1.5, rng()), silence(2.0)]))
    assert len(stream.hypothesis) >= 1
    with pytest.warns(SpeakerCountWarning, match="5 speakers were asked for"):
        stream.finish()


def test_known_voices_hold_the_count(diarizer, voices):
    parts = [speech(v, 4.0, rng()) for v in (0.6, 0.25, 0.0, 0.8)]
    samples = np.concatenate([piece for part in parts for piece in (part, silence(1.5))])
    turns = live_turns(diarizer, samples, enrolled=voices, max_speakers=2)
    assert {turn.speaker for turn in turns} == {"SPEAKER_00", "Bob"}


def test_known_voices_are_enrolled_once_and_survive_saving(diarizer, voices):
    known = diarizer.enrol(voices)
    samples = np.concatenate([speech(0.0, 4.0, rng()), silence(1.5)])
    stream = diarizer.stream(latency_s=2.0, enrolled=known)
    stream = diarizer.stream(state=stream.state())
    stream.push(samples)
    stream.finish()
    assert stream.result().speakers == ("Alice",)
    assert {turn.speaker for turn in stream.finals} == {"Alice"}


def test_a_voice_without_speech_is_said(diarizer, tmp_path, write_wav):
    path = write_wav(tmp_path / "quiet.wav", np.zeros(RATE, np.int16), RATE)
    with pytest.raises(AudioError, match="Zoe: no speech was found in the recording of this voice"):
        diarizer.stream(latency_s=1.0, enrolled={"Zoe": path})


def test_the_same_real_voices_have_names(real_diarizer, data):
    """Two Chinese speakers enrolled with one recording each, heard in another one."""
    folder = data / "speakers" / "zh_campplus"
    from diarize.audio import read_audio

    one = folder / "3dspk_cn_speaker1"
    samples = np.concatenate([read_audio(one / "speaker1_b_cn_16k.flac"), silence(1.5)])
    other = read_audio(folder / "3dspk_cn_speaker2" / "speaker2_a_cn_16k.flac")
    stream = real_diarizer.stream(latency_s=2.0, enrolled={"One": one / "speaker1_a_cn_16k.flac"})
    stream.push(np.concatenate([samples, other]))
    stream.finish()
    assert stream.finals[0].speaker == "One"
    assert stream.result().speakers[0] == "One"
    assert len(stream.result().speakers) == 2
