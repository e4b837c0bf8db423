"""The YAML emitter: strings come back as they were. The judges are JSON and, next door, promtool."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.alerts.yaml import emit


def read_back(document: str) -> str:
    """The string of a one-entry document written by `emit`, by the rules of YAML 1.2 for the styles it uses."""
    head, *rest = document.removesuffix("\n").split("\n")
    scalar = head.removeprefix("key: ")
    if scalar == "|-":
        return "\n".join(line[2:] for line in rest)
    assert not rest
    if scalar.startswith('"'):
        return str(json.loads(scalar))
    return scalar[1:-1].replace("''", "'") if scalar.startswith("'") else scalar


@given(st.text())
def test_any_text_survives(text: str) -> None:
    document = emit({"key": text})
    assert read_back(document) == text
    assert not any("\x7f" <= c <= "\x9f" for c in document)  # not allowed raw in YAML


@pytest.mark.parametrize(
    "word",
    ["true", "No", "null", "~", "12", "1.5", "1e3", "", "- a", "a: b", "a #b", " a", "a ", "0x1F", "*a", "&a", "!a"],
)
def test_what_yaml_would_read_as_something_else_is_quoted(word: str) -> None:
    assert emit({"key": word}) == f'key: "{word}"\n'


def test_nested_values_are_laid_out_in_blocks() -> None:
    assert emit(
        {"groups": [{"name": "a", "rules": [{"expr": "x\nor\ny", "labels": {"b": "c"}}, {"count": 1}], "none": []}]}
    ) == (
        "groups:\n"
        "  - name: a\n"
        "    rules:\n"
        "      - expr: |-\n"
        "          x\n"
        "          or\n"
        "          y\n"
        "        labels:\n"
        "          b: c\n"
        "      - count: 1\n"
        "    none: []\n"
    )
