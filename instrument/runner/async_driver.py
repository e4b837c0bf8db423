"""Does what a loop wants, on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

from instrument import tracing
from instrument.errors import LedgerError
from instrument.ledger import Reservation, Review
from instrument.runner import calling, reviewing
from instrument.runner.ending import abandoned, ended, put_back
from instrument.runner.events import Ended, Event, TextDelta, ThinkingDelta
from instrument.runner.execution import arun_jobs
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


async def follow(loop: Loop, services: Services, *, streaming: bool) -> AsyncGenerator[Event, None]:
    """The events of a run, down to `Ended`; as the synchronous `follow`. Cancelled, it cancels what is under way and raises."""
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
                stream = _Stream(hands, want)
                async with aclosing(stream.pieces()) as pieces:  # left early, the connection is closed here and now
                    async for shown in pieces:
                        yield shown
                answer = stream.outcome
            else:
                with recorded:
                    answer = await hands.do(want)
    except StopIteration:
        pass
    except Exception as e:  # noqa: BLE001 - the host gets a result; that something is wrong with us is in it
        tracing.complain(e)
        steps.close()
        put_back(loop.run, services)
        loop.broke(e)
    except BaseException:  # cancelled, closed, interrupted
        steps.close()
        abandoned(loop, services)
        raise
    yield Ended(ended(loop))


async def drive(steps: Generator[Want, Any, Any], run: Run, services: Services) -> Any:
    """Does all that a part of a loop wants, for loops that are not ours; gives what it returns."""
    hands, answer = _Hands(run, services), None
    try:
        while True:
            answer = await hands.do(steps.send(answer))
    except StopIteration as stop:
        return stop.value
    except BaseException:
        steps.close()
        put_back(run, services)
        raise


class _Hands:
    def __init__(self, run: Run, services: Services) -> None:
        self.run, self.services = run, services

    async def do(self, want: Want) -> Any:
        services = self.services
        match want:
            case Send():
                return await self._send(want)
            case RunTools(jobs, parallel, deadline_seconds, done):
                return await arun_jobs(jobs, parallel=parallel, deadline_seconds=deadline_seconds, on_done=done)
            case Reserve():
                return await self._reserve(want)
            case Settle():
                # Paid even if the run is cancelled now.
                return await asyncio.shield(asyncio.to_thread(services.settle, want))
            case Wait(seconds):
                return await asyncio.sleep(seconds)
            case Count():
                return await self._count(want)
            case CanEdit():
                return await self._can_edit(want)
            case Ask():
                return await self._ask(want)
            case Pause():
                return await asyncio.to_thread(services.pause, want)
            case Tell():
                return None

    async def _reserve(self, want: Reserve) -> Reservation | float | LedgerError:
        reserving = asyncio.ensure_future(asyncio.to_thread(self.services.reserve, want))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            reserving.add_done_callback(self._give_back)
            raise

    def _give_back(self, reserving: asyncio.Future[Reservation | float | LedgerError]) -> None:
        """Of a run that was cancelled while it reserved."""
        if not reserving.cancelled() and isinstance(found := reserving.result(), Reservation):
            self.services.settle(Settle(found, None))

    async def _send(self, want: Send) -> Arrived | Failed:
        left = None if want.deadline is None else max(0.0, want.deadline - self.run.clock())
        try:
            api = calling.endpoint(self.services.client, want.betas)
            async with asyncio.timeout(left):
                return calling.arrived(await api.create(**calling.arguments(want)))
        except TimeoutError:
            return calling.late(left or 0.0)
        except Exception as e:  # noqa: BLE001 - whatever the SDK and the network come up with ends the attempt, not the host
            return calling.failed(e)

    async def _count(self, want: Count) -> int | None:
        try:
            api = calling.endpoint(self.services.client, want.betas)
            counted = await api.count_tokens(**calling.counting(want), timeout=calling.aside(self.run))
            return int(counted.input_tokens)
        except Exception:  # noqa: BLE001 - our own estimate has to do
            return None

    async def _can_edit(self, want: CanEdit) -> bool:
        known = self.services.can_edit
        if want.model not in known:
            try:
                model = await self.services.client.models.retrieve(want.model, timeout=calling.aside(self.run))
                known[want.model] = calling.can_edit(want, model)
            except Exception:  # noqa: BLE001 - a model that cannot be asked after is summarised
                known[want.model] = False
        return known[want.model]

    async def _ask(self, want: Ask) -> Review | LedgerError:
        if self.services.review is not None:
            decided = await reviewing.ask_host_async(self.services.review, want.review, want.timeout_seconds)
            if decided.decision is None and want.stays_open:
                await asyncio.to_thread(self.services.queue, decided)
            return decided
        try:
            ledger = self.services.ledger
            await asyncio.to_thread(ledger.ask, want.review)
            until = time.monotonic() + want.timeout_seconds
            while (found := await asyncio.to_thread(reviewing.answered, ledger, want.review)) is None:
                left = until - time.monotonic()
                if left <= 0:
                    break
                await asyncio.sleep(min(reviewing.POLL_SECONDS, left))
            if found is None and not want.stays_open:
                return await asyncio.to_thread(ledger.time_out, want.review.review_id)
        except LedgerError as e:
            return e
        return found or want.review


class _Stream:
    """One streamed answer: its pieces, and then its outcome."""

    def __init__(self, hands: _Hands, want: Send) -> None:
        self._hands, self._want = hands, want
        self.outcome: Arrived | Failed = calling.late(0.0)

    async def pieces(self) -> AsyncGenerator[TextDelta | ThinkingDelta, None]:
        """What is shown, as it comes."""
        want, run = self._want, self._hands.run
        recorded, started = run.recorded, run.clock()
        assert recorded is not None
        try:
            with recorded:
                api = calling.endpoint(self._hands.services.client, want.betas)
                manager = api.stream(**calling.arguments(want))
                stream = await manager.__aenter__()
        except Exception as e:  # noqa: BLE001 - as in `_send`
            self.outcome = calling.failed(e)
            return
        try:
            events = aiter(stream)
            while True:
                with recorded:
                    event = await self._next(events)
                if event is None:
                    break
                if (shown := calling.shown(event)) is not None:
                    yield shown
            with recorded:
                self.outcome = calling.arrived(await stream.get_final_message())
        except TimeoutError:
            self.outcome = calling.late(run.clock() - started)
        except Exception as e:  # noqa: BLE001 - as in `_send`
            self.outcome = calling.failed(e, sent=True)
        finally:
            with recorded:
                await manager.__aexit__(None, None, None)

    async def _next(self, events: Any) -> Any:
        """The next event, None at the end. Raises `TimeoutError` when the run's time is up."""
        deadline = self._want.deadline
        left = None if deadline is None else max(0.0, deadline - self._hands.run.clock())
        async with asyncio.timeout(left):
            return await anext(events, None)
