"""Which engine is chosen, by what a machine has and what is asked for."""

from __future__ import annotations

import pytest

import diarize.engine
from diarize import ConfigError
from diarize.engine import choose


def machine_with(monkeypatch, *, openvino: bool, cuda: bool, bf16: bool) -> None:
    monkeypatch.setattr(diarize.engine, "has_cuda", lambda: cuda)
    monkeypatch.setattr(diarize.engine, "has_bf16", lambda: bf16)
    found = object() if openvino else None
    monkeypatch.setattr(diarize.engine.importlib.util, "find_spec", lambda name: found)


@pytest.mark.parametrize(
    ("here", "asked", "chosen"),
    [
        ("openvino", (), ("openvino", "cpu", "f32")),
        ("openvino bf16", (), ("openvino", "cpu", "bf16")),
        ("openvino bf16", ("auto", "auto", "bf16"), ("openvino", "cpu", "bf16")),
        ("openvino bf16 cuda", (), ("torch", "cuda", "f32")),
        ("openvino bf16", ("auto", "auto", "f32"), ("openvino", "cpu", "f32")),
        ("openvino bf16 cuda", ("openvino",), ("openvino", "cpu", "bf16")),
        ("openvino bf16 cuda", ("auto", "cpu", "bf16"), ("openvino", "cpu", "bf16")),
        ("openvino bf16", ("auto", "auto", "int8"), ("openvino", "cpu", "int8")),
        ("openvino", ("openvino", "cpu", "int8"), ("openvino", "cpu", "int8")),
        ("openvino", ("torch",), ("torch", "cpu", "f32")),
        ("openvino cuda", ("torch", "cuda:1"), ("torch", "cuda:1", "f32")),
        ("", (), ("torch", "cpu", "f32")),
        ("cuda", (), ("torch", "cuda", "f32")),
    ],
)
def test_the_engine_that_is_meant(monkeypatch, here, asked, chosen):
    machine_with(monkeypatch, **{name: name in here for name in ("openvino", "cuda", "bf16")})
    assert choose(*asked) == chosen


@pytest.mark.parametrize(
    ("here", "asked", "said"),
    [
        ("", ("openvino",), "pip install openvino"),
        ("openvino", ("openvino", "cuda"), "use engine 'torch'"),
        ("openvino", ("auto", "auto", "bf16"), "does not compute in it; use 'f32'"),
        ("openvino bf16", ("torch", "cpu", "bf16"), "needs engine 'openvino'"),
        ("", ("auto", "auto", "bf16"), "needs engine 'openvino'"),
        ("", ("auto", "auto", "int8"), "precision 'int8' needs engine 'openvino'"),
        ("openvino bf16 cuda", ("auto", "auto", "int8"), "precision 'int8' needs engine 'openvino'"),
    ],
)
def test_what_cannot_be_is_said(monkeypatch, here, asked, said):
    machine_with(monkeypatch, **{name: name in here for name in ("openvino", "cuda", "bf16")})
    with pytest.raises(ConfigError, match=said):
        choose(*asked)
