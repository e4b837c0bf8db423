"""What the server does beside running the pages: it is warm before the first visit, and answers where the browser looks in vain."""

from __future__ import annotations

import importlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SCRIPT: Final = Path(__file__).with_name("main.py")
_HEAVY: Final = (
    "altair",
    "pandas",
    "analyzer.pages.data",
    "analyzer.pages.tables",
    "analyzer.report.charts",
    "analyzer.report.charts_fleet",
)


@asynccontextmanager
async def warm(_app: Any) -> AsyncIterator[None]:
    """Imports what the first visit would wait for, beside the start of the server."""
    threading.Thread(target=_import, name="flyball-warm", daemon=True).start()
    yield


def _import() -> None:
    for name in _HEAVY:
        importlib.import_module(name)


def _not_here(_request: Request) -> Response:
    # Opened at /run, the page asks /run/_stcore/health whether the app lives there. Any success would say yes, and an error
    # would stand in the browser's console; 300 (Multiple Choices) is neither.
    return Response(status_code=300)


ROUTES: Final = [Route("/{page}/_stcore/{name}", _not_here)]
