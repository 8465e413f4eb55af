"""Time, memory and errors of ours and of the peers on the same files: see --help."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import platformdirs
import typer
from peers.hardware import hardware
from peers.recordings import composed, seconds_of, sounds, write_wav
from peers.systems import PEERS, SCRIPTS, Run, System, environment, our_system, scripted, timed, turns_of
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from diarize.audio import stream_audio
from diarize.errors import DiarizeError
from diarize.formats.rttm import read_rttm
from diarize.formats.uem import read_uem
from diarize.scoring import CONVENTIONS, Score, aggregate, score

WARM_MINUTES = 0.5
GROWTH_MINUTES = (5.0, 60.0, 600.0)
ONCE_FROM_MINUTES = 120.0  # growth: recordings of this length run once
FOLDERS = ("conversations", "composed")
RATES = ("der", "miss", "false_alarm", "confusion", "exact_count")
STAGES = ("start-up", "decoding", "VAD", "features", "network", "clustering", "the rest")

app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False)

Rounds = dict[str, list[Run]]
"""The runs of each system on one recording, a round each."""


# Measuring


def rounds(systems: Sequence[System], path: Path, runs: int, work: Path, bar: Progress) -> Rounds:
    """All systems in turn; one that failed is left out of the rounds that follow."""
    found: Rounds = {system.name: [] for system in systems}
    for number in range(runs):
        for system in systems if number % 2 == 0 else reversed(systems):
            if not any(run.failure for run in found[system.name]):
                say(bar, f"{path.stem}, round {number + 1} of {runs}: {system.name}")
                found[system.name].append(timed(system, path, work))
    return found


def errors(system: System, data: Path, work: Path) -> dict[str, Any]:
    """The errors of one system on the labelled recordings, all in one process; by folder."""
    wavs = {}
    for path in chain.from_iterable(sounds(data / folder) for folder in FOLDERS):
        wavs[path] = work / "recordings" / path.parent.name / f"{path.stem}.wav"
        if not wavs[path].exists():
            write_wav(wavs[path], stream_audio(path))
    run, report = scripted(system, list(wavs.values()), work)
    if run.failure:
        return {"failure": run.failure}
    found: dict[str, Any] = {"failed": report["failed"]}
    for folder in FOLDERS:
        scores = [score_of(path, turns_of(system, work)) for path in wavs if path.parent.name == folder]
        overall = aggregate(scores)
        found[folder] = asdict(overall) | {rate: getattr(overall, rate) for rate in RATES}
    return found


def score_of(path: Path, turns: Path) -> Score:
    """The score of one recording; no RTTM counts as nothing found."""
    from pyannote.core import Annotation

    (reference,) = read_rttm(path.with_suffix(".rttm")).values()
    said = turns / f"{path.stem}.rttm"
    hypotheses = list(read_rttm(said).values()) if said.exists() else []
    uem = path.with_suffix(".uem")
    parts = next(iter(read_uem(uem).values())) if uem.exists() else None
    return score(reference, hypotheses[0] if hypotheses else Annotation(), uem=parts)


# Tables


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """Aligned Markdown; the first columns are texts, the others numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if i < texts else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join(map(line, [header, rule, *rows]))


def with_notes(text: str, notes: Sequence[str]) -> str:
    """A table, and what failed in it."""
    return "\n".join([text, *([""] if notes else []), *(f"- {note}" for note in notes)])


def machine_text(found: dict[str, Any]) -> str:
    """The hardware in a few lines."""
    switches = ", ".join(f"{name}={value}" for name, value in found["switches"].items())
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory_bytes'] / 2**30:.0f} GiB, "
        f"{' '.join(found['flags']) or 'flags unknown'}\n{found['system']}, load before: "
        f"{found['load_before']:.2f}" + (f", {switches}" if switches else "")
    )


