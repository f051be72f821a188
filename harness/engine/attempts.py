"""One check on one target: attempts until it is settled, or can never be, or the budget is spent.

tenacity drives the loop. Between attempts nothing but a timer is held; an attempt itself runs on a worker thread of the
bounded pool, because the transports block.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from harness.api.assertion import explain, location, stack
from harness.api.check import Check, Never, Settings, Skip
from harness.deadline import Cancellation, Clock, Deadline
from harness.engine.outcome import CheckResult, Observation, Outcome
from harness.errors import Cancelled, HarnessError
from harness.events import Emitter
from harness.target.target import Target
from harness.transport.contract import CommandResult, Result
from harness.transport.errors import Cause, Timeout, TransportError
from harness.transport.link import Unreachable

P = ParamSpec("P")
T = TypeVar("T")

KEPT_OBSERVATIONS = 3
# A check that pays no heed to its deadline (an endless loop of its own) is given up this long after it.
GRACE = 5.0
# Transports end a cancelled call within a tenth of a second; a check's own sleep does not.
CANCEL_GRACE = 1.0
REFUSALS = frozenset({Cause.LOGIN, Cause.PASSWORD_EXPIRED})
# One may come of a line that was damaged while the password was typed.
REFUSALS_BELIEVED = 2
# An interval of 0 must still leave the target some time of its own.
SHORTEST_PAUSE = 0.01

Sleep = Callable[[float, Cancellation], Awaitable[None]]
MakeTarget = Callable[[Deadline, Emitter, Callable[[Result], None]], Target]


class Workers(Protocol):
    """The bounded pool of threads that checks run on."""

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a call on one of its threads."""

    def replace(self) -> None:
        """Fills the place of a thread that is given up, since its call does not return."""


class _Again(Exception):
    """Look once more."""


@dataclass
class _Tally:
    """What the commands and files of a check met."""

    transports: dict[str, None] = field(default_factory=dict)
    commands: int = 0
    re_reads: int = 0
    fallbacks: list[str] = field(default_factory=list)

    def count(self, result: Result) -> None:
        self.transports[result.transport] = None
        if isinstance(result, CommandResult):
            self.commands += 1
            self.re_reads += result.damage.re_reads
        self.fallbacks.extend(f"{f.transport}: {f.cause}: {f.message}" for f in result.fallbacks)


