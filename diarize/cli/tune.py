"""`diarize tune`: the options that labelled recordings of one's own speak for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diarize._axes import SPACE, Axis, shown
from diarize.cli.score_stream import duration_of, errors, found_in, made_with
from diarize.cli.terminal import (
    ConfigOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OverwriteOption,
    PrecisionOption,
    ThreadsOption,
    check_output,
    load_diarizer,
    note,
    percent,
    progress_bar,
    table,
    write_or_say,
)
from diarize.scoring import MIN_SPEECH_S, Convention

if TYPE_CHECKING:
    from diarize.streaming_score import Recording
    from diarize.tuning import Gain, Progress, Step, Trial, Tuning

INTERRUPTED = 130


def tune(
    references: Annotated[
        Path, typer.Argument(help="The truth: an RTTM file, or a folder of them.", show_default=False)
    ],
    audio: Annotated[
        Path,
        typer.Argument(
            help="The recording, or a folder of them: NAME.wav (or .flac, .mp3, ...) for NAME.rttm.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the configuration, a TOML file.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="What to try instead of the usual: NAME=VALUE,VALUE,..., such as vad.pad_s=.05,.1 or, of "
            "options that move together, vad.onset/vad.offset=.3/.15,.2/.1; may be repeated.",
            show_default=False,
        ),
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Take every gain, also one that may be chance.")
    ] = False,
    uem: Annotated[
        Path | None,
        typer.Option(
            help="The parts to score: a UEM file, or a folder of NAME.uem. "
            "Default: the NAME.uem next to each reference, if there is one.",
            show_default=False,
        ),
    ] = None,
    collar: Annotated[
        float, typer.Option(min=0, help="Seconds not scored on each side of every reference boundary.")
    ] = 0.0,
    skip_overlap: Annotated[
        bool, typer.Option("--skip-overlap", help="Do not score where reference turns overlap.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, rates as 0.1 for 10 %.")
    ] = False,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Find the options that suit labelled recordings of your own.

    From the options as configured, one after the other is moved to where the DER of all recordings together
    is lowest. A step is taken only if the recordings agree on it: the 95 % interval of its gain (bootstrap
    over recordings, for all values of the option together) must lie above zero. That takes 7 to 9
    recordings, the more values the more; --greedy does without. The networks run once over everything; each
    trial after that takes seconds for an hour of audio. What they say is kept in a temporary file (TMPDIR),
    about 650 MB for an hour.

    "Cross-validated" is the DER to expect on other recordings of the kind: each one under what the search
    finds on all the others.

    Examples:

    - `diarize tune references/ recordings/ -o mine.toml`, then `diarize run meeting.wav --config mine.toml`
    - `diarize tune references/ recordings/ --option vad.min_silence_s=.3,.6,1 --option vad.pad_s=0,.1,.2`
    """
    from diarize.memo import Memory
    from diarize.tuning import Judge, Search

    space = tuple(map(Axis.of, option)) if option else SPACE
    convention = Convention(collar, skip_overlap)
    if output is not None:
        check_output(output, overwrite)
    notes: list[str] = []
    found = found_in(references, audio, uem, notes)
    for line in notes:
        note(f"note: {line}")
    diarizer = load_diarizer(
        config, model=model, device=device, engine=engine, precision=precision, threads=threads
    )
    with Memory() as memory, bar_of(found) as progress:
        judge = Judge(diarizer, found, memory, convention, progress)
        search = Search(diarizer.config, space, judge, greedy=greedy, progress=progress)
        try:
            search.run()
        except KeyboardInterrupt:
            if search.best is None:
                raise
    tuning = search.found()
    legend = [
        f"DER, miss, fa, conf: offline, % of reference speech; {convention}; within the UEMs that there are.",
        "Exact: recordings with as many speakers as in the reference, of those with at least "
        f"{MIN_SPEECH_S:g} s of it.",
        "Gain: points of DER, against the options that held when the value was tried.",
        made_with(diarizer),
    ]
    if as_json:
        said: dict[str, Any] = {"references": str(references), "audio": str(audio), "conventions": legend}
        said |= as_dict(tuning, found) | {"notes": notes}
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        show(tuning, f"{references} (reference) and {audio}, tuned", found)
        typer.echo("\n".join([*legend, "", *decisions(tuning), "", *outcome(tuning)]))
    if not tuning.complete:
        note("stopped before the end: this is the best so far" + ("; nothing was written" if output else ""))
        raise typer.Exit(INTERRUPTED)
    if output is not None:
        made = f"diarize tune {json.dumps(str(references))} {json.dumps(str(audio))}"
        about = [f"Options by `{made}`: {data_of(tuning, found)}.", *legend[:1], *outcome(tuning)]
        comment = "".join(f"# {line}\n" for line in about)
        write_or_say(output, f"{comment}\n{tuning.best.config.to_toml()}\n")
        note(f"written: {output}")


