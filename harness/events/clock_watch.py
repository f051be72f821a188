"""What happens to this machine's clock while something is recorded: it is set, it drifts, the machine sleeps.

The wall clock, CLOCK_MONOTONIC and CLOCK_BOOTTIME are compared once a second (clock_gettime(2)): in a suspend the
monotonic clock stands still and the boot-time clock does not; a step moves the wall clock against both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from harness.events.emitter import Emitter

INTERVAL = 1.0
"""Seconds between two looks."""
LEAST = 0.5
"""Seconds; smaller changes are not reported one by one, but add up to a drift."""
_AT_ONCE = 0.01
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Times:
    """The three clocks at one moment, in seconds."""

    wall: float
    monotonic: float
    boot: float


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is `stepped`, `drifted` or `suspended`. `seconds` is how far the wall clock was moved (back: negative), or
    how long the machine was suspended."""

    kind: str
    seconds: float


class ClockComparison:
    """Compares each look with the one before, and slow changes with the first. Pure."""

    def __init__(self, first: Times, least: float = LEAST) -> None:
        self._before = self._base = first
        self._least = least

    def look(self, now: Times) -> list[Change]:
        """Return what has happened since the look before."""
        found: list[Change] = []
        slept = (now.boot - now.monotonic) - (self._before.boot - self._before.monotonic)
        if slept >= self._least:
            found.append(Change("suspended", slept))
        stepped = (now.wall - now.boot) - (self._before.wall - self._before.boot)
        drifted = (now.wall - now.boot) - (self._base.wall - self._base.boot)
        if abs(stepped) >= self._least:
            found.append(Change("stepped", stepped))
            self._base = now
        elif abs(drifted) >= self._least:
            found.append(Change("drifted", drifted))
            self._base = now
        self._before = now
        return found


def read_times() -> Times:
    """Return the clocks' times, all read within a hundredth of a second where the machine lets us."""
    for _ in range(_TRIES):
        before = time.monotonic()
        wall, boot = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        after = time.monotonic()
        if after - before < _AT_ONCE:
            break
    return Times(wall, after, boot)


class ClockWatch:
    """Records what happens to the clock, from a thread of its own, as long as the `with` block lasts,
    or from `start` to `stop`."""

    def __init__(self, events: Emitter, read: Callable[[], Times] = read_times, interval: float = INTERVAL) -> None:
        self._events = events
        self._read = read
        self._interval = interval
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="clock", daemon=True)
        self._comparison = ClockComparison(read())

    def start(self) -> None:
        """Begin to watch; to be called once."""
        self._thread.start()

    def stop(self) -> None:
        """Look a last time, and end the thread."""
        self._end.set()
        self._thread.join()
        self.look()

    def __enter__(self) -> ClockWatch:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def look(self) -> None:
        """Compare the clocks now."""
        for change in self._comparison.look(self._read()):
            size = f"{abs(change.seconds):.2f} s"
            if change.kind == "suspended":
                words = f"this machine was suspended for {size}"
                self._events.emit("clock.suspended", words, level="warning", duration=change.seconds)
                continue
            way = f"{'forwards' if change.seconds > 0 else 'back'} by {size}; durations are not affected"
            if change.kind == "stepped":
                words = f"this machine's clock was set {way}"
                self._events.emit("clock.stepped", words, level="warning", offset=change.seconds)
            else:
                words = f"this machine's clock has drifted {way}"
                self._events.emit("clock.drifted", words, level="warning", offset=change.seconds)

    def _watch(self) -> None:
        while not self._end.wait(self._interval):
            self.look()
