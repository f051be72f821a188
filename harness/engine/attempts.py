"""One check on one target: attempts until it is settled, or can never be, or the budget is spent.

tenacity drives the loop. Between attempts nothing but a timer is held; an attempt itself runs on a worker thread of the
bounded pool, because the transports block.

The budget is a sum of what attempts and pauses take (`time_account.py`), so what passes beside that (waiting for a
thread, connecting, waiting for the console's other commands, an event loop that comes late) is never charged.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, ParamSpec, Protocol, TypeVar

from harness.api.assertion import explain, location, stack
from harness.api.check import Check, Never, Settings, Skip, diagnosis_of
from harness.clock import lost_time
from harness.deadline import Deadline
from harness.engine.captured import Capture, shortened
from harness.engine.check_call import CallCounts, Returned, call_check
from harness.engine.outcome import CheckResult, Observation, Outcome, diagnosis_fields, reason_of
from harness.engine.retry import Retry
from harness.engine.stability import StabilityWindow, UnchangedFailure
from harness.engine.starvation import StarvationProbe
from harness.engine.time_account import AttemptTimer, TimeAccount
from harness.engine.unanswered import ended_with_its_time, one_line, strength
from harness.engine.waiting import FirstLook, Waits
from harness.errors import Cancelled, DeadlineExpired, HarnessError, InfrastructureError, UsageError
from harness.events import Emitter
from harness.shortage import shortage
from harness.target.target import Target
from harness.target.tracked_result import TrackedResult
from harness.transport.contract import Result
from harness.transport.errors import Cause, Timeout, TransportError
from harness.transport.link import Unreachable

P = ParamSpec("P")
T = TypeVar("T")

KEPT_OBSERVATIONS = 3
# A check that pays no heed to its deadline (an endless loop of its own) is given up this long after it.
GRACE = 5.0
STARVED_PATIENCE = 30.0
"""Seconds for which it is not given up where it is not blocked and this machine has no CPU time for it."""
PROBED = 1.0
"""Seconds for which that is looked at."""
REFUSALS = frozenset({Cause.LOGIN, Cause.PASSWORD_EXPIRED})
# The link types a refused password once a minute: the second attempt is given the first one's answer.
REFUSALS_BELIEVED = 2
SHORTAGE_PATIENCE = 60.0
"""Seconds for which an attempt is made again that could not be made for want of descriptors, threads or memory."""
QUEUE_PATIENCE = 600.0
"""Seconds that one attempt waits for a worker thread at most; or ten times the budget, where that is longer."""
WORTH_TELLING = 0.01
"""Seconds from which on a delay is told."""
_DIAGNOSED = (Outcome.FAILED, Outcome.UNREACHABLE)
# An interval of 0 must still leave the target some time of its own.
SHORTEST_PAUSE = 0.01

_Evidence = tuple[Observation, str, dict[str, Any] | None]
MakeTarget = Callable[[Deadline, Emitter, Callable[[Result], None]], Target]


class Workers(Protocol):
    """The bounded pool of threads that checks run on."""

    @property
    def free(self) -> AbstractAsyncContextManager[object]:
        """Held by an attempt, from before it asks for a thread until it is over."""

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a call on one of its threads."""

    def replace(self) -> None:
        """Fills the place of a thread that is given up, since its call does not return."""


