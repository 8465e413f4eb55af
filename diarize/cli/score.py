"""`diarize score`: how far a hypothesis is from its reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from diarize.cli.score_diagnose import score_diagnose
from diarize.cli.score_files import Pair, ScoredParts, pairs
from diarize.cli.score_stream import Asked, score_stream
from diarize.cli.terminal import (
    ConfigOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OverlapOption,
    PrecisionOption,
    ThreadsOption,
    percent,
    table,
)
from diarize.errors import ConfigError, DiarizeError
from diarize.scoring import CONVENTIONS, MIN_SPEECH_S, Overall, Score, aggregate, score_under

LEGEND = (
    "DER = (miss + false alarm + confusion) / reference speech, every speaker counted where several talk.",
    "A collar leaves out that many seconds on each side of every reference boundary.",
    "JER is the mean over reference speakers, collar 0, overlap scored.",
    "Exact count: as many speakers in the scored part, over recordings with at least "
    f"{MIN_SPEECH_S:g} s of reference speech.",
)


def score(
    reference: Annotated[
        Path, typer.Argument(help="The truth: an RTTM file, or a folder of them.", show_default=False)
    ],
    hypothesis: Annotated[
        Path,
        typer.Argument(
            help="What is scored: an RTTM file, or a folder of them; with --stream or --diagnose "
            "a recording, or a folder of them.",
            show_default=False,
        ),
    ],
    uem: Annotated[
        Path | None,
        typer.Option(
            help="The parts to score: a UEM file, or a folder of NAME.uem. "
            "Default: the NAME.uem next to each reference, if there is one.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, rates as 0.1 for 10 %.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Stream recordings, and score what comes out at every latency.")
    ] = False,
    diagnose: Annotated[
        bool,
        typer.Option("--diagnose", help="Diarize recordings, and find what costs how many points of DER."),
    ] = False,
    latency: Annotated[
        str | None,
        typer.Option(
            help="With --stream: seconds, with commas between; none is unlimited. "
            "Default: 0.5,1,2,5,10,none.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="With --stream: all latencies side by side, each embedding computed once for all; "
            "computing time is not measured.",
        ),
    ] = False,
    num_speakers: Annotated[
        int | None,
        typer.Option(
            "--num-speakers", "-n", min=1, help="With --stream: exactly this many speakers in each."
        ),
    ] = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    overlap: OverlapOption = None,
) -> None:
    """Score who spoke when against a reference: DER and its parts, JER, number of speakers.

    Two files are scored against each other. In two folders NAME.rttm is scored
    against NAME.rttm; a hypothesis that is not there counts as empty. Where a
    file holds several recordings, they are matched by name. Without a UEM a
    recording is scored from 0 to the last end in either file.

    DER is printed under the four usual conventions: collar 0 and a collar of
    0.25 s on each side of a reference boundary, overlapped speech scored or not.

    With --stream the recordings themselves are given, NAME.wav (or .flac, .mp3, ...)
    for NAME.rttm. They are pushed as they would arrive live, and what comes out is
    scored for each latency: errors, how often names change, how late turns are,
    how long it takes to compute.

    With --diagnose recordings are given too, and diarized offline: as configured;
    with perfect speech (the reference's, in frames of 32 ms, instead of the VAD's);
    with the true count (the reference's number of speakers); with both; and, as the
    floor, with perfect labels on the VAD's speech, one speaker for each 10 ms. The
    DER is then split among what it is lost to: missed speech, false alarm, overlap
    (voices beyond one), the wrong number of speakers (DER as configured minus DER
    with the true count), and what confusion the true count leaves: in short turns
    (under 1 s), at boundaries (under 0.5 s from the edge of a turn), the rest.

    Examples:

    - `diarize score meeting.rttm hypothesis.rttm`

    - `diarize score references/ hypotheses/`

    - `diarize score references/ hypotheses/ --uem all.uem --json > scores.json`

    - `diarize score --stream references/ recordings/ --latency 1,5,none`

    - `diarize score --diagnose references/ recordings/`
    """
    asked = Asked(latency, quick, num_speakers, config, model, device, engine, precision, threads, overlap)
    if stream and diagnose:
        raise ConfigError("--stream and --diagnose are two questions; ask one at a time")
    if diagnose:
        score_diagnose(reference, hypothesis, uem, asked, as_json)
        return
    if stream:
        score_stream(reference, hypothesis, uem, asked, as_json)
        return
    asked.refuse()
    notes: list[str] = []
    try:
        found = list(pairs(reference, hypothesis, ScoredParts(uem, reference.is_dir()), notes))
    except OSError as error:
        raise DiarizeError(f"{error.filename} cannot be read: {error.strerror}") from error
    if not found:
        raise DiarizeError(f"nothing to score: {reference} holds no .rttm file with a recording in it")
    rows = [(pair, score_under(CONVENTIONS, pair.reference, pair.hypothesis, uem=pair.uem)) for pair in found]
    overall = [aggregate(scores[i] for _, scores in rows) for i in range(len(CONVENTIONS))]
    if as_json:
        typer.echo(
            json.dumps(_as_dict(reference, hypothesis, rows, overall, notes), indent=2, ensure_ascii=False)
        )
    else:
        _print(reference, hypothesis, rows, overall)
    for note in notes:
        typer.echo(f"note: {note}", err=True)


_Rows = Sequence[tuple[Pair, tuple[Score, ...]]]


def _print(reference: Path, hypothesis: Path, rows: _Rows, overall: Sequence[Overall]) -> None:
    header = ["recording", "DER", "miss", "fa", "conf", "DER .25", "JER", "speakers", "speech s", "scored"]
    body = []
    for pair, (strict, lenient, *_) in rows:
        counts = f"{strict.num_reference_speakers} -> {strict.num_hypothesis_speakers}"
        rates = (strict.der, strict.miss, strict.false_alarm, strict.confusion, lenient.der, strict.jer)
        scored = "UEM" if pair.uem_file else "all"
        body.append([pair.name, *map(percent, rates), counts, f"{strict.speech_s:.1f}", scored])
    table(
        f"{reference} (reference) against {hypothesis} (hypothesis)\n"
        "% of reference speech; collar 0, overlap scored (DER .25: collar 0.25 s a side)",
        header,
        body,
    )
    body = [
        [str(o.convention), *map(percent, (o.der, o.miss, o.false_alarm, o.confusion)), f"{o.total_s:.1f}"]
        for o in overall
    ]
    strict_overall = overall[0]
    n = strict_overall.num_recordings
    table(
        f"overall, {n} recording{'s'[: n != 1]}",
        ["convention", "DER", "miss", "fa", "conf", "scored speech s"],
        body,
    )
    counted = strict_overall.num_counted
    share = f"{100 * strict_overall.exact_count:.0f} %" if counted else "-"
    typer.echo(f"JER {percent(strict_overall.jer)} %")
    typer.echo(f"exact count {share} ({strict_overall.num_exact} of {counted})\n")
    typer.echo("\n".join(LEGEND))


def _as_dict(
    reference: Path, hypothesis: Path, rows: _Rows, overall: Sequence[Overall], notes: list[str]
) -> dict[str, Any]:
    def common(one: Score | Overall) -> dict[str, Any]:
        speakers = {"reference": one.num_reference_speakers, "hypothesis": one.num_hypothesis_speakers}
        return {"speech_s": one.speech_s, "jer": one.jer, "speakers": speakers}

    def errors(one: Score | Overall) -> dict[str, Any]:
        return {
            "collar_s": one.convention.collar_s,
            "skip_overlap": one.convention.skip_overlap,
            **{key: getattr(one, key) for key in ("der", "miss", "false_alarm", "confusion")},
            **{key: getattr(one, key) for key in ("total_s", "miss_s", "false_alarm_s", "confusion_s")},
        }

    total = overall[0]
    return {
        "reference": str(reference),
        "hypothesis": str(hypothesis),
        "conventions": list(LEGEND),
        "overall": {
            "recordings": total.num_recordings,
            **common(total),
            "exact_count": total.exact_count,
            "exact": total.num_exact,
            "counted": total.num_counted,
            "der": [errors(one) for one in overall],
        },
        "recordings": [
            {
                "name": pair.name,
                "uem": str(pair.uem_file) if pair.uem_file else None,
                **common(scores[0]),
                "exact_count": scores[0].exact_count,
                "der": [errors(one) for one in scores],
            }
            for pair, scores in rows
        ],
        "notes": notes,
    }
