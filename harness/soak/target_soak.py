"""One target's iterations, one after the other: brought up or reset, checked, reported, recorded."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from harness.api.check import Check
from harness.deadline import AnchoredClock, Deadline
from harness.engine.failed import Collect
from harness.engine.life import Life, Means, Session
from harness.engine.outcome import GOOD, CheckResult, TargetResult
from harness.engine.plan import Options, TargetPlan, number, scale_for
from harness.engine.target_run import Failures, TargetRun
from harness.errors import HarnessError, MachineError
from harness.events import Emitter
from harness.soak.befallen import Befallen
from harness.soak.faults.fault import Fault
from harness.soak.faults.injection import Victim
from harness.soak.faults.injector import Injector
from harness.soak.moving import IterationEmitter, IterationNumber
from harness.soak.tally import ITERATION, RESET
from harness.soak.trial import Trial, TrialOutcome
from harness.soak.trials import Mark
from harness.soak.verdicts import marks_of, trials_of
from harness.target.renewal import REBOOT_TIMEOUT
from harness.target.reset import Reset, ResetKind

SAVE_TIMEOUT = 120.0
"""Seconds that saving a machine may take."""
_LONGEST_REST = 60.0
_NO_VERDICT = (TrialOutcome.UNREACHABLE, TrialOutcome.INFRASTRUCTURE, TrialOutcome.INTERNAL, TrialOutcome.NOT_RUN)


class SoakSession(Session, Victim, Protocol):
    """What a soak needs of a target beyond what a run does."""

    def reset(self, reset: Reset, deadline: Deadline) -> None: ...

    def save(self, deadline: Deadline) -> None: ...

    def turn_over(self) -> None: ...

    @property
    def broken(self) -> str: ...


OpenSession = Callable[[TargetPlan, Emitter, float], SoakSession]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a soak does to one target: how it is reset, and which faults are injected, within so many seconds after it
    has settled."""

    reset: Reset
    faults: tuple[Fault, ...] = ()
    within: float = 0.0


