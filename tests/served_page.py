"""What the tests of the live page share: a server in this process, a browser, a microphone that plays."""

from __future__ import annotations

import asyncio
import base64
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import RATE as RATE
from fakes import FakeEmbedder, FakeVad, speech

from diarize import Diarizer
from diarize.cli.serve import NEEDED
from diarize.stream import Stream

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ASSETS = Path(__file__).parent.parent / "diarize" / "server" / "assets"
TOKEN = "a long secret"
EVIL = '<img src=x onerror="window.hacked=1">'
REFUSED = ("Failed to load resource", "WebSocket connection to")
"""What Chromium notes of its own when a server refuses."""

WATCH = """(() => {
    window.seen = []; // what the page showed, ten times a second: [state, who, final bars, guessed bars]
    const bars = (what) => [...document.querySelectorAll(`.turn${what}`)].map((bar) => [
        Number(bar.style.getPropertyValue("--s")),
        Number(bar.style.getPropertyValue("--s")) + Number(bar.style.getPropertyValue("--d")),
        bar.closest(".lane")?.style.getPropertyValue("--c"),
    ]);
    setInterval(() => document.body && seen.push([
        document.body.dataset.state,
        document.querySelector("#who")?.innerText ?? "",
        bars(":not(.guessed)"),
        bars(".guessed"),
    ]), 100);
    const Made = AudioContext;
    window.AudioContext = class extends Made {
        constructor(...options) {
            super(...options);
            window.ear = this;
        }
    };
    window.given = []; // what the microphone gave, in pieces
    const Node = AudioWorkletNode;
    window.AudioWorkletNode = class extends Node {
        constructor(...options) {
            super(...options);
            this.port.addEventListener("message", ({ data }) => {
                if (data.samples) given.push(data.samples.slice());
            });
        }
    };
    const Socket = WebSocket;
    window.WebSocket = class extends Socket {
        constructor(url) {
            super(window.aside?.() ? `${url}/nobody` : url);
            (window.sockets ??= []).push(this);
        }
    };
})();"""
"""Run before the page: notes what it shows, and holds on to what a test breaks."""


def fake_diarizer() -> Diarizer:
    """Quick networks, as exact as the real ones."""
    return Diarizer(embedder=FakeEmbedder(0.1), vad=FakeVad())


@dataclass
class Served:
    """A server that runs, and all that its streams were given: [stream, [(samples, at), ...]]."""

    url: str
    diarizer: Diarizer
    app: Any
    heard: list[tuple[Stream, list[tuple[np.ndarray, float | None]]]] = field(default_factory=list)

    def sound(self, number: int = -1) -> np.ndarray:
        """The samples that one of the server's streams was given, as 16-bit numbers."""
        _, pieces = self.heard[number]
        return np.rint(np.concatenate([samples for samples, _ in pieces]) * 32768).astype(np.int16)

    def replayed(self, number: int = -1) -> Stream:
        """A stream pushed at once what one of the server's was pushed in pieces."""
        stream, pieces = self.heard[number]
        options, bounds = stream.options, stream.options.bounds
        own = self.diarizer.stream(
            latency_s=options.latency_s,
            sample_rate=options.sample_rate,
            min_speakers=bounds.low,
            max_speakers=bounds.high,
        )
        for samples, at in pieces:
            own.push(samples, at=at)
        own.finish()
        return own


@contextmanager
def serving(diarizer: Diarizer, folder: Path, **options: Any) -> Iterator[Served]:
    """A server on a free port, until the block is left."""
    for name in NEEDED:
        pytest.importorskip(name, reason="the server needs diarize-campplus[serve]")
    import uvicorn

    from diarize.server import ServerOptions, create_app
    from diarize.server.wire import address_of, config_of, listen

    settings = ServerOptions(data=folder, **options)
    app = create_app(diarizer, settings)
    server = uvicorn.Server(config_of(app, settings, lambda: None))
    server.install_signal_handlers = lambda: None
    with listen("127.0.0.1", 0) as socket, pytest.MonkeyPatch.context() as patch:
        served = Served(address_of(socket), diarizer, app)
        push = Stream.push

        def noted(stream: Stream, samples: Any, *, at: float | None = None) -> list:
            if stream.live is not None:
                if not any(own is stream for own, _ in served.heard):
                    served.heard.append((stream, []))
                pieces = next(pieces for own, pieces in served.heard if own is stream)
                pieces.append((np.array(samples), at))
            return push(stream, samples, at=at)

        patch.setattr(Stream, "push", noted)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[socket])))
        thread.start()
        try:
            yield served
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