class CheckRun:
    """Carries one check on one target to its verdict."""

    def __init__(
        self,
        check: Check,
        settings: Settings,
        *,
        target_name: str,
        make_target: MakeTarget,
        pool: Workers,
        events: Emitter,
        clock: Clock,
        cancellation: Cancellation,
        rng: random.Random,
        transport: str | None = None,
        sleep: Sleep | None = None,
        died: Callable[[], str] = lambda: "",
    ) -> None:
        """`died` tells, once the cancellation has ended the waits, why nothing answers on the target any more."""
        self._check = check
        self._settings = settings
        self._target_name = target_name
        self._make_target = make_target
        self._pool = pool
        self._clock = clock
        self._rng = rng
        self._transport = transport
        self._sleeper = sleep or sleep_cancellably
        self._died = died
        self._events = events.bind(module=check.module, check=check.name)
        self._deadline = Deadline.after(settings.budget, clock=clock, cancellation=cancellation)
        self._started = clock.monotonic()
        self._observations: list[Observation] = []
        self._attempts = 0
        self._tally = _Tally()
        self._pause = 0.0
        self._observed: Any = None
        self._held: Any = None
        self._held_since: float | None = None
        self._changes: list[float] = []
        self._where = ""
        self._cut_short = False
        self._refusals = 0
        self._verdict: tuple[Outcome, str, str] | None = None

    async def run(self) -> CheckResult:
        """The verdict. Every attempt is an event before its outcome is used for anything."""
        started_at = self._clock.time()
        self._events.emit(
            "check.start",
            f"{self._check.label} on {self._target_name}",
            level="debug",
            check_id=self._check.id,
        )
        retrying = AsyncRetrying(
            stop=self._stop,
            wait=self._wait,
            retry=retry_if_exception_type(_Again),
            sleep=self._sleep,
            retry_error_callback=lambda _state: None,
        )
        try:
            await retrying(self._attempt)
        except Cancelled as cancelled:
            died = self._died()
            self._verdict = (
                (Outcome.FAILED, f"{died} (while this check ran)", "")
                if died
                else (Outcome.ERROR, f"interrupted: {cancelled.message}", "")
            )
        outcome, message, where = self._verdict or self._budget_spent()
        duration = self._clock.monotonic() - self._started
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
            observations=tuple(self._observations[-KEPT_OBSERVATIONS:]),
            transports=tuple(self._tally.transports),
            commands=self._tally.commands,
            fallbacks=tuple(dict.fromkeys(self._tally.fallbacks)),
            re_reads=self._tally.re_reads,
            location=where,
            flaky=bool(self._changes),
        )
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
        )
        return result

    # -- tenacity's four questions ---------------------------------------------------------------------------

    def _stop(self, _state: RetryCallState) -> bool:
        """No attempt starts after the deadline: stops when the pause before the next one would reach it."""
        return self._pause >= self._deadline.remaining()

    def _wait(self, _state: RetryCallState) -> float:
        return self._pause

    async def _sleep(self, seconds: float) -> None:
        await self._sleeper(seconds, self._deadline.cancellation)

    async def _attempt(self) -> None:
        self._attempts += 1
        began = self._clock.monotonic()
        outcome, seen, final, where = await self._once(self._attempts)
        self._where = where or self._where
        ended = self._clock.monotonic()
        self._observations.append(Observation(self._attempts, ended - self._started, outcome, seen))
        if not final and outcome is Outcome.PASSED:
            final = self._holds(began, ended)
        self._pause = self._next_pause(outcome, ended)
        self._events.emit(
            "attempt.end",
            f"{self._check.label} attempt {self._attempts}: {seen}",
            level="debug",
            attempt=self._attempts,
            outcome=outcome.value,
            duration=ended - began,
            seen=seen,
            final=final,
        )
        if final:
            self._verdict = (outcome, seen, where)
            return
        raise _Again

    # -- one look --------------------------------------------------------------------------------------------

    async def _once(self, number: int) -> tuple[Outcome, str, bool, str]:
        """(outcome, what was seen, whether that is final, where in the check)."""
        deadline = self._deadline.clamp(self._settings.attempt_timeout)
        made = self._make_target(deadline, self._events.bind(attempt=number), self._tally.count)
        target = made.over(self._check.transport or self._transport)
        call = asyncio.wrap_future(self._pool.submit(_look, self._check.function, target))
        code = self._check.function.__code__.co_filename
        if not await _ended(call, deadline.remaining() + GRACE, deadline.cancellation):
            self._pool.replace()  # the thread is given up, and its place is filled
            deadline.cancellation.check()
            said = f"the check did not return {GRACE:.0f} s after its attempt's deadline"
            return Outcome.ERROR, said, True, str(self._check.source)
        look = call.result()
        try:
            if look.error is not None:
                raise look.error
        except Cancelled:
            raise
        except Skip as skip:
            return Outcome.SKIPPED, str(skip) or "skipped", True, ""
        except Never as never:
            return Outcome.FAILED, str(never) or "can never pass", True, location(never, code)
        except AssertionError as error:
            return Outcome.FAILED, explain(error, code), False, location(error, code)
        except Timeout as error:
            # The budget's end, not the attempt's own time-out, cut this look short: what was seen before counts.
            self._cut_short = deadline.at >= self._deadline.at
            return Outcome.FAILED, error.message, False, location(error, code)
        except TransportError as error:
            final = self._is_refused(error)
            return Outcome.UNREACHABLE, error.message, final, location(error, code)
        except HarnessError as error:
            return Outcome.FAILED, error.message, False, location(error, code)
        except BaseException as error:  # the check's own mistake, `sys.exit()` too: told once, with its place
            self._events.emit(
                "check.error", f"{self._check.label}: {type(error).__name__}: {error}", level="error",
                error_type=type(error).__name__, error_message=str(error), stack=stack(error),
            )  # fmt: skip
            return Outcome.ERROR, explain(error, code), True, location(error, code)
        self._observed = look.observed
        return Outcome.PASSED, look.seen, False, ""

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
            self._changes.append(ended - self._started)
            self._held, self._held_since = self._observed, ended
            return False
        # From the end of the first look to the start of this one: a look itself may be slow, and is one look only.
        return began - self._held_since >= self._settings.window

    def _next_pause(self, outcome: Outcome, now: float) -> float:
        """The interval, growing with jitter; within a window, at most what is left of it."""
        if outcome is not Outcome.PASSED and self._held_since is not None:
            self._changes.append(now - self._started)
            self._held_since = None
        growth = min(self._settings.interval * 1.5 ** min(self._attempts - 1, 40), self._settings.interval_max)
        pause = growth * self._rng.uniform(0.8, 1.2)
        if self._held_since is not None:
            left = self._held_since + self._settings.window - now
            return max(min(self._settings.interval, left), SHORTEST_PAUSE)
        return max(pause, SHORTEST_PAUSE)

    def _budget_spent(self) -> tuple[Outcome, str, str]:
        """The verdict when time is up: the last thing seen, and that it was not for want of looking."""
        last = self._observations[-1]
        if self._cut_short and len(self._observations) > 1:
            last = self._observations[-2]
        spent = f"{self._settings.budget:g} s and {self._attempts} attempt{'s' if self._attempts != 1 else ''}"
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
        return last.outcome, f"{last.seen} (after {spent})", self._where


