"""From which score are two pieces of speech one speaker: error rates and thresholds, measured.

    python benchmarks/verification.py SPEAKERS_DIR [--model NAME] [--precision f32] [--at COSINE] [--json]

SPEAKERS_DIR holds corpora, a corpus its speakers' folders, a speaker's folder utterances. Pieces are
non-overlapping windows of 1.5 s and of 3 s inside the speech regions of our VAD, at most `--windows` of
them spread over an utterance, and whole utterances with all their samples, as `Diarizer.verify` takes
them; "1.5/whole" compares the one with the other. An embedding is computed per piece, nothing is cached.

Targets are pieces of different utterances of a speaker ("across"); of speakers with a single utterance,
different windows of it, counted apart ("within"). Impostors are two speakers of one corpus, so that a
difference between recordings is not taken for one between voices. Every speaker weighs the same: their
target trials sum to 1, and so do the impostor trials they take part in. The interval of the threshold is
the middle 95 % of bootstrap draws over all speakers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import calibration, models, verification
from diarize.audio import SAMPLE_RATE, read_audio
from diarize.config import Config
from diarize.engine import open_engine
from diarize.errors import DiarizeError
from diarize.stages.embedding import CAMPPlusEmbedder
from diarize.stages.regions import Regions
from diarize.stages.vad import SileroVad, Vad

MODELS = ("campplus-zh-en", "campplus-zh-cn")
WHOLE = 0.0
KINDS = {"1.5": (1.5, 1.5), "3": (3.0, 3.0), "1.5/whole": (1.5, WHOLE), "whole": (WHOLE, WHOLE)}
DRAWS = 1000
SEED = 0
P_TARGET = 0.01  # of minDCF; both costs are 1


@dataclass(frozen=True)
class Utterance:
    """A recording and who speaks in it; corpus and speaker are numbered over the whole folder."""

    path: Path
    corpus: int
    speaker: int


@dataclass(frozen=True)
class Pieces:
    """Pieces of one length: (n, E) embeddings, and seconds, utterance, speaker and corpus of each, (n,)."""

    rows: NDArray[np.float32]
    seconds: NDArray[np.float64]
    utterance: NDArray[np.int64]
    speaker: NDArray[np.int64]
    corpus: NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """Pairs of pieces, (n,) each: `a` and `b` are speakers, the same one in a target."""

    score: NDArray[np.float64]
    seconds: NDArray[np.float64]  # the shape is (n, 2)
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    corpus: NDArray[np.int64]
    within: NDArray[np.bool_]  # both pieces are of one utterance

    def __getitem__(self, chosen: NDArray[Any]) -> Trials:
        return Trials(*(getattr(self, field.name)[chosen] for field in fields(self)))


# Pieces


def find(folder: Path) -> tuple[list[Utterance], list[str]]:
    """Every utterance below the folder, and the names of the corpora."""
    corpora = sorted(path.name for path in folder.iterdir() if path.is_dir())
    speakers = [s for corpus in corpora for s in sorted((folder / corpus).iterdir()) if s.is_dir()]
    found = [
        Utterance(path, corpora.index(speaker.parent.name), number)
        for number, speaker in enumerate(speakers)
        for path in sorted(speaker.iterdir())
        if path.is_file()
    ]
    return found, corpora


def regions(samples: NDArray[np.float32], network: SileroVad) -> list[tuple[int, int]]:
    """The speech regions of the default configuration, in samples."""
    vad, stage = Vad(network), Regions(Config().vad)
    found = stage.push(vad.push(samples)) + stage.push(vad.finish()) + stage.finish(len(samples))
    return [(region.start, region.end) for region in found if region.closed]


def windows(speech: Sequence[tuple[int, int]], seconds: float, most: int) -> list[tuple[int, int]]:
    """Whole windows laid end to end from the start of each region; at most `most`, evenly chosen."""
    length = round(seconds * SAMPLE_RATE)
    found = [
        (left, left + length) for start, end in speech for left in range(start, end - length + 1, length)
    ]
    if len(found) <= most:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]


def embed(utterances: list[Utterance], embedder: CAMPPlusEmbedder, most: int) -> dict[float, Pieces]:
    """The pieces of every length."""
    network = SileroVad()
    rows: dict[float, list[NDArray[np.float32]]] = {1.5: [], 3.0: [], WHOLE: []}
    of: dict[float, list[tuple[float, int]]] = {seconds: [] for seconds in rows}
    for number, utterance in enumerate(utterances):
        samples = read_audio(utterance.path)
        speech = regions(samples, network)
        for seconds in (1.5, 3.0):
            cut = [samples[left:right] for left, right in windows(speech, seconds, most)]
            if cut:
                rows[seconds].append(embedder(cut))
                of[seconds] += [(seconds, number)] * len(cut)
        whole = verification.embed(embedder, samples, Config().windows.length, str(utterance.path))
        rows[WHOLE].append(whole[None])
        of[WHOLE].append((len(samples) / SAMPLE_RATE, number))
        show(f"{number + 1} of {len(utterances)} utterances")
    show("")
    pieces = {}
    for seconds, parts in rows.items():
        index = np.array([number for _, number in of[seconds]])
        pieces[seconds] = Pieces(
            np.concatenate(parts),
            np.array([length for length, _ in of[seconds]]),
            index,
            np.array([utterances[i].speaker for i in index]),
            np.array([utterances[i].corpus for i in index]),
        )
    return pieces


# Trials


def pair(left: Pieces, right: Pieces, single: NDArray[np.bool_]) -> Trials:
    """All trials between two lengths; `single` says which speakers have one utterance only."""
    matrix = left.rows.astype(np.float64) @ right.rows.T.astype(np.float64)
    same_utterance = left.utterance[:, None] == right.utterance
    wanted = (left.corpus[:, None] == right.corpus) & (~same_utterance | single[left.speaker][:, None])
    if left is right:
        wanted = np.triu(wanted, 1)
    else:  # a window and the whole it was cut from share their samples
        wanted &= ~same_utterance
    i, j = np.nonzero(wanted)
    return Trials(
        matrix[i, j],
        np.stack([left.seconds[i], right.seconds[j]], 1),
        left.speaker[i],
        right.speaker[j],
        left.corpus[i],
        same_utterance[i, j],
    )


def weigh(trials: Trials) -> NDArray[np.float64]:
    """The weight of each trial (n,), such that every speaker weighs the same."""
    low, high = np.minimum(trials.a, trials.b), np.maximum(trials.a, trials.b)
    pairs, of, count = np.unique(np.stack([low, high], 1), axis=0, return_inverse=True, return_counts=True)
    of = of.reshape(-1)
    others = pairs[:, 0] != pairs[:, 1]
    partners = np.bincount(pairs[others].reshape(-1), minlength=int(pairs.max()) + 1)
    share = np.where(others, 1 / np.maximum(1, partners[pairs[:, 0]]), 1.0)
    weights: NDArray[np.float64] = (share / count)[of]
    return weights


# Figures


class Curve:
    """Weighted false accepts and rejects of trials, over every score as a threshold."""

    def __init__(self, trials: Trials) -> None:
        order = np.argsort(trials.score, kind="stable")
        self.trials = trials[order]
        self.weights = weigh(self.trials)
        self.target = self.trials.a == self.trials.b
        # The first of equal scores: what lies before it is rejected, the rest accepted.
        self.first = np.searchsorted(self.trials.score, self.trials.score)

    def rates(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of impostors accepted and of targets rejected with each score as the threshold."""
        targets = np.concatenate([[0.0], np.cumsum(np.where(self.target, weights, 0))])
        impostors = np.concatenate([[0.0], np.cumsum(np.where(self.target, 0, weights))])
        accepted = 1 - impostors[:-1][self.first] / impostors[-1]
        return accepted, targets[:-1][self.first] / targets[-1]

    def equal(self, weights: NDArray[np.float64]) -> tuple[float, float]:
        """Equal error rate, and its threshold: the middle of the gap where there is one."""
        accepted, rejected = self.rates(weights)
        score = self.trials.score
        below = int(np.searchsorted(rejected - accepted, 0, side="left"))  # it never falls with the score
        up_to = int(np.searchsorted(rejected - accepted, 0, side="right"))
        first, last = max(0, below - 1), max(0, up_to - 1)
        near = min(
            (abs(rejected[k] - accepted[k]), (rejected[k] + accepted[k]) / 2)
            for k in {first, last, min(up_to, len(score) - 1)}
        )
        return float(near[1]), float((score[first] + score[last]) / 2)

    def cost(self) -> float:
        """The least normalised detection cost (minDCF)."""
        accepted, rejected = self.rates(self.weights)
        return float(np.min(rejected + accepted * (1 - P_TARGET) / P_TARGET).clip(max=1.0))

    def at(self, thresholds: NDArray[np.float64]) -> tuple[float, float]:
        """False accepts and false rejects with a threshold (n,) for each trial."""
        same, weights = self.trials.score >= thresholds, self.weights
        accepts = np.average(same[~self.target], weights=weights[~self.target])
        rejects = np.average(~same[self.target], weights=weights[self.target])
        return float(accepts), float(rejects)

    def interval(self, num_speakers: int) -> tuple[float, float]:
        """The middle 95 % of the equal-error threshold over draws of speakers."""
        random = np.random.default_rng(SEED)
        drawn = []
        for _ in range(DRAWS):
            times = np.bincount(random.integers(0, num_speakers, num_speakers), minlength=num_speakers)
            weights = self.weights * times[self.trials.a]
            weights[~self.target] *= times[self.trials.b[~self.target]]
            if weights[self.target].any() and weights[~self.target].any():
                drawn.append(self.equal(weights)[1])
        low, high = np.quantile(drawn, [0.025, 0.975])
        return float(low), float(high)


