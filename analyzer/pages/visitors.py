"""Who may be visiting: the person at this machine alone, or others."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

ALLOW: Final = "FLYBALL_IMPORT"
"""Environment variable; `allow` lets visitors from elsewhere import, too."""
_PASSED_ON: Final = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
"""What a proxy adds when it passes on what somebody else asked (RFC 7239, and what came before it)."""


def from_here_alone(address: str | None, headers: Mapping[str, str]) -> bool:
    """Whether only this machine reaches a server that listens on `address` (None: on every one), and no proxy passed this visit on."""
    return _is_loopback(address) and not any(name in headers for name in _PASSED_ON)


def may_import(address: str | None, headers: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    """Whether a visitor may put traces into the app, which everybody then sees: at this machine, or where it was allowed by name."""
    return environment.get(ALLOW) == "allow" or from_here_alone(address, headers)


def _is_loopback(address: str | None) -> bool:
    if not address:
        return False
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:  # a name
        return address == "localhost"
