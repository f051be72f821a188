"""One absolute, monotonic deadline, passed down to every wait.

A wait never takes a time-out in seconds: it takes a :class:`Deadline`, so that nested waits cannot add up
to more than the person asked for. A deadline may carry a :class:`Cancellation`: cancelling it (Ctrl-C, a
panic on the console) ends every wait that holds the deadline, at once.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harness.clock import SYSTEM_CLOCK, Clock, SystemClock, lost_time
from harness.errors import Cancelled, DeadlineExpired, InfrastructureError

__all__ = ["SYSTEM_CLOCK", "Allowance", "Cancellation", "Clock", "Deadline", "SystemClock"]

LONGEST_WAIT = 20 * 86400.0
"""Seconds that one wait may take. poll(2) takes its time-out in an int of milliseconds, 24.8 days at most; sockets and
subprocesses inherit that, and threading has a limit of its own (`threading.TIMEOUT_MAX`)."""


class AnchoredClock:
    """A clock whose wall time is read once and then advances with its monotonic time.

    The difference of two of its times is a true duration, also where the machine's wall clock is set in between.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def time(self) -> float:
        return self._clock.monotonic() + self._offset

    @property
    def lost(self) -> dict[str, float]:
        """See :func:`~harness.clock.lost_time`."""
        return lost_time(self._clock)


class Cancellation:
    """A one-way switch, shared by all waits that must end together. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0
        self.reason = ""

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self, reason: str) -> None:
        """Ends all waits; the first reason given is kept. Calling it again does nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raises :class:`Cancelled` when it was cancelled."""
        if self.cancelled:
            raise Cancelled(self.reason)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` once when cancelled (now, if it is already); returns the call that unregisters it."""
        with self._lock:
            if not self._event.is_set():
                key = self._next
                self._next += 1
                self._callbacks[key] = callback
                return lambda: self._forget(key)
        callback()
        return lambda: None

    def _forget(self, key: int) -> None:
        with self._lock:
            self._callbacks.pop(key, None)

    def wait(self, seconds: float) -> bool:
        """Sleep up to `seconds` (infinity: until cancelled); true when it was cancelled meanwhile."""
        left = max(0.0, seconds)
        while left > LONGEST_WAIT:
            if self._event.wait(LONGEST_WAIT):
                return True
            left -= LONGEST_WAIT
        return self._event.wait(left)


class Allowance:
    """The time that one attempt spent on the harness's own business, which its deadline does not count. Thread-safe.

    `hard` is the point on the clock beyond which nothing is extended: the end of the run, or of the target's time.
    """

    def __init__(self, clock: Clock, hard: float = math.inf) -> None:
        self.hard = hard
        self._clock = clock
        self._lock = threading.Lock()
        self._causes: dict[str, float] = {}
        self._given = 0.0
        self._open = 0
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far, those of what goes on at this moment included."""
        if not self._open:
            return self._given
        with self._lock:
            running = self._clock.monotonic() - self._since if self._open else 0.0
            return self._given + max(0.0, running)

    @property
    def causes(self) -> dict[str, float]:
        """The same by cause, without what goes on at this moment."""
        with self._lock:
            return dict(self._causes)

    def begin(self) -> float:
        """Begin a section that is not counted; returns when it began. Sections of several threads may overlap."""
        with self._lock:
            now = self._clock.monotonic()
            if not self._open:
                self._since = now
            self._open += 1
            return now

    def end(self, began: float, causes: dict[str, float]) -> None:
        """End a section that began then; `causes` are the seconds of it that stay uncounted, by cause."""
        with self._lock:
            now = self._clock.monotonic()
            self._open -= 1
            # What another section has covered in the meantime is given back once.
            own = now - max(began, self._since)
            self._given += min(sum(causes.values()), max(0.0, own))
            self._since = now
            for cause, seconds in causes.items():
                self._causes[cause] = self._causes.get(cause, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock after which nothing new is started.

    `at` is in seconds of `clock.monotonic()`; it is infinite where there is no deadline (:meth:`never`). With an
    `allowance` the deadline is later by the time that the harness spent on its own business: see :attr:`end` and
    :meth:`apart`.
    """

    at: float
    clock: Clock = SYSTEM_CLOCK
    cancellation: Cancellation = field(default_factory=Cancellation, compare=False)
    allowance: Allowance | None = field(default=None, compare=False)

    @classmethod
    def after(
        cls, seconds: float, *, clock: Clock = SYSTEM_CLOCK, cancellation: Cancellation | None = None
    ) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(clock.monotonic() + seconds, clock, cancellation or Cancellation())

    @classmethod
    def never(cls, *, clock: Clock = SYSTEM_CLOCK, cancellation: Cancellation | None = None) -> Deadline:
        """No deadline: a wait that holds it ends with what it waits for, or with the cancellation."""
        return cls(float("inf"), clock, cancellation or Cancellation())

    @property
    def end(self) -> float:
        """When it passes, as far as that is known now, in seconds of `clock.monotonic()`."""
        allowance = self.allowance
        return self.at if allowance is None else min(self.at + allowance.seconds, allowance.hard)

    def remaining(self) -> float:
        """Seconds that may be waited now: until the deadline, never negative, and at most :data:`LONGEST_WAIT`, which
        every system call and library takes. Who has waited that long looks at `expired`, and waits again."""
        return min(max(0.0, self.end - self.clock.monotonic()), LONGEST_WAIT)

    @property
    def expired(self) -> bool:
        return self.clock.monotonic() >= self.end

    def clamp(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now; shares the cancellation and the allowance."""
        given = 0.0 if self.allowance is None else self.allowance.seconds
        at = min(self.at, self.clock.monotonic() + seconds - given)
        return Deadline(at, self.clock, self.cancellation, self.allowance)

    @contextlib.contextmanager
    def apart(self, cause: str, seconds: float) -> Iterator[Deadline]:
        """Do something that this deadline does not count: wait for one's turn, connect.

        Yields the deadline for it: `seconds` from now, or this one where that is later. Where it succeeds, or where
        the harness itself could not (:class:`~harness.errors.InfrastructureError`), its time is given back as `cause`;
        where it fails otherwise that was the target's doing, and counts. Without an allowance nothing is apart.
        """
        allowance = self.allowance
        if allowance is None:
            yield self
            return
        began = allowance.begin()
        within = Allowance(self.clock, allowance.hard)
        at = max(began + seconds, self.end)
        kept = False
        try:
            yield Deadline(min(at, allowance.hard), self.clock, self.cancellation, within)
            kept = True
        except InfrastructureError:
            kept = True
            raise
        finally:
            causes = within.causes
            if kept:
                rest = self.clock.monotonic() - began - sum(causes.values())
                causes[cause] = causes.get(cause, 0.0) + max(0.0, rest)
            allowance.end(began, causes)

    def check(self, doing: str) -> None:
        """Raises :class:`Cancelled` or :class:`DeadlineExpired` when waiting further makes no sense."""
        if self.cancellation.cancelled:
            raise Cancelled(self.cancellation.reason)
        if self.expired:
            raise DeadlineExpired(doing)

    def sleep(self, seconds: float) -> None:
        """Sleep that long by the clock, or until the deadline. Raises :class:`Cancelled` at once when cancelled."""
        now = self.clock.monotonic()
        until = min(now + seconds, self.end)
        while True:
            if self.cancellation.wait(max(0.0, until - now)):
                raise Cancelled(self.cancellation.reason)
            before, now = now, self.clock.monotonic()
            # The clock stands still while the process could not work: then some of the time is left. One that does not
            # move at all is a test's.
            if now >= until or now <= before:
                return