def measure(model: str, trials: Trials, num_speakers: int, at: Sequence[float], draw: bool) -> dict[str, Any]:
    """The figures of one set of trials."""
    curve = Curve(trials)
    ours = np.array([calibration.threshold(model, a, b) for a, b in curve.trials.seconds.tolist()])
    eer, threshold = curve.equal(curve.weights)
    accepts, rejects = curve.at(ours)
    figures: dict[str, Any] = {
        "target_speakers": len(np.unique(curve.trials.a[curve.target])),
        "impostor_speakers": len(
            np.unique(np.stack([curve.trials.a, curve.trials.b])[:, ~curve.target].reshape(-1))
        ),
        "targets": int(curve.target.sum()),
        "impostors": int((~curve.target).sum()),
        "eer": eer,
        "threshold": threshold,
        "interval": curve.interval(num_speakers) if draw else None,
        "min_dcf": curve.cost(),
        "default": [float(ours.min()), float(ours.max())],
        "accepts": accepts,
        "rejects": rejects,
    }
    for value in at:
        figures[f"accepts_at_{value:g}"], figures[f"rejects_at_{value:g}"] = curve.at(
            np.full(len(ours), value)
        )
    return figures


def report(
    folder: Path, model: str, precision: str, most: int, at: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """The rows of the table of one model: pooled, then by corpus."""
    utterances, corpora = find(folder)
    if not utterances:
        raise SystemExit(f"{folder} must hold corpus/speaker/utterance files, found none")
    engine = open_engine(models.resolve(model), precision=precision)
    pieces = embed(utterances, CAMPPlusEmbedder(engine), most)
    count = np.bincount([utterance.speaker for utterance in utterances])
    for kind, (left, right) in KINDS.items():
        everything = pair(pieces[left], pieces[right], count == 1)
        impostor = everything.a != everything.b
        for targets in ("across", "within"):
            chosen = impostor | (everything.within == (targets == "within"))
            for corpus in (None, *range(len(corpora))):
                trials = everything[chosen if corpus is None else chosen & (everything.corpus == corpus)]
                target = trials.a == trials.b
                if not target.any() or target.all():
                    continue
                yield {
                    "model": model,
                    "seconds": kind,
                    "median_s": [float(np.median(pieces[s].seconds)) for s in (left, right)],
                    "targets_of": targets,
                    "corpus": "all" if corpus is None else corpora[corpus],
                    **measure(model, trials, len(count), at, corpus is None),
                }


def line(row: dict[str, Any]) -> str:
    """A row of the table, error rates in per cent."""
    low, high = row["interval"] or (float("nan"), float("nan"))
    interval = f"{low:.2f}-{high:.2f}" if row["interval"] else ""
    default = "-".join(dict.fromkeys(f"{value:.2f}" for value in row["default"]))
    others = "".join(
        f"  {name.removeprefix('accepts_')} {100 * value:.1f}/{100 * row['rejects_' + name[8:]]:.1f}"
        for name, value in row.items()
        if name.startswith("accepts_at_")
    )
    return (
        f"{row['seconds']:<10}{row['targets_of']:<8}{row['corpus']:<24}"
        f"{row['target_speakers']:>4}{row['targets']:>8}{row['impostors']:>8}{100 * row['eer']:>7.1f}"
        f"{row['threshold']:>7.3f} {interval:<11}{row['min_dcf']:>6.2f}  {default:<10}"
        f"{100 * row['accepts']:>6.1f}{100 * row['rejects']:>6.1f}{others}"
    )


def show(text: str) -> None:
    """Progress, for a person at a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speakers", metavar="SPEAKERS_DIR", type=Path)
    parser.add_argument("--model", action="append", choices=MODELS, help="by default both")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"), help="of the network (f32)")
    parser.add_argument("--at", type=float, action="append", default=[], help="one more threshold to judge")
    parser.add_argument("--windows", type=int, default=6, help="windows an utterance at most (6)")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    options = parser.parse_args()
    if not options.speakers.is_dir():
        parser.error(f"{options.speakers} must be a folder of corpora, got none")
    try:
        for model in options.model or MODELS:
            if not options.json:
                print(f"\n{model}: errors in %, FA/FR at the default threshold")
                print(
                    f"{'seconds':<10}{'targets':<8}{'corpus':<24}{'spk':>4}{'targets':>8}{'impost.':>8}{'EER':>7}"
                    f"{'at':>7} {'95 %':<11}{'mDCF':>6}  {'default':<10}{'FA':>6}{'FR':>6}"
                )
            for row in report(options.speakers, model, options.precision, options.windows, options.at):
                print(json.dumps(row) if options.json else line(row), flush=True)
    except DiarizeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
