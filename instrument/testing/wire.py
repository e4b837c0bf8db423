"""From a reply to the bytes of its answer: body, event stream and headers in the shape of the recorded exchanges."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from instrument.testing.exchanges import Exchange, recorded_exchanges
from instrument.testing.faults import AnyReply
from instrument.testing.replies import RAW_INPUT, ErrorReply, Fault, Reply
from instrument.testing.usage import Usage, context_tokens, estimated_tokens, usage_on_the_wire

MESSAGES = "/v1/messages"
COUNT_TOKENS = "/v1/messages/count_tokens"

_DELTA_CHARACTERS = 40
# They belong to the connection that recorded them; ours has its own length and no compression.
_CONNECTION_HEADERS = {"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"}
_RETRYABLE = {408, 409, 429}

Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the connection: the events of a stream, or the two halves of a plain body, one after another."""

    status: int
    headers: Mapping[str, str]
    pieces: tuple[bytes, ...]
    streaming: bool
    fault: Fault

    @property
    def breaks_off(self) -> bool:
        """Whether the connection ends before the answer does."""
        return self.fault.cut and not (self.streaming and self.fault.cut_error)

    def sent_pieces(self) -> tuple[bytes, ...]:
        """The pieces up to the cut, if there is one."""
        return self.pieces[: _half_or(self.fault.cut_after, self.pieces)] if self.breaks_off else self.pieces

    def pause_seconds(self, number: int) -> float:
        """How long to wait before piece `number`."""
        stalls = number == _half_or(self.fault.stall_after, self.pieces)
        return self.fault.piece_delay_seconds + (self.fault.stall_seconds if stalls else 0.0)


class Issued:
    """The ids one server has given out, and how long the context was after each of its messages."""

    def __init__(self) -> None:
        self._requests, self._messages, self._tool_uses = itertools.count(1), itertools.count(1), itertools.count(1)
        self._context_tokens: dict[str, int] = {}

    def request_id(self) -> str:
        return f"req_test_{next(self._requests):04d}"

    def prompt_tokens(self, body: Mapping[str, Any]) -> int:
        """The estimated prompt of a request, with what a continued thread has on the server already."""
        thread = body.get("thread")
        previous = thread.get("previous_message_id") if isinstance(thread, dict) else None
        return estimated_tokens(body) + self._context_tokens.get(str(previous), 0)

    def message(self, reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
        """The whole message for `reply` to a request with `body`."""
        content = [self._with_id(block) for block in reply.content]
        counted = usage_on_the_wire(reply.usage or Usage(), prompt_tokens=self.prompt_tokens(body), content=content)
        message_id = f"msg_test_{next(self._messages):04d}"
        self._context_tokens[message_id] = context_tokens(counted)
        wants_tool = any(block["type"] == "tool_use" for block in content)
        message = {
            "model": reply.model or body.get("model"),
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": reply.stop_reason or ("tool_use" if wants_tool else "end_turn"),
            "stop_sequence": None,
            "stop_details": None,
        }
        return message if reply.usage is None else message | {"usage": counted}

    def _with_id(self, block: dict[str, Any]) -> dict[str, Any]:
        if block["type"] != "tool_use" or block["id"] is not None:
            return block
        return block | {"id": f"toolu_test_{next(self._tool_uses):04d}"}


def answer(reply: AnyReply, body: Mapping[str, Any], issued: Issued, now: datetime) -> Answer:
    """The answer that `reply` makes to a request with `body` at the time `now` (UTC)."""
    if isinstance(reply, Exchange):
        return _replayed(reply)
    request_id = issued.request_id()
    if isinstance(reply, ErrorReply):
        error = _json(_error_body(reply) | {"request_id": request_id})
        return _plain(reply.status, _error_headers(reply, request_id, now), error, reply.fault)
    message = issued.message(reply, body)
    streaming = body.get("stream") is True
    headers = _headers_as(_recorded(200, streaming=streaming), request_id, now)
    if streaming:
        return _stream(200, headers, tuple(map(_event_bytes, events(message))), reply.fault)
    return _plain(200, headers, _json(_without_raw(message)), reply.fault)


def _without_raw(message: Mapping[str, Any]) -> dict[str, Any]:
    blocks = [{key: value for key, value in block.items() if key != RAW_INPUT} for block in message["content"]]
    return dict(message) | {"content": blocks}


def token_count(body: Mapping[str, Any], issued: Issued, now: datetime) -> Answer:
    """The answer to a request that only counts tokens."""
    headers = _headers_as(_recorded(200, endpoint=COUNT_TOKENS), issued.request_id(), now)
    return _plain(200, headers, _json({"input_tokens": issued.prompt_tokens(body)}), Fault())


def events(message: Mapping[str, Any]) -> Iterator[Event]:
    """The events that stream `message`, in the order of the recorded streams."""
    start = dict(message) | {"content": [], "stop_reason": None}
    if "usage" in message:
        start["usage"] = _start_usage(message["usage"])
    yield "message_start", {"message": start}
    for index, block in enumerate(message["content"]):
        begun, deltas = _begun(block)
        yield "content_block_start", {"index": index, "content_block": begun}
        if index == 0:
            yield "ping", {}
        for delta in deltas:
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    stop = {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}
    yield "message_delta", {"delta": stop} | ({"usage": _end_usage(message["usage"])} if "usage" in message else {})
    yield "message_stop", {}


def _start_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    start = {key: value for key, value in usage.items() if key != "output_tokens_details"}
    # A stream that breaks off has told this placeholder and never the real number.
    start["output_tokens"] = min(1, usage["output_tokens"])
    return start


def _end_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in usage.items() if key.endswith(("_tokens", "_details"))}


