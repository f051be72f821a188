"""The monotonic clock that deadlines count on: it stands still while this process itself cannot work.

A stopped process (SIGSTOP, a paused virtual machine), a thread that holds the interpreter, or a disk that takes seconds
for one write says nothing about a target. Without a watchdog :class:`SystemClock` is `time.monotonic()`. With one, it
never runs further than a moment beyond the watchdog's last tick; what passed beyond that is *lost* time, counted by its
cause and never part of a deadline, whichever thread looks at the clock first afterwards.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Clock(Protocol):
    """Where time comes from; tests give a fake one."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""

    def time(self) -> float:
        """Return seconds since the epoch, for people and records only."""


class Lost(StrEnum):
    """Why the process could not work for a while."""

    STOPPED = "stopped"
    """Nothing of it ran: SIGSTOP, a paused virtual machine, no CPU."""
    SUSPENDED = "suspended"
    """The whole machine was suspended. CLOCK_MONOTONIC does not count that time, so it is only reported."""
    INTERPRETER = "interpreter"
    """One thread held the interpreter's lock, or threads with much to compute kept it from the others."""
    COLLECTOR = "collector"
    """The garbage collector ran."""
    RECORD = "record"
    """An event was being written (or shown), which everything else waits for."""


@dataclass(frozen=True, slots=True)
class Stall:
    """One stretch of lost time, in seconds."""

    cause: Lost
    seconds: float


TICK = 0.02
"""Seconds between two ticks of the watchdog."""
SLACK = 0.08
"""Seconds that the clock may run beyond the last tick. A tick that comes later than that was kept from running."""
RECORD_SLACK = 0.002
"""Seconds that writing one event may take at the expense of deadlines; a line goes into the page cache in 20 µs."""
REPORTED = 0.5
"""Seconds of lost time at once that are worth an event."""
_MOST_KEPT = 100


