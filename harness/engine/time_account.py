"""The time of one check: what its budget has counted so far, and what was spent on something else.

The budget is not a point in time but a sum: of the time in which attempts looked at the target, and of the pauses
between them. What passes beside that is a delay, kept by its cause, and never part of the sum.
"""

from __future__ import annotations

import math
import threading

from harness.api.check import Settings
from harness.clock import Clock
from harness.deadline import Allowance, Deadline

SHORTEST_ATTEMPT = 1.0
"""Seconds that an attempt has at least, even where it begins at the end of the budget."""
LIKE_BEFORE = 2.0
"""An attempt that begins in time has so many times as long as the longest one before it, and three seconds, even beyond
the end of the budget: a target that answered before may be as busy as this machine is. One that has never answered gets
nothing beyond the budget."""
LIKE_BEFORE_SECONDS = 3.0
_ROUNDING = 1e-6


class AttemptTimer:
    """The times of one attempt. Its deadline is made on the worker thread: waiting for one is not the target's time."""

    __slots__ = ("_limit", "allowance", "began", "clock", "deadline", "ended", "seconds", "thread")

    def __init__(self, clock: Clock, limit: Deadline, seconds: float) -> None:
        """`limit` is the end of the run and of the target's time, `seconds` what the attempt has."""
        self.clock = clock
        self._limit = limit
        self.seconds = seconds
        self.began: float | None = None
        self.ended: float | None = None
        self.deadline: Deadline | None = None
        self.allowance: Allowance | None = None
        self.thread = 0
        """The worker thread, by the number that the system knows it by."""

    def begin(self) -> Deadline:
        """Start the attempt's time, and return its deadline; on the worker thread."""
        self.began = self.clock.monotonic()
        self.thread = threading.get_native_id()
        hard = math.inf if self._limit.at == math.inf else self._limit.end
        self.allowance = Allowance(self.clock, hard)
        at = min(self.began + self.seconds, hard)
        self.deadline = Deadline(at, self.clock, self._limit.cancellation, self.allowance)
        return self.deadline

    def end(self) -> None:
        """Note that the call of the check has returned; on the worker thread."""
        self.ended = self.clock.monotonic()


class TimeAccount:
    """The seconds of one check. Thousands may be waiting at once, so it is kept small."""

    __slots__ = ("_settings", "delays", "longest", "spent")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.spent = 0.0
        """Seconds that the budget has counted."""
        self.longest = 0.0
        """Seconds that the longest attempt took that observed something."""
        self.delays: dict[str, float] = {}
        """Seconds that the budget does not count, by cause."""

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self.spent >= self._settings.budget - _ROUNDING

    @property
    def left(self) -> float:
        """Seconds of the budget that are left, never negative."""
        return max(0.0, self._settings.budget - self.spent)

    def seconds_for_attempt(self, has_observed: bool) -> float:
        """Return the seconds that the next attempt has. One that begins in time is not cut off for taking as long as
        those before it did (where one `has_observed` something); a budget of 0 is one attempt."""
        settings = self._settings
        if settings.budget <= 0:
            return settings.attempt_timeout
        least = LIKE_BEFORE * self.longest + LIKE_BEFORE_SECONDS if has_observed else SHORTEST_ATTEMPT
        return min(settings.attempt_timeout, max(settings.budget - self.spent, least))

    def charge_attempt(self, timer: AttemptTimer, asked: float, handled: float, *, is_short: bool) -> float:
        """Add an attempt that was `asked` for and whose result was `handled` at these times. Where it `is_short` of
        something that this machine lacks, none of it counts. Returns the seconds that count."""
        began = handled if timer.began is None else timer.began
        ended = handled if timer.ended is None else timer.ended
        self.delay("queue", began - asked)
        self.delay("event_loop", handled - ended)
        looked = ended - began
        if timer.allowance is not None:
            looked = max(0.0, looked - timer.allowance.seconds)
            for cause, seconds in timer.allowance.causes.items():
                self.delay(cause, seconds)
        if is_short:
            self.delay("shortage", looked)
            return 0.0
        self.spent += looked
        return looked

    def charge_pause(self, seconds: float, took: float) -> None:
        """Add a pause of `seconds` that `took` so long."""
        self.spent += min(took, seconds)
        self.delay("event_loop", took - seconds)

    def delay(self, cause: str, seconds: float) -> None:
        """Add seconds that the budget does not count; none where they are negative."""
        if seconds > 0:
            self.delays[cause] = self.delays.get(cause, 0.0) + seconds
