"""How long a console's line takes, measured on it: the windows of a login and of the first requests follow. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_DECAY = 0.5  # how far a better sample is believed: one that is worse is believed at once
_SPARE = 2.0  # what is waited for, in terms of what was measured


@dataclass(slots=True)
class LineTiming:
    """`latency` is in seconds from a short line typed to its answer; `rate` in bytes a second, either way."""

    latency: float = 0.0
    rate: float = math.inf

    def note_answer(self, seconds: float) -> None:
        """A short line was answered after so many seconds."""
        self.latency = seconds if seconds > self.latency else self.latency + (seconds - self.latency) * _DECAY

    def note_bytes(self, count: int, seconds: float) -> None:
        """So many bytes were typed and answered for, without a pause, in that time."""
        if count <= 0:
            return
        rate = count / max(1e-6, seconds)
        self.rate = rate if rate < self.rate else self.rate + (rate - self.rate) * _DECAY

    def window(self, least: float, *, typed: int = 0, heard: int = 0) -> float:
        """Return how long to wait for the answer to `typed` bytes that has `heard` bytes: seconds, at least `least`."""
        return max(least, least / 2 + _SPARE * (self.latency + (typed + heard) / self.rate))
