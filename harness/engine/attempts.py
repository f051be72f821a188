"""One check on one target: attempts until it is settled, or can never be, or the budget is spent.

tenacity drives the loop. Between attempts nothing but a timer is held; an attempt itself runs on a worker thread of the
bounded pool, because the transports block.

The budget is not a point in time but a sum: of the time in which attempts looked at the target, and of the pauses
between them. What passes beside that (waiting for a thread, connecting, waiting for the console's other commands, an
event loop that comes late) is measured by its cause and never part of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

from harness.api.assertion import explain, location, stack
from harness.api.check import Check, Condition, Never, Settings, Skip, diagnosis_of
from harness.clock import Clock, lost_time
from harness.deadline import Allowance, Deadline
from harness.engine.captured import Capture, shortened
from harness.engine.observation import refuse_as_observation
from harness.engine.outcome import CheckResult, Observation, Outcome, reason_of, told_of
from harness.engine.retry import Retry
from harness.engine.waiting import FirstLook, Waits
from harness.errors import Cancelled, DeadlineExpired, HarnessError, InfrastructureError, UsageError
from harness.events import Emitter
from harness.shortage import shortage
from harness.target.target import Target
from harness.target.tracked_result import TrackedResult, unread
from harness.transport.contract import CommandResult, FailedCall, Result
from harness.transport.errors import Cause, Timeout, TransportError
from harness.transport.link import Unreachable

P = ParamSpec("P")
T = TypeVar("T")

KEPT_OBSERVATIONS = 3
# A check that pays no heed to its deadline (an endless loop of its own) is given up this long after it.
GRACE = 5.0
REFUSALS = frozenset({Cause.LOGIN, Cause.PASSWORD_EXPIRED})
# One may come of a line that was damaged while the password was typed.
REFUSALS_BELIEVED = 2
SHORTEST_ATTEMPT = 1.0
"""Seconds that an attempt has at least, even where it begins at the end of the budget."""
LIKE_BEFORE = 2.0
"""An attempt that begins in time has so many times as long as the longest one before it, and three seconds, even beyond
the end of the budget: a target that answered before may be as busy as this machine is. One that has never answered gets
nothing beyond the budget."""
LIKE_BEFORE_SECONDS = 3.0
SHORTAGE_PATIENCE = 60.0
"""Seconds for which an attempt is made again that could not be made for want of descriptors, threads or memory."""
QUEUE_PATIENCE = 600.0
"""Seconds that one attempt waits for a worker thread at most; or ten times the budget, where that is longer."""
WORTH_TELLING = 0.01
"""Seconds from which on a delay is told."""
_ROUNDING = 1e-6
UNCHANGED_ATTEMPTS = 5
UNCHANGED_SECONDS = 10.0
"""With `fail_fast_unchanged`: so many attempts in a row, over so many seconds, must have seen the same."""
_DIAGNOSED = (Outcome.FAILED, Outcome.UNREACHABLE)
# An interval of 0 must still leave the target some time of its own.
SHORTEST_PAUSE = 0.01

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


@dataclass(slots=True)
class _Tally:
    """What the commands and files of a check met."""

    transports: dict[str, None] = field(default_factory=dict)
    commands: int = 0
    re_reads: int = 0
    reconnects: int = 0
    fallbacks: list[str] = field(default_factory=list)
    is_asked: bool = False
    probes: list[str] = field(default_factory=list)
    failed: list[TrackedResult] = field(default_factory=list)

    def count(self, result: Result) -> None:
        self.is_asked = True
        self.reconnects += result.damage.reconnects
        if isinstance(result, FailedCall):
            return
        self.transports[result.transport] = None
        if isinstance(result, TrackedResult):
            self.failed.append(result)
        if isinstance(result, CommandResult):
            self.commands += 1
            self.re_reads += result.damage.re_reads
        self.fallbacks.extend(f"{f.transport}: {f.cause}: {f.message}" for f in result.fallbacks)


class CheckRun:
    """Carries one check on one target to its verdict. Thousands may be waiting at once, so it is kept small."""

    __slots__ = (
        "_admitted", "_attempts", "_capture", "_changes", "_check", "_clock", "_delays", "_diagnosis",
        "_died", "_error_type", "_events", "_first_look", "_held", "_held_since", "_is_last", "_jitter",
        "_limit", "_longest", "_looked", "_lost", "_make_target", "_misconfigured", "_observations",
        "_observed", "_output", "_pause", "_pool", "_refusals", "_retry", "_same_since", "_seen",
        "_settings", "_short_since", "_spent", "_still", "_tally", "_target_name", "_transport",
        "_unreached", "_verdict", "_waits", "_warnings",
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
        self._spent = 0.0
        self._delays: dict[str, float] = {}
        self._is_last = False
        self._longest = 0.0
        self._observations: tuple[Observation, ...] = ()
        # The last attempt that saw the target, and where in the check that was.
        self._seen: tuple[Observation, str] | None = None
        self._attempts = 0
        self._lost = 0
        self._tally = _Tally()
        self._pause = 0.0
        self._looked = 0.0
        self._observed: Any = None
        self._held: Any = None
        self._held_since: float | None = None
        self._changes: list[float] = []
        self._capture = Capture()
        self._output = ""
        self._error_type = ""  # the class of the last attempt's error; empty where it had none
        self._refusals = 0
        self._short_since: float | None = None
        self._still = still
        self._same_since: tuple[int, int, float] | None = None
        self._admitted = False
        self._verdict: tuple[Outcome, str, str] | None = None
        self._warnings: tuple[str, ...] = ()
        self._misconfigured = False
        self._unreached = unreached
        # Of the last attempt that gave one: an attempt that was cut off takes nothing back.
        self._diagnosis: dict[str, Any] | None = None

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
            self._delay(cause, seconds - lost.get(cause, 0.0))
        duration = self._spent
        delays = {cause: round(seconds, 3) for cause, seconds in self._delays.items() if seconds >= WORTH_TELLING}
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
            transports=tuple(self._tally.transports),
            commands=self._tally.commands,
            fallbacks=tuple(dict.fromkeys(self._tally.fallbacks)),
            re_reads=self._tally.re_reads,
            location=where,
            flaky=bool(self._changes),
            timed_out=self._verdict is None,
            reconnects=self._tally.reconnects,
            delays=delays,
            elapsed=max(0.0, self._clock.time() - started_at),
            warnings=self._warnings,
            misconfigured=self._misconfigured,
            is_pure=self._error_type == AssertionError.__name__ and not self._tally.is_asked,
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
            diagnosis=told_of(result.diagnosis),
        )
        return result

    # -- what tenacity asks ----------------------------------------------------------------------------------

    def over(self) -> bool:
        """Whether there is no further attempt: the last one began at the end of the budget, or was cut off there; or
        the run's own time ends before the next one."""
        if self._pause >= self._limit.remaining():
            return True
        return self._short_since is None and (self._is_last or self._spent >= self._settings.budget - _ROUNDING)

    def pause(self) -> float:
        """Seconds until the next attempt. The last one begins when the budget ends."""
        if self._short_since is not None:
            return self._pause
        return max(0.0, min(self._pause, self._settings.budget - self._spent))

    async def rest(self, seconds: float) -> None:
        """Wait for the next attempt, or for word from the target."""
        began = self._clock.monotonic()
        await self._waits.pause(seconds, self._looked)
        took = self._clock.monotonic() - began
        if self._short_since is not None:
            self._delay("shortage", took)
            return
        self._spent += min(took, seconds)
        self._delay("event_loop", took - seconds)

    async def attempt(self) -> bool:
        """Look once; true when it was the last attempt."""
        self._attempts += 1
        self._is_last = self._spent >= self._settings.budget - _ROUNDING
        asked = self._clock.monotonic()
        async with self._first_look, self._pool.free:
            sight = _Sight(self._clock, self._limit, self._time_of_attempt())
            outcome, seen, final, where = await self._once(self._attempts, sight, asked)
        handled = self._clock.monotonic()
        self._report_output()
        began = handled if sight.began is None else sight.began
        ended = handled if sight.ended is None else sight.ended
        self._looked = self._charge(outcome, sight, (asked, began, ended, handled))
        self._lost += outcome is Outcome.UNREACHABLE
        whole, seen = seen, shortened(seen)
        observation = Observation(self._attempts, self._spent, outcome, seen)
        self._observations = (*self._observations[1 - KEPT_OBSERVATIONS :], observation)
        if outcome in (Outcome.PASSED, Outcome.FAILED) and not sight.cut_off:
            self._seen = observation, where
            self._longest = max(self._longest, self._looked)
        if not final and outcome is Outcome.PASSED:
            final = self._holds(began, ended)
        elif not final and outcome is Outcome.FAILED and self._is_unchanged(observation):
            final, seen = True, f"{seen} ({self._unchanged_for(observation)})"
        self._pause = self._next_pause(outcome)
        self._events.emit(
            "attempt.end",
            f"{self._check.label} attempt {self._attempts}: {seen}",
            level="debug",
            attempt=self._attempts,
            outcome=outcome.value,
            duration=self._looked,
            seen=whole,
            final=final,
        )
        if final:
            self._verdict = (outcome, seen, where)
        return final

    # -- what it is charged --------------------------------------------------------------------------------------

    def _time_of_attempt(self) -> float:
        """Seconds that the next attempt has. One that begins in time is not cut off for taking as long as those before
        it did; a budget of 0 is one attempt."""
        settings = self._settings
        if settings.budget <= 0:
            return settings.attempt_timeout
        least = SHORTEST_ATTEMPT
        if self._seen is not None:
            least = LIKE_BEFORE * self._longest + LIKE_BEFORE_SECONDS
        return min(settings.attempt_timeout, max(settings.budget - self._spent, least))

    def _charge(self, outcome: Outcome, sight: _Sight, times: tuple[float, float, float, float]) -> float:
        """Add an attempt to what is spent, and what was not spent on the target to the delays. Returns the seconds in
        which the target was looked at."""
        asked, began, ended, handled = times
        self._delay("queue", began - asked)
        self._delay("event_loop", handled - ended)
        looked = ended - began
        if sight.allowance is not None:
            looked = max(0.0, looked - sight.allowance.seconds)
            for cause, seconds in sight.allowance.causes.items():
                self._delay(cause, seconds)
        if outcome is Outcome.INFRASTRUCTURE:
            self._delay("shortage", looked)
            return 0.0
        self._short_since = None
        self._spent += looked
        return looked

    def _delay(self, cause: str, seconds: float) -> None:
        if seconds > 0:
            self._delays[cause] = self._delays.get(cause, 0.0) + seconds

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

    async def _once(self, number: int, sight: _Sight, asked: float) -> tuple[Outcome, str, bool, str]:
        """(outcome, what was seen, whether that is final, where in the check)."""
        patience = max(QUEUE_PATIENCE, 10 * self._settings.budget)

        def left() -> float:
            if sight.deadline is not None:
                return sight.deadline.end + GRACE - self._clock.monotonic()
            # It has no thread yet: that is not the target's time, but it must end at some time.
            end = min(asked + patience, self._limit.end + GRACE) - self._clock.monotonic()
            return min(end, sight.seconds + GRACE)

        def begin() -> Target:
            deadline = sight.begin()
            made = self._make_target(deadline, self._events.bind(attempt=number), self._tally.count)
            self._tally.probes = made.probes
            insisted = self._check.transport or self._transport
            return made if insisted is None else made.over(insisted)

        failed: list[TrackedResult] = []
        self._tally.failed = failed
        condition = None if self._admitted else self._check.when
        self._capture = Capture()
        call = self._pool.submit(_look, self._check.function, begin, sight, condition, failed, self._capture)
        if not await self._waits.call(call, left):
            self._limit.cancellation.check()
            if sight.began is None:
                call.cancel()
                waited = self._clock.monotonic() - asked
                self._error_type = InfrastructureError.__name__
                return Outcome.INFRASTRUCTURE, f"no worker thread was free for {waited:.0f} s", True, ""
            self._pool.replace()  # the thread is given up, and its place is filled
            self._error_type = Timeout.__name__
            said = f"the check did not return {GRACE:.0f} s after its attempt's deadline"
            return Outcome.ERROR, said, True, str(self._check.source)
        try:
            look = call.result()
        except InfrastructureError as error:
            look = _Look(error=error)
        self._warnings = look.warnings
        self._tally.is_asked |= bool(self._tally.probes)
        self._admitted |= look.admitted
        self._error_type = "" if look.error is None else type(look.error).__name__
        if not isinstance(look.error, Timeout | DeadlineExpired):
            self._diagnosis = diagnosis_of(look.error)
        if look.error is not None:
            try:
                return self._judge(look.error, sight)
            finally:
                # Its frames hold the call, which holds it: a circle that would stay until the garbage collector comes.
                look.error.__traceback__ = None
        self._observed = look.observed
        return Outcome.PASSED, look.seen, False, ""

    def _judge(self, error: BaseException, sight: _Sight) -> tuple[Outcome, str, bool, str]:
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
                # The end of the budget or of the run, not the attempt's own time-out: what was seen before counts.
                sight.cut_off = sight.seconds < self._settings.attempt_timeout or self._limit.expired
                return Outcome.FAILED, error.message, False, location(error, code)
            case TransportError():
                self._misconfigured = _is_misconfigured(error)
                if self._misconfigured:
                    return Outcome.ERROR, str(error), True, location(error, code)
                sight.cut_off = True
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
        from harness.diagnosis.ask import diagnose_error

        found = diagnose_error(error, target=self._target_name)
        self._diagnosis = found.plain()
        return f"{found.headline}; {error.message}" if found.headline else error.message

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

    def _holds(self, began: float, ended: float) -> bool:
        """Whether the observation has held, unchanged, for the whole window."""
        if self._held_since is None:
            self._held, self._held_since = self._observed, ended
            return self._settings.window == 0
        if not _same(self._observed, self._held):
            self._changes.append(self._spent)
            self._held, self._held_since = self._observed, ended
            return False
        # From the end of the first look to the start of this one: a look itself may be slow, and is one look only.
        return began - self._held_since >= self._settings.window

    def _is_unchanged(self, observation: Observation) -> bool:
        """Whether so many attempts in a row saw the same while nothing moved on the target that no other is worth it.
        Only where that was asked for."""
        if self._still is None:
            return False
        moved = self._still()
        before = self._observations[-2].seen if len(self._observations) > 1 else None
        if self._same_since is None or observation.seen != before or self._same_since[0] != moved:
            self._same_since = moved, observation.attempt, observation.at
            return False
        attempts = observation.attempt - self._same_since[1] + 1
        return attempts >= UNCHANGED_ATTEMPTS and observation.at - self._same_since[2] >= UNCHANGED_SECONDS

    def _unchanged_for(self, observation: Observation) -> str:
        assert self._same_since is not None
        attempts, seconds = observation.attempt - self._same_since[1] + 1, observation.at - self._same_since[2]
        return (
            f"unchanged in {attempts} attempts over {seconds:.1f} s, and nothing moved on the target: "
            "--fail-fast-unchanged"
        )

    def _next_pause(self, outcome: Outcome) -> float:
        """The interval, growing with jitter; within a window, at most what is left of it."""
        if outcome is Outcome.INFRASTRUCTURE:
            return max(1.0, self._settings.interval)
        if outcome is not Outcome.PASSED and self._held_since is not None:
            self._changes.append(self._spent)
            self._held_since = None
        longest = max(self._settings.interval, self._settings.interval_max)
        growth = min(self._settings.interval * 1.5 ** min(self._attempts - 1, 40), longest)
        pause = growth * self._jitter(self._attempts)
        if self._held_since is not None:
            left = self._held_since + self._settings.window - self._clock.monotonic()
            return max(min(self._settings.interval, left), SHORTEST_PAUSE)
        return max(pause, SHORTEST_PAUSE)

    def _budget_spent(self) -> tuple[Outcome, str, str]:
        """The verdict when time is up: what was observed last. That outweighs attempts that could not be made."""
        last, where, more = self._observations[-1], "", ""
        if self._seen is not None:
            seen, where = self._seen
            if seen is not last and last.attempt > seen.attempt:
                what = "was cut off" if last.outcome is Outcome.FAILED else "could not be made"
                more = f"; attempt {last.attempt} {what}: {last.seen.splitlines()[0] if last.seen else last.outcome}"
                last = seen
        spent = f"{self._spent:.1f} s and {self._attempts} attempt{'s' if self._attempts != 1 else ''}"
        if self._limit.expired or self._limit.remaining() <= self._pause:
            spent = f"{self._spent:.1f} s, at the end of the time for this run"
            if self._seen is None and self._limit.expired:
                return Outcome.NOT_RUN, f"cut off before it saw anything, after {spent}: {last.seen}", ""
        if self._changes:
            times = ", ".join(f"{at:.1f} s" for at in self._changes[-5:])
            return (
                Outcome.FAILED,
                f"did not settle in {spent}: it changed at {times}; last seen: {last.seen or 'as it should be'}",
                "",
            )
        if last.outcome is Outcome.PASSED:
            return (
                Outcome.FAILED,
                f"held, but not for its window of {self._settings.window:g} s within {spent}",
                "",
            )
        return last.outcome, f"{last.seen} (after {spent}){more}", where


