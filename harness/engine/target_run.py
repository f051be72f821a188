"""One target's checks, carried out: side by side where they may be, each after its needs, all with an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace

from harness.api.assertion import stack
from harness.api.check import Check
from harness.deadline import Deadline
from harness.engine.another import WORTH_ANOTHER, after_another
from harness.engine.failed import Collect, Failed
from harness.engine.life import Life, Means, Session, tell
from harness.engine.order import in_order
from harness.engine.outcome import GOOD, CheckResult, Outcome, TargetResult
from harness.engine.plan import Options, PlanItem, TargetPlan, number, scale_for
from harness.errors import Cancelled, HarnessError
from harness.events import Emitter

Beside = Callable[[Life], AbstractAsyncContextManager[None]]
"""What goes on beside a target's checks, from when it is up until the last of them has ended."""


class Failures:
    """How many checks of a run have failed, and whether these are enough (`--max-fail`)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    def count(self, result: CheckResult) -> None:
        """Takes one result into account."""
        self._count += result.outcome not in GOOD

    @property
    def any(self) -> bool:
        return self._count > 0

    @property
    def enough(self) -> bool:
        return 0 < self._most <= self._count


class TargetRun:
    """Carries one target's plan out, once. `limit` holds the run's own deadline, clock and cancellation.

    `bring_up`: how it begins (a session's start, or a reset of what runs) and the seconds that it may take. With
    `stays` the target is left as it is in the end, for the next run with the same session. `again`: how often a check
    that did not pass is carried once more; should it pass then, that is a flaky pass. `collect` is given a target that
    failed, before anything of it is ended.
    """

    def __init__(
        self,
        plan: TargetPlan,
        options: Options,
        session: Session,
        *,
        means: Means,
        failures: Failures,
        events: Emitter,
        limit: Deadline,
        repeat: Callable[[str, Check], str],
        bring_up: tuple[Callable[[Deadline], None], float] | None = None,
        beside: Beside | None = None,
        stays: bool = False,
        again: int = 0,
        collect: Collect | None = None,
    ) -> None:
        self._plan = plan
        self._options = options
        self._failures = failures
        self._events = events
        self._console = means.console
        self._repeat = repeat
        self._name = plan.host.name
        self._bring_up = bring_up or (session.start, session.start_timeout)
        self._beside = beside
        self._stays = stays
        self._again = again
        self._collect = collect
        self._session = session
        self._means = means
        self._cancellation = limit.cancellation
        self._life = Life(
            plan.host,
            options,
            session,
            means=means,
            rules=plan.findings,
            events=events,
            limit=limit,
            on_failure=failures.count,
        )
        self._slots = asyncio.Semaphore(self._at_once())
        self._results: dict[str, CheckResult] = {}
        self._began = False

    async def carry(self) -> TargetResult:
        """The target's verdicts. Whatever happens, its machine is ended (unless it stays), and every check has an
        outcome."""
        checks = len(self._plan.items)
        self._events.emit("target.start", f"{self._name}: {checks} checks", check_count=checks)
        reach: tuple[str, ...] = ()
        collected = ""
        try:
            await self._life.through(self._live())
            await self._blame_infrastructure()
            collected = await self._collected()
        finally:
            if self._stays:
                self._life.leave()
            else:
                reach = await self._life.take_down(failed=self._failures.any or self._life.trouble is not None)
        self._fill()
        result = self._life.result([self._results[item.check.id] for item in self._plan.items], reach=reach)
        return replace(result, collected=collected)

    async def _blame_infrastructure(self) -> None:
        """Where what carries the target has failed, its failures are no verdicts on it. A soak sees to that itself:
        what has failed there is given up before the next iteration."""
        life = self._life
        blamed = any(each.outcome in _BLAMED for each in self._results.values())
        if self._stays or life.infrastructure or life.died or not blamed:
            return
        if broken := await life.broken():
            life.lacks(broken)
            for check_id, each in self._results.items():
                if each.outcome in _BLAMED:
                    message = f"{broken}; {each.message}" if each.message else broken
                    self._results[check_id] = replace(each, outcome=Outcome.INFRASTRUCTURE, message=message)

    # -- up, settled, checked ------------------------------------------------------------------------------------

    async def _live(self) -> None:
        if self._failures.enough:
            raise Cancelled("enough failures")
        if self._life.limit.expired:
            return  # nothing is begun that could not be finished: its checks are told as not run
        await self._life.begin(*self._bring_up)
        self._began = True
        async with AsyncExitStack() as stack:
            if self._beside is not None:
                await stack.enter_async_context(self._beside(self._life))
            await self._checks()
            await self._life.look_for_restarts()

    async def _checks(self) -> None:
        wanted = self._life.wants_settling
        tasks: dict[str, asyncio.Task[None]] = {}
        barrier: list[asyncio.Task[None]] = []
        for item in in_order(self._plan.items, self._options):
            before = (
                list(tasks.values()) if item.check.alone else [*barrier, *(tasks[need] for need in item.check.needs)]
            )
            settle = wanted if item.check.settle is None else item.check.settle
            tasks[item.check.id] = asyncio.create_task(self._item(item, before, settle))
            if item.check.alone:
                barrier = [tasks[item.check.id]]
        try:
            if wanted:
                await self._life.is_settled()
            for task in tasks.values():
                await task
        finally:
            for task in tasks.values():
                task.cancel()

    async def _item(self, item: PlanItem, before: Sequence[asyncio.Task[None]], settle: bool) -> None:
        """One check, once its time has come; without a result where it is not to run any more."""
        for task in before:
            await task
        unmet = [need for need in item.check.needs if not self._passed(need)]
        if unmet:
            if unmet[0] in self._results:
                self._skip(item, unmet[0])
            return
        if settle and not await self._life.is_settled():
            return
        limit = self._life.limit
        async with self._slots:
            if self._failures.enough or limit.cancellation.cancelled or limit.expired:
                return
            result = await self._life.carry(item.check, item.settings)
            for _ in range(self._again):
                if result.outcome not in WORTH_ANOTHER or limit.cancellation.cancelled or limit.expired:
                    break
                result = after_another(result, await self._life.carry(item.check, item.settings))
        self._results[item.check.id] = self._complete(result, item.check)
        self._failures.count(result)

    def _passed(self, check_id: str) -> bool:
        return check_id in self._results and self._results[check_id].outcome is Outcome.PASSED

    def _skip(self, item: PlanItem, need: str) -> None:
        why = f"it needs {self._results[need].label}, which {_ENDED[self._results[need].outcome]}"
        self._results[item.check.id] = self._not_run(item.check, Outcome.SKIPPED, why)

    # -- what it has to say, if it failed ------------------------------------------------------------------------

    async def _collected(self) -> str:
        """The folder with what was kept of a target that failed. Not of one that was never reached or has died, and not
        when a person wants the end. What goes wrong is told: the verdicts must not be lost for it."""
        life = self._life
        failures = (*life.failures, *(each for each in self._results.values() if each.outcome not in GOOD))
        failed = life.forbidden or any(map(_can_be_explained, failures))
        # The time of this target is over, and not all of it was checked: what does it hang in?
        failed = failed or (self._began and life.limit.expired and len(self._results) < len(self._plan.items))
        if self._collect is None or not failed or life.trouble is not None or self._cancellation.cancelled:
            return ""
        moment = Failed(
            self._plan.host,
            self._session,
            failures,
            self._events,
            self._cancellation,
            scale_for(self._plan.host, self._options),
        )
        try:
            return await self._means.life_pool.run(self._collect, moment)
        except HarnessError as error:
            self._events.emit("collect.failed", f"{self._name}: {error}", level="warning")
        except Exception as error:  # our own bug: told as one
            told = f"{self._name}: {type(error).__name__}: {error}"
            self._events.emit("internal.error", told, level="error", stack=stack(error))
        return ""

    # -- what is left to say -------------------------------------------------------------------------------------

    def _complete(self, result: CheckResult, check: Check) -> CheckResult:
        if result.outcome in GOOD:
            return result
        return replace(result, repeat=self._repeat(self._name, check), console=self._console.of(self._name))

    def _fill(self) -> None:
        """A check that was not run has an outcome too: none is left out of the count."""
        life = self._life
        for item in self._plan.items:
            if item.check.id in self._results:
                continue
            if life.infrastructure:
                outcome, why = Outcome.INFRASTRUCTURE, f"not run: {life.infrastructure}"
            elif life.unreachable:
                outcome, why = Outcome.UNREACHABLE, life.unreachable
            elif life.error:
                outcome, why = Outcome.ERROR, life.error
            elif life.died:
                outcome, why = Outcome.UNREACHABLE, f"not run: {life.died}"
            elif self._failures.enough:
                outcome, why = Outcome.SKIPPED, "not run: enough failures (--max-fail)"
            elif life.limit.cancellation.cancelled or life.interrupted:
                outcome, why = Outcome.SKIPPED, f"not run: {life.interrupted or 'interrupted'}"
            else:
                outcome, why = Outcome.NOT_RUN, life.out_of_time or f"not run: {life.time_over}"
            self._results[item.check.id] = self._complete(self._not_run(item.check, outcome, why), item.check)

    def _not_run(self, check: Check, outcome: Outcome, why: str) -> CheckResult:
        result = CheckResult(
            target=self._name,
            check=check.name,
            module=check.module,
            check_id=check.id,
            outcome=outcome,
            message=why,
            started=self._life.limit.clock.time(),
            duration=0.0,
            attempts=0,
        )
        tell(result, self._events)
        return result

    def _at_once(self) -> int:
        chosen = self._options.at_once
        return max(1, chosen if chosen is not None else int(number(self._plan.host, "checks_at_once")))


_ENDED = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.SKIPPED: "was skipped",
    Outcome.UNREACHABLE: "could not reach the target",
    Outcome.ERROR: "has an error",
    Outcome.INFRASTRUCTURE: "could not be judged",
    Outcome.NOT_RUN: "was not run",
}
_BLAMED = frozenset((Outcome.FAILED, Outcome.UNREACHABLE))


def _can_be_explained(result: CheckResult) -> bool:
    """Whether the target's diagnostics may say why: not of a check's own mistake, or an assertion that failed, where it
    asked the target nothing, of a target that was never reached, nor of what the harness itself could not do."""
    if result.outcome in (Outcome.INFRASTRUCTURE, Outcome.NOT_RUN):
        return False
    if result.outcome in (Outcome.UNREACHABLE, Outcome.ERROR):
        return bool(result.transports)
    return not result.is_pure
