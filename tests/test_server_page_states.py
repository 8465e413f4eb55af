"""The live page: what is in the way, names that are code, telephones, keyboards."""

from __future__ import annotations

import json
import re

import pytest
from served_page import (
    ASSETS,
    EVIL,
    REFUSED,
    Visits,
    browsing,
    fake_diarizer,
    heard_s,
    listen,
    problem,
    rename,
    saved,
    serving,
    state,
    until,
)

from diarize.plotting import PALETTE

pytest_plugins = "served_page_fixtures"


# Listening: what is in the way ------------------------------------------------------------------------------


def test_no_permission_and_no_microphone(served, visit, playwright):
    page = visit(served.url)
    page.evaluate("""() => {
        const no = new DOMException("Permission denied", "NotAllowedError");
        navigator.mediaDevices.getUserMedia = () => Promise.reject(no);
    }""")
    page.click("#listen")
    assert "may not use the microphone" in problem(page)
    state(page, "home")
    assert page.evaluate("ear.state") == "closed"
    with browsing(playwright) as bare:
        visits = Visits(bare)
        page = visits(served.url)
        page.click("#listen")
        assert "There is no microphone here" in problem(page)
        assert page.is_enabled("#listen")
        assert page.evaluate("window.sockets") is None  # the server was not troubled
        visits.close()


def test_a_busy_server_says_so(visit, tmp_path):
    with serving(fake_diarizer(), tmp_path, max_streams=1) as served:
        page, other = visit(served.url), visit(served.url)
        listen(page)
        other.click("#listen")
        assert "at most 1 streams are taken at once" in problem(other)
        state(other, "home")
        page.click("#stop")
        state(page, "done")
        listen(other)
        assert not other.is_visible("#problem")


def test_a_stream_that_is_gone_leaves_what_was_final(served, visit):
    visit.expected += REFUSED
    page = visit(served.url)
    listen(page)
    until(page, "document.querySelectorAll('#list li').length >= 2")
    rename(page, "SPEAKER_00", "Anna")
    shown = page.locator("#list li").count()
    page.evaluate("sockets.at(-1).send('[]')")  # refused: the server ends the stream
    assert "must be a JSON object" in problem(page)
    state(page, "broken")
    assert page.locator("#list li").count() >= shown
    kept = json.loads(saved(page, "json"))
    assert {turn["speaker"] for turn in kept["turns"]} >= {"Anna", "SPEAKER_01"}
    page.click("#again")
    state(page, "home")


def answer(*messages: dict, close: bool = True):
    """A server that answers each start with these."""
    starts = []

    def serve(socket) -> None:
        def hear(message) -> None:
            if isinstance(message, str) and json.loads(message)["type"] == "start":
                starts.append(json.loads(message))
                for one in messages:
                    socket.send(json.dumps(one))
                if close:
                    socket.close()

        socket.on_message(hear)

    return serve, starts


STARTED = {"type": "started", "stream": "x", "received_s": 0, "seq": 0, "latency_s": 1, "resume_s": 60}


def test_a_server_that_fails_again_and_again_is_given_up(served, visit):
    serve, starts = answer(STARTED, {"type": "error", "code": "internal", "message": "a fault of the server"})
    page = visit(served.url, sockets=serve)
    page.click("#listen")
    until(page, "document.querySelector('#problem').textContent === 'a fault of the server'")
    state(page, "home")  # nothing was final
    assert [start.get("resume") for start in starts] == [None, "x", "x", "x"]
    assert page.evaluate("ear.state") == "closed"


def test_a_server_that_is_not_there_is_given_up(served, visit):
    page = visit(served.url, sockets=lambda socket: socket.close())
    page.click("#listen")
    assert "The server does not answer" in problem(page)
    state(page, "home")


def test_a_connection_that_has_gone_silent_is_made_anew(served, visit):
    script = (ASSETS / "connection.js").read_text("utf-8").replace("SILENT_MS = 15_000", "SILENT_MS = 700")
    serve, starts = answer(STARTED | {"resume_s": 0.1}, close=False)
    page = visit(
        served.url,
        sockets=serve,
        routes={"**/connection.js": lambda r: r.fulfill(body=script, content_type="text/javascript")},
    )
    page.click("#listen")
    state(page, "listening")
    for _ in range(100):
        if len(starts) >= 2:
            break
        page.wait_for_timeout(100)
    assert starts[1]["resume"] == "x"


