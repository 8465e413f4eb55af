"""Fixtures of the tests of the report, which name this module in `pytest_plugins`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_page import CHROMIUM, CLICKS, RATE, SECONDS, TURNS, WATCH

from diarize.report import write_report
from diarize.result import Diarization


@pytest.fixture(scope="session")
def recording(tmp_path_factory, write_wav) -> Path:
    """20 s of faint noise with clicks."""
    samples = np.random.default_rng(7).normal(0, 60, round(SECONDS * RATE))
    for second in CLICKS:
        samples[round(second * RATE)] = 30000
    return write_wav(tmp_path_factory.mktemp("report") / "talk.wav", samples, RATE)


@pytest.fixture(scope="session")
def report(tmp_path_factory, recording):
    """A function that writes a page and returns its path; pages of the same arguments are made once."""
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def make(turns=TURNS, *, audio=True, uri="talk", duration=SECONDS, **options) -> Path:
        key = repr((turns, audio, uri, duration, sorted(options.items())))
        if key not in made:
            found = Diarization(tuple(turns), duration, uri)
            path = folder / f"{len(made)}.html"
            made[key] = write_report(path, found, recording if audio else None, **options)
        return made[key]

    return make


@pytest.fixture(scope="module")
def report_browser(playwright):
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    yield browser
    browser.close()


@pytest.fixture
def visit_report(report_browser):
    """A function that opens a page; at the end of the test there was no error and no request, or it fails."""
    opened, wrong = [], []

    def go(path: Path, width=1280, height=900, ready="sound", watch="", **options):
        context = report_browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        context.add_init_script(WATCH + watch)
        page = context.new_page()
        opened.append(context)
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: fetched(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(f"body[data-ready={ready}]")
        return page

    def fetched(url: str) -> None:
        if not url.startswith(("file:///", "blob:null/", "blob:file:", "data:,")):
            wrong.append(f"request: {url}")

    go.wrong = wrong
    yield go
    for context in opened:
        context.close()
    assert not wrong
