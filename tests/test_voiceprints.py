"""Voiceprint files: the same voice to the last bit, for the model that heard it; anything else is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEmbedder, FakeVad

from diarize import AudioError, ConfigError, DiarizeError, Diarizer, FormatError, ModelError, models
from diarize.audio import read_audio
from diarize.cli.names import named, people_in
from diarize.enrolment import KnownVoice
from diarize.voiceprints import FORMAT, Voiceprint, Weights, person, recordings_in, weights_of

ZOES = ["people/Zoë/1.wav", "people/Zoë/more/2.m4a", "people/z.voice"]
WEIGHTS = Weights("campplus-zh-en", "92" * 32)


def print_of(name: str = "Zoë", size: int = 6) -> Voiceprint:
    rows = np.random.default_rng(1).normal(size=(9, size))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return Voiceprint(KnownVoice(name, rows.sum(0), 9, 4.325), WEIGHTS, 1.2, 0.4)


@pytest.mark.parametrize("name", ["Zoë", "Ann Lee", "a=b", "张伟", "عائشة", 'O"Brien\\', "Σ" * 300, "😀"])
def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path, name):
    made = print_of(name)
    path = made.save(tmp_path / "x.voice")
    read = Voiceprint.load(path)
    assert read.voice.total.tobytes() == made.voice.total.tobytes()
    assert (read.voice.name, read.voice.windows, read.voice.seconds) == (name, 9, 4.325)
    assert (read.weights, read.length_s, read.step_s) == (WEIGHTS, 1.2, 0.4)
    assert json.loads(path.read_text("utf-8"))["format"] == FORMAT


def test_only_a_voice_is_in_it(tmp_path):
    fields = json.loads(print_of().save(tmp_path / "x.voice").read_text("utf-8"))
    assert set(fields) == {
        "format", "name", "model", "sha256", "embedding_size", "length_s", "step_s", "seconds", "windows",
        "total",
    }  # fmt: skip
    assert fields["embedding_size"] == len(fields["total"]) == 6


def test_fields_of_later_versions_are_no_harm(tmp_path):
    path = print_of().save(tmp_path / "x.voice")
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"made": "today"}))
    assert Voiceprint.load(path).voice.name == "Zoë"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "diarize voice/2"}, '"format" must be "diarize voice/1", got \'diarize voice/2\''),
        ({"format": None}, '"format" must be'),
        ({"name": ""}, "name must be a person's"),
        ({"name": "A\nB"}, "name must be a person's"),
        ({"name": 5}, "name must be a text, got 5"),
        ({"model": None}, "model must be a text"),
        ({"sha256": 1}, "sha256 must be a text"),
        ({"seconds": 0}, "seconds must be > 0, got 0"),
        ({"seconds": float("inf")}, "seconds must be a number"),
        ({"windows": 0}, "windows must be >= 1"),
        ({"length_s": -1}, "length_s must be > 0"),
        ({"embedding_size": 7}, "total must be a list of 7 numbers, got 6 values"),
        ({"total": []}, "total must be a list of 6 numbers, got 0 values"),
        ({"total": "abcdef"}, "total must be a list of 6 numbers, got nothing such"),
        ({"total": [0.0] * 6}, "total must be a sum of 9 unit rows, got the norm 0"),
        ({"total": [9.0] * 6}, "total must be a sum of 9 unit rows"),
        ({"total": [float("nan")] * 6}, "total must be a sum of 9 unit rows, got the norm nan"),
        ({"total": [True] * 6}, "total must be a list of 6 numbers"),
        ({"total": [10**400] + [0.0] * 5}, "total must be a sum of 9 unit rows, got the norm nan"),
        ({"total": [[1.0]] * 6}, "total must be a list of 6 numbers"),
    ],
)
def test_what_is_wrong_in_it_is_said(tmp_path, change, said):
    path = print_of().save(tmp_path / "x.voice")
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change))
    with pytest.raises(FormatError, match=r"x\.voice:1: ") as caught:
        Voiceprint.load(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"[]", b"{}", b"RIFF\x24\x00\x00\x00WAVE\xff\xfe", b"\xff\xfe", b"null", b"[" * 9999]
)
def test_junk_is_no_voiceprint(tmp_path, junk):
    path = tmp_path / "x.voice"
    path.write_bytes(junk)
    with pytest.raises(FormatError, match=r"x\.voice"):
        Voiceprint.load(path)


def test_cut_anywhere_it_is_refused(tmp_path):
    path = print_of().save(tmp_path / "x.voice")
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            Voiceprint.load(path)


def test_a_file_that_is_not_there_or_ends_otherwise(tmp_path):
    with pytest.raises(AudioError, match=r"no\.voice: the voiceprint cannot be read: No such file"):
        Voiceprint.load(tmp_path / "no.voice")
    with pytest.raises(FormatError, match=r"must end in \.voice"):
        print_of().save(tmp_path / "x.json")
    with pytest.raises(FormatError, match="cannot be a person's name"):
        print_of(" padded ").save(tmp_path / "x.voice")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = print_of("Old").save(tmp_path / "x.voice")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        print_of("New").save(path)
    assert Voiceprint.load(path).voice.name == "Old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.voice"]


# Models ---------------------------------------------------------------------------------------------------


def test_another_models_voiceprint_is_refused_with_what_to_do(tmp_path):
    path = print_of().save(tmp_path / "zoe.voice")
    other = Weights("campplus-zh-cn", "33" * 32)
    with pytest.raises(ModelError) as caught:
        Voiceprint.load(path).voice_for(other, path)
    for part in ("zoe.voice", "campplus-zh-cn", "campplus-zh-en", "diarize enrol", "--model campplus-zh-en"):
        assert part in str(caught.value)
    assert Voiceprint.load(path).voice_for(WEIGHTS, path).name == "Zoë"


def test_the_hash_decides_not_the_name(tmp_path):
    voice = print_of()
    assert voice.voice_for(Weights("mine.pt", WEIGHTS.sha256), "x").name == "Zoë"
    with pytest.raises(ModelError):
        voice.voice_for(Weights(WEIGHTS.model, "00" * 32), "x")


def test_an_embedder_of_ones_own_has_no_voiceprints(tmp_path):
    diarizer = Diarizer(embedder=FakeEmbedder(), vad=FakeVad())
    path = print_of(size=8).save(tmp_path / "zoe.voice")
    assert diarizer.weights is None
    with pytest.raises(ModelError, match="no model with a hash"):
        diarizer.stream(enrolled=[path])
    with pytest.raises(ModelError, match="embedder= of one's own is none"):
        diarizer.voiceprint(print_of(size=8).voice)


def test_a_model_by_its_path_is_known_by_its_hash(weights, tmp_path):
    named_ = weights_of("campplus-zh-en")
    assert named_.sha256 == models.ASSETS["campplus-zh-en"].files[0].sha256
    copy = tmp_path / "mine.pt"
    shutil.copy(weights("campplus-zh-en"), copy)
    assert weights_of(str(copy)) == named_
    with copy.open("ab") as file:
        file.write(b"!")
    assert weights_of(str(copy)).model == "mine.pt"
    assert weights_of(str(copy)).sha256 != named_.sha256


def test_a_voiceprint_recognises_whom_the_recording_does_bit_for_bit(
    real_diarizer, sample_wav, tmp_path, write_wav
):
    samples = (read_audio(sample_wav) * 32767).astype(np.int16)
    ben = write_wav(tmp_path / "ben.wav", samples[22 * 16000 : 27 * 16000], 16000)
    (voice,) = real_diarizer.enrol({"Ben": ben})
    path = real_diarizer.voiceprint(voice).save(tmp_path / "ben.voice")
    by_file = real_diarizer(sample_wav, enrolled=[path])
    by_sound = real_diarizer(sample_wav, enrolled={"Ben": ben})
    assert "Ben" in by_file.recognised
    assert by_file == by_sound
    assert by_file.matches == by_sound.matches
    renamed = real_diarizer(sample_wav, enrolled={"Benjamin": path})
    assert renamed.recognised["Benjamin"] == by_file.recognised["Ben"].__class__(
        "Benjamin", *[getattr(by_file.recognised["Ben"], f) for f in ("score", "threshold", "recognised")]
    )
    (both,) = real_diarizer.enrol({"Ben": [ben, path]})
    np.testing.assert_array_equal(both.total, 2 * voice.total)
    assert (both.windows, both.seconds) == (2 * voice.windows, 2 * voice.seconds)


# What --enrol says ------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Files and folders of voices; nothing reads the sound in them."""
    monkeypatch.chdir(tmp_path)
    names = "ann.wav ann2.flac people/Ben.mp3 people/Zoë/1.wav people/Zoë/more/2.m4a x=1/ann.wav"
    for name in f"{names} people/.hidden/3.wav people/notes.txt people/.4.wav Ann=odd/1.wav".split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    print_of("Zoë").save(tmp_path / "people" / "z.voice")
    return tmp_path


