"""Items of a history: found again by what they say, and never more of them than fit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from instrument import genai_messages, items
from instrument.capture import as_json
from instrument.items import Known
from instrument.redact import Redactor

CONTENTS = st.sampled_from(["", "a", "password=hunter22", "\ud83d", "ä\n\"'\\", 7, None, {"type": "text"}]) | st.lists(
    st.sampled_from(
        [
            "b",
            {"type": "text", "text": "c"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"n": 1}},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"n": 1.0}},
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "api_key=abcd1234"}]},
            {1: object},
        ]
    ),
    max_size=3,
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", 1]), "content": CONTENTS}))


@given(MESSAGES)
def test_what_is_known_is_what_would_be_made_anew(sent: list[dict[str, Any]]) -> None:
    known, redactor = Known(as_json), Redactor()
    plain = json.loads(as_json(genai_messages.messages(sent))[0])
    for _ in range(2):
        found = known.messages(sent)
        assert found is not None
        assert json.loads(str(found)) == plain
        quoted, count = found.quoted(redactor)
        text, expected = redactor.text(str(found))
        assert (json.loads(b'"[%b]"' % b",".join(quoted)), count) == (
            text.encode("utf-8", "replace").decode(),
            expected,
        )


def test_only_the_same_content_is_the_same_item() -> None:
    @dataclass
    class Block:
        type: str
        text: str

    known = Known(as_json)
    said = ["[1]", [1], [1.0], [True], [{"type": "text", "text": "x"}], [Block("text", "y")], [Block("text", "z")]]
    found = known.messages([{"role": "user", "content": content} for content in said])
    again = known.messages([{"role": "user", "content": content} for content in said])
    assert found is not None
    assert again is not None
    assert [one is other for one, other in zip(found, again, strict=True)] == [True] * 5 + [False] * 2
    assert len({item.json for item in found}) == len(said) - 2, "the first three lists have no part that means anything"
    assert known.messages([{"content": "no role"}]) is None


def test_what_cannot_be_json_leaves_a_list_that_can() -> None:
    cycle: list[Any] = [{"type": "tool_use", "name": "f"}]
    cycle[0]["input"] = cycle
    known = Known(as_json)
    for found in (known.system(cycle), known.messages([{"role": "user", "content": cycle}])):
        (odd,) = json.loads(str(found))
        assert "tool_call" in odd


def test_no_more_is_kept_than_the_limit_allows() -> None:
    known = Known(as_json)
    text = "x" * 100_000
    for n in range(100):
        known.messages([{"role": "user", "content": f"{n} {text}"}, {"role": "user", "content": "again and again"}])
    kept = {**known._before, **known._recent}
    assert sum(len(item.json) for item in kept.values()) <= 2 * items._KEPT_CHARS + len(text)
    assert ("user", "again and again") in kept
