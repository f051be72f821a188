"""A target's life in a run: brought up, settled, looked at, taken down; and what came of it.

`harness run` and the pytest plugin have one of each target. A soak has one for each iteration, with the same session:
the first begins with the start, each other one with a reset, and only the last ends with the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from harness.api.assertion import stack
from harness.api.check import Check, Settings, Skip
from harness.deadline import Deadline
from harness.engine.attempts import CheckRun, MakeTarget, Workers, tell_warnings
from harness.engine.console import ConsoleTail
from harness.engine.contact import FirstContact
from harness.engine.findings.rules import FindingRules
from harness.engine.findings.verdict import verdict, with_findings
from harness.engine.findings.watch import Findings
from harness.engine.outcome import GOOD, CheckResult, Outcome, TargetResult, diagnosis_fields, reason_of
from harness.engine.plan import Options, number, scale_for
from harness.engine.retry import Retry
from harness.engine.waiting import FirstLook, Signals, Waiter
from harness.engine.workers import WorkerPool
from harness.errors import Cancelled, HarnessError, UsageError
from harness.events import Emitter
from harness.inventory import Host
from harness.machine.spec import BOOT_SOURCES
from harness.shortage import disk_full, shortage
from harness.target.target import Target
from harness.transport.contract import Followed, Result
from harness.transport.link import Unreachable

FOLLOW_WITHIN = 10.0
"""Seconds within which the target's own words can be followed, or are not waited for."""
RESTARTS_WITHIN = 10.0
"""Seconds that the question for restarts may take, at the end of a run."""
FOLLOW_AGAIN = 5.0
"""Seconds after which what is followed is looked after, and begun again where it has ended."""


