"""The verb `serve`: the real command with the real networks, and what it says when it cannot."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from server_running import until
from typer.testing import CliRunner

from diarize.cli import app, serve
from diarize.errors import ConfigError


@pytest.fixture
def started(monkeypatch):
    """What the command would serve, without serving it."""
    seen: list[tuple] = []
    monkeypatch.setattr(serve, "run", lambda *given: seen.append(given))
    monkeypatch.delenv("DIARIZE_TOKEN", raising=False)
    monkeypatch.delenv("DIARIZE_DATA", raising=False)

    def start(*words: str, **environment: str):
        result = CliRunner().invoke(app, ["serve", *words], env=environment, catch_exceptions=False)
        return result, seen

    return start


def test_the_command_serves_until_it_is_told_to_end(tmp_path, weights, sample_wav):
    for name in ("campplus-zh-en", "segmentation-3.0"):
        weights(name)
    command = [sys.executable, "-m", "diarize", "serve", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = next(line for line in server.stderr if "serving on" in line)
            address = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
            assert httpx.get(f"{address}/health").json()["status"] == "ok"
            posted = httpx.post(f"{address}/v1/recordings?name=sample", content=sample_wav.read_bytes())
            url = address + posted.json()["url"]
            until(lambda: httpx.get(url).json()["state"] in ("done", "failed"), 60)
            found = httpx.get(f"{url}/result").json()
            assert len(found["speakers"]) == 2
            server.send_signal(signal.SIGINT)
            server.stderr.read()
            assert server.wait(20) == 130
        finally:
            server.kill()
    assert json.loads(next((tmp_path / "results").glob("*.json")).read_text()) == found


def test_options_reach_the_server(started, tmp_path):
    result, seen = started(
        "--port", "9000", "--data", str(tmp_path), "--allow-origin", "https://a.example", "--allow-origin",
        "https://b.example", "--allow-host", "Diarize.LAN", "--keep-hours", "2", "--max-streams", "7",
        "--max-stream-hours", "1", "--resume-s", "30", "--max-upload-mb", "10", "--max-file-hours", "3",
        "--precision", "f32", "--overlap", "off",
    )  # fmt: skip
    assert result.exit_code == 0
    host, port, options, config, loading = seen[0]
    assert (host, port, config) == ("127.0.0.1", 9000, None)
    assert options.data == tmp_path
    assert options.origins == ("https://a.example", "https://b.example")
    assert options.hosts == ("diarize.lan",)
    assert (options.keep_s, options.max_streams, options.max_stream_s) == (7200, 7, 3600)
    assert (options.resume_s, options.max_upload, options.max_file_s) == (30, 10 << 20, 10800)
    assert options.token is None
    assert loading["precision"] == "f32"
    assert loading["overlap"] == "off"
    assert "warning" not in result.output


def test_the_token_comes_from_the_environment(started):
    _, seen = started(DIARIZE_TOKEN="from the environment", DIARIZE_DATA="/somewhere")
    assert seen[0][2].token == "from the environment"
    assert seen[0][2].data == Path("/somewhere")
    _, seen = started("--token", "from the command", DIARIZE_TOKEN="from the environment")
    assert seen[1][2].token == "from the command"
    _, seen = started(DIARIZE_TOKEN="")
    assert seen[2][2].token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7"])
def test_it_warns_where_everybody_could_come(started, host):
    result, _ = started("--host", host)
    assert f"whoever reaches {host} can use this server" in result.output
    result, _ = started("--host", host, DIARIZE_TOKEN="a long secret")
    assert "warning" not in result.output


def test_a_short_token_is_refused(started):
    with pytest.raises(ConfigError, match="a token must have 8 characters or more"):
        started("--token", "1234")


def test_a_token_can_be_required(started):
    with pytest.raises(ConfigError, match="a token is required and there is none; set DIARIZE_TOKEN"):
        started("--require-token")
    result, _ = started("--require-token", DIARIZE_TOKEN="a long secret")
    assert result.exit_code == 0


def test_the_extra_is_named_where_it_is_missing(started, monkeypatch):
    monkeypatch.setattr(serve, "NEEDED", ("json", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs the package no_such_package; .*diarize-campplus\[serve\]"):
        started()


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(tmp_path):
    from diarize.server.wire import listen

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1, port {port}: .*another --port"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"cannot listen on 203\.0\.113\.1"):
        listen("203.0.113.1", 0)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['diarize', 'serve', '--help']\n"
        "from diarize.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'torch', 'starlette', 'uvicorn', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert "--allow-origin" in done.stdout