def test_everything_that_is_pushed_arrives_once_and_in_order(served, visit):
    page = visit(served.url)
    wrong = page.evaluate("""async () => {
        const { Outbox, KEPT_S } = await import("/assets/outbox.js");
        let seed = 7;
        const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
        const wrong = [];
        for (let run = 0; run < 200; run++) {
            const rate = 10; // the box holds KEPT_S * 10 samples
            const box = new Outbox(rate);
            const server = []; // what it has, by place; lost sound is null
            let value = 0;
            for (let step = 0; step < 300; step++) {
                const what = random(10);
                if (what < 5) box.push(Int16Array.from({ length: 1 + random(40) }, () => value++ % 30000));
                else if (what === 5 && random(8) === 0) { box.skip(1 + random(3)); value += box.end - value; }
                else if (what === 6) box.arrived(server.length);
                else if (what === 7 && random(4) === 0) {
                    server.length -= random(Math.min(30, server.length + 1)); // it was on the way
                    if (server.length < (box.floor ?? 0)) server.length = box.floor;
                    box.rewind(server.length);
                } else for (let piece; (piece = random(3) ? box.take() : undefined); ) {
                    if (piece.missing) {
                        const at = Math.round(piece.at * rate);
                        if (at <= server.length) wrong.push(`at ${at} <= ${server.length}`);
                        while (server.length < at) server.push(null);
                    }
                    server.push(...piece.samples);
                }
                if (what === 6) box.floor = server.length; // acknowledged: it does not go back before it
                const kept = box.pieces.reduce((sum, piece) => sum + piece.samples.length, 0);
                if (box.kept > KEPT_S * rate || box.kept !== kept)
                    wrong.push(`kept ${box.kept}`);
            }
            server.forEach((sample, place) => {
                if (sample !== null && sample !== place % 30000) wrong.push(`${run}: ${sample} at ${place}`);
            });
            if (!server.length) wrong.push("nothing");
        }
        return wrong.slice(0, 5);
    }""")
    assert wrong == []


# Names that are code, telephones, what everybody must be able to use ----------------------------------------


def test_names_and_messages_are_text(served, visit):
    page = visit(served.url, sockets=answer_with_evil)
    listen(page)
    until(page, "document.querySelectorAll('#list li').length > 0")
    assert EVIL in page.inner_text("#who")
    assert page.locator("#list .who").first.inner_text() == EVIL
    rename(page, EVIL, EVIL + "2")
    assert page.locator("#names .name").first.inner_text() == EVIL + "2"
    page.click("#stop")
    state(page, "broken")
    assert problem(page) == EVIL
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert json.loads(saved(page, "json"))["turns"][0]["speaker"] == EVIL + "2"


def answer_with_evil(socket) -> None:
    """A server whose every word is code."""

    def hear(message) -> None:
        if isinstance(message, bytes):
            return
        said = json.loads(message)
        turn = {"start": 0.5, "end": 1.5, "speaker": EVIL}
        if said["type"] == "start":
            socket.send(
                json.dumps({"type": "started", "stream": "x", "received_s": 0, "seq": 0, "latency_s": 1})
            )
            socket.send(json.dumps({"type": "turn", "seq": 1} | turn))
            socket.send(
                json.dumps({"type": "guess", "at": 2.5, "turns": [turn | {"start": 1.5, "end": 2.5}]})
            )
        elif said["type"] == "finish":
            socket.send(json.dumps({"type": "error", "code": "bad_request", "message": EVIL}))
            socket.close()

    socket.on_message(hear)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_has_room_for_everything(served, visit, scheme):
    page = visit(served.url, width=390, height=844, color_scheme=scheme, sockets=answer_with_evil)
    inside(page)
    listen(page)
    until(page, "document.querySelectorAll('#list li').length > 0")
    rename(page, EVIL, "A name that is far too long for a telephone, and_for_that_matter_" + "x" * 80)
    inside(page)
    page.click("#stop")
    state(page, "broken")
    inside(page)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")


def inside(page) -> None:
    """Nothing lies beyond the edge, and everything that can be used says what it is."""
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    beyond = page.evaluate("""() => [...document.querySelectorAll("header *, main *")]
        .filter((one) => one.checkVisibility() && !one.closest("#lanes, td.who, #list, option, .hidden"))
        .filter((one) => one.getBoundingClientRect().right > 390.5)
        .map((one) => one.outerHTML.slice(0, 80))""")
    assert beyond == []
    nameless = page.evaluate("""() => [
        ...document.querySelectorAll("button, input, select, a, iframe, progress, [tabindex]")]
        .filter((one) => one.checkVisibility() && !one.labels?.length)
        .filter((one) => !(one.getAttribute("aria-label") || one.title || one.innerText?.trim()))
        .map((one) => one.outerHTML)""")
    assert nameless == []


def test_the_keyboard_alone_will_do(served, visit):
    page = visit(served.url)
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "listen":
            break
    page.keyboard.press("Enter")
    state(page, "listening")
    assert page.locator("#who[role=status]").inner_text() != ""
    until(page, "document.activeElement.id === 'stop'")
    heard_s(page, 3)
    page.keyboard.press("Enter")
    state(page, "done")
    assert page.evaluate("document.activeElement.id") == "again"
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.keyboard.press("Enter")  # nothing is saved: it asks, and stays
    assert page.get_attribute("body", "data-state") == "done"
    saved(page, "rttm")
    page.click("#again")
    state(page, "home")


def test_the_policy_and_what_the_page_is_made_of(served):
    import httpx

    answer = httpx.get(served.url)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"unsafe|\*|https?:", policy)
    page = answer.text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    named = set(re.findall(r'(?:src|href)="(assets/[^"#]+)"', page))
    for name in named | {f"assets/{path.name}" for path in ASSETS.iterdir()}:
        assert httpx.get(f"{served.url}/{name}").status_code == 200
    scripts = {path.name: path.read_text("utf-8") for path in ASSETS.glob("*.js")}
    for name, text in scripts.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text), name
        assert {one for one in re.findall(r'from "\./([^"]+)"', text)} <= set(scripts)
    palette = re.search(r"PALETTE = \[(.*?)\]", scripts["dom.js"], re.DOTALL).group(1)
    assert tuple(re.findall("#[0-9a-f]{6}", palette)) == PALETTE