def _begun(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A content block as its start event shows it, and the deltas that fill it. Unknown kinds come whole."""
    match block["type"]:
        case "text":
            return block | {"text": ""}, [{"type": "text_delta", "text": part} for part in _parts(block["text"])]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": part} for part in _parts(block["thinking"])]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use":
            arguments = block.get(RAW_INPUT, json.dumps(block["input"]) if block["input"] else "")
            parts = ["", *_parts(arguments)]
            begun = {key: value for key, value in block.items() if key != RAW_INPUT} | {"input": {}}
            return begun, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return block, []


def _parts(text: str) -> list[str]:
    return [text[at : at + _DELTA_CHARACTERS] for at in range(0, len(text), _DELTA_CHARACTERS)]


def _replayed(exchange: Exchange) -> Answer:
    kept = {name: value for name, value in exchange.response_headers.items() if name not in _CONNECTION_HEADERS}
    headers = {"content-type": "text/event-stream" if exchange.streaming else "application/json"} | kept
    body = exchange.response_body.encode()
    if not exchange.streaming:
        return _plain(exchange.status, headers, body, exchange.fault)
    return _stream(exchange.status, headers, tuple(filter(None, re.split(rb"(?<=\n\n)", body))), exchange.fault)


def _plain(status: int, headers: Mapping[str, str], body: bytes, fault: Fault) -> Answer:
    if fault.malformed:
        body = body[: len(body) // 2]
    halves = (body[: len(body) // 2], body[len(body) // 2 :])
    return Answer(status, dict(headers) | {"content-length": str(len(body))}, halves, streaming=False, fault=fault)


def _stream(status: int, headers: Mapping[str, str], pieces: tuple[bytes, ...], fault: Fault) -> Answer:
    if fault.malformed:
        middle = len(pieces) // 2
        broken = pieces[middle][: len(pieces[middle]) // 2] + b"\n\n"
        pieces = (*pieces[:middle], broken, *pieces[middle + 1 :])
    if fault.cut and fault.cut_error:
        last = _event_bytes(("error", _error_body(fault.cut_error)))
        pieces = (*pieces[: _half_or(fault.cut_after, pieces)], last)
    return Answer(status, dict(headers) | {"transfer-encoding": "chunked"}, pieces, streaming=True, fault=fault)


def _half_or(number: int | None, pieces: tuple[bytes, ...]) -> int:
    return len(pieces) // 2 if number is None else number


def _error_body(reply: ErrorReply) -> dict[str, Any]:
    return {"type": "error", "error": {"type": reply.type, "message": reply.message}}


def _error_headers(reply: ErrorReply, request_id: str, now: datetime) -> dict[str, str]:
    """Of a recorded error. Nobody has published a 429 or 5xx, so those are composed: no advice against trying again,
    and for a 429 the limits of a recorded success with nothing left of them."""
    headers = _headers_as(_recorded(400), request_id, now)
    if reply.status in _RETRYABLE or reply.status >= 500:
        del headers["x-should-retry"]
    if reply.status == 429:
        limits = _headers_as(_recorded(200), request_id, now)
        headers |= {name: value for name, value in limits.items() if name.startswith("anthropic-ratelimit-")}
        headers |= {name: "0" for name in headers if name.endswith("-remaining")}
    if reply.retry_after_seconds is not None:
        headers["retry-after"] = f"{reply.retry_after_seconds:g}"
    return headers


def _recorded(status: int, *, streaming: bool = False, endpoint: str = MESSAGES) -> Exchange:
    wanted = (status, streaming, endpoint)
    return next(each for each in recorded_exchanges() if (each.status, each.streaming, each.endpoint) == wanted)


def _headers_as(exchange: Exchange, request_id: str, now: datetime) -> dict[str, str]:
    """The headers of a recorded exchange with the id and the times of this one."""
    headers = {name: value for name, value in exchange.response_headers.items() if name not in _CONNECTION_HEADERS}
    headers |= {name: now.strftime("%Y-%m-%dT%H:%M:%SZ") for name in headers if name.endswith("-reset")}
    return headers | {"date": format_datetime(now.astimezone(UTC), usegmt=True), "request-id": request_id}


def _event_bytes(event: Event) -> bytes:
    name, data = event
    return f"event: {name}\ndata: ".encode() + _json({"type": name} | data) + b"\n\n"


def _json(value: object) -> bytes:
    # Escaped to ASCII, because content under test may hold a lone surrogate, which UTF-8 has no bytes for.
    return json.dumps(value, separators=(",", ":")).encode("ascii")
