"""The live page in a real browser, with a microphone that plays a conversation to it."""

from __future__ import annotations

import itertools
import json
import re
import wave

import numpy as np
import pytest
from served_page import (
    ASSETS,
    RATE,
    REFUSED,
    Visits,
    browsing,
    cut_off,
    fake_talk,
    given,
    heard_s,
    listen,
    problem,
    rename,
    saved,
    serving,
    state,
    until,
)

from diarize.formats.registry import format_turns
from diarize.result import Turn

pytest_plugins = "served_page_fixtures"


def final_bars(page) -> list[list]:
    """What was shown as final at each moment while listening: [start, end, colour] in order of time."""
    seen = page.evaluate("seen")
    return [sorted(bars) for name, _, bars, _ in seen if name in ("listening", "finishing")]


def assert_only_grows(shown: list[list]) -> None:
    for before, after in itertools.pairwise(shown):
        for start, end, colour in before:
            assert any(s == start and e >= end - 1e-9 and c == colour for s, e, c in after)


def assert_shown(bars: list[list], finals: tuple[Turn, ...]) -> None:
    """Bars are the first final turns, all of them, the newest perhaps in part; a colour is a speaker."""
    turns = {round(turn.start, 6): turn for turn in finals}
    newest = max(end for _, end, _ in bars)
    pairs = set()
    for start, end, colour in bars:
        turn = turns.pop(round(start, 6))
        assert end == pytest.approx(turn.end, abs=1e-6) or (end == newest and end < turn.end)
        pairs.add((turn.speaker, colour))
    assert len(pairs) == len({name for name, _ in pairs}) == len({colour for _, colour in pairs})
    assert all(turn.start >= max(bars)[0] for turn in turns.values())


def without_names(turns: list) -> list[tuple[float, float, int]]:
    """Turns whose speakers are numbered in the order in which they come."""
    order: dict[str, int] = {}
    return [(start, end, order.setdefault(name, len(order))) for start, end, name in turns]


def check_against_the_diarizer(page, served) -> dict:
    """What was shown is what the diarizer says of the sound that came; returns the JSON that was saved."""
    replayed = served.replayed()
    shown = final_bars(page)
    assert_only_grows(shown)
    found = replayed.result()
    assert_shown(shown[-1], replayed.finals)
    kept = json.loads(saved(page, "json"))
    assert kept["duration"] == pytest.approx(found.duration)
    assert without_names([(t["start"], t["end"], t["speaker"]) for t in kept["turns"]]) == without_names(
        [(round(t.start, 7), round(t.end, 7), t.speaker) for t in found.turns]
    )
    return kept


def test_turns_appear_while_people_speak(served, visit):
    page = visit(served.url)
    page.evaluate("""() => {
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (what) => {
            window.asked = what;
            return (window.ears = await ask(what));
        };
    }""")
    listen(page)
    raw = {"echoCancellation": False, "noiseSuppression": False, "autoGainControl": False}
    assert page.evaluate("asked") == {"audio": raw}
    until(page, "document.querySelectorAll('#speakers tr').length >= 2")
    assert page.get_attribute("body", "data-state") == "listening"
    assert page.locator("#list li").count() == page.locator(".turn:not(.guessed)").count() >= 2
    until(page, "seen.some(([state, who]) => state === 'listening' && who.startsWith('SPEAKER_'))")
    until(page, "seen.some(([, , , guessed]) => guessed.length)")
    assert re.fullmatch(r"\d+\.\d s", page.inner_text("#behind"))
    rename(page, "SPEAKER_00", "Anna")
    assert page.locator("#names .name").first.inner_text() == "Anna"
    heard_s(page, 7)
    page.click("#stop")
    state(page, "done")
    assert page.evaluate("ears.getTracks().map((track) => track.readyState)") == ["ended"]
    kept = check_against_the_diarizer(page, served)
    names = {turn["speaker"] for turn in kept["turns"]}
    assert "Anna" in names  # who was renamed while speaking has the name in the result
    assert "SPEAKER_00" not in names
    rename(page, "SPEAKER_01", "Åsa B")
    turns = [
        Turn(t["start"], t["end"], t["speaker"].replace("SPEAKER_01", "Åsa B"), t["confidence"])
        for t in kept["turns"]
    ]
    name = kept["uri"]
    for kind in ("rttm", "json", "srt", "csv"):
        assert saved(page, kind) == format_turns(turns, name, kind, duration=kept["duration"])


