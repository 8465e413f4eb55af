"""The documented API is the one that is served; it can be read without a network."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import httpx
import jsonschema
import pytest
from conftest import ROOT
from fakes import RATE, conversation
from server_running import QUICK, fake_diarizer, pcm, serving
from starlette.routing import Mount, Route, WebSocketRoute
from typer.testing import CliRunner

from diarize.cli import app
from diarize.formats.registry import FORMATS
from diarize.server.app import API, ASSETS
from diarize.server.messages import CONTAINERS, RAW
from diarize.server.refusals import CLOSE_CODES, HTTP_STATUS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPENAPI = json.loads((API / "openapi.json").read_text("utf-8"))
DOCS = (ROOT / "docs" / "server.md").read_text("utf-8")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), **QUICK) as running:
        yield running


def inlined(schema: object) -> object:
    """A schema of OpenAPI 3.0 as JSON Schema."""
    if isinstance(schema, list):
        return [inlined(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inlined(OPENAPI["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    plain = {key: inlined(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") else plain


def test_every_route_is_documented_and_the_other_way_round(running):
    from diarize.server.app import routes

    served = set()
    for route in routes(running.server):
        if isinstance(route, WebSocketRoute):
            served.add((route.path, "get"))
        elif isinstance(route, Route):
            served |= {(route.path, method.lower()) for method in route.methods - {"HEAD"}}
        else:
            assert isinstance(route, Mount)
    served -= {(path, "get") for path in ("/", "/docs", "/docs/start.js", "/openapi.json")}
    served = {(path, verb) for path, verb in served if not path.startswith("/assets/")}
    documented = {(path, method) for path, methods in OPENAPI["paths"].items() for method in methods}
    assert served == documented


def test_the_document_holds_together():
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(OPENAPI)):
        assert reference.rpartition("/")[2] in OPENAPI["components"]["schemas"]
    for path, methods in OPENAPI["paths"].items():
        for method in methods.values():
            named = {one["name"] for one in method.get("parameters", []) if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            for status, answer in method["responses"].items():
                assert int(status) < 400 or answer["content"]["application/json"]["schema"]
    [form] = [
        p
        for p in OPENAPI["paths"]["/v1/recordings/{id}/result"]["get"]["parameters"]
        if p["name"] == "format"
    ]
    assert form["schema"]["enum"] == list(FORMATS)
    assert set(inlined({"$ref": "/Error"})["properties"]["error"]["properties"]["code"]["enum"]) == set(
        HTTP_STATUS
    )


def test_answers_are_as_documented(running):
    schema = OPENAPI["paths"]["/health"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(httpx.get(f"{running.http}/health").json(), inlined(schema))
    answer = httpx.post(f"{running.http}/v1/recordings", content=b"junk")
    jsonschema.validate(answer.json(), inlined({"$ref": "/Recording"}))
    for path in ("/v1/recordings/none", "/nothing"):
        jsonschema.validate(httpx.get(running.http + path).json(), inlined({"$ref": "/Error"}))
    assert httpx.put(f"{running.http}/health").status_code == 405


def test_metrics_are_prometheus_text(running):
    from prometheus_client.parser import text_string_to_metric_families

    answer = httpx.get(f"{running.http}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"diarize_streams", "diarize_push_seconds", "diarize_refused", "diarize_lag_seconds"} <= names


def test_the_client_of_the_docs_works(running):
    [code] = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    names: dict = {}
    exec(compile(code, "docs/server.md", "exec"), names)
    samples = pcm(conversation(2, turns=4))

    async def pieces():
        for first in range(0, len(samples), 1600):
            yield samples[first : first + 1600]

    async def heard() -> list[dict]:
        return [said async for said in names["listen"](running.stream, pieces())]

    *turns, last = asyncio.run(heard())
    assert [turn["seq"] for turn in turns] == list(range(1, last["seq"] + 1))
    assert last["result"] == json.loads(fake_diarizer()(samples, sample_rate=RATE, uri="live").to("json"))


def test_docs_name_every_option():
    said = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).stdout
    for option in re.findall(r"`(--[a-z-]+)", DOCS):
        assert option in said, option


def test_docs_name_every_code_and_format():
    for code, closes in CLOSE_CODES.items():
        if code != "forbidden":
            assert re.search(rf"\| `{code}` \| {closes} \|", DOCS), code
    for name in (*HTTP_STATUS, *RAW, *CONTAINERS):
        assert f"`{name}`" in DOCS, name


def test_nothing_is_asked_of_anybody_else():
    """No page names another host to fetch from; scripts and styles stand in files of their own."""
    for path in [*Path(API).glob("*.html"), *Path(ASSETS).glob("*.html")]:
        text = path.read_text("utf-8")
        assert not re.search(r"<(script|link|img)[^>]*(https?:)?//", text), path
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text), path


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_documentation_is_shown_in_a_browser_without_a_network(running):
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    asked: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{running.http}/docs")
        page.wait_for_selector("text=Say who speaks in a file")
        count = page.locator(".opblock").count()
        browser.close()
    assert count == sum(map(len, OPENAPI["paths"].values()))
    assert complaints == []
    assert all(url.startswith((running.http, "data:")) for url in asked)
