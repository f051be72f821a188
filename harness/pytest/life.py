"""One target's life in a pytest session, on the engine's event loop: up, settled, looked at, and down."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

from harness.api.assertion import stack
from harness.api.check import Check, Settings
from harness.deadline import Deadline
from harness.engine.attempts import CheckRun, MakeTarget, Workers
from harness.engine.console import ConsoleTail
from harness.engine.findings.rules import finding_rules
from harness.engine.findings.verdict import verdict, with_findings
from harness.engine.findings.watch import Findings
from harness.engine.outcome import CheckResult, Outcome, TargetResult
from harness.engine.plan import Options, number, scale_for
from harness.engine.retry import Retry
from harness.engine.target_run import FOLLOW_AGAIN, FOLLOW_WITHIN, GOOD, jitter
from harness.engine.waiting import Signals, Waiter
from harness.engine.workers import WorkerPool
from harness.errors import Cancelled, HarnessError
from harness.events import Emitter
from harness.inventory import Host
from harness.target.session import TargetSession
from harness.target.settle import settle_check
from harness.transport.contract import Followed


class Life:
    """A target as far as it has come. To be made, and its coroutines to be run, on the event loop."""

    def __init__(
        self,
        host: Host,
        options: Options,
        session: TargetSession,
        *,
        events: Emitter,
        limit: Deadline,
        findings: Findings,
        console: ConsoleTail,
    ) -> None:
        """`limit` has the session's cancellation."""
        self.host = host
        self.events = events
        self.session = session
        self._options = options
        self._console = console
        self._watch = findings.watch(host.name, finding_rules(host), events, limit.cancellation)
        self.limit = replace(limit, cancellation=self._watch.cancellation)
        """Until when the target is looked at; its cancellation comes when its kernel panics, too."""
        seconds = host.setting("target_deadline")
        if isinstance(seconds, int | float):
            self.limit = self.limit.clamp(float(seconds))
        self._signals = Signals()
        self._unring = console.on_line(host.name, self._signals.ring)
        self._following: asyncio.Task[None] | None = None
        self._retry = Retry()
        self._began = time.monotonic()
        self._unreachable = ""
        self._error = ""
        self._settled = ""
        self._unsettled: list[CheckResult] = []

    @property
    def trouble(self) -> tuple[Outcome, str] | None:
        """Why there is no use in looking at it any more; None while there is."""
        if self._unreachable:
            return Outcome.UNREACHABLE, self._unreachable
        if self._error:
            return Outcome.ERROR, self._error
        return (Outcome.UNREACHABLE, f"not run: {self._watch.died}") if self._watch.died else None

    # -- what the event loop runs ----------------------------------------------------------------------------

    async def start(self, tests: int, pool: WorkerPool) -> None:
        """Starts the machine, where there is one, and waits until it has settled; what goes wrong is `trouble`."""
        name = self.host.name
        self.events.emit("target.start", f"{name}: {tests} tests", checks=tests)
        try:
            self.limit.cancellation.check()
            await pool.run(self.session.start, self.limit.clamp(self.session.start_timeout))
            self._signals.when_awaited(partial(self._begin_to_follow, pool))
            wanted = self._options.settle
            if self.host.setting("settle") if wanted is None else wanted:
                await self._settle(pool)
        except Cancelled as cancelled:
            self._error = cancelled.message
        except HarnessError as error:
            self._unreachable = str(error)
            self.events.emit("target.unreachable", f"{name}: {error}", level="error", error_type=type(error).__name__)
        except Exception as error:  # a bug of ours: told as one, and the other targets go on
            self._error = f"{type(error).__name__}: {error}"
            self.events.emit("internal.error", f"{name}: {self._error}", level="error", stack=stack(error))

    async def carry(
        self,
        check: Check,
        settings: Settings,
        *,
        make_target: MakeTarget,
        pool: Workers,
        limit: Deadline,
        transport: str | None,
    ) -> CheckResult:
        """One check's verdict, exactly as `harness run` comes to it."""
        return await CheckRun(
            check,
            settings,
            target_name=self.host.name,
            make_target=make_target,
            pool=pool,
            waits=Waiter(limit.cancellation, self._signals),
            events=self.events,
            limit=limit,
            jitter=partial(jitter, f"{self._options.seed}:{self.host.name}:{check.id}"),
            retry=self._retry,
            transport=transport,
            died=lambda: self._watch.died,
        ).run()

    async def stop(self, results: list[CheckResult], pool: WorkerPool) -> TargetResult:
        """Ends the machine (or leaves it up), and tells what came of the target."""
        self._unring()
        if self._following is not None:
            self._following.cancel()
        reach = await self._end(pool)
        findings = self._watch.close()
        checks = with_findings((*self._unsettled, *results), findings)
        failure = verdict(self.host.name, findings, at=time.time())
        if failure is not None:
            checks = (*checks, failure)
            tell(failure, self.events)
        bad = sum(check.outcome not in GOOD for check in checks)
        duration = time.monotonic() - self._began
        counts = dict(self.session.counts)
        self.events.emit(
            "target.end",
            f"{self.host.name}: {len(checks) - bad} of {len(checks)} tests without a complaint",
            duration=duration,
            counts=counts,
        )
        return TargetResult(
            target=self.host.name,
            checks=checks,
            unreachable=self._unreachable,
            error=self._error,
            stages=self.session.stages,
            settled=self._settled,
            duration=duration,
            console_log=self.session.console_log,
            counts=counts,
            reach=reach,
            findings=findings.found,
            finding_counts=findings.counts,
            findings_missed=findings.missed,
        )

    # -- parts -----------------------------------------------------------------------------------------------

    async def _settle(self, pool: WorkerPool) -> None:
        check = settle_check(number(self.host, "settle_timeout"))
        result = await self.carry(
            check,
            check.settings.scaled(scale_for(self.host, self._options)),
            make_target=self.session.target,
            pool=pool,
            limit=self.limit,
            transport=self._options.transport,
        )
        self.limit.cancellation.check()
        if result.outcome is Outcome.UNREACHABLE:
            raise HarnessError(result.message)
        if result.outcome in GOOD:
            self._settled = result.observations[-1].seen if result.outcome is Outcome.PASSED else result.message
        else:
            self._settled = f"not settled: {result.message}"
            self._unsettled.append(replace(result, console=self._console.of(self.host.name)))
        self.events.emit(
            "target.settled",
            f"{self.host.name}: {self._settled}",
            duration=result.duration,
            level="info" if result.outcome in GOOD else "warning",
            transports=list(result.transports),
        )

    def _begin_to_follow(self, pool: WorkerPool) -> None:
        self._following = asyncio.create_task(self._follow(pool))

    async def _follow(self, pool: WorkerPool) -> None:
        """Lets the target's own service manager ring, so that a marked test looks when there is something to see."""
        followed: Followed | None = None
        try:
            while True:
                deadline = self.limit.clamp(FOLLOW_WITHIN)
                try:
                    followed = await pool.run(self.session.follow, deadline, self._signals.ring)
                except HarnessError as error:
                    self.events.emit("target.not_followed", str(error), level="debug")
                self._signals.ring()  # it may have been said before we listened
                while followed is not None and not followed.closed:
                    await asyncio.sleep(FOLLOW_AGAIN)
                    followed.forget()
                followed = None
                await asyncio.sleep(FOLLOW_AGAIN)
        finally:
            if followed is not None:
                followed.close()

    async def _end(self, pool: WorkerPool) -> tuple[str, ...]:
        try:
            if self._options.keep:
                return await pool.run(self.session.keep)
            await pool.run(self.session.stop)
        except Exception as error:  # what the tests have found must not be lost for it
            self.events.emit("target.stop_failed", str(error), level="error", error_type=type(error).__name__)
        return ()


def tell(result: CheckResult, events: Emitter) -> None:
    """The event of a verdict that no CheckRun came to."""
    events.emit(
        "check.end",
        f"{result.label} {result.outcome.value}{f': {result.message}' if result.message else ''}",
        level="info" if result.outcome in GOOD else "error",
        module=result.module,
        check=result.check,
        outcome=result.outcome.value,
        duration=result.duration,
        attempts=result.attempts,
        transports=list(result.transports),
        fallbacks=len(result.fallbacks),
        re_reads=result.re_reads,
        check_id=result.check_id,
        location=result.location or None,
    )
