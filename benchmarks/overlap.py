"""People who speak at once: how much is found, how much of what is claimed is true, what it does to the DER.

    python benchmarks/overlap.py REFERENCES RECORDINGS [REFERENCES RECORDINGS ...] [--match GLOB]

Folders of NAME.rttm (NAME.uem) and NAME.flac, pairs of them. Every recording is diarized once, offline, with
the defaults; its exclusive turns are what there is without a second speaker. Prints for each pair of folders:
DER (collar 0, overlap scored) exclusive and with second speakers, the difference and its paired bootstrap
interval over recordings; of the reference's overlapped speech the share that is claimed, of what is claimed
the share that is overlapped, and of that the share with the right second speaker. Needs the extra `score`.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from diarize import Diarizer, scoring
from diarize.cli.score_stream import found_in
from diarize.diagnosis import parts
from diarize.streaming_score import Recording

DRAWS = 4000


def seconds_of_two(annotation, scored):
    """Where two at least speak, as a timeline, within what is scored."""
    return annotation.get_overlap().crop(scored)


def measured(diarizer: Diarizer, recording: Recording) -> list[float]:
    """Seconds: speech, errors exclusive, errors; overlapped, claimed, both; of both with confusion."""
    with recording.opened() as (rate, pieces), diarizer.stream(sample_rate=rate) as stream:
        for piece in pieces:
            stream.push(piece)
        stream.finish()
    found = stream.result()
    reference, hypothesis = recording.reference, found.annotation
    scores = [
        scoring.score(reference, one, uem=recording.uem) for one in (found.exclusive.annotation, hypothesis)
    ]
    scored = recording.uem or scoring.scored_part(reference, hypothesis)
    truth, claimed = (seconds_of_two(one, scored) for one in (reference, hypothesis))
    both = truth.crop(claimed.support()) if claimed else claimed
    errors = [one.miss_s + one.false_alarm_s + one.confusion_s for one in scores]
    wrong = parts(reference, hypothesis, recording.uem).second_speaker_s
    times = [one.support().duration() for one in (truth, claimed, both)]
    return [scores[0].total_s, *errors, *times, wrong]


def main() -> None:
    """Measure each pair of folders."""
    arguments = sys.argv[1:]
    glob = "*"
    if "--match" in arguments:
        at = arguments.index("--match")
        glob = arguments[at + 1]
        del arguments[at : at + 2]
    diarizer = Diarizer()
    rng = np.random.default_rng(0)
    for references, audio in zip(arguments[::2], arguments[1::2], strict=True):
        recordings = found_in(Path(references), Path(audio), None, [])
        rows = np.array([measured(diarizer, one) for one in recordings if fnmatch(one.name, glob)])
        total, alone, with_second, truth, claimed, both, wrong = rows.sum(0)
        draws = rows[rng.integers(0, len(rows), (DRAWS, len(rows)))].sum(1)
        low, high = np.percentile(100 * (draws[:, 2] - draws[:, 1]) / draws[:, 0], [2.5, 97.5])
        print(f"{audio}: {len(rows)} recordings, {100 * truth / total:.1f} % of the speech is two at once")
        print(
            f"  DER {100 * alone / total:.2f} exclusive, {100 * with_second / total:.2f} with a second: "
            f"{100 * (with_second - alone) / total:.2f} [{low:.2f}, {high:.2f}]"
        )
        found, true, right = both / max(truth, 1e-9), both / max(claimed, 1e-9), 1 - wrong / max(both, 1e-9)
        print(f"  found {100 * found:.0f} % of it; {100 * true:.0f} % of what is claimed is true")
        print(f"  of that {100 * right:.0f} % with the right speakers")


if __name__ == "__main__":
    main()