def fake_talk() -> np.ndarray:
    """12 s that the fake networks hear as voices in turn, as they come out of a browser's microphone too."""
    rng = np.random.default_rng(3)
    turns = [(0.0, 2.4), (0.4, 2.2), (0.0, 1.9), (0.18, 2.6), (0.4, 2.9)]
    return np.concatenate([speech(voice, seconds, rng) for voice, seconds in turns])


@contextmanager
def browsing(playwright: Any, microphone: Path | None = None) -> Iterator[Any]:
    """A Chromium whose microphone plays a file once for each page that listens; or that has none."""
    arguments = ["--no-sandbox", "--mute-audio", "--autoplay-policy=no-user-gesture-required"]
    if microphone:
        arguments += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        ]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    yield browser
    browser.close()


class Visits:
    """Opens pages; at the end there was no error in them and no request to elsewhere, or the test fails."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.opened: list[Any] = []
        self.wrong: list[str] = []
        self.expected: tuple[str, ...] = ("Blocked autofocusing",)  # the report's dialog, in a frame

    def __call__(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 800,
        routes: dict[str, Callable[[Any], object]] | None = None,
        sockets: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> Any:
        """Open the page; `routes` and `sockets` answer instead of the server."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, permissions=["microphone"], **options
        )
        context.set_default_timeout(30_000)
        context.add_init_script(WATCH)
        page = context.new_page()
        self.opened.append(context)
        page.on("console", lambda message: self.note(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.note(str(error)))
        page.on("request", lambda request: self.fetched(request.url, url))
        for pattern, answer in (routes or {}).items():
            page.route(pattern, answer)
        if sockets:
            page.route_web_socket("**/v1/stream", sockets)
        page.goto(url)
        state(page, "home")
        return page

    def fetched(self, address: str, ours: str) -> None:
        if not address.startswith((ours, ours.replace("http", "ws", 1), "blob:", "data:,")):
            self.wrong.append(f"request: {address}")

    def note(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.wrong.append(text)

    def close(self) -> None:
        for context in self.opened:
            context.close()
        assert not self.wrong, self.wrong


def state(page: Any, name: str) -> None:
    """Wait until the page is in this state."""
    page.wait_for_selector(f"body[data-state={name}]")


def listen(page: Any, latency_s: float = 1, speakers: int | None = None) -> None:
    """Press the button."""
    page.select_option("#latency", str(latency_s))
    page.select_option("#listen-speakers", str(speakers or ""))
    page.click("#listen")
    state(page, "listening")


def until(page: Any, condition: str) -> None:
    """Wait for a condition; a policy forbids what `wait_for_function` does."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {condition}")


def heard_s(page: Any, seconds: float) -> None:
    """Wait until the page has listened for so long."""
    shown = "document.querySelector('#heard').textContent.split(':')"
    until(page, f"{shown}.reduce((sum, part) => 60 * sum + Number(part), 0) >= {seconds}")


def given(page: Any) -> np.ndarray:
    """All samples that the page's microphone gave, as 16-bit numbers."""
    packed = page.evaluate("""async () => {
        const bytes = new Blob(given);
        const reader = new FileReader();
        await new Promise((done) => {
            reader.onload = done;
            reader.readAsDataURL(bytes);
        });
        return reader.result.split(",")[1] ?? "";
    }""")
    return np.frombuffer(base64.b64decode(packed), "<i2")


def saved(page: Any, kind: str) -> str:
    """The text of a download."""
    with page.expect_download() as download:
        page.click(f"[data-export={kind}]")
    return Path(download.value.path()).read_text("utf-8")


def rename(page: Any, name: str, to: str) -> None:
    """Give a speaker another name."""
    field = page.get_by_label(f"Name of {name}", exact=True)
    field.fill(to)
    field.press("Enter")


def problem(page: Any) -> str:
    """What the page says is wrong."""
    page.wait_for_selector("#problem:not([hidden])")
    return page.inner_text("#problem")


def cut_off(page: Any, seconds: float) -> None:
    """Break the connection, and let no new one be made for so long; what was just sent does not arrive."""
    page.evaluate("""async (seconds) => {
        const socket = sockets.at(-1);
        socket.send = () => {};
        await new Promise((done) => setTimeout(done, 300));
        const back = performance.now() + 1000 * seconds;
        window.aside = () => performance.now() < back;
        socket.close();
    }""", seconds)  # fmt: skip
