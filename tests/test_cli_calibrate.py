"""`diarize calibrate` from trials to a configuration, with networks made for it."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from fakes import RATE, ExactEmbedder, SharpVad, silence, speech
from test_cli import diarize

from diarize import Config, Diarizer

SPEAKERS, EACH = 8, 4


@pytest.fixture
def trials(tmp_path, monkeypatch, write_wav):
    """A folder with voices, and trials of all pairs of them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    embedder = ExactEmbedder(0.25)
    monkeypatch.setattr(
        "diarize.cli.calibrate.load_diarizer",
        lambda config, **_: Diarizer(config, embedder=embedder, vad=SharpVad()),
    )
    files = [f"{i}_{k}.wav" for i in range(SPEAKERS) for k in range(EACH)]
    for name in files:
        samples = 32767 * speech(int(name[0]) / SPEAKERS, 2.048, rng)
        write_wav(tmp_path / name, samples, RATE)
    lines = [
        f"{'target' if a[0] == b[0] else 'nontarget'} {a} {b}" for a, b in itertools.combinations(files, 2)
    ]
    (tmp_path / "trials.txt").write_text("\n".join(lines))
    return tmp_path / "trials.txt", lines, embedder


def test_what_it_writes_is_a_configuration_and_better(trials):
    _, _, embedder = trials
    said, notes = diarize("calibrate", "trials.txt", "-o", "mine.toml")
    assert len(embedder.calls) == SPEAKERS * EACH  # each recording once
    assert said.startswith("48 target and 448 nontarget trials, 32 recordings, 8 speakers")
    shift, scale = (float(x) for x in re.findall(r"(?:shift|scale) = (\S+)", said))
    config = Config.load("mine.toml")
    assert (config.verification.shift, config.verification.scale) == (shift, scale)
    assert Config.load("mine.toml").verification.prior == 0.5
    rows = {
        row.split()[0]: row.split()[1:] for row in said.splitlines() if row[:6].strip() in ("before", "after")
    }
    before, after = (float(rows[name][2]) for name in ("before", "after"))
    assert after < before
    assert "written: mine.toml" in notes

    # On voices that were not there: nearer to what no calibration can better, by its own verdicts.
    from diarize.trials import cllr, min_cllr

    rng = np.random.default_rng(1)
    pieces = [(i, speech(i / SPEAKERS, 2.048, rng)) for i in range(SPEAKERS) for _ in range(EACH)]
    losses = []
    for used in (Config(), config):
        diarizer = Diarizer(used, embedder=embedder, vad=SharpVad())
        voices = [(i, diarizer.voice(samples, sample_rate=RATE)) for i, samples in pieces]
        pairs = [(i == j, diarizer.compare(a, b)) for (i, a), (j, b) in itertools.combinations(voices, 2)]
        target = np.array([same for same, _ in pairs])
        chance = np.array([verdict.probability for _, verdict in pairs]).clip(1e-12, 1 - 1e-12)
        llr = np.log(chance / (1 - chance))
        losses.append(cllr(llr, target) - min_cllr(llr, target))
        assert all(verdict.same == (verdict.probability >= 0.5) for _, verdict in pairs)
    assert losses[1] < 0.06 < losses[0]

    assert "mine.toml exists already" in diarize("calibrate", "trials.txt", "-o", "mine.toml", status=1)[1]
    # From elsewhere, even from there, the same trials lead to nearly the same place.
    for elsewhere in ({}, {"shift": 0.3, "scale": 4.0}):
        base = Config.from_dict({"verification": elsewhere}) if elsewhere else config
        (trials[0].parent / "base.toml").write_text(base.to_toml())
        again = diarize("calibrate", "trials.txt", "-c", "base.toml")[0]
        more, factor = (float(x) for x in re.findall(r"(?:shift|scale) = (\S+)", again))
        assert more == pytest.approx(shift, abs=0.06)  # a little of where they came from is kept
        assert factor == pytest.approx(scale, rel=0.5)


def test_too_few_are_refused(trials):
    path, lines, _ = trials
    targets = [line for line in lines if line.startswith("target")]
    others = [line for line in lines if line.startswith("nontarget")]
    path.write_text("\n".join(targets[:19] + others))
    said = diarize("calibrate", "trials.txt", status=1)[1]
    assert "at least 20 target and 20 nontarget trials are needed, trials.txt has 19 and 448" in said
    path.write_text("\n".join([line for line in targets if line[7] in "0123"] + others))
    assert (
        "of at least 5 speakers are needed, trials.txt has those of 4"
        in diarize("calibrate", "trials.txt", status=1)[1]
    )
    path.write_text("\n".join([*lines, "nontarget 0_0.wav 0_1.wav"]))
    assert (
        "0_0.wav and 0_1.wav are nontarget, but by target trials one speaker"
        in diarize("calibrate", "trials.txt", status=1)[1]
    )
    path.write_text("target 0_0.wav 0_1.wav\nmaybe 0_0.wav 0_1.wav\n")
    error = diarize("calibrate", "trials.txt", status=1)[1]
    assert error.startswith("error: trials.txt:2: ")
    assert error.count("\n") <= 1


def test_trials_with_too_little_speech_are_left_out(trials, write_wav):
    path, _, _ = trials
    short = np.concatenate([silence(1.0), speech(0.0, 0.64, np.random.default_rng(2))])
    write_wav(path.parent / "0_0.wav", 32767 * short, RATE)
    said, notes = diarize("calibrate", "trials.txt")
    assert "31 trials left out: under 1 s of speech on one side" in notes
    assert said.startswith("45 target and 420 nontarget trials, 31 recordings")


def test_a_recording_that_cannot_be_read_is_named(trials):
    path, _, _ = trials
    (path.parent / "3_2.wav").write_bytes(b"not audio")
    assert "3_2.wav" in diarize("calibrate", "trials.txt", status=1)[1]