@dataclass(frozen=True, slots=True)
class _Look:
    """What a call of a check came to, as data: a future could not carry every exception that there is."""

    observed: Any = None
    seen: str = ""
    error: BaseException | None = None


def _look(function: Callable[[Target], Any], target: Target) -> _Look:
    """Calls a check; runs on a worker thread, and never raises."""
    try:
        observed = function(target)
        # A copy of its words: what the check holds may change, or have no words at all.
        return _Look(observed, "" if observed is None else str(observed))
    except BaseException as error:
        return _Look(error=error)


def _same(one: object, other: object) -> bool:
    """Whether two observations are equal; those that cannot be compared are not."""
    try:
        return bool(one == other)
    except Exception:  # an `__eq__` of the check's own objects may raise anything
        return False


async def _ended(call: asyncio.Future[_Look], seconds: float, cancellation: Cancellation) -> bool:
    """Whether a call on the pool ends in that time; a cancelled run gives it a moment more, since it should notice."""
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    forget = _wake_on(cancellation, cancelled)
    try:
        both: set[asyncio.Future[Any]] = {call, cancelled}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not call.done() and cancelled.done():
            await asyncio.wait({call}, timeout=CANCEL_GRACE)
    finally:
        forget()
    return call.done()


async def sleep_cancellably(seconds: float, cancellation: Cancellation) -> None:
    """Sleeps without a thread; raises :class:`~harness.errors.Cancelled` at once when cancelled."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    forget = _wake_on(cancellation, woken)
    try:
        await asyncio.wait_for(woken, seconds)
    except TimeoutError:
        return
    finally:
        forget()
    raise Cancelled(cancellation.reason)


def _wake_on(cancellation: Cancellation, future: asyncio.Future[None]) -> Callable[[], None]:
    """Settles the future when cancelled, from whichever thread that happens in; returns the call that forgets it."""
    loop = asyncio.get_running_loop()

    def settle() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        loop.call_soon_threadsafe(settle)

    return cancellation.on_cancel(wake)
