"""The last things of a run, in order or cut short."""

from __future__ import annotations

from instrument.runner.loop import Loop
from instrument.runner.result import RunResult
from instrument.runner.run import Run
from instrument.runner.services import Services
from instrument.runner.stop import StopReason


def ended(loop: Loop) -> RunResult:
    """The result of a run that has come to its end; its span ends with it."""
    result = loop.result()
    loop.run.stop = result.stop_reason
    loop.run.ended(result.answer, result.status)
    return result


def abandoned(loop: Loop, services: Services) -> None:
    """The caller has gone: nothing stays reserved, and the record says why there is no answer."""
    put_back(loop.run, services)
    loop.run.stop = StopReason.CANCELLED
    ended(loop)


def put_back(run: Run, services: Services) -> None:
    """Settles the reservation of a request that was left in the middle."""
    left, run.unsettled = run.unsettled, None
    if left is not None:
        services.settle(left)
