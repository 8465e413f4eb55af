"""How often known voices get their names, and how well people are found again across recordings.

    python benchmarks/names.py DATA [--compose TOOL] [--work DIR] [--recordings 40] [--precision f32]

DATA holds `speakers/CORPUS/SPEAKER/UTTERANCE` and `turns/*.rttm`; TOOL is the program that composes
conversations of these (default: DATA/../tools/compose.py). Of every speaker with `HELD_OUT` * 2 utterances
or more the last `HELD_OUT` are kept out of the conversations, to enrol them from. Conversations of 3 minutes
and 2 to 6 speakers have their turns from real ones, rooms and noise by chance; they stay in DIR.

Names: half of a conversation's speakers are enrolled (of those who have something to be enrolled from), and
as many people who are not in it, `HALVES` times by chance, from 2, 5, 10 and 20 s of speech, with `--channel`
coded as `channels.py` does. A speaker that was found is in truth whom the reference has for most of their
time. Of found speakers who are enrolled, and of their time: right name, another's name, no name; of those who
are not: somebody's name. Those who speak for less than 1 s are left out, they have no voice of their own. For
each shift of the threshold, too, and what the best of them would gain over 0 (bootstrap over conversations);
"shared": at the threshold as it is, several found speakers may be one voice.

Links: of the pairs of found speakers in different conversations that are one person (for most of their time),
how many are linked, and of those linked, how many are one person.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from channels import CHANNELS, through
from numpy.typing import NDArray

from diarize import Diarization, Diarizer
from diarize.audio import SAMPLE_RATE, read_audio
from diarize.config import Config
from diarize.enrolment import KnownVoice, enrol, recognise
from diarize.formats.rttm import read_rttm
from diarize.linking import link

HELD_OUT = 4
SECONDS = 180.0
LENGTHS = (2.0, 5.0, 10.0, 20.0)
HALVES = 20
SHIFTS = (-0.2, -0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2)
LEAST_S = 1.0
DRAWS = 2000
Speech = dict[str, list[NDArray[np.float32]]]
KINDS = ("right", "wrong", "missed", "named", "unnamed")
"""Of enrolled ones: the first three; of others: the last two."""


@dataclass(frozen=True)
class Heard:
    """A conversation as it was found, who each speaker is in truth, the seconds they speak."""

    found: Diarization
    truth: dict[str, str]
    seconds: dict[str, float]


def donors_of(speakers: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """The utterances of each speaker for conversations, and those held out, of speakers who have enough."""
    used, held = {}, {}
    for folder in sorted(speakers.glob("*/*")):
        files = sorted(f for f in folder.iterdir() if f.suffix in (".flac", ".wav"))
        if folder.is_dir() and files:
            name = f"{folder.parent.name}-{folder.name}"
            enough = len(files) >= 2 * HELD_OUT
            used[name], held[name] = (files[:-HELD_OUT], files[-HELD_OUT:]) if enough else (files, [])
    return used, {name: files for name, files in held.items() if files}


def stage(used: dict[str, list[Path]], folder: Path) -> Path:
    """A folder a speaker with links to what conversations may be made of."""
    for name, files in used.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in files:
            link_ = folder / name / file.name
            if not link_.exists():
                link_.symlink_to(file.resolve())
    return folder


def compose(data: Path, tool: Path, work: Path, donors: Path, count: int) -> list[Path]:
    """Conversations, made where they are not there yet; those that no donors can fill are passed over."""
    lines = [line.split() for file in sorted((data / "turns").glob("*.rttm")) for line in file.open()]
    where = {
        line.split()[1]: file for file in sorted((data / "turns").glob("*.rttm")) for line in file.open()
    }
    spoken: dict[tuple[str, float], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for fields in lines:
        start = float(fields[3]) // SECONDS * SECONDS
        spoken[fields[1], start][fields[7]] += float(fields[4])
    able = [place for place, by in sorted(spoken.items()) if 2 <= len(by) <= 6 and sum(by.values()) > 60]
    rng = np.random.default_rng(10)
    out = work / "conversations"
    made: list[Path] = []
    for number in rng.permutation(len(able)).tolist():
        uri, start = able[number]
        name = f"{uri}_{start:.0f}"
        snr, rt60 = rng.uniform(10, 25), rng.uniform(0.2, 0.6)
        path = out / f"{name}.flac"
        if not path.exists():
            command = [sys.executable, tool, "--turns", where[uri], "--uri", uri, "--speakers", donors]
            command += ["--out", out, "--name", name, "--start", start, "--seconds", SECONDS]
            command += ["--snr-db", f"{snr:.1f}", "--rt60", f"{rt60:.2f}", "--seed", number]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
            if done.returncode:
                continue
        made.append(path)
        if len(made) == count:
            break
    return made


def heard(diarizer: Diarizer, path: Path) -> Heard:
    """A conversation, diarized without knowing anybody."""
    found = diarizer(path)
    (reference,) = read_rttm(path.with_suffix(".rttm")).values()
    seconds = found.exclusive.speaking_time
    truth = {}
    for name in found.speakers:
        mine = found.annotation.label_timeline(name)
        shared = {
            other: mine.crop(reference.label_timeline(other).support()).duration()
            for other in reference.labels()
        }
        best = max(shared, key=lambda other: shared[other], default=None)
        if best is not None and shared[best] > 0:
            truth[name] = str(best)
    return Heard(found, truth, seconds)


def speech_of(diarizer: Diarizer, held: dict[str, list[Path]], channel: str | None) -> Speech:
    """The speech of each utterance held out, 16 kHz, as it comes through a channel."""
    coded = (lambda samples: through(samples, CHANNELS[channel])) if channel else (lambda samples: samples)
    return {
        name: [diarizer.speech(coded(read_audio(file))) for file in files] for name, files in held.items()
    }


def voices_of(diarizer: Diarizer, held: Speech, length: float, turn: int) -> list[KnownVoice]:
    """Everybody, known by so many seconds of what was held out, begun at another utterance each turn."""
    windows = diarizer.config.windows
    voices = []
    for name, pieces in held.items():
        speech = np.concatenate(pieces[turn % len(pieces) :] + pieces[: turn % len(pieces)])
        if len(speech) >= length * SAMPLE_RATE:
            samples = speech[: round(length * SAMPLE_RATE)]
            step = round(windows.step_s * SAMPLE_RATE)
            voices.append(enrol(name, [samples], diarizer.embedder, windows.length, step))
    return voices


def trials(
    conversations: Sequence[Heard],
    voices: Sequence[Sequence[KnownVoice]],
    threshold: Callable[[float, float], float],
    one_to_one: bool = True,
) -> np.ndarray:
    """How many of each kind, and of how many seconds, by conversation: (n, 2, len(KINDS))."""
    counts = np.zeros((len(conversations), 2, len(KINDS)))
    for number, one in enumerate(conversations):
        rng = np.random.default_rng(number)
        there = sorted(set(one.truth.values()))
        labels = {i: name for i, name in enumerate(one.seconds)}
        embeddings = {i: one.found.embeddings[name] for i, name in labels.items()}
        seconds = {i: one.seconds[name] for i, name in labels.items()}
        for half in range(HALVES):
            all_known = {voice.name: voice for voice in voices[half % len(voices)]}
            mine = [name for name in there if name in all_known]
            others = [name for name in all_known if name not in there]
            many = min(len(mine), -(-len(there) // 2))
            chosen = [*rng.permutation(mine)[:many], *rng.permutation(others)[:many]]
            known = [all_known[str(name)] for name in chosen]
            enrolled = {voice.name for voice in known}
            matches = recognise(embeddings, seconds, known, threshold, one_to_one=one_to_one)
            for i, name in labels.items():
                if one.seconds[name] < LEAST_S or name not in one.truth:
                    continue
                match, truth = matches.get(i), one.truth[name]
                said = match.name if match and match.recognised else None
                if truth in enrolled:
                    kind = 0 if said == truth else 2 if said is None else 1
                else:
                    kind = 4 if said is None else 3
                counts[number, :, kind] += 1, one.seconds[name]
    return counts


def shifted(diarizer: Diarizer, shift: float) -> Callable[[float, float], float]:
    """The threshold, moved."""
    return lambda seconds_a, seconds_b: diarizer.threshold(seconds_a, seconds_b) + shift


def rates(counts: np.ndarray) -> Iterator[float]:
    """Right, wrong, missed of those enrolled; named of the others."""
    enrolled, others = counts[..., :3].sum(-1), counts[..., 3:].sum(-1)
    for kind in range(3):
        yield counts[..., kind] / enrolled
    yield counts[..., 3] / others


def errors(counts: np.ndarray) -> np.ndarray:
    """Everything that is not as it should be, of all."""
    return (counts[..., 1] + counts[..., 2] + counts[..., 3]) / counts.sum(-1)


def show_names(conversations: Sequence[Heard], held: Speech, diarizer: Diarizer) -> None:
    """The tables on names."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(conversations), (DRAWS, len(conversations)))
    for length in LENGTHS:
        voices = [voices_of(diarizer, held, length, turn) for turn in range(HELD_OUT)]
        by_shift = {shift: trials(conversations, voices, shifted(diarizer, shift)) for shift in SHIFTS}
        shared = trials(conversations, voices, diarizer.threshold, one_to_one=False)
        print(
            f"\n{length:g} s of speech enrolled, {min(map(len, voices))} people; in % of speakers (of time)"
        )
        print("shift   right         wrong         missed        unknown named  all errors")
        rows = {f"{shift:+.2f}": counts for shift, counts in by_shift.items()} | {"shared": shared}
        for name, counts in rows.items():
            total = counts.sum(0)
            cells = [f"{100 * a:5.1f} ({100 * b:5.1f})" for a, b in zip(*map(rates, total), strict=True)]
            wrong = [f"{100 * e:.1f}" for e in errors(total)]
            print(f"{name:6} {'  '.join(cells)}  {wrong[0]} ({wrong[1]})")
        base = errors(by_shift[0.0][draws].sum(1))
        for which, what in enumerate(("speakers", "time")):
            best = min(SHIFTS, key=lambda s: errors(by_shift[s].sum(0))[which])
            gains = (base - errors(by_shift[best][draws].sum(1)))[:, which] * 100
            low, high = np.percentile(gains, [2.5, 97.5])
            print(f"best of {what}: {best:+.2f}, gains {gains.mean():.1f} points [{low:.1f}, {high:.1f}]")


