"""The live page: recordings, and tokens."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from served_page import (
    EVIL,
    REFUSED,
    TOKEN,
    fake_diarizer,
    given,
    heard_s,
    problem,
    saved,
    serving,
    state,
    until,
)

from diarize.formats.registry import FORMATS

pytest_plugins = "served_page_fixtures"


def choose(page, path: Path, name: str | None = None) -> None:
    file = {"name": name or path.name, "mimeType": "audio/wav", "buffer": path.read_bytes()}
    page.set_input_files("#file", files=[file])


# Recordings -------------------------------------------------------------------------------------------------

DROP = """([name, bytes]) => {
    const carried = new DataTransfer();
    const sound = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
    carried.items.add(new File([sound], name, { type: "audio/wav" }));
    for (const kind of ["dragover", "drop"])
        document.body.dispatchEvent(
            new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""


def test_a_file_that_is_dropped_becomes_a_report(served, visit, talk, tmp_path):
    page = visit(served.url)
    page.evaluate(DROP, [f"{EVIL}.wav", base64.b64encode(talk.read_bytes()).decode()])
    state(page, "report")
    report = page.frame_locator("#report iframe")
    assert report.locator("h1").inner_text() == f"{EVIL}.wav"
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img").count() == 0
    found = served.diarizer(talk)
    assert report.locator(".turn").count() == len(found.turns) > 1
    (tmp_path / "x.rttm").write_text(saved(page, "rttm"), "utf-8")
    (back,) = FORMATS["rttm"].read(tmp_path / "x.rttm")
    assert [(t.start, t.end, t.speaker) for t in back.turns] == [
        (pytest.approx(t.start, abs=0.001), pytest.approx(t.end, abs=0.001), t.speaker) for t in found.turns
    ]
    assert "diarize report" in saved(page, "html")
    page.reload()
    state(page, "report")  # the address remembers it
    page.click("#again")
    state(page, "home")
    assert "#recording" not in page.url


def test_a_wrong_file_is_said_in_the_servers_words(served, visit, tmp_path):
    page = visit(served.url)
    (tmp_path / "notes.wav").write_bytes(b"these are notes")
    choose(page, tmp_path / "notes.wav", f"{EVIL}.wav")
    assert re.search("audio", problem(page))
    state(page, "home")
    assert page.locator("#problem *").count() == 0
    (tmp_path / "empty.wav").write_bytes(b"")
    choose(page, tmp_path / "empty.wav")
    assert problem(page) == "empty.wav is empty."


def test_cancelling_forgets_the_recording(served, visit, talk):
    page = visit(served.url, routes={"**/v1/recordings?*": lambda route: None})  # it never arrives
    choose(page, talk)
    state(page, "uploading")
    page.click("#cancel")
    state(page, "home")
    assert not page.is_visible("#problem")


# Tokens -----------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_and_kept_in_the_tab_alone(visit, tmp_path, talk):
    visit.expected += REFUSED
    with serving(fake_diarizer(), tmp_path, token=TOKEN) as served:
        page = visit(served.url)
        page.click("#listen")
        page.wait_for_selector("#token-dialog[open]")
        page.fill("#token", "not it")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#token-title').textContent === 'That token is not right'")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        state(page, "listening")
        heard_s(page, 3)
        page.click("#stop")
        state(page, "done")
        np.testing.assert_array_equal(served.sound(), given(page))  # what was said meanwhile is there
        assert page.evaluate("Object.values(sessionStorage)") == [TOKEN]
        assert page.evaluate("Object.keys(localStorage)") == page.context.cookies() == []
        saved(page, "rttm")
        page.click("#again")
        choose(page, talk)
        state(page, "report")  # nobody is asked again, and the frame shows it without a header
        assert page.frame_locator("#report iframe").locator("h1").inner_text() == "talk.wav"
        assert TOKEN not in page.locator("#report iframe").get_attribute("src")
        other = visit(served.url)
        other.click("#listen")
        other.wait_for_selector("#token-dialog[open]")
        other.keyboard.press("Escape")
        assert "token" in problem(other)
        state(other, "home")
