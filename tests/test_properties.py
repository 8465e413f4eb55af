"""What must hold for any input: a result that keeps its promise, or an error of ours. Never anything else."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ExactEmbedder, FakeEmbedder, FakeVad, conversation, speech
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diarize import AudioError, Config, ConfigError, DiarizeError, Diarizer, FormatError, Turn
from diarize.audio import as_samples, read_audio
from diarize.calibration import llr, probability, threshold
from diarize.clustering import cluster
from diarize.config import Bounds, ClusteringConfig
from diarize.formats import clean_name, clean_names
from diarize.formats.registry import FORMATS, Recording, format_recordings, read_recordings
from diarize.formats.rows import rows_of, tiers_of
from diarize.resampling import SAMPLE_RATE, Resampler, checked_rate
from diarize.words import Word, assign, sentence_ends


def steady(examples: int = 60) -> Any:
    """The same examples every time: a failure is nobody's bad luck."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(
        derandomize=True, database=None, deadline=None, max_examples=examples, suppress_health_check=checks
    )


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=8),
    st.lists(st.integers(), max_size=3), st.sampled_from([10**400, -(10**400), "9" * 5000, 1j, object()]),
)  # fmt: skip
breaking = st.sampled_from('\n\r\t \x0b\x1c\x85\xa0\u2028\u2029\u3000;#"<\x00\ud800ab会')
names = st.text(st.characters(), max_size=12) | st.lists(breaking, max_size=8).map("".join)
seconds = st.floats(0, 100_000)


@st.composite
def turns(draw: st.DrawFn, times: st.SearchStrategy[float] = seconds) -> Turn:
    start, length = draw(times), draw(times)
    sure = draw(st.none() | st.floats(0, 1))
    return Turn(start, start + length, draw(names), sure)


READABLE = [form for form in FORMATS.values() if form.read]

# Formats


@steady()
@given(found=st.lists(turns(), max_size=8), uri=names, form=st.sampled_from(READABLE))
def test_turns_survive_every_format(tmp_path: Path, found: list[Turn], uri: str, form: Any) -> None:
    recording = Recording(uri, tuple(found), 200_000.0)
    path = tmp_path / f"a{form.ending}"
    path.write_bytes(format_recordings([recording], form.name).encode())
    again = [turn for one in read_recordings(path, form.name) for turn in one.turns]
    rows = rows_of(recording)
    if form.name in ("textgrid", "elan"):
        expected = [span for spans in tiers_of(rows).values() for span in spans]
    elif form.name in ("json", "jsonl"):
        expected = [(turn.start, turn.end) for turn in found if round(turn.end, 7) > round(turn.start, 7)]
        assert np.sort([(t.start, t.end) for t in again], 0) == pytest.approx(np.sort(expected, 0), abs=1e-6)
        return
    else:
        expected = [(row.start, row.end) for row in rows]
        assert len({t.speaker for t in again}) == len({row.speaker for row in rows})
    assert sorted((round(t.start * 1000), round(t.end * 1000)) for t in again) == sorted(expected)


@steady(400)
@given(
    found=st.lists(turns(st.floats()), max_size=4),
    duration=st.none() | st.floats(),
    form=st.sampled_from([*FORMATS]),
)
def test_turns_of_any_numbers_are_written_or_refused(
    found: list[Turn], duration: float | None, form: str
) -> None:
    try:
        text = format_recordings([Recording("a", tuple(found), duration)], form)
    except FormatError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert "nan" not in text.lower().replace("nan_", "") or any("nan" in t.speaker.lower() for t in found)


