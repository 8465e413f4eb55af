"""From which score are two pieces of speech one speaker, and how sure is that: error rates, measured.

    python benchmarks/verification.py SPEAKERS_DIR [--model NAME] [--precision f32] [--channels]
        [--at COSINE] [--json]

SPEAKERS_DIR holds corpora, a corpus its speakers' folders, a speaker's folder utterances. Pieces are
non-overlapping windows of .5 to 3 s inside the speech regions of our VAD, at most `--windows` of them
spread over an utterance, and whole utterances with all their samples, as `Diarizer.verify` takes them;
"1.5/whole" compares the one with the other. An embedding is computed per piece, nothing is cached.

Targets are pieces of different utterances of a speaker ("across"); of speakers with a single utterance,
different windows of it, counted apart ("within"). Impostors are two speakers of one corpus, so that a
difference between recordings is not taken for one between voices. Every speaker weighs the same: their
target trials sum to 1, and so do the impostor trials they take part in. The interval of the threshold is
the middle 95 % of bootstrap draws over all speakers.

Cllr, in bits, is that of the package's calibration; "own" that of a slope and a zero fitted to the same
kind of trials of other speakers; "min" what no calibration removes. `--channels` codes one side of the
trials, then both (`channels.py`; simulated).
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
from channels import CHANNELS, Channel, through
from numpy.typing import NDArray

from diarize import calibration, models, verification
from diarize.audio import SAMPLE_RATE, read_audio
from diarize.config import Config
from diarize.engine import open_engine
from diarize.errors import DiarizeError
from diarize.stages.embedding import CAMPPlusEmbedder, repeat
from diarize.stages.regions import Regions
from diarize.stages.vad import SileroVad, Vad
from diarize.trials import Curve, cllr, left_out, min_cllr, regress

MODELS = ("campplus-zh-en", "campplus-zh-cn")
WHOLE = 0.0
SHORT = (0.5, 1.0, 1.5, 3.0)
KINDS = {f"{seconds:g}": (seconds, seconds) for seconds in SHORT}
KINDS |= {"1.5/whole": (1.5, WHOLE), "whole": (WHOLE, WHOLE)}
CODED = {"1.5": (1.5, 1.5), "3": (3.0, 3.0), "whole": (WHOLE, WHOLE)}
DRAWS = 1000
SEED = 0


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


def embed(
    utterances: list[Utterance], embedder: CAMPPlusEmbedder, most: int, channel: Channel | None = None
) -> dict[float, Pieces]:
    """The pieces of every length, of utterances that came through a channel."""
    network, length = SileroVad(), Config().windows.length
    rows: dict[float, list[NDArray[np.float32]]] = {
        seconds: [] for seconds in ((1.5, 3.0) if channel else SHORT) + (WHOLE,)
    }
    of: dict[float, list[tuple[float, int]]] = {seconds: [] for seconds in rows}
    for number, utterance in enumerate(utterances):
        samples = read_audio(utterance.path)
        samples = through(samples, channel) if channel else samples
        speech = regions(samples, network)
        for seconds in list(rows)[:-1]:
            cut = [repeat(samples[left:right], length) for left, right in windows(speech, seconds, most)]
            if cut:
                rows[seconds].append(embedder(cut))
                of[seconds] += [(seconds, number)] * len(cut)
        whole = verification.embed(embedder, samples, length, str(utterance.path))
        rows[WHOLE].append(whole[None])
        of[WHOLE].append((sum(end - start for start, end in speech) / SAMPLE_RATE, number))
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


class Judged(Curve):
    """The curve of weighted trials."""

    def __init__(self, trials: Trials) -> None:
        super().__init__(trials.score, trials.a == trials.b, weigh(trials))
        self.trials = trials[self.order]

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


def own(curve: Judged, llr: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-likelihood ratios (n,) by a slope and a zero of these trials' own, fitted to other speakers."""
    features = np.stack([curve.score, np.ones(len(curve.score))], 1)

    def fit(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        parts = features[chosen], curve.target[chosen], llr[chosen], curve.weights[chosen]
        return regress(*parts)

    return left_out(curve.trials.a, curve.trials.b, fit, lambda found, chosen: features[chosen] @ found)


def measure(model: str, trials: Trials, num_speakers: int, at: Sequence[float], draw: bool) -> dict[str, Any]:
    """The figures of one set of trials."""
    curve = Judged(trials)
    ours = np.array([calibration.threshold(model, a, b) for a, b in curve.trials.seconds.tolist()])
    llr = calibration.slope(model) * (curve.score - ours)
    eer, threshold = curve.equal()
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
        "cllr": cllr(llr, curve.target, curve.weights),
        "left_out": cllr(own(curve, llr), curve.target, curve.weights) if draw else None,
        "min_cllr": min_cllr(curve.score, curve.target, curve.weights),
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
    folder: Path, model: str, precision: str, most: int, at: Sequence[float], channels: bool
) -> Iterator[dict[str, Any]]:
    """The rows of the table of one model: pooled, then by corpus; then across channels."""
    utterances, corpora = find(folder)
    if not utterances:
        raise SystemExit(f"{folder} must hold corpus/speaker/utterance files, found none")
    embedder = CAMPPlusEmbedder(open_engine(models.resolve(model), precision=precision))
    pieces = embed(utterances, embedder, most)
    count = np.bincount([utterance.speaker for utterance in utterances])

    def row(name: str, trials: Trials, left: Pieces, right: Pieces, within: bool, of: str) -> dict[str, Any]:
        return {
            "model": model,
            "seconds": name,
            "median_s": [float(np.median(side.seconds)) for side in (left, right)],
            "targets_of": "within" if within else "across",
            "corpus": of,
            **measure(model, trials, len(count), at, not within and of not in corpora),
        }

    for kind, (a, b) in KINDS.items():
        left, right = pieces[a], pieces[b]
        everything = pair(left, right, count == 1)
        impostor = everything.a != everything.b
        for within in (False, True):
            chosen = everything[impostor | (everything.within == within)]
            if (chosen.a == chosen.b).any():
                yield row(kind, chosen, left, right, within, "all")
            for corpus in range(len(corpora)):
                trials = chosen[chosen.corpus == corpus]
                target = trials.a == trials.b
                if target.any() and not target.all():
                    yield row(kind, trials, left, right, within, corpora[corpus])
    for name, channel in CHANNELS.items() if channels else ():
        coded = embed(utterances, embedder, most, channel)
        for kind, (a, b) in CODED.items():
            for left, of in ((pieces[a], "clean"), (coded[a], name)):
                trials = pair(left, coded[b], count == 1)
                trials = trials[~trials.within]
                yield row(kind, trials, left, coded[b], False, f"{of}, {name}")


def line(row: dict[str, Any]) -> str:
    """A row of the table, error rates in per cent."""
    low, high = row["interval"] or (float("nan"), float("nan"))
    left = "" if row["left_out"] is None else f"{row['left_out']:.3f}"
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
        f"{row['threshold']:>7.3f} {interval:<11}{row['min_dcf']:>6.2f}"
        f"{row['cllr']:>7.3f}{left:>7}{row['min_cllr']:>7.3f}  {default:<10}"
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
    parser.add_argument("--channels", action="store_true", help="also through codecs, simulated")
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
                    f"{'at':>7} {'95 %':<11}{'mDCF':>6}{'Cllr':>7}{'own':>7}{'min':>7}  {'default':<10}"
                    f"{'FA':>6}{'FR':>6}"
                )
            for row in report(
                options.speakers, model, options.precision, options.windows, options.at, options.channels
            ):
                print(json.dumps(row) if options.json else line(row), flush=True)
    except DiarizeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