def versions_text(systems: dict[str, dict[str, Any]]) -> str:
    """What each system consists of, or why it is not there."""
    lines = []
    for name, about in systems.items():
        parts = [f"{package} {version}" for package, version in about.get("versions", {}).items()]
        parts += [about[key] for key in ("remark", "failure") if about.get(key)]
        lines.append(f"- {name}: {', '.join(parts)}")
    return "\n".join(lines)


def times_table(recordings: Sequence[dict[str, Any]], peers: Sequence[str]) -> str:
    """Times, memory, and how many times faster than each peer."""
    header = ["audio", "system", "wall, s", "min-max", "CPU, s", "real-time factor", "peak, MB"]
    rows, notes = [], []
    for recording in recordings:
        runs: Rounds = recording["runs"]
        for name, own in runs.items():
            cells = [duration(recording["seconds"]), name]
            if failure := next((run.failure for run in own if run.failure), ""):
                rows.append([*cells, "failed"] + [""] * (4 + len(peers)))
                notes.append(f"{', '.join(cells)}: {failure}")
                continue
            walls = [run.wall_s for run in own]
            cells += [f"{median(walls):.1f}", f"{min(walls):.1f}-{max(walls):.1f}"]
            cells += [f"{median(run.cpu_s for run in own):.1f}"]
            cells += [f"{median(walls) / recording['seconds']:.4f}"]
            cells += [f"{median(run.peak_bytes for run in own) / 1e6:.0f}"]
            rows.append(cells + [faster(own, runs.get(peer, [])) for peer in peers])
    return with_notes(table([*header, *(f"x faster than {peer}" for peer in peers)], rows, 2), notes)


def faster(own: Sequence[Run], other: Sequence[Run]) -> str:
    """The median over rounds of the other's time by the own one."""
    pairs = zip(own, other, strict=False)
    ratios = [b.wall_s / a.wall_s for a, b in pairs if not (a.failure or b.failure)]
    return f"{median(ratios):.2f}" if ratios else ""


def stages_table(recordings: Sequence[dict[str, Any]]) -> str:
    """Seconds by stage."""
    rows = []
    for recording in recordings:
        for name, stages in recording["stages"].items():
            cells = [f"{stages[stage]:.1f}" if stage in stages else "" for stage in STAGES]
            rows.append([duration(recording["seconds"]), name, *cells])
    return table(["audio", "system", *STAGES], rows, 2)


def errors_table(found: dict[str, dict[str, Any]]) -> str:
    """DER and its parts; a line for each recording that failed follows."""
    rows, notes = [], []
    for name, about in found.items():
        if "failure" in about:
            rows.append([name, "failed"] + [""] * len(RATES))
            notes.append(f"{name}: {about['failure']}")
            continue
        for folder in FOLDERS:
            one = about[folder]
            rates = [f"{100 * one[rate]:.1f}" for rate in RATES[:-1]]
            exact = f"{one['num_exact']} of {one['num_counted']}"
            rows.append([name, f"{folder} ({one['num_recordings']})", *rates, exact])
        notes += [f"{name}, {stem}: {why}; counted as empty" for stem, why in about["failed"].items()]
    header = ["system", "data", "DER, %", "miss", "false alarm", "confusion", "exact count"]
    return with_notes(table(header, rows, 2), notes)


def growth_table(recordings: Sequence[dict[str, Any]]) -> str:
    """Time and memory against those of the recording of an hour."""
    wanted = [one for one in recordings if one["seconds"] / 60 in GROWTH_MINUTES and one["runs"]]
    if not wanted:
        return "failed: ours does not run"
    runs = {one["seconds"]: next(iter(one["runs"].values())) for one in wanted}
    if failed := [run.failure for several in runs.values() for run in several if run.failure]:
        return f"failed: {failed[0]}"
    figures = {
        seconds: [median(f(run) for run in several) for f in (lambda r: r.wall_s, lambda r: r.peak_bytes)]
        for seconds, several in runs.items()
    }
    wall, peak = figures[3600.0]
    rows = [
        [duration(s), f"{w:.1f}", f"{w / wall:.2f}", f"{s / 3600:.2f}", f"{p / 1e6:.0f}", f"{p / peak:.2f}"]
        for s, (w, p) in sorted(figures.items())
    ]
    header = ["audio", "wall, s", "of an hour's", "audio, of an hour", "peak, MB", "of an hour's"]
    return table(header, rows, 1)


