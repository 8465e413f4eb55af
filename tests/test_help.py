"""`--help` as a manual: synopsis, what it does, examples that the command line accepts, options in groups."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from diarize.cli import app
from diarize.cli.panels import FEW, OPTIONS, VERBS

COMMAND: Any = typer.main.get_command(app)


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for verb, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, f"{name} {verb}")


COMMANDS = dict(walk(COMMAND, "diarize"))
WRONG = {"NoSuchOption", "MissingParameter", "UsageError", "NoSuchCommand", "BadParameter"}

every_command = pytest.mark.parametrize("name", COMMANDS)


def shown(name: str, width: int) -> str:
    arguments = [*name.split()[1:], "--help"]
    result = CliRunner().invoke(app, arguments, prog_name="diarize", env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.exception
    return result.stdout


def examples(command: Any) -> list[tuple[str, bool]]:
    """The command lines in the list of examples, and whether they are whole: others are named in passing."""
    listed = re.findall(r"^\s*- (.+(?:\n(?!\s*-|\s*$).+)*)", command.help or "", re.MULTILINE)
    spans = [re.findall(r"`([^`]+)`", item) for item in listed]
    found = [(" ".join(span.split()), i == 0) for item in spans for i, span in enumerate(item)]
    return [(line, whole) for line, whole in found if "diarize " in line]


def calls(line: str) -> list[list[str]]:
    """The arguments of each `diarize` in a shell line."""
    line = re.sub(r"\$\(([^)]*)\)", r"| \1 |", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    skip = False
    for token in lexer:
        if token in ("|", ";", "&&"):
            found.append([])
        elif token in (">", "<"):
            skip = True  # the file that it goes to
        elif skip:
            skip = False
        else:
            found[-1].append(token)
    for words in found:
        while words and re.match(r"[A-Z_]+=", words[0]):  # a variable for this call
            del words[0]
    return [words[1:] for words in found if words[:1] == ["diarize"]]


@every_command
@pytest.mark.parametrize("width", [80, 120])
def test_it_is_a_manual(name, width):
    text = shown(name, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    first = next(line.strip() for line in lines if line.strip())
    assert first.startswith(f"Usage: {name} "), "the synopsis comes first"
    command = COMMANDS[name]
    said = " ".join(text.split())
    assert " ".join(plain(command.help.split("\n\n")[0]).split()) in said, "then what it does, in a sentence"
    assert re.search(r"^ Examples?: *$", text, re.MULTILINE)
    for option in command.params:
        if option.param_type_name == "option" and not option.hidden:
            assert option.opts[0] in text
            assert option.help, f"{option.opts[0]} of {name} has no help"


def plain(text: str) -> str:
    return text.replace("`", "").replace("*", "")


@every_command
def test_there_is_an_example_and_the_command_line_takes_it(name):
    """Parsed as the command parses its arguments, verb and all; an option that is gone is found here."""
    shown = examples(COMMANDS[name])
    whole = [line for line, whole in shown if whole]
    assert any(line.split("diarize", 1)[1].startswith(name.removeprefix("diarize")) for line in whole), (
        f"no example of {name} itself"
    )
    assert not re.search(r"^\s*- `[^`]+`,? +[^\s#]", COMMANDS[name].help, re.MULTILINE), "copied, it runs"
    for line, whole in shown:
        assert calls(line), line
        for arguments in calls(line):
            try:
                parse(arguments)
            except Exception as error:
                if whole or type(error).__name__ != "MissingParameter":
                    raise


def parse(arguments: list[str]) -> None:
    """The verb's own parser: wrong options, missing arguments and wrong values raise."""
    context = COMMAND.make_context("diarize", list(arguments))
    command, rest = COMMAND, [*context._protected_args, *context.args]
    while rest and getattr(command, "commands", None):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        rest = [*getattr(context, "_protected_args", []), *context.args]


@pytest.mark.parametrize(
    "line",
    [
        "diarize run a.wav --no-such-option",
        "diarize run",
        "diarize walk a.wav",
        "diarize run a.wav -n none",
        "diarize models push x",
        "diarize plot a.rttm --kind heat",
    ],
)
def test_a_wrong_example_would_be_found(line):
    (arguments,) = calls(line)
    with pytest.raises(Exception, match=r".") as caught:  # which module's depends on the version of typer
        parse(arguments)
    assert type(caught.value).__name__ in WRONG


def test_shell_lines_are_taken_apart():
    assert calls("diarize run a.wav -o - | diarize convert - --from rttm > b.json") == [
        ["run", "a.wav", "-o", "-"],
        ["convert", "-", "--from", "rttm"],
    ]
    assert calls("sha256sum $(diarize models where sample)") == [["models", "where", "sample"]]
    assert calls("ffmpeg -i x - | diarize stream - --rate 16000") == [["stream", "-", "--rate", "16000"]]


def test_every_verb_has_its_panel():
    """A new verb finds its place in `diarize.cli.panels`, and stands there."""
    assert {name for names in VERBS.values() for name in names} == set(COMMAND.commands)
    text = shown("diarize", 80)
    places = [text.index(f" {panel} ") for panel in VERBS]
    assert places == sorted(places)
    for panel, names in VERBS.items():
        part = text[text.index(f" {panel} ") :].split("╰", 1)[0]
        assert [line.split()[1] for line in part.splitlines()[1:] if re.match(r"│ \w", line)] == list(names)


def test_the_exit_status_stands_in_it():
    said = " ".join(shown("diarize", 80).split())
    assert "Exit status: 0 all done; 1 something could not be done" in said
    assert "2 the command line is wrong; 3 verify --exit-code" in said
    assert "130 interrupted" in said


@every_command
def test_many_options_stand_in_groups(name):
    """The same option in the same group whatever the verb; an unknown name in the table would do nothing."""
    options = [param for param in COMMANDS[name].params if param.param_type_name == "option"]
    if len(options) <= FEW or name == "diarize":
        return
    groups = [option.rich_help_panel for option in options]
    assert len(set(groups)) >= 2
    assert groups.count(None) <= 8
    runs = [group for i, group in enumerate(groups) if i == 0 or groups[i - 1] != group]
    assert len(runs) == len(set(runs)), "a group stands together"
    own = {option.name: option.rich_help_panel for option in options}
    for panel, names in OPTIONS.items():
        assert all(own[option] == panel for option in names if option in own)


def test_the_table_of_groups_names_options_that_exist():
    there = {param.name for command in COMMANDS.values() for param in command.params}
    assert {option for names in OPTIONS.values() for option in names} <= there