def show_links(conversations: Sequence[Heard], diarizer: Diarizer) -> None:
    """The table on links.

    Who was found twice in a conversation is linked once, as two speakers of one are two people: that bounds
    the recall, and is said.
    """
    print("\nlinks: pairs of found speakers of different conversations, those of 1 s of speech and more")
    counts = [
        Counter(one.truth[n] for n in one.truth if one.seconds.get(n, 0.0) >= LEAST_S)
        for one in conversations
    ]
    every = sum(a[who] * b[who] for a, b in combinations(counts, 2) for who in a)
    once = sum(who in b for a, b in combinations(counts, 2) for who in a)
    twice = sum(n - 1 for found in counts for n in found.values())
    print(f"recall is at most {once / every:.3f}: {twice} were found twice")
    print("shift   pairs of one person   found   right   people found  in truth")
    for shift in SHIFTS:
        linked = link([one.found for one in conversations], shifted(diarizer, shift))
        person = {(p.uri, p.speaker): who.name for who in linked.people for p in who.places}
        rows = [
            (n, person[one.found.uri, name], one.truth[name])
            for n, one in enumerate(conversations)
            for name in one.found.speakers
            if name in one.truth and one.seconds.get(name, 0.0) >= LEAST_S
        ]
        where, said, truth = (np.array(column) for column in zip(*rows, strict=True))
        apart = np.triu(where[:, None] != where[None, :])
        same = (truth[:, None] == truth[None, :]) & apart
        linked_ = (said[:, None] == said[None, :]) & apart
        both = int((same & linked_).sum())
        print(
            f"{shift:+.2f}   {int(same.sum()):6d}   recall {both / same.sum():.3f}   "
            f"precision {both / max(1, int(linked_.sum())):.3f}   {len(set(said))}  {len(set(truth))}"
        )


def main() -> None:
    """Measure the folder named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--compose", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--channel", choices=CHANNELS, action="append", default=[], help="of enrolments, too")
    asked = parser.parse_args()
    tool = asked.compose or asked.data.parent / "tools" / "compose.py"
    used, held = donors_of(asked.data / "speakers")
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        paths = compose(asked.data, tool, work, stage(used, work / "donors"), asked.recordings)
        diarizer = Diarizer(Config(precision=asked.precision))
        conversations = [heard(diarizer, path) for path in paths]
    count = sum(len(one.found.speakers) for one in conversations)
    people = {who for one in conversations for who in one.truth.values()}
    print(
        f"{len(paths)} conversations of {SECONDS:.0f} s, {count} speakers found, {len(people)} people, "
        f"{len(held)} to be enrolled; {diarizer.config.model}, {asked.precision}, Silero VAD, offline"
    )
    for channel in (None, *asked.channel):
        print(f"\nenrolled through {channel or 'no channel'}")
        show_names(conversations, speech_of(diarizer, held, channel), diarizer)
    show_links(conversations, diarizer)


if __name__ == "__main__":
    main()