@steady()
@given(content=st.one_of(st.binary(max_size=200), names.map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_are_turns_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    for form in READABLE:
        try:
            read_recordings(path, form.name)
        except FormatError as error:
            assert str(path) in str(error)  # noqa: PT017


@steady()
@given(several=st.lists(names, max_size=8))
def test_no_name_breaks_a_line_and_none_become_one(several: list[str]) -> None:
    cleaned = clean_names(several)
    assert len(set(cleaned.values())) == len(set(several))
    for name in [*cleaned.values(), *map(clean_name, several)]:
        assert name.split() == [name]
        assert name.splitlines() == [name]
        name.encode()


# Audio

any_array = hnp.arrays(
    st.one_of(
        hnp.scalar_dtypes(),
        hnp.unicode_string_dtypes(max_len=4),
        hnp.byte_string_dtypes(max_len=4),
        hnp.array_dtypes(hnp.integer_dtypes(), max_size=2),
        st.just(np.dtype(object)),
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
    fill=st.nothing(),
)


@steady(300)
@given(array=st.one_of(any_array, anything, st.lists(anything, max_size=3)))
def test_any_array_is_samples_or_refused(array: Any) -> None:
    try:
        samples = as_samples(array)
    except AudioError as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    assert samples.dtype == np.float32
    assert samples.shape == np.shape(array)
    assert samples.ndim == 1
    assert np.abs(samples).max(initial=0) <= 256


@steady()
@given(rate=st.one_of(anything, st.integers(900, 800_000), st.floats(900, 800_000)))
def test_any_rate_is_whole_or_refused(rate: Any) -> None:
    try:
        assert 1000 <= checked_rate(rate) <= 768_000
    except AudioError as error:
        assert "sample_rate must be a whole number" in str(error)  # noqa: PT017


@steady(25)
@given(
    rate=st.one_of(st.integers(1000, 48_000), st.sampled_from([768_000, 44_100, 8000, 16_001])),
    data=st.data(),
)
def test_resampling_does_not_depend_on_the_cut(rate: int, data: st.DataObject) -> None:
    samples = np.random.default_rng(rate).standard_normal(data.draw(st.integers(0, 3000))).astype(np.float32)
    whole, pieces = Resampler(rate), Resampler(rate)
    expected = np.concatenate([whole.push(samples), whole.finish()])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=6)))
    found = [pieces.push(piece) for piece in np.split(samples, cuts)]
    assert np.array_equal(np.concatenate([*found, pieces.finish()]), expected)
    assert len(expected) == -(-len(samples) * SAMPLE_RATE // rate)


# Streams, files, voices

made = Diarizer(embedder=FakeEmbedder(), vad=FakeVad())
plain = Diarizer(
    Config.from_dict({"windows": {"embedding": "exact"}}), embedder=ExactEmbedder(), vad=FakeVad()
)


@steady(12)
@given(data=st.data(), latency_s=st.sampled_from([None, 0.5, 2.0]))
def test_what_a_stream_refuses_leaves_no_trace(data: st.DataObject, latency_s: float | None) -> None:
    samples = conversation(3, turns=5)
    expected = plain.stream(latency_s=latency_s)
    finals = [*expected.push(samples), *expected.finish()]
    stream = plain.stream(latency_s=latency_s)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=5)))
    found = []
    for piece in np.split(samples, cuts):
        bad = data.draw(st.one_of(any_array, st.just(np.float32([0.1, math.nan])), anything))
        try:
            as_samples(bad)
        except AudioError:
            with pytest.raises(AudioError):
                stream.push(bad)
        found += stream.push(piece)
    found += stream.finish()
    assert stream.result() == expected.result()
    assert sum(turn.duration for turn in found) == pytest.approx(sum(turn.duration for turn in finals))


