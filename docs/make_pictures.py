"""Make the picture of the README: python docs/make_pictures.py"""

from __future__ import annotations

from pathlib import Path

from diarize import Diarizer, models
from diarize.formats.rttm import read_rttm
from diarize.plotting import timeline_svg


def main() -> None:
    recording, truth = models.sample()
    (reference,) = read_rttm(truth).values()
    svg = timeline_svg(Diarizer(device="cpu")(recording), reference)
    Path(__file__).with_name("sample.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