class CheckRun:
    """Carries one check on one target to its verdict. Thousands may be waiting at once, so it is kept small."""

    __slots__ = (
        "_address", "_admitted", "_attempts", "_capture", "_check", "_clock", "_counts", "_cut_off", "_diagnosis",
        "_died", "_error_type", "_events", "_first_look", "_is_last", "_jitter", "_limit", "_looked", "_lost",
        "_make_target", "_misconfigured", "_observations", "_observed", "_output", "_pause", "_pool", "_refusals",
        "_retry", "_seen", "_settings", "_short_since", "_strength", "_strongest", "_target_name", "_time",
        "_transport", "_unchanged", "_unreached", "_verdict", "_waits", "_warnings", "_window",
    )  # fmt: skip

    def __init__(
        self,
        check: Check,
        settings: Settings,
        *,
        target_name: str,
        make_target: MakeTarget,
        pool: Workers,
        waits: Waits,
        events: Emitter,
        limit: Deadline,
        jitter: Callable[[int], float],
        retry: Retry,
        first_look: FirstLook,
        transport: str | None = None,
        died: Callable[[], str] = lambda: "",
        still: Callable[[], int] | None = None,
        unreached: Callable[[TransportError], bool] = lambda _error: False,
    ) -> None:
        """`limit` is the run's and the target's own deadline, with the clock and the cancellation that hold here;
        `jitter` gives the factor by which the pause after an attempt differs; `first_look` is the target's; `died`
        tells, once the cancellation has ended the waits, why nothing answers on the target any more; `unreached` is
        told of each attempt that no transport served, and says whether the target is given up. `still` gives a
        number that changes whenever something moves on the target; with it, an observation that stays the same while
        nothing moves ends the check before its budget.
        """
        self._check = check
        self._settings = settings
        self._target_name = target_name
        self._make_target = make_target
        self._pool = pool
        self._waits = waits
        self._clock = limit.clock
        self._jitter = jitter
        self._retry = retry
        self._first_look = first_look
        self._transport = transport
        self._died = died
        self._events = events.bind(module=check.module, check=check.name)
        self._limit = limit
        self._time = TimeAccount(settings)
        self._is_last = False
        self._cut_off = False
        self._observations: tuple[Observation, ...] = ()
        # The last attempt that saw the target, where in the check that was, and its diagnosis.
        self._seen: _Evidence | None = None
        # The attempt without an answer that says most of the target: its strength, and as above.
        self._strongest: tuple[int, _Evidence] | None = None
        self._strength = 0
        self._attempts = 0
        self._lost = 0
        self._counts = CallCounts()
        self._pause = 0.0
        self._looked = 0.0
        self._observed: Any = None
        self._window = StabilityWindow(settings.window)
        self._capture = Capture()
        self._output = ""
        self._error_type = ""  # the class of the last attempt's error; empty where it had none
        self._refusals = 0
        self._short_since: float | None = None
        self._unchanged = None if still is None else UnchangedFailure(still)
        self._admitted = False
        self._verdict: tuple[Outcome, str, str] | None = None
        self._warnings: tuple[str, ...] = ()
        self._misconfigured = False
        self._unreached = unreached
        # Of the last attempt that gave one: an attempt that was cut off takes nothing back.
        self._diagnosis: dict[str, Any] | None = None
        # Where SSH connects to, and as whom: for the sentence of a diagnosis.
        self._address = ("", "")

    async def run(self) -> CheckResult:
        """The verdict. Every attempt is an event before its outcome is used for anything."""
        started_at = self._clock.time()
        lost = lost_time(self._clock)
        self._events.emit(
            "check.start",
            f"{self._check.label} on {self._target_name}",
            level="debug",
            check_id=self._check.id,
        )
        try:
            await self._retry.drive(self)
        except Cancelled as cancelled:
            died = self._died()
            self._error_type = type(cancelled).__name__
            self._verdict = (
                (Outcome.FAILED, f"{died} (while this check ran)", "")
                if died
                else (Outcome.ERROR, f"interrupted: {cancelled.message}", "")
            )
        finally:
            self._waits.close()
        outcome, message, where = self._verdict or self._budget_spent()
        for cause, seconds in lost_time(self._clock).items():
            self._time.delay(cause, seconds - lost.get(cause, 0.0))
        duration = self._time.spent
        delays = {cause: round(seconds, 3) for cause, seconds in self._time.delays.items() if seconds >= WORTH_TELLING}
        result = CheckResult(
            target=self._target_name,
            check=self._check.name,
            module=self._check.module,
            check_id=self._check.id,
            outcome=outcome,
            message=message,
            started=started_at,
            duration=duration,
            attempts=self._attempts,
            unreachable=self._lost,
            observations=self._observations,
            transports=tuple(self._counts.transports),
            commands=self._counts.commands,
            fallbacks=tuple(self._counts.fallbacks),
            re_reads=self._counts.re_reads,
            location=where,
            flaky=bool(self._window.changes),
            timed_out=self._verdict is None,
            reconnects=self._counts.reconnects,
            delays=delays,
            elapsed=max(0.0, self._clock.time() - started_at),
            warnings=self._warnings,
            misconfigured=self._misconfigured,
            is_pure=self._error_type == AssertionError.__name__ and not self._counts.is_asked,
            output=self._output,
            diagnosis=self._diagnosis if outcome in _DIAGNOSED else None,
        )
        tell_warnings(result, self._events)
        # Where no attempt ended with an error, what was seen did not hold until the budget was over.
        reason = reason_of(outcome, message, self._error_type or ("" if self._verdict else Timeout.__name__))
        self._events.emit(
            "check.end",
            f"{self._check.label} {outcome.value}{f': {message}' if message else ''}",
            level="info" if outcome in (Outcome.PASSED, Outcome.SKIPPED) else "error",
            outcome=outcome.value,
            duration=duration,
            attempts=self._attempts,
            transports=list(result.transports),
            fallbacks=len(result.fallbacks),
            re_reads=result.re_reads,
            flaky=result.flaky,
            check_id=self._check.id,
            location=where or None,
            delays={cause: round(1000 * seconds) for cause, seconds in delays.items()} or None,
            error_message=reason.error_message,
            error_type=reason.error_type,
            why=reason.why,
            diagnosis=diagnosis_fields(result.diagnosis),
        )
        return result

    # -- what tenacity asks ----------------------------------------------------------------------------------

    def over(self) -> bool:
        """Whether there is no further attempt: the last one began at the end of the budget or after it, so that a state
        that was reached within the budget was seen; or none has observed anything by then; or the run's own time ends
        before the next one."""
        if self._pause >= self._limit.remaining():
            return True
        if self._short_since is not None:
            return False
        return self._is_last or (self._time.is_over and self._seen is None)

    def pause(self) -> float:
        """Seconds until the next attempt. The last one begins when the budget ends."""
        if self._short_since is not None:
            return self._pause
        return min(self._pause, self._time.left)

    async def rest(self, seconds: float) -> None:
        """Wait for the next attempt, or for word from the target."""
        began = self._clock.monotonic()
        await self._waits.pause(seconds, self._looked)
        took = self._clock.monotonic() - began
        if self._short_since is not None:
            self._time.delay("shortage", took)
        else:
            self._time.charge_pause(seconds, took)

    async def attempt(self) -> bool:
        """Look once; true when it was the last attempt."""
        self._attempts += 1
        self._is_last = self._time.is_over
        asked = self._clock.monotonic()
        async with self._first_look, self._pool.free:
            timer = AttemptTimer(self._clock, self._limit, self._time.seconds_for_attempt(self._seen is not None))
            outcome, seen, final, where = await self._once(self._attempts, timer, asked)
        handled = self._clock.monotonic()
        self._report_output()
        is_short = outcome is Outcome.INFRASTRUCTURE
        self._looked = self._time.charge_attempt(timer, asked, handled, is_short=is_short)
        if not is_short:
            self._short_since = None
        self._lost += outcome is Outcome.UNREACHABLE
        whole, seen = seen, shortened(seen)
        observation = Observation(self._attempts, self._time.spent, outcome, seen)
        self._observations = (*self._observations[1 - KEPT_OBSERVATIONS :], observation)
        answered = outcome in (Outcome.PASSED, Outcome.FAILED) and not self._cut_off
        if not answered and (self._strongest is None or self._strength >= self._strongest[0]):
            self._strongest = self._strength, (observation, where, self._diagnosis)
        if answered:
            self._seen = observation, where, self._diagnosis
            self._time.longest = max(self._time.longest, self._looked)
        if not final and outcome is Outcome.PASSED:
            began = handled if timer.began is None else timer.began
            ended = handled if timer.ended is None else timer.ended
            final = self._window.holds(self._observed, began, ended, self._time.spent)
        elif not final and answered and self._unchanged is not None:
            before = self._observations[-2] if len(self._observations) > 1 else None
            if unchanged := self._unchanged.note(observation, before):
                final, seen = True, f"{seen} ({unchanged})"
        self._pause = self._next_pause(outcome, answered)
        self._events.emit(
            "attempt.end",
            f"{self._check.label} attempt {self._attempts}: {seen}",
            level="debug",
            attempt=self._attempts,
            outcome=outcome.value,
            duration=self._looked,
            seen=whole,
            final=final,
            answered=answered,
        )
        if final:
            self._verdict = (outcome, seen, where)
        return final

    def _report_output(self) -> None:
        """Record what the attempt has printed; the result keeps the last of it."""
        text = self._capture.text
        if not text:
            return
        self._events.emit(
            "check.output",
            f"{self._check.label} attempt {self._attempts} printed {len(text)} characters",
            level="debug",
            attempt=self._attempts,
            text=text,
        )
        self._output = shortened(f"{self._output}{text}")

    # -- one look --------------------------------------------------------------------------------------------

    async def _once(self, number: int, timer: AttemptTimer, asked: float) -> tuple[Outcome, str, bool, str]:
        """(outcome, what was seen, whether that is final, where in the check)."""
        self._cut_off, self._strength = False, 0
        patience = max(QUEUE_PATIENCE, 10 * self._settings.budget)

        def left() -> float:
            if timer.deadline is not None:
                # The rest of its grace is waited for while it is probed.
                return timer.deadline.end + GRACE - min(GRACE, PROBED) - self._clock.monotonic()
            # It has no thread yet: that is not the target's time, but it must end at some time.
            end = min(asked + patience, self._limit.end + GRACE) - self._clock.monotonic()
            return min(end, timer.seconds + GRACE)

        def begin() -> Target:
            deadline = timer.begin()
            made = self._make_target(deadline, self._events.bind(attempt=number), self._counts.count)
            self._counts.probes = made.probes
            if made.endpoint is not None:
                self._address = str(made.endpoint), made.endpoint.user
            insisted = self._check.transport or self._transport
            return made if insisted is None else made.over(insisted)

        failed: list[TrackedResult] = []
        self._counts.failed = failed
        condition = None if self._admitted else self._check.when
        self._capture = Capture()
        call = self._pool.submit(call_check, self._check.function, begin, timer, condition, failed, self._capture)
        if not await self._waits.call(call, left) and not await self._is_late_only(call, timer):
            self._limit.cancellation.check()
            if timer.began is None:
                call.cancel()
                waited = self._clock.monotonic() - asked
                self._error_type = InfrastructureError.__name__
                return Outcome.INFRASTRUCTURE, f"no worker thread was free for {waited:.0f} s", True, ""
            self._pool.replace()  # the thread is given up, and its place is filled
            self._error_type = Timeout.__name__
            said = f"the check did not return {GRACE:.0f} s after its attempt's deadline"
            return Outcome.ERROR, said, True, str(self._check.source)
        try:
            returned = call.result()
        except InfrastructureError as error:
            returned = Returned(error=error)
        self._warnings = returned.warnings
        self._counts.is_asked |= bool(self._counts.probes)
        self._admitted |= returned.admitted
        self._error_type = "" if returned.error is None else type(returned.error).__name__
        if not isinstance(returned.error, Timeout | DeadlineExpired):
            self._diagnosis = diagnosis_of(returned.error)
        if returned.error is not None:
            try:
                return self._judge(returned.error, timer)
            finally:
                # Its frames hold the call, which holds it: a circle that would stay until the garbage collector comes.
                returned.error.__traceback__ = None
        self._observed = returned.observed
        return Outcome.PASSED, returned.seen, False, ""

    async def _is_late_only(self, call: Future[Returned], timer: AttemptTimer) -> bool:
        """Whether a call that should have returned does so after all: within its grace, or as long as this machine has
        no CPU time for it, within bounds."""
        if timer.deadline is None:
            return False
        now = self._clock.monotonic
        until = timer.deadline.end + GRACE
        end = until + STARVED_PATIENCE
        while not self._limit.cancellation.cancelled:
            probe = StarvationProbe(timer.thread)
            if await self._waits.call(call, lambda until=until: until - now()):  # type: ignore[misc]
                return True
            if now() >= end or not probe.is_starved:
                return call.done()
            until = now() + min(GRACE, PROBED)
        return call.done()

    def _judge(self, error: BaseException, timer: AttemptTimer) -> tuple[Outcome, str, bool, str]:
        """What an exception of the check says."""
        code = self._check.filename
        if short := shortage(error):
            return self._is_short(short)
        match error:
            case Cancelled():
                raise error
            case Skip():
                return Outcome.SKIPPED, str(error) or "skipped", True, ""
            case Never():
                return Outcome.FAILED, str(error) or "can never pass", True, location(error, code)
            case AssertionError():
                return Outcome.FAILED, explain(error, code), False, location(error, code)
            case Timeout() | DeadlineExpired():
                # A time-out that the check itself chose is an observation; the end of our own time is none.
                self._cut_off = (
                    timer.seconds < self._settings.attempt_timeout or self._limit.expired or ended_with_its_time(timer)
                )
                return Outcome.FAILED, error.message, False, location(error, code)
            case TransportError():
                self._misconfigured = _is_misconfigured(error)
                if self._misconfigured:
                    return Outcome.ERROR, str(error), True, location(error, code)
                self._cut_off = True
                self._strength = strength(error, in_time=not ended_with_its_time(timer))
                given_up = self._is_refused(error) or self._unreached(error)
                return Outcome.UNREACHABLE, self._unreachable(error), given_up, location(error, code)
            case UsageError():
                # Waiting mends no flag, no inventory and no command that nobody can run.
                self._misconfigured = True
                return Outcome.ERROR, str(error), True, location(error, code) or str(self._check.source)
            case HarnessError():
                return Outcome.FAILED, error.message, False, location(error, code)
        # The check's own mistake, `sys.exit()` too: told once, with its place.
        self._events.emit(
            "check.error",
            f"{self._check.label}: {type(error).__name__}: {error}",
            level="error",
            error_type=type(error).__name__,
            error_message=str(error),
            stack=stack(error),
        )
        return Outcome.ERROR, explain(error, code), True, location(error, code) or str(self._check.source)

    def _unreachable(self, error: TransportError) -> str:
        """Return why no transport served, the cause first; keep its diagnosis."""
        from harness.diagnosis.ask import diagnose_error, unreachable_message

        address, user = self._address
        found = diagnose_error(error, target=self._target_name, address=address, user=user)
        self._diagnosis = found.plain()
        return unreachable_message(found, error)

    def _is_short(self, why: str) -> tuple[Outcome, str, bool, str]:
        """The attempt could not be made for want of something that others may give back: it is made again, for a
        bounded time."""
        now = self._clock.monotonic()
        if self._short_since is None:
            self._short_since = now
        return Outcome.INFRASTRUCTURE, why, now - self._short_since >= SHORTAGE_PATIENCE, ""

    def _is_refused(self, error: TransportError) -> bool:
        """Whether the credentials were refused for the second time, on every transport that there is: waiting cures no
        wrong password, and a third try may lock the account."""
        errors = error.errors if isinstance(error, Unreachable) else (error,)
        if errors and all(each.cause in REFUSALS for each in errors):
            self._refusals += 1
        return self._refusals >= REFUSALS_BELIEVED

    def _next_pause(self, outcome: Outcome, answered: bool) -> float:
        """The interval, growing with jitter; within a window, at most what is left of it."""
        if outcome is Outcome.INFRASTRUCTURE:
            return max(1.0, self._settings.interval)
        # An attempt without an answer is not a change: the next one that is answered says whether there was any.
        if outcome is not Outcome.PASSED and answered:
            self._window.close(self._time.spent, self._observations[-1].seen)
        longest = max(self._settings.interval, self._settings.interval_max)
        growth = min(self._settings.interval * 1.5 ** min(self._attempts - 1, 40), longest)
        pause = growth * self._jitter(self._attempts)
        if self._window.is_open:
            left = self._window.left(self._clock.monotonic())
            return max(min(self._settings.interval, left), SHORTEST_PAUSE)
        return max(pause, SHORTEST_PAUSE)

    def _budget_spent(self) -> tuple[Outcome, str, str]:
        """Return the verdict when time is up: the last observation that was answered. Where there is none, what says
        most of the target of that which was met instead: our own deadline says nothing of it."""
        last, where, more = self._observations[-1], "", ""
        best = self._seen or (self._strongest[1] if self._strongest is not None else None)
        if best is not None:
            seen, where, self._diagnosis = best
            if last.attempt > seen.attempt:
                what = "was cut off" if last.outcome is Outcome.FAILED else "could not be made"
                more = f"; attempt {last.attempt} {what}: {one_line(last.seen) or last.outcome}"
                last = seen
        spent = f"{self._time.spent:.1f} s and {self._attempts} attempt{'s' if self._attempts != 1 else ''}"
        if self._limit.expired or self._limit.remaining() <= self._pause:
            spent = f"{self._time.spent:.1f} s, at the end of the time for this run"
            if self._seen is None and self._limit.expired:
                return Outcome.NOT_RUN, f"cut off before it saw anything, after {spent}: {last.seen}", ""
        if self._window.changes:
            times = ", ".join(f"{at:.1f} s" for at in self._window.changes[-5:])
            now = f"last observation: {last.seen}" if last.seen else "currently passing"
            # A failure in between says more than a pass at the end.
            why = one_line(self._window.reason) if last.outcome is Outcome.PASSED else ""
            cause = f" ({why})" if why else ""
            return (
                Outcome.FAILED,
                f"unstable for {spent}: changed at {times}{cause}; {now}{more}",
                "",
            )
        if last.outcome is Outcome.PASSED:
            return (
                Outcome.FAILED,
                f"held, but not for its window of {self._settings.window:g} s within {spent}{more}",
                "",
            )
        return last.outcome, f"{last.seen} (after {spent}){more}", where


def tell_warnings(result: CheckResult, events: Emitter) -> None:
    """Record the warnings of a result; before its end, so that a reader of the record knows them by then."""
    for warning in result.warnings:
        events.emit("check.warning", f"{result.label}: {warning}", level="warning", text=warning)


def _is_misconfigured(error: TransportError) -> bool:
    """Whether no transport can ever serve: each one's own error is one of its configuration."""
    errors = error.errors if isinstance(error, Unreachable) else (error,)
    return bool(errors) and all(each.cause is Cause.CONFIG for each in errors)