@steady(150)
@given(options=st.dictionaries(
    st.sampled_from(["num_speakers", "min_speakers", "max_speakers", "sample_rate", "channel", "uri"]),
    st.one_of(anything, st.integers(-1, 4)), max_size=3,
))  # fmt: skip
def test_any_options_of_a_call(options: dict[str, Any]) -> None:
    assume(isinstance(options.get("uri", ""), str | None))
    sound = speech(0.2, 0.6, np.random.default_rng(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = plain(sound, **{"sample_rate": 16_000, **options})
        except DiarizeError:
            return
    assert all(0 <= turn.start < turn.end <= found.duration + 1e-9 for turn in found)


@steady()
@given(latency_s=anything | st.floats() | st.integers())
def test_any_latency(latency_s: Any) -> None:
    try:
        plain.stream(latency_s=latency_s)
    except ConfigError:
        return
    assert latency_s is None or latency_s > 0


@steady()
@given(
    a=hnp.arrays(np.float32, st.integers(0, 4000), elements=st.floats(-2, 2, width=32)),
    limit=st.none() | st.floats(),
)
def test_any_two_sounds_are_compared_or_refused(a: np.ndarray, limit: float | None) -> None:
    b = speech(0.4, 0.3, np.random.default_rng(1))
    try:
        verdict = plain.verify(a, b, sample_rate=16_000, threshold=limit)
    except (AudioError, ConfigError):
        return
    assert limit is None or -1 <= limit <= 1
    assert -1 <= verdict.score <= 1
    assert verdict.same == (verdict.score >= verdict.threshold)


@steady()
@given(a=st.floats(0, allow_infinity=False), b=st.floats(0, allow_infinity=False), score=st.floats(-1, 1))
def test_thresholds_and_probabilities_of_any_durations(a: float, b: float, score: float) -> None:
    for model in ("campplus-zh-en", "mine.bin"):
        assert -1 <= threshold(model, a, b) <= 1
        assert threshold(model, a, b) == threshold(model, b, a)
        assert 0 <= probability(llr(model, score, a, b, scale=1e6), 0.01) <= 1


# Rows


@steady(120)
@given(data=st.data(), method=st.sampled_from(["auto", "spectral", "agglomerative"]))
def test_degenerate_rows_are_clustered_within_their_bounds(data: st.DataObject, method: str) -> None:
    kinds = np.eye(6, 8, dtype=np.float32)
    kinds[5] = 0  # no direction at all
    picked = data.draw(st.lists(st.integers(0, 5), max_size=30))
    low = data.draw(st.integers(1, 8))
    high = data.draw(st.none() | st.integers(low, 9))
    config = ClusteringConfig(method=method)
    rows = kinds[picked].reshape(-1, 8)
    labels = cluster(rows, np.ones(len(rows)), config, 0.5, Bounds(low, high))
    assert labels.shape == (len(rows),)
    if len(rows):
        assert set(labels.tolist()) == set(range(labels.max() + 1))
        assert min(low, len(rows)) <= labels.max() + 1 <= (high or len(rows))


# Words, scores, options


@steady()
@given(
    words=st.lists(st.builds(Word, st.floats(0, 3), st.floats(2, 6), names), max_size=8),
    who=st.lists(turns(st.floats(0, 5)), max_size=5),
)
def test_every_word_has_a_speaker_or_the_times_are_refused(words: list[Word], who: list[Turn]) -> None:
    try:
        found = assign(words, who)
    except FormatError:
        assert any(not word.start <= word.end for word in words)
        return
    assert [word.text for word in found] == [word.text for word in words]
    assert {word.speaker for word in found} <= ({turn.speaker for turn in who} or {None})
    assert found == assign(words, who[::-1])
    assert not words or sentence_ends(words)[-1]


@steady(40)
@given(
    reference=st.lists(turns(st.floats(0.01, 50)), max_size=5),
    other=st.lists(turns(st.floats(0.01, 50)), max_size=5),
)
def test_scores_are_shares_and_a_reference_is_right(reference: list[Turn], other: list[Turn]) -> None:
    pytest.importorskip("pyannote.metrics")
    from diarize.scoring import score

    a, b = (Recording("a", tuple(some)).annotation for some in (reference, other))
    found = score(a, b)
    assert min(found.miss_s, found.false_alarm_s, found.confusion_s, found.total_s) >= -1e-6
    assert found.miss_s + found.confusion_s <= found.total_s + 1e-6
    assert score(a, a).der == pytest.approx(0, abs=1e-9)
    renamed = a.rename_labels({label: f"{label}x" for label in a.labels()})
    assert score(a, renamed).der == pytest.approx(0, abs=1e-9)


keys = st.sampled_from([field.name for field in dataclasses.fields(Config)]) | names
nested = st.dictionaries(
    keys,
    st.one_of(
        anything,
        st.dictionaries(
            st.sampled_from(["onset", "offset", "length_s", "step_s", "threshold", "num_speakers"]) | names,
            anything,
        ),
    ),
    max_size=4,
)


@steady(300)
@given(values=st.one_of(nested, anything))
def test_any_values_are_a_configuration_or_refused(values: Any) -> None:
    try:
        config = Config.from_dict(values)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert Config.from_dict(tomllib.loads(config.to_toml())) == config


@steady()
@given(name=names)
def test_any_name_of_a_file_that_is_not_there(name: str) -> None:
    for read in (read_audio, Config.load):
        with pytest.raises(DiarizeError) as caught:
            read(f"/nowhere at all/{name}")
        assert "\n" not in str(caught.value)