@pytest.mark.parametrize(
    ("values", "people"),
    [
        ([], {}),
        (["Ann=ann.wav"], {"Ann": ["ann.wav"]}),
        (["A=ann.wav", "B=ann2.flac", "A=ann2.flac"], {"A": ["ann.wav", "ann2.flac"], "B": ["ann2.flac"]}),
        (["Ann=Lee=ann.wav"], {"Ann=Lee": ["ann.wav"]}),
        (["Ann=x=1/ann.wav"], {"Ann": ["x=1/ann.wav"]}),
        ([" 张 伟 =ann.wav"], {"张 伟": ["ann.wav"]}),
        (["Zoe\u0308=ann.wav"], {"Zoë": ["ann.wav"]}),
        (["All=people"], {"All": ["people/Ben.mp3", *ZOES]}),
        (["people"], {"Ben": ["people/Ben.mp3"], "Zoë": ZOES}),
        (["people/"], {"Ben": ["people/Ben.mp3"], "Zoë": ZOES}),
        (["people/z.voice"], {"Zoë": ["people/z.voice"]}),
        (["Z=people/z.voice"], {"Z": ["people/z.voice"]}),
        (["Ann=odd"], {"1": ["Ann=odd/1.wav"]}),
    ],
)  # fmt: skip
def test_what_enrol_means(here, values, people):
    assert {name: [path.as_posix() for path in paths] for name, paths in named(values).items()} == people


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("ann.wav", ConfigError, "--enrol must be NAME=FILE, got 'ann.wav'"),
        ("=ann.wav", ConfigError, "--enrol must be NAME=FILE"),
        ("Ann=", ConfigError, "--enrol must be NAME=FILE"),
        ("", ConfigError, "--enrol must be NAME=FILE"),
        ("  =ann.wav", ConfigError, "--enrol must be NAME=FILE"),
        ("A\nB=ann.wav", ConfigError, "a name must be letters, without control characters"),
        ("Ann=no.wav", AudioError, "no.wav: no such file or folder"),
        ("Ann=Lee=no.wav", AudioError, "Lee=no.wav: no such file or folder"),
        ("no.voice", AudioError, "no.voice: the voiceprint cannot be read"),
        ("Ann=empty", ConfigError, "empty: holds no recording"),
        ("empty", ConfigError, "empty: holds no recording and no .voice file; whose voices"),
        ("half", ConfigError, "half/Carol: holds no recording"),
        ("bad.voice", FormatError, "bad.voice:1: must be JSON"),
    ],
)
def test_what_enrol_cannot_mean_is_said(here, value, kind, said):
    (here / "empty").mkdir()
    (here / "half" / "Carol").mkdir(parents=True)
    (here / "half" / "Ann.wav").touch()
    (here / "bad.voice").write_text("sound")
    with pytest.raises(kind) as caught:
        named([value])
    assert said in str(caught.value)
    assert isinstance(caught.value, DiarizeError)


def test_names():
    assert person("  Zoe\u0308 ") == "Zoë"
    assert [person(bad) for bad in ("", " \t", "a\x00b", "a\u2028b", "a\ud800")] == [None] * 5
    with pytest.raises(ConfigError, match="holds no recording"):
        recordings_in(Path(__file__).parent / "no such folder")


def test_a_folder_lists_people_in_order(here):
    assert list(people_in(Path("people"))) == ["Ben", "Zoë"]
