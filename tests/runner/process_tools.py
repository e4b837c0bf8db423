"""Functions that a process of its own can import."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from instrument import tool
from instrument.runner.tools import limited


class Refused(Exception):
    """Cannot be read back from a pickle: its argument is not the one it takes."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with {code}")


def pid(note: str = "") -> str:
    """The process it runs in."""
    return f"{os.getpid()} {note}".strip()


def doubled(n: int) -> dict[str, Any]:
    """Twice as much."""
    return {"n": 2 * n}


async def waited(seconds: float) -> str:
    """Waits."""
    await asyncio.sleep(seconds)
    return "waited"


def hangs_with_a_child(file: str) -> str:
    """Starts a program that writes on and on, and waits for it."""
    code = f"import time\nwhile True:\n open({file!r}, 'a').write('x'); time.sleep(0.02)"
    subprocess.run([sys.executable, "-c", code], check=False)
    return "never"


def ignores_signals(file: str) -> str:
    """Cannot be asked to end."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)
    return "never"


def dies() -> str:
    """Ends the process at once."""
    os._exit(7)


def exits() -> str:
    """Raises SystemExit."""
    sys.exit("no more")


def refuses() -> str:
    """Raises an exception that cannot be sent."""
    raise Refused(42)


def unserialisable() -> object:
    """Returns what cannot be sent."""
    return object()


@tool(name="recorded_name")
def recorded(n: int) -> str:
    """Under our decorator."""
    return f"{n} in {os.getpid()}"


def rebound(n: int) -> str:
    """Its name stands for a tool by now."""
    return f"{n} in {os.getpid()}"


rebound = limited(rebound, timeout_seconds=20.0, process=True)  # type: ignore[assignment]
