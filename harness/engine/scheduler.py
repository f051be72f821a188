"""Carries a plan out: targets side by side up to `--forks`, each through its life, its checks in their order."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import ParamSpec, Protocol, TypeVar

from harness.api.check import Check
from harness.deadline import SYSTEM_CLOCK, Cancellation, Clock, Deadline
from harness.engine.attempts import CheckRun
from harness.engine.findings.verdict import verdict, with_findings
from harness.engine.findings.watch import Findings, TargetFindings, TargetWatch
from harness.engine.outcome import CheckResult, Outcome, RunResult, TargetResult
from harness.engine.plan import Plan, PlanItem, TargetPlan, number, scale_for
from harness.errors import Cancelled, HarnessError
from harness.events import Emitter, Record
from harness.target.settle import settle_check
from harness.target.target import Target
from harness.transport.contract import Result

P = ParamSpec("P")
T = TypeVar("T")

_CONSOLE_LINES = 12
WORKERS = "harness-worker"
"""What the names of the pool's threads begin with."""


class Session(Protocol):
    """A target's life, as the scheduler needs it; all methods block, and none waits after the cancellation."""

    def start(self, deadline: Deadline) -> None: ...

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target: ...

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


OpenSession = Callable[[TargetPlan, Emitter, float], Session]
"""Makes a target's session; the last argument is the factor by which its times are stretched."""


