"""One target's life in a run: up, settled, its checks side by side where they may be, and down."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

from harness.api.assertion import stack
from harness.api.check import Check
from harness.deadline import Deadline
from harness.engine.attempts import CheckRun
from harness.engine.console import ConsoleTail
from harness.engine.findings.verdict import verdict, with_findings
from harness.engine.findings.watch import Findings, TargetFindings
from harness.engine.outcome import CheckResult, Outcome, TargetResult
from harness.engine.plan import Options, PlanItem, TargetPlan, number, scale_for
from harness.engine.retry import Retry
from harness.engine.waiting import Signals, Waiter
from harness.engine.workers import WorkerPool
from harness.errors import Cancelled, HarnessError
from harness.events import Emitter
from harness.target.settle import settle_check
from harness.target.target import Target
from harness.transport.contract import Followed, Result

FOLLOW_WITHIN = 10.0
"""Seconds within which the target's own words can be followed, or are not waited for."""
FOLLOW_AGAIN = 5.0
"""Seconds after which what is followed is looked after, and begun again where it has ended."""

GOOD = frozenset((Outcome.PASSED, Outcome.SKIPPED))


class Session(Protocol):
    """A target's life, as the engine needs it; all methods block, and none waits after the cancellation."""

    def start(self, deadline: Deadline) -> None: ...

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target: ...

    def follow(self, deadline: Deadline, on_word: Callable[[], None]) -> Followed | None: ...

    def stop(self) -> None: ...

    def keep(self) -> tuple[str, ...]: ...

    @property
    def stages(self) -> tuple[tuple[str, float], ...]: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def console_log(self) -> str: ...

    @property
    def start_timeout(self) -> float: ...


