"""The faults of one target's iterations: begun when they are due, ended and undone whatever happens, and told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from harness.deadline import Cancellation, Deadline
from harness.engine.life import Life
from harness.engine.workers import WorkerPool
from harness.errors import HarnessError
from harness.events import Emitter
from harness.soak.faults import injection
from harness.soak.faults.fault import Due, Fault, draw
from harness.soak.faults.injection import Victim

FAREWELL = 10.0
"""Seconds that undoing a fault may take where the soak is being ended."""


@dataclass(frozen=True, slots=True)
class Span:
    """A fault that befell a target, in seconds since the epoch: it began, ended, and at `served` the target served
    again over its first transport; None where it did not in time."""

    name: str
    began: float
    ended: float
    served: float | None

    @property
    def recovery(self) -> float | None:
        """Seconds from the fault's end until the target served again."""
        return None if self.served is None else max(0.0, self.served - self.ended)

    @property
    def text(self) -> str:
        """What came of it, in words."""
        recovery = self.recovery
        return "the target did not serve again in time" if recovery is None else f"served again after {recovery:.2f} s"


@dataclass(frozen=True, slots=True)
class Missed:
    """A fault that was drawn and not injected, at that time in seconds since the epoch, and the reason."""

    name: str
    at: float
    reason: str


class Injector:
    """What befalls one target. `seed` and the iteration's number alone say which faults come, and when."""

    def __init__(
        self, faults: Sequence[Fault], *, seed: int, within: float, transport: str, recovery: float, pool: WorkerPool
    ) -> None:
        """`within`: seconds after settling in which they begin. `transport`: the one that must serve again, within
        `recovery` seconds."""
        self._faults = tuple(faults)
        self._seed = seed
        self._within = within
        self._transport = transport
        self._recovery = recovery
        self._pool = pool
        self.spans: list[Span] = []
        """Those of the present iteration that are over."""
        self.missed: list[Missed] = []
        """Faults that were drawn for the present iteration and not injected."""
        self._drawn = False

    def begin(self) -> None:
        """Forget the iteration before."""
        self.spans, self.missed, self._drawn = [], [], False

    def miss_undrawn(self, iteration: int, name: str, at: float, events: Emitter) -> None:
        """Count the faults of an iteration as missed where its checks never began: the target did not come up."""
        if self._drawn:
            return
        self._drawn = True
        for each in draw(self._faults, seed=self._seed, target=name, iteration=iteration, within=self._within):
            self._miss(each.fault, name, at, "the target did not come up", events)

    @asynccontextmanager
    async def beside(self, life: Life, victim: Victim, iteration: int) -> AsyncIterator[None]:
        """Does the faults of an iteration beside its checks. When it is left, each has ended and is undone."""
        self.begin()
        self._drawn = True
        due = draw(
            self._faults, seed=self._seed, target=life.name, iteration=iteration, within=self._within
        )  # fmt: skip
        over = asyncio.Event()
        tasks = [asyncio.create_task(self._befall(each, life, victim, over)) for each in due]
        try:
            yield
        finally:
            over.set()
            if tasks:
                await asyncio.gather(*tasks)

    async def _befall(self, due: Due, life: Life, victim: Victim, over: asyncio.Event) -> None:
        fault = due.fault
        if life.wants_settling and not await life.is_settled():
            self._is_missed(fault, life, "the target had not settled")
            return
        if await _set_within(over, due.after):
            self._is_missed(fault, life, f"due after {due.after:.1f} s, when the checks had ended")
            return
        began = life.limit.clock.time()
        try:
            await self._pool.run(injection.begin, fault, victim, life.limit.clamp(injection.WITHIN))
        except HarnessError as error:
            words = f"{life.name}: {fault.name} could not be done: {error.message}"
            life.events.emit("fault.failed", words, level="warning", fault=fault.name)
            self.missed.append(Missed(fault.name, began, f"could not be injected: {error.message}"))
            await self._undo(fault, life, victim)
            return
        victim.faults.began(fault.name)
        life.events.emit("fault.start", f"{life.name}: {fault}", fault=fault.name)
        lasts = fault.kind.seconds is not None
        try:
            if lasts:
                await _set_within(over, fault.seconds)
                await self._undo(fault, life, victim)
            await self._ended(fault, life, victim, began)
        finally:
            victim.faults.ended(fault.name)
        if not lasts:  # what the target mends by itself, it is left to
            await over.wait()
            await self._undo(fault, life, victim)

    def _is_missed(self, fault: Fault, life: Life, reason: str) -> None:
        self._miss(fault, life.name, life.limit.clock.time(), reason, life.events)

    def _miss(self, fault: Fault, name: str, at: float, reason: str, events: Emitter) -> None:
        self.missed.append(Missed(fault.name, at, reason))
        events.emit("fault.missed", f"{name}: {fault.name} missed: {reason}", fault=fault.name)

    async def _ended(self, fault: Fault, life: Life, victim: Victim, began: float) -> None:
        ended = life.limit.clock.time()
        life.events.emit(
            "fault.end", f"{life.name}: {fault.name} is over", duration=max(0.0, ended - began), fault=fault.name
        )
        served: float | None = None
        try:
            deadline = life.limit.clamp(self._recovery)
            await self._pool.run(injection.wait_until_served, victim, self._transport, deadline)
            served = life.limit.clock.time()
        except HarnessError as error:
            words = f"{life.name}: after {fault.name} {self._transport} does not serve again: {error.message}"
            life.events.emit("fault.unrecovered", words, level="error", fault=fault.name)
        else:
            took = max(0.0, served - ended)
            words = f"{life.name}: {self._transport} serves {took:.2f} s after {fault.name}"
            life.events.emit("fault.recovered", words, duration=took, fault=fault.name)
        self.spans.append(Span(fault.name, began, ended, served))

    async def _undo(self, fault: Fault, life: Life, victim: Victim) -> None:
        """Also when the soak is being ended: what is done to a real board would stay."""
        ending = life.limit.cancellation.cancelled and not life.died
        deadline = Deadline.after(FAREWELL if ending else injection.WITHIN, cancellation=Cancellation())
        try:
            await self._pool.run(injection.undo, fault, victim, deadline)
        except HarnessError as error:
            words = f"{life.name}: {fault.name} could not be undone: {error.message}"
            life.events.emit("fault.not_undone", words, level="error", fault=fault.name)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
