"""Make the picture of the README again: ``python docs/make_pictures.py`` writes ``docs/sample.svg``.

The sample conversation with default settings on the CPU, its reference above. The same code, weights and
matplotlib give the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from diarize import Diarizer, models
from diarize.formats.rttm import read_rttm
from diarize.plotting import timeline_svg


def main() -> None:
    """Diarize the sample, draw it, write the file."""
    recording, truth = models.sample()
    diarization = Diarizer(device="cpu")(recording)
    picture = timeline_svg(diarization, read_rttm(truth)[diarization.uri])
    Path(__file__).with_name("sample.svg").write_text(picture, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