def duration(seconds: float) -> str:
    """Such as `5 min` or `1 h`."""
    hours = seconds / 3600
    return f"{hours:g} h" if hours >= 1 else f"{seconds / 60:g} min"


# The command


def say(bar: Progress, text: str) -> None:
    """Show what is going on, in the one task of the bar."""
    bar.update(bar.task_ids[0], description=text)


def names(text: str) -> list[str]:
    """The parts of a list with commas; `none` has no part."""
    return [part.strip() for part in text.split(",") if part.strip() not in ("", "none")]


def given_environments(given: Sequence[str]) -> dict[str, Path]:
    """The pythons of `--env NAME=PATH`; a path is an environment or its python."""
    found = {}
    for text in given:
        name, _, path = text.partition("=")
        python = Path(path).expanduser()
        python = python / "bin" / "python" if python.is_dir() else python
        if name not in PEERS or not python.is_file():
            raise typer.BadParameter(
                f"must be NAME=PATH with one of {', '.join(PEERS)} and an environment, got {text!r}",
                param_hint="--env",
            )
        found[name] = python.absolute()
    return found


def begun(
    ours: Sequence[System],
    peers: dict[str, Path | None],
    timeout_s: float,
    warm: Path,
    work: Path,
    bar: Progress,
) -> tuple[list[System], dict[str, dict[str, Any]]]:
    """The systems that run here, each having run once; and what is known of all."""
    systems: list[System] = []
    known: dict[str, dict[str, Any]] = {}
    for name, given in peers.items():
        say(bar, f"{name}: its environment; the first time this takes minutes")
        try:
            python = given or environment(name, work)
            systems.append(System(name, python, SCRIPTS / f"{name}.py", timeout_s))
        except DiarizeError as error:
            known[name] = {"failure": str(error)}
    systems = [*ours, *systems]
    for system in systems:
        say(bar, f"{system.name}: first run, not measured")
        run, report = scripted(system, [warm], work)
        remark = "" if system.ours else PEERS[system.name].remark
        known[system.name] = {"versions": report.get("versions", {}), "remark": remark}
        if run.failure:
            known[system.name]["failure"] = f"failed: {run.failure}"
    running = [system for system in systems if "failure" not in known[system.name]]
    return running, {name: known[name] for name in [*(s.name for s in systems), *peers] if name in known}


