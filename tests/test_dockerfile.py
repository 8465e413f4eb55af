"""The image, as far as it can be judged without building it."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import dockerfile_parse
import pytest
import typer
from conftest import ROOT

from diarize.cli.serve import serve
from diarize.models import ASSETS

DOCKERFILE = ROOT / "Dockerfile"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

pytestmark = pytest.mark.skipif(not DOCKERFILE.exists(), reason="the sources hold no Dockerfile")


def steps() -> list[list[tuple[str, str]]]:
    """(instruction, value) of each stage."""
    stages: list[list[tuple[str, str]]] = []
    for step in dockerfile_parse.DockerfileParser(fileobj=io.BytesIO(DOCKERFILE.read_bytes())).structure:
        if step["instruction"] == "FROM":
            stages.append([])
        if step["instruction"] != "COMMENT":
            stages[-1].append((step["instruction"], step["value"]))
    return stages


@pytest.fixture(scope="module")
def stages():
    return steps()


def values(stage, instruction: str) -> list[str]:
    return [value for name, value in stage if name == instruction]


def environment(stage) -> dict[str, str]:
    return dict(word.split("=", 1) for value in values(stage, "ENV") for word in shlex.split(value))


def test_two_stages_of_one_pinned_base(stages):
    bases = [values(stage, "FROM")[0].split()[0] for stage in stages]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases[0])


def test_everything_comes_from_locks_with_hashes(stages):
    installs = [
        line.strip()
        for value in values(stages[0], "RUN")
        for line in value.split("&&")
        if "pip install" in line
    ]
    locked = [line for line in installs if "--require-hashes" in line]
    assert {re.search(r"-r (\S+)", line)[1] for line in locked} == {
        "docker/requirements.lock",
        "docker/build.lock",
    }
    for line in set(installs) - set(locked):
        assert "--no-deps" in line, line
        assert "/dist/" in line or ('--index-url "$TORCH_INDEX" -r docker/torch.txt' in line)
    assert values(stages[0], "ARG") == [f"TORCH_INDEX={TORCH_INDEX}"]
    assert not values(stages[1], "ARG")


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_a_lock_is_whole_and_names_no_index(name):
    text = (ROOT / "docker" / name).read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if not entry.startswith("#")]
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+( ; .*)? \\\n", entry), entry[:60]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:60]
    found = {entry.split("==")[0] for entry in entries}
    assert not [one for one in found if one.startswith(("nvidia", "triton"))]
    if name == "requirements.lock":
        assert {"numpy", "openvino", "starlette", "uvicorn", "av", "sympy"} <= found
        assert not {"torch", "torchaudio", "pytest"} & found


def test_versions_are_those_of_the_tests():
    pinned = {
        line.partition("==")[0].lower().replace("_", "-"): line.partition("==")[2]
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    for path in (ROOT / "docker").iterdir():
        for name, version in re.findall(
            r"^([A-Za-z0-9_-]+)==([^\s;\\]+)", path.read_text("utf-8"), re.MULTILINE
        ):
            if name in pinned:
                assert version == pinned[name], (path.name, name)


def test_the_weights_are_inside_and_no_network_is_needed(stages):
    pulled = next(value for value in values(stages[0], "RUN") if "models pull" in value)
    names = re.search(r"models pull ([\w. -]+?)\s*(&&|$)", pulled)[1].split()
    assert set(names) == {"campplus-zh-en", "segmentation-3.0"}
    assert set(names) <= set(ASSETS)
    cache = environment(stages[0])["DIARIZE_CACHE"]
    inside = environment(stages[1])
    assert inside["DIARIZE_CACHE"] == cache
    assert inside["DIARIZE_OFFLINE"] == "1"
    assert any(f" {cache} {cache}" in value for value in values(stages[1], "COPY"))


def test_it_runs_as_nobody_and_without_a_token_not_at_all(stages):
    last = stages[1]
    order = [name for name, _ in last]
    assert values(last, "USER") == ["10001:10001"]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert all(name != "RUN" for name in order[order.index("USER") :])
    assert values(last, "EXPOSE") == ["8000"]
    assert values(last, "VOLUME") == [environment(last)["DIARIZE_DATA"]] == ["/data"]
    words = json.loads(values(last, "ENTRYPOINT")[0])
    assert words[:2] == ["diarize", "serve"]
    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert words[words.index("--port") + 1] == "8000"
    assert "--require-token" in words
    app = typer.Typer()
    app.command("serve")(serve)
    known = {option for one in typer.main.get_command(app).params for option in one.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert "DIARIZE_TOKEN" not in environment(last), "a token is never part of an image"


def test_its_health_is_asked_for_without_more_software(stages):
    [check] = values(stages[1], "HEALTHCHECK")
    options, _, command = check.partition("CMD")
    assert {"--interval", "--timeout", "--start-period", "--retries"} <= set(re.findall(r"--[\w-]+", options))
    words = json.loads(command)
    assert words[:2] == ["python", "-c"]
    compile(words[2], "healthcheck", "exec")
    assert "http://127.0.0.1:8000/health" in words[2]


def test_what_is_copied_is_there_and_nothing_else_is_sent(stages):
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {word for value in values(stages[0], "COPY") for word in value.split()[:-1]}
    for word in copied:
        assert (ROOT / word).exists(), word
    assert {Path(word).parts[0] for word in copied} == let_in


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint here")
def test_hadolint_has_nothing_to_say():
    done = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
