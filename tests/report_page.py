"""The report page in a browser, as its tests look at it and use it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from diarize.result import Turn

RATE = 16000
CLICKS = (0.5, 3.25, 7.0, 11.875, 19.5)
SECONDS = 20.0
TURNS = (
    Turn(0.6, 4.2, "SPEAKER_00", 0.98),
    Turn(3.1, 6.0, "SPEAKER_01", 0.55),
    Turn(6.0, 9.5004375, "SPEAKER_00", 0.7),
    Turn(12.25, 15.0, "SPEAKER_02"),
    Turn(13.0, 13.6, "SPEAKER_01", 1.0),
)
EVIL = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>&amp; {{SCRIPT}} <!--'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

WATCH = """(() => {
    const Made = Audio;
    window.Audio = function () {
        const made = (window.heard = new Made());
        made.addEventListener("playing", () => (window.began ??= made.currentTime));
        return made;
    };
})();"""
"""Run before the page: `heard` is its audio element, `began` the second at which it first played."""


def turn(page, number: int):
    """The bar of a turn, by its place in time."""
    start = page.evaluate("n => document.querySelectorAll('#list button')[n].dataset.turn", number)
    return page.locator(f"#lanes [data-turn='{start}']")


def rows(page) -> list[list[float]]:
    """The turns as the page exports them: start, end, speaker."""
    return [[t["start"], t["end"], t["speaker"]] for t in json.loads(exported(page, "json"))["turns"]]


def exported(page, kind: str) -> str:
    with page.expect_download() as download:
        page.click(f"[data-export={kind}]")
    return Path(download.value.path()).read_text("utf-8")


def now(page) -> float:
    """Where the playhead is, seconds, by its shown clock."""
    minutes, seconds = page.inner_text("#now").split(":")
    return 60 * float(minutes) + float(seconds)


def speaker_row(page, name: str):
    return page.locator(f"#speakers tr:has(input[aria-label='Name of {name}'])")


def rename(page, name: str, to: str) -> None:
    field = speaker_row(page, name).locator("input")
    field.fill(to)
    field.press("Enter")


def until(page, condition: str) -> None:
    """Wait for it; Playwright's own waiting evaluates text in the page, which the policy refuses."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"never came true: {condition}")


def drag(page, start: tuple[float, float], by: float) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by / 2, start[1])
    page.mouse.move(start[0] + by, start[1])
    page.mouse.up()


def px_per_s(page) -> float:
    return page.evaluate("parseFloat(document.getElementById('lanes-inner').style.getPropertyValue('--px'))")


def spans(page, number: int) -> tuple[float, float]:
    """Where a bar is drawn, as seconds."""
    box, lane = turn(page, number).bounding_box(), page.locator("#lanes-inner").bounding_box()
    scale = px_per_s(page)
    return (box["x"] - lane["x"]) / scale, (box["x"] + box["width"] - lane["x"]) / scale
