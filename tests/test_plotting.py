"""Pictures: what is drawn is what was found, in the right colours, and nothing else is touched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from pyannote.core import Annotation, Segment

from diarize import ConfigError, Diarization, DiarizeError, Turn
from diarize.plotting import PALETTE, minutes, ranks, timeline, timeline_svg

FOUND = Diarization(
    turns=(
        Turn(0.5, 4.0, "SPEAKER_00"),
        Turn(4.0, 9.0, "SPEAKER_01"),
        Turn(9.5, 11.0, "SPEAKER_00"),
        Turn(11.0, 12.0, "SPEAKER_02"),
    ),
    duration=12.5,
)


def annotation(*turns: tuple[float, float, str]) -> Annotation:
    out = Annotation(uri="recording")
    for track, (start, end, name) in enumerate(turns):
        out[Segment(start, end), track] = name
    return out


# The first found speaker is the second of the reference; SPEAKER_02 is nobody of it.
TRUTH = annotation((0.0, 0.6, "zoe"), (0.6, 4.1, "ann"), (4.0, 9.0, "zoe"), (9.5, 10.9, "ann"))


def bars(ax) -> list[tuple[str, str, float, float]]:
    """Every bar of a panel: the name beside its row, its colour, start and end."""
    names = dict(zip(ax.get_yticks(), [label.get_text() for label in ax.get_yticklabels()], strict=True))
    out = []
    for collection in ax.collections:
        assert isinstance(collection, PolyCollection)
        shades = collection.get_facecolor()
        for i, path in enumerate(collection.get_paths()):
            box = path.get_extents()
            colour = to_hex(shades[i % len(shades)])
            out.append((names[round((box.y0 + box.y1) / 2)], colour, box.x0, box.x1))
    return sorted(out, key=lambda bar: bar[2])


def drawn(ax) -> list[Turn]:
    return [Turn(pytest.approx(start), pytest.approx(end), name) for name, _, start, end in bars(ax)]


def colours(ax) -> dict[str, str]:
    pairs = {(name, colour) for name, colour, _, _ in bars(ax)}
    assert len(pairs) == len(dict(pairs)), "a speaker has one colour"
    return dict(pairs)


def rows(ax) -> list[str]:
    """Names from top to bottom."""
    assert ax.yaxis_inverted()
    return [label.get_text() for label in ax.get_yticklabels()]


def test_one_bar_for_each_turn():
    (ax,) = timeline(FOUND).axes
    assert drawn(ax) == list(FOUND.turns)
    assert rows(ax) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert len(set(colours(ax).values())) == 3
    assert ax.get_xlim() == (0, 12.5)


def test_a_reference_is_drawn_above_in_full():
    above, below, _ = timeline(FOUND, TRUTH).axes
    assert [above.get_title(loc="left"), below.get_title(loc="left")] == ["reference", "hypothesis"]
    assert [(name, start, end) for name, _, start, end in bars(above)] == [
        (name, pytest.approx(s.start), pytest.approx(s.end))
        for s, _, name in TRUTH.itertracks(yield_label=True)
    ]
    assert drawn(below) == list(FOUND.turns)
    assert above.get_xlim() == below.get_xlim()


def test_colours_and_rows_are_matched():
    above, below, _ = timeline(FOUND, TRUTH).axes
    truth, found = colours(above), colours(below)
    assert found["SPEAKER_00"] == truth["ann"]
    assert found["SPEAKER_01"] == truth["zoe"]
    assert found["SPEAKER_02"] not in truth.values()
    assert rows(above) == ["zoe", "ann"]
    assert rows(below) == ["SPEAKER_01", "SPEAKER_00", "SPEAKER_02"]


def test_names_play_no_part_in_the_matching():
    """Both sides call their speakers a and b, the other way round."""
    found = Diarization((Turn(0.0, 5.0, "b"), Turn(5.0, 9.0, "a")), 9.0)
    above, below, _ = timeline(found, annotation((0.0, 5.0, "a"), (5.0, 9.0, "b"))).axes
    truth, hypothesis = colours(above), colours(below)
    assert (hypothesis["b"], hypothesis["a"]) == (truth["a"], truth["b"])


def test_matching_is_one_to_one_and_best_as_a_whole():
    """`y` shares more with `long` than `x` does, and still goes to `short`: 4 + 3 s beat 5 + 0 s."""
    truth = [Turn(0.0, 9.0, "long"), Turn(9.0, 12.0, "short")]
    found = [Turn(0.0, 4.0, "x"), Turn(4.0, 12.0, "y")]
    assert ranks(truth, found) == ({"long": 0, "short": 1}, {"x": 0, "y": 1})
    alone = [Turn(0.0, 4.0, "x"), Turn(4.0, 9.0, "y")]
    assert ranks(truth, alone)[1] == {"x": 2, "y": 0}


def test_more_speakers_than_colours():
    many = tuple(Turn(float(i), i + 1.0, f"SPEAKER_{i:02d}") for i in range(len(PALETTE) + 1))
    (ax,) = timeline(Diarization(many, 10.0)).axes
    assert drawn(ax) == list(many)
    assert [colour for _, colour, _, _ in bars(ax)] == [*PALETTE, PALETTE[0]]


@pytest.mark.parametrize("duration", [0.0, 0.01, 12.5])
@pytest.mark.parametrize(
    "reference", [None, TRUTH, Annotation()], ids=["alone", "reference", "empty reference"]
)
def test_an_empty_diarization_is_drawn_and_says_so(duration, reference):
    empty = Diarization((), duration)
    ax = timeline(empty, reference).axes[0 if reference is None else 1]
    assert bars(ax) == []
    assert [text.get_text() for text in ax.texts] == ["no speech"]
    ElementTree.fromstring(timeline_svg(empty, reference))


def test_a_reference_that_goes_on_is_not_cut():
    *_, ax = timeline(FOUND, annotation((0.0, 20.0, "ann"))).axes
    assert ax.get_xlim() == (0, 20)


@pytest.mark.parametrize(
    ("duration", "labels"),
    [
        (30.0, ["0", "5", "10", "15", "20", "25", "30"]),
        (300.0, ["0:00", "1:00", "2:00", "3:00", "4:00", "5:00"]),
        (7300.0, ["0:00", "15:00", "30:00", "45:00", "1:00:00", "1:15:00", "1:30:00", "1:45:00", "2:00:00"]),
    ],
)
def test_time_is_in_seconds_then_on_the_clock(duration, labels):
    figure = timeline(Diarization((Turn(0.0, 1.0, "a"),), duration), line_s=duration)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    shown = [label.get_text() for label in ax.get_xticklabels()]
    assert [text for text, at in zip(shown, ax.get_xticks(), strict=True) if 0 <= at <= duration] == labels
    assert ax.get_xlabel() == ("seconds" if duration <= 120 else "")


def test_days_have_few_ticks_and_few_lines():
    lines = timeline(Diarization((), 200 * 3600.0)).axes
    assert len(lines) == 25
    (whole,) = timeline(Diarization((), 200 * 3600.0), line_s=1e6).axes
    for ax in (*lines, whole):
        assert 2 <= len(ax.get_xticks()) <= 14


def conversation(seconds: float, seed: int, speakers: int = 4) -> list[Turn]:
    """Turns of a few seconds, some of which overlap."""
    rng = np.random.default_rng(seed)
    turns, at = [], 0.0
    while at < seconds:
        length = float(rng.uniform(0.3, 8))
        turns.append(Turn(at, min(at + length, seconds), f"s{rng.integers(speakers)}", float(rng.uniform())))
        at += length + float(rng.uniform(-1, 2))
    last: dict[str, float] = {}  # a speaker's own turns do not overlap
    return [t for t in turns if t.start >= last.get(t.speaker, 0) and not last.update({t.speaker: t.end})]


def test_a_long_recording_goes_on_in_the_next_line():
    turns = tuple(conversation(3500, 0))
    figure = timeline(Diarization(turns, 3500.0))
    assert [ax.get_xlim() for ax in figure.axes] == [(600 * i, 600 * (i + 1)) for i in range(6)]
    pieces = [(*bar, i) for i, ax in enumerate(figure.axes) for bar in bars(ax)]
    assert all(600 * i - 1e-6 <= start < end <= 600 * (i + 1) + 1e-6 for *_, start, end, i in pieces)
    for name in {turn.speaker for turn in turns}:
        own = [(colour, end - start) for who, colour, start, end, _ in pieces if who == name]
        assert sum(seconds for _, seconds in own) == pytest.approx(
            sum(turn.duration for turn in turns if turn.speaker == name)
        )
        assert len({colour for colour, _ in own}) == 1, "the same colour in every line"


def test_a_line_names_only_who_speaks_in_it():
    turns = (Turn(5.0, 10.0, "ann"), Turn(50.0, 60.0, "zoe"), Turn(115.0, 125.0, "ann"))
    first, second, third = timeline(Diarization(turns, 130.0), line_s=50).axes
    assert [rows(first), rows(second), rows(third)] == [["ann"], ["zoe"], ["ann"]]
    assert colours(third)["ann"] == colours(first)["ann"] != colours(second)["zoe"]


def test_confidence_is_opacity():
    sure = (1.0, 0.75, 0.5, 0.1, None)
    turns = tuple(Turn(float(i), i + 1.0, "a", confidence) for i, confidence in enumerate(sure))
    figure = timeline(Diarization(turns, 5.0))
    (collection,) = figure.axes[0].collections
    opacity = collection.get_facecolor()[:, 3].tolist()
    assert opacity == pytest.approx([1.0, 0.6, 0.2, 0.2, 1.0])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["confidence", ".5 or less", ".75", "1"]
    patches = [patch.get_facecolor()[3] for patch in legend.get_patches()]
    assert patches == pytest.approx([0, 0.2, 0.6, 1.0])
    assert timeline(FOUND).legends == [], "nothing is said of what is not known"


NAMES = ["$x_{1}$", "a\\b $", "line\nbreak\x07", "Zoë Müller", "Ольга", "会议 一号", "यशोदा", "نور", "🎙"]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script(name, tmp_path, caplog):
    """As they are, never a formula; letters without a font are the viewer's in SVG, and said of PNG."""
    found = Diarization((Turn(0.0, 1.0, name), Turn(1.0, 2.0, "x" * 60)), 2.0, uri=name)
    (ax,) = timeline(found, path=tmp_path / "a.png").axes
    shown = " ".join(name.replace("\x07", " ").split())
    assert rows(ax) == [shown, "x" * 27 + "…"]
    assert not any(label.get_parse_math() for label in ax.get_yticklabels())
    lacking = "no font that is installed has" in caplog.text
    svg = timeline_svg(found)
    texts = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    if lacking:
        assert shown in texts
        assert all(ord(letter) > 0x900 for letter in re.search(r"letters (.+?);", caplog.text)[1])
    assert (shown in texts) or f"<!-- {shown} -->" in svg
    if name == "نور":
        assert shown in texts, "its letters are joined by the viewer"