@app.command()
def main(
    data: Annotated[
        Path, typer.Argument(help="Folder with composed/ and conversations/.", show_default=False)
    ],
    minutes: Annotated[str, typer.Option(help="Lengths of the composed recordings; or none.")] = "5,60",
    ours: Annotated[
        str, typer.Option(help="Of ours: precisions, or ENGINE:PRECISION; default is what it chooses.")
    ] = "default",
    peers: Annotated[str, typer.Option(help=f"Of {', '.join(PEERS)}; or none.")] = ",".join(PEERS),
    runs: Annotated[int, typer.Option(min=1, help="Rounds; figures are medians.")] = 3,
    quality: Annotated[
        bool, typer.Option("--quality", help="DER and exact counts on conversations/ and composed/.")
    ] = False,
    growth: Annotated[
        bool, typer.Option("--growth", help="5 min, 1 h and, once, 10 h; the first of ours only.")
    ] = False,
    env: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH: a peer's environment that is there.", show_default=False),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Where environments (7 GB a peer with CUDA's libraries), recordings (1.2 GB for 10 h) and "
            "logs are kept; by default in the user's cache.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until a run is ended as failed.")] = 7200,
    to_json: Annotated[
        Path | None, typer.Option("--json", help="Write every figure to this file.", show_default=False)
    ] = None,
) -> None:
    """Time, memory and errors of ours and of the peers, on the same files, on this machine.

    A run is a process from its start to its end, with nothing loaded before: `diarize run FILE` for ours, a
    script of benchmarks/peers for a peer, in an environment that is made for it unless it is there. The
    systems take turns, every second round in the reverse order, so that the runs of a round are pairs; each
    ran once before, unmeasured. How many times faster is the median of the rounds' ratios.

    The recordings are composed/ repeated in a random order, each copy at another level and without its first
    moments, so that no two are alike. Every system reads the same WAV files: 16 kHz, 16 bit, mono.

    Examples:

    - `python benchmarks/speed.py DATA` compares 5 minutes and an hour

    - `python benchmarks/speed.py DATA --ours f32,bf16 --peers senko --quality --json speed.json`

    - `python benchmarks/speed.py DATA --minutes none --peers none --growth`
    """
    lengths = [float(text) for text in names(minutes)]
    wanted, given = names(peers), given_environments(env or [])
    if unknown := [name for name in wanted if name not in PEERS]:
        raise typer.BadParameter(f"knows {', '.join(PEERS)}, got {unknown[0]!r}", param_hint="--peers")
    work = (work or platformdirs.user_cache_path("diarize-benchmarks")).absolute()
    found: dict[str, Any] = {"hardware": hardware(), "recordings": [], "errors": {}}
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task("composing", total=None)
        warm = composed(data, WARM_MINUTES, work)
        own = [our_system(text, timeout) for text in names(ours)]
        wanted_peers = {name: given.get(name) for name in wanted}
        systems, found["systems"] = begun(own, wanted_peers, timeout, warm, work, bar)
        plan = [(length, systems, runs) for length in lengths]
        own_running = [system for system in systems if system.ours]
        if growth:
            plan += [
                (length, own_running[:1], 1 if length >= ONCE_FROM_MINUTES else runs)
                for length in GROWTH_MINUTES
                if length not in lengths
            ]
        for length, several, count in plan:
            say(bar, f"composing {length:g} minutes")
            path = composed(data, length, work)
            measured = rounds(several, path, count, work, bar)
            stages = {name: own[-1].stages for name, own in measured.items() if own[-1].stages}
            for system in several if length in lengths else ():
                if system.ours:
                    say(bar, f"{path.stem}, stages: {system.name}")
                    if seconds := scripted(system, [path], work)[0].stages:
                        stages[system.name] = seconds
            found["recordings"].append({"seconds": seconds_of(path), "runs": measured, "stages": stages})
        for system in systems if quality else ():
            say(bar, f"errors: {system.name}")
            found["errors"][system.name] = errors(system, data, work)
    report(found, lengths, wanted, growth)
    if to_json:
        to_json.write_text(json.dumps(found, default=asdict, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if systems else 1)


def report(found: dict[str, Any], lengths: Sequence[float], peers: Sequence[str], growth: bool) -> None:
    """Print the tables."""
    compared = [one for one in found["recordings"] if one["seconds"] / 60 in lengths]
    print(machine_text(found["hardware"]), versions_text(found["systems"]), sep="\n\n")
    if compared:
        print("\nWhole processes; wall time by time of audio is the real-time factor.\n")
        print(times_table(compared, peers))
        print(
            "\nSeconds by stage, of one run. Of ours, wall time added up over threads that run side by side;"
            "\nthe rest is while none was in a stage. Of the peers, what they report; senko's VAD decodes.\n"
        )
        print(stages_table(compared))
    if found["errors"]:
        print(f"\n{CONVENTIONS[0]}, UEM where there is one, Silero VAD, offline.\n")
        print(errors_table(found["errors"]))
    if growth:
        print("\nGrowth, of the first of ours.\n")
        print(growth_table(found["recordings"]))


if __name__ == "__main__":
    app()
