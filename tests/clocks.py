"""Clocks for tests."""

from __future__ import annotations


class ManualClock:
    """A clock that only a test moves: both of its times, which are `now` on the monotonic one and `epoch` seconds more
    on the other."""

    def __init__(self, now: float = 100.0, epoch: float = 0.0) -> None:
        self.now = now
        self._epoch = epoch

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self._epoch + self.now

    def pause(self, seconds: float) -> None:
        """Move on, as a sleep would."""
        self.now += seconds
