"""`diarize score --diagnose`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("pyannote.metrics", reason="the extra 'score' is not installed")

from diagnosis_talks import TALKS, fake_diarizer
from fakes import RATE
from score_command import run

from diarize import AudioError, ConfigError, DiarizeError
from diarize.cli import score_stream
from diarize.cli.score_diagnose import points
from diarize.diagnosis import OWNERS, VARIANTS, Parts


@pytest.fixture
def folders(tmp_path: Path, write_wav, monkeypatch) -> tuple[Path, Path]:
    """Two recordings with references, the second with a UEM; one reference has none; the fakes listen."""
    monkeypatch.setattr(score_stream, "load_diarizer", lambda *_, **__: fake_diarizer())
    ref, sound = tmp_path / "ref", tmp_path / "sound"
    ref.mkdir()
    sound.mkdir()
    for one in TALKS:
        lines = [
            f"SPEAKER {one.name} 1 {segment.start:.3f} {segment.duration:.3f} <NA> <NA> {label} <NA> <NA>\n"
            for segment, _, label in one.reference.itertracks(yield_label=True)
        ]
        (ref / f"{one.name}.rttm").write_text("".join(lines))
        write_wav(sound / f"{one.name}.wav", one.source * 32767, RATE)
    (ref / "talk2.uem").write_text("talk2 1 4 24\n")
    (ref / "three.rttm").write_text("SPEAKER three 1 0 4 <NA> <NA> A <NA> <NA>\n")
    return ref, sound


def tables(text: str) -> dict[str, list[str]]:
    """The lines of each table by its title."""
    return {block.splitlines()[0]: block.splitlines()[1:] for block in text.split("\n\n")}


def test_a_table_for_each_recording_and_for_all(folders):
    result = run("--diagnose", *folders)
    found = tables(result.stdout)
    title, said_about_it = result.stdout.splitlines()[:2]
    assert title == f"{folders[0]} (reference) against {folders[1]}, diagnosed"
    assert said_about_it == "2 recordings (1 with a UEM)"
    rows = [lines for first, lines in found.items() if first.endswith(" s of reference speech")]
    assert len(rows) == 3
    for header, *lines in rows:
        assert header.split()[:5] == ["variant", "DER", "miss", "fa", "conf"]
        assert [line[:14].strip() for line in lines] == [name.replace("_", " ") for name in VARIANTS]
        assert len({len(line) for line in lines}) == 1
    costs = found["What costs what in each recording, points of its own DER"]
    assert [line.split()[0] for line in costs[1:]] == ["talk1", "talk2", "overall"]
    owners = found["What costs what, overall"]
    *each, der = (float(line.split()[-2]) for line in owners[1:])
    assert len(each) == len(OWNERS)
    assert sum(each) == pytest.approx(der, abs=0.05 * len(OWNERS))
    for said in ("collar 0, overlap scored", "Silero VAD", "frames of 32 ms", "under 0.5 s", "count: DER as"):
        assert said in result.stdout
    assert result.stdout.isascii()
    assert "-0.0" not in result.stdout
    note = f"note: {folders[0] / 'three.rttm'}: no recording three in {folders[1]}; not scored"
    assert result.stderr.splitlines()[-1] == note


def test_zero_has_no_sign():
    assert [points(rate) for rate in (-1e-9, 0.1234, -0.051)] == ["0.0", "12.3", "-5.1"]


def test_json(folders):
    out = json.loads(run("--diagnose", *folders, "--json").stdout)
    assert set(out) == {"references", "audio", "conventions", "overall", "recordings", "notes"}
    assert [one["name"] for one in out["recordings"]] == ["talk1", "talk2"]
    assert len(out["notes"]) == 1
    fields = {field.name for field in dataclasses.fields(Parts)}
    for one in (out["overall"], *out["recordings"]):
        assert tuple(one["variants"]) == VARIANTS
        for variant in one["variants"].values():
            assert set(variant["parts"]) == fields
            errors_s = variant["miss_s"] + variant["false_alarm_s"] + variant["confusion_s"]
            assert sum(variant["parts"].values()) == pytest.approx(errors_s)
            assert set(variant["speakers"]) == {"reference", "hypothesis"}
        assert tuple(one["owners"]) == OWNERS
        configured = one["variants"]["as_configured"]
        assert sum(owner["points"] for owner in one["owners"].values()) == pytest.approx(configured["der"])
        assert one["owners"]["missed_overlap"]["seconds"] == pytest.approx(
            one["owners"]["missed_overlap"]["points"] * configured["total_s"]
        )
    total_s = sum(one["variants"]["both"]["total_s"] for one in out["recordings"])
    assert out["overall"]["variants"]["both"]["total_s"] == pytest.approx(total_s)
    assert out["recordings"][1]["variants"]["both"]["total_s"] < 20  # the UEM


def test_a_uem_that_is_asked_for(folders, tmp_path):
    (tmp_path / "all.uem").write_text("talk1 1 0 5\ntalk2 1 0 5\n")
    out = json.loads(run("--diagnose", *folders, "--uem", tmp_path / "all.uem", "--json").stdout)
    assert all(one["variants"]["both"]["total_s"] <= 5 for one in out["recordings"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--stream"], "--stream and --diagnose are two questions; ask one at a time"),
        (["--latency", "1"], "--latency is for --stream; --diagnose is offline, leave it out"),
        (["--quick"], "--quick is for --stream; --diagnose is offline, leave it out"),
        (["-n", "2"], "--num-speakers is for --stream; --diagnose takes the reference's, leave it out"),
    ],
)
def test_options_of_streams_are_refused(folders, option, said):
    with pytest.raises(ConfigError, match=said):
        run("--diagnose", *folders, *option)


def test_what_cannot_be_diagnosed_is_an_error(folders, tmp_path):
    ref, sound = folders
    with pytest.raises(DiarizeError, match=r"nothing to score: no recording of .* has the name of a"):
        run("--diagnose", ref / "three.rttm", sound)
    with pytest.raises(DiarizeError, match="nowhere does not exist"):
        run("--diagnose", ref, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="--config is for recordings; add --stream or --diagnose"):
        run(ref, ref, "--config", "meeting")
    (sound / "talk1.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"talk1\.wav: "):
        run("--diagnose", ref, sound)


def test_the_sample_conversation(sample_wav, weights):
    weights("campplus-zh-en")
    arguments = ("--diagnose", sample_wav.with_suffix(".rttm"), sample_wav, "--device", "cpu", "--json")
    overall = json.loads(run(*arguments).stdout)["overall"]
    ders = {name: variant["der"] for name, variant in overall["variants"].items()}
    assert 0 < ders["perfect_labels"] < ders["as_configured"] < 0.25
    assert 0 < ders["both"] < ders["true_count"]
    assert overall["variants"]["true_count"]["speakers"] == {"reference": 2, "hypothesis": 2}
    assert sum(owner["points"] for owner in overall["owners"].values()) == pytest.approx(
        ders["as_configured"]
    )


def test_help_teaches():
    text = " ".join(run("--help").stdout.split())
    assert "diarize score --diagnose references/ recordings/" in text
    for said in ("frames of 32 ms", "one speaker for each 10 ms", "under 0.5 s from the edge"):
        assert said in text