def test_a_file_of_either_kind(tmp_path):
    timeline(FOUND, TRUTH, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text("utf-8") == timeline_svg(FOUND, TRUTH)
    for name in "b.png", "c.PNG":
        timeline(FOUND, TRUTH, tmp_path / name)
    picture = (tmp_path / "b.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert picture == (tmp_path / "c.PNG").read_bytes()
    width, height = (int.from_bytes(picture[i : i + 4], "big") for i in (16, 20))
    assert width == 9 * 150
    assert 300 < height < 900
    with pytest.raises(ConfigError, match=r"a\.gif: a picture's file must end in \.png or \.svg"):
        timeline(FOUND, path=tmp_path / "a.gif")
    with pytest.raises(ConfigError, match="line_s must be seconds > 0, got 0"):
        timeline(FOUND, line_s=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.png", "c.PNG"]


def test_minutes():
    assert [minutes(s) for s in (0, 59.6, 61, 3599, 3600, 36_061)] == [
        "0:00",
        "1:00",
        "1:01",
        "59:59",
        "1:00:00",
        "10:01:01",
    ]


def test_the_svg_is_the_same_bytes_every_time():
    here = timeline_svg(FOUND, TRUTH)
    assert here == timeline_svg(FOUND, TRUTH)
    code = "from test_plotting import *; sys.stdout.buffer.write(timeline_svg(FOUND, TRUTH).encode())"
    elsewhere = run(code)
    assert elsewhere == here
    assert "<dc:date>" not in here
    assert ElementTree.fromstring(here).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_svg_is_legible_on_any_page():
    """The background is opaque white whatever the page's and whatever style the user has chosen."""
    import matplotlib

    night = "#123456"  # SVG leaves out a fill that is black, so not that
    places = ["figure.facecolor", "axes.facecolor", "text.color", "xtick.color", "ytick.color", "grid.color"]
    with matplotlib.rc_context(dict.fromkeys([*places, "axes.labelcolor", "axes.titlecolor"], night)):
        svg = timeline_svg(FOUND, TRUTH) + timeline_svg(Diarization((), 1.0))
    assert re.findall(r"(?:fill|stroke): (#\w+)", svg)[0] == "#ffffff"
    assert night not in svg


def test_no_global_state_is_touched():
    """No pyplot, which pyannote.core may bring itself, and no setting left changed."""
    code = """
import sys
import matplotlib
from diarize import Diarization, Turn
from diarize.plotting import timeline, timeline_svg
before = dict(matplotlib.rcParams)
found = Diarization((Turn(0.0, 1.0, "a"),), 2.0)
timeline(found), timeline_svg(found), found._repr_svg_()
assert dict(matplotlib.rcParams) == before
print("matplotlib.pyplot" in sys.modules)
"""
    assert run(code).strip() == "False"


def test_no_figure_is_left_in_pyplot():
    code = """
from test_plotting import FOUND, TRUTH, timeline, timeline_svg
import matplotlib.pyplot as plt
timeline(FOUND, TRUTH), timeline_svg(FOUND, TRUTH), FOUND._repr_svg_()
print(plt.get_fignums())
"""
    assert run(code).strip() == "[]"


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, diarize.plotting; print({'pyannote', 'pyannote.core', 'matplotlib'} & set(sys.modules))"
    )
    assert run(code).strip() == "set()"


def test_a_result_shows_itself():
    assert FOUND._repr_svg_() == timeline_svg(FOUND)


def test_a_figure_shows_itself_in_a_notebook():
    """Without pyplot, which would tell IPython how."""
    code = """
from IPython.core.formatters import DisplayFormatter
from test_plotting import FOUND, TRUTH, timeline
shown, _ = DisplayFormatter().format(timeline(FOUND, TRUTH))
print(sorted(shown), shown["image/png"][:4] == b"\\x89PNG")
"""
    assert run(code).strip() == "['image/png', 'text/plain'] True"


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in timeline, timeline_svg:
        with pytest.raises(DiarizeError, match=re.escape("pip install 'diarize-campplus[plot]'")):
            draw(FOUND)
    assert FOUND._repr_svg_() is None


def test_the_picture_of_the_readme_is_of_today(real_diarizer, sample_wav):
    """The same names in the same order and as many bars of each colour; fonts may differ by version."""
    from diarize.formats.rttm import read_rttm

    found = real_diarizer(sample_wav)
    fresh = timeline_svg(found, read_rttm(sample_wav.with_suffix(".rttm"))[found.uri])
    stored = (ROOT / "docs" / "sample.svg").read_text("utf-8")
    for what in (r"<!-- (.+) -->", r"fill: (#\w+)"):
        assert Counter(re.findall(what, stored)) == Counter(re.findall(what, fresh)), "docs/make_pictures.py"


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
        # with a backend named, reading the settings does not make matplotlib look for one
        env={
            **os.environ,
            "MPLBACKEND": "agg",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        },
    ).stdout