@contextmanager
def bar_of(recordings: Sequence[Recording]) -> Iterator[Progress]:
    """A bar over the seconds of audio while the networks run, then one over the trials."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    seconds = [duration_of(recording) for recording in recordings]
    total = None if None in seconds else sum(filter(None, seconds))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        tasks = {"listening": bar.add_task("listening", total=total)}

        def show_it(doing: str, done: float, of: float | None) -> None:
            if doing not in tasks:
                tasks[doing] = bar.add_task(doing)
                bar.update(tasks["listening"], visible=False)
            bar.update(tasks[doing], completed=done, total=of or total)

        yield show_it


def data_of(tuning: Tuning, recordings: Sequence[Recording]) -> str:
    """How much was heard."""
    n, with_uem = len(recordings), sum(recording.uem is not None for recording in recordings)
    minutes = tuning.trials[0].overall.speech_s / 60
    count = len(tuning.trials)
    return (
        f"{n} recording{'s'[: n != 1]} ({with_uem} with a UEM), {minutes:.1f} min of reference speech, "
        f"{count} trial{'s'[: count != 1]}"
    )


def show(tuning: Tuning, title: str, recordings: Sequence[Recording]) -> None:
    """A line for each trial."""
    header = ["option", "value", "DER", "miss", "fa", "conf", "exact", "gain"]
    body = []
    for trial in tuning.trials:
        der = trial.overall
        rates = map(percent, (der.der, der.miss, der.false_alarm, der.confusion))
        less = "" if trial.against is None else points(trial.against.overall.der - der.der)
        name = trial.axis or "as configured"
        body.append([name, trial.value, *rates, f"{der.num_exact}/{der.num_counted}", less])
    table(f"{title}\n{data_of(tuning, recordings)}", header, body)
    for line in tuning.skipped:
        note(f"note: not tried: {line}")


def decisions(tuning: Tuning) -> list[str]:
    """Each axis that another value was better on, and what was decided."""
    from diarize._guards import TOLERANCE

    lines = []
    for step in tuning.steps:
        if step.values[0] != step.values[1]:
            lines.append(f"{step.axis} {' -> '.join(step.values)}: {said_of(step.gain)}, {verdict(step)}")
    last = {step.axis: step for step in tuning.steps}
    stay = [name for name, step in last.items() if step.values[0] == step.values[1]]
    if stay:
        lines.append(f"No other value is better by over {100 * TOLERANCE:g} points: {', '.join(stay)}")
    return lines


def verdict(step: Step) -> str:
    """Taken or not, and why."""
    if step.gain.sure:
        return "taken"
    may = "it may be chance"
    if step.gain.low is None:
        may = f"fewer than {step.needed} recordings with speech cannot tell it from chance"
    return f"taken (--greedy), though {may}" if step.taken else f"not taken: {may}"


def said_of(gain: Gain) -> str:
    """A gain in points, with its interval."""
    interval = f" [{points(gain.low)}, {points(gain.high)}]" if gain.low is not None else ""
    return f"{points(gain.der)} points better{interval}"


def points(rate: float | None) -> str:
    """0.0123 as +1.23."""
    return f"{round(100 * (rate or 0.0), 2) + 0.0:+.2f}"


def outcome(tuning: Tuning) -> list[str]:
    """What was chosen, what it gains, what to expect."""
    from diarize._guards import TOLERANCE

    start, best = tuning.trials[0], tuning.best
    if best is start:
        so_far = "" if tuning.complete else " so far"
        lines = [f"Nothing that was tried{so_far} is surely better: the options stay as they were."]
    else:
        lines = [f"Chosen: {', '.join(f'{k} = {v}' for k, v in changes(start, best).items())}"]
        ders = f"DER {percent(best.overall.der)} % instead of {percent(start.overall.der)}"
        lines.append(f"{ders}: {said_of(tuning.gain)}")
    if (unseen := tuning.cross_validated) is None:
        least = min((step.needed for step in tuning.steps), default=1) + 1
        lines.append(f"Not cross-validated: that takes {least} recordings with speech, or two and --greedy.")
    else:
        lines.append(
            "Cross-validated (for each recording the same search on all others): "
            f"DER {percent(unseen.der)} %, as configured {percent(start.overall.der)}"
        )
        if best is not start and unseen.der >= start.overall.der:
            lines.append("So what was chosen may be no better on other recordings; label more to be sure.")
    if (picked := tuning.lowest_unseen) is not None:
        lowest = min(trial.overall.der for trial in tuning.trials)
        lines.append(
            f"Whoever takes the lowest DER of the table, {percent(lowest)} %, may expect "
            f"{percent(picked.der)} on what was not seen when choosing."
        )
        careful = all(step.gain.sure for step in tuning.steps if step.taken)
        if careful and picked.der + TOLERANCE < (best.overall if unseen is None else unseen).der:
            lines.append(
                "That is lower than what was found: more recordings, fewer values (--option) or --greedy "
                "may find more."
            )
    return lines


def changes(start: Trial, other: Trial) -> dict[str, str]:
    """The options in which two trials differ, as the other has them."""
    before, after = (dataclasses.asdict(trial.config) for trial in (start, other))
    return {
        f"{section}.{name}": shown((value,))
        for section, values in after.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if value != before[section][name]
    }


def as_dict(tuning: Tuning, recordings: Sequence[Recording]) -> dict[str, Any]:
    """All of it, rates as 0.1 for 10 %."""
    start = tuning.trials[0]
    names = [recording.name for recording in recordings]
    trials = [
        {
            "option": trial.axis or None,
            "value": trial.value or None,
            "changes": changes(start, trial),
            "overall": errors(trial.overall),
            "recordings": [
                {"name": name, **(errors(one) or {})} for name, one in zip(names, trial.scores, strict=True)
            ],
        }
        for trial in tuning.trials
    ]
    steps = [
        {
            "option": step.axis,
            "from": step.values[0],
            "to": step.values[1],
            "gain": dataclasses.asdict(step.gain),
            "taken": step.taken,
        }
        for step in tuning.steps
    ]
    chosen = {
        "trial": tuning.trials.index(tuning.best),
        "changes": changes(start, tuning.best),
        "overall": errors(tuning.best.overall),
        "gain": dataclasses.asdict(tuning.gain),
        "cross_validated": errors(tuning.cross_validated),
        "lowest_unseen": errors(tuning.lowest_unseen),
    }
    said = {"complete": tuning.complete, "chosen": chosen, "steps": steps, "trials": trials}
    return said | {"skipped": list(tuning.skipped)}
