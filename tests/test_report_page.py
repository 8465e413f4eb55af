"""The report page in a real browser: what it shows, plays and exports."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from report_page import (
    CLICKS,
    EVIL,
    RATE,
    SECONDS,
    TURNS,
    exported,
    now,
    px_per_s,
    rename,
    rows,
    spans,
    speaker_row,
    turn,
    until,
)

from diarize.extract import talk_time
from diarize.formats.registry import format_turns
from diarize.report import hear, write_report
from diarize.result import Diarization, Turn

pytest_plugins = "report_page_fixtures"


def test_the_page_opens_with_all_there_is(report, visit_report):
    page = visit_report(report(title="Tuesday's <talk>"))
    assert page.title() == page.inner_text("h1") == "Tuesday's <talk>"
    assert page.inner_text("#facts") == "0:20 · 3 speakers · 5 turns"
    assert page.locator("#lanes .turn").count() == len(TURNS)
    for number, one in enumerate(TURNS):
        assert spans(page, number) == pytest.approx((one.start, one.end), abs=0.06)
    assert [int(bar.evaluate("bar => parseInt(bar.style.getPropertyValue('--sure'))")) for bar in
            (turn(page, 0), turn(page, 1), turn(page, 3))] == [99, 66, 100]  # fmt: skip


def test_the_page_cannot_reach_the_network(report, visit_report):
    page, sent = visit_report(report(audio=False), ready="shown"), []
    page.context.route("https://**", lambda route: (sent.append(route.request.url), route.abort()))
    page.evaluate("""async () => {
        window.failed = await fetch("https://example.com/").then(() => 0, () => 1);
        const image = new Image();
        image.src = "https://example.com/x.png";
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        document.body.append(image, script);
    }""")
    page.wait_for_timeout(100)
    assert page.evaluate("[window.failed, window.hacked]") == [1, None]
    said = [line for line in visit_report.wrong if "Content Security Policy" in line]
    visit_report.wrong.clear()
    assert len(said) >= 3
    assert sent == []


def test_the_browser_hears_clicks_at_their_second(report, recording, visit_report):
    page = visit_report(report())
    assert page.evaluate("heard.duration") == pytest.approx(SECONDS, abs=0.005)  # nothing to be corrected
    text = base64.b64encode(hear(recording).mp3).decode()
    found = page.evaluate(
        """async ([text, clicks]) => {
            const bytes = Uint8Array.from(atob(text), (ch) => ch.charCodeAt(0));
            const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer);
            const samples = sound.getChannelData(0);
            return clicks.map((second) => {
                let best = Math.round((second - 0.2) * 16000);
                for (let i = best; i < (second + 0.2) * 16000; i++)
                    if (Math.abs(samples[i]) > Math.abs(samples[best])) best = i;
                return best / 16000;
            });
        }""",
        [text, CLICKS],
    )
    assert found == pytest.approx(CLICKS, abs=0.002)


@pytest.mark.parametrize("number", [1, 3])
def test_a_click_on_a_turn_plays_its_seconds(report, visit_report, number):
    page = visit_report(report())
    turn(page, number).click()
    until(page, "window.began !== undefined")
    assert page.evaluate("began") == pytest.approx(TURNS[number].start, abs=0.15)
    page.keyboard.press(" ")
    until(page, "heard.paused")
    assert TURNS[number].start <= page.evaluate("heard.currentTime") <= TURNS[number].end


def test_a_turn_stops_at_its_end_and_the_space_bar_goes_on(report, visit_report):
    page = visit_report(report())
    turn(page, 4).click()
    until(page, "window.began !== undefined && heard.paused")
    assert page.evaluate("heard.currentTime") == pytest.approx(TURNS[4].end, abs=0.15)
    page.keyboard.press(" ")
    until(page, "!heard.paused && heard.currentTime > 13.7")
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_a_click_on_the_waveform_plays_from_there(report, visit_report):
    page = visit_report(report())
    box = page.locator("#wave").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 40)
    until(page, "window.began !== undefined")
    assert page.evaluate("began") == pytest.approx(15.0, abs=0.15)
    page.click("#play")
    until(page, "heard.paused")
    page.keyboard.press("Shift+ArrowLeft")
    before = now(page)
    page.keyboard.press("ArrowRight")
    assert now(page) == pytest.approx(before + 1, abs=0.002)


def test_a_browser_that_plays_the_delay_is_corrected(report, visit_report):
    """One that does not leave out what the encoder put in front finds a longer file, hears the probe late."""
    late = """Object.defineProperty(HTMLMediaElement.prototype, 'duration', { get: () => 20.1 });
        const decode = OfflineAudioContext.prototype.decodeAudioData;
        OfflineAudioContext.prototype.decodeAudioData = async function (bytes) {
            const sound = await decode.call(this, bytes);
            sound.copyToChannel(sound.getChannelData(0).slice(), 0, 1105);
            sound.getChannelData(0).fill(0, 0, 1105);
            return sound;
        };"""
    page = visit_report(report(), watch=late)
    page.keyboard.press("ArrowDown")  # to the first turn, without playing
    assert page.evaluate("heard.currentTime") == pytest.approx(TURNS[0].start + 1105 / RATE, abs=0.001)
    assert now(page) == TURNS[0].start


@pytest.mark.parametrize("kind", ["rttm", "json", "csv", "srt"])
def test_exports_are_what_convert_would_write(report, visit_report, kind):
    names = ("A b", "A_b", 'Zoë, "Z" --> [x]', " \t", "\u2028", "", "日本", "[1]")
    rng = np.random.default_rng(3)
    turns = [
        Turn(float(a), float(a + d), names[i % len(names)], [None, 0.5, 1.0, 0.1235][i % 4])
        for i, (a, d) in enumerate(
            zip(rng.uniform(0, 18, 40), rng.choice([0.0002, 0.5, 1.25], 40), strict=True)
        )
    ]
    turns += [Turn(2, 3.0005, "A b"), Turn(2, 3.0015, "A b"), Turn(0.0, 20.0, "x;y")]
    page = visit_report(report(tuple(turns), audio=False, uri="a, talk"), ready="shown")
    assert exported(page, kind) == format_turns(turns, "a, talk", kind, duration=SECONDS)


def test_the_table_is_that_of_extract(report, visit_report):
    page = visit_report(report(audio=False), ready="shown")
    for one in talk_time(TURNS):
        cells = speaker_row(page, one.speaker).locator("td").all_inner_texts()[1:5]
        assert cells[0] == f"0:{one.seconds:04.1f}"
        assert cells[1].strip() == f"{100 * one.share:.1f} %"
        assert cells[2] == str(one.turns)


def test_overlapping_turns_are_both_seen(report, visit_report):
    page = visit_report(report(audio=False), ready="shown")
    for a, b in ((0, 1), (3, 4)):
        one, other = turn(page, a).bounding_box(), turn(page, b).bounding_box()
        assert min(one["x"] + one["width"], other["x"] + other["width"]) > max(one["x"], other["x"])
        assert one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
        for box in (one, other):  # nothing lies over its middle
            middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
            assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).className", middle) == "turn"


@pytest.mark.parametrize("audio", [True, False])
def test_a_page_without_sound(report, visit_report, audio):
    page = visit_report(report(audio=audio, **({"sound": False} if audio else {})), ready="shown")
    assert not page.is_visible("#play")
    assert page.is_visible("#mute")
    turn(page, 3).click()
    assert now(page) == TURNS[3].start
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    assert [13.25, 15.0, "SPEAKER_02"] in rows(page)


def test_malicious_names_are_harmless(report, visit_report):
    page = visit_report(report((Turn(1, 2, EVIL), Turn(1.5, 3, "{{DATA}}")), uri=EVIL, title=EVIL))
    assert page.inner_text("h1") == page.title() == EVIL
    assert speaker_row(page, "{{DATA}}").count() == 1
    assert page.locator("#names .name").first.inner_text().startswith(EVIL)
    turn(page, 0).click()
    rename(page, "{{DATA}}", EVIL + "2")
    page.locator("#speakers select").first.select_option(index=1)
    page.wait_for_timeout(50)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert rows(page) == [[1.0, 3.0, EVIL + "2"]]
    with page.expect_download() as download:
        page.click("[data-export=srt]")
    assert not re.search(r'[<>:"/\\|?*]', download.value.suggested_filename)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_has_room_for_everything(report, visit_report, scheme):
    long = Turn(
        5, 8, "A speaker with a name that is far too long for a telephone, and_for_that_matter_" + "x" * 80
    )
    page = visit_report(report((*TURNS, long), title="w" * 90), width=390, height=844, color_scheme=scheme)
    turn(page, 0).click()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    beyond = page.evaluate("""() => [...document.querySelectorAll("header *, .player *, .columns *")]
        .filter((one) => one.getBoundingClientRect().right > 390.5 && !one.closest("td.who, #list, option"))
        .map((one) => one.outerHTML.slice(0, 80))""")
    assert beyond == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", dark))) < 200) == (scheme == "dark")


def test_everything_has_a_label(report, visit_report):
    page = visit_report(report())
    turn(page, 0).click()
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, select, canvas")]
        .filter((one) => one.checkVisibility())
        .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.innerText?.trim()))
        .map((one) => one.outerHTML)""")
    assert nameless == []
    assert turn(page, 1).get_attribute("aria-label") == "SPEAKER_01, 0:03.100 to 0:06.000, confidence 55 %"
    assert page.locator(".turn[tabindex='0']").count() == 1  # Tab reaches one, the arrows the others
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_zoom_keeps_waveform_and_lanes_together(report, visit_report):
    page = visit_report(report())
    for _ in range(5):
        page.click("#zoom-in")
    scale = px_per_s(page)
    assert scale > 80
    page.evaluate("document.getElementById('lanes').scrollLeft = 700")
    wave = "document.querySelector('#wave > div').shadowRoot.querySelector('.scroll')"
    until(page, f"{wave}.scrollLeft === 700")
    assert page.evaluate(f"{wave}.scrollWidth") == pytest.approx(scale * SECONDS, abs=1)
    assert spans(page, 3) == pytest.approx((12.25, 15.0), abs=0.03)
    page.keyboard.press("0")
    assert px_per_s(page) < 80
    assert page.evaluate("document.getElementById('lanes').scrollLeft") == 0


def test_an_hour_of_600_turns_is_quick(tmp_path, visit_report):
    rng = np.random.default_rng(5)
    starts = np.sort(rng.uniform(0, 3590, 600))
    turns = tuple(
        Turn(float(s), float(s + rng.uniform(0.2, 9)), f"S{i % 6}", 0.8) for i, s in enumerate(starts)
    )
    page = visit_report(
        write_report(tmp_path / "hour.html", Diarization(turns, 3600.0, "hour")), ready="shown"
    )
    assert page.locator(".turn").count() == 600
    took = page.evaluate("""() => {
        const begun = performance.now();
        document.getElementById("turn-add").click();
        document.getElementById("undo").click();
        document.getElementById("zoom-in").click();
        document.body.getBoundingClientRect();
        return performance.now() - begun;
    }""")
    assert took < 2000  # a tenth of it on a quiet machine
