"""Does what a loop wants, in this thread."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from instrument import tracing
from instrument.errors import LedgerError
from instrument.ledger import Review
from instrument.runner import calling, reviewing
from instrument.runner.ending import abandoned, ended, put_back
from instrument.runner.events import Ended, Event
from instrument.runner.execution import run_jobs
from instrument.runner.loop import Loop
from instrument.runner.run import Run
from instrument.runner.services import Services
from instrument.runner.wants import (
    Arrived,
    Ask,
    CanEdit,
    Count,
    Failed,
    Pause,
    Reserve,
    RunTools,
    Send,
    Settle,
    Tell,
    Wait,
    Want,
)


def follow(loop: Loop, services: Services, *, streaming: bool) -> Generator[Event, None, None]:
    """The events of a run, down to `Ended`. The run goes on as long as they are taken; left early, it is cancelled.

    The span of the run is current while something is done, and never across a `yield`.
    """
    hands = _Hands(loop.run, services)
    recorded, steps = loop.run.record(loop.prompt), loop.steps()
    answer: Any = None
    try:
        while True:
            with recorded:
                want = steps.send(answer)
            answer = None
            if isinstance(want, Tell):
                yield want.event
            elif isinstance(want, Send) and streaming and want.shown:
                answer = yield from hands.stream(want)
            else:
                with recorded:
                    answer = hands.do(want)
    except StopIteration:
        pass
    except GeneratorExit:
        steps.close()
        abandoned(loop, services)
        raise
    except Exception as e:  # noqa: BLE001 - the host gets a result; that something is wrong with us is in it
        tracing.complain(e)
        steps.close()
        put_back(loop.run, services)
        loop.broke(e)
    except BaseException:
        steps.close()
        abandoned(loop, services)
        raise
    yield Ended(ended(loop))


def drive(steps: Generator[Want, Any, Any], run: Run, services: Services) -> Any:
    """Does all that a part of a loop wants, for loops that are not ours; gives what it returns."""
    hands, answer = _Hands(run, services), None
    try:
        while True:
            answer = hands.do(steps.send(answer))
    except StopIteration as stop:
        return stop.value
    except BaseException:
        steps.close()
        put_back(run, services)
        raise


class _Hands:
    def __init__(self, run: Run, services: Services) -> None:
        self._run, self._services = run, services

    def do(self, want: Want) -> Any:
        services = self._services
        match want:
            case Send():
                return self._send(want)
            case RunTools(jobs, parallel, deadline_seconds, done):
                return run_jobs(jobs, parallel=parallel, deadline_seconds=deadline_seconds, on_done=done)
            case Reserve():
                return services.reserve(want)
            case Settle():
                return services.settle(want)
            case Wait(seconds):
                return time.sleep(seconds)
            case Count():
                return self._count(want)
            case CanEdit():
                return self._can_edit(want)
            case Ask():
                return self._ask(want)
            case Pause():
                return services.pause(want)
            case Tell():
                return None

    def _send(self, want: Send) -> Arrived | Failed:
        try:
            api = calling.endpoint(self._services.client, want.betas)
            return calling.arrived(api.create(**calling.arguments(want)))
        except Exception as e:  # noqa: BLE001 - whatever the SDK and the network come up with ends the attempt, not the host
            return calling.failed(e)

    def stream(self, want: Send) -> Generator[Event, None, Arrived | Failed]:
        """Yields what is shown as it comes; returns the outcome."""
        recorded, run = self._run.recorded, self._run
        assert recorded is not None
        started = run.clock()
        try:
            with recorded:
                manager = calling.endpoint(self._services.client, want.betas).stream(**calling.arguments(want))
                stream = manager.__enter__()
        except Exception as e:  # noqa: BLE001 - as in `_send`
            return calling.failed(e)
        try:
            events = iter(stream)
            while True:
                with recorded:
                    event = next(events, None)
                if event is None:
                    break
                if want.deadline is not None and run.clock() > want.deadline:
                    return calling.late(run.clock() - started)
                if (shown := calling.shown(event)) is not None:
                    yield shown
            with recorded:
                return calling.arrived(stream.get_final_message())
        except Exception as e:  # noqa: BLE001 - as in `_send`
            return calling.failed(e, sent=True)
        finally:
            with recorded:
                manager.__exit__(None, None, None)

    def _count(self, want: Count) -> int | None:
        try:
            api = calling.endpoint(self._services.client, want.betas)
            return int(api.count_tokens(**calling.counting(want), timeout=calling.aside(self._run)).input_tokens)
        except Exception:  # noqa: BLE001 - our own estimate has to do
            return None

    def _can_edit(self, want: CanEdit) -> bool:
        known = self._services.can_edit
        if want.model not in known:
            try:
                model = self._services.client.models.retrieve(want.model, timeout=calling.aside(self._run))
                known[want.model] = calling.can_edit(want, model)
            except Exception:  # noqa: BLE001 - a model that cannot be asked after is summarised
                known[want.model] = False
        return known[want.model]

    def _ask(self, want: Ask) -> Review | LedgerError:
        if self._services.review is not None:
            decided = reviewing.ask_host(self._services.review, want.review, want.timeout_seconds)
            if decided.decision is None and want.stays_open:
                self._services.queue(decided)
            return decided
        try:
            ledger = self._services.ledger
            ledger.ask(want.review)
            until = time.monotonic() + want.timeout_seconds
            while (found := reviewing.answered(ledger, want.review)) is None and time.monotonic() < until:
                time.sleep(min(reviewing.POLL_SECONDS, max(0.0, until - time.monotonic())))
            if found is None and not want.stays_open:
                return ledger.time_out(want.review.review_id)
        except LedgerError as e:
            return e
        return found or want.review
