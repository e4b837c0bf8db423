"""What an error of the SDK means for the run: whether to send again, when, and whether it may have been billed."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import pytest

from instrument.runner import calling
from instrument.runner.wants import Arrived, Failed

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/messages")


def status(code: int, **headers: str) -> anthropic.APIStatusError:
    response = httpx2.Response(code, request=REQUEST, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return anthropic.APIStatusError("said no", response=response, body=None)


@pytest.mark.parametrize(
    ("error", "temporary", "billed", "retry_after"),
    [
        (status(400), False, False, None),
        (status(408), True, False, None),
        (status(409), True, False, None),
        (status(413), False, False, None),
        (status(429, retry_after="7"), True, False, 7.0),
        (status(429, retry_after_ms="250", retry_after="7"), True, False, 0.25),
        (status(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), True, False, None),
        (status(529, x_should_retry="false"), False, False, None),
        (status(400, x_should_retry="true"), True, False, None),
        (status(200), True, True, None),  # an error event in a stream that had begun
        (anthropic.APITimeoutError(REQUEST), True, True, None),
        (anthropic.APIConnectionError(request=REQUEST), True, True, None),
        (TypeError("no such parameter"), False, False, None),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), False, False, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_an_error_means(error: Exception, temporary: bool, billed: bool, retry_after: float | None) -> None:
    assert calling.failed(error) == Failed(error, temporary, billed, retry_after)


def test_what_never_left_is_not_billed_and_what_had_begun_is() -> None:
    error = anthropic.APIConnectionError(request=REQUEST)
    error.__cause__ = httpx2.ConnectError("refused")
    assert (calling.failed(error).billed, calling.failed(error, sent=True).billed) == (False, True)
    assert (calling.failed(TypeError()).billed, calling.failed(TypeError(), sent=True).billed) == (False, True)


@pytest.mark.parametrize("message", [None, "<html>", b"", 7])
def test_what_is_no_message_is_a_failure_that_may_pass_and_was_billed(message: Any) -> None:
    found = calling.arrived(message)
    assert isinstance(found, Failed)
    assert (found.temporary, found.billed) == (True, True)


def test_a_message_arrives_as_json_with_what_the_sdk_does_not_know() -> None:
    block = {"type": "hologram", "data": [1, None]}
    found = calling.arrived(anthropic.types.Message.construct(id="m", content=[block], usage=None))
    assert isinstance(found, Arrived)
    assert found.message["content"] == [block]
