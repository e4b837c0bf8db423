"""What of received spans may be written: the recorder's content modes and redaction, applied to a line of OTLP JSON.

Most lines hold no secret, and seeing that costs a few nanoseconds a byte; only the others are taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson

from instrument import semconv
from instrument.content import LABELS, Mode, keys_of, without
from instrument.encoding import redacted
from instrument.otlp import KeyValue, plain
from instrument.otlp_line import encoded, value_of
from instrument.redact import Redactor, suspect

_ESCAPED: Final = re.compile(rb"\\[nrtfb]")
"""Of which the letter, left beside a secret, would look like a part of it."""
_HIDING: Final = re.compile(rb"\\(?:u00|/)")
"""Escapes that may stand inside a secret: no encoder needs them for these characters, but some use them."""
_KEY_VALUES: Final = list[KeyValue]


@dataclass(slots=True)
class Redaction:
    """Applies a content mode; counts what it replaced."""

    mode: Mode = "full"
    redacted: int = 0
    """Secrets replaced so far."""
    _redactor: Redactor = field(default_factory=Redactor)

    def of(self, line: bytes) -> bytes:
        """The line as it may be written. `line` is a document `{"resourceSpans": ...}` of well-formed spans.

        Raises ValueError where what is around the spans is of another shape, so that secrets in it would not be found; RecursionError.
        """
        if self.mode == "full" and not _may_hold_secrets(line):
            return line
        document = orjson.loads(line)
        try:
            self._within(document)
            return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
        except (AttributeError, TypeError) as e:  # the latter also where values are nested too deeply to be written
            raise ValueError(f"a resource, scope or attribute is none ({e})") from None

    def _within(self, document: Any) -> None:
        for resource in document["resourceSpans"]:
            self._clean(resource.get("resource"))
            for scope in resource.get("scopeSpans") or ():
                self._clean(scope.get("scope"))
                for span in scope.get("spans") or ():
                    self._full(span) if self.mode == "full" else self._reduced(span)

    def _clean(self, holder: Any) -> int:
        """Takes secrets out of the attributes of a resource, scope, span, event or link. Returns how many."""
        if not isinstance(holder, dict):
            return 0
        found = sum(
            self._value(pair.get("value")) for pair in holder.get("attributes") or () if pair.get("key") not in LABELS
        )
        self.redacted += found
        return found

    def _value(self, value: Any) -> int:
        """Takes secrets out of an `AnyValue`. Returns how many."""
        if not isinstance(value, dict):
            return 0
        found = 0
        if isinstance(text := value.get("stringValue"), str):
            value["stringValue"], found = self._redactor.text(text)
        for inner in (value.get("arrayValue") or {}).get("values") or ():
            found += self._value(inner)
        for pair in (value.get("kvlistValue") or {}).get("values") or ():
            found += self._value(pair.get("value"))
        return found

    def _full(self, span: dict[str, Any]) -> None:
        found = self._clean(span) + self._message(span)
        found += sum(self._clean(part) for part in _parts(span))
        if found:
            _mark(span, found)

    def _message(self, span: dict[str, Any]) -> int:
        status = span.get("status")
        if not isinstance(status, dict) or not isinstance(status.get("message"), str):
            return 0
        status["message"], found = self._redactor.text(status["message"])
        self.redacted += found
        return found

    def _reduced(self, span: dict[str, Any]) -> None:
        """The span without content, and in `hashed` mode with its keys."""
        before = self.redacted
        values = self._cleaned(span)
        self._message(span)
        events = [(event, self._cleaned(event)) for event in span.get("events") or ()]
        keys = _keys(span, values, [(e.get("name"), facts) for e, facts in events]) if self.mode == "hashed" else {}
        span["attributes"] = encoded({**without(values), **keys, semconv.CONTENT_MODE: self.mode})
        for event, facts in events:
            event["attributes"] = encoded(without(facts))
        for link in span.get("links") or ():
            link["attributes"] = encoded(without(self._cleaned(link)))
        if isinstance(span.get("status"), dict):
            span["status"].pop("message", None)
        if self.redacted > before:
            _mark(span, self.redacted - before)

    def _cleaned(self, holder: dict[str, Any]) -> dict[str, Any]:
        """The attributes of a span, event or link as plain values without secrets."""
        pairs = msgspec.convert(holder.get("attributes") or [], _KEY_VALUES, strict=False)
        values, found = redacted({pair.key: plain(pair.value) for pair in pairs}, self._redactor)
        self.redacted += found
        return values


def _keys(span: dict[str, Any], values: dict[str, Any], events: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    """What stands in the place of content, as the recorder writes it."""
    status = span.get("status") or {}
    thrown: dict[str, Any] = next((facts for name, facts in events if name == "exception"), {})
    error_type = values.get(semconv.ERROR_TYPE) or thrown.get("exception.type")
    code = status.get("code")
    failed = code in (2, "STATUS_CODE_ERROR") or (code in (None, 0, "STATUS_CODE_UNSET") and error_type is not None)
    message = values.get("error.message") or thrown.get("exception.message") or status.get("message")
    return keys_of(values, failed=failed, error_type=error_type, message=message)


def _parts(span: dict[str, Any]) -> Iterable[Any]:
    yield from span.get("events") or ()
    yield from span.get("links") or ()


def _mark(span: dict[str, Any], found: int) -> None:
    pair = {"key": semconv.CONTENT_REDACTED, "value": value_of(found)}
    span["attributes"] = [*(span.get("attributes") or ()), pair]


def _may_hold_secrets(line: bytes) -> bool:
    if suspect(line):
        return True
    if b"\\" not in line:
        return False
    return _HIDING.search(line) is not None or suspect(_ESCAPED.sub(b" ", line))
