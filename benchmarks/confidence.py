"""How right turns are of which the diarizer says how sure it is: `Turn.confidence` against references.

    python benchmarks/confidence.py REFERENCES RECORDINGS [REFERENCES RECORDINGS ...]

Folders of NAME.rttm (NAME.uem) and NAME.flac, pairs of them. A turn is right if for at least half of it the
reference speaker speaks whom its speaker is mapped to (the mapping of the DER, collar 0); turns that lie for
more than half outside the UEM are left out. Prints how many are right for each range of confidence, and what
logistic regression over all recordings would make of the evidence, judged by leaving recordings out. Needs
scikit-learn and the extra `score`.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from diarize import Diarizer, scoring
from diarize.cli.score_stream import found_in
from diarize.confidence import confidence
from diarize.streaming_score import Recording

RANGES = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0001)


def judged(diarizer: Diarizer, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """The evidence (m, 3) of a recording's turns, and whether each is right, (m,)."""
    from pyannote.core import Annotation, Segment, Timeline

    with recording.opened() as (rate, pieces), diarizer.stream(sample_rate=rate) as stream:
        for piece in pieces:
            stream.push(piece)
        stream.finish()
    found = stream.settled.kept(stream.duration, stream.uri)
    hypothesis = Annotation()
    segments = [Segment(span.start / 16_000, span.end / 16_000) for span in found.spans]
    for track, (segment, span) in enumerate(zip(segments, found.spans, strict=True)):
        hypothesis[segment, track] = span.label
    reference = recording.reference
    scored = recording.uem or scoring.scored_part(reference, hypothesis)
    mapped = scoring.mapping(reference, hypothesis, uem=scored)
    kept, right = [], []
    for number, (segment, span) in enumerate(zip(segments, found.spans, strict=True)):
        if Timeline([segment]).crop(scored).duration() < segment.duration / 2:
            continue
        theirs = mapped.get(span.label)
        said_s = 0.0
        if theirs is not None:
            said_s = reference.label_timeline(theirs).support().crop(segment).duration()
        kept.append(number)
        right.append(said_s >= segment.duration / 2)
    return found.evidence[kept], np.array(right, bool)


def show(name: str, sure: np.ndarray, right: np.ndarray) -> None:
    """A line for each range of confidence."""
    print(f"\n{name}: {len(right)} turns, {right.mean():.1%} right")
    for low, high in pairwise(RANGES):
        here = (sure >= low) & (sure < high)
        if here.any():
            print(
                f"  {low:.2f} to {min(high, 1):.2f}  {here.sum():5d} turns"
                f"  said {sure[here].mean():.3f}  right {right[here].mean():.3f}"
            )


def main() -> None:
    """Measure the folders named on the command line."""
    folders = [Path(name) for name in sys.argv[1:]]
    if not folders or len(folders) % 2:
        sys.exit(__doc__)
    diarizer = Diarizer()
    every, truth, group = [], [], []
    for references, recordings in zip(folders[::2], folders[1::2], strict=True):
        first = len(every)
        for recording in found_in(references, recordings, None, []):
            if recording.reference.get_timeline().support().duration() < scoring.MIN_SPEECH_S:
                continue
            evidence, right = judged(diarizer, recording)
            every.append(evidence)
            truth.append(right)
            group += [len(every)] * len(right)
        evidence, right = np.concatenate(every[first:]), np.concatenate(truth[first:])
        show(str(references), np.array(confidence(diarizer.config.model, evidence), float), right)
    evidence, right, groups = np.concatenate(every), np.concatenate(truth), np.array(group)
    said = np.array(confidence(diarizer.config.model, evidence), float)
    show("all", said, right)
    model = LogisticRegression(C=10, max_iter=2000)
    unseen = cross_val_predict(
        model, evidence, right, groups=groups, cv=GroupKFold(10), method="predict_proba"
    )[:, 1]
    show("fitted, each recording by a fit on others", unseen, right)
    base = np.full(len(right), right.mean())
    for name, sure in (("as it is", said), ("fitted, on others", unseen), ("one number for all", base)):
        print(f"{name}: log loss {log_loss(right, sure):.3f}, ROC area {roc_auc_score(right, sure):.3f}")
    model.fit(evidence, right)
    print("fitted on all:", model.intercept_.round(2), model.coef_.round(2))


if __name__ == "__main__":
    main()
