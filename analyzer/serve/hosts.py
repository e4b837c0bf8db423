"""Who may talk to a server that listens on a developer's machine: programs, and no web page.

A page in the user's browser can reach 127.0.0.1. Its requests carry an `Origin`; content types other than those of forms make the
browser ask first, and nobody answers with CORS headers here. A page whose own name was made to point to this machine (DNS rebinding)
sends that name as `Host`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers


def names(more: Iterable[str] = (), own: str | None = None) -> frozenset[str]:
    """Names by which clients may call the server besides its addresses; `own` is the machine's."""
    machine = socket.gethostname() if own is None else own
    return frozenset(name.lower() for name in ("localhost", machine, *more))


def problem(headers: Headers, allowed: frozenset[str]) -> str | None:
    """Why a request with these headers is refused; None where it is not."""
    if "origin" in headers:
        return "requests of web pages are refused: send spans from a program, or through an OpenTelemetry collector"
    host = _name(headers.get("host", ""))
    if host in allowed or _is_address(host):
        return None
    return f"this server is not called {host[:100]!r}; if it is, start it with --allow-host {host[:100]}"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a server that listens on `host`."""
    if host.lower() == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback


def _name(host: str) -> str:
    """`Host` without its port."""
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.rsplit(":", 1)[0].lower() if ":" in host else host.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