class Session(Protocol):
    """What a life needs of a target; all methods block, and none waits after the cancellation."""

    def start(self, deadline: Deadline) -> None: ...

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target: ...

    def follow(self, deadline: Deadline, on_word: Callable[[], None]) -> Followed | None: ...

    def stop(self) -> None: ...

    def keep(self, seconds: float | None = None) -> tuple[str, ...]: ...

    @property
    def stages(self) -> tuple[tuple[str, float], ...]: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def console_log(self) -> str: ...

    @property
    def broken(self) -> str: ...

    @property
    def start_timeout(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What all lives of a run share. `life_pool` is apart, so that checks which do not return cannot keep a machine
    from being stopped."""

    pool: WorkerPool
    life_pool: WorkerPool
    findings: Findings
    console: ConsoleTail
    retry: Retry = field(default_factory=Retry)

    def shutdown(self) -> None:
        """Takes no more work."""
        self.pool.shutdown()
        self.life_pool.shutdown()


class Life:
    """A target as far as it has come. To be made, and its coroutines to be run, on the event loop."""

    def __init__(
        self,
        host: Host,
        options: Options,
        session: Session,
        *,
        means: Means,
        rules: FindingRules,
        events: Emitter,
        limit: Deadline,
        on_failure: Callable[[CheckResult], None] = lambda _result: None,
    ) -> None:
        """`limit` holds the run's own deadline, clock and cancellation. `on_failure` is told what fails the target and
        is no check of anybody's: that it did not settle, and what its console said."""
        self.host = host
        self.name = host.name
        self.events = events
        self.session = session
        self._options = options
        self._means = means
        self._on_failure = on_failure
        self._run_limit = limit
        self._watch = means.findings.watch(self.name, rules, events, limit.cancellation)
        own = options.target_deadline
        seconds = own if own is not None else host.setting("target_deadline")
        self.seconds = float(seconds) if isinstance(seconds, int | float) else None
        """The time that this target has for itself, where there is such a bound."""
        self.limit = replace(limit, cancellation=self._watch.cancellation)
        """Until when the target is looked at; its cancellation comes when its kernel panics, too."""
        if self.seconds is not None:
            self.limit = self.limit.clamp(self.seconds)
        self._clock = limit.clock
        self._began = self._clock.monotonic()
        self._before = Counter(session.counts)
        self._contact = FirstContact(
            None if _expects_boot(host) else _reach_timeout(host, options),
            name=self.name,
            is_answered=lambda: _is_answered(session.counts),
            events=events,
            clock=self._clock,
        )
        self._signals = Signals()
        self._first_look = FirstLook()
        self._unring = means.console.on_line(self.name, self._signals.ring)
        self._following: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[bool] | None = None
        self._settle_result: CheckResult | None = None
        self._unsettled: list[CheckResult] = []
        self._settled = ""
        self.unreachable = ""
        self.error = ""
        self._misconfigured = False
        self.interrupted = ""
        self.infrastructure = ""
        self.out_of_time = ""

    @property
    def died(self) -> str:
        """Why nothing answers on the target any more; empty while it may."""
        return self._watch.died

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """What fails the target so far and is no check of anybody's: that it did not settle."""
        return tuple(self._unsettled)

    @property
    def forbidden(self) -> bool:
        """Whether its console has said what fails it."""
        return self._watch.forbidden

    @property
    def wants_settling(self) -> bool:
        """Whether checks that do not say otherwise wait until the target has settled."""
        wanted = self._options.settle
        return bool(self.host.setting("settle") if wanted is None else wanted)

    @property
    def _may_fail_fast(self) -> bool:
        """Whether checks end early that see the same again and again: on a target that has settled, where that was
        asked for."""
        return self._options.fail_fast_unchanged and bool(self._settled) and not self._unsettled

    @property
    def trouble(self) -> tuple[Outcome, str] | None:
        """Why there is no use in looking at it any more; None while there is."""
        if self.unreachable:
            return Outcome.UNREACHABLE, self.unreachable
        if self.infrastructure:
            return Outcome.INFRASTRUCTURE, self.infrastructure
        if self.error or self.interrupted:
            return Outcome.ERROR, self.error or self.interrupted
        if self.out_of_time:
            return Outcome.NOT_RUN, self.out_of_time
        return (Outcome.UNREACHABLE, f"not run: {self.died}") if self.died else None

    # -- its parts, in this order ------------------------------------------------------------------------------

    async def through(self, work: Coroutine[Any, Any, object]) -> None:
        """Awaits a part of this life. What goes wrong in it is told here, and the other targets go on."""
        try:
            await work
        except Cancelled as cancelled:
            self.interrupted = cancelled.message
        except Exception as error:
            await self._went_wrong(error)

    async def _went_wrong(self, error: Exception) -> None:
        """Say whose fault it was: the harness's surroundings', the user's, the run's end, the target's, or a bug."""
        if short := shortage(error) or disk_full(error):
            self.lacks(short)
        elif isinstance(error, UsageError):
            self._is_misconfigured(str(error))
        elif not isinstance(error, HarnessError):  # our own bug: told as one
            self.error = f"{type(error).__name__}: {error}"
            self.events.emit("internal.error", f"{self.name}: {self.error}", level="error", stack=stack(error))
        elif broken := await self.broken():
            self.lacks(f"{broken}; {error}")
        elif self.limit.expired:
            self.out_of_time = f"not run: {self.time_over}, before the target was up ({error.message})"
        else:
            self._is_unreachable(str(error), type(error).__name__)

    def lacks(self, why: str) -> None:
        """What carries the target has failed, or is short of something: there is no verdict on the target."""
        self.infrastructure = why
        self.events.emit("target.infrastructure", f"{self.name}: {why}", level="error")

    async def broken(self) -> str:
        """What carries the target and has failed; empty where nothing has, or nothing of ours carries it."""
        try:
            return await self._means.life_pool.run(lambda: self.session.broken)
        except Exception as error:
            self.events.emit("target.stop_failed", str(error), level="error", error_type=type(error).__name__)
            return ""

    @property
    def time_over(self) -> str:
        """Which time was over, in words."""
        if self._run_limit.expired:
            return "the run's deadline passed"
        return f"the time for this target ({self.seconds:g} s) was over" if self.seconds is not None else ""

    async def begin(self, bring_up: Callable[[Deadline], None], seconds: float) -> None:
        """Brings the target up: starts it, or resets it. Raises what `bring_up` does."""
        self.limit.cancellation.check()
        # A panic ends no boot: who watches it tells more of it.
        deadline = replace(self.limit, cancellation=self._run_limit.cancellation).clamp(seconds)
        await self._means.life_pool.run(bring_up, deadline)
        self._signals.when_awaited(self._begin_to_follow)

    async def is_settled(self) -> bool:
        """Waits, once for all checks, until the target has come up. False when it is of no use to look at it."""
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle())
        return await asyncio.shield(self._settling)

    async def look_for_restarts(self) -> None:
        """Record a finding for each unit that systemd has restarted by itself during this life, or that it restarts
        again and again: a window is too short for one that runs for twenty seconds at a time. One question, where the
        target is run by systemd; that it cannot be asked any more is no verdict."""
        settling = self._settle_result
        if settling is None or settling.outcome not in (Outcome.PASSED, Outcome.FAILED) or not settling.transports:
            return
        if self.trouble is not None or self.limit.expired or self.limit.cancellation.cancelled:
            return
        from harness.target.restarts import look_for_restarts
        from harness.target.settle import expected_to_fail

        lived = self._clock.monotonic() - self._began
        deadline = self.limit.clamp(RESTARTS_WITHIN * scale_for(self.host, self._options))

        def ask() -> tuple[str, ...]:
            target = self.session.target(deadline, self.events, lambda _result: None)
            return tuple(map(str, look_for_restarts(target, lived, expected_to_fail(target.vars))))

        try:
            found = await self._means.life_pool.run(ask)
        except Cancelled:
            return
        except (HarnessError, AssertionError, Skip, ValueError) as error:
            words = f"{self.name}: its units' restarts could not be asked for: {error}"
            self.events.emit("target.restarts_unknown", words, level="debug")
            return
        for words in found:
            self.events.emit("finding", f"{self.name}: {words}", level="warning", finding="unit_restarted")

    async def carry(
        self,
        check: Check,
        settings: Settings,
        *,
        make_target: MakeTarget | None = None,
        pool: Workers | None = None,
        limit: Deadline | None = None,
        transport: str | None = None,
    ) -> CheckResult:
        """One check's verdict."""
        limit = limit or self.limit
        return await CheckRun(
            check,
            settings,
            target_name=self.name,
            make_target=make_target or self.session.target,
            pool=pool or self._means.pool,
            waits=Waiter(limit.cancellation, self._signals, limit.clock),
            events=self.events,
            limit=limit,
            jitter=partial(jitter, f"{self._options.seed}:{self.name}:{check.id}"),
            retry=self._means.retry,
            first_look=self._first_look,
            transport=transport or self._options.transport,
            died=lambda: self.died,
            still=(lambda: self._signals.rings) if self._may_fail_fast else None,
            unreached=self._contact.refused,
        ).run()

    def leave(self) -> None:
        """Listens to the target no more; the next life may begin, with the same session."""
        self._unring()
        for task in (self._following, self._settling):
            if task is not None:
                task.cancel()

    async def take_down(self, *, failed: bool = False) -> tuple[str, ...]:
        """Ends the target's machine (or leaves it up), whatever came before; returns how to reach one that is kept. An
        error is told, not raised: the verdicts must not be lost for it."""
        self.leave()
        try:
            if self._options.keep or (self._options.debug_on_failure and failed):
                return await self._means.life_pool.run(self.session.keep, self._options.keep_for)
            await self._means.life_pool.run(self.session.stop)
        except Exception as error:
            self.events.emit("target.stop_failed", str(error), level="error", error_type=type(error).__name__)
        return ()

    def result(
        self, had: Sequence[CheckResult], *, reach: tuple[str, ...] = (), things: str = "checks"
    ) -> TargetResult:
        """What came of it: the findings stand with the checks that they came with; what is forbidden among them fails
        the target. Ends this life."""
        self.leave()
        findings = self._watch.close()
        checks = with_findings((*self._unsettled, *had), findings)
        failure = verdict(self.name, findings, at=self._clock.time())
        if failure is not None:
            checks = (*checks, failure)
            tell(failure, self.events)
            self._on_failure(failure)
        bad = sum(check.outcome not in GOOD for check in checks)
        duration = self._clock.monotonic() - self._began
        counts = Counter(self.session.counts)
        counts.subtract(self._before)
        self.events.emit(
            "target.end",
            f"{self.name}: {len(checks) - bad} of {len(checks)} {things} passed",
            duration=duration,
            counts=dict(counts),
        )
        return TargetResult(
            target=self.name,
            checks=checks,
            unreachable=self.unreachable,
            error=self.error,
            stages=self.session.stages,
            settled=self._settled,
            duration=duration,
            console_log=self.session.console_log,
            counts=dict(counts),
            reach=reach,
            findings=findings.found,
            finding_counts=findings.counts,
            findings_missed=findings.missed,
            settling=self._settle_result,
            infrastructure=self.infrastructure,
            misconfigured=self._misconfigured,
        )

    # -- settling ----------------------------------------------------------------------------------------------

    async def _settle(self) -> bool:
        from harness.target.settle import settle_check

        check = settle_check(number(self.host, "settle_timeout"), number(self.host, "settle_window"))
        result = await self.carry(check, check.settings.scaled(scale_for(self.host, self._options)))
        if self.limit.cancellation.cancelled and not self.died:
            self.interrupted = self.limit.cancellation.reason
            return False
        self._settle_result = result
        if result.misconfigured:
            self._is_misconfigured(result.message)
            return False
        if result.outcome is Outcome.UNREACHABLE:
            self._is_unreachable(self._with_console_cause(result.message))
            return False
        if result.outcome is Outcome.INFRASTRUCTURE:
            self.lacks(result.message)
            return False
        if result.outcome is Outcome.NOT_RUN:
            self.out_of_time = result.message
            return False
        if result.outcome in GOOD:
            self._settled = result.observations[-1].seen if result.outcome is Outcome.PASSED else result.message
        else:
            self._settled = f"not settled: {result.message}"
            self._unsettled.append(replace(result, console=self._means.console.of(self.name)))
            self._on_failure(result)
        self.events.emit(
            "target.settled",
            f"{self.name}: {self._settled}",
            duration=result.duration,
            level="info" if result.outcome in GOOD else "warning",
            transports=list(result.transports),
        )
        return True

    def _is_misconfigured(self, why: str) -> None:
        self.error, self._misconfigured = why, True
        self.events.emit("target.misconfigured", f"{self.name}: {why}", level="error")

    def _with_console_cause(self, why: str) -> str:
        """Return why the target cannot be reached, with what its console shows of it first: a machine that was up
        before the run may have panicked before it."""
        from harness.diagnosis.ask import console_cause
        from harness.target.console import logged_lines

        cause = console_cause(self.name, logged_lines(self.session.console_log))
        return f"{cause}; {why}" if cause and cause not in why else why

    def _is_unreachable(self, why: str, error_type: str | None = None) -> None:
        self.unreachable = why
        self.events.emit("target.unreachable", f"{self.name}: {why}", level="error", error_type=error_type)

    # -- the target's own words --------------------------------------------------------------------------------

    def _begin_to_follow(self) -> None:
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Wake waiting checks on systemd journal messages. Without a journal, checks poll at their normal interval."""
        followed: Followed | None = None
        try:
            while True:
                deadline = self.limit.clamp(FOLLOW_WITHIN)
                call = self._means.life_pool.submit(self.session.follow, deadline, self._signals.ring)
                try:
                    followed = await asyncio.wrap_future(call)
                except asyncio.CancelledError:
                    call.add_done_callback(_close)  # the thread is still at it
                    raise
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


def _close(call: Future[Followed | None]) -> None:
    if call.cancelled() or call.exception() is not None:
        return
    followed = call.result()
    if followed is not None:
        followed.close()


def _expects_boot(host: Host) -> bool:
    """Whether the target may still be booting: a machine of ours is, and any other one whose variables say so."""
    return bool(host.setting("expect_boot")) or any(host.vars.get(name) for name in BOOT_SOURCES)


def _reach_timeout(host: Host, options: Options) -> float:
    chosen = options.reach_timeout
    return (number(host, "reach_timeout") if chosen is None else chosen) * scale_for(host, options)


def _is_answered(counts: Mapping[str, int]) -> bool:
    """Whether a call on the target was answered before, by what its links have counted."""
    return counts.get("commands", 0) + counts.get("files", 0) > counts.get("failures", 0)


def tell(result: CheckResult, events: Emitter) -> None:
    """The event of a verdict that no attempts came to."""
    tell_warnings(result, events.bind(module=result.module, check=result.check))
    error_type = {Outcome.UNREACHABLE: Unreachable.__name__, Outcome.ERROR: HarnessError.__name__}
    reason = reason_of(result.outcome, result.message, error_type.get(result.outcome, ""))
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
        error_message=reason.error_message,
        error_type=reason.error_type,
        why=reason.why,
        diagnosis=diagnosis_fields(result.diagnosis),
    )


def jitter(seed: str, attempt: int) -> float:
    """A factor from 0.8 to 1.2, the same for the same seed and attempt, whatever else runs."""
    drawn = hashlib.blake2b(f"{seed}:{attempt}".encode("utf-8", "backslashreplace"), digest_size=4).digest()
    return 0.8 + 0.4 * int.from_bytes(drawn, "big") / (1 << 32)