class _Sight:
    """One attempt's times. Its deadline begins when it has a thread, so it is made there."""

    __slots__ = ("_clock", "_limit", "allowance", "began", "cut_off", "deadline", "ended", "seconds")

    def __init__(self, clock: Clock, limit: Deadline, seconds: float) -> None:
        self._clock = clock
        self._limit = limit
        self.seconds = seconds
        self.began: float | None = None
        self.ended: float | None = None
        self.deadline: Deadline | None = None
        self.allowance: Allowance | None = None
        self.cut_off = False
        """Whether it ended for want of time, or of a transport, and not by an observation."""

    def begin(self) -> Deadline:
        """Start the attempt's time; on the worker thread."""
        self.began = self._clock.monotonic()
        hard = math.inf if self._limit.at == math.inf else self._limit.end
        self.allowance = Allowance(self._clock, hard)
        at = min(self.began + self.seconds, hard)
        self.deadline = Deadline(at, self._clock, self._limit.cancellation, self.allowance)
        return self.deadline


@dataclass(frozen=True, slots=True)
class _Look:
    """What a call of a check came to, as data: a future could not carry every exception that there is."""

    observed: Any = None
    seen: str = ""
    error: BaseException | None = None
    admitted: bool = False
    warnings: tuple[str, ...] = ()


