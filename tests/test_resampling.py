"""The resampler: the same bits however the input is cut, nothing shifted, nothing folded back."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from diarize.errors import AudioError, StreamFinished
from diarize.resampling import SAMPLE_RATE, Resampler, _filter

RATES = [8000, 11025, 22050, 32000, 44100, 48000, 96000, 44101]
ODD_RATES = [1000, 16001, 192000, 767999]


def noise(rate: int, seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(rate * seconds)).astype(np.float32)


def resampled(samples: np.ndarray, rate: int, lengths: object = None) -> np.ndarray:
    resampler = Resampler(rate)
    pieces, start = [], 0
    for length in lengths or [len(samples)]:
        pieces.append(resampler.push(samples[start : start + length]))
        start += length
    return np.concatenate([*pieces, resampler.push(samples[start:]), resampler.finish()])


@pytest.mark.parametrize("rate", [*RATES, *ODD_RATES, SAMPLE_RATE])
def test_cuts_do_not_matter(rate):
    samples = noise(rate, 1.37)
    whole = resampled(samples, rate)
    assert len(whole) == -(-len(samples) * SAMPLE_RATE // rate)
    assert whole.dtype == np.float32
    rng = np.random.default_rng(rate)
    for longest in (3, 17, 160, 441, 5000, rate):
        lengths = rng.integers(0, longest + 1, 4000 if longest < 100 else 40).tolist()
        assert np.array_equal(resampled(samples, rate, lengths), whole), longest


@pytest.mark.parametrize("count", [0, 1, 2, 3, 40, 441, 442])
@pytest.mark.parametrize("rate", [8000, 44100, 48000, 44101])
def test_short_inputs(rate, count):
    samples = np.ones(count, np.float32)
    whole = resampled(samples, rate)
    assert len(whole) == -(-count * SAMPLE_RATE // rate)
    assert np.array_equal(resampled(samples, rate, [1] * count), whole)


@pytest.mark.parametrize("rate", [*RATES, *ODD_RATES])
def test_a_sine_keeps_its_place(rate):
    frequency = 0.8 * min(rate, SAMPLE_RATE) / 2
    samples = np.sin(2 * np.pi * frequency * np.arange(round(rate * 0.5)) / rate).astype(np.float32)
    result = resampled(samples, rate)
    expected = np.sin(2 * np.pi * frequency * np.arange(len(result)) / SAMPLE_RATE)
    edge = 1200 if rate < 8000 else 400
    assert np.abs(result - expected)[edge:-edge].max() < 3e-4


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_against_scipy(rate):
    from scipy.signal import upfirdn

    fir = _filter(rate)
    half, up = fir.half, fir.up
    taps = np.zeros((2 * half + 1) * up)
    for phase in range(up):  # the same filter, written out at the common rate
        taps[phase + np.arange(2 * half - 1, -1, -1) * up] = fir.weights[phase]
    samples = noise(rate, 0.3)
    result = resampled(samples, rate)
    high = upfirdn(taps, np.concatenate([samples, np.zeros(half)]), up=up)
    expected = high[half * up :: fir.down][: len(result)]
    assert np.abs(result - expected).max() < 1e-6


@pytest.mark.parametrize("rate", [1000, 8000, 22050, 44100, 48000, 96000])
def test_passband_and_stopband(rate):
    fir = _filter(rate)
    phases = len(fir.weights) - 1
    taps = np.zeros((2 * fir.half + 1) * phases)
    for phase in range(phases):
        taps[phase + np.arange(2 * fir.half - 1, -1, -1) * phases] = fir.weights[phase]
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(taps / phases, 16 * len(taps))) + 1e-12)
    frequency = np.linspace(0, rate * phases / 2, len(gain_db))
    nyquist = min(rate, SAMPLE_RATE) / 2
    assert np.abs(gain_db[frequency <= 0.9 * nyquist]).max() < 0.01
    assert gain_db[frequency >= nyquist].max() < -80


def test_what_cannot_be_represented_vanishes():
    tone = np.sin(2 * np.pi * 9000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.abs(resampled(tone, 48000)[400:-400]).max() < 1e-4


def test_silence_and_constants():
    assert not resampled(np.zeros(44100, np.float32), 44100).any()
    assert resampled(np.full(44100, 0.5, np.float32), 44100)[400:-400] == pytest.approx(0.5, abs=1e-6)


def test_16_khz_passes_unchanged_and_unshared():
    samples = noise(SAMPLE_RATE, 0.1)
    resampler = Resampler(SAMPLE_RATE)
    out = resampler.push(samples)
    assert np.array_equal(out, samples)
    assert not np.shares_memory(out, samples)
    assert len(resampler.finish()) == 0
    assert resampler.look_ahead == 0


@pytest.mark.parametrize("rate", [8000, 44100, 44101, 96000])
def test_look_ahead_holds(rate):
    resampler, samples, emitted = Resampler(rate), noise(rate, 0.5), 0
    for start in range(0, len(samples), 37):
        emitted += len(resampler.push(samples[start : start + 37]))
        pushed = min(start + 37, len(samples))
        assert 0 <= pushed * SAMPLE_RATE / rate - emitted <= resampler.look_ahead


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 44100])
def test_nothing_after_finish(rate):
    resampler = Resampler(rate)
    resampler.push(np.zeros(10, np.float32))
    resampler.finish()
    with pytest.raises(StreamFinished, match="resampler"):
        resampler.push(np.zeros(10, np.float32))
    with pytest.raises(StreamFinished, match="resampler"):
        resampler.finish()


@pytest.mark.parametrize(
    "rate",
    [0, -16000, 999, 768001, 16000.5, float("nan"), float("inf"), True, "16000", None, [16000], 1 + 0j],
)
def test_refused_rates(rate):
    with pytest.raises(AudioError, match="sample_rate must be a whole number of Hz from 1000 to 768000, got"):
        Resampler(rate)


@pytest.mark.parametrize("rate", [44100.0, np.int64(44100), np.float32(44100)])
def test_accepted_rates(rate):
    assert Resampler(rate).sample_rate == 44100
    assert type(Resampler(rate).sample_rate) is int


def test_streams_do_not_touch_one_another():
    one, other = Resampler(44100), Resampler(44100)
    a, b = noise(44100, 0.5, 1), noise(44100, 0.5, 2)
    out = [(one.push(a[i : i + 999]), other.push(b[i : i + 999])) for i in range(0, len(a), 999)]
    assert np.array_equal(np.concatenate([x for x, _ in out] + [one.finish()]), resampled(a, 44100))
    assert np.array_equal(np.concatenate([y for _, y in out] + [other.finish()]), resampled(b, 44100))


def test_memory_does_not_grow():
    resampler, second = Resampler(48000), noise(48000, 1)
    for _ in range(3):
        resampler.push(second)
    tracemalloc.start()
    for _ in range(60):
        resampler.push(second)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_fast_enough():
    samples = noise(44100, 5)
    resampled(samples, 44100)
    best = min(_timed(samples) for _ in range(5))
    assert best < 0.05  # 10 ms per second of audio; 1.5 on the 2-core machine it was written on


def _timed(samples: np.ndarray) -> float:
    start = time.perf_counter()
    resampled(samples, 44100)
    return time.perf_counter() - start
