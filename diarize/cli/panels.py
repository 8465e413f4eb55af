"""How `--help` is laid out: verbs by what they are for, and the options of a verb by what they are about.

An option has one place whatever verb it belongs to, so the table is here, not beside each option. What is
said of an example stands behind a ``#``, so that its line can be copied into a shell as it is.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperGroup

VERBS = {
    "Who spoke when": ("run", "batch", "stream", "serve"),
    "What was found": ("words", "convert", "correct", "extract", "report", "plot"),
    "Voices": ("verify", "calibrate", "embed", "enrol", "link"),
    "How right it is": ("score", "tune"),
    "This installation": ("config", "doctor", "models"),
}
"""In which panel each verb stands; in the order of the panels."""

OPTIONS = {
    "Output": (
        "output",
        "form",
        "to",
        "keep",
        "show",
        "as_json",
        "overwrite",
        "save_embeddings",
        "exit_code",
        "title",
        "sound",
    ),
    "Speakers": ("num_speakers", "min_speakers", "max_speakers", "enrol", "shared_names"),
    "Sound": ("channel", "vad", "real_time", "rate", "format", "channels"),
    "Limits": (
        "timeout",
        "max_memory",
        "keep_hours",
        "max_streams",
        "max_stream_hours",
        "resume",
        "max_upload",
        "max_file_hours",
    ),
    "Model and machine": (
        "config",
        "model",
        "device",
        "engine",
        "precision",
        "threads",
        "overlap",
        "workers",
        "runner",
        "address",
    ),
}
"""In which panel an option stands, by the name of its parameter; others stand first, under Options."""

FEW = 8
"""Verbs with no more options have no panels."""


class Verbs(TyperGroup):
    """The command with its verbs, laid out."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.help = commented(self.help)
        for panel, names in VERBS.items():
            for name in names:
                if name in self.commands:
                    lay_out(self.commands[name], panel)


def lay_out(verb: Any, panel: str) -> None:
    """Give a verb its panel, and its options theirs, in the order of the table."""
    verb.rich_help_panel = panel
    for one in (verb, *getattr(verb, "commands", {}).values()):
        one.help = commented(one.help)
    options = [param for param in verb.params if param.param_type_name == "option"]
    if len(options) <= FEW:
        return
    panels = {name: panel for panel, names in OPTIONS.items() for name in names}
    for option in options:
        if option.rich_help_panel is None:
            option.rich_help_panel = panels.get(option.name)
    order = [None, *OPTIONS]
    verb.params.sort(
        key=lambda param: (
            order.index(getattr(param, "rich_help_panel", None))
            if getattr(param, "rich_help_panel", None) in order
            else 1.5  # a verb's own panels come after Output
        )
    )


def commented(text: str | None) -> str | None:
    """Help whose examples, items that begin with a command, have what is said of them in a comment."""
    return text and re.sub(r"^(\s*- `[^`]+`),? (?=[^\s#])", r"\1 # ", text, flags=re.MULTILINE)
