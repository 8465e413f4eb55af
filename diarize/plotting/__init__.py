"""Pictures, as PNG and SVG: who spoke when, and why.

timeline(meeting, reference)    a bar a turn, the reference above, and where the two differ
similarity(meeting)             every window's score with every other's, ordered by speaker
count_diagnosis(meeting)        why so many speakers, and what one fewer or one more would do

Each gives a matplotlib figure, which a notebook shows by itself, and writes a file where it is given a path.
Needs matplotlib (``pip install 'diarize-campplus[plot]'``). No window is opened, and `pyplot` with its list
of figures and its current axes is never touched.
"""

from diarize.plotting.counts import count_diagnosis
from diarize.plotting.matching import ranks, speakers_of, turns_of
from diarize.plotting.similarity import similarity
from diarize.plotting.style import PALETTE, TRACK, minutes
from diarize.plotting.timeline import timeline, timeline_svg

__all__ = [
    "PALETTE",
    "TRACK",
    "count_diagnosis",
    "minutes",
    "ranks",
    "similarity",
    "speakers_of",
    "timeline",
    "timeline_svg",
    "turns_of",
]
