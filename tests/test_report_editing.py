"""The report page in a real browser: speakers and turns are changed."""

from __future__ import annotations

import pytest
from report_page import (
    SECONDS,
    TURNS,
    drag,
    exported,
    px_per_s,
    rename,
    rows,
    spans,
    speaker_row,
    turn,
    until,
)

from diarize.formats.registry import FORMATS, format_turns
from diarize.result import Turn

pytest_plugins = "report_page_fixtures"


def test_a_rename_reaches_every_export(report, visit_report, tmp_path):
    page = visit_report(report(audio=False), ready="shown")
    rename(page, "SPEAKER_00", "Anna")
    turns = [Turn(t.start, t.end, t.speaker.replace("SPEAKER_00", "Anna"), t.confidence) for t in TURNS]
    for kind in ("rttm", "json", "csv", "srt"):
        assert exported(page, kind) == format_turns(turns, "talk", kind, duration=SECONDS)
    assert "SPEAKER_00" not in page.inner_text("body")
    (tmp_path / "talk.rttm").write_text(exported(page, "rttm"))
    (back,) = FORMATS["rttm"].read(tmp_path / "talk.rttm")
    assert {one.speaker for one in back.turns} == {"Anna", "SPEAKER_01", "SPEAKER_02"}
    rename(page, "Anna", "SPEAKER_01")  # taken
    assert "There is a SPEAKER_01 already" in page.inner_text("#said")
    rename(page, "Anna", "  ")
    assert "needs a name" in page.inner_text("#said")
    assert speaker_row(page, "Anna").locator("input").input_value() == "Anna"


def test_merging_makes_one_speaker_of_two(report, visit_report):
    page = visit_report(report(audio=False), ready="shown")
    speaker_row(page, "SPEAKER_01").locator("select").select_option(label="SPEAKER_00")
    assert rows(page) == [
        [0.6, 9.5004375, "SPEAKER_00"],  # three turns that overlap or touch
        [12.25, 15.0, "SPEAKER_02"],
        [13.0, 13.6, "SPEAKER_00"],
    ]
    assert page.locator(".lane").count() == page.locator("#names .name").count() == 2
    page.click("#undo")
    assert exported(page, "rttm") == format_turns(TURNS, "talk", "rttm")
    page.click("#redo")
    assert len(rows(page)) == 3


def test_splitting_deleting_and_adding(report, visit_report):
    page = visit_report(report())
    turn(page, 0).click()
    until(page, "window.began !== undefined")
    page.keyboard.press(" ")
    page.fill("#turn-end", "0:04.5")
    page.press("#turn-end", "Enter")
    page.evaluate("document.activeElement.blur()")
    for key in ("ArrowDown", "ArrowUp", "ArrowRight"):  # the playhead: 1 s after the start
        page.keyboard.press(key)
    page.keyboard.press("s")
    page.keyboard.press("3")
    assert rows(page)[:2] == [[0.6, 1.6, "SPEAKER_00"], [1.6, 4.5, "SPEAKER_02"]]
    page.keyboard.press("Delete")
    page.click("#turn-add")  # at the playhead
    assert rows(page)[:2] == [[0.6, 1.6, "SPEAKER_00"], [1.6, 3.6, "SPEAKER_00"]]
    for _ in range(5):
        page.keyboard.press("Control+z")
    assert exported(page, "rttm") == format_turns(TURNS, "talk", "rttm")
    assert page.is_disabled("#undo")
    for _ in range(5):
        page.keyboard.press("Control+Shift+z")
    assert [1.6, 3.6, "SPEAKER_00"] in rows(page)


def test_edges_are_dragged_in_the_lane(report, visit_report):
    page = visit_report(report(audio=False), ready="shown")
    turn(page, 3).click()
    box, scale = turn(page, 3).bounding_box(), px_per_s(page)
    drag(page, (box["x"] + 1, box["y"] + 10), -1.5 * scale)
    assert rows(page)[3] == [pytest.approx(10.75, abs=0.05), 15.0, "SPEAKER_02"]
    drag(page, (box["x"] + box["width"] - 1, box["y"] + 10), 30 * scale)  # not beyond the recording
    assert rows(page)[3][1] == SECONDS
    box = turn(page, 3).bounding_box()
    drag(page, (box["x"] + 1, box["y"] + 10), 30 * scale)  # nor beyond the other edge
    start, end, _ = rows(page)[4]
    assert start == pytest.approx(end - 0.01)
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert exported(page, "rttm") == format_turns(TURNS, "talk", "rttm")
    assert spans(page, 3) == pytest.approx((12.25, 15.0), abs=0.06)


def test_edges_are_dragged_on_the_waveform(report, visit_report):
    page = visit_report(report())
    turn(page, 2).click()
    page.keyboard.press(" ")
    wave, scale = page.locator("#wave").bounding_box(), px_per_s(page)
    page.wait_for_timeout(50)  # the library adds the region a moment later
    drag(page, (wave["x"] + TURNS[2].end * scale - 2, wave["y"] + 30), 1.0 * scale)
    assert rows(page)[2] == [6.0, pytest.approx(10.5, abs=0.05), "SPEAKER_00"]
    assert page.evaluate("heard.currentTime") < 9  # no click came of it
    page.click("#undo")
    assert rows(page)[2] == [6.0, 9.5004375, "SPEAKER_00"]


def test_a_turn_is_drawn_in_an_empty_place(report, visit_report):
    page = visit_report(report(audio=False), ready="shown")
    lane, scale = page.locator(".lane").nth(1).bounding_box(), px_per_s(page)
    drag(page, (lane["x"] + 17 * scale, lane["y"] + 20), 1.5 * scale)
    assert rows(page)[-1] == [pytest.approx(17, abs=0.05), pytest.approx(18.5, abs=0.05), "SPEAKER_01"]
    page.mouse.move(lane["x"] + 8 * scale, lane["y"] + 20)
    page.mouse.down()
    page.mouse.move(lane["x"] + 9 * scale, lane["y"] + 20)
    assert page.locator(".ghost").count() == 1
    page.keyboard.press("Escape")
    page.mouse.up()
    assert page.locator(".ghost").count() == 0
    assert len(rows(page)) == 6


def test_a_turn_goes_to_another_and_to_a_new_speaker(report, visit_report):
    page = visit_report(report(audio=False), ready="shown")
    turn(page, 1).click()
    page.select_option("#turn-speaker", label="SPEAKER_02")
    assert rows(page)[1] == [3.1, 6.0, "SPEAKER_02"]
    page.select_option("#turn-speaker", label="New speaker")
    assert rows(page)[1] == [3.1, 6.0, "SPEAKER_03"]
    assert page.locator(".lane").count() == 4
    assert ",SPEAKER_03,\n" in exported(page, "csv")  # what a person said has no confidence of a machine


def test_leaving_with_edits_is_asked_about(report, visit_report):
    page = visit_report(report(audio=False), ready="shown")
    leave = """() => { const event = new Event("beforeunload", { cancelable: true });
        dispatchEvent(event); return event.defaultPrevented; }"""
    assert page.evaluate(leave) is False
    rename(page, "SPEAKER_00", "Anna")
    assert page.evaluate(leave) is True
    exported(page, "rttm")
    assert page.evaluate(leave) is False