class Failures:
    """How many checks of a run have failed, and whether these are enough (`--max-fail`)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    def count(self, result: CheckResult) -> None:
        """Takes one result into account."""
        self._count += result.outcome not in GOOD

    @property
    def enough(self) -> bool:
        return 0 < self._most <= self._count


class TargetRun:
    """Carries one target's plan out. `limit` holds the run's own deadline, clock and cancellation."""

    def __init__(
        self,
        plan: TargetPlan,
        options: Options,
        session: Session,
        *,
        pool: WorkerPool,
        life_pool: WorkerPool,
        retry: Retry,
        failures: Failures,
        events: Emitter,
        limit: Deadline,
        findings: Findings,
        console_tail: ConsoleTail,
        repeat: Callable[[str, Check], str],
    ) -> None:
        self._plan = plan
        self._options = options
        self._session = session
        self._pool = pool
        self._life_pool = life_pool
        self._retry = retry
        self._failures = failures
        self._events = events
        own = options.target_deadline
        self._seconds = own if own is not None else plan.host.setting("target_deadline")
        self._run_cancellation = limit.cancellation
        self._watch = findings.watch(plan.host.name, plan.findings, events, limit.cancellation)
        self._cancellation = self._watch.cancellation
        self._limit = replace(limit, cancellation=self._cancellation)
        if isinstance(self._seconds, int | float):
            self._limit = self._limit.clamp(float(self._seconds))
        self._clock = limit.clock
        self._console_tail = console_tail
        self._repeat = repeat
        self._name = plan.host.name
        self._signals = Signals()
        self._slots = asyncio.Semaphore(self._at_once())
        self._following: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[bool] | None = None
        self._results: dict[str, CheckResult] = {}
        self._unsettled: list[CheckResult] = []
        self._settled = ""
        self._unreachable = ""
        self._error = ""
        self._interrupted = ""

    async def carry(self) -> TargetResult:
        """The target's verdicts. Whatever happens, its machine is ended, and every check has an outcome."""
        began = self._clock.monotonic()
        checks = len(self._plan.items)
        self._events.emit("target.start", f"{self._name}: {checks} checks", checks=checks)
        reach: tuple[str, ...] = ()
        unring = self._console_tail.on_line(self._name, self._signals.ring)
        try:
            await self._live()
        except Cancelled as cancelled:
            self._interrupted = cancelled.message
        except HarnessError as error:
            self._unreachable = str(error)
            self._events.emit(
                "target.unreachable", f"{self._name}: {error}", level="error", error_type=type(error).__name__
            )
        except Exception as error:  # our own bug: told as one, and the other targets go on
            self._error = f"{type(error).__name__}: {error}"
            self._events.emit("internal.error", f"{self._name}: {self._error}", level="error", stack=stack(error))
        finally:
            unring()
            if self._following is not None:
                self._following.cancel()
            reach = await self._end()
        findings = self._watch.close()
        self._fill()
        return self._finish(reach, findings, self._clock.monotonic() - began)

    # -- up, settled, checked ------------------------------------------------------------------------------------

    async def _live(self) -> None:
        if self._cancellation.cancelled or self._failures.enough:
            raise Cancelled(self._cancellation.reason or "enough failures")
        # A panic ends no boot: who watches it tells more of it.
        start = replace(self._limit, cancellation=self._run_cancellation).clamp(self._session.start_timeout)
        await self._life_pool.run(self._session.start, start)
        self._signals.when_awaited(self._begin_to_follow)
        wanted = self._options.settle
        if wanted is None:
            wanted = bool(self._plan.host.setting("settle"))
        items = in_order(self._plan.items, self._options)
        tasks: dict[str, asyncio.Task[None]] = {}
        barrier: list[asyncio.Task[None]] = []
        for item in items:
            before = (
                list(tasks.values()) if item.check.alone else [*barrier, *(tasks[need] for need in item.check.needs)]
            )
            settle = wanted if item.check.settle is None else item.check.settle
            tasks[item.check.id] = asyncio.create_task(self._item(item, before, settle))
            if item.check.alone:
                barrier = [tasks[item.check.id]]
        if wanted:
            await self._is_settled()
        try:
            for task in tasks.values():
                await task
        finally:
            for task in tasks.values():
                task.cancel()

    def _begin_to_follow(self) -> None:
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Lets the target's own service manager ring. Where that is not to be had, pauses are as long as they are."""
        followed: Followed | None = None
        try:
            while True:
                deadline = self._limit.clamp(FOLLOW_WITHIN)
                try:
                    followed = await self._life_pool.run(self._session.follow, deadline, self._signals.ring)
                except HarnessError as error:
                    self._events.emit("target.not_followed", str(error), level="debug")
                self._signals.ring()  # it may have been said before we listened
                while followed is not None and not followed.closed:
                    await asyncio.sleep(FOLLOW_AGAIN)
                    followed.forget()
                followed = None
                await asyncio.sleep(FOLLOW_AGAIN)
        finally:
            if followed is not None:
                followed.close()

    async def _item(self, item: PlanItem, before: list[asyncio.Task[None]], settle: bool) -> None:
        """One check, once its time has come; without a result where it is not to run any more."""
        for task in before:
            await task
        unmet = [need for need in item.check.needs if not self._passed(need)]
        if unmet:
            if unmet[0] in self._results:
                self._skip(item, unmet[0])
            return
        if settle and not await self._is_settled():
            return
        async with self._slots:
            if self._failures.enough or self._cancellation.cancelled or self._limit.expired:
                return
            result = await self._check(item)
        self._results[item.check.id] = self._complete(result, item.check)
        self._failures.count(result)

    def _passed(self, check_id: str) -> bool:
        return check_id in self._results and self._results[check_id].outcome is Outcome.PASSED

    def _skip(self, item: PlanItem, need: str) -> None:
        why = f"it needs {self._results[need].label}, which {_ENDED[self._results[need].outcome]}"
        self._results[item.check.id] = self._not_run(item.check, Outcome.SKIPPED, why)

    async def _is_settled(self) -> bool:
        """Waits, once for all checks, until the target has come up. False when no transport reaches it at all."""
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle())
        return await asyncio.shield(self._settling)

    async def _settle(self) -> bool:
        host = self._plan.host
        check = settle_check(number(host, "settle_timeout"), number(host, "settle_window"))
        scaled = check.settings.scaled(scale_for(host, self._options))
        result = await self._check(PlanItem(check, scaled))
        if result.outcome is Outcome.PASSED:
            self._settled = result.observations[-1].seen
        elif result.outcome is Outcome.SKIPPED:
            self._settled = result.message
        elif result.outcome is Outcome.UNREACHABLE:
            self._unreachable = result.message
            self._events.emit("target.unreachable", f"{self._name}: {result.message}", level="error")
            return False
        else:
            self._settled = f"not settled: {result.message}"
            self._unsettled.append(replace(result, console=self._console_tail.of(self._name)))
            self._failures.count(result)
        self._events.emit(
            "target.settled",
            f"{self._name}: {self._settled}",
            duration=result.duration,
            level="info" if result.outcome in GOOD else "warning",
            transports=list(result.transports),
        )
        return True

    def _check(self, item: PlanItem) -> Coroutine[None, None, CheckResult]:
        return CheckRun(
            item.check,
            item.settings,
            target_name=self._name,
            make_target=self._session.target,
            pool=self._pool,
            waits=Waiter(self._cancellation, self._signals),
            events=self._events,
            limit=self._limit,
            jitter=partial(jitter, f"{self._options.seed}:{self._name}:{item.check.id}"),
            retry=self._retry,
            transport=self._options.transport,
            died=lambda: self._watch.died,
        ).run()

    # -- what is left to say -------------------------------------------------------------------------------------

    def _complete(self, result: CheckResult, check: Check) -> CheckResult:
        if result.outcome in GOOD:
            return result
        return replace(result, repeat=self._repeat(self._name, check), console=self._console_tail.of(self._name))

    def _fill(self) -> None:
        """A check that was not run has an outcome too: none is left out of the count."""
        for item in self._plan.items:
            if item.check.id in self._results:
                continue
            if self._unreachable:
                outcome, why = Outcome.UNREACHABLE, self._unreachable
            elif self._error:
                outcome, why = Outcome.ERROR, self._error
            elif self._watch.died:
                outcome, why = Outcome.UNREACHABLE, f"not run: {self._watch.died}"
            elif self._failures.enough:
                outcome, why = Outcome.SKIPPED, "not run: enough failures (--max-fail)"
            elif self._cancellation.cancelled or self._interrupted:
                outcome, why = Outcome.SKIPPED, f"not run: {self._interrupted or 'interrupted'}"
            else:
                outcome, why = Outcome.FAILED, f"not run: {self._time_over()}"
            self._results[item.check.id] = self._complete(self._not_run(item.check, outcome, why), item.check)

    def _time_over(self) -> str:
        if isinstance(self._seconds, int | float):
            return f"the time for this target ({self._seconds:g} s) or for the run was over"
        return "the time for the run was over"

    def _not_run(self, check: Check, outcome: Outcome, why: str) -> CheckResult:
        result = CheckResult(
            target=self._name,
            check=check.name,
            module=check.module,
            check_id=check.id,
            outcome=outcome,
            message=why,
            started=self._clock.time(),
            duration=0.0,
            attempts=0,
        )
        self._tell(result)
        return result

    def _tell(self, result: CheckResult) -> None:
        """The event of a result that no attempt came to."""
        self._events.emit(
            "check.end",
            f"{result.label} {result.outcome.value}: {result.message}",
            module=result.module,
            check=result.check,
            outcome=result.outcome.value,
            duration=0.0,
            attempts=0,
            check_id=result.check_id,
            level="info" if result.outcome in GOOD else "error",
        )

    async def _end(self) -> tuple[str, ...]:
        """Ends the target's machine (or leaves it up) whatever came before; an error there is told, not raised."""
        try:
            if self._options.keep:
                return await self._life_pool.run(self._session.keep)
            await self._life_pool.run(self._session.stop)
        except Exception as error:  # the other targets' verdicts must not be lost for it
            self._events.emit("target.stop_failed", str(error), level="error", error_type=type(error).__name__)
        return ()

    def _finish(self, reach: tuple[str, ...], findings: TargetFindings, duration: float) -> TargetResult:
        """The findings stand with the checks that they came with; what is forbidden among them fails the target."""
        session = self._session
        had = (*self._unsettled, *(self._results[item.check.id] for item in self._plan.items))
        checks = with_findings(had, findings)
        failure = verdict(self._name, findings, at=self._clock.time())
        if failure is not None:
            checks = (*checks, failure)
            self._tell(failure)
            self._failures.count(failure)
        bad = sum(check.outcome not in GOOD for check in checks)
        self._events.emit(
            "target.end",
            f"{self._name}: {len(checks) - bad} of {len(checks)} checks without a complaint",
            duration=duration,
            counts=dict(session.counts),
        )
        return TargetResult(
            target=self._name,
            checks=checks,
            unreachable=self._unreachable,
            error=self._error,
            stages=session.stages,
            settled=self._settled,
            duration=duration,
            console_log=session.console_log,
            counts=dict(session.counts),
            reach=reach,
            findings=findings.found,
            finding_counts=findings.counts,
            findings_missed=findings.missed,
        )

    def _at_once(self) -> int:
        chosen = self._options.at_once
        return max(1, chosen if chosen is not None else int(number(self._plan.host, "checks_at_once")))


_ENDED = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.SKIPPED: "was skipped",
    Outcome.UNREACHABLE: "could not reach the target",
    Outcome.ERROR: "has an error",
}


def in_order(items: tuple[PlanItem, ...], options: Options) -> list[PlanItem]:
    """The order in which checks start: as declared, or drawn with the seed; each after those that it needs."""
    drawn = list(items)
    if options.shuffle:
        random.Random(options.seed).shuffle(drawn)  # noqa: S311 - an order, no secret
    by_id = {item.check.id: item for item in drawn}
    placed: dict[str, PlanItem] = {}

    def place(item: PlanItem) -> None:
        for need in item.check.needs:
            if need not in placed:
                place(by_id[need])
        placed[item.check.id] = item

    for item in drawn:
        if item.check.id not in placed:
            place(item)
    return list(placed.values())


def jitter(seed: str, attempt: int) -> float:
    """A factor from 0.8 to 1.2, the same for the same seed and attempt, whatever else runs."""
    drawn = hashlib.blake2b(f"{seed}:{attempt}".encode("utf-8", "backslashreplace"), digest_size=4).digest()
    return 0.8 + 0.4 * int.from_bytes(drawn, "big") / (1 << 32)
