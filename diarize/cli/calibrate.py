"""`diarize calibrate`: the threshold and the probability, fitted to trials of one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarize import calibration
from diarize.cli.terminal import (
    ChannelOption,
    ConfigOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OverwriteOption,
    PrecisionOption,
    ThreadsOption,
    VadOption,
    check_output,
    finish,
    load_diarizer,
    note,
    percent,
    progress_bar,
    table,
    write_or_say,
)
from diarize.errors import ConfigError, DiarizeError
from diarize.formats.trials import Trial, read_trials

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diarize.config import Config, VerificationConfig
    from diarize.pipeline import Diarizer
    from diarize.result import Voice

MIN_TRIALS = 20
"""Of each kind."""

MIN_SPEAKERS = 5
"""With two recordings or more: one for each part in which speakers are left out."""


def calibrate(
    trials: Annotated[
        Path,
        typer.Argument(
            help="A text file, a trial a line: target or nontarget (or 1 or 0), then two recordings, "
            "relative to the file; the label may also stand at the end.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the configuration, a TOML file.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
    vad: VadOption = False,
    channel: ChannelOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Fit threshold and probability to recordings of your own.

    The microphone, the line and the codec move scores more than anything else; what is fitted is a shift of
    the threshold and a scale of the evidence. At least 20 trials of each kind are needed, of 5 speakers with
    two recordings or more. Both rows of the table are of the same trials: "before" with the calibration
    as configured; "after" with fits that have not heard the speakers they judge.

    Examples:

    - `diarize calibrate trials.txt -o mine.toml`, then `diarize verify a.wav b.wav --config mine.toml`
    """
    asked = read_trials(trials)
    check(asked, f"{trials} has")
    if output is not None:
        check_output(output, overwrite)
    diarizer = load_diarizer(
        config, model=model, device=device, engine=engine, precision=precision, threads=threads, overlap="off"
    )
    files = list(dict.fromkeys(file for trial in asked for file in (trial.a, trial.b)))
    voices, failed = {}, []
    with progress_bar() as bar:
        for file in bar.track(files, description="embedding"):
            try:
                voices[file] = diarizer.voice(file, channel=channel, vad=vad)
            except DiarizeError as error:
                failed.append(str(error))
    finish(failed, len(files))
    short = {file for file, voice in voices.items() if voice.speech_s < calibration.ENOUGH_S}
    used = [trial for trial in asked if trial.a not in short and trial.b not in short]
    if short:
        left = len(asked) - len(used)
        note(f"{left} trials left out: under {calibration.ENOUGH_S:g} s of speech on one side")
        check(used, "left are")
    found = fit(diarizer, used, voices)
    written = dataclasses.replace(
        diarizer.config,
        verification=found,
        clustering=dataclasses.replace(diarizer.config.clustering, threshold=None),
    )
    typer.echo(f"shift = {found.shift}\nscale = {found.scale}")
    if output is not None:
        write_or_say(output, as_toml(written, trials, used))
        note(f"written: {output}")
    if diarizer.config.clustering.threshold is not None:
        note("clustering.threshold is no longer set: the threshold follows from the shift")


def speakers_of(trials: Sequence[Trial]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The speakers of both sides of each trial, (n,) and (n,), and how many have two recordings or more."""
    import numpy as np

    from diarize.trials import speakers

    number: dict[Path, int] = {}
    for trial in trials:
        for file in (trial.a, trial.b):
            number.setdefault(file, len(number))
    a, b = ([number[file] for file in side] for side in zip(*((t.a, t.b) for t in trials), strict=True))
    of = speakers(a, b, np.array([trial.target for trial in trials]), len(number))
    return of[a], of[b], int((np.bincount(of) > 1).sum())


def check(trials: Sequence[Trial], where: str) -> None:
    """Refuse too few trials, and a speaker whom nontargets call two."""
    targets = sum(trial.target for trial in trials)
    impostors = len(trials) - targets
    if min(targets, impostors) < MIN_TRIALS:
        raise ConfigError(
            f"at least {MIN_TRIALS} target and {MIN_TRIALS} nontarget trials are needed, "
            f"{where} {targets} and {impostors}"
        )
    a, b, count = speakers_of(trials)
    if count < MIN_SPEAKERS:
        raise ConfigError(
            f"target trials of at least {MIN_SPEAKERS} speakers are needed, {where} those of {count} "
            "(recordings that targets join are one speaker)"
        )
    for trial, i, j in zip(trials, a, b, strict=True):
        if i == j and not trial.target:
            raise ConfigError(f"{trial.a} and {trial.b} are nontarget, but by target trials one speaker")


def fit(diarizer: Diarizer, trials: Sequence[Trial], voices: dict[Path, Voice]) -> VerificationConfig:
    """The verification that fits the trials; prints the table on the way."""
    import numpy as np

    from diarize.trials import cllr, left_out, recalibrate

    config = diarizer.config
    pairs = [(voices[trial.a], voices[trial.b]) for trial in trials]
    verdicts = [diarizer.compare(a, b) for a, b in pairs]
    target = np.array([trial.target for trial in trials])
    before = np.array(
        [
            calibration.llr(
                config.model,
                v.score,
                a.speech_s,
                b.speech_s,
                config.verification.shift,
                config.verification.scale,
            )
            for v, (a, b) in zip(verdicts, pairs, strict=True)
        ]
    )
    scale, offset = recalibrate(before, target)
    if not scale > 0:
        raise ConfigError(
            "in these trials targets do not score higher than nontargets; are the labels the right way round?"
        )
    left, right, count = speakers_of(trials)
    after = left_out(
        left,
        right,
        lambda chosen: recalibrate(before[chosen], target[chosen]),
        lambda found, chosen: found[0] * before[chosen] + found[1],
    )
    recordings = len({file for trial in trials for file in (trial.a, trial.b)})
    said = np.array([v.same for v in verdicts])
    table(
        f"{int(target.sum())} target and {int((~target).sum())} nontarget trials, {recordings} recordings, "
        f"{count} speakers with two or more, {config.model}",
        ["", "EER %", "minDCF", "Cllr", "minCllr", "false accepts %", "false rejects %"],
        [row("before", before, target, said), row("after", after, target, after >= 0)],
    )
    if cllr(after, target) >= cllr(before, target):
        note("these trials speak for no other calibration than the one before; more speakers may")
    old = config.verification
    unit = old.scale * calibration.slope(config.model)
    return dataclasses.replace(
        old,
        shift=round(old.shift - offset / (scale * unit), 4),
        scale=round(old.scale * scale, 4),
    )


def row(name: str, llr: NDArray[np.float64], target: NDArray[np.bool_], same: NDArray[np.bool_]) -> list[str]:
    """A row of the table."""
    from diarize.trials import Curve, cllr, min_cllr

    curve = Curve(llr, target)
    return [
        name,
        percent(curve.equal()[0]),
        f"{curve.cost():.3f}",
        f"{cllr(llr, target):.3f}",
        f"{min_cllr(llr, target):.3f}",
        percent(float(same[~target].mean())),
        percent(float((~same)[target].mean())),
    ]


def as_toml(config: Config, trials: Path, used: Sequence[Trial]) -> str:
    """The configuration, and what it was fitted to."""
    targets = sum(trial.target for trial in used)
    return (
        f"# Verification fitted by `diarize calibrate {trials.name}` to {targets} target and "
        f"{len(used) - targets} nontarget trials.\n{config.to_toml()}\n"
    )