class SystemClock:
    """The machine's own clock, without the time that :class:`Lost` names while :meth:`watched` runs. Thread-safe."""

    def __init__(
        self,
        real: Callable[[], float] = time.monotonic,
        boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        """`real` is CLOCK_MONOTONIC, `boot` CLOCK_BOOTTIME, `cpu` the process's CPU time; tests give others."""
        self._real = real
        self._boot = boot
        self._cpu = cpu
        # One tuple, so that a reader without the lock has both of the same moment: how far this clock is behind the
        # real one, and what it does not pass before the next tick.
        self._state = (0.0, float("inf"))
        self._lock = threading.Lock()
        self._holds = 0
        self._hold = _Hold(self)
        self._watchers = 0
        self._lost: dict[str, float] = {}
        self._total = 0.0
        self._stalls: list[Stall] = []
        self._collecting = 0.0
        self._collected = 0.0
        self._seen = (0.0, 0.0, 0.0)
        self._stop: threading.Event | None = None

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        offset, ceiling = self._state  # before the real clock is read: who is stopped in between is held by the ceiling
        now = self._real() - offset
        return now if now < ceiling else ceiling

    def time(self) -> float:
        """See :class:`Clock`."""
        return time.time()

    # -- what was lost -------------------------------------------------------------------------------------------

    @property
    def lost(self) -> dict[str, float]:
        """Seconds that were lost so far, by cause."""
        with self._lock:
            return dict(self._lost)

    @property
    def lost_seconds(self) -> float:
        """The sum of :attr:`lost` as far as this clock does not count it. Cheap."""
        return self._total

    def take_stalls(self) -> list[Stall]:
        """Return the stalls of at least :data:`REPORTED` seconds since the last call, oldest first."""
        with self._lock:
            stalls, self._stalls = self._stalls, []
            return stalls

    # -- the watchdog --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watched(self, *, by_thread: bool = True) -> Iterator[None]:
        """Run the watchdog thread meanwhile. May be nested. Not `by_thread`: whoever calls this calls :meth:`tick`."""
        with self._lock:
            self._watchers += 1
            begins = self._watchers == 1
        if begins:
            self._begin(by_thread)
        try:
            yield
        finally:
            with self._lock:
                self._watchers -= 1
                ends = self._watchers == 0
            if ends:
                self._end()

    def tick(self) -> None:
        """Let the clock run on until a moment after now. The watchdog's own call; tests make it with a fake clock."""
        with self._lock:
            if self._holds or not self._watchers:
                return  # the event that is being written is the cause of what is lost
            self._run_on(SLACK)
            self._observe()

    def held(self) -> _Hold:
        """Let the clock stand, but for :data:`RECORD_SLACK`, in the block below: while an event is written."""
        return self._hold

    def _begin_hold(self) -> None:
        if self._watchers or self._holds:
            with self._lock:
                self._holds += 1
                if self._holds == 1:
                    offset, ceiling = self._state
                    now = self._real() - offset
                    if now < ceiling:  # as _run_on does, where nothing is lost: this is done for each event
                        self._state = (offset, now + RECORD_SLACK)
                    else:
                        self._run_on(RECORD_SLACK)

    def _end_hold(self) -> None:
        if self._holds:
            with self._lock:
                self._holds = max(0, self._holds - 1)
                if not self._holds:
                    self._run_on(SLACK if self._watchers else float("inf"), Lost.RECORD)

    def _run_on(self, slack: float, cause: Lost | None = None) -> None:
        """Count what is lost since the ceiling was reached, and raise the ceiling. The lock is held."""
        offset, ceiling = self._state
        real = self._real()
        now = min(real - offset, ceiling)
        lost = real - offset - now
        if lost > 0.0:
            offset += lost
            self._count(cause or self._cause(real, lost), lost, given_back=True)
        self._state = (offset, now + slack)

    def _observe(self) -> None:
        """Remember what the next late tick is compared with. The lock is held."""
        real, boot = self._real(), self._boot()
        suspended = (boot - self._seen[2]) - (real - self._seen[0])
        if suspended > REPORTED:
            self._count(Lost.SUSPENDED, suspended, given_back=False)
        self._seen = (real, self._cpu(), boot)
        self._collected = 0.0

    def _cause(self, real: float, lost: float) -> Lost:
        """Why the last tick came late, by what the process did since the one before."""
        before_real, before_cpu, _ = self._seen
        if self._collected >= lost / 2:
            return Lost.COLLECTOR
        return Lost.INTERPRETER if self._cpu() - before_cpu >= (real - before_real) / 4 else Lost.STOPPED

    def _count(self, cause: Lost, seconds: float, *, given_back: bool) -> None:
        self._lost[cause.value] = self._lost.get(cause.value, 0.0) + seconds
        if given_back:
            self._total += seconds
        if seconds >= REPORTED and len(self._stalls) < _MOST_KEPT:
            self._stalls.append(Stall(cause, seconds))

    def _begin(self, by_thread: bool) -> None:
        with self._lock:
            self._seen = (self._real(), self._cpu(), self._boot())
            self._state = (self._state[0], self._real() - self._state[0] + 1.0)  # until the thread runs
            self._stop = stop = threading.Event()
        gc.callbacks.append(self._on_collection)
        if by_thread:
            threading.Thread(target=self._watch, args=(stop,), name="harness-clock", daemon=True).start()

    def _end(self) -> None:
        with contextlib.suppress(ValueError):
            gc.callbacks.remove(self._on_collection)
        with self._lock:
            if self._stop is not None:
                self._stop.set()
            if not self._holds:
                self._run_on(float("inf"))

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(TICK):
            self.tick()

    def _on_collection(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = self._real()
        elif self._collecting:
            self._collected += self._real() - self._collecting
            self._collecting = 0.0


class _Hold:
    """The block of :meth:`SystemClock.held`: a class, since one is entered for each event."""

    __slots__ = ("_clock",)

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._clock._begin_hold()

    def __exit__(self, *_: object) -> None:
        self._clock._end_hold()


SYSTEM_CLOCK = SystemClock()
"""The clock of this process: what one thread of it cannot do, none of them can."""

UNWATCHED_CLOCK = SystemClock()
"""Real time, for bounds on what :data:`SYSTEM_CLOCK` stands still for."""


def lost_time(clock: Clock) -> dict[str, float]:
    """Return the seconds that this process lost so far, by cause; none where the clock does not know."""
    lost: dict[str, float] = getattr(clock, "lost", {})
    return lost
