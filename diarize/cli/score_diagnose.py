"""`diarize score --diagnose`: what the points lost are lost to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from diarize.cli.score_stream import Asked, audio_bar, errors, found_in, load, made_with
from diarize.cli.terminal import table
from diarize.errors import ConfigError
from diarize.scoring import MIN_SPEECH_S, Overall

if TYPE_CHECKING:
    from diarize.diagnosis import Diagnosis, Variant
    from diarize.streaming_score import Recording

LEGEND = (
    "DER, miss, fa, conf: offline, % of reference speech; collar 0, overlap scored.",
    "perfect speech: the reference's instead of the VAD's, in frames of 32 ms, nothing padded or filled.",
    "true count: the number of speakers in the reference is asked for. both: that, of perfect speech.",
    "perfect labels: the VAD's speech, each 10 ms with the reference speaker who speaks most in it.",
    "missed: nobody was found where somebody speaks. fa: somebody where nobody does. ov-, ov+: voices beyond "
    "one, not found, or found where there are fewer. 2nd: confusion where two speak and two were found.",
    "short: confusion in turns under 1 s. boundary: other confusion, under 0.5 s from the edge of a turn.",
    "count: DER as configured minus DER with the true count; missed, fa, ov-, ov+, 2nd, short, boundary "
    "and rest of what costs what are those of the true count, so that they add up to the DER.",
    "Exact: recordings with as many speakers as in the reference, of those with at least "
    f"{MIN_SPEECH_S:g} s of its speech.",
)

SAID = {
    "missed_speech": "missed speech",
    "false_alarm": "false alarm",
    "missed_overlap": "missed overlap",
    "false_overlap": "false overlap",
    "second_speaker": "wrong second speaker",
    "wrong_count": "wrong number of speakers",
    "short_turns": "short turns",
    "boundaries": "boundaries",
    "rest": "rest of the confusion",
}
"""Owners, as people read them."""


def score_diagnose(references: Path, recordings: Path, uem: Path | None, asked: Asked, as_json: bool) -> None:
    """Diarize the recordings under all variants, print what costs what."""
    from diarize.diagnosis import PASSES, diagnose

    for option, value in (("latency", asked.latency), ("quick", asked.quick)):
        if value:
            raise ConfigError(f"--{option} is for --stream; --diagnose is offline, leave it out")
    if asked.num_speakers is not None:
        raise ConfigError("--num-speakers is for --stream; --diagnose takes the reference's, leave it out")
    notes: list[str] = []
    found = found_in(references, recordings, uem, notes)
    diarizer = load(asked)
    with audio_bar(found, PASSES, "diarizing") as progress:
        overall = diagnose(diarizer, found, progress=progress)
    legend = [*LEGEND, made_with(diarizer)]
    if as_json:
        said: dict[str, Any] = {"references": str(references), "audio": str(recordings)}
        said |= {"conventions": legend, "overall": as_dict(overall)}
        said |= {"recordings": [as_dict(one) for one in overall.recordings], "notes": notes}
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        show(f"{references} (reference) against {recordings}, diagnosed", overall, found)
        typer.echo("\n".join(legend))
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def show(title: str, overall: Diagnosis, recordings: Sequence[Recording]) -> None:
    """The variants of each recording and of all; what costs what in each and in all."""
    n, with_uem = len(recordings), sum(recording.uem is not None for recording in recordings)
    typer.echo(f"{title}\n{n} recording{'s'[: n != 1]} ({with_uem} with a UEM)\n")
    for one in overall.recordings:
        show_variants(one)
    show_variants(overall)
    header = ["recording", "DER", "missed", "fa", "ov-", "ov+", "2nd", "count"]
    header += ["short", "boundary", "rest", "speakers"]
    body = []
    for one in (*overall.recordings, overall):
        found = speakers(one.variants["as_configured"])
        body.append([one.name, points(one.der), *map(points, one.owners.values()), found])
    table("What costs what in each recording, points of its own DER", header, body)
    body = [
        [SAID[owner], points(share), points(share / overall.der if overall.der else 0.0)]
        for owner, share in overall.owners.items()
    ]
    body.append(["DER", points(overall.der), points(1.0 if overall.der else 0.0)])
    table("What costs what, overall", ["owner", "points", "% of the DER"], body)


def show_variants(one: Diagnosis) -> None:
    """A line for each variant."""
    header = [
        "variant",
        "DER",
        "miss",
        "fa",
        "conf",
        "missed",
        "ov-",
        "ov+",
        "2nd",
        "short",
        "boundary",
        "rest",
    ]
    header.append("exact" if one.recordings else "speakers")
    body = []
    for name, variant in one.variants.items():
        score, parts = variant.score, variant.parts
        rates = [score.der, score.miss, score.false_alarm, score.confusion]
        seconds = [parts.missed_speech_s, parts.missed_overlap_s, parts.false_overlap_s]
        seconds.append(parts.second_speaker_s)
        seconds += [parts.short_turns_s, parts.boundaries_s, parts.rest_s]
        rates += [one.rate(name, each) for each in seconds]
        body.append([name.replace("_", " "), *map(points, rates), speakers(variant)])
    speech_s = one.variants["as_configured"].score.total_s
    table(f"{one.name}, {speech_s:.1f} s of reference speech", header, body)


def speakers(variant: Variant) -> str:
    """True and found number of speakers; of many recordings how often they are the same."""
    score = variant.score
    if isinstance(score, Overall):
        return f"{score.num_exact}/{score.num_counted}"
    return f"{score.num_reference_speakers} -> {score.num_hypothesis_speakers}"


def points(rate: float) -> str:
    """0.123 as 12.3, without a sign on zero."""
    return f"{round(100 * rate, 1) + 0.0:.1f}"


def as_dict(one: Diagnosis) -> dict[str, Any]:
    """One recording or all, rates as 0.1 for 10 %."""
    return {
        "name": one.name,
        "variants": {
            name: {**(errors(variant.score) or {}), "parts": dataclasses.asdict(variant.parts)}
            for name, variant in one.variants.items()
        },
        "owners": {
            owner: {"points": one.owners[owner], "seconds": seconds}
            for owner, seconds in one.owners_s.items()
        },
    }