def tell_warnings(result: CheckResult, events: Emitter) -> None:
    """Record the warnings of a result; before its end, so that a reader of the record knows them by then."""
    for warning in result.warnings:
        events.emit("check.warning", f"{result.label}: {warning}", level="warning", text=warning)


def _look(
    function: Callable[[Target], Any],
    begin: Callable[[], Target],
    sight: _Sight,
    condition: Condition | None,
    failed: list[TrackedResult],
    capture: Capture,
) -> _Look:
    """Call a check, once its condition (where one is left to ask) holds; on a worker thread, and never raise. `failed`
    gathers the results of the attempt's commands that failed; what the check prints goes to `capture`."""
    with capture.active():
        try:
            return _call(function, begin, condition, failed)
        finally:
            sight.ended = sight._clock.monotonic()


def _call(
    function: Callable[[Target], Any],
    begin: Callable[[], Target],
    condition: Condition | None,
    failed: list[TrackedResult],
) -> _Look:
    admitted = False
    try:
        target = begin()
        if condition is not None and not condition(target):
            return _Look(error=Skip(f"its condition {getattr(condition, '__name__', '')!r} does not hold here"))
        admitted = True
        failed.clear()  # those of the condition, which is a question
        observed = function(target)
        warnings = unread(failed) if failed else ()
        if observed is None:
            return _Look(admitted=True, warnings=warnings)
        refuse_as_observation(observed)
        # A copy of its words: what the check holds may change, or have no words at all.
        return _Look(observed, str(observed), admitted=True, warnings=warnings)
    except BaseException as error:
        return _Look(error=error, admitted=admitted, warnings=unread(failed) if failed else ())


def _is_misconfigured(error: TransportError) -> bool:
    """Whether no transport can ever serve: each one's own error is one of its configuration."""
    errors = error.errors if isinstance(error, Unreachable) else (error,)
    return bool(errors) and all(each.cause is Cause.CONFIG for each in errors)


def _same(one: object, other: object) -> bool:
    """Whether two observations are equal; those that cannot be compared are not."""
    try:
        return bool(one == other)
    except Exception:  # an `__eq__` of the check's own objects may raise anything
        return False
