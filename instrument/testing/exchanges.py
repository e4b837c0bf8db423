"""Real HTTP exchanges with the API, recorded elsewhere: a small set in the package, more from files."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from instrument.testing.replies import Fault


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request and its answer. `source` names repository, commit, file and position in it."""

    endpoint: str  # the path of the URL, "/v1/messages" mostly
    request_body: Any  # the decoded JSON body, or a text that was none
    status: int
    response_headers: Mapping[str, str]
    response_body: str  # JSON, or the text of the whole event stream
    streaming: bool
    source: str
    fault: Fault = field(default_factory=Fault)


@functools.cache
def recorded_exchanges() -> tuple[Exchange, ...]:
    """The exchanges that come with the package, plain and streamed.

    Text, tools, parallel tools, thinking, cache writes and reads, a count of tokens, a prompt that was too long, a
    wrong key. Sources and licences are in `exchanges_licences.md` beside them.
    """
    return load_exchanges(Path(__file__).with_name("exchanges.jsonl"))


def load_exchanges(path: str | Path) -> tuple[Exchange, ...]:
    """Exchanges of a JSON Lines file with the fields `method`, `uri`, `request_body`, `status`, `response_headers`,
    `response_body`, `streaming`, `source_repo`, `commit`, `path` and `index`.

    Raises OSError, and ValueError or KeyError for a line that is no such record.
    """
    with Path(path).open(encoding="utf-8") as lines:
        return tuple(_parsed(lines))


def _parsed(lines: Iterable[str]) -> Iterable[Exchange]:
    for line in lines:
        if line.strip():
            yield _exchange(json.loads(line))


def _exchange(record: Mapping[str, Any]) -> Exchange:
    return Exchange(
        endpoint=urlsplit(record["uri"]).path,
        request_body=record["request_body"],
        status=record["status"],
        response_headers={name.lower(): str(value) for name, value in record["response_headers"].items()},
        response_body=record["response_body"],
        streaming=record["streaming"],
        source=f"{record['source_repo']}@{record['commit']}:{record['path']}#{record['index']}",
    )