def test_sound_is_sent_as_it_was_played(served, visit):
    page = visit(served.url)
    listen(page)
    heard_s(page, 2)
    page.click("#stop")
    state(page, "done")
    np.testing.assert_array_equal(served.sound(), given(page))
    rate = served.heard[-1][0].options.sample_rate
    assert rate == page.evaluate("ear.sampleRate")
    came, played = served.sound()[rate // 2 : 2 * rate] / 32768, fake_talk()[RATE // 2 : 2 * RATE]
    assert np.sqrt(np.mean(came**2)) == pytest.approx(np.sqrt(np.mean(played**2)), rel=0.4)


def test_real_voices(real_diarizer, sample_wav, playwright, tmp_path):
    with wave.open(str(sample_wav)) as file:
        rate = file.getframerate()
        file.setpos(6 * rate)
        frames = file.readframes(10 * rate)
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(frames)
    with (
        serving(real_diarizer, tmp_path / "data") as served,
        browsing(playwright, tmp_path / "talk.wav") as browser,
    ):
        visit = Visits(browser)
        page = visit(served.url)
        listen(page, 2, speakers=2)
        heard_s(page, 7)
        until(page, "document.querySelectorAll('#list li').length >= 1")
        page.click("#stop")
        state(page, "done")
        kept = check_against_the_diarizer(page, served)
        assert len({turn["speaker"] for turn in kept["turns"]}) == 2
        visit.close()


# Connections that break -------------------------------------------------------------------------------------


def test_a_lost_connection_loses_and_doubles_nothing(served, visit):
    visit.expected += REFUSED
    page = visit(served.url)
    listen(page)
    heard_s(page, 3)
    cut_off(page, 0)
    heard_s(page, 4)
    cut_off(page, 1.5)
    page.wait_for_selector("#problem.passing:not([hidden])")
    assert page.inner_text("#who") == "Reconnecting…"
    assert "The connection was lost" in problem(page)
    until(page, "document.querySelector('#problem').hidden")
    assert page.evaluate("sockets.length") >= 4
    heard_s(page, 8)
    page.click("#stop")
    state(page, "done")
    check_against_the_diarizer(page, served)
    _, pieces = served.heard[-1]
    assert all(at is None for _, at in pieces)
    np.testing.assert_array_equal(served.sound(), given(page))


def test_sound_that_the_box_cannot_hold_counts_as_time(served, visit):
    visit.expected += REFUSED
    small = re.sub(r"KEPT_S = \d+", "KEPT_S = 0.5", (ASSETS / "outbox.js").read_text("utf-8"))
    routes = {"**/outbox.js": lambda route: route.fulfill(body=small, content_type="text/javascript")}
    page = visit(served.url, routes=routes)
    listen(page)
    heard_s(page, 1)
    cut_off(page, 1.5)
    until(page, "document.querySelector('#problem').textContent.includes('were not heard')")
    lost = float(re.search(r"([\d.]+) s were not", problem(page)).group(1))
    heard_s(page, 4)
    page.click("#stop")
    state(page, "done")
    stream, pieces = served.heard[-1]
    samples, (gap, at) = given(page), next((i, at) for i, (_, at) in enumerate(pieces) if at is not None)
    rate = stream.options.sample_rate
    before = sum(len(one) for one, _ in pieces[:gap])
    first = round(at * rate)
    assert (first - before) / rate == pytest.approx(lost, abs=0.06)
    assert lost > 0.5
    sound = served.sound()
    np.testing.assert_array_equal(sound[:before], samples[:before])
    np.testing.assert_array_equal(sound[before:], samples[first:])  # where it lies, to the sample
    assert json.loads(saved(page, "json"))["duration"] == pytest.approx(len(samples) / rate, abs=0.04)


def test_time_in_which_the_sound_was_stopped_counts(served, visit):
    page = visit(served.url)
    listen(page)
    heard_s(page, 1)
    page.evaluate("ear.suspend()")
    page.wait_for_timeout(1000)
    page.evaluate("ear.resume()")
    heard_s(page, 3)
    page.click("#stop")
    state(page, "done")
    rate = page.evaluate("ear.sampleRate")
    duration = json.loads(saved(page, "json"))["duration"]
    assert duration - len(given(page)) / rate == pytest.approx(1, abs=0.4)