class Ledger(Protocol):
    """Where a finished iteration goes, and whether there is to be another one."""

    def over(self, iteration: int) -> bool: ...

    async def began(self, iteration: int, target: str, now: float) -> None: ...

    async def finished(
        self, iteration: int, target: str, trials: Sequence[Trial], marks: Sequence[Mark], events: Emitter
    ) -> Counter[str]: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all targets of a soak have in common. `retries`: how often a check that did not pass is carried again."""

    options: Options
    means: Means
    ledger: Ledger
    open_session: OpenSession
    limit: Deadline
    repeat: Callable[[str, Check], str]
    redact: Callable[[TargetResult], TargetResult]
    befallen: Befallen
    forks: asyncio.Semaphore
    retries: int = 1
    collect: Collect | None = None


class TargetSoak:
    """Runs the iterations of one target. A machine that harness started lives from one to the next."""

    def __init__(self, plan: TargetPlan, terms: Terms, shared: Shared, events: Emitter) -> None:
        self._plan = plan
        self._terms = terms
        self._shared = shared
        self._name = plan.host.name
        self._number = IterationNumber()
        self._events = IterationEmitter(events, self._number)
        self._scale = scale_for(plan.host, shared.options)
        self._injector = Injector(
            terms.faults,
            seed=shared.options.seed,
            within=terms.within,
            transport=plan.spec.transports[0],
            recovery=number(plan.host, "settle_timeout") * self._scale,
            pool=shared.means.life_pool,
        )
        self._limit = shared.limit
        self._session: SoakSession | None = None
        self._up = False
        self._before: tuple[CheckResult, ...] = ()
        self._reset_took: tuple[float, float] | None = None

    async def run(self, numbers: Iterator[int]) -> None:
        """Run the iterations of these numbers. The last one that is begun is finished, unless the soak is cancelled."""
        iteration, fruitless = next(numbers), 0
        try:
            while not self._shared.ledger.over(iteration):
                async with self._shared.forks:
                    if self._shared.ledger.over(iteration):
                        break
                    trials = await self._iteration(iteration)
                if trials is None:
                    break
                iteration = next(numbers)
                fruitless = fruitless + 1 if all(trial.outcome in _NO_VERDICT for trial in trials) else 0
                if fruitless:
                    await self._rest(min(_LONGEST_REST, 2.0**fruitless), iteration)
        finally:
            await self._give_up_session()

    async def _iteration(self, iteration: int) -> Sequence[Trial] | None:
        """One iteration; None where it was cancelled, so that it has no end."""
        shared, name = self._shared, self._name
        self._number.number = iteration
        # All times of an iteration are of one clock: their differences are durations, though somebody sets the time.
        self._limit = Deadline(shared.limit.at, AnchoredClock(shared.limit.clock), shared.limit.cancellation)
        began = self._limit.clock.time()
        await shared.ledger.began(iteration, name, began)
        self._events.emit("iteration.start", f"{name}: iteration {iteration}", level="debug")
        self._before, self._reset_took = (), None
        self._injector.begin()
        shared.befallen.take(name, iteration)  # these marks belong to no iteration that counts
        session = self._session or shared.open_session(self._plan, self._events, self._scale)
        self._session = session
        bring_up = await self._way_up(session)
        result = await TargetRun(
            self._plan,
            replace(shared.options, seed=_derived(shared.options.seed, iteration)),
            session,
            means=shared.means,
            failures=Failures(0),
            events=self._events,
            limit=self._limit,
            repeat=shared.repeat,
            bring_up=(bring_up, self._up_timeout(session)),
            beside=lambda life: self._faults(life, session, iteration),
            stays=True,
            again=shared.retries,
            collect=self._collect_of(iteration),
        ).carry()
        if shared.limit.cancellation.cancelled:
            return None
        self._injector.miss_undrawn(iteration, name, self._limit.clock.time(), self._events.bind(target=name))
        broken = await shared.means.life_pool.run(lambda: session.broken)
        trials = trials_of(
            shared.redact(self._with_preparation(result)),
            iteration=iteration,
            broken=broken,
            faults=self._injector.spans,
        )
        marks = [
            *marks_of(name, iteration, self._injector.spans, self._injector.missed),
            *shared.befallen.take(name, iteration),
            *([Mark(iteration, name, RESET, str(self._terms.reset), *self._reset_took)] if self._reset_took else []),
            Mark(iteration, name, ITERATION, str(self._terms.reset), began, self._limit.clock.time()),
        ]
        await shared.ledger.finished(iteration, name, trials, marks, self._events)
        if broken or not self._up:
            await self._give_up_session()
        else:
            await self._turn_over(session)
        return trials

    def _collect_of(self, iteration: int) -> Collect | None:
        collect = self._shared.collect
        return None if collect is None else lambda failed: collect(replace(failed, iteration=iteration))

    # -- up ------------------------------------------------------------------------------------------------------

    async def _way_up(self, session: SoakSession) -> Callable[[Deadline], None]:
        """How this iteration begins. A machine that is put back to a snapshot is booted and saved before its first one,
        so that all iterations are alike."""
        reset, up = self._terms.reset, self._up
        self._up = False
        if not up and reset.kind is ResetKind.SNAPSHOT:
            trouble = await self._prepare(session)
            if trouble:
                return lambda _deadline: _raise(MachineError(trouble))
            up = True

        def bring_up(deadline: Deadline) -> None:
            if up:
                began = self._limit.clock.time()
                session.reset(reset, deadline)
                self._reset_took = None if reset.kind is ResetKind.NONE else (began, self._limit.clock.time())
            else:
                session.start(deadline)
            self._up = True

        return bring_up

    async def _prepare(self, session: SoakSession) -> str:
        """Boots, waits until it has settled, and saves; what went wrong, if something did."""
        shared = self._shared
        life = Life(
            self._plan.host,
            shared.options,
            session,
            means=shared.means,
            rules=self._plan.findings,
            events=self._events,
            limit=self._limit,
        )

        async def prepare() -> None:
            await life.begin(session.start, session.start_timeout)
            if life.wants_settling and not await life.is_settled():
                return
            await shared.means.life_pool.run(session.save, self._limit.clamp(SAVE_TIMEOUT * self._scale))

        await life.through(prepare())
        result = life.result(())
        self._before = tuple(check for check in result.checks if check.outcome not in GOOD)
        return result.unreachable or result.error or life.interrupted

    def _with_preparation(self, result: TargetResult) -> TargetResult:
        """What its preparation found stands with the first iteration, unless that says the same itself."""
        have = {check.check_id for check in result.checks}
        return replace(result, checks=(*(each for each in self._before if each.check_id not in have), *result.checks))

    def _up_timeout(self, session: SoakSession) -> float:
        return max(session.start_timeout, REBOOT_TIMEOUT * self._scale)

    def _faults(self, life: Life, session: SoakSession, iteration: int) -> AbstractAsyncContextManager[None]:
        return self._injector.beside(life, session, iteration)

    # -- down ----------------------------------------------------------------------------------------------------

    async def _give_up_session(self) -> None:
        session, self._session, self._up = self._session, None, False
        if session is None:
            return
        try:
            await self._shared.means.life_pool.run(session.stop)
        except HarnessError as error:
            self._events.emit("target.stop_failed", str(error), level="error", error_type=type(error).__name__)

    async def _turn_over(self, session: SoakSession) -> None:
        try:
            await self._shared.means.life_pool.run(session.turn_over)
        except (OSError, HarnessError) as error:
            words = f"{self._name}: the console's log could not be turned over: {error}"
            self._events.emit("record.trouble", words, level="warning")

    async def _rest(self, seconds: float, iteration: int) -> None:
        """Wait, so that iterations of a target that cannot be reached do not follow each other as fast as they fail."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end and not self._shared.ledger.over(iteration):
            await asyncio.sleep(0.2)


def _derived(seed: int, iteration: int) -> int:
    """The seed of one iteration: of these two numbers alone, so a resumed soak draws as the killed one did."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{iteration}".encode(), digest_size=6).digest(), "big")


def _raise(error: Exception) -> None:
    raise error