class ConsoleTail:
    """The last console lines of each target, read from the record."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[str]] = {}

    def __call__(self, record: Record) -> None:
        """Takes one record; to be subscribed to the event log."""
        if record["event.action"] == "console.line":
            lines = self._lines.setdefault(record.get("host.name", ""), deque(maxlen=_CONSOLE_LINES))
            lines.append(record["harness.text"])

    def of(self, target: str) -> tuple[str, ...]:
        return tuple(self._lines.get(target, ()))


class Scheduler:
    """Runs one plan. `cancellation` ends every wait; what was learnt until then is in the result."""

    def __init__(
        self,
        plan: Plan,
        *,
        run: str,
        open_session: OpenSession,
        events: Emitter,
        console_tail: ConsoleTail,
        cancellation: Cancellation,
        findings: Findings | None = None,
        clock: Clock = SYSTEM_CLOCK,
        repeat: Callable[[str, Check], str] = lambda _target, _check: "",
    ) -> None:
        self._plan = plan
        self._run = run
        self._open_session = open_session
        self._events = events
        self._console_tail = console_tail
        self._cancellation = cancellation
        self._findings = findings or Findings()
        self._clock = clock
        self._repeat = repeat
        self._failures = 0
        self._enough = False
        forks = max(1, plan.options.forks)
        self._forks = asyncio.Semaphore(forks)
        self._pool = WorkerPool(min(48, forks + 2))
        # Of its own, so that checks which do not return cannot keep a machine from being stopped.
        self._life_pool = WorkerPool(min(16, forks))

    async def run(self) -> RunResult:
        """Carries the plan out to its end."""
        started, began = self._clock.time(), self._clock.monotonic()
        targets = await asyncio.gather(*(self._target(each) for each in self._plan.targets))
        self._pool.shutdown()
        self._life_pool.shutdown()
        return RunResult(
            run=self._run,
            started=started,
            duration=self._clock.monotonic() - began,
            targets=tuple(targets),
            interrupted=self._cancellation.cancelled,
        )

    async def _target(self, plan: TargetPlan) -> TargetResult:
        async with self._forks:
            name = plan.host.name
            events = self._events.bind(target=name)
            began = self._clock.monotonic()
            events.emit("target.start", f"{name}: {len(plan.items)} checks", checks=len(plan.items))
            session = self._open_session(plan, events, scale_for(plan.host, self._plan.options))
            life = _Life(name, events, self._findings.watch(name, plan.findings, events, self._cancellation))
            try:
                await self._live(session, plan, events, life)
            except Cancelled as cancelled:
                life.interrupted = cancelled.message
            except HarnessError as error:
                life.unreachable = str(error)
                events.emit("target.unreachable", f"{name}: {error}", level="error", error_type=type(error).__name__)
            except Exception as error:  # our own bug: told as one, and the other targets go on
                life.error = f"{type(error).__name__}: {error}"
                from harness.api.assertion import stack

                events.emit("internal.error", f"{name}: {life.error}", level="error", stack=stack(error))
            finally:
                life.reach = await self._end(session, events)
            findings = life.watch.close()
            self._fill(plan, life)
            self._judge(life, findings)
            return self._finish(session, life, findings, self._clock.monotonic() - began)

    async def _live(self, session: Session, plan: TargetPlan, events: Emitter, life: _Life) -> None:
        if self._cancellation.cancelled or self._enough:
            raise Cancelled(self._cancellation.reason or "enough failures")
        scale = scale_for(plan.host, self._plan.options)
        deadline = Deadline.after(session.start_timeout, clock=self._clock, cancellation=self._cancellation)
        await self._life_pool.run(session.start, deadline)
        if await self._settle(session, plan, events, life, scale):
            for item in plan.items:
                if self._enough or life.watch.cancellation.cancelled:
                    break
                result = await self._check(session, life, item)
                life.checks.append(self._complete(result, item.check))
                self._count(result)

    async def _settle(self, session: Session, plan: TargetPlan, events: Emitter, life: _Life, scale: float) -> bool:
        """Waits until the target has come up. False when no transport reaches it at all."""
        wanted = self._plan.options.settle
        if wanted is None:
            wanted = bool(plan.host.setting("settle"))
        if not wanted:
            return True
        timeout = number(plan.host, "settle_timeout")
        check = settle_check(timeout)
        result = await self._check(session, life, PlanItem(check, check.settings.scaled(scale)))
        if result.outcome is Outcome.PASSED:
            life.settled = result.observations[-1].seen
        elif result.outcome is Outcome.SKIPPED:
            life.settled = result.message
        elif result.outcome is Outcome.UNREACHABLE:
            life.unreachable = result.message
            events.emit("target.unreachable", f"{plan.host.name}: {result.message}", level="error")
            return False
        else:
            life.settled = f"not settled: {result.message}"
            life.checks.append(replace(result, console=self._console_tail.of(result.target)))
            self._count(result)
        events.emit(
            "target.settled", f"{plan.host.name}: {life.settled}", duration=result.duration,
            level="info" if result.outcome in (Outcome.PASSED, Outcome.SKIPPED) else "warning",
            transports=list(result.transports),
        )  # fmt: skip
        return True

    async def _check(self, session: Session, life: _Life, item: PlanItem) -> CheckResult:
        # Seeded by name, so that pauses do not depend on what else runs.
        rng = random.Random(f"{self._plan.options.seed}:{life.name}:{item.check.id}")  # noqa: S311 - jitter, no secret
        return await CheckRun(
            item.check,
            item.settings,
            target_name=life.name,
            make_target=session.target,
            pool=self._pool,
            events=life.events,
            clock=self._clock,
            cancellation=life.watch.cancellation,
            rng=rng,
            transport=self._plan.options.transport,
            died=lambda: life.watch.died,
        ).run()

    def _complete(self, result: CheckResult, check: Check) -> CheckResult:
        if result.outcome in (Outcome.PASSED, Outcome.SKIPPED):
            return result
        return replace(result, repeat=self._repeat(result.target, check), console=self._console_tail.of(result.target))

    def _count(self, result: CheckResult) -> None:
        if result.outcome not in (Outcome.PASSED, Outcome.SKIPPED):
            self._failures += 1
            self._enough = 0 < self._plan.options.max_fail <= self._failures

    def _fill(self, plan: TargetPlan, life: _Life) -> None:
        """A check that was not run has an outcome too: none is left out of the count."""
        done = {result.check_id for result in life.checks}
        for item in plan.items:
            if item.check.id in done:
                continue
            if life.unreachable:
                outcome, why = Outcome.UNREACHABLE, life.unreachable
            elif life.error:
                outcome, why = Outcome.ERROR, life.error
            elif life.watch.died:
                outcome, why = Outcome.UNREACHABLE, f"not run: {life.watch.died}"
            elif self._enough:
                outcome, why = Outcome.SKIPPED, "not run: enough failures (--max-fail)"
            else:
                outcome, why = Outcome.SKIPPED, f"not run: {life.interrupted or 'interrupted'}"
            result = CheckResult(
                target=plan.host.name, check=item.check.name, module=item.check.module, check_id=item.check.id,
                outcome=outcome, message=why, started=self._clock.time(), duration=0.0, attempts=0,
            )  # fmt: skip
            life.checks.append(self._complete(result, item.check))
            self._tell(result, life)

    def _judge(self, life: _Life, findings: TargetFindings) -> None:
        """Puts the findings to the checks that they came with; what is forbidden among them fails the target."""
        life.checks = list(with_findings(life.checks, findings))
        failure = verdict(life.name, findings, at=self._clock.time())
        if failure is not None:
            life.checks.append(failure)
            self._tell(failure, life)
            self._count(failure)

    def _tell(self, result: CheckResult, life: _Life) -> None:
        """The event of a result that no attempt came to."""
        life.events.emit(
            "check.end", f"{result.label} {result.outcome.value}: {result.message}", module=result.module,
            check=result.check, outcome=result.outcome.value, duration=0.0, attempts=0, check_id=result.check_id,
            level="error" if result.outcome is not Outcome.SKIPPED else "info",
        )  # fmt: skip

    async def _end(self, session: Session, events: Emitter) -> tuple[str, ...]:
        """Ends the target's machine (or leaves it up) whatever came before; an error there is told, not raised."""
        try:
            if self._plan.options.keep:
                return await self._life_pool.run(session.keep)
            await self._life_pool.run(session.stop)
        except Exception as error:  # the other targets' verdicts must not be lost for it
            events.emit("target.stop_failed", str(error), level="error", error_type=type(error).__name__)
        return ()

    def _finish(self, session: Session, life: _Life, findings: TargetFindings, duration: float) -> TargetResult:
        result = TargetResult(
            target=life.name,
            checks=tuple(life.checks),
            unreachable=life.unreachable,
            error=life.error,
            stages=session.stages,
            settled=life.settled,
            duration=duration,
            console_log=session.console_log,
            counts=dict(session.counts),
            reach=life.reach,
            findings=findings.found,
            finding_counts=findings.counts,
            findings_missed=findings.missed,
        )
        bad = sum(check.outcome not in (Outcome.PASSED, Outcome.SKIPPED) for check in life.checks)
        life.events.emit(
            "target.end", f"{life.name}: {len(life.checks) - bad} of {len(life.checks)} checks without a complaint",
            duration=duration, counts=dict(session.counts),
        )  # fmt: skip
        return result


class _Life:
    """What has been learnt of a target so far."""

    def __init__(self, name: str, events: Emitter, watch: TargetWatch) -> None:
        self.name = name
        self.events = events
        self.watch = watch
        self.checks: list[CheckResult] = []
        self.settled = ""
        self.unreachable = ""
        self.error = ""
        self.interrupted = ""
        self.reach: tuple[str, ...] = ()


class WorkerPool:
    """A bounded pool of worker threads for blocking calls."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=WORKERS)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a call on one of the threads."""
        return self._executor.submit(function, *args, **kwargs)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking call on one of the threads, and waits for it without one."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def replace(self) -> None:
        """Starts afresh beside a thread that does not come back; what it had taken on is still done."""
        given_up, self._executor = self._executor, ThreadPoolExecutor(self._size, thread_name_prefix=WORKERS)
        given_up.shutdown(wait=False)

    def shutdown(self) -> None:
        """Takes no more work; a thread that is stuck in a check is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
