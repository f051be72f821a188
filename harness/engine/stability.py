"""How long an observation stays the same: the window of a check that passes, and an unchanged failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.engine.outcome import Observation

UNCHANGED_ATTEMPTS = 5
UNCHANGED_SECONDS = 10.0
"""With `fail_fast_unchanged`: so many attempts in a row, over so many seconds, must have seen the same."""


class StabilityWindow:
    """Whether a value that is observed again and again has held for the whole window. Times are of one clock, in
    seconds; those of the changes are what the check has spent by then."""

    __slots__ = ("_held", "_since", "_window", "changes", "reason")

    def __init__(self, window: float) -> None:
        self._window = window
        self._held: Any = None
        self._since: float | None = None
        self.changes: list[float] = []
        self.reason = ""
        """What the last attempt that did not pass observed, of those that ended a window."""

    @property
    def is_open(self) -> bool:
        """Whether the last observation was a passed one."""
        return self._since is not None

    def holds(self, observed: object, began: float, ended: float, spent: float) -> bool:
        """Whether it has held, with this passed attempt that `began` and `ended` then, for the whole window."""
        if self._since is None:
            self._held, self._since = observed, ended
            return self._window == 0
        if not _same(observed, self._held):
            self.changes.append(spent)
            self._held, self._since = observed, ended
            return False
        # From the end of the first attempt to the start of this one: an attempt itself may be slow, and is one only.
        return began - self._since >= self._window

    def close(self, spent: float, seen: str = "") -> None:
        """Note an attempt that was answered and did not pass, and what it observed: where a window was open, that is a
        change."""
        if self._since is not None:
            self.changes.append(spent)
            self.reason = seen
            self._since = None

    def left(self, now: float) -> float:
        """Seconds that are left of the window that is open."""
        return 0.0 if self._since is None else self._since + self._window - now


class UnchangedFailure:
    """Whether so many failed attempts in a row saw the same, while nothing moved on the target, that no other one is
    worth making."""

    __slots__ = ("_movement", "_since")

    def __init__(self, movement: Callable[[], int]) -> None:
        """`movement` gives a number that changes whenever something moves on the target."""
        self._movement = movement
        # The movement, the attempt and its time, from which on the same was seen.
        self._since: tuple[int, int, float] | None = None

    def note(self, observation: Observation, before: Observation | None) -> str:
        """Note a failed attempt, and the one before it, whatever that came to. Returns for how long nothing has
        changed, in words, where that is long enough; otherwise an empty text."""
        moved = self._movement()
        seen = None if before is None else before.seen
        if self._since is None or observation.seen != seen or self._since[0] != moved:
            self._since = moved, observation.attempt, observation.at
            return ""
        attempts, seconds = observation.attempt - self._since[1] + 1, observation.at - self._since[2]
        if attempts < UNCHANGED_ATTEMPTS or seconds < UNCHANGED_SECONDS:
            return ""
        return (
            f"unchanged in {attempts} attempts over {seconds:.1f} s, and nothing moved on the target: "
            "--fail-fast-unchanged"
        )


def _same(one: object, other: object) -> bool:
    """Whether two observations are equal; those that cannot be compared are not."""
    try:
        return bool(one == other)
    except Exception:  # an `__eq__` of the check's own objects may raise anything
        return False
